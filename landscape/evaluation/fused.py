"""The same network in less time: what surrounds a convolution is done by the convolution; a reduced type.

A forward has no weights of its own. It reads the network's at every call, so it follows the network
to any point of a plane; it does not follow a module that is put in the place of another, nor a hook that is
registered later. A layer whose weight is not simply its parameter is left as it is, see `landscape.evaluation.tracing`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from landscape.errors import BadInput
from landscape.evaluation.agreement import agree
from landscape.evaluation.tracing import NoGraph, attributes_restored, is_layer, trace, values_restored
from landscape.nested import leaves

__all__ = ["DTYPES", "Compiled", "Fused", "fuse", "fused_graph", "in_dtype", "reduced_type"]

DTYPES = ("auto", "float32", "bfloat16")

CL = torch.channels_last
FEW, LARGE = 4, 1e30  # see `_may_overflow`
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
Convolve = Callable[..., Tensor]
CONVOLUTIONS: dict[type[nn.Module], Convolve] = {
    nn.Conv1d: F.conv1d,
    nn.Conv2d: F.conv2d,
    nn.Conv3d: F.conv3d,
}


class Fused(nn.Module):
    """relu(BN(w ∗ x) + y) in one pass over memory, where BN, y and the ReLU may each be absent.

    BatchNorm has its stored statistics, so with s = γ/√(σ² + ε): BN(w ∗ x + b) = (s·w) ∗ x + s·(b − μ) + β.
    The product s·w is taken at every call: it costs less than a hundredth of the convolution, and it
    is never out of date.

    Parameters
    ----------
    convolution, norm : modules of the network, or None for no norm
    relu : whether a ReLU comes last
    dtype : what the convolution computes in; None: what its input is in
    """

    def __init__(
        self, convolution: nn.Module, norm: nn.Module | None, relu: bool = False, dtype: torch.dtype | None = None
    ):
        super().__init__()
        self.convolution: Any = convolution  # of nn.Module, torch would have every attribute a tensor or a module
        self.norm: Any = norm
        self.relu, self.dtype = relu, dtype
        # oneDNN's own fusion, which torch's compiler uses as well. Without it a third of the time goes
        # into reading and writing activations again for the sum and the ReLU.
        self.onednn = type(convolution) is nn.Conv2d

    def forward(self, x: Tensor, y: Tensor | None = None, lost: bool = False) -> Tensor:
        """As torch computes it where numbers are `lost`: oneDNN's ReLU makes 0 of a NaN, torch's leaves it."""
        c, dtype = self.convolution, self.dtype or x.dtype
        weight, bias = self._folded()
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        # A sum is fused in channels-last only.
        fits = y is None or (y.is_contiguous(memory_format=CL) and weight.is_contiguous(memory_format=CL))
        onednn = self.onednn and x.device.type == "cpu" and _onednn_fuses_in(dtype)
        if onednn and fits and not (self.relu and (lost or _may_overflow(x, y, weight))):
            how = c.padding, c.stride, c.dilation, c.groups
            if y is None:
                name = "relu" if self.relu else "none"
                return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *how, name, [], "")
            return torch.ops.mkldnn._convolution_pointwise.binary(
                x, y.to(dtype), weight, bias, *how, "add", 1.0, "relu" if self.relu else None, [], ""
            )
        out = CONVOLUTIONS[type(c)](x, weight, bias, c.stride, c.padding, c.dilation, c.groups)
        if y is not None:
            out = out.add_(y)
        return out.relu_() if self.relu else out

    def _folded(self) -> tuple[Tensor, Tensor | None]:
        c, n = self.convolution, self.norm
        if n is None:
            return c.weight, c.bias
        scale = (n.running_var + n.eps).rsqrt()
        if n.weight is not None:
            scale = scale * n.weight
        bias = (-n.running_mean if c.bias is None else c.bias - n.running_mean) * scale
        return c.weight * scale.view(-1, *[1] * (c.weight.dim() - 1)), bias if n.bias is None else bias + n.bias


@cache
def _onednn_fuses_in(dtype: torch.dtype) -> bool:
    """Whether oneDNN has fused convolutions here for numbers of a type; old processors have none for bfloat16."""
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    return dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _may_overflow(x: Tensor, y: Tensor | None, weight: Tensor) -> bool:
    """Whether w ∗ x + y may be NaN of numbers that overflow, judged from the first examples of the batch.

    Far from the network a fused forward would otherwise give finite losses where there are none. The limit is eight
    decades below, more than examples of one batch or the inputs of one filter make up for.
    """
    largest = _largest(x[:FEW]) * _largest(weight)
    return not (largest < LARGE and (y is None or _largest(y[:FEW]) < LARGE))


def _has_nan(x: Tensor) -> bool:
    """Of any example, such as an image of one colour that is divided by its own deviation; on the CPU alone."""
    return x.device.type == "cpu" and bool(x.sum().isnan())


def _largest(tensor: Tensor) -> float:
    return float(tensor.detach().abs().amax())


class Readout(nn.Module):
    """A network's last linear layer, in float32 whatever came before: the loss is computed from it."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.linear(x.to(self.linear.weight.dtype))


class InDtype(nn.Module):
    """A network whose other layers compute in the reduced type too, as torch.autocast has it."""

    def __init__(self, network: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, *args, **kwargs):
        device = next((tensor.device for tensor in leaves([args, kwargs])), torch.device("cpu"))
        # Each weight is converted where it is used, rather than all of them kept converted to the end.
        with torch.autocast(device.type, self.dtype, cache_enabled=False):
            return self.network(*args, **kwargs)


class Compiled(nn.Module):
    """A network through torch.compile; its first call raises BadInput where the compiler cannot be had or fails."""

    def __init__(self, network: nn.Module, mode: str | None = None):
        super().__init__()
        self.quick = torch.compile(network, dynamic=False, mode=mode)

    def forward(self, *args, **kwargs):
        try:
            return self.quick(*args, **kwargs)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            said = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise BadInput(f"torch.compile fails here: {said[0][:200]}; leave out --compile") from error


def fuse(network: nn.Module, example: Tensor, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, str]:
    """The fastest forward of a network that gives the same outputs.

    Parameters
    ----------
    network : in evaluation mode; given back as it was, to the bit
    example : a few inputs, on the network's device, to try it on: at the network's weights and at others, in float32
        and in the reduced type
    dtype : torch.float32 or torch.bfloat16

    Returns
    -------
    nn.Module
        It shares the network's parameters and buffers.
    str
        Empty, or why nothing could be fused.
    """
    try:
        with torch.inference_mode(False), torch.no_grad(), attributes_restored(network), values_restored(network):
            return _tried(network, example, dtype), ""
    except NoGraph as error:
        why = str(error)
    except Exception as error:  # a user's network may fail in any way when its input is no tensor
        why = f"{type(error).__name__}: {error}".splitlines()[0]
    return in_dtype(network, dtype), f"as it is, without fusion ({why})"


def _tried(network: nn.Module, example: Tensor, dtype: torch.dtype) -> nn.Module:
    if not isinstance(example, Tensor):
        raise NoGraph("its input is not one tensor")
    if not isinstance(network(example.clone()), Tensor):
        raise NoGraph("its output is not one tensor")
    reducing = dtype != torch.float32
    # Traced as it will run: what a forward does about autocast itself is noticed against that.
    with torch.autocast(example.device.type, dtype, enabled=reducing):
        quick: nn.Module = fused_graph(network)
    if not agree(network, quick, example, 1e-4):
        raise NoGraph("the fused network gives other outputs")
    if reducing:
        quick = in_dtype(quick, dtype)
        if not agree(network, quick, example, 0.1, as_well_as=in_dtype(network, dtype)):
            raise NoGraph(f"the fused network gives other outputs in {str(dtype).removeprefix('torch.')}")
    return quick


def in_dtype(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network computing in another type; its weights stay as they are."""
    if dtype == torch.float32:
        return network
    for module in network.modules():
        if isinstance(module, Fused):
            module.dtype = dtype
    return InDtype(network, dtype)


def fused_graph(network: nn.Module) -> fx.GraphModule:
    """The network with each convolution and the BatchNorm, sum and ReLU behind it as one step.

    Only layers as torch has them are drawn in, and only what is read by nobody else. Raises whatever tracing raises
    where the path of a network depends on its input.
    """
    traced = trace(network)
    modules = dict(traced.named_modules())

    def module(node):
        """The module that a node calls on one input."""
        if isinstance(node, fx.Node) and node.op == "call_module" and len(node.args) == 1 and not node.kwargs:
            return modules.get(node.target)  # none for what has been fused by now
        return None

    def reader(node):
        """The only node that reads this one."""
        return next(iter(node.users)) if len(node.users) == 1 else None

    for node in list(traced.graph.nodes):
        if is_layer(module(node), nn.Identity):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    for node in list(traced.graph.nodes):
        convolution = module(node)
        if not is_layer(convolution, *CONVOLUTIONS) or convolution.padding_mode != "zeros":
            continue
        if isinstance(convolution.padding, str):  # "same"
            continue
        chain, norm, inputs = [node], None, node.args
        if _is_norm(module(reader(chain[-1]))):
            chain.append(reader(chain[-1]))
            norm = module(chain[-1])
        if (other := _other_term(reader(chain[-1]), chain[-1])) is not None:
            chain.append(reader(chain[-1]))
            inputs = (*inputs, other)
        if relu := _is_relu(reader(chain[-1]), module(reader(chain[-1]))):
            chain.append(reader(chain[-1]))
        if len(chain) == 1:
            continue
        name = f"fused_{node.name}"
        traced.add_submodule(name, Fused(convolution, norm, relu))
        with traced.graph.inserting_before(chain[-1]):  # there, the other term exists
            chain[-1].replace_all_uses_with(traced.graph.call_module(name, inputs))
        for gone in reversed(chain):
            traced.graph.erase_node(gone)
    _tell_lost(traced)
    for node in traced.graph.nodes:
        if node.op == "output" and is_layer(linear := module(node.args[0]), nn.Linear):
            traced.add_submodule("readout", Readout(linear))
            node.args[0].target = "readout"
    traced.graph.lint()
    traced.recompile()
    return traced


def _tell_lost(traced: fx.GraphModule) -> None:
    """Tell each fused layer whether a tensor that none of them has made, before or at it, has a NaN in it."""
    made = {node for node in traced.graph.nodes if node.op == "call_module" and node.target.startswith("fused_")}
    lost, seen = None, set()
    for node in list(traced.graph.nodes):
        if node not in made:
            continue
        with traced.graph.inserting_before(node):
            for given in node.args:
                if given not in made and given not in seen:
                    seen.add(given)
                    here = traced.graph.call_function(_has_nan, (given,))
                    lost = here if lost is None else traced.graph.call_function(operator.or_, (lost, here))
        node.kwargs = {"lost": lost}


def _is_norm(module: nn.Module | None) -> bool:
    """Whether it is a BatchNorm that takes its stored statistics."""
    return (
        isinstance(module, NORMS)
        and is_layer(module, *NORMS)
        and module.running_mean is not None
        and not module.training
    )


def _other_term(node: fx.Node | None, term: fx.Node) -> fx.Node | None:
    """What a node adds to `term`, if it is a sum of two tensors."""
    if node is None or node.kwargs or node.op not in ("call_function", "call_method"):
        return None
    if node.target not in (operator.add, operator.iadd, torch.add, "add", "add_") or len(node.args) != 2:
        return None
    left, right = node.args
    other = right if left is term else left
    if other is left and node.target in (operator.iadd, "add_"):  # others may read what it changes
        return None
    return other if isinstance(other, fx.Node) and other is not term else None


def _is_relu(node: fx.Node | None, module: nn.Module | None) -> bool:
    if node is None or node.op == "call_module":
        return is_layer(module, nn.ReLU)
    names = {"call_function": (F.relu, torch.relu), "call_method": ("relu", "relu_")}
    return node.target in names.get(node.op, ())


def reduced_type(name: str, device: torch.device) -> torch.dtype:
    """The type that ``--dtype`` names; "auto" is bfloat16 where the processor multiplies it itself.

    Raises
    ------
    BadInput
        There is no such type.
    """
    if name not in DTYPES:
        raise BadInput(f"there is no type {name!r}; use {', '.join(DTYPES)}")
    if name == "auto":
        if device.type == "cuda":
            native = torch.cuda.get_device_capability(device) >= (8, 0)
        else:  # instructions for it: AMX, or AVX-512's
            checks = (getattr(torch.cpu, f"_is_{kind}_supported", None) for kind in ("amx_tile", "avx512_bf16"))
            native = any(check() for check in checks if check)
        return torch.bfloat16 if native else torch.float32
    return getattr(torch, name)
