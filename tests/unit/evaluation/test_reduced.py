"""A reduced type is compared with float32 where it was measured twice."""

import numpy as np

from landscape.analysis.precision import difference, differences, sample


def test_the_sample_has_the_middle_the_corners_and_random_rows():
    rows = sample((5, 7), 0)
    assert {0, 6, 28, 34, 17} <= {*rows}
    assert 5 < len(rows) <= 13
    assert rows.tolist() == sorted({*rows.tolist()})
    assert sample((5, 7), 0).tolist() == rows.tolist()
    assert sample((5, 7), 1).tolist() != rows.tolist()
    assert sample((1,), 0).tolist() == [0]
    assert {0, 8, 4} <= {*sample((9,), 3).tolist()}


def test_the_difference_is_relative_to_float32_and_knows_no_gaps():
    loss = np.array([1.01, 2.0, 5.0, np.inf, 3.0])
    exact = np.array([1.0, 2.0, np.nan, np.inf, 0.0])
    np.testing.assert_allclose(differences(loss, exact), [0.01, 0], atol=1e-12)
    assert "at 2 points: losses differ by 1 % at most, 0.5 % in the median" in difference("bfloat16", loss, exact)
    assert "no loss was finite" in difference("bfloat16", loss, np.full(5, np.nan))
