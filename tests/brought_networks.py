"""A user's module of networks, data and losses, and each network with its data as one batch."""

import sys

import torch
from torch.nn import functional as F

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


def binary(out, y):
    out = out.reshape(len(y), -1)
    return F.binary_cross_entropy_with_logits(out, y.reshape(len(y), -1).float(), reduction="none").mean(1)


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
