"""What counts as a filter: the part of a parameter that makes one output unit.

Filter normalisation (Li et al. 2018, §4) gives each filter of a direction the norm of the network's filter. Which
elements form a filter depends on what a parameter is, not on its number of dimensions:

    parameter                                                    stored as           a filter is
    Linear, Conv1d … 3d, Bilinear, RNN, LSTM, GRU, attention,    (out, …)            a slice of the first axis
      torchvision's DeformConv2d, routers of experts
    ConvTranspose1d … 3d                                         (in, out/groups, …) a channel's slice within its group
    Embedding, EmbeddingBag                                      (tokens, width)     a token's vector
    transformers' Conv1D (GPT-2), SpectralConv (neural operators),
      projections of CLIP, Gemma 3                               (in, out, …)        a slice of the second axis
    experts: Mixtral, Qwen, DeepSeek, …                          (experts, out, in)  a row of one expert
    experts: GPT-OSS, Llama 4, Aria, where `is_transposed`       (experts, in, out)  a column of one expert
    DBRX's w2                                                    (experts·in, out)   a column of one expert
    timm's CondConv2d                                            (experts, out·…)    a channel of one expert
    XLNet's q, k, v, r, Funnel's r_kernel                        (in, heads, width)  a slice of the last two axes
    weight_norm, spectral_norm, parametrisations                 original, g, v      as the layer's own weight

    biases, norms of any shape, scales and gates (C, 1, 1), what hyper-connections read, mix and write, (n) and (n, n),
    temperatures, class, mask and register tokens, learned queries, position embeddings and relative-position tables
    that a module holds itself: no filters, not moved

An embedding is the same matrix as an untied output layer (`Linear(width, tokens)`), and often one with it: both have a
filter for each token. What an Embedding's rows stand for (tokens, positions) makes no difference, but for T5's table of
relative positions. The layer decides first; in layers that are not in the table, names and shapes do, and where these
do not tell either, the first axis is assumed and `UnknownLayer` warned of.
"""

from __future__ import annotations

import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from landscape.engine.ranks import Communicator
from landscape.errors import BadInput, UnknownLayer, did_you_mean
from landscape.log import say

__all__ = [
    "Convention",
    "Parameters",
    "Which",
    "convention_of",
    "conventions",
    "describe_convention",
    "frozen",
    "listing",
    "matching",
    "naming",
    "say_parameters",
    "selected",
    "warn_of_unknown",
    "with_filters",
]

Which = Callable[[str, Tensor], bool]
Parameters = str | Sequence[str] | Which | None

FIRST, SECOND, LAST_TWO, ROWS, COLUMNS = (0,), (1,), (1, 2), (0, 1), (0, 2)

# Layers of other libraries, by the names of their classes and parameters: nothing of theirs is imported.
NAMED = (
    (r"Conv1D", r"weight", {2: SECOND}),
    (r"SpectralConv.*", r"weights?\d*", {n: SECOND for n in range(2, 7)}),
    (r"Quant(Linear|Embedding)", r"weight", {2: FIRST}),
    (r"EfficientAdditiveAttention", r"w_g", {2: SECOND}),
    (r"DeformConv2d", r"weight", {4: FIRST}),
    (r".*(Router|Gate|Gating)", r"weight|classifier", {2: FIRST}),
    (r"(Llama4Text|GptOss|OpenAIPrivacyFilter|Aria)(Grouped)?Experts.*", r".*", {3: COLUMNS}),
    (r"RecurrentGemmaRglru|GroupedLinearLayer|CsmCodebooksHead", r".*weight", {3: COLUMNS}),
    (r".*FlexibleLinear|Zamba.*Mixer", r".*weight", {3: ROWS}),
    (r"XLNetRelativeAttention", r"[qkvr]", {3: LAST_TWO}),
    (r"XLNetRelativeAttention", r"o", {3: FIRST}),
    (r"FunnelRelMultiheadAttention", r"r_kernel", {3: LAST_TWO}),
    (r".*CLIP.*|VisionTransformer|.*Projector|OmDet.*", r"(text|visual|image|prompts_visual)_projection", {2: SECOND}),
    (r"VisionTransformer", r"proj", {2: SECOND}),
    (r".*MultiModalProjector", r"mm_input_projection_weight", {2: SECOND}),
    (r"DbrxExpertGLU", r"w1|v1", {2: FIRST}),
    (r"AMSoftmaxLoss", r"weight", {2: SECOND}),
    (r"MultiQueryAttentionV2", r"query_proj", {3: ROWS}),
    (r"MultiQueryAttentionV2", r"(key|value)_proj", {2: SECOND}),
    (r"MultiQueryAttentionV2", r"out_proj", {3: FIRST}),
    (r".*HyperConnection|.*HyperHead", r"(hc_)?fn", {2: FIRST}),
)
STACK = re.compile(r"(?i:expert|mixture)|MoE|Moe|^moe|_moe")
# Classes whose own parameters are no filters.
STILL = re.compile(
    r"^(?!.*(Linear|Conv|Dense|Embed)).*(Norm|GRN|LayerScale|Affine|Stream(Read|Mix|Write))|Pos(ition(al|s)?)?(Emb|Enc)"
)
# Parameters that a module holds itself and that make no output unit.
NO_FILTER = re.compile(
    r"bias|scal(e|ing)|(^|_)(beta|gamma|alpha|lambda|tau|temp|temperature|gain|slope)[\d_]*($|_)"
    r"|^rpb$|rel_pos|relative_pos|(^|_)(height|width)_rel|emb_rel|(^|_)pos(ition(s|al)?)?\d*($|_)|^w?pe\d*$"
    r"|token|(^|_)(cls|class|mask|masked|time|temporal|level|seg|segment|type|task)(_spec)?_?emb(ed(ding)?s?)?"
    r"|(^|_)quer(y|ies)(_(emb\w*|tokens?))?$|^(latents?|probes?|prompts?|registers?)(_\w+)?$|^codevectors$|^A_log$|^D$"
)
WEIGHT = re.compile(r"weight|kernel|proj|lora_|^[wuv]\w?\d*$", re.IGNORECASE)


class Convention(NamedTuple):
    """Which elements of a parameter form a filter.

    Attributes
    ----------
    layer : name of the class that holds it
    view : shape in which the filters are slices; the parameter's own, but for what is stored flat
    axes : axes of `view` that count filters, ascending; empty for a parameter that has no filters
    known : whether the layer, or the parameter's name or shape, says so; else it is assumed
    """

    layer: str
    view: tuple[int, ...]
    axes: tuple[int, ...]
    known: bool = True

    @property
    def filters(self) -> int:
        """How many there are."""
        return math.prod(self.view[axis] for axis in self.axes) if self.axes else 0

    def rows(self, tensor: Tensor) -> Tensor:
        """A tensor of the parameter's shape with its filters along the first axis."""
        front = tensor.reshape(self.view).movedim(self.axes, tuple(range(len(self.axes))))
        return front.flatten(0, len(self.axes) - 1) if len(self.axes) > 1 else front

    def spread(self, values: Tensor) -> Tensor:
        """One value for each filter, in a shape that broadcasts over `view`."""
        return values.reshape([n if i in self.axes else 1 for i, n in enumerate(self.view)])


def convention_of(tensor: Tensor) -> Convention:
    """What is assumed of a parameter of which nothing but the shape is known."""
    return Convention("", tuple(tensor.shape), FIRST if tensor.ndim > 1 else (), tensor.ndim < 2)


def conventions(network: nn.Module) -> dict[str, Convention]:
    """The convention for each parameter, named as by ``network.named_parameters()``.

    A parameter that several layers share has that of the first one in the table.

    Parameters
    ----------
    network : nn.Module

    Returns
    -------
    dict
        From names of parameters to conventions: along which axes filters lie, or that there are none.
    """
    by_identity: dict[int, Convention] = {}
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for module, layer, name, parameter in _held(network):
        here = _convention(module, layer, name, parameter)
        if id(parameter) not in by_identity or (here.known and not by_identity[id(parameter)].known):
            by_identity[id(parameter)] = here
    return {name: by_identity[key] for key, name in names.items()}


def _held(network: nn.Module) -> Iterator[tuple[nn.Module, nn.Module, str, Tensor]]:
    """Each parameter with the module that holds it, the layer that it is of, and its name there."""
    modules = dict(network.named_modules(remove_duplicate=False))
    for path, module in modules.items():
        for name, parameter in module._parameters.items():
            layer, local = module, re.sub("_(g|v|orig)$", "", name)  # weight_norm, spectral_norm
            if local in module._parameters or not hasattr(module, local):
                local = name
            if type(module).__name__ == "ParametrizationList":  # layer.parametrizations.weight.original0
                owner, _, local = f".{path}".rpartition(".parametrizations.")
                layer = modules.get(owner.lstrip("."), module)
            if parameter is not None:
                # T5's table of relative positions is an Embedding, whose own name says what it is.
                table = isinstance(layer, nn.Embedding) and path.endswith("relative_attention_bias")
                yield module, layer, "relative_position" if table else local, parameter


def _convention(module: nn.Module, layer: nn.Module, name: str, parameter: Tensor) -> Convention:
    shape, kind = tuple(parameter.shape), _class(layer)
    if not parameter.numel() or not (parameter.is_floating_point() or parameter.is_complex()):
        return Convention(kind, shape, ())  # what rounding keeps where it is, or nothing
    of_torch = _of_torch(layer, name, shape)
    if of_torch is not None:
        return Convention(kind, *of_torch)
    if (axes := _of_other(kind, name, shape)) is not None:
        return Convention(kind, shape, axes)
    if len(shape) < 2 or STILL.search(kind) or _without(name, shape):
        return Convention(kind, shape, ())
    if (of_experts := _of_experts(layer, kind, name, shape)) is not None:
        return Convention(kind, *of_experts)
    return Convention(kind, shape, _by_bias(module, name, shape) or FIRST, known=False)


def _class(layer: nn.Module) -> str:
    """The name that a class was given; parametrised layers have classes of their own."""
    kind = type(layer)
    return kind.__mro__[1].__name__ if kind.__name__.startswith("Parametrized") else kind.__name__


def _of_torch(layer: nn.Module, name: str, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """View and axes for a layer of torch; None for other layers, and for what subclasses add."""
    if isinstance(layer, _NormBase | nn.LayerNorm | nn.GroupNorm | nn.PReLU | getattr(nn, "RMSNorm", nn.LayerNorm)):
        return shape, ()
    if len(shape) < 2:
        return None
    if isinstance(layer, _ConvTransposeNd) and name == "weight":
        groups = layer.groups
        if groups == 1 or shape[0] % groups:
            return shape, SECOND
        return (groups, shape[0] // groups, *shape[1:]), COLUMNS
    of_weight = nn.Linear | _ConvNd | nn.Bilinear | nn.Embedding | nn.EmbeddingBag
    if isinstance(layer, of_weight) and name == "weight" and not hasattr(layer, "weight_shape"):
        return shape, FIRST
    if isinstance(layer, nn.RNNBase | nn.RNNCellBase) and name.startswith("weight_"):
        return shape, FIRST
    if isinstance(layer, nn.MultiheadAttention) and name.endswith("_proj_weight"):
        return shape, FIRST
    return None


def _without(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a name or a shape says that there are no filters."""
    if NO_FILTER.search(name):
        return True
    if max(shape) == math.prod(shape):  # a vector, laid out to be broadcast, or else a layer of one input or output
        return len(shape) > 2 or not WEIGHT.search(name)
    return shape[0] == 1 and not WEIGHT.search(name)  # broadcast over examples


def _of_other(kind: str, name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Axes for a layer of another library by its name; None for one that is not in the table."""
    for classes, names, axes in NAMED:
        if len(shape) in axes and re.fullmatch(classes, kind) and re.fullmatch(names, name):
            return axes[len(shape)]
    return None


def _of_experts(layer: Any, kind: str, name: str, shape: tuple[int, ...]) -> tuple[tuple, tuple] | None:
    """View and axes for a stack of experts; None for what is none."""
    if kind == "DbrxExpertGLU" and name == "w2":
        return (layer.moe_num_experts, shape[0] // layer.moe_num_experts, shape[1]), COLUMNS
    if kind == "CondConv2d" and name == "weight":
        return (shape[0], *layer.weight_shape), ROWS
    if len(shape) == 3 and (STACK.search(kind) or STACK.search(name)):
        transposed = getattr(layer, "is_transposed", None)
        if transposed is None:
            return shape, _by_bias(layer, name, shape) or ROWS
        return shape, COLUMNS if transposed else ROWS
    return None


def _by_bias(module: nn.Module, name: str, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The axes of a weight that the bias beside it has; None where there is no bias, or it does not tell."""
    beside = (f"{name}_bias", name.replace("weight", "bias"), re.sub("^[wW]", "b", name), "bias", "b")
    bias = next((b for other in beside if other != name and (b := module._parameters.get(other)) is not None), None)
    fits: list[tuple[int, ...]]
    sizes = [] if bias is None else [n for n in bias.shape if n > 1]
    if len(shape) == 3 and len(sizes) == 2 and sizes[0] == shape[0]:  # one for each output of each in a stack
        fits = [(0, axis) for axis in (1, 2) if shape[axis] == sizes[1]]
    else:
        fits = [(axis,) for axis, n in enumerate(shape) if sizes == [n]]
    return fits[0] if len(fits) == 1 else None


def warn_of_unknown(network: nn.Module) -> None:
    """Name, in one warning, the layers whose filters had to be assumed."""
    layers: dict[str, list[str]] = {}
    for name, convention in conventions(network).items():
        if not convention.known:
            layers.setdefault(f"{convention.layer}, {describe_convention(convention)}", []).append(name)
    if layers:
        each = [
            f"{names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)} of {kind}" for kind, names in layers.items()
        ]
        text = f"what a filter is in {'; '.join(each)}, is assumed: these layers are not known"
        warnings.warn(text, UnknownLayer, stacklevel=2)


def describe_convention(convention: Convention) -> str:
    """A convention in words: ``"16 filters, axis 0"``."""
    if not convention.axes:
        return "no filters"
    number = f"{convention.filters} filter{'s' * (convention.filters != 1)}"
    if len(convention.axes) == 1:
        return f"{number}, axis {convention.axes[0]}"
    return f"{number}, axes {' and '.join(map(str, convention.axes))} of {'×'.join(map(str, convention.view))}"


def matching(network: nn.Module, parameters: Parameters) -> Which | None:
    """The choice of parameters that words make.

    Parameters
    ----------
    parameters : None or "all"; "trainable", those that require gradients; a pattern as in `fnmatch` over
        names, or several of all these; or a function of name and parameter

    Returns
    -------
    callable, of name and parameter; None for all

    Raises
    ------
    BadInput
        A pattern that fits no name, or a choice of none.
    """
    if parameters is None or callable(parameters):
        chosen = parameters
    else:
        words = [parameters] if isinstance(parameters, str) else list(parameters)
        if not words or not all(isinstance(word, str) for word in words):
            raise BadInput(f"parameters are chosen by all, trainable or patterns of names, got {parameters!r}")
        if "all" in words:
            return None
        named = dict(network.named_parameters())
        for word in words:
            if word != "trainable" and not any(fnmatchcase(name, word) for name in named):
                near = did_you_mean(word, [*named, "all", "trainable"])
                near = near or f"; there are {', '.join([*named][:3])}{', …' * (len(named) > 3)}"
                raise BadInput(f"no parameter's name fits the pattern {word!r}{near}")

        def chosen(name: str, parameter: Tensor) -> bool:
            return any(parameter.requires_grad if word == "trainable" else fnmatchcase(name, word) for word in words)

    if chosen is None:
        return None
    names = frozenset(name for name, parameter in network.named_parameters() if chosen(name, parameter))
    if not names:
        why = "no parameter requires gradients" if chosen is not parameters else "the function chooses no parameter"
        raise BadInput(f"{why}, so that none would move; choose one or more")
    return lambda name, parameter: name in names


def naming(parameters: Parameters) -> dict[str, str]:
    """What a results file says of a choice; nothing where it is all, as in files that know no choice."""
    if callable(parameters):
        return {"chosen_parameters": getattr(parameters, "__name__", type(parameters).__name__)}
    words = [parameters] if isinstance(parameters, str) else sorted(set(parameters or ["all"]))
    return {} if "all" in words else {"chosen_parameters": " ".join(words)}


def with_filters(network: nn.Module) -> str:
    """What a results file says of the parameters that have filters."""
    usual = all(bool(here.axes) == (len(here.view) > 1) for here in conventions(network).values())
    return "of two dimensions or more" if usual else "with filters"


def selected(network: nn.Module, parameters: Parameters = None, filters: bool = False) -> Which | None:
    """`matching`, and with `filters` those alone that have filters; the word "filters" means these as well.

    Raises
    ------
    BadInput
        None is left; and as `matching`.
    """
    if isinstance(parameters, str) and parameters == "filters":
        parameters, filters = None, True
    chosen = matching(network, parameters)
    if not filters:
        return chosen
    names = {name for name, convention in conventions(network).items() if convention.axes}
    both = frozenset(n for n, p in network.named_parameters() if n in names and (chosen is None or chosen(n, p)))
    if not both:
        raise BadInput(
            "none of the chosen parameters has filters, so that none would move; choose others, or all kinds"
        )
    return lambda name, parameter: name in both


def frozen(network: nn.Module, parameters: Parameters = None) -> str | None:
    """What is to be said of parameters that require no gradient and are chosen all the same; None if there are none."""
    chosen = matching(network, parameters)
    every = dict(network.named_parameters())
    names = [n for n, p in every.items() if not p.requires_grad and (chosen is None or chosen(n, p))]
    if not names:
        return None
    share = sum(every[name].numel() for name in names) / sum(p.numel() for p in every.values())
    return (
        f"{len(names)} of {len(every)} parameters are frozen ({100 * share:.3g} % of the weights) and taken like the "
        "others; the choice trainable leaves them out"
    )


def say_parameters(comm: Communicator, network: nn.Module, parameters: Parameters, one_dimensional: bool) -> None:
    """Log what there is to say of the parameters: frozen ones that are chosen; in detail, all."""
    say(comm, *listing(network, parameters, one_dimensional), level=logging.DEBUG)
    if line := frozen(network, parameters):
        say(comm, line)


def listing(network: nn.Module, parameters: Parameters = None, one_dimensional: bool = False) -> list[str]:
    """Every parameter with its convention, a line each: name, layer, shape, filters, whether it moves or is frozen.

    Parameters
    ----------
    network : nn.Module
    parameters : str, sequence of str, or callable, optional
        Which ones move, see `matching`.
    one_dimensional : bool
        Whether those without filters move too.

    Returns
    -------
    list of str
        The lines.
    """
    chosen, known = matching(network, parameters), conventions(network)
    rows = [("parameter", "layer", "shape", "filters", "moves")]
    for name, parameter in network.named_parameters():
        here = known[name]
        number = parameter.is_floating_point() or parameter.is_complex()
        moves = number and (here.axes or one_dimensional) and (chosen is None or chosen(name, parameter))
        shape = "×".join(map(str, parameter.shape)) or "()"
        state = ["yes" if moves else "no", *["frozen"] * (not parameter.requires_grad)]
        rows.append(
            (name, here.layer, shape, describe_convention(here) + ", assumed" * (not here.known), ", ".join(state))
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
