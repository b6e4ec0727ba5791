"""Files of directions: they come back as they were, and hold nothing but tensors."""

import pickle

import pytest
import torch

from landscape.errors import BadInput
from landscape.planes.direction_files import load, save


def test_directions_come_back_in_their_order(tmp_path):
    one, two = ({"a": torch.full((2, 3), float(i)), "b": torch.arange(3.0)} for i in range(2))
    save([one, two], tmp_path / "a.pt")
    for there, here in zip(load(tmp_path / "a.pt"), (one, two), strict=True):
        assert there.keys() == here.keys()
        assert all(torch.equal(there[name], here[name]) for name in here)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_a_direction_of_torch_save_alone_is_one(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pt")
    (loaded,) = load(tmp_path / "a.pt")
    assert torch.equal(loaded["a"], torch.ones(2))


class Harm:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize("content", [[], {}, 3, [{"a": 1}], {1: torch.ones(1)}, "nothing"])
def test_what_holds_no_directions_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(BadInput, match="holds no directions"):
        load(tmp_path / "a.pt")


def test_nothing_in_a_file_is_executed(tmp_path, capsys):
    (tmp_path / "a.pt").write_bytes(pickle.dumps({"a": Harm()}))
    torch.save({"a": Harm()}, tmp_path / "b.pt")
    for name in ("a.pt", "b.pt"):
        with pytest.raises(BadInput, match="cannot be read safely"):
            load(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


def test_files_that_are_not_there_are_told(tmp_path):
    with pytest.raises(BadInput, match="there is no file of directions"):
        load(tmp_path / "a.pt")
    with pytest.raises(BadInput, match="cannot write"):
        save([], tmp_path / "missing" / "a.pt")
