"""Results seen in another way."""

import numpy as np
import pytest

from landscape.drawing.views import shown
from landscape.drawing.words import loss_label
from landscape.engine.results import Results
from landscape.errors import BadInput


def line(loss="cross_entropy", **more):
    """A line of three points."""
    values = {"loss": np.array([2.0, 1.0, np.inf]), "loss_se": np.array([0.01, 0.02, np.nan]), "done": np.ones(3, bool)}
    values |= {"accuracy": np.zeros(3), "examples": np.full(3, 10)} | more
    attributes = {"kind": "surface", "loss": loss, "split": "train", "second_split": "test"}
    units = {"units": "nats" if loss == "cross_entropy" else "as the loss"}
    dims, metadata = dict.fromkeys(values, ("x",)), {"loss": units, "test_loss": units}
    return Results(None, "surface", {"x": np.linspace(-1, 1, 3)}, values, dims, attributes, metadata)


def test_perplexity_is_the_exponential_of_the_cross_entropy_and_so_is_its_error():
    file = line()
    perplexity = shown(file, "perplexity")
    draws = np.exp(np.random.default_rng(0).normal(file["loss"][:2], file["loss_se"][:2], (100_000, 2)))
    assert perplexity["loss"][:2] == pytest.approx(draws.mean(0), rel=1e-3)
    assert perplexity["loss_se"][:2] == pytest.approx(draws.std(0), rel=1e-2)
    assert perplexity["loss"][2] == np.inf and file["loss"][0] == 2
    assert loss_label([perplexity]) == "training perplexity"


def test_the_test_split_has_a_perplexity_too():
    file = line(test_loss=np.array([3.0, 1.0, 0.0]), test_loss_se=np.zeros(3), test_accuracy=np.zeros(3))
    perplexity = shown(file, "test_perplexity")
    assert perplexity["loss"] == pytest.approx(np.exp([3, 1, 0])) and loss_label([perplexity]) == "test perplexity"


def test_no_other_loss_has_a_perplexity():
    with pytest.raises(BadInput, match="has the loss mse; perplexity is"):
        shown(line("mse"), "perplexity")
