"""Groups of options that several commands share. The name of an option is that of the keyword that it becomes."""

from __future__ import annotations

from argparse import BooleanOptionalAction
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landscape.analysis.labels import NORMALIZATIONS
from landscape.commands.cli import Parser
from landscape.commands.launch import ranks_option
from landscape.data import CONSTANTS
from landscape.evaluation.batchnorm import POLICIES
from landscape.evaluation.fused import DTYPES
from landscape.evaluation.losses import LOSSES
from landscape.evaluation.reference import REFERRING
from landscape.networks import NETWORKS
from landscape.training.loop import RECIPES

__all__ = [
    "blocks_options",
    "evaluator_options",
    "flow_options",
    "input_options",
    "parameter_options",
    "plane_options",
    "run_options",
    "statistics_options",
    "variant_options",
]


def evaluator_options(parser: Parser, split: str, several: bool = False, both: bool | None = None) -> None:
    """Those of `landscape.evaluation.evaluator.Evaluator.from_checkpoint`.

    Parameters
    ----------
    split : the default
    several : whether several losses can be asked for
    both : whether both splits can; by default as with losses
    """
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        type=Path,
        help="a checkpoint written by train; a folder that transformers' save_pretrained() wrote, with --data; or any "
        "state dict (.pt or .safetensors), with --network, --argument and --data",
    )
    parser.add_argument("out", metavar="OUT.h5", type=Path, help="the results file to write, or to resume")
    group = parser.add_argument_group("what is measured")
    splits, losses = ["train", "test"], f"{', '.join(LOSSES)}, or package.module:function"
    if several:
        losses = f"{losses}; several are measured in one pass; the first is the one that counts as the loss"
    both = several if both is None else both
    if both:
        splits = [*splits, "both"]
    group.add_argument(
        "--split",
        choices=splits,
        default=split,
        help="which split of the data to use" + ("; both: the test split too, in variables named test_…" * both),
    )
    group.add_argument(
        "--examples", type=int, help="number of examples, a stratified subset; by default the whole split"
    )
    group.add_argument(
        "--loss", nargs="+" if several else 1, metavar="LOSS", help=f"{losses} (default: cross_entropy, for classes)"
    )
    group.add_argument(
        "--metric",
        dest="metrics",
        nargs="+",
        metavar="METRIC",
        help=f"what to measure besides the loss: {', '.join(REFERRING)} (both compare with the unchanged network's "
        "predictions), or package.module:function of outputs and targets that gives a value for each example",
    )
    group.add_argument(
        "--outputs",
        metavar="NAME",
        help="which of several outputs to compute the loss from: a key, attribute or position (default: the logits, or "
        "the first)",
    )
    group.add_argument("--seed", type=int, default=0, help="random seed")
    network_options(group)
    depth: dict[str, Any] = {
        "type": lambda text: f"depth={int(text)}",
        "metavar": "N",
        "help": "short for --argument depth=N",
    }
    group.add_argument("--depth", dest="arguments", action="append", default=[], **depth)
    group.add_argument(
        "--data",
        help="the data, if the checkpoint does not say or others are wanted: a known name, a folder, an .npz file, "
        "text:PATH, …",
    )
    group.add_argument("--root", type=Path, help="folder of torchvision's data sets")
    group.add_argument("--size", type=int, help="side length in pixels to which images of a folder are resized")
    group.add_argument(
        "--window",
        type=int,
        metavar="T",
        help="tokens per example of text (default: 256, or fewer if the network takes no more)",
    )
    input_options(group)
    group = parser.add_argument_group("how")
    device_option(group)
    group.add_argument(
        "--batch-size", type=int, help="examples in one forward pass; by default chosen from the size of the inputs"
    )
    group.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float32",
        help="auto: bfloat16 where the hardware supports it natively, unless points are few",
    )
    group.add_argument(
        "--tolerance",
        type=float,
        metavar="ERROR",
        help="use only as many examples as are needed for this relative standard error of the loss, e.g. 0.02",
    )
    run_options(group)


def run_options(parser: Any) -> None:
    """Those of `landscape.engine.run.run`, on how many ranks, and how much is said."""
    ranks_option(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="measure only a few rows and keep nothing; report the number of rows and the time, memory and disk "
        "space needed",
    )
    saying = parser.add_mutually_exclusive_group()
    saying.add_argument(
        "-v", "--verbose", action="store_true", help="report what is measured, with which settings and on which devices"
    )
    saying.add_argument("--quiet", action="store_true", help="print only errors")


def device_option(group: Any) -> None:
    """Where to compute."""
    group.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if available")


def input_options(group: Any, training: bool = False) -> None:
    """Those of `landscape.networks.arguments.standardisation`.

    Parameters
    ----------
    training : whether networks are trained on the data
    """
    known, both = ", ".join(CONSTANTS), "constants to standardise inputs with, one number per channel"
    group.add_argument(
        "--mean", nargs="+", type=_number_or_name, metavar="V", help=f"{both}; or {known}, which sets --std too"
    )
    group.add_argument("--std", nargs="+", type=float, metavar="V", help="standard deviations that go with --mean")
    if training:
        help = "standardise inputs by the training split; by default if --data is one of the known names"
        group.add_argument("--standardize", action=BooleanOptionalAction, default=None, help=help)
    else:
        help = "standardise inputs by the training split; by default as recorded in the checkpoint, else not at all"
        group.add_argument("--standardize", action="store_true", default=None, help=help)


def parameter_options(group: Any) -> None:
    """The choice of parameters."""
    group.add_argument(
        "--parameters",
        nargs="+",
        metavar="WHICH",
        help="which parameters to move or differentiate: all (default), trainable, or patterns of names such as "
        "'layer3.*' or '*lora_*'; the others stay fixed",
    )


def plane_options(parser: Parser, points: int) -> None:
    """Those of `ends_of` and `build_plane`, see `landscape.planes.build_plane`; `points` on an axis by default."""
    g = parser.add_argument_group("the plane")
    ends = ("FROM", "TO", "POINTS")
    x = "first axis; 1 is the norm of the weights, or the other checkpoint, or a saved direction in full"
    g.add_argument("--x", nargs=3, type=float, metavar=ends, default=(-1, 1, points), help=x)
    g.add_argument("--y", nargs=3, type=float, metavar=ends, help="second axis; without it, a line")
    g.add_argument("--z", nargs=3, type=float, metavar=ends, help="third axis: a space instead of a plane")
    g.add_argument(
        "--repeats", type=int, metavar="K", help="number of independent sets of random directions, all in one file"
    )
    g.add_argument(
        "--auto-range",
        type=float,
        metavar="LOSS",
        help="set each end of the axes to where the loss first reaches this level",
    )
    g = parser.add_argument_group("directions")
    g.add_argument(
        "--to",
        nargs="+",
        type=Path,
        metavar="OTHER.pt",
        help="instead of random directions: the line from CHECKPOINT (0) to another checkpoint (1), or the "
        "plane through two "
        "others",
    )
    g.add_argument(
        "--along",
        nargs="+",
        type=Path,
        metavar="DIRECTIONS.pt",
        help="saved directions, one for each axis, in one file or several, as trajectory and curvature save them; not "
        "normalised by default",
    )
    g.add_argument(
        "--normalize",
        choices=NORMALIZATIONS,
        help="how directions are scaled to the weights: per filter (default for random ones), layer or weight",
    )
    g.add_argument(
        "--move-biases",
        action="store_true",
        help="also move parameters without filters (biases and norms)",
    )
    parameter_options(g)
    g.add_argument("--orthogonal", action="store_true", help="make each direction orthogonal to those before it")
    statistics_options(
        g,
        POLICIES,
        None,
        "BatchNorm statistics away from the checkpoint: its own, interpolated between the checkpoints, "
        "re-estimated, or "
        "those of each batch "
        "(default: frozen; with --to, interpolated)",
    )


def statistics_options(group: Any, policies: Sequence[str], default: str | None, help: str) -> None:
    """What becomes of BatchNorm's statistics."""
    group.add_argument("--batchnorm", choices=policies, default=default, help=help)
    group.add_argument(
        "--calibration",
        type=int,
        metavar="N",
        help="number of examples used to re-estimate BatchNorm statistics (default: 1024)",
    )


def network_options(group: Any) -> None:
    """What weights in a file belong to."""
    group.add_argument(
        "--network",
        help="package.module:factory of the network that the weights belong to, if the checkpoint does not say; or "
        f"timm:NAME, {', '.join(NETWORKS)}",
    )
    group.add_argument(
        "--argument",
        dest="arguments",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="arguments to build the network of a state dict with",
    )
    group.add_argument(
        "--entry",
        metavar="NAME",
        help="which weights to take from a file with several sets, such as raw and averaged ones",
    )


ONE_PART = "only the blocks that are this part of their layers, such as attention or mlp"


def blocks_options(group: Any, part: str = "") -> None:
    """Which blocks a network has; and what choosing a part of its layers means, where that can be chosen."""
    group.add_argument(
        "--blocks",
        metavar="PACKAGE.MODULE:FUNCTION",
        help="for a network that is not known: a function of the network that returns a dict from the name of "
        "each block to "
        "that of the submodule whose output is added to the residual stream",
    )
    group.add_argument(
        "--layers",
        action="store_true",
        help="treat each transformer layer as one block, instead of attention and MLP as two",
    )
    if part:
        group.add_argument("--part", metavar="PART", help=part)


def flow_options(parser: Parser) -> Any:
    """Those of `ensemble.flow.networks.of_networks`; returns the group of what is measured, for others."""
    parser.add_argument("out", metavar="OUT.h5", type=Path, help="the results file to write, or to resume")
    parser.add_argument(
        "variants", metavar="VARIANT", nargs="*", default=(), help="plain, resnet, resnet:order=pre,norm=none, …"
    )
    parser.add_argument(
        "--checkpoints",
        metavar="CHECKPOINT",
        type=Path,
        nargs="+",
        default=(),
        help="checkpoints of train to measure too; or one of another network: a folder that transformers wrote, or a "
        "file of weights with --network",
    )
    variant_options(parser, epochs=0, data=None)  # without epochs nothing is trained; by default checkpoints' own data
    measured = parser.add_argument_group("what is measured")
    measured.add_argument("--batches", type=int, default=4, help="number of batches of training images")
    group = parser.add_argument_group("a network that is not skipscape's own")
    network_options(group)
    blocks_options(group)
    group = parser.add_argument_group("how")
    device_option(group)
    run_options(group)
    return measured


def variant_options(parser: Parser, epochs: int, data: str | None) -> None:
    """Which networks there are, of which data, and how they are trained; see `landscape.training.variants`.

    Parameters
    ----------
    epochs, data : defaults
    """
    g = parser.add_argument_group("networks and data")
    g.add_argument(
        "--depth",
        type=int,
        nargs="+",
        default=(20,),
        help="number of weight layers; of a transformer or vit, layers",
    )
    g.add_argument(
        "--width", type=int, default=16, help="channels of the first stage; of a transformer or vit, of the stream"
    )
    g.add_argument("--seeds", type=int, default=3, help="number of seeds of each network: 0, 1, …")
    g.add_argument("--data", default=data, help="the data, as in train")
    g.add_argument("--root", type=Path, help="folder of torchvision's data sets")
    g.add_argument("--window", type=int, metavar="T", help="tokens per example of text (default: 256)")
    input_options(g, training=True)
    g.add_argument("--examples", type=int, help="number of training examples, a stratified subset")
    g = parser.add_argument_group("training")
    g.add_argument("--epochs", type=int, default=epochs, help="passes over the training data")
    g.add_argument(
        "--recipe",
        choices=RECIPES,
        help="schedule, optimizer, learning rate and weight decay (default: fast; for text: text; for a vit: patches)",
    )
    g.add_argument("--learning-rate", type=float, help="initial learning rate; by default that of the recipe")
    g.add_argument("--batch-size", type=int, default=128, help="examples per step")


def _number_or_name(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
