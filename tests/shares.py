"""Results of path spectra with shares that are known."""

from math import comb

import numpy as np

from landscape.engine.table import prepare, read

N = 6
BINOMIAL = [comb(N, length) for length in range(N + 1)]
SHARES = np.random.default_rng(1).dirichlet(np.ones(N + 1), 4).T


def spectrum(path, paths, shares, checkpoint="a" * 64, done=True, network="resnet-14"):
    lengths = np.arange(len(paths))
    rows, _ = prepare(
        path,
        lengths[:, None],
        kind="paths",
        dims=("length",),
        coordinates={"length": lengths, "example": np.arange(shares.shape[1])},
        given={"paths": (("length",), np.array(paths, float))},
        measured={"share_each": ("f8", np.nan, {}, ("example",))},
        attributes={"network": network, "checkpoint": checkpoint, "split": "test"},
    )
    for row, share in enumerate(shares):
        if done or row:
            rows.record(row, {"share_each": share})
    rows.flush()
    return read(path)
