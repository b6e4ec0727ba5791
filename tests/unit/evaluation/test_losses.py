"""Which positions a loss of one's own tells of."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from landscape.evaluation.losses import each_of


def test_whole_numbers_that_are_no_classes_all_count_under_a_loss_of_ones_own():
    """Counts, with a network that gives two numbers for each; signed numbers; a loss for (N, T) beside them."""
    torch.manual_seed(0)
    out = torch.randn(9, 2, 10)
    counts = torch.poisson(torch.full((9, 10), 3.0)).long()
    likelihood = lambda o, t: 0.5 * ((t - o[:, 0]) / o[:, 1].exp()) ** 2 + o[:, 1]  # noqa: E731
    torch.testing.assert_close(each_of(likelihood, out, counts), likelihood(out, counts).mean(1))
    signed = torch.randint(-5, 6, (9, 10))
    distance = lambda o, t: (o[:, 0] - t).abs()  # noqa: E731
    torch.testing.assert_close(each_of(distance, out, signed), distance(out, signed).mean(1))


@pytest.mark.parametrize("void", [-100, -1, 0, 255])
@pytest.mark.parametrize("kind", [nn.CrossEntropyLoss, lambda **kwargs: partial(F.cross_entropy, **kwargs)])
def test_what_a_loss_says_it_ignores_is_void(kind, void):
    torch.manual_seed(0)
    out, targets = torch.randn(9, 4, 10), torch.randint(1, 4, (9, 10)).masked_fill(torch.rand(9, 10) < 0.3, void)
    targets[:, 0] = 2
    each = each_of(kind(reduction="none", ignore_index=void), out, targets)
    rows = [F.cross_entropy(o[None], t[None], ignore_index=void) for o, t in zip(out, targets, strict=True)]
    torch.testing.assert_close(each, torch.stack(rows))
