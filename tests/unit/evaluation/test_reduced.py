"""A reduced type is compared with float32 where it was measured twice."""

import numpy as np
import pytest

from landscape.analysis.precision import difference, differences, sample


def test_the_sample_of_a_large_grid_has_the_middle_the_corners_and_random_rows():
    rows = sample((21, 21), 0)
    assert {0, 20, 420, 440, 220} <= {*rows}
    assert 5 < len(rows) <= 13
    assert rows.tolist() == sorted({*rows.tolist()})
    assert sample((21, 21), 0).tolist() == rows.tolist()
    assert sample((21, 21), 1).tolist() != rows.tolist()
    assert sample((1,), 0).tolist() == [0]


@pytest.mark.parametrize("shape", [(3,), (8,), (25,), (5, 5), (3, 7), (2, 4, 5), (64,)])
def test_the_sample_of_a_small_grid_is_its_middle_and_few_others(shape):
    for seed in range(5):
        rows = sample(shape, seed)
        assert np.ravel_multi_index([n // 2 for n in shape], shape) in rows
        assert len({*rows.tolist()}) == len(rows) == max(2, int(np.prod(shape)) // 8)
        assert 0 <= rows.min() and rows.max() < np.prod(shape)


def test_the_difference_is_relative_to_float32_and_knows_no_gaps():
    loss = np.array([1.01, 2.0, 5.0, np.inf, 3.0])
    exact = np.array([1.0, 2.0, np.nan, np.inf, 0.0])
    np.testing.assert_allclose(differences(loss, exact), [0.01, 0], atol=1e-12)
    assert "at 2 of 4 points: losses differ there by 1 % at most, 0.5 % in the median" in difference(
        "bfloat16", loss, exact
    )
    assert "no loss was finite" in difference("bfloat16", loss, np.full(5, np.nan))
