"""Measures of claims on numbers that are known."""

import numpy as np
import pytest

from ensemble.claims.measures import blocks, paths
from ensemble.claims.measures.lesions import largest_step


def test_the_largest_step_is_a_part_of_the_whole_rise():
    number = np.array([0, 1, 1, 2, 3, 3])
    assert largest_step(number, np.array([10.0, 20.0, 40.0, 35.0, 60.0, 60.0])) == pytest.approx(25 / 50)
    assert largest_step(number, 3 * number.astype(float)) == pytest.approx(1 / 3)
    assert np.isnan(largest_step(number, -number.astype(float)))


def test_branches_of_one_variance_have_shares_that_fall_with_the_block(monkeypatch):
    """Behind block l the stream has l + 1 parts of one variance, of which the block's is one."""
    share = 1 / (1 + np.arange(1, 8))
    monkeypatch.setattr(blocks, "_measured", lambda case, batchnorm: {"share": share[None]})
    assert blocks.responses(None, of="share by place").value == pytest.approx(1)
    assert blocks.responses(None, of="share").value == pytest.approx(1 / 5)


def test_the_share_of_paths_includes_both_ends():
    """Of two blocks: a path of length 0, two of length 1, one of length 2."""
    assert [paths.binomial_share(None, k, k, 2).value for k in range(3)] == pytest.approx([25, 50, 25])
    assert paths.binomial_share(None, 1, 2, 2).value == pytest.approx(75)
