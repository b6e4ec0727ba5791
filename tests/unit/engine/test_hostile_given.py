"""What an experiment knows beforehand, or gives for a row, is kept as it is or refused in one line."""

import numpy as np
import pytest
from hostile import complaint, listed

from landscape.engine.ranks import SerialComm
from landscape.engine.run import run

OVER = ("x",)
MEASURED = {"loss": ("f8", np.nan, {"long_name": "loss"})}


def ones(rows):
    for _ in rows:
        yield {"loss": 1.0}


def tried(function=ones, **changes):
    plan = {"dims": ["x"], "coordinates": {"x": np.arange(3.0)}, "measured": MEASURED, "comm": SerialComm()}
    return run(function, np.arange(3), quiet=True, **(plan | changes))


GIVEN = {
    "no pair": np.arange(3),
    "nothing": None,
    "dict": {"b": 1},
    "fewer": (OVER, np.arange(2)),
    "more": (OVER, np.arange(4)),
    "two axes": (OVER, np.zeros((3, 2))),
    "unknown dimension": (("y",), np.arange(3)),
    "objects": (OVER, np.array([object()] * 3)),
    "mixed": (OVER, np.array([1, "a", None], object)),
    "complex": (OVER, np.arange(3) * 1j),
    "dates": (OVER, np.arange(3).astype("M8[s]")),
    "bytes": (OVER, np.array([b"a"] * 3)),
    "zeros in texts": (OVER, np.array(["a\0"] * 3, object)),
    "halves of characters": (OVER, np.array(["\ud800"] * 3, object)),
}


@pytest.mark.parametrize("out", [None, "a.h5"])
@pytest.mark.parametrize("case", GIVEN)
def test_what_no_file_can_keep_is_refused_with_and_without_one(tmp_path, case, out):
    assert "known" in complaint(tried, given={"known": GIVEN[case]}, out=out and tmp_path / out)
    assert not listed(tmp_path)


@pytest.mark.parametrize("name", ["x", "loss", "done", "crc", "a/b", ".", "", "a\0", "\x1b[31m", 3])
def test_a_variable_without_a_name_of_its_own_is_refused(tmp_path, name):
    assert "called" in complaint(tried, given={name: (OVER, np.arange(3))}, out=tmp_path / "a.h5")
    assert not listed(tmp_path)


PLANS = {
    "coordinates of another length": {"coordinates": {"x": np.arange(4.0)}},
    "no coordinates": {"coordinates": {}},
    "coordinates of two axes": {"coordinates": {"x": np.zeros((3, 1))}},
    "coordinates of objects": {"coordinates": {"x": np.array([object()] * 3)}},
    "no dimensions": {"dims": []},
    "one twice": {"dims": ["x", "x"]},
}


@pytest.mark.parametrize("case", PLANS)
def test_a_plan_that_is_no_grid_is_refused(case):
    complaint(tried, **PLANS[case])


GIVES = {
    "nothing": {},
    "None": {"loss": None},
    "word": {"loss": "a"},
    "complex": {"loss": 1j},
    "array": {"loss": [1, 2]},
}


@pytest.mark.parametrize("case", GIVES)
def test_a_row_that_gives_no_number_is_named(case):
    assert "row 0" in complaint(tried, lambda rows: (GIVES[case] for _ in rows))


def test_nan_is_a_number():
    assert np.isnan(tried(lambda rows: ({"loss": np.nan} for _ in rows))["loss"]).all()
