"""Tensors alone, or in tuples, lists and dicts."""

from collections import namedtuple

import pytest
import torch

from landscape.errors import BadInput
from landscape.nested import cat, leaves, length, mapped, split, take

Pair = namedtuple("Pair", "left right")
X = torch.arange(12.0).reshape(6, 2)


@pytest.mark.parametrize("nested", [X, (X, X + 1), [X], {"ids": X, "flag": None}, Pair(X, {"a": (X,)})])
def test_batches_put_together_again_are_what_was_split(nested):
    parts = split(nested, 4)
    assert [length(part) for part in parts] == [4, 2]
    again = cat(parts)
    assert type(again) is type(nested)
    assert all(map(torch.equal, leaves(again), leaves(nested)))


def test_what_is_no_tensor_is_passed_on():
    assert mapped(lambda t: t + 1, {"ids": X, "use_cache": False, "word": "x"})["use_cache"] is False


def test_examples_are_taken_from_every_tensor():
    left, right = take((X, -X), torch.tensor([2, 0]))
    assert torch.equal(left, X[[2, 0]]) and torch.equal(right, -X[[2, 0]])


@pytest.mark.parametrize("nested", [(X, X[:2]), (), {"a": None}, torch.tensor(1.0)])
def test_another_number_of_examples_or_none_is_refused(nested):
    with pytest.raises(BadInput):
        length(nested)


def test_batches_of_other_shapes_are_not_put_together():
    with pytest.raises(BadInput, match="pad"):
        cat([X, X[:, :1]])
