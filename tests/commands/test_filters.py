"""A filter is what makes one output unit, whatever the shape of the parameter; which parameters move is a choice."""

import importlib

import numpy as np
import pytest
import torch
from measured import surface
from processes import command
from torch.nn import functional as F

from landscape.checkpoints import checkpoint as checkpoints
from landscape.data import load
from landscape.engine.table import read
from landscape.weights import weights_of

# by call


def by_hand(network, data, direction, xs):
    """Loss along a direction, in plain PyTorch."""
    parameters, losses = dict(network.named_parameters()), []
    origin = weights_of(network)
    with torch.no_grad():
        for x in xs:
            for name, p in parameters.items():
                p.copy_(origin[name] + float(x) * direction[name])
            losses.append(F.cross_entropy(network(data[0]), data[1]).item())
        for name, p in parameters.items():
            p.copy_(origin[name])
    return losses


def drawn(network, axes=None, still=(), seed=0):
    """The direction that a seed gives, each filter scaled by itself, in plain PyTorch."""
    generator, direction = np.random.default_rng((seed, 0, 0)), {}
    for name, w in weights_of(network).items():
        d = torch.from_numpy(generator.standard_normal(tuple(w.shape), dtype=np.float32)).to(w)
        if w.ndim < 2 or name in still:
            direction[name] = torch.zeros_like(w)
            continue
        axis = (axes or {}).get(name, 0)
        slices = zip(d.unbind(axis), w.unbind(axis), strict=True)
        direction[name] = torch.stack([f * g.norm() / f.norm() for f, g in slices], axis)
    return direction


def line(network, data, out, **how):
    return surface(network, [data], out, quiet=True, **{"x": (-1, 1, 5), **how})


# by command


def test_commands_name_unknown_layers_and_frozen_parameters_and_list_all_when_asked(tmp_path, monkeypatch):
    (tmp_path / "frozen_mixer.py").write_text(ELSEWHERE)
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    network = importlib.import_module("frozen_mixer").network()
    torch.save(network.state_dict(), tmp_path / "w.pt")
    how = ("--network", "frozen_mixer:network", "--data", "digits", "--examples", 40, "--x", -1, 1, 3)
    done = command("surface", "w.pt", "a.h5", *how, cwd=tmp_path)
    assert "2.matrix of Mixer" in done.stderr and "Warning" not in done.stderr
    assert "2 of 5 parameters are frozen" in done.stdout and "1.weight" not in done.stdout
    done = command("surface", "w.pt", "b.h5", *how, "-v", cwd=tmp_path)
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    for name, _ in network.named_parameters():
        assert name in rows
    assert rows["1.weight"].endswith("yes, frozen") and rows["3.bias"].endswith("no")
    done = command("surface", "w.pt", "a.h5", *how, "--parameters", "trainable", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "chosen_parameters" in done.stderr
    done = command("surface", "w.pt", "c.h5", *how, "--parameters", "trainable", "--quiet", cwd=tmp_path)
    assert "frozen" not in done.stdout


ELSEWHERE = """
import torch
from torch import nn

class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(16, 16))

    def forward(self, x):
        return torch.tanh(x @ self.matrix)

def network():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), Mixer(), nn.Linear(16, 10))
    net[1].requires_grad_(False)
    return net
"""


def reference(path):
    """A trained network with its data."""
    network = checkpoints.load(path).restore().eval()
    loaded = load("digits", "train", examples=60, standardize=True)
    return network, (loaded.images, loaded.labels)


FEW = ("--examples", 60, "--batch-size", 60, "--quiet")
CHOICE = ("stages.1.*", "head.*")


def chosen(name):
    return name.startswith(("stages.1.", "head."))


def test_a_surface_of_chosen_parameters_is_that_of_plain_pytorch(trained, tmp_path):
    network, data = reference(trained / "resnet.pt")
    command("surface", trained / "resnet.pt", tmp_path / "a.h5", "--x", -1, 1, 3, "--parameters", *CHOICE, *FEW)
    direction = drawn(network, still=[name for name, _ in network.named_parameters() if not chosen(name)])
    results = read(tmp_path / "a.h5")
    np.testing.assert_allclose(results["loss"], by_hand(network, data, direction, [-1, 0, 1]), rtol=1e-5)
    assert results.attributes["chosen_parameters"] == " ".join(sorted(CHOICE))


def test_a_hessian_of_chosen_parameters_is_the_block_of_the_dense_one(trained, tmp_path):
    network, data = reference(trained / "resnet.pt")
    network, images = network.double(), data[0].double()
    names = [name for name, p in network.named_parameters() if name.startswith("head.")]
    weights = {name: p.detach() for name, p in network.named_parameters()}
    ends = np.cumsum([weights[name].numel() for name in names])[:-1].tolist()

    def loss(vector):
        parts = {n: v.view(weights[n].shape) for n, v in zip(names, torch.tensor_split(vector, ends), strict=True)}
        return F.cross_entropy(torch.func.functional_call(network, weights | parts, (images,)), data[1])

    dense = torch.func.hessian(loss)(torch.cat([weights[name].flatten() for name in names]))
    call = (trained / "resnet.pt", tmp_path / "a.h5", "--top", 3, "--all-parameters", "--precision", 1e-4)
    command("curvature", *call, "--parameters", "head.*", *FEW)
    results = read(tmp_path / "a.h5")
    np.testing.assert_allclose(results["eigenvalue"], torch.linalg.eigvalsh(dense).flip(0)[:3], rtol=1e-3)
    assert results.attributes["parameters"] == len(dense) and results.attributes["chosen_parameters"] == "head.*"
    done = command("curvature", *call, *FEW, check=False)
    assert done.returncode == 2 and "holds another measurement" in done.stderr


def test_balls_of_chosen_parameters_leave_the_others(trained, tmp_path):
    network, data = reference(trained / "resnet.pt")
    call = (trained / "resnet.pt", tmp_path / "a.h5", "--rho", 0.1, "--trials", 2, "--steps", 2)
    command("sharpness", *call, "--parameters", *CHOICE, *FEW)
    results = read(tmp_path / "a.h5")
    names = [name for name, p in network.named_parameters() if chosen(name) and p.ndim > 1]
    origin = torch.cat([p.detach().double().flatten() for n, p in network.named_parameters() if n in names])
    for trial in range(2):
        u = torch.from_numpy(np.random.default_rng((0, trial)).standard_normal(len(origin)))
        change = (u * 0.1 / u.square().mean().sqrt() * origin.square().mean().sqrt()).split(
            [p.numel() for n, p in network.named_parameters() if n in names]
        )
        parts = dict(zip(names, change, strict=True))
        direction = {n: parts[n].view(p.shape).float() if n in names else torch.zeros_like(p)
                     for n, p in network.named_parameters()}  # fmt: skip
        at, there = by_hand(network, data, direction, [0, 1])
        assert results["rise"][0, 0, trial] == pytest.approx(there - at, rel=1e-3)


def test_a_path_of_chosen_parameters_is_as_long_as_theirs(trained, tmp_path):
    network, _ = reference(trained / "resnet.pt")
    final = {name: w.clone() for name, w in network.state_dict().items()}
    torch.manual_seed(0)
    for number, size in enumerate((0.3, 0.2, 0.1)):
        moved = {n: w + size * torch.randn_like(w) * (w.std() if w.ndim > 1 else 0) for n, w in final.items() if w.ndim}
        torch.save({**final, **moved}, tmp_path / f"{number}.pt")
    call = ("--snapshots", *(tmp_path / f"{n}.pt" for n in range(3)), "--parameters", *CHOICE)
    command("trajectory", trained / "resnet.pt", tmp_path / "a.h5", *call, *FEW)
    names = [name for name, _ in network.named_parameters() if chosen(name)]
    for number, distance in enumerate(read(tmp_path / "a.h5")["distance"][:3]):
        there = torch.load(tmp_path / f"{number}.pt")
        squares = sum((there[name] - final[name]).double().square().sum() for name in names)
        assert distance == pytest.approx(squares.sqrt().item(), rel=1e-5)
    assert read(tmp_path / "a.h5").attributes["chosen_parameters"] == " ".join(sorted(CHOICE))
    (saved,) = {tuple(d) for d in torch.load(tmp_path / "a.directions.pt")}
    assert sorted(saved) == sorted(names)


@pytest.mark.parametrize("script", ["surface", "curvature", "sharpness", "trajectory"])
def test_a_pattern_that_fits_nothing_is_refused_with_names_near_it(trained, tmp_path, script):
    more = ("--snapshots", trained / "plain.pt") if script == "trajectory" else ()
    call = (trained / "resnet.pt", tmp_path / "a.h5", *more, "--parameters", "head.2.wieght", *FEW)
    done = command(script, *call, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "fits the pattern 'head.2.wieght'; did you mean head.2.weight?" in done.stderr
    assert not (tmp_path / "a.h5").exists()
