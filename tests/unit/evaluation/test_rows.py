"""Over a large vocabulary, losses and metrics are as accurate as over a small one, and make nothing of its size."""

import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.losses import VOID, cross_entropy
from landscape.evaluation.measure import measure
from landscape.evaluation.prepared import batch_size, outputs_of
from landscape.evaluation.rows import AT_ONCE, by_rows, kl_of_rows


def scores(n=3, t=7, v=11, dtype=torch.float32):
    draws = torch.Generator().manual_seed(0)
    targets = torch.randint(v, (n, t), generator=draws)
    targets[:, -1] = targets[0, 2] = VOID
    return (10 * torch.randn(n, t, v, generator=draws)).to(dtype), targets


class Largest(TorchDispatchMode):
    """The largest tensor that is made, in numbers."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        before = {t.untyped_storage().data_ptr() for t in args if isinstance(t, torch.Tensor)}
        for each in out if isinstance(out, tuple | list) else [out]:
            if isinstance(each, torch.Tensor) and each.untyped_storage().data_ptr() not in before:
                self.numbers = max(self.numbers, each.numel())
        return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("shape", [(3, 7, 11), (1, 300, 5000), (40, 3, 2)])  # less and more than one piece
def test_the_cross_entropy_of_tokens_is_that_in_float64(dtype, shape):
    outputs, targets = scores(*shape, dtype)
    expected = torch.stack([F.cross_entropy(o.double(), y) for o, y in zip(outputs, targets, strict=True)])
    with torch.no_grad():
        each = cross_entropy(outputs, targets)
    torch.testing.assert_close(each.double(), expected, rtol=1e-6, atol=1e-6)


def test_it_is_the_same_with_gradients_and_of_strided_scores():
    outputs, targets = scores()
    with torch.no_grad():
        each = cross_entropy(outputs, targets)
        strided = cross_entropy(torch.cat([outputs, outputs], 1)[:, :7], targets)
    torch.testing.assert_close(cross_entropy(outputs, targets), each)
    assert torch.equal(strided, each)


def test_infinite_scores_give_what_torch_gives():
    outputs, targets = scores()
    outputs[0, 0, 0], outputs[1, 0, 1], outputs[2, 0] = torch.inf, torch.nan, -torch.inf
    outputs[0, 1, targets[0, 1]] = -torch.inf
    with torch.no_grad():
        each = cross_entropy(outputs, targets)
    torch.testing.assert_close(each, cross_entropy(outputs, targets), equal_nan=True)


def test_nothing_of_the_size_of_the_scores_is_made():
    outputs, targets = scores(4, 300, 5000)
    with torch.no_grad(), Largest() as made:
        cross_entropy(outputs, targets)
        by_rows(kl_of_rows, outputs, outputs)
    assert made.numbers <= AT_ONCE < outputs.numel() / 4


def test_kl_of_tokens_is_the_sum_in_float64():
    outputs, targets = scores()
    evaluate = Evaluator(nn.Identity(), [(outputs, targets)], metrics=["kl"])
    with evaluate.ready() as evaluation, torch.no_grad():
        each = evaluation.extra["kl"](2 * outputs, evaluation.batches[0][1])
    p, q = (x.double().softmax(-1) for x in (outputs, 2 * outputs))
    terms, counts = (p * (p.log() - q.log())).sum(-1), targets != VOID
    torch.testing.assert_close(each.double(), (terms * counts).sum(1) / counts.sum(1), rtol=1e-5, atol=1e-6)


def test_one_batch_of_outputs_is_held_at_once():
    alive = []

    class Watched(nn.Module):
        def forward(self, x):
            assert not any(ref() is not None for ref in alive)
            out = x * 1.0
            alive.append(weakref.ref(out))
            return out

    outputs, targets = scores()
    evaluate = Evaluator(nn.Identity(), [(outputs, targets)] * 3)
    with evaluate.ready() as evaluation:
        measured = measure(Watched(), evaluation.batches, evaluation.loss, accuracy=evaluation.accuracy)
    assert measured["examples"] == 9 and len(alive) == 3


def test_windows_go_through_a_few_at_a_time_over_a_large_vocabulary():
    tokens, images = torch.zeros(4, 512, dtype=torch.int64), torch.zeros(4, 3, 32, 32)
    network = nn.Sequential(nn.Embedding(50_000, 2), nn.Linear(2, 50_000))
    assert outputs_of(network, tokens) == 512 * 50_000
    assert outputs_of(network, images) == 0
    on = torch.device("cpu")
    number = batch_size(tokens, torch.float32, on, outputs_of(network, tokens))
    assert number >= 1 and number * 512 * 50_000 * 4 <= 2**28
    # As it was, where outputs are few.
    assert batch_size(tokens, torch.float32, on, 512 * 3) == batch_size(tokens, torch.float32, on) == 512
