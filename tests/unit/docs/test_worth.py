"""What docs/ensemble.md says of pairs of blocks, and of what blocks are worth, is what the files say."""

import numpy as np
import pytest
from files import ROOT

from ensemble.attribution.interaction import interactions
from ensemble.attribution.shapley import shapley_values
from landscape.engine.table import read


def test_pairs_do_not_say_what_blocks_are_worth():
    """Each block with half of its interactions, against random orders of deletion."""
    pairs, ways = (read(ROOT / "results" / "ensemble" / f"{name}-resnet-20-0.h5") for name in ("pairs", "shapley"))
    assert pairs.attributes["checkpoint"] == ways.attributes["checkpoint"]
    matrix, worth = interactions(pairs), shapley_values(ways)
    alone = np.diag(matrix.value)
    others = np.where(np.eye(len(alone), dtype=bool), 0, matrix.value)
    assert 100 * alone[0] == pytest.approx(69, abs=0.5)
    assert 100 * (alone + others.sum(axis=1) / 2)[0] == pytest.approx(75, abs=0.5)
    assert 100 * worth.mean[0] == pytest.approx(33, abs=0.5) and 100 * worth.half[0] < 1
    assert matrix.significant.any(axis=1).all()  # and no block acts alone
    for path in ("ensemble/pairs-resnet-20-0", "ensemble/pairs-resnet-56-0", "study/pairs-preact-56-0"):
        each = interactions(read(ROOT / "results" / f"{path}.h5"), loss=True)
        assert 0.82 < each.significant[np.triu_indices(len(each.value), 1)].mean() < 0.985
        assert each.significant.any(axis=1).all()
