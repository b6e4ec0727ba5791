"""What results keep as an attribute is the same in a file and in memory, and anything else is refused in a line."""

import datetime
from pathlib import Path

import numpy as np
import pytest
import skipscape as ss
import torch

from landscape.engine.attributes import plain_attributes

X = np.arange(3.0)


def measured(attributes, out=None):
    def height(rows):
        for (x,) in rows:
            yield {"height": x}

    return ss.run(height, X[:, None], dims=["x"], coordinates={"x": X}, attributes=attributes, out=out, quiet=True)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("text", "text"),
        ("", ""),
        ("x" * 100_000, "x" * 100_000),
        (np.str_("text"), "text"),
        (Path("a"), "a"),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        (np.float32(0.5), 0.5),
        ((1, 2), [1, 2]),
        ([0.5, 1], [0.5, 1]),
        (np.eye(2), [[1, 0], [0, 1]]),
        (torch.ones(2), [1, 1]),
        (["a", "b"], ["a", "b"]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array(["a", "b"], object), ["a", "b"]),
    ],
)
def test_texts_numbers_and_lists_are_kept_and_a_run_goes_on_with_them(value, kept, tmp_path):
    held = measured({"mine": value}).attributes["mine"]
    written = measured({"mine": value}, tmp_path / "a.h5").attributes["mine"]
    again = measured({"mine": value}, tmp_path / "a.h5").attributes["mine"]
    for each in (held, written, again):
        assert np.shape(each) == np.shape(kept) and np.array_equal(each, kept)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "is None, and a file keeps texts"),
        ({"a": 1}, "is {'a': 1}, and"),
        ({1}, r"is \{1\}, and"),
        (datetime.date(2020, 1, 1), "keeps texts"),
        (np.datetime64("2020-01-01"), "keeps texts"),
        (b"abc", "is b'abc', and"),
        (1j, "is 1j, and"),
        (["a", 1], r"is \['a', 1\], and"),
        ([[1, 2], [3]], "keeps texts"),
        (np.full((3, 3), None), "keeps texts"),
        (torch.ones(2, requires_grad=True), "keeps texts"),
        (10**30, "numbers of 64 bits"),
        (10**400, "numbers of 64 bits"),
        (2**64 - 1, "numbers of 64 bits"),
        ([], "is empty; leave it out"),
        (np.zeros(20_000), "has 20,000 numbers; give them as a variable"),
        ("a\0b", "characters that no file holds"),
        ("\ud800", "characters that no file holds"),
        (["a", "\ud800"], "characters that no file holds"),
    ],
)
@pytest.mark.parametrize("in_file", [False, True])
def test_all_else_is_refused_in_a_line_with_a_file_and_without(value, said, in_file, tmp_path):
    out = tmp_path / "a.h5" if in_file else None
    with pytest.raises(ss.BadInput, match=said) as refused:
        measured({"mine": value}, out)
    assert "\n" not in str(refused.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "a\0", "\ud800", 1, None, "x" * 70_000])
def test_a_name_is_a_short_text(name):
    with pytest.raises(ss.BadInput, match="give it a short text as its name"):
        plain_attributes({name: 1})


@pytest.mark.parametrize("name", ["kind", "format", "seal"])
def test_what_a_file_says_of_itself_cannot_be_given(name):
    with pytest.raises(ss.BadInput, match=f"results have a {name} of their own"):
        measured({name: 3})
