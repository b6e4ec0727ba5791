#!/usr/bin/env python3
"""Convert results for other tools, and files of the loss-landscape code of 2018 into ours.

    python scripts/convert.py random.h5 random.csv             a row a point; pandas, R, a spreadsheet
    python scripts/convert.py surface.h5 surface.npz           plain NumPy arrays
    python scripts/convert.py surface.h5 surface.vts           ParaView; a path of a training: .vtp
    python scripts/convert.py surface.h5 surface.stl           a solid to print; for Blender: .obj
    python scripts/convert.py surface.h5 surface.2018.h5       what plot_2D.py draws; a path: its proj_file and dir_file
    python scripts/convert.py old.h5 surface.h5                its surface as ours, for figure.py and compare.py
    python scripts/convert.py directions.h5 directions.pt --checkpoint weights.pt --network resnet
    python scripts/convert.py directions.pt directions.2018.h5 --checkpoint weights.pt --network resnet
    python scripts/convert.py resnet.pt small.pt --half     a trained network in half of the bytes, to keep or send
    python scripts/convert.py cifar10-jpeg cifar10-jpeg.npz    a folder of images as one file, which is read in a moment

The ending of OUT says what it becomes. A surface of 2018 can become anything that ours can. Nothing in a file is
executed, and no link out of it is followed. What a format cannot hold, or what is doubtful, is said.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from landscape.checkpoints import checkpoint as checkpoints
from landscape.commands.cli import Parser, run
from landscape.data import sources
from landscape.drawing.views import shown
from landscape.engine.atomic import write_atomically
from landscape.engine.ranks import Communicator, collective_errors
from landscape.errors import BadInput
from landscape.formats import li2018
from landscape.formats.checked import opened, results
from landscape.formats.mesh import write_obj, write_stl
from landscape.formats.tidy import write_csv, write_npz
from landscape.formats.vtk import write_vtp, write_vts
from landscape.log import note, say
from landscape.planes import direction_files as saved

RELIEF = {"linear", "clip", "height"}
# By the ending of OUT: what writes results, and the options that it has.
WRITERS = {
    ".csv": (write_csv, set()),
    ".npz": (write_npz, set()),
    ".vts": (write_vts, {*RELIEF, "repeat"}),
    ".vtp": (write_vtp, RELIEF),
    ".obj": (write_obj, {*RELIEF, "repeat"}),
    ".stl": (write_stl, {*RELIEF, "repeat"}),
    ".2018.h5": (li2018.write, {"repeat"}),
}
IMPORT = {"network", "data", "loss", "checkpoint"}


def parser() -> Parser:
    # What is not given is not passed on: the defaults are the writers' own.
    p = Parser(prog="convert.py", description=__doc__, argument_default=argparse.SUPPRESS)
    p.add_argument("file", metavar="IN", type=Path, help="results or directions, ours or those of the 2018 code")
    p.add_argument(
        "out", metavar="OUT", type=Path, help=f"the suffix says what to write: {', '.join(WRITERS)}, .h5, .pt"
    )
    p.add_argument("--layout", choices=["2018"], help="write an OUT.h5 in the layout of 2018, as for .2018.h5")
    g = p.add_argument_group("surfaces and paths as shapes")
    g.add_argument("--linear", action="store_true", help="use the loss as height (default: its log10)")
    g.add_argument("--clip", type=float, metavar="LOSS", help="cut off losses above this")
    g.add_argument("--height", type=float, metavar="FACTOR", help="factor to multiply heights by (default: 1)")
    g = p.add_argument_group("which surface")
    g.add_argument(
        "--variable", metavar="NAME", help="what to convert instead of the loss: test_loss, mse, objective, …"
    )
    g.add_argument("--repeat", type=int, metavar="K", help="which of several repeats in the file, from 0")
    p.add_argument(
        "--half",
        action="store_true",
        help="store the weights of a checkpoint of train in 16 bits each, but those of one dimension",
    )
    p.add_argument("--size", type=int, help="side length in pixels to which images of a folder are resized")
    g = p.add_argument_group("what files of 2018 do not record")
    g.add_argument("--checkpoint", type=Path, metavar="FILE.pt", help="weights of the network they belong to")
    g.add_argument("--network", help="the network of a state dict, as in surface; for a surface, the name to show")
    g.add_argument("--entry", metavar="NAME", help="which weights to take from a checkpoint with several sets")
    g.add_argument("--data", metavar="NAME", help="for a surface, the name of the data (default: unknown data)")
    g.add_argument("--loss", metavar="NAME", help="for a surface, the name of its loss (default: cross_entropy)")
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    with collective_errors(comm):
        if comm.rank:
            return
        options = vars(arguments)
        source, out = options.pop("file"), options.pop("out")
        ending = ending_of(out, options.pop("layout", None))
        if not out.parent.is_dir():
            raise BadInput(f"output folder {out.parent} does not exist; create it: mkdir -p {out.parent}")
        kind = "a checkpoint" if options.pop("half", False) else kind_of(source)
        readers = {
            "a checkpoint": trained,
            "a folder": images,
            "directions": directions,
            "directions of 2018": directions,
        }
        reader = readers.get(kind, surface)
        notes, write, known = reader(source, kind, ending, options)
        if unknown := options.keys() - known:
            raise BadInput(f"--{min(unknown)} does not apply to {kind} as {ending}; leave it out")
        with write_atomically(out) as draft:
            notes += write(draft, options) or []
            if out.exists() and out.suffix in (".h5", ".pt") and out.read_bytes() != draft.read_bytes():
                raise BadInput(f"{out} exists, and may hold hours of work; give another output file, or remove it")
        for each in notes:
            note(f"{source}: {each}")
        say(comm, f"{out}: {kind} of {source}")


def ending_of(out: Path, layout: str | None) -> str:
    """What OUT is to be."""
    endings = [*WRITERS, ".h5", ".pt"]  # longer ones first
    ending = next((e for e in endings if out.name.endswith(e)), None)
    if ending is None:
        raise BadInput(f"{out} ends in none of {', '.join(endings)}; name it by what it is to be")
    if layout and out.suffix != ".h5":
        raise BadInput(f"--layout {layout} is for .h5 files, {out} is none; leave it out")
    return ".2018.h5" if layout else ending


def kind_of(path: Path) -> str:
    """What a file holds, in words."""
    if path.is_dir():
        return "a folder"
    if path.suffix == ".pt":
        return "directions"
    with opened(path) as file:
        if "kind" in file.attrs:
            return "results"
        for name, kind in {"xcoordinates": "a surface of 2018", "xdirection": "directions of 2018"}.items():
            if name in file:
                return kind
    raise BadInput(f"{path} is HDF5 but neither results nor a surface or directions of 2018; name another one")


def surface(source: Path, kind: str, ending: str, options: dict) -> tuple:
    """Notes, what writes a surface or other results, and the options that apply."""
    notes: list[str] = []
    known: set[str] = set()
    if kind == "results":
        read = results(source)
    else:
        read, notes = li2018.read_surface(source, **{name: options[name] for name in IMPORT & options.keys()})
        known = IMPORT
        if ending == ".h5":
            return notes, lambda draft, _: li2018.save(read, draft), known
    if ending not in WRITERS:
        raise BadInput(f"{source} holds {kind}, which cannot become {ending}; use {', '.join(WRITERS)}")
    write, own = WRITERS[ending]
    if "variable" in options and "repeat" not in own and "linear" not in own:
        raise BadInput(f"--variable does not apply to {ending}, which holds all of them; leave it out")
    if "variable" in options:
        read = shown(read, options.pop("variable"))
    return notes, lambda draft, given: write(read, draft, **{n: given[n] for n in own & given.keys()}), known | own


def directions(source: Path, kind: str, ending: str, options: dict) -> tuple:
    """Notes, what writes directions, and the options that apply."""
    theirs = kind == "directions of 2018"
    if ending not in ((".pt",) if theirs else (".2018.h5", ".h5")):
        raise BadInput(f"{source} holds {kind}, which can become {'.pt' if theirs else '.h5'}, not {ending}")
    path = options.get("checkpoint")
    if path is None:
        raise BadInput(f"{source} does not tell the network's parameters and their order; add --checkpoint")
    if path.suffix == ".safetensors":
        raise BadInput(f"{path} has lost the order of its parameters; give a state dict that torch.save has made")
    checkpoint = checkpoints.load(path, options.get("network"), entry=options.get("entry"))
    if theirs:
        loaded, notes = li2018.read_directions(source, checkpoint)
        return notes, lambda draft, _: saved.save(loaded, draft), {"checkpoint", "network", "entry"}
    loaded = saved.load(source)
    return [], lambda draft, _: li2018.write_directions(loaded, draft, checkpoint), {"checkpoint", "network", "entry"}


def trained(source: Path, kind: str, ending: str, options: dict) -> tuple:
    """Notes, what writes a trained network with weights of 16 bits, and the options that apply: none."""
    checkpoint = checkpoints.load(source)
    if ending != ".pt" or not checkpoint.format or checkpoint.state is not None:
        raise BadInput(f"--half is for a finished checkpoint of train.py that becomes a .pt, not {source} as {ending}")
    # What has one dimension is few bytes, and statistics of BatchNorm range over more decades than 16 bits do.
    weights = {n: t.half() if t.is_floating_point() and t.ndim > 1 else t for n, t in checkpoint.weights.items()}
    if broken := [n for n, t in weights.items() if not t.isfinite().all()]:
        raise BadInput(f"{source} has weights that 16 bits cannot hold, in {broken[0]}; keep it as it is")
    note = "the errors that it tells are those of the network before rounding"
    return [note], lambda draft, _: checkpoints.save(replace(checkpoint, weights=weights), draft), set()


def images(folder: Path, kind: str, ending: str, options: dict) -> tuple:
    """Notes, what writes the images of a folder as arrays, and the options that apply."""
    if ending != ".npz":
        raise BadInput(f"{folder} is a folder of images, which can become .npz, not {ending}")
    _, read = sources.source(str(folder), size=options.get("size"))

    def write(draft: Path, _: dict) -> list[str]:
        arrays = {}
        for split in ("train", "test"):
            part = read(split)
            pixels = part.inputs(torch.arange(len(part.targets)))
            arrays[f"{split}_images"] = pixels.permute(0, 2, 3, 1).numpy()  # (N, H, W, 3)
            arrays[f"{split}_labels"] = part.targets.numpy()
        with open(draft, "wb") as file:
            np.savez(file, **arrays)
        return ["data are called by their file: keep its name, or figures will tell another"]

    return [], write, {"size"}


if __name__ == "__main__":
    run(main, parser())
