"""Networks, losses, data and weights that are not ours are measured by the same commands."""

import sys

import pytest
import torch
from files import ROOT
from own_networks import mine, npz, refused, wrong
from safetensors.torch import save_file

from landscape import data as datasets
from landscape.checkpoints.checkpoint import load
from landscape.errors import BadInput
from landscape.evaluation.losses import loss_by_name
from landscape.import_path import import_object
from landscape.networks import build
from landscape.weights import digest

mine = pytest.fixture(mine)
npz = pytest.fixture(npz)


@pytest.mark.parametrize("wrap", ["state_dict", "model_state_dict", "model", "module.", "_orig_mod.", "safetensors"])
def test_weights_alone_come_in_many_wrappings(tmp_path, wrap):
    weights = build("torch.nn:Linear", in_features=3, out_features=2).state_dict()
    path = tmp_path / ("a.safetensors" if wrap == "safetensors" else "a.pt")
    if wrap == "safetensors":
        save_file(weights, path)
    elif wrap.endswith("."):
        torch.save({wrap + name: value for name, value in weights.items()}, path)
    else:
        torch.save({wrap: weights, "epoch": 3, "optimizer": {"lr": 0.1}}, path)
    checkpoint = load(path, "torch.nn:Linear")
    checkpoint.arguments = {"in_features": 3, "out_features": 2}
    assert digest(dict(checkpoint.restore("torch.nn:Linear").state_dict())) == digest(dict(weights))


@pytest.mark.parametrize("case", list(wrong(ROOT)))
def test_what_is_missing_or_does_not_fit_is_said_in_one_line(mine, npz, case):
    torch.save(import_object("mine:Net")().state_dict(), "a.pt")
    arguments, said = wrong(mine)[case]
    assert said in refused("a.pt", "a.h5", *arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("resnet18", {"num_clases": 10}, "unexpected keyword argument 'num_clases'"),
        ("vit_b_16", {"patch_size": 8}, "multiple values for keyword argument 'patch_size'"),
    ],
)
def test_an_argument_that_a_factory_passes_on_in_vain_is_said_in_one_line(name, arguments, said):
    with pytest.raises(BadInput, match=said):
        build(f"torchvision.models:{name}", **arguments)


def test_every_import_fails_in_the_same_words():
    for use in (build, loss_by_name, lambda name: datasets.load(name, "train")):
        with pytest.raises(BadInput) as caught:
            use("no_such_module:thing")
        assert str(caught.value) == (
            "cannot import no_such_module:thing: No module named 'no_such_module'; "
            "install it, go to its folder, or add that to PYTHONPATH"
        )


def test_the_current_folder_is_searched_last_and_only_while_importing(mine):
    (mine / "colorsys.py").write_text("raise SystemExit")
    sys.modules.pop("colorsys", None)
    before = list(sys.path)
    assert import_object("colorsys:rgb_to_hsv").__module__ == "colorsys"
    assert import_object("mine:Net")().__class__.__name__ == "Net"
    assert sys.path == before
    with pytest.raises(BadInput, match="cannot import nothing"):
        import_object("nothing:here")
    assert sys.path == before


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\0\0\0\0\0\0\0{}      ", b"\xff" * 64])
def test_what_is_no_safetensors_file_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load(tmp_path / "a.safetensors", "torch.nn:Linear")
    assert "\n" not in str(caught.value)


def test_without_safetensors_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "a.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match="pip install safetensors"):
        load(tmp_path / "a.safetensors", "torch.nn:Linear")
