#!/usr/bin/env python3
"""Measure how strongly the layers of a trained DenseNet weigh what earlier ones have made (Huang et al. 2017, Fig. 5).

    python scripts/train.py densenet.pt --network densenet --depth 40 --data digits
    python scripts/reuse.py densenet.pt reuse.h5
    python scripts/figure.py reuse.pdf reuse.h5

A row of the file is a stage. How alike the features of any network are from block to block is in the files of flow.py.
"""

from pathlib import Path

import numpy as np
from landscape.command import Parser, run
from landscape.experiment import experiment
from landscape.experiment import options as run_options

from ensemble.similarity import source_weights
from landscape.ranks import agreed
from landscape.variants import trained_here

MEASURED = {
    "weight": (
        "f8",
        float("nan"),
        {"long_name": "mean absolute weight of the connection", "units": "1"},
        ("target", "source"),
    ),
}


def parser() -> Parser:
    p = Parser(prog="reuse.py", description=__doc__)
    p.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="of train.py, a densenet")
    p.add_argument("out", metavar="OUT.h5", type=Path, help="the results file to write")
    run_options(p)
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        found = trained_here(arguments.checkpoint)
        weights = source_weights(found.restore())
    stages, targets, sources = weights.shape
    experiment(
        lambda points: ({"weight": weights[int(stage)]} for (stage,) in points),
        np.arange(stages)[:, None],
        arguments,
        comm,
        label="stages",
        kind="reuse",
        dims=("stage",),
        coordinates={
            "stage": np.arange(1, stages + 1),
            "target": np.arange(1, targets + 1),
            "source": np.arange(sources),
        },
        measured=MEASURED,
        attributes={"network": found.title, "data": found.data.get("name", ""), "checkpoint": found.sha256},
    )


if __name__ == "__main__":
    run(main, parser())
