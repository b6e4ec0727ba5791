#!/usr/bin/env python3
"""Make the figures of the README from nothing: train four networks, measure them, draw, in some minutes.

    python scripts/demo.py results/demo
    python scripts/demo.py results/demo-text --text

On scikit-learn's digits, which need no download; with --text, small language models on the sources of Python's own
standard library: transformers with and without skip connections, shallow and deep. Every step is a command that can be
typed by hand, and is printed; interrupted, the same command goes on where it stopped. On as many ranks as there are
cores, where MPI is installed.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from landscape.commands.cli import Parser, run
from landscape.commands.launch import launcher
from landscape.engine.ranks import Communicator
from landscape.errors import SCRIPT, BadInput
from landscape.log import ANSWER, say

SCRIPTS = Path(__file__).parent


def parser() -> Parser:
    p = Parser(prog="demo.py", description=__doc__)
    p.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", default=Path(), help="where the files go")
    p.add_argument("--text", action="store_true", help="language models, in place of classifiers of images")
    p.add_argument("--ranks", type=int, default=2, help="MPI ranks that measure; 1 where MPI is not installed")
    return p


def steps(folder: Path) -> list[tuple[str, bool, list]]:
    """The commands in order: the name, whether on all ranks, and what is typed.

    Of 32 layers both networks fit the training data; of 56 only the residual one does.
    """
    nets = {(name, depth): folder / f"{name}-{depth}.pt" for depth in (32, 56) for name in ("plain", "resnet")}
    train = ["--width", 16, "--data", "digits", "--epochs", 30, "--seed", 0]
    plane = ["--x", -1, 1, 21, "--y", -1, 1, 21, "--seed", 0, "--split", "train"]
    surfaces = {net: folder / f"surface-{net.stem}.h5" for net in nets.values()}
    single = {name: folder / f"lesion-{name}-32-single.h5" for name in ("resnet", "plain")}
    many = folder / "lesion-resnet-32-random.h5"
    figures: dict[str, list] = {"surfaces": [*surfaces.values(), "--width", 7], "lesions": [*single.values(), many]}
    return [
        *[("train", False, [net, "--network", name, "--depth", depth, *train]) for (name, depth), net in nets.items()],
        *[("surface", True, [net, out, *plane]) for net, out in surfaces.items()],
        *[("lesion", True, [nets[name, 32], out, "--delete", 1]) for name, out in single.items()],
        ("lesion", True, [nets["resnet", 32], many, "--delete", 1, 10, "--trials", 30, "--seed", 0]),
        *[
            ("figure", False, [folder / f"{name}.{kind}", *what, *more])
            for kind, more in (("pdf", []), ("png", ["--dpi", 200]))
            for name, what in figures.items()
        ],
        ("compare", False, [*surfaces.values(), *single.values()]),
    ]


def text_steps(folder: Path, depths: Sequence[int] = (2, 8), examples: int = 1600, measured: int = 96) -> list:
    """The same of language models.

    Parameters
    ----------
    folder : where the files go
    depths : layers of the shallow and of the deep ones, of which the deep are lesioned
    examples : windows that they are trained on, and others that are measured
    """
    kinds: dict[str, list] = {"transformer": [], "plain": ["--argument", "shortcut=None"]}
    nets = {(name, depth): folder / f"{name}-{depth}.pt" for name in kinds for depth in depths}
    train = ["--network", "transformer", "--width", 64, "--data", "stdlib", "--window", 128, "--examples", examples]
    train += ["--epochs", 1, "--batch-size", 16, "--seed", 0]
    deep = {name: nets[name, depths[-1]] for name in kinds}
    measure = ["--examples", measured, "--seed", 0, "--metric", "agreement", "kl"]
    single = {name: folder / f"lesion-{name}-single.h5" for name in kinds}
    layers, neighbours = (folder / f"lesion-transformer-{what}.h5" for what in ("layers", "neighbours"))
    table = folder / "degradation.h5"
    drawn: dict[str, list] = {
        "degradation": [table, "--titles", "with skip connections", "without"],
        "lesions": [*single.values(), "--titles", "with skip connections", "without"],
        "agreement": [single["transformer"], "--variable", "agreement"],
        "kinds": [layers, neighbours, "--variable", "perplexity"],
    }
    return [
        *[("train", False, [net, *train, "--depth", depth, *kinds[name]]) for (name, depth), net in nets.items()],
        ("trainings", False, [table, "--checkpoints", *nets.values()]),
        *[("lesion", True, [deep[name], out, "--delete", 1, *measure]) for name, out in single.items()],
        ("lesion", True, [deep["transformer"], layers, "--delete", 1, "--layers", *measure]),
        ("lesion", True, [deep["transformer"], neighbours, "--reverse", 2, "--layers", *measure]),
        *[
            ("figure", False, [folder / f"{name}.{kind}", *what])
            for kind in ("pdf", "png")
            for name, what in drawn.items()
        ],
        ("compare", False, [*single.values(), layers, neighbours]),
    ]


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    if comm.size > 1:
        raise BadInput("the demo starts its own ranks; start it without mpiexec, with --ranks")
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    python = shlex.quote(Path(sys.executable).name)
    commands = text_steps(folder) if arguments.text else steps(folder)
    for name, on_ranks, words in commands:
        words = list(map(str, words))
        if on_ranks and arguments.ranks > 1 and launcher() is not None:
            words += ["--ranks", str(arguments.ranks)]
        which = f"scripts/{name}.py" if SCRIPT.get() else f"-m skipscape {name}"
        say(comm, f"\n{python} {which} {shlex.join(words)}")
        call = [str(SCRIPTS / f"{name}.py")] if SCRIPT.get() else ["-m", "skipscape", name]
        if status := subprocess.run([sys.executable, *call, *words]).returncode:
            sys.exit(status)
    figures = ", ".join(str(words[0]) for name, _, words in commands if name == "figure" and words[0].suffix == ".pdf")
    say(comm, f"\nfigures: {figures}, and the same as .png", level=ANSWER)
    say(comm, f'numbers: {folder}/*.h5, for xarray.open_dataset(path, engine="h5netcdf")', level=ANSWER)


if __name__ == "__main__":
    run(main, parser())
