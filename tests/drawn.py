"""Results for figures: surfaces and tables of lesions."""

import numpy as np

from landscape.engine.table import prepare

X, Y = np.linspace(-1, 1, 9), np.linspace(-1, 1, 7)
BOWL = 0.01 + np.add.outer(Y**2, X**2)


def surface(path, values, *, x=X, y=Y, done=True, network="resnet-56", **attributes):
    coordinates = {"x": x} if values.ndim == 1 else {"y": y, "x": x}
    if values.ndim == 3:
        coordinates = {"repeat": np.arange(len(values)), **coordinates}
    table, _ = prepare(
        path,
        np.zeros((values.size, 1)),
        kind="surface",
        dims=tuple(coordinates),
        coordinates=coordinates,
        attributes={"network": network, "split": "train", "loss": "cross_entropy", **attributes},
    )
    for row in np.flatnonzero(np.broadcast_to(done, values.shape)):
        table.record(row, {"loss": values.flat[row], "loss_se": 0.01, "accuracy": 0.5, "examples": 100})
    table.flush()
    return path


def table(path, blocks, plan, accuracy, network="resnet-56"):
    plan = np.array(plan, bool)
    rows, _ = prepare(
        path,
        plan,
        kind="lesion",
        dims=("trial",),
        coordinates={"trial": np.arange(len(plan)), "block": np.array(blocks)},
        given={"deleted": (("trial", "block"), plan)},
        attributes={"network": network, "data": "digits", "split": "test"},
    )
    for row, fraction in enumerate(accuracy):
        rows.record(row, {"loss": 1.0, "loss_se": 0.1, "accuracy": fraction, "examples": 400})
    rows.flush()
    return path


BLOCKS = ["stages.0.0", "stages.0.1", "stages.1.0", "stages.1.1"]


def singles(path, blocks=BLOCKS, **how):
    plan = np.vstack([np.zeros(len(blocks)), np.eye(len(blocks))])
    return table(path, blocks, plan, np.linspace(0.98, 0.1, len(plan)), **how)
