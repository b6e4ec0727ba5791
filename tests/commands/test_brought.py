"""What people bring, by command: networks, data and losses in a module of theirs give the numbers of plain PyTorch."""

import sys

import numpy as np
import pytest
import torch
from measured import surface
from plain import line, mean
from processes import command
from torch.nn import functional as F

from ensemble.drawing.measure import interval
from landscape.engine.table import read
from landscape.import_path import import_object

MODULE = '''
import warnings
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

warnings.filterwarnings("ignore")


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


X = draws(40, 5)
IDS, NEXT = (torch.randint(0, 11, (6, 7), generator=torch.Generator().manual_seed(s)) for s in (1, 2))


def arrays(x, y):
    return lambda split: (x.numpy(), y.numpy())


real = arrays(X, X.sum(1))
yes = arrays(X, (X[:, 0] > 0).long())
labels = arrays(X, (draws(40, 4, seed=3) > 0).float())
tokens = arrays(IDS, NEXT)
points = arrays(torch.linspace(0, 3.14, 64)[:, None], torch.zeros(64, 1))
images = arrays(draws(64, 3, 8, 8), torch.arange(64) % 4)


def voided(split):
    y = NEXT.clone()
    y[:, ::3] = -100
    return IDS.numpy(), y.numpy()


def both(split):
    return {"a": X.numpy(), "b": draws(40, 3, seed=4).numpy()}, (torch.arange(40) % 4).numpy()


def regression():
    return seeded(lambda: nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 1)))


def four():
    return seeded(lambda: nn.Linear(5, 4))


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 12)
        layer = nn.TransformerEncoderLayer(12, 2, 24, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(12, 11, bias=False)

    def forward(self, ids):
        return {"logits": self.head(self.layers(self.embedding(ids)))}


def language():
    return seeded(Language).eval()


class Residual(nn.Module):
    """u'' + sin: it asks for no gradients itself."""

    def __init__(self):
        super().__init__()
        self.u = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, x):
        x = x.detach().requires_grad_(True)
        (first,) = torch.autograd.grad(self.u(x).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
        return second + torch.sin(x)


def equation():
    return seeded(Residual)


def hooked():
    def make():
        layers = nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)
        return nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 4, 3)), *layers)

    return seeded(make)


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.last = nn.Linear(5, 8), nn.Linear(3, 8), nn.Linear(8, 4)

    def forward(self, a, b):
        return torch.zeros(len(a)), self.last(torch.tanh(self.left(a) + self.right(b)))


def several():
    return seeded(Several)


def token_loss(out, y):
    return F.cross_entropy(out["logits"].transpose(1, 2), y, reduction="none").mean(1)
'''


def squares(out, y):
    return (out.reshape(len(y), -1) - y.reshape(len(y), -1)).square().mean(1)


def binary(out, y):
    out = out.reshape(len(y), -1)
    return F.binary_cross_entropy_with_logits(out, y.reshape(len(y), -1).float(), reduction="none").mean(1)


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


@pytest.fixture
def brought(tmp_path, monkeypatch):
    (tmp_path / "brought.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.backends.mha, "get_fastpath_enabled", lambda: False, raising=False)
    yield tmp_path
    sys.modules.pop("brought", None)


def made(network, data):
    """The network, its checkpoint in the current folder, and its data as one batch."""
    network = import_object(f"brought:{network}")()
    torch.save(network.state_dict(), "a.pt")
    inputs, targets = import_object(f"brought:{data}")("test")
    inputs = {k: torch.tensor(v) for k, v in inputs.items()} if isinstance(inputs, dict) else torch.tensor(inputs)
    return network, [(inputs, torch.tensor(targets))]


@pytest.mark.parametrize("case", CASES)
def test_a_line_is_that_of_plain_pytorch_by_command_and_by_call(brought, case):
    name, data, options, loss, accuracy = CASES[case]
    network, batches = made(name, data)
    how = ("--network", f"brought:{name}", "--data", f"brought:{data}", "--split", "test")
    command("surface", "a.pt", "a.h5", *how, "--x", -1, 1, 3, "--quiet", *options, cwd=brought)
    found = read("a.h5")
    torch.backends.mha.set_fastpath_enabled(False)
    expected = line(network, batches, loss, np.linspace(-1, 1, 3))
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-6)
    # At the network itself there is no direction, and no rounding of one.
    network.eval()
    np.testing.assert_allclose(found["loss"][1], mean(network, batches, loss), rtol=1e-6)
    if accuracy is None and case != "tokens, a loss of one's own":
        assert "accuracy" not in found.variables
    elif accuracy is not None:
        np.testing.assert_allclose(found["accuracy"][1], mean(network, batches, lambda o, y: accuracy(o, y).double()))
    given = dict(zip((o.removeprefix("--") for o in options[::2]), options[1::2], strict=True))
    if "outputs" in given:
        given["outputs"] = int(given["outputs"])
    called = surface(network, batches, "b.h5", x=(-1, 1, 3), quiet=True, **given)
    np.testing.assert_allclose(called["loss"], found["loss"], rtol=1e-6)


def test_deletions_of_a_language_model_are_those_of_hooks(brought):
    network, batches = made("language", "tokens")
    how = ("--network", "brought:language", "--data", "brought:tokens", "--delete", 1, "--quiet")
    command("lesion", "a.pt", "a.h5", *how, cwd=brought)
    found = read("a.h5")
    torch.backends.mha.set_fastpath_enabled(False)
    row = {tuple(np.flatnonzero(deleted)): i for i, deleted in enumerate(found["deleted"])}
    ends = [end for layer in network.layers.layers for end in (layer.dropout1, layer.dropout2)]
    for number, end in enumerate(ends):
        handle = end.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
        np.testing.assert_allclose(found["loss"][row[number,]], mean(network, batches, of_tokens), rtol=1e-6)
        np.testing.assert_allclose(found["accuracy"][row[number,]], mean(network, batches, right_tokens), rtol=1e-6)
        with torch.no_grad():
            each = right_tokens(network(batches[0][0]), batches[0][1])
        np.testing.assert_allclose(found["accuracy_se"][row[number,]], each.std() / len(each) ** 0.5, rtol=1e-5)
        handle.remove()
    ends = (100 * (1 - found["accuracy"] + sign * 1.959964 * found["accuracy_se"]) for sign in (-1, 1))
    np.testing.assert_allclose(interval(found), np.clip([*ends], 0, 100), rtol=1e-6)  # in percent, of the error


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
