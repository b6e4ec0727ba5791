"""Each line that `tests/mutations.py` would break stands once in its file, by itself, and its tests are there."""

import pytest
from files import ROOT
from mutations import MUTATIONS


@pytest.mark.parametrize(("path", "there", "instead", "tests"), MUTATIONS)
def test_what_is_to_be_broken_is_there(path, there, instead, tests):
    assert (ROOT / path).read_text().count(there) == 1 and there != instead
    assert len([*(ROOT / "tests" / "unit").rglob(f"{tests}.py")]) == 1


def test_all_can_be_broken_together():
    texts = {path: (ROOT / path).read_text() for path, *_ in MUTATIONS}
    for path, there, instead, _ in MUTATIONS:
        assert texts[path].count(there) == 1
        texts[path] = texts[path].replace(there, instead)
        compile(texts[path], path, "exec")
