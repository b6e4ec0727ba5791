"""What a measuring command measures: a checkpoint's network, its data, a loss, on this rank's device."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from landscape import checkpoint as checkpoints
from landscape import data as datasets
from landscape import foreign_names
from landscape.accuracy import Accuracy, OfPositions
from landscape.arguments import fitted, input_options, parsed, standardisation
from landscape.calling import Differentiating, as_arguments
from landscape.checkpoint import Checkpoint
from landscape.command import Parser, say
from landscape.errors import BadInput
from landscape.estimate import Tolerance
from landscape.experiment import options as run_options
from landscape.fit import check_inputs, check_targets, default_loss, fit
from landscape.forward import DTYPES, Compiled, Fused, forward, reduced, reduced_type
from landscape.losses import LOSSES, Loss, has_classes, loss_named, unit_of
from landscape.measure import Batches, measure
from landscape.nested import Nested, cat, leaves, length, mapped, split, take
from landscape.networks import NETWORKS
from landscape.place import place
from landscape.ranks import agreed
from landscape.shared_memory import load_once_per_node
from landscape.table import MEASURED

__all__ = ["Source", "Split", "Subject", "assembled", "batch_size", "compiled", "options", "subject", "unfused"]


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
class Subject:
    """All that a measurement needs, and what a results file says of it.

    Attributes
    ----------
    forward : the network in its fastest form; it follows the network's weights
    exact : the same in float32
    dtype : what the forward computes in
    tolerance : of the loss, where measuring stops; None for all examples
    settings : provenance; a resumed run must have the same
    further : other losses by name, measured in the same pass
    accuracy : of each example; None where it is not defined
    test : the test split, where both splits are measured
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
    settings: dict
    further: dict[str, Loss] = field(default_factory=dict)
    accuracy: Accuracy | None = None
    test: Split | None = None

    @property
    def variables(self) -> dict[str, tuple]:
        """What `measure` gives, for `landscape.table.prepare`."""
        names = {"loss": self.settings["loss"], **{name: name for name in self.further}}
        found = dict(MEASURED)
        if self.accuracy is None:
            del found["accuracy"]
        elif isinstance(self.accuracy, OfPositions):
            error = {"long_name": "standard error of the accuracy over examples", "units": "1"}
            found["accuracy_se"] = (*MEASURED["accuracy"][:2], error)
        elif self.settings["loss"] == "binary_cross_entropy":
            dtype, fill, shown = found["accuracy"]
            found["accuracy"] = (dtype, fill, shown | {"long_name": "accuracy, a logit above 0 being yes"})
        for name, called in names.items():
            dtype, fill, told = MEASURED["loss"]
            told = {"long_name": f"{'loss' if name == 'loss' else called}, mean per example"}
            unit = {"units": unit_of(called)}
            found[name] = (dtype, fill, told | unit)
            found[f"{name}_se"] = (*MEASURED["loss_se"][:2], {"long_name": f"standard error of the {name}"} | unit)
        if self.test is not None:
            for name, (dtype, fill, told) in list(found.items()):
                found[f"test_{name}"] = (dtype, fill, told | {"long_name": f"test split: {told['long_name']}"})
        return found

    def measure(self) -> dict[str, float]:
        """Measure the network as it is now."""
        also = {"further": self.further, "accuracy": self.accuracy}
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
        """Inputs of the first examples in a stratified order, for BatchNorm's statistics; by default of 1024, or all.

        In batches of one size, 256 at most, since each counts alike; what is left over is left out.
        """
        targets = _targets(self.batches)
        examples = length(targets)
        if number is None:
            number = min(1024, examples)
        if not 2 <= number <= examples:
            raise BadInput(f"calibration is {number}; give 2 to {examples}, the number of examples")
        chosen = datasets.stratified_order(targets, self.settings["seed"])[:number].tolist()
        ends = np.cumsum([length(targets) for _, targets in self.batches])
        batch = np.searchsorted(ends, chosen, side="right").tolist()
        first = [0, *ends.tolist()]
        rows = [
            take(self.batches[b][0], slice(i - first[b], i - first[b] + 1)) for i, b in zip(chosen, batch, strict=True)
        ]
        inputs, size = cat(rows), min(256, number)
        return [batch for batch in split(inputs, size) if length(batch) == size]

    def loss_in_float32(self, examples: int) -> float:
        """The loss in float32, over as many examples as a measurement in a reduced type took."""
        return measure(self.exact, self.batches, self.loss, self.tolerance, examples)["loss"]


def options(parser: Parser, split: str, several: bool = False) -> None:
    """Give a command the options that `subject` reads.

    Parameters
    ----------
    split : the default
    several : whether both splits and several losses can be asked for, as `Subject.measure` measures them
    """
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        type=Path,
        help="of scripts/train.py; or any state dict, .pt or .safetensors, or a Hugging Face folder, with --network, "
        "--argument and --data",
    )
    parser.add_argument("out", metavar="OUT.h5", type=Path, help="the results file to write or to go on with")
    group = parser.add_argument_group("what is measured")
    splits, losses = ["train", "test"], f"{', '.join(LOSSES)}, or package.module:function"
    if several:
        splits, losses = [*splits, "both"], f"{losses}; several are measured in one pass, the first is the loss"
    group.add_argument(
        "--split", choices=splits, default=split, help="of the data" + ("; both: the test split in test_…" * several)
    )
    group.add_argument("--examples", type=int, help="a stratified subset of so many; by default the whole split")
    group.add_argument(
        "--loss", nargs="+" if several else 1, metavar="LOSS", help=f"{losses} (default: cross_entropy, for classes)"
    )
    group.add_argument(
        "--outputs",
        metavar="NAME",
        help="which of several outputs the loss gets, by its key, attribute or position (default: the logits, or the "
        "first)",
    )
    group.add_argument("--seed", type=int, default=0, help="of everything random")
    group.add_argument(
        "--network", help=f"what the weights belong to, where it is not skipscape's own; or {', '.join(NETWORKS)}"
    )
    group.add_argument(
        "--argument",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="what the network of a state dict is built with",
    )
    group.add_argument(
        "--entry", metavar="NAME", help="which weights of a file that has several, raw and averaged ones, for example"
    )
    depth = {"type": lambda text: f"depth={int(text)}", "metavar": "N", "help": "short for --argument depth=N"}
    group.add_argument("--depth", dest="argument", action="append", default=[], **depth)
    group.add_argument("--data", help="the data, where they are not one of the known names: a folder, an .npz file, …")
    group.add_argument("--root", type=Path, help="where torchvision's data lie")
    group.add_argument("--size", type=int, help="side, in pixels, that the images of a folder are resized to")
    input_options(group)
    group = parser.add_argument_group("how")
    group.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if there is one")
    group.add_argument("--batch-size", type=int, help="examples in one forward pass; by default what suits the images")
    group.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="auto: bfloat16 where the processor multiplies it itself"
    )
    group.add_argument(
        "--tolerance",
        type=float,
        metavar="ERROR",
        help="take only as many examples as a relative standard error of the loss needs, e.g. 0.02",
    )
    run_options(group)


def subject(arguments, comm) -> Subject:
    """Load what the command line names; every rank must call it, inside `landscape.ranks.agreed`.

    Raises
    ------
    BadInput
        The checkpoint, its network, the data or the loss cannot be had, or do not fit together.
    """
    device = place(comm, arguments.device)
    with agreed(comm):  # before the ranks of a machine turn to each other
        checkpoint, name = _checkpoint(arguments)
    with agreed(comm):
        first, *rest = ["train", "test"] if arguments.split == "both" else [arguments.split]
        data = [_data(name, split, arguments, checkpoint, comm) for split in (first, *rest)]
    if not checkpoint.format:
        if checkpoint.arguments:
            say(comm, foreign_names.told(checkpoint.network, checkpoint.arguments))
        given = checkpoint.arguments | parsed(arguments.argument)
        checkpoint.arguments = fitted(checkpoint.network, given, data[0])
    network = checkpoint.restore(arguments.network).to(device).eval()
    channels_last(network)
    say(comm, *(f"{arguments.checkpoint}: {note}" for note in checkpoint.notes))
    checkpoint.weights = {}  # the network has them now
    names = arguments.loss or [default_loss(data[0].labels)]
    if len({*names}) < len(names):
        raise BadInput(f"losses {' '.join(names)}: each needs a name of its own")
    size = arguments.batch_size
    if size is None:
        size = batch_size(leaves(data[0].images)[0], reduced_type(arguments.dtype, device), device)
        # With a tolerance it is asked between batches whether that is enough.
        size = size if arguments.tolerance is None else min(size, 256)
    sources = [
        Source(each.name, each.split, datasets.batches(each, size, device), each.classes, each.inputs, each.digest)
        for each in data
    ]
    it, why = assembled(
        checkpoint,
        network,
        sources,
        {name: loss_named(name) for name in names},
        device=device,
        dtype=arguments.dtype,
        tolerance=arguments.tolerance,
        outputs=int(arguments.outputs) if (arguments.outputs or "").isdigit() else arguments.outputs,
        seed=arguments.seed,
        digest=checkpoint.sha256,
    )
    it.settings["batch_size"] = size
    if not checkpoint.format:
        it.settings["factory"] = checkpoint.network
        it.settings["arguments"] = " ".join(f"{name}={value!r}" for name, value in sorted(checkpoint.arguments.items()))
    say(comm, _inputs(data[0], checkpoint))
    if why and arguments.verbose:
        say(comm, f"{checkpoint.title} is measured {why}")
    return it


def assembled(
    checkpoint: Checkpoint,
    network: nn.Module,
    sources: list[Source],
    losses: dict[str, Loss],
    *,
    device: torch.device,
    dtype: str = "float32",
    tolerance: float | None = None,
    outputs: object = None,
    seed: int = 0,
    digest: str,
) -> tuple[Subject, str]:
    """A network put on data, wherever both come from.

    Parameters
    ----------
    checkpoint : that the network is of; its title counts
    network : on the device, in evaluation mode
    sources : the split that is measured, or two
    losses : by name; the first is the loss, the others are measured beside it
    device, dtype, tolerance, seed : as of the commands
    outputs : which of the network's outputs the loss gets, see `landscape.calling.selector`
    digest : of the weights

    Returns
    -------
    Subject
    str
        Empty, or why nothing of the network could be fused.

    Raises
    ------
    BadInput
        They do not fit together.
    """
    data, *others = sources
    main, *more = losses
    short = {name: name.rpartition(":")[2] for name in more}
    if len({*short.values()}) < len(more) or {*short.values()} & {"loss", main, *MEASURED}:
        raise BadInput(f"losses {' '.join(losses)}: each needs a name of its own")
    if tolerance is not None and not 0 < tolerance < 1:
        raise BadInput(f"tolerance is {tolerance}; give a relative error between 0 and 1, like 0.02")
    inputs, targets = (take(each, slice(2)) for each in data.batches[0])
    how = {"outputs": outputs, "classes": data.classes, "data": data.name}
    fits = {name: fit(checkpoint.title, network, inputs, targets, name, loss, **how) for name, loss in losses.items()}
    shapes = {tuple(t.shape[1:] for t in leaves(inputs))}
    for more_inputs, _ in (batch for source in sources for batch in source.batches):
        if (shape := tuple(t.shape[1:] for t in leaves(more_inputs))) not in shapes:  # as where lengths differ
            check_inputs(checkpoint.title, network, as_arguments(network, take(more_inputs, slice(2))))
            shapes.add(shape)
    with_accuracy = fits[main].accuracy is not None
    for source in sources:
        with_accuracy = check_targets(network, inputs, [y for _, y in source.batches], main, with_accuracy)
    classes = fits[main].classes if data.classes is None else data.classes
    batches = [[(as_arguments(network, x), y) for x, y in source.batches] for source in sources]
    type_ = reduced_type(dtype, device)
    if any(each.differentiates for each in fits.values()):
        quick = exact = Differentiating(network)
        why, type_ = "as it is, without fusion (it takes derivatives)", torch.float32
    else:
        example = take(batches[0][0][0], slice(2))
        quick, why = forward(network, example, type_)
        exact = quick if type_ == torch.float32 else forward(network, example)[0]
    tolerances, against = [None] * len(sources), {}
    if tolerance is not None:
        tolerances = [Tolerance(_targets(source.batches), tolerance) for source in sources]
        number = sum(length(targets) for _, targets in data.batches)
        against = {"tolerance": tolerance, "loss_se_against": f"the mean of all {number} examples"}
    settings = {  # in the order in which a difference is told: choices before the digests that follow from them
        "network": checkpoint.title,
        "data": data.name,
        "inputs": data.inputs,
        **({} if classes is None else {"classes": classes}),
        "split": data.split,
        **({"second_split": others[0].split} if others else {}),
        "loss": main,
        **({"further_losses": more} if more else {}),
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
    }
    subject = Subject(
        checkpoint,
        network,
        quick,
        exact,
        batches[0],
        fits[main].loss,
        device,
        type_,
        tolerances[0],
        settings,
        {short[name]: fits[name].loss for name in more},
        fits[main].accuracy if with_accuracy else None,
        Split(batches[1], tolerances[1]) if others else None,
    )
    return subject, why


def _targets(batches: Batches) -> Nested:
    """All targets, on the processor."""
    return cat([mapped(Tensor.cpu, targets) for _, targets in batches])


def channels_last(network: nn.Module) -> None:
    """Lay out the weights of two-dimensional convolutions so that they are quick; values stay as they are."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.ndim == 4:
            # Not contiguous(), which leaves strides of one channel as they are: other kernels, other last bits.
            tensor.data = tensor.data.to(memory_format=torch.channels_last)


def unfused(it: Subject) -> Subject:
    """The subject with its network as it is, for what fused convolutions do not know: statistics of each batch."""
    settings = {**it.settings, "forward": "as it is"}
    return replace(it, forward=reduced(it.runs, it.dtype), exact=it.runs, settings=settings)


def compiled(it: Subject) -> Subject:
    """The subject with its forward compiled; a plane's points change weights in place, so once is enough.

    On processors the forward is quicker as it is, since torch.compile fuses no sum into a convolution whose
    weights may change.
    """
    # CUDA graphs, on a GPU: many small layers cost more to start than to run.
    mode = "reduce-overhead" if it.device.type == "cuda" else None
    for module in it.forward.modules():
        if isinstance(module, Fused):
            module.onednn = False  # the compiler does its own fusion, and knows these calls with fixed weights only
    return replace(it, forward=Compiled(it.forward, mode), settings={**it.settings, "compiled": True})


def _checkpoint(arguments) -> tuple[Checkpoint, str]:
    """What the command line names, and the name of its data."""
    if arguments.seed < 0:
        raise BadInput(f"--seed is {arguments.seed}; give 0 or more")
    checkpoint = checkpoints.load(arguments.checkpoint, arguments.network, entry=arguments.entry)
    if checkpoint.state is not None:
        raise BadInput(
            f"{arguments.checkpoint} is in training, at epoch {checkpoint.state.get('epoch')}; "
            "let scripts/train.py finish it first"
        )
    if checkpoint.format and arguments.argument:
        raise BadInput(f"{arguments.checkpoint} says itself what its network is built with; leave out --argument")
    name = checkpoint.data_named(arguments.data, arguments.checkpoint)
    return checkpoint, name


def _inputs(data: datasets.Data, checkpoint: Checkpoint) -> str:
    """What is done to the inputs, and what the weights may want."""
    hint = ""
    if not data.mean and not checkpoint.format and data.name in datasets.KNOWN:
        which = f"--mean {data.name}" if data.name in datasets.CONSTANTS else "--standardize"
        hint = f"; if the network was trained on standardised ones, add {which}, or its own --mean and --std"
    return f"inputs of {data.name}: {data.inputs}{hint}"


def _data(name: str, split: str, arguments, checkpoint: Checkpoint, comm) -> datasets.Data:
    """The data of a split, once in the memory of each machine."""

    def make():
        data = datasets.load(
            name,
            split,
            root=arguments.root,
            size=arguments.size,
            examples=arguments.examples,
            seed=arguments.seed,
            **standardisation(arguments, checkpoint.data),
        )
        both = (data.images, data.labels)
        if arguments.tolerance is not None:
            # One order for all points: what two points differ by is known better than either of them.
            both = take(both, datasets.stratified_order(data.labels, arguments.seed))
        frame = mapped(lambda tensor: tensor.new_empty(0), both)  # small, unlike the arrays
        return (replace(data, images=None, labels=None), frame), [tensor.numpy() for tensor in leaves(both)]

    (data, frame), arrays = load_once_per_node(comm, make)
    each = iter(arrays)
    images, labels = mapped(lambda _: torch.from_numpy(next(each)), frame)
    return replace(data, images=images, labels=labels)


def batch_size(inputs: Tensor, dtype: torch.dtype, device: torch.device) -> int:
    """How many examples of inputs, shape (N, C, …), or of tokens, (N, T), to pass at once.

    Activations should be large beside the cost of a call and small beside the caches. That is a wide
    optimum, within 10 % from half to twice this number, so it is a rule and no trial: a trial would
    choose anew every time, and rounding, and thus the numbers' last bits, depend on it.
    """
    room = 2**20 if device.type == "cpu" else 2**24  # bytes of one channel
    positions = math.prod(inputs.shape[1:] if has_classes(inputs) else inputs.shape[2:])
    return min(max(room // (positions * dtype.itemsize), 8), 2048)
