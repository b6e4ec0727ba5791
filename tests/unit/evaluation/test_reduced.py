"""A reduced type is compared with float32 where it was measured twice."""

import numpy as np
import pytest
import torch

from landscape.analysis.precision import difference, differences, sample
from landscape.evaluation import evaluator, prepared
from landscape.evaluation.evaluator import Evaluator
from landscape.planes.surface import surface


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
        assert rows.min() >= 0 and rows.max() < np.prod(shape)


def test_the_difference_is_relative_to_float32_and_knows_no_gaps():
    loss = np.array([1.01, 2.0, 5.0, np.inf, 3.0])
    exact = np.array([1.0, 2.0, np.nan, np.inf, 0.0])
    np.testing.assert_allclose(differences(loss, exact), [0.01, 0], atol=1e-12)
    assert "at 2 of 4 points: losses differ there by 1 % at most, 0.5 % in the median" in difference(
        "bfloat16", loss, exact
    )
    assert "no loss was finite" in difference("bfloat16", loss, np.full(5, np.nan))


def test_auto_is_float32_where_points_are_few_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(evaluator, "reduced_type", lambda *_: torch.bfloat16)
    monkeypatch.setattr(prepared, "reduced_type", lambda name, _: getattr(torch, name.replace("auto", "bfloat16")))
    torch.manual_seed(0)
    batches = [(torch.randn(8, 3, 4, 4), torch.arange(8) % 3)]
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 3))
    caplog.set_level("INFO", "skipscape")

    def measured(number, dtype):
        return surface(Evaluator(network, batches, dtype=dtype), x=(-1, 1, number), quiet=True)

    few, exact = measured(7, "auto"), measured(7, "float32")
    np.testing.assert_array_equal(few["loss"], exact["loss"])
    assert few.attributes["dtype"] == "float32" and "loss_float32" not in few.variables
    assert "what 7 rows save" in few.attributes["dtype_because"] and "what 7 rows save" in caplog.text
    assert "dtype_because" not in exact.attributes
    many = measured(8, "auto")
    assert many.attributes["dtype"] == "bfloat16" and np.isfinite(many["loss_float32"]).sum() == 2
    assert "has instructions for it" in many.attributes["dtype_because"]
    assert "bfloat16 against float32, at 2 of 8 points" in caplog.text
    asked = measured(3, "bfloat16")
    assert asked.attributes["dtype"] == "bfloat16" and np.isfinite(asked["loss_float32"]).sum() == 2


def test_what_a_reduced_type_is_compared_with_is_the_loss_in_float32():
    torch.manual_seed(0)
    batches = [(torch.randn(8, 3, 4, 4), torch.arange(8) % 3) for _ in range(3)]
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 3))
    with Evaluator(network, batches, dtype="bfloat16").ready() as evaluation:
        reduced, compared = evaluation.measure()["loss"], evaluation.loss_in_float32(24)
    with Evaluator(network, batches).ready() as evaluation:
        assert compared == evaluation.measure()["loss"] != reduced
