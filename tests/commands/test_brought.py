"""What people bring, by command: networks, data and losses in a module of theirs give the numbers of plain PyTorch."""

import numpy as np
import pytest
import torch
from brought_networks import binary, brought, made
from measured import surface
from plain import line, mean
from processes import command
from torch.nn import functional as F

from ensemble.drawing.measure import interval
from landscape.engine.table import read

brought = pytest.fixture(brought)


def squares(out, y):
    return (out.reshape(len(y), -1) - y.reshape(len(y), -1)).square().mean(1)


def of_tokens(out, y):
    each = F.cross_entropy(out["logits"].transpose(1, 2), y, reduction="none")
    return each.where(y >= 0, torch.nan).nanmean(1)


def right_tokens(out, y):
    return (out["logits"].argmax(-1) == y).double().where(y >= 0, torch.nan).nanmean(1)


def classes(out, y):
    return F.cross_entropy(out, y, reduction="none")


def right(out, y):
    return (out.argmax(1) == y).double()


def sides(out, y):
    return (out[:, 0] > 0) == (y > 0)


# Network, data, options; loss and accuracy of each example as they are meant
CASES = {
    "regression": ("regression", "real", ("--loss", "mse"), squares, None),
    "one logit": ("regression", "yes", ("--loss", "binary_cross_entropy"), binary, sides),
    "four labels": ("four", "labels", ("--loss", "binary_cross_entropy"), binary, None),
    "tokens": ("language", "tokens", (), of_tokens, right_tokens),
    "tokens, void": ("language", "voided", (), of_tokens, right_tokens),
    "tokens, a loss of one's own": ("language", "tokens", ("--loss", "brought:token_loss"), of_tokens, None),
    "an equation": ("equation", "points", ("--loss", "mse"), squares, None),
    "weight norm": ("hooked", "images", (), classes, right),
    "two inputs, the second output": (
        "several", "both", ("--outputs", "1"), lambda o, y: classes(o[1], y), lambda o, y: right(o[1], y),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_line_is_that_of_plain_pytorch_by_command_and_by_call(brought, case):
    name, data, options, loss, accuracy = CASES[case]
    network, batches = made(name, data)
    how = ("--network", f"brought:{name}", "--data", f"brought:{data}", "--split", "test")
    command("surface", "a.pt", "a.h5", *how, "--x", -1, 1, 3, "--quiet", *options, cwd=brought)
    results = read("a.h5")
    torch.backends.mha.set_fastpath_enabled(False)
    expected = line(network, batches, loss, np.linspace(-1, 1, 3))
    np.testing.assert_allclose(results["loss"], expected, rtol=1e-6)
    # At the network itself there is no direction, and no rounding of one.
    network.eval()
    np.testing.assert_allclose(results["loss"][1], mean(network, batches, loss), rtol=1e-6)
    if accuracy is None and case != "tokens, a loss of one's own":
        assert "accuracy" not in results.variables
    elif accuracy is not None:
        np.testing.assert_allclose(results["accuracy"][1], mean(network, batches, lambda o, y: accuracy(o, y).double()))
    given = dict(zip((o.removeprefix("--") for o in options[::2]), options[1::2], strict=True))
    if "outputs" in given:
        given["outputs"] = int(given["outputs"])
    called = surface(network, batches, "b.h5", x=(-1, 1, 3), quiet=True, **given)
    np.testing.assert_allclose(called["loss"], results["loss"], rtol=1e-6)


def test_deletions_of_a_language_model_are_those_of_hooks(brought):
    network, batches = made("language", "tokens")
    how = ("--network", "brought:language", "--data", "brought:tokens", "--delete", 1, "--quiet")
    command("lesion", "a.pt", "a.h5", *how, cwd=brought)
    results = read("a.h5")
    torch.backends.mha.set_fastpath_enabled(False)
    row = {tuple(np.flatnonzero(deleted)): i for i, deleted in enumerate(results["deleted"])}
    ends = [end for layer in network.layers.layers for end in (layer.dropout1, layer.dropout2)]
    for number, end in enumerate(ends):
        handle = end.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
        np.testing.assert_allclose(results["loss"][row[number,]], mean(network, batches, of_tokens), rtol=1e-6)
        np.testing.assert_allclose(results["accuracy"][row[number,]], mean(network, batches, right_tokens), rtol=1e-6)
        with torch.no_grad():
            each = right_tokens(network(batches[0][0]), batches[0][1])
        np.testing.assert_allclose(results["accuracy_se"][row[number,]], each.std() / len(each) ** 0.5, rtol=1e-5)
        handle.remove()
    ends = (100 * (1 - results["accuracy"] + sign * 1.959964 * results["accuracy_se"]) for sign in (-1, 1))
    np.testing.assert_allclose(interval(results), np.clip([*ends], 0, 100), rtol=1e-6)  # in percent, of the error


REFUSED = {
    "no loss for real targets": ("regression", "real", (), "name a loss"),
    "classes that there is no output for": ("regression", "images", (), "does not take inputs"),
    "real targets as classes": ("regression", "real", ("--loss", "cross_entropy"), "name a loss"),
    "labels under squared error": ("regression", "labels", ("--loss", "mse"), "give both in one shape"),
    "no such output": ("several", "both", ("--outputs", "scores"), "there is no 'scores'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_one_line(brought, case):
    name, data, options, words = REFUSED[case]
    made(name, data)
    how = ("--network", f"brought:{name}", "--data", f"brought:{data}", *options)
    done = command("surface", "a.pt", "a.h5", *how, "--x", -1, 1, 3, check=False, cwd=brought)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and words in done.stderr, done.stderr
    assert not (brought / "a.h5").exists()
