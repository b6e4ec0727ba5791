"""Weights that are not stored have the bits of those that are; a plane through a large network takes no copy of it."""

import ctypes
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from landscape import lazy_weights
from landscape.analysis.labels import NORMALIZATIONS
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.tracing import values_restored
from landscape.lazy_weights import LazyWeights, blocks_of, origin_of
from landscape.planes import direction_files, ends
from landscape.planes.make_plane import plane_along, plane_to, random_plane
from landscape.planes.plane import shift
from landscape.planes.surface import surface
from landscape.weights import digest, weights_of

LIBC = ctypes.CDLL(None)
FACTORY = """
from torch import nn

class Flat(nn.Module):
    def forward(self, x):
        return x.float().flatten(1)

def convolutions():
    return nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, groups=2),
                         nn.Flatten(), nn.Linear(64, 3))

def tied():
    network = nn.Sequential(Flat(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 3))
    network[3].weight = network[1].weight
    return network.bfloat16().float()

def deep():
    return nn.Sequential(Flat(), *[nn.Linear(1024, 1024, bias=False) for _ in range(16)])
"""


@pytest.fixture(autouse=True)
def factories(tmp_path, monkeypatch):
    (tmp_path / "made.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def every_network_is_large(monkeypatch):
    for module in (lazy_weights, ends, direction_files):
        monkeypatch.setattr(module, "LARGE", 0)


def mixed():
    """Layers of which filters lie along other axes, with types of few digits and complex ones."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.transposed = nn.Embedding(9, 5), nn.ConvTranspose2d(4, 6, 3, groups=2)
            self.half, self.norm = nn.Linear(5, 4).bfloat16(), nn.LayerNorm(4)
            self.spectrum = nn.Parameter(torch.randn(3, 4, dtype=torch.complex64))
            self.empty, self.count = nn.Parameter(torch.zeros(0, 3)), nn.Parameter(torch.tensor(3), requires_grad=False)
            self.across = nn.Parameter(torch.randn(7, 5).T)  # not contiguous

    torch.manual_seed(0)
    return Mixed()


HOW = [{"normalize": how, "move_biases": biases} for how in NORMALIZATIONS for biases in (False, True)]
HOW += [{"orthogonal": True, "dimensions": 3}, {"parameters": ["half.*", "spectrum"]}]
HOW += [{"repeat": 2, "orthogonal": True, "normalize": "weight"}]


@pytest.mark.parametrize("how", HOW, ids=str)
def test_directions_drawn_anew_are_those_that_were_stored(how, monkeypatch):
    network = mixed()
    stored = random_plane(network, seed=3, **how)
    monkeypatch.setattr(lazy_weights, "LARGE", 0)
    monkeypatch.setattr(lazy_weights, "BLOCK", 11)  # the cosine is summed in blocks of rows
    drawn = random_plane(network, seed=3, **how)
    assert isinstance(stored.directions[0], dict) and isinstance(drawn.directions[0], LazyWeights)
    assert digest(*drawn.directions) == digest(*stored.directions) == digest(*drawn.directions)
    assert drawn.moved == stored.moved and drawn.metadata == stored.metadata
    before, there = digest(weights_of(network)), []
    for plane in (stored, drawn):
        with shift(network, plane, [0.3, -0.2, 0.1][: len(plane.directions)]):
            there.append(digest(weights_of(network)))
    assert there[0] == there[1] != before == digest(weights_of(network))


@pytest.mark.parametrize("how", HOW, ids=str)
def test_blocks_of_rows_are_those_of_the_whole_tensor(how, every_network_is_large, monkeypatch):
    monkeypatch.setattr(lazy_weights, "BLOCK", 11)
    for direction in random_plane(mixed(), seed=3, **how).directions:
        for name in direction:
            blocks = [*blocks_of(direction, name)]
            whole = torch.cat(blocks) if direction[name].ndim and blocks else direction[name]
            assert whole.dtype == direction[name].dtype and torch.equal(whole, direction[name])
    assert len([*blocks_of(direction, "embedding.weight")]) == 5


def saved(network, path):
    if path.suffix == ".safetensors":
        from safetensors.torch import save_model

        save_model(network, str(path))
    else:
        torch.save(network.state_dict() if path.suffix == ".pt" else {"a": {"model": network.state_dict()}}, path)
    return path


def made(name):
    import made as factories

    torch.manual_seed(1)
    return getattr(factories, name)()


def data(tmp_path, shape):
    inputs = np.random.default_rng(0).standard_normal((4, *shape)).astype("f4")
    np.savez(tmp_path / "data.npz", train_inputs=inputs, train_targets=np.arange(4) % 3)
    return tmp_path / "data.npz"


@pytest.mark.parametrize("file", ["net.safetensors", "net.pt", "net.ckpt"])
@pytest.mark.parametrize(("name", "shape"), [("convolutions", (2, 6, 6)), ("tied", (8,))])
def test_a_network_comes_back_from_its_file(file, name, shape, tmp_path, monkeypatch):
    path, grid = saved(made(name), tmp_path / file), {"x": (-1, 1, 3), "y": (0, 1, 2), "quiet": True}
    how = {"network": f"made:{name}", "data": str(data(tmp_path, shape))}
    expected = surface(Evaluator.from_checkpoint(path, **how), **grid)["loss"]
    monkeypatch.setattr(lazy_weights, "LARGE", 0)
    evaluate = Evaluator.from_checkpoint(path, **how)
    own = digest(weights_of(evaluate.network))
    read = []
    monkeypatch.setattr(
        lazy_weights._Place, "read", lambda *a, read_=lazy_weights._Place.read: read.append(a) or read_(*a)
    )
    assert (surface(evaluate, **grid)["loss"] == expected).all()
    assert digest(weights_of(evaluate.network)) == own
    assert {id(a[0]) for a in read} == {id(p) for p in lazy_weights._FILES[evaluate.network].values()}
    assert len(lazy_weights._FILES[evaluate.network]) == len(list(evaluate.network.parameters()))


def test_weights_that_are_no_longer_those_of_the_file_are_kept(tmp_path, every_network_is_large):
    path = saved(made("tied"), tmp_path / "net.pt")
    evaluate = Evaluator.from_checkpoint(path, network="made:tied", data=str(data(tmp_path, (8,))))
    with torch.no_grad():
        evaluate.network[4].weight[0, 0] *= -1
    before = digest(weights_of(evaluate.network))
    with shift(evaluate.network, random_plane(evaluate.network), [1, 1]):
        assert digest(weights_of(evaluate.network)) != before
    assert digest(weights_of(evaluate.network)) == before
    with values_restored(evaluate.network), torch.no_grad():
        evaluate.network[1].weight.zero_()
    assert digest(weights_of(evaluate.network)) == before


def test_a_file_may_be_replaced_and_deleted_but_not_overwritten(tmp_path, every_network_is_large):
    path = saved(made("tied"), tmp_path / "net.safetensors")
    evaluate = Evaluator.from_checkpoint(path, network="made:tied", data=str(data(tmp_path, (8,))))
    origin, before = origin_of(evaluate.network), digest(weights_of(evaluate.network))
    content = path.read_bytes()
    path.unlink()
    assert digest(origin) == before
    path.write_bytes(content)
    evaluate = Evaluator.from_checkpoint(path, network="made:tied", data=str(data(tmp_path, (8,))))
    plane = random_plane(evaluate.network)
    path.write_bytes(content[:-8] + bytes(8))
    os.utime(path, ns=(1, 1))  # as if time had passed, however coarse the clock of the file system
    with (
        pytest.raises(BadInput, match=r"net\.safetensors was overwritten while"),
        shift(evaluate.network, plane, [1, 1]),
    ):
        pass


def test_planes_of_files_are_those_of_what_is_in_memory(tmp_path, monkeypatch):
    network, other = made("tied"), made("tied")
    with torch.no_grad():
        other[4].weight.mul_(1.5)
    path, along = saved(other, tmp_path / "other.pt"), tmp_path / "along.pt"
    direction_files.save([weights_of(other)], along)
    pairs = [(plane_to(network, other), lambda: plane_to(network, path))]
    for normalize in (None, "filter"):
        one = plane_along(weights_of(other), normalize=normalize)(network)
        pairs.append((one, lambda n=normalize: plane_along(along, normalize=n)(network)))
    for module in (lazy_weights, ends, direction_files):
        monkeypatch.setattr(module, "LARGE", 0)
    for stored, make in pairs:
        lazy = make()
        assert isinstance(lazy.directions[0], LazyWeights)
        assert digest(*lazy.directions) == digest(*stored.directions) and lazy.moved == stored.moved


@pytest.mark.slow
@pytest.mark.skipif(
    not (os.access("/proc/self/clear_refs", os.W_OK) and hasattr(LIBC, "malloc_trim")),
    reason="the peak is not known here",
)
def test_a_plane_through_a_large_network_takes_its_weights_once(tmp_path, every_network_is_large):
    """Peak resident memory as the kernel counts it, from loading to the last point, pages of files included."""

    def peak(name, shape):
        path = saved(made(name), tmp_path / f"{name}.safetensors")
        evaluator = {"network": f"made:{name}", "data": str(data(tmp_path, shape))}
        LIBC.malloc_trim(0)  # what is free already would not count
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = status("VmRSS")
        surface(Evaluator.from_checkpoint(path, **evaluator), x=(0, 1, 2), quiet=True)
        return (status("VmHWM") - before) / path.stat().st_size

    peak("tied", (8,))  # imports what stays
    # Twice would be 2; the rest is what the process does otherwise, and what it keeps for itself.
    assert any(peak("deep", (1024,)) < 1.7 for _ in range(3))


def status(name):
    """Bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))
