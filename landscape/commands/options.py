"""Groups of options that several commands share. The name of an option is that of the keyword that it becomes."""

from __future__ import annotations

from argparse import BooleanOptionalAction
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landscape.analysis.labels import NORMALIZATIONS
from landscape.commands.cli import Parser
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
        help="a checkpoint of train; or any state dict, .pt or .safetensors, or a Hugging Face folder, with --network, "
        "--argument and --data",
    )
    parser.add_argument("out", metavar="OUT.h5", type=Path, help="the results file to write or to go on with")
    group = parser.add_argument_group("what is measured")
    splits, losses = ["train", "test"], f"{', '.join(LOSSES)}, or package.module:function"
    if several:
        losses = f"{losses}; several are measured in one pass, the first is the loss"
    both = several if both is None else both
    if both:
        splits = [*splits, "both"]
    group.add_argument(
        "--split", choices=splits, default=split, help="of the data" + ("; both: the test split in test_…" * both)
    )
    group.add_argument("--examples", type=int, help="a stratified subset of so many; by default the whole split")
    group.add_argument(
        "--loss", nargs="+" if several else 1, metavar="LOSS", help=f"{losses} (default: cross_entropy, for classes)"
    )
    group.add_argument(
        "--metric",
        dest="metrics",
        nargs="+",
        metavar="METRIC",
        help=f"measured beside the loss: {', '.join(REFERRING)} (with the unchanged network's predictions), or "
        "package.module:function of outputs and targets, with a value for each example",
    )
    group.add_argument(
        "--outputs",
        metavar="NAME",
        help="which of several outputs the loss gets, by its key, attribute or position (default: the logits, or the "
        "first)",
    )
    group.add_argument("--seed", type=int, default=0, help="random seed")
    group.add_argument(
        "--network", help=f"what the weights belong to, where it is not skipscape's own; or {', '.join(NETWORKS)}"
    )
    group.add_argument(
        "--argument",
        dest="arguments",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="what the network of a state dict is built with",
    )
    group.add_argument(
        "--entry", metavar="NAME", help="which weights of a file that has several, raw and averaged ones, for example"
    )
    depth: dict[str, Any] = {
        "type": lambda text: f"depth={int(text)}",
        "metavar": "N",
        "help": "short for --argument depth=N",
    }
    group.add_argument("--depth", dest="arguments", action="append", default=[], **depth)
    group.add_argument("--data", help="the data, where they are not one of the known names: a folder, an .npz file, …")
    group.add_argument("--root", type=Path, help="where torchvision's data lie")
    group.add_argument("--size", type=int, help="side, in pixels, that the images of a folder are resized to")
    input_options(group)
    group = parser.add_argument_group("how")
    device_option(group)
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


def run_options(parser: Any) -> None:
    """Those of `landscape.engine.run.run`, and how much is said."""
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="measure no more than a few rows, keep nothing; tell how many there are, the time, memory and file needed",
    )
    saying = parser.add_mutually_exclusive_group()
    saying.add_argument(
        "-v", "--verbose", action="store_true", help="tell what is measured, with which settings, where"
    )
    saying.add_argument("--quiet", action="store_true", help="print nothing but errors")


def device_option(group: Any) -> None:
    """Where to compute."""
    group.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if there is one")


def input_options(group: Any, training: bool = False) -> None:
    """Those of `landscape.networks.arguments.standardisation`.

    Parameters
    ----------
    training : whether networks are trained on the data
    """
    known, both = ", ".join(CONSTANTS), "what inputs are standardised with, one number a channel"
    group.add_argument(
        "--mean", nargs="+", type=_number_or_name, metavar="V", help=f"{both}; or {known}, which sets --std too"
    )
    group.add_argument("--std", nargs="+", type=float, metavar="V", help="goes with --mean")
    if training:
        help = "standardise inputs by the training split; by default where --data is one of the known names"
        group.add_argument("--standardize", action=BooleanOptionalAction, default=None, help=help)
    else:
        help = "standardise inputs by the training split; by default as the checkpoint has recorded, else not at all"
        group.add_argument("--standardize", action="store_true", default=None, help=help)


def parameter_options(group: Any) -> None:
    """The choice of parameters."""
    group.add_argument(
        "--parameters",
        nargs="+",
        metavar="WHICH",
        help="which parameters move or are differentiated: all (default), trainable, or patterns of names such as "
        "'layer3.*' or '*lora_*'; the others stay",
    )


def plane_options(parser: Parser, points: int) -> None:
    """Those of `ends_of` and `build_plane`, see `landscape.planes.build_plane`; `points` on an axis by default."""
    g = parser.add_argument_group("the plane")
    ends = ("FROM", "TO", "POINTS")
    x = "first axis; 1 is a network's norm, or the other checkpoint, or a saved direction"
    g.add_argument("--x", nargs=3, type=float, metavar=ends, default=(-1, 1, points), help=x)
    g.add_argument("--y", nargs=3, type=float, metavar=ends, help="second axis; without it, a line")
    g.add_argument("--z", nargs=3, type=float, metavar=ends, help="third axis: a space instead of a plane")
    g.add_argument(
        "--repeats", type=int, metavar="K", help="so many independent sets of random directions, in one file"
    )
    g.add_argument(
        "--auto-range",
        type=float,
        metavar="LOSS",
        help="move the ends of the axes, along their own sides, to where the loss first reaches this",
    )
    g = parser.add_argument_group("directions")
    g.add_argument(
        "--to",
        nargs="+",
        type=Path,
        metavar="OTHER.pt",
        help="from CHECKPOINT (0) to another one (1), a line; to two others, a plane; instead of random directions",
    )
    g.add_argument(
        "--along",
        nargs="+",
        type=Path,
        metavar="DIRECTIONS.pt",
        help="saved directions, as many as there are axes: one in each file, or several in one, as "
        "trajectory.py and curvature.py save them; by default not normalised",
    )
    g.add_argument(
        "--normalize",
        choices=NORMALIZATIONS,
        help="how directions are scaled to the weights: per filter (default for random ones), layer or weight",
    )
    g.add_argument(
        "--move-biases", action="store_true", help="along such directions too: parameters that have no filters"
    )
    parameter_options(g)
    g.add_argument("--orthogonal", action="store_true", help="take from each direction its part along those before it")
    statistics_options(
        g,
        POLICIES,
        None,
        "statistics away from the checkpoint: its own, between the checkpoints', measured anew, each batch's "
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


def blocks_options(group: Any) -> None:
    """Which blocks a network has."""
    group.add_argument(
        "--blocks",
        metavar="PACKAGE.MODULE:FUNCTION",
        help="where branches end, for a network that is not known: function(network) gives a dict from a block's "
        "name to that of the submodule whose output is added to the stream",
    )
    group.add_argument(
        "--layers", action="store_true", help="a transformer's layer is one block, not attention and MLP"
    )
    group.add_argument(
        "--part", metavar="PART", help="only the blocks that are this part of their layers, such as attention or mlp"
    )


def variant_options(parser: Parser, epochs: int, data: str | None) -> None:
    """Which networks there are, of which data, and how they are trained; see `landscape.training.variants`.

    Parameters
    ----------
    epochs, data : defaults
    """
    g = parser.add_argument_group("networks and data")
    g.add_argument("--depth", type=int, nargs="+", default=(20,), help="weight layers")
    g.add_argument("--width", type=int, default=16, help="channels of the first stage")
    g.add_argument("--seeds", type=int, default=3, help="of each network: seeds 0, 1, …")
    g.add_argument("--data", default=data, help="as for train.py")
    g.add_argument("--root", type=Path, help="where torchvision's data lie")
    input_options(g, training=True)
    g.add_argument("--examples", type=int, help="a stratified subset of so many training images")
    g = parser.add_argument_group("training")
    g.add_argument("--epochs", type=int, default=epochs)
    g.add_argument("--recipe", choices=RECIPES, default="fast", help="schedule, learning rate and weight decay")
    g.add_argument("--learning-rate", type=float, help="by default the recipe's")
    g.add_argument("--batch-size", type=int, default=128, help="examples a step")


def _number_or_name(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
