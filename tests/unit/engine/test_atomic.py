"""Files are there whole or not at all."""

import pytest

from landscape.engine.atomic import write_atomically
from landscape.errors import BadInput


def test_a_file_takes_its_place_when_all_is_written(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with write_atomically(path) as draft:
        draft.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), write_atomically(path) as draft:
        draft.write_text("aft")
        1 / 0  # noqa: B018
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(BadInput, match=r"cannot write .*: No such file or directory; name a file") as raised:  # noqa: SIM117
        with write_atomically(tmp_path / "none" / "a.txt") as draft:
            draft.write_text("x")
    assert "\n" not in str(raised.value)
