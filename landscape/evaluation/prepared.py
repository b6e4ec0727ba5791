"""A network put on data, ready to be measured: in its quickest form, with a loss, metrics, and what files say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from landscape import data as datasets
from landscape.checkpoints.checkpoint import Checkpoint
from landscape.engine.table import MEASURED
from landscape.errors import BadInput
from landscape.evaluation.accuracy import Accuracy, OfPositions
from landscape.evaluation.calling import Differentiating, as_arguments, attempt, scores_of
from landscape.evaluation.compatibility import Fit, check_inputs, check_repeatable, check_targets, fit
from landscape.evaluation.fused import Compiled, Fused, fuse, in_dtype, reduced_type
from landscape.evaluation.losses import Loss, has_classes, unit_of
from landscape.evaluation.measure import Batches, measure
from landscape.evaluation.reference import REFERRING, Reference
from landscape.evaluation.sampling import Tolerance
from landscape.nested import Nested, cat, leaves, length, mapped, split, take

__all__ = [
    "Evaluation",
    "Source",
    "Split",
    "assembled",
    "batch_size",
    "check_gradients",
    "compiled",
    "fits",
    "outputs_of",
    "unfused",
]


# Times the bytes of one channel, see `batch_size`: 256 MiB on a processor.
OUTPUTS = 256


class Split(NamedTuple):
    """Examples on the device, and how well their mean loss is to be known."""

    batches: Batches
    tolerance: Tolerance | None


class Source(NamedTuple):
    """Examples of one split, on the device, and what a results file says of them.

    Attributes
    ----------
    name, split : what they are called
    batches : inputs and targets
    classes : how many there are, if targets are classes
    inputs : what was done to the inputs
    digest : of inputs and targets
    """

    name: str
    split: str
    batches: Batches
    classes: int | None
    inputs: str
    digest: str


@dataclass(frozen=True)
class Evaluation:
    """All that a measurement needs, and what a results file says of it.

    Attributes
    ----------
    checkpoint : Checkpoint
        What was restored, or what stands for a network in memory.
    network : nn.Module
        As its owner made it.
    forward : nn.Module
        The network in its fastest form; it follows the network's weights.
    exact : nn.Module
        The same in float32.
    batches : sequence of (inputs, targets)
        On the device.
    loss : callable
        Gives one number for each example.
    device : torch.device
    dtype : torch.dtype
        What the forward computes in.
    tolerance : Tolerance, optional
        Of the loss, where measuring stops; None for all examples.
    metadata : dict
        Provenance; a resumed run must have the same.
    extra : dict of callables
        Other losses, and metrics, by name, measured in the same pass.
    metrics : names
        Those of `extra` that are metrics.
    accuracy : callable, optional
        Of each example; None where it is not defined.
    test : Test split, optional
        Where both splits are measured.
    """

    checkpoint: Checkpoint
    network: nn.Module
    forward: nn.Module
    exact: nn.Module
    batches: Batches
    loss: Loss
    device: torch.device
    dtype: torch.dtype
    tolerance: Tolerance | None
    metadata: dict
    extra: dict[str, Loss] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    accuracy: Accuracy | None = None
    test: Split | None = None

    @property
    def variables(self) -> dict[str, tuple]:
        """What `measure` gives, for `landscape.engine.table.prepare`."""
        names = {"loss": self.metadata["loss"], **{name: name for name in self.extra}}
        variables = dict(MEASURED)
        if self.accuracy is None:
            del variables["accuracy"]
        elif isinstance(self.accuracy, OfPositions):
            error = {"long_name": "standard error of the accuracy over examples", "units": "1"}
            variables["accuracy_se"] = (*MEASURED["accuracy"][:2], error)
        elif self.metadata["loss"] == "binary_cross_entropy":
            dtype, fill, shown = variables["accuracy"]
            variables["accuracy"] = (dtype, fill, shown | {"long_name": "accuracy, a logit above 0 being yes"})
        for name, called in names.items():
            dtype, fill, _ = MEASURED["loss"]
            said, unit = f"{'loss' if name == 'loss' else called}, mean per example", {"units": unit_of(called)}
            if name in self.metrics:
                label, units = REFERRING.get(name, (name, None))
                said, unit = f"{label}, mean per example", {} if units is None else {"units": units}
            variables[name] = (dtype, fill, {"long_name": said} | unit)
            error = {"long_name": f"standard error of the {name}"} | unit
            variables[f"{name}_se"] = (*MEASURED["loss_se"][:2], error)
        if self.test is not None:
            for name, (dtype, fill, shown) in list(variables.items()):
                variables[f"test_{name}"] = (
                    dtype,
                    fill,
                    shown | {"long_name": f"test split: {shown['long_name']}"},
                )
        return variables

    def measure(self) -> dict[str, float]:
        """Measure the network as it is now.

        Returns
        -------
        dict of float
            ``loss``, ``loss_se``, ``examples``, ``accuracy`` where it is defined, and other losses and metrics with
            their errors.
        """
        also: dict[str, Any] = {"extra": self.extra, "accuracy": self.accuracy}
        measured = measure(self.forward, self.batches, self.loss, self.tolerance, **also)
        if self.test is None:
            return measured
        test = measure(self.forward, self.test.batches, self.loss, self.test.tolerance, **also)
        return measured | {f"test_{name}": value for name, value in test.items()}

    @property
    def runs(self) -> nn.Module:
        """The network as it is, with gradients where it needs them."""
        return self.exact if isinstance(self.exact, Differentiating) else self.network

    def calibration(self, number: int | None) -> list[Nested]:
        """Inputs of the first examples in a stratified order, for BatchNorm's statistics.

        In batches of one size, 256 at most, since each counts alike; what is left over is left out.

        Parameters
        ----------
        number : int, optional
            Of examples; by default 1024, or all if there are fewer.

        Returns
        -------
        list
            Inputs of each batch.

        Raises
        ------
        BadInput
            There are not so many examples, or fewer than two are asked for.
        """
        targets = _targets(self.batches)
        examples = length(targets)
        if number is None:
            number = min(1024, examples)
        if not 2 <= number <= examples:
            raise BadInput(f"calibration is {number}; give 2 to {examples}, the number of examples")
        chosen = datasets.stratified_order(targets, self.metadata["seed"])[:number].tolist()
        ends = np.cumsum([length(targets) for _, targets in self.batches])
        batch = np.searchsorted(ends, chosen, side="right").tolist()
        first = [0, *ends.tolist()]
        rows = [
            take(self.batches[b][0], slice(i - first[b], i - first[b] + 1)) for i, b in zip(chosen, batch, strict=True)
        ]
        inputs, size = cat(rows), min(256, number)
        return [batch for batch in split(inputs, size) if length(batch) == size]

    def loss_in_float32(self, examples: int) -> float:
        """The loss in float32, over as many examples as a measurement in a reduced type took.

        Parameters
        ----------
        examples : int
            Their number.

        Returns
        -------
        float
            In the unit of the loss.
        """
        return measure(self.exact, self.batches, self.loss, self.tolerance, examples)["loss"]


def fits(
    checkpoint: Checkpoint,
    network: nn.Module,
    sources: Sequence[Source],
    losses: Mapping[str, Loss],
    metrics: Mapping[str, Loss],
    outputs: object,
) -> dict[str, Fit]:
    """How each loss, and each metric, scores the outputs of a network on data; found out on two examples.

    Raises
    ------
    BadInput
        They do not fit together.
    """
    data = sources[0]
    inputs, targets = (take(each, slice(2)) for each in data.batches[0])
    how: dict[str, Any] = {"outputs": outputs, "classes": data.classes, "data": data.name}
    scored = {name: fit(checkpoint.title, network, inputs, targets, name, loss, **how) for name, loss in losses.items()}
    for name, metric in metrics.items():
        scored[name] = fit(checkpoint.title, network, inputs, targets, name, metric, **how, noun="metric")
    check_repeatable(checkpoint.title, network, as_arguments(network, inputs))
    shapes = {tuple(t.shape[1:] for t in leaves(inputs))}
    for more_inputs, _ in (batch for source in sources for batch in source.batches):
        if (shape := tuple(t.shape[1:] for t in leaves(more_inputs))) not in shapes:  # as where lengths differ
            check_inputs(checkpoint.title, network, as_arguments(network, take(more_inputs, slice(2))))
            shapes.add(shape)
    for source in sources:
        for example in _extremes(source.batches):  # a token that an embedding does not have may be anywhere
            check_inputs(checkpoint.title, network, as_arguments(network, example))
    return scored


def _extremes(batches: Batches) -> list[Nested]:
    """Inputs of the examples with the largest and the smallest of all whole numbers; none where there are no such."""
    extremes: dict[tuple[int, int], tuple[int, Nested]] = {}
    for inputs, _ in batches:
        for place, tensor in enumerate(leaves(inputs)):
            if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool or tensor.ndim < 2:
                continue
            for sign in (1, -1):
                most, row = (sign * tensor.flatten(1)).amax(1).max(0)
                if int(most) > extremes.get((place, sign), (-(2**63), None))[0]:
                    extremes[place, sign] = int(most), take(inputs, slice(int(row), int(row) + 1))
    return [example for _, example in extremes.values()]


def assembled(
    checkpoint: Checkpoint,
    network: nn.Module,
    sources: Sequence[Source],
    losses: Mapping[str, Loss],
    *,
    metrics: Mapping[str, Loss | str],
    device: torch.device,
    dtype: str = "float32",
    tolerance: float | None = None,
    outputs: object = None,
    seed: int = 0,
    digest: str,
    more: Mapping[str, object],
) -> tuple[Evaluation, str]:
    """A network put on data, wherever both come from.

    Parameters
    ----------
    checkpoint : that the network is of; its title counts
    network : on the device, in evaluation mode
    sources : the split that is measured, or two
    losses : by name; the first is the loss, the others are measured beside it
    metrics : by name; a word where it is one of `landscape.evaluation.reference.REFERRING`
    device, dtype, tolerance, seed : see `landscape.evaluation.evaluator.Evaluator`
    outputs : which of the network's outputs the loss gets, see `landscape.evaluation.calling.selector`
    digest : of the weights
    more : metadata besides

    Returns
    -------
    Evaluation
    str
        Empty, or why nothing of the network could be fused.

    Raises
    ------
    BadInput
        They do not fit together.
    """
    data, *others = sources
    main, *beside = losses
    short = {name: name.rpartition(":")[2] for name in beside}
    if len({*short.values()}) < len(beside) or {*short.values()} & {"loss", main, *MEASURED}:
        raise BadInput(f"losses {' '.join(losses)}: each needs a name of its own")
    if odd := [name for name in short.values() if not name.isidentifier()]:
        raise BadInput(f"a loss is called {odd[0]!r}; give it a name of letters, digits and _")
    every = ["loss", "accuracy", "examples", *short.values(), *metrics]
    columns = [f"{part}{name}{end}" for part in ("", "test_")[: len(sources)] for name in every for end in ("", "_se")]
    twice = {name for name in columns if columns.count(name) > 1}
    if taken := twice | ({*metrics} & {main, "done", "crc", "interpolated"}):
        raise BadInput(f"a metric is called {min(taken)}, as something else is; give it another name")
    if tolerance is not None and not 0 < tolerance < 1:
        raise BadInput(f"tolerance is {tolerance}; give a relative error between 0 and 1, like 0.02")
    own = {name: metric for name, metric in metrics.items() if not isinstance(metric, str)}
    scored = fits(checkpoint, network, sources, losses, own, outputs)
    inputs = take(data.batches[0][0], slice(2))
    with_accuracy = scored[main].accuracy is not None
    for source in sources:
        with_accuracy = check_targets(network, inputs, [y for _, y in source.batches], main, with_accuracy)
    classes = scored[main].classes if data.classes is None else data.classes
    batches = [[(as_arguments(network, x), y) for x, y in source.batches] for source in sources]
    type_ = reduced_type(dtype, device)
    quick: nn.Module
    exact: nn.Module
    if any(each.differentiates for each in scored.values()):
        quick = exact = Differentiating(network)
        why, type_ = "as it is, without fusion (it takes derivatives)", torch.float32
    else:
        example = take(batches[0][0][0], slice(2))
        quick, why = fuse(network, example, type_)
        exact = quick if type_ == torch.float32 else fuse(network, example)[0]
    tolerances: list[Tolerance | None] = [None] * len(sources)
    against: dict[str, object] = {}
    if tolerance is not None:
        tolerances = [Tolerance(_targets(source.batches), tolerance) for source in sources]
        number = sum(length(targets) for _, targets in data.batches)
        against = {"tolerance": tolerance, "loss_se_against": f"the mean of all {number} examples"}
    metadata = {  # in the order in which a difference is told: choices before the digests that follow from them
        "network": checkpoint.title,
        "data": data.name,
        "inputs": data.inputs,
        **({} if classes is None else {"classes": classes}),
        "split": data.split,
        **({"second_split": others[0].split} if others else {}),
        "loss": main,
        **({"further_losses": beside} if beside else {}),
        **({"metrics": [*metrics]} if metrics else {}),
        **({} if outputs is None else {"outputs": getattr(outputs, "__name__", str(outputs))}),
        "seed": seed,
        "batchnorm": "frozen",  # unless a plane does otherwise
        **against,
        "dtype": str(type_).removeprefix("torch."),
        "device": device.type,
        # Not why: an error's text may differ from run to run.
        "forward": "as it is" if why else "each convolution with the BatchNorm, sum and ReLU behind it",
        "checkpoint": digest,
        **({"entry": checkpoint.entry} if checkpoint.entry else {}),
        "data_digest": data.digest,
        **({"test_data_digest": others[0].digest} if others else {}),
        **more,
    }
    referring = {name: metric for name, metric in metrics.items() if isinstance(metric, str)}
    extra: dict[str, Loss] = {short[name]: scored[name].loss for name in beside}
    extra |= {name: scored[name].loss for name in own}
    if referring:
        reference = Reference(quick, [pair for part in batches for pair in part], scored[main].loss)
        extra |= {name: reference.metric(metric) for name, metric in referring.items()}
        extra = {name: extra[name] for name in (*short.values(), *metrics)}  # in the order in which they were given
    evaluation = Evaluation(
        checkpoint,
        network,
        quick,
        exact,
        batches[0],
        scored[main].loss,
        device,
        type_,
        tolerances[0],
        metadata,
        extra,
        tuple(metrics),
        scored[main].accuracy if with_accuracy else None,
        Split(batches[1], tolerances[1]) if others else None,
    )
    return evaluation, why


def check_gradients(evaluation: Evaluation) -> None:
    """Refuse what gradients are not measured with: they are those of one loss, on one split.

    Raises
    ------
    BadInput
        There is more than that, or less.
    """
    if evaluation.dtype != torch.float32 or evaluation.tolerance is not None:
        raise BadInput("gradients have types of their own and take all examples; leave out --dtype and --tolerance")
    more = [*evaluation.extra, *(["the test split"] if evaluation.test else [])]
    if more:
        raise BadInput(f"gradients are those of one loss on one split; leave out {', '.join(more)}")


def unfused(evaluation: Evaluation) -> Evaluation:
    """The same with the network as it is, for what fused convolutions do not know: statistics of each batch."""
    metadata = {**evaluation.metadata, "forward": "as it is"}
    plain = evaluation.runs
    return replace(evaluation, forward=in_dtype(plain, evaluation.dtype), exact=plain, metadata=metadata)


def compiled(evaluation: Evaluation) -> Evaluation:
    """The same with its forward compiled; a plane's points change weights in place, so once is enough.

    On processors the forward is quicker as it is, since torch.compile fuses no sum into a convolution whose
    weights may change.
    """
    # CUDA graphs, on a GPU: many small layers cost more to start than to run.
    mode = "reduce-overhead" if evaluation.device.type == "cuda" else None
    for module in evaluation.forward.modules():
        if isinstance(module, Fused):
            module.onednn = False  # the compiler does its own fusion, and knows these calls with fixed weights only
    metadata = {**evaluation.metadata, "compiled": True}
    return replace(evaluation, forward=Compiled(evaluation.forward, mode), metadata=metadata)


def batch_size(inputs: Tensor, dtype: torch.dtype, device: torch.device, outputs: int = 0) -> int:
    """How many examples of inputs, shape (N, C, …), or of tokens, (N, T), to pass at once.

    `outputs` is how many numbers a network gives for an example of tokens, which are many over a vocabulary.

    Activations should be large beside the cost of a call and small beside the caches. That is a wide
    optimum, within 10 % from half to twice this number, so it is a rule and no trial: a trial would
    choose anew every time, and rounding, and thus the numbers' last bits, depend on it.
    """
    room = 2**20 if device.type == "cpu" else 2**24  # bytes of one channel
    positions = math.prod(inputs.shape[1:] if has_classes(inputs) else inputs.shape[2:])
    number = min(max(room // (positions * dtype.itemsize), 8), 2048)
    return number if not outputs else max(1, min(number, OUTPUTS * room // (4 * outputs)))


def outputs_of(network: nn.Module, inputs: Nested) -> int:
    """How many numbers a network gives for an example of tokens; 0 of other inputs, or where it does not take these."""
    first = take(inputs, slice(1))
    if not has_classes(leaves(first)[0]):
        return 0
    try:
        return scores_of(attempt(network, as_arguments(network, first))[0]).numel()
    except Exception:  # of all kinds; what is wrong is told where the network is tried on the loss
        return 0


def _targets(batches: Batches) -> Nested:
    """All targets, on the processor."""
    return cat([mapped(Tensor.cpu, targets) for _, targets in batches])
