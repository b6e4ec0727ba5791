#!/usr/bin/env python3
"""Measure the path of a training: its plane, how far it leaves it, and the loss on it and in the plane.

    python scripts/train.py resnet.pt --epochs 30 --snapshots run
    mpiexec -n 4 python -m mpi4py scripts/trajectory.py resnet.pt path.h5 --snapshots run

The plane is that of the first two principal components of the path, through its end (Li et al. 2018, §7). They are
saved, and the command for surface.py is printed that measures the loss around the path; figure.py draws both.
What is measured here is the loss at each checkpoint, with its own statistics of BatchNorm, and at the nearest point
in the plane. Interrupted, the same command goes on where it stopped; finished, it only says so.
"""

import contextlib
import hashlib
import shlex
import sys
import tempfile
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch

from landscape import checkpoint as checkpoints
from landscape import filters, saved
from landscape.command import Parser, run, say
from landscape.errors import BadInput
from landscape.experiment import experiment
from landscape.ranks import agreed
from landscape.span import Span, span
from landscape.span import options as span_options
from landscape.statistics import has_statistics, norms_of
from landscape.subject import Subject, options, subject
from landscape.table import read
from landscape.trajectory import loaded, snapshots, trajectory, window

# What a surface's points have in common with ours.
SHARED = ("split", "examples", "loss", "seed", "network", "argument", "data", "root", "size", "device", "batch_size")
SHARED += ("tolerance", "batchnorm", "calibration", "outputs", "mean", "std", "standardize", "entry", "parameters")
STEEP = 2.0  # how many times the loss on the path that in the plane may be without a word


def parser() -> Parser:
    p = Parser(prog="trajectory.py", description=__doc__)
    options(p, split="train")
    g = p.add_argument_group("the path")
    g.add_argument(
        "--snapshots",
        nargs="+",
        type=Path,
        metavar="RUN",
        required=True,
        help="checkpoints on the way to CHECKPOINT, in order: a folder of train.py --snapshots, or files; "
        "also state dicts",
    )
    g.add_argument(
        "--filters-only", action="store_true", help="the path of parameters that have filters, without biases"
    )
    filters.options(g)
    g = p.add_argument_group("the plane")
    g.add_argument(
        "--along", type=Path, metavar="FILE.pt", help="two saved directions, instead of the principal components"
    )
    g.add_argument(
        "--directions", type=Path, metavar="FILE.pt", help="where the components are saved (OUT.directions.pt)"
    )
    g.add_argument(
        "--batchnorm",
        choices=["frozen", "recalibrated"],
        default="frozen",
        help="statistics in the plane: those of CHECKPOINT, or measured anew",
    )
    g.add_argument("--calibration", type=int, metavar="N", help="examples that they are measured on; by default 1024")
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        if arguments.dtype != "float32":
            raise BadInput("a path has few points; they are measured in float32: leave out --dtype")
        if arguments.along and (arguments.directions or arguments.filters_only):
            raise BadInput("--directions and --filters-only are for principal components; leave them out with --along")
        it = subject(arguments, comm)
        filters.matching(it.network, arguments.parameters)
        files = snapshots(arguments.snapshots, arguments.checkpoint)
        if arguments.batchnorm == "recalibrated":  # what would be found only after the long work
            norms_of(it.network)
            it.calibration(arguments.calibration)
    say(comm, *filters.notes(it.network, arguments, one_dimensional=not arguments.filters_only))
    file = arguments.along or arguments.directions or arguments.out.with_suffix(".directions.pt")
    plan = None
    with contextlib.ExitStack() as passing:
        with agreed(comm):
            if comm.rank == 0:
                if arguments.dry_run and not arguments.along and not arguments.out.exists():
                    file = directions_for_now(arguments.out, passing)
                plan = (file, *found(arguments, it, files, file))
        file, points, given, told = comm.bcast(plan)
        coordinates = np.stack([given["alpha"][1], given["beta"][1]], axis=1)
        with agreed(comm):
            plane = surface(arguments, it, file, window(coordinates))

    there = {
        f"plane_{name}": (
            dtype,
            fill,
            {**shown, "long_name": f"{shown['long_name']}, at the nearest point of the plane"},
        )
        for name, (dtype, fill, shown) in it.variables.items()
        if name != "examples"
    }

    def losses(rows):
        for (row,) in rows.astype(int):
            state = opened(arguments, it, points[row]).weights
            with loaded(it.network, state):
                measured = it.measure()
            with plane.at(it.network, coordinates[row]):
                nearest = it.measure()
            yield measured | {name: nearest[name.removeprefix("plane_")] for name in there}

    table = experiment(
        losses,
        np.arange(len(points))[:, None],
        arguments,
        comm,
        label="checkpoints",
        kind="trajectory",
        dims=("checkpoint",),
        coordinates={
            "checkpoint": np.array([path.stem for path in points]),
            "component": np.arange(1, len(given["explained"][1]) + 1),
        },
        given=given,
        measured=it.variables | there,
        attributes={**it.settings, **plane.settings, **told},
    )
    if table:
        say(comm, *summary(arguments, file, points, given, told))
        stale = arguments.batchnorm == "frozen" and has_statistics(it.network)
        say(comm, *height(table.values, points, stale))


def directions_for_now(out: Path, passing: contextlib.ExitStack) -> Path:
    """A file beside the output, where all ranks see it, that is gone when all have read it."""
    if not out.parent.is_dir():
        raise BadInput(f"output folder {out.parent} does not exist; create it: mkdir -p {out.parent}")
    folder = passing.enter_context(tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}."))
    return Path(folder) / "directions.pt"


def found(arguments, it: Subject, files: list[Path], file: Path) -> tuple[list[Path], dict, dict]:
    """The files of the path, what is known of it beforehand, and its attributes.

    Sums of products may differ in their last bits from machine to machine, so what an earlier run has found is taken
    from its file, if it is of the same snapshots.
    """
    out = arguments.out
    if not out.parent.is_dir():
        raise BadInput(f"output folder {out.parent} does not exist; create it: mkdir -p {out.parent}")
    files = fitting(arguments, it, files)
    sha = hashlib.sha256("".join(checkpoints.sha256_of(path) for path in files).encode()).hexdigest()
    points = [*files, arguments.checkpoint]
    told = {
        "directions": "saved" if arguments.along else "principal components of the path",
        "parameters": filters.with_filters(it.network) if arguments.filters_only else "all",
        **filters.naming(arguments.parameters),
        "snapshots": sha,
        "lengths": "alpha, beta, off_plane and distance are Euclidean norms of weights, from the final checkpoint",
    }
    if out.exists():
        before = read(out)
        if before.kind != "trajectory" or before.attributes["snapshots"] != sha:
            what = f"a {before.kind}, and this command makes a trajectory"
            if before.kind == "trajectory":
                names = list(before.coordinates["checkpoint"])[:-1], [path.stem for path in files]
                what = f"of other snapshots: {differing(*names)}"
            raise BadInput(f"{out} is {what}; give another output file, or remove this one to start anew")
        if not file.is_file():
            raise BadInput(f"{file} with the directions of {out} is gone; bring it back, or remove {out} to start anew")
        names = ("epoch", "alpha", "beta", "off_plane", "distance", "explained", "explained_random_walk")
        given = {name: (before.dims[name], before[name]) for name in names if name in before.variables}
        return points, given, told | {"captured": before.attributes["captured"]}

    which = filters.selected(it.network, arguments.parameters, filters=arguments.filters_only)
    final = {n: p.detach().cpu() for n, p in it.network.named_parameters() if which is None or which(n, p)}
    load = partial(opened, arguments, it)
    there = {str(path): lambda path=path: load(path).weights for path in files}
    along = surface(arguments, it, file, [(0, 1), (0, 1)]).plane.directions if arguments.along else None
    path = trajectory(there, final, along and [{n: d.cpu() for n, d in direction.items()} for direction in along])
    if not arguments.along:
        saved.save(path.directions, file)
    alpha, beta = path.projection.coordinates.T
    over = {"alpha": alpha, "beta": beta, "off_plane": path.projection.off_plane, "distance": path.projection.distance}
    histories = [it.checkpoint.history if path is arguments.checkpoint else load(path).history for path in points]
    if all(history.get("epoch") for history in histories):
        over = {"epoch": np.array([history["epoch"][-1] for history in histories]), **over}
    given = {name: (("checkpoint",), array) for name, array in over.items()}
    for name in ("explained", "explained_random_walk"):
        given[name] = (("component",), getattr(path, name))
    return points, given, told | {"captured": path.captured}


def differing(there: list[str], here: list[str]) -> str:
    """Which snapshots a file has, and which others are given."""

    def told(names: list[str]) -> str:
        return f"{len(names)}: {' … '.join([names[0], names[-1]]) if len(names) > 2 else ', '.join(names)}"

    if there == here:
        return f"it has {told(there)}; given are the same names with other weights"
    first = next(i for i, (one, other) in enumerate(zip_longest(there, here), 1) if one != other)
    return f"it has {told(there)}; given are {told(here)}; they differ from number {first} on"


def fitting(arguments, it: Subject, files: list[Path]) -> list[Path]:
    """The snapshots, without a last one that is the final checkpoint itself; all must be of its network."""
    own = it.network.state_dict()
    last = {}
    for path in files:
        other = opened(arguments, it, path)
        if other.format and it.checkpoint.format and other.title != it.checkpoint.title:
            raise BadInput(
                f"{path} holds another network, {other.title}, than {arguments.checkpoint}, {it.checkpoint.title}; "
                "give snapshots of one training"
            )
        last = other.weights
        wrong = [n for n in {**own, **last} if n not in own or n not in last or own[n].shape != last[n].shape]
        if wrong:
            raise BadInput(
                f"{path} is of another network than {arguments.checkpoint}: they differ in {wrong[0]}; "
                "give snapshots of one training"
            )
    same = all(torch.equal(last[name].to(p), p) for name, p in it.network.named_parameters()) if files else False
    return files[:-1] if same else files


def opened(arguments, it: Subject, path: Path) -> checkpoints.Checkpoint:
    """A snapshot, mapped; a state dict is taken for one of the same network, and of the same entry."""
    how = {"lazy": True, "like": it.network}
    if it.checkpoint.format == 0:
        how["entry"] = arguments.entry
    return checkpoints.load(path, arguments.network or it.checkpoint.network, **how)


def surface(arguments, it: Subject, file: Path, ends: list[tuple[float, float]]) -> Span:
    """The plane as surface.py would have it."""
    p = Parser()
    options(p, split="train")
    span_options(p, points=51)
    return span(p.parse_args(words(arguments, file, ends)), it)


def words(arguments, file: Path, ends: list[tuple[float, float]]) -> list[str]:
    """The arguments with which surface.py measures this plane."""
    told = [str(arguments.checkpoint), str(arguments.out.with_suffix(".plane.h5")), "--along", str(file)]
    for letter, (low, high) in zip("xy", ends, strict=True):
        told += [f"--{letter}", f"{low:g}", f"{high:g}", "51"]
    usual = parser()
    for name in SHARED:
        if (value := getattr(arguments, name)) != usual.get_default(name):
            told.append(f"--{name.replace('_', '-')}")
            if value is not True:
                told += map(str, value if isinstance(value, list) else [value])
    return told


def summary(arguments, file: Path, points: list[Path], given: dict, told: dict) -> list[str]:
    """What was found, and what to do next."""
    alpha, beta, off, distance, part, walk = (
        given[name][1] for name in ("alpha", "beta", "off_plane", "distance", "explained", "explained_random_walk")
    )
    names = [path.stem for path in points]
    nearness = off[:-1] / np.where(distance[:-1] > 0, distance[:-1], 1.0)
    far, least = off.argmax(), nearness.argmax()
    first, second = 100 * part[:2].sum(), 100 * walk[:2].sum()
    command = words(arguments, file, window(np.stack([alpha, beta], axis=1)))
    here = Path(sys.argv[0])
    figure = [arguments.out.with_suffix(".pdf"), command[1], arguments.out]
    return [
        f"two principal components have {first:.1f} % of the path's variance, of a random walk's with steps of these "
        f"lengths {second:.1f} %",
        *([f"the plane of {file} holds {100 * told['captured']:.1f} % of it"] if arguments.along else []),
        f"farthest off the plane is {names[far]}: by {off[far]:.3g}, at {distance[far]:.3g} from the end; for its "
        f"distance from there, {names[least]}: by {100 * nearness[least]:.0f} %",
        "measure the loss around the path, then draw both:",
        "  " + shlex.join(["python", str(here.with_name("surface.py")), *command]),
        "  " + shlex.join(["python", str(here.with_name("figure.py")), *map(str, figure)]),
    ]


def height(table: dict[str, np.ndarray], points: list[Path], stale: bool) -> list[str]:
    """Whether contours show the loss that the training passed; `stale`: with statistics that do not follow."""
    loss, plane = table["loss"], np.nan_to_num(table["plane_loss"], nan=np.inf)
    worst = int((plane - STEEP * loss).argmax())
    if plane[worst] <= STEEP * loss[worst]:
        return []
    cure = ", with BatchNorm's statistics of the end: --batchnorm recalibrated measures them anew" if stale else ""
    return [
        f"contours do not show the loss on the path: at {points[worst].stem} it is {loss[worst]:.3g}, "
        f"and {plane[worst]:.3g} in the plane{cure}"
    ]


if __name__ == "__main__":
    run(main, parser())
