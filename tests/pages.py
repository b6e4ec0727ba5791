"""Results for pages: surfaces, paths and lesions with numbers of their own in every row."""

import importlib.util

import numpy as np
from files import ROOT

from landscape.engine.table import prepare, read

SCRIPT = ROOT / "scripts" / "figure.py"
X, Y = np.linspace(-1, 1, 9), np.linspace(-1, 1, 7)
BOWL = 0.01 + np.add.outer(Y**2, X**2)
BLOCKS = ["stages.0.0", "stages.0.1", "stages.1.0", "stages.1.1", "stages.1.2"]
EVIL = '</script><img src=x onerror="window.hacked = 1">%{x}<b>&lt;\'`'


def surface(path, values, *, over=None, network="resnet-56", left=(), **attributes):
    """A surface with its own numbers at every point."""
    coordinates = {"y": Y, "x": X} if values.ndim > 1 else {"x": X}
    coordinates = (over or {}) | coordinates
    table, _ = prepare(
        path,
        np.zeros((values.size, 1)),
        kind="surface",
        dims=tuple(coordinates),
        coordinates=coordinates,
        attributes={"network": network, "split": "train", "loss": "cross_entropy", "checkpoint": "a"} | attributes,
    )
    for row in set(range(values.size)) - set(left):
        one = {
            "loss": values.flat[row],
            "loss_se": 0.01 + row / 997,
            "accuracy": (row % 97) / 97,
            "examples": 100 + row,
        }
        table.record(row, one)
    table.flush()
    return read(path)


def path(file, **attributes):
    """The path of a training through the middle of a surface's plane."""
    way = np.linspace(-0.9, 0.9, 4)
    names = np.array([EVIL, "epoch-1", "epoch-2", "epoch-3"])
    table, _ = prepare(
        file,
        np.zeros((4, 1)),
        kind="trajectory",
        dims=("checkpoint",),
        coordinates={"checkpoint": names},
        given={
            **{name: (("checkpoint",), way) for name in ("alpha", "beta")},
            "off_plane": (("checkpoint",), way**2),
            "distance": (("checkpoint",), np.sqrt(2 * way**2 + way**4)),
        },
        measured={name: ("f8", np.nan, {}) for name in ("loss", "plane_loss")},
        attributes={"captured": 0.9, "loss": "cross_entropy", "checkpoint": "a"} | attributes,
    )
    for row in range(4):
        table.record(row, {"loss": 0.5 + row, "plane_loss": 1.0 + row})
    table.flush()
    return read(file)


def lesion(path, plan, blocks=BLOCKS, lesion="delete", network="resnet-20", **attributes):
    plan = np.array(plan, bool)
    table, _ = prepare(
        path,
        plan,
        kind="lesion",
        dims=("trial",),
        coordinates={"trial": np.arange(len(plan)), "block": np.array(blocks)},
        given={"deleted": (("trial", "block"), plan)},
        measured={
            name: ("i8" if name == "examples" else "f8", 0, {})
            for name in ("loss", "loss_se", "accuracy", "examples", "rise", "rise_se")
        },
        attributes={"network": network, "split": "test", "lesion": lesion, "loss": "cross_entropy"} | attributes,
    )
    for row, chosen in enumerate(plan):
        n = np.random.default_rng(chosen.astype(int)).integers(400)  # of a set, whatever its row
        one = {"loss": n / 50, "loss_se": 0.1, "accuracy": 1 - n / 400, "examples": 400}
        table.record(row, one | {"rise": n / 50 - 0.1, "rise_se": 0.01 + n / 9000})
    table.flush()
    return read(path)


SINGLE = np.vstack([np.zeros(5), np.eye(5)])
PAIRS = [[0, 0, 0, 0, 0], [1, 0, 1, 0, 0], [1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 0, 0, 1]]


def lesions(folder):
    return [lesion(folder / "single.h5", SINGLE), lesion(folder / "pairs.h5", PAIRS)]


def figure(*arguments):
    """What scripts/figure.py does, in this process."""
    spec = importlib.util.spec_from_file_location("figure", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(module.parser().parse_args(list(map(str, arguments))), None)
