"""What a measuring command measures: a checkpoint's network, its data, a loss, on this rank's device."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from landscape import checkpoint as checkpoints
from landscape import data as datasets
from landscape import foreign_names
from landscape.arguments import fitted, input_options, parsed, standardisation
from landscape.checkpoint import Checkpoint
from landscape.command import Parser, say
from landscape.errors import BadInput
from landscape.estimate import Tolerance
from landscape.experiment import options as run_options
from landscape.fit import check_fit
from landscape.forward import DTYPES, Compiled, Fused, forward, reduced, reduced_type
from landscape.measure import LOSSES, Loss, loss_named, measure
from landscape.nested import leaves, mapped, take
from landscape.networks import NETWORKS
from landscape.place import place
from landscape.ranks import agreed
from landscape.shared import once_a_machine
from landscape.table import MEASURED

__all__ = ["Split", "Subject", "batch_size", "compiled", "options", "subject", "unfused"]


class Split(NamedTuple):
    """Examples on the device, and how well their mean loss is to be known."""

    batches: list[tuple[Tensor, Tensor]]
    tolerance: Tolerance | None


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
    test : the test split, where both splits are measured
    """

    checkpoint: Checkpoint
    network: nn.Module
    forward: nn.Module
    exact: nn.Module
    batches: list[tuple[Tensor, Tensor]]
    loss: Loss
    device: torch.device
    dtype: torch.dtype
    tolerance: Tolerance | None
    settings: dict
    further: dict[str, Loss] = field(default_factory=dict)
    test: Split | None = None

    @property
    def variables(self) -> dict[str, tuple]:
        """What `measure` gives, for `landscape.table.prepare`."""
        names = {"loss": self.settings["loss"], **{name: name for name in self.further}}
        found = dict(MEASURED)
        for name, called in names.items():
            dtype, fill, told = MEASURED["loss"]
            told = {"long_name": f"{'loss' if name == 'loss' else called}, mean per example"}
            unit = {"units": "nats" if called == "cross_entropy" else "1"}
            found[name] = (dtype, fill, told | unit)
            found[f"{name}_se"] = (*MEASURED["loss_se"][:2], {"long_name": f"standard error of the {name}"} | unit)
        if self.test is not None:
            for name, (dtype, fill, told) in list(found.items()):
                found[f"test_{name}"] = (dtype, fill, told | {"long_name": f"test split: {told['long_name']}"})
        return found

    def measure(self) -> dict[str, float]:
        """Measure the network as it is now."""
        measured = measure(self.forward, self.batches, self.loss, self.tolerance, further=self.further)
        if self.test is None:
            return measured
        test = measure(self.forward, self.test.batches, self.loss, self.test.tolerance, further=self.further)
        return measured | {f"test_{name}": value for name, value in test.items()}

    def calibration(self, number: int | None) -> list[Tensor]:
        """Inputs of the first examples in a stratified order, for BatchNorm's statistics; by default of 1024, or all.

        In batches of one size, 256 at most, since each counts alike; what is left over is left out.
        """
        targets = torch.cat([targets.cpu() for _, targets in self.batches])
        if number is None:
            number = min(1024, len(targets))
        if not 2 <= number <= len(targets):
            raise BadInput(f"--calibration is {number}; give 2 to {len(targets)}, the number of examples")
        chosen = datasets.stratified_order(targets, self.settings["seed"])[:number].tolist()
        size = len(self.batches[0][0])
        inputs = torch.stack([self.batches[i // size][0][i % size] for i in chosen])
        size = min(256, number)
        return [batch for batch in inputs.split(size) if len(batch) == size]

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
        help="of scripts/train.py; or any state dict, .pt or .safetensors, with --network, --argument and --data",
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
    group.add_argument("--loss", nargs="+" if several else 1, default=["cross_entropy"], metavar="LOSS", help=losses)
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
        data = _data(name, first, arguments, checkpoint, comm)
        others = [_data(name, other, arguments, checkpoint, comm) for other in rest]
    if not checkpoint.format:
        if checkpoint.arguments:
            say(comm, foreign_names.told(checkpoint.network, checkpoint.arguments))
        given = checkpoint.arguments | parsed(arguments.argument)
        checkpoint.arguments = fitted(checkpoint.network, given, data)
    network = checkpoint.restore(arguments.network).to(device, memory_format=torch.channels_last).eval()
    checkpoint.weights = {}  # the network has them now
    main, *more = arguments.loss
    further = {name.rpartition(":")[2]: loss_named(name) for name in more}
    if len(further) < len(more) or further.keys() & {"loss", main, *MEASURED}:
        raise BadInput(f"--loss {' '.join(arguments.loss)}: each loss needs a name of its own")
    for each in arguments.loss:
        check_fit(checkpoint.title, network, data, each, device)
    dtype = reduced_type(arguments.dtype, device)
    size = arguments.batch_size
    if size is None:
        size = batch_size(data.images.shape, dtype, device)
        # With a tolerance it is asked between batches whether that is enough.
        size = size if arguments.tolerance is None else min(size, 256)
    batches, *test = (datasets.batches(split, size, device) for split in (data, *others))
    quick, why = forward(network, batches[0][0][:2], dtype)
    exact = quick if dtype == torch.float32 else forward(network, batches[0][0][:2])[0]
    tolerances, against = [None] * (1 + len(others)), {}
    if arguments.tolerance is not None:
        tolerances = [Tolerance(split.labels, arguments.tolerance) for split in (data, *others)]
        against = {
            "tolerance": arguments.tolerance,
            "loss_se_against": f"the mean of all {len(data.labels)} examples",
        }
    settings = {  # in the order in which a difference is told: choices before the digests that follow from them
        "network": checkpoint.title,
        "data": data.name,
        "inputs": data.inputs,
        **({} if data.classes is None else {"classes": data.classes}),
        "split": first,
        **({"second_split": rest[0]} if rest else {}),
        "loss": main,
        **({"further_losses": more} if more else {}),
        "seed": arguments.seed,
        "batchnorm": "frozen",  # unless a plane does otherwise
        **against,
        "dtype": str(dtype).removeprefix("torch."),
        "device": device.type,
        "batch_size": size,
        # Not why: an error's text may differ from run to run.
        "forward": "as it is" if why else "each convolution with the BatchNorm, sum and ReLU behind it",
        "checkpoint": checkpoint.sha256,
        "data_digest": data.digest,
        **({"test_data_digest": others[0].digest} if others else {}),
    }
    if not checkpoint.format:
        settings["factory"] = checkpoint.network
        settings["arguments"] = " ".join(f"{name}={value!r}" for name, value in sorted(checkpoint.arguments.items()))
    say(comm, _inputs(data, checkpoint))
    if why:
        say(comm, f"{checkpoint.title} is measured {why}")
    return Subject(
        checkpoint,
        network,
        quick,
        exact,
        batches,
        loss_named(main),
        device,
        dtype,
        tolerances[0],
        settings,
        further,
        Split(test[0], tolerances[1]) if test else None,
    )


def unfused(it: Subject) -> Subject:
    """The subject with its network as it is, for what fused convolutions do not know: statistics of each batch."""
    settings = {**it.settings, "forward": "as it is"}
    return replace(it, forward=reduced(it.network, it.dtype), exact=it.network, settings=settings)


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
    checkpoint = checkpoints.load(arguments.checkpoint, arguments.network)
    if checkpoint.state is not None:
        raise BadInput(
            f"{arguments.checkpoint} is in training, at epoch {checkpoint.state.get('epoch')}; "
            "let scripts/train.py finish it first"
        )
    if checkpoint.format and arguments.argument:
        raise BadInput(f"{arguments.checkpoint} says itself what its network is built with; leave out --argument")
    name = checkpoint.data_named(arguments.data, arguments.checkpoint)
    if arguments.tolerance is not None and not 0 < arguments.tolerance < 1:
        raise BadInput(f"--tolerance is {arguments.tolerance}; give a relative error between 0 and 1, like 0.02")
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

    (data, frame), arrays = once_a_machine(comm, make)
    each = iter(arrays)
    images, labels = mapped(lambda _: torch.from_numpy(next(each)), frame)
    return replace(data, images=images, labels=labels)


def batch_size(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> int:
    """How many examples of shape (N, C, H, W) to pass at once.

    Activations should be large beside the cost of a call and small beside the caches. That is a wide
    optimum, within 10 % from half to twice this number, so it is a rule and no trial: a trial would
    choose anew every time, and rounding, and thus the numbers' last bits, depend on it.
    """
    room = 2**20 if device.type == "cpu" else 2**24  # bytes of one channel
    return min(max(room // (math.prod(shape[2:]) * dtype.itemsize), 8), 2048)
