"""Networks, losses, data and weights that are not ours are measured by the same commands."""

import numpy as np
import pytest
import torch
import torchvision
from own_networks import folder, mine, npz, refused, wrong
from processes import command
from safetensors.torch import save_file
from torch.nn import functional as F

from landscape import data as datasets
from landscape.checkpoints.checkpoint import load
from landscape.engine.table import read
from landscape.import_path import import_object

mine = pytest.fixture(mine)
npz = pytest.fixture(npz)
folder = pytest.fixture(folder)


def loss_of(network, images, labels):
    """Measured as a user would, on images as they are stored."""
    x = torch.from_numpy(images).float().permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        return F.cross_entropy(network.eval()(x), torch.from_numpy(labels)).item()


def test_torchvisions_resnet18_has_a_surface(npz, tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=10)
    torch.save(network.state_dict(), tmp_path / "resnet18.pt")
    own = ("--network", "torchvision.models:resnet18", "--argument", "num_classes=10", "--data", npz)
    grid = ("--x", -1, 0, 2, "--y", -1, 0, 2)
    command("surface", tmp_path / "resnet18.pt", tmp_path / "a.h5", *own, *grid)
    surface = read(tmp_path / "a.h5")
    arrays = np.load(npz)
    assert surface["done"].all() and np.isfinite(surface["loss"]).all()
    assert surface["loss"][1, 1] == pytest.approx(
        loss_of(network, arrays["train_images"], arrays["train_labels"]), 1e-4
    )
    assert surface.attributes["factory"] == "torchvision.models:resnet18"
    assert surface.attributes["arguments"] == "num_classes=10"
    said = command("surface", tmp_path / "resnet18.pt", tmp_path / "a.h5", *own, *grid).stdout
    assert "complete already" in said


def test_torchvisions_vision_transformer_has_a_surface(folder, tmp_path):
    torch.manual_seed(0)
    size = dict(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=10)
    network = torchvision.models.VisionTransformer(**size)
    torch.nn.init.normal_(network.heads.head.weight, std=0.1)  # torchvision's 0 would make all classes equal
    save_file(network.state_dict(), tmp_path / "vit.safetensors")
    data = datasets.load(str(folder), "test", size=32, examples=4)
    with torch.no_grad():
        loss = F.cross_entropy(network.eval()(data.images), data.labels).item()
    del network
    own = ("--network", "torchvision.models:VisionTransformer", "--argument", *(f"{k}={v}" for k, v in size.items()))
    same = ("--data", folder, "--size", 32, "--split", "test", "--examples", 4)
    command("surface", tmp_path / "vit.safetensors", tmp_path / "a.h5", *own, *same, "--x", 0, 1, 2, "--quiet")
    surface = read(tmp_path / "a.h5")
    assert surface["loss"][0] == pytest.approx(loss, 1e-4)
    assert np.isfinite(surface["loss"][1]) and surface["loss"][1] != surface["loss"][0]
    assert surface["examples"].tolist() == [4, 4]


def test_a_network_of_ones_own_is_trained_and_measured(mine):
    own = ("--network", "mine:Net")
    more = ("--argument", "hidden=6", "act=tanh")
    command("train", "a.pt", *own, *more, "--epochs", 1, "--quiet", cwd=mine)
    command("surface", "a.pt", "a.h5", *own, "--x", -1, 1, 3, "--quiet", cwd=mine)
    trained = load("a.pt")
    assert read("a.h5")["loss"][1] == pytest.approx(trained.final["train"]["loss"], 1e-5)
    assert "imported only if you say so; add --network mine:Net" in refused("a.pt", "a.h5")
    assert "leave out --argument" in refused("a.pt", "a.h5", *own, *more)


def test_a_loss_and_data_of_ones_own_are_measured(trained, mine):
    line = ("--x", 0, 0, 1, "--quiet")
    for loss in ("cross_entropy", "mine:doubled"):
        command("surface", trained / "resnet.pt", f"{loss[-5:]}.h5", "--loss", loss, *line, cwd=mine)
    assert read("ubled.h5")["loss"][0] == pytest.approx(2 * read("tropy.h5")["loss"][0])
    command("surface", trained / "resnet.pt", "noise.h5", "--data", "mine:noise", *line, cwd=mine)
    assert read("noise.h5").attributes["data"] == "mine:noise"
    assert read("noise.h5")["examples"].tolist() == [40]


def test_blocks_inside_of_another_network_are_left_out_one_by_one(trained, mine):
    inner = load(trained / "resnet.pt").weights
    torch.save({f"inner.{name}": tensor for name, tensor in inner.items()}, "a.pt")
    own = ("--network", "mine:Blocks", "--data", "digits", "--standardize")
    command("lesion", "a.pt", "a.h5", *own, cwd=mine)
    command("lesion", trained / "resnet.pt", "b.h5", "--quiet", cwd=mine)
    np.testing.assert_allclose(read("a.h5")["loss"], read("b.h5")["loss"], rtol=1e-5)
    said = command("lesion", "a.pt", "c.h5", *own, "--dtype", "bfloat16", "--tolerance", 0.2, cwd=mine).stdout
    assert "bfloat16 against float32" in said
    np.testing.assert_allclose(read("c.h5")["loss"], read("b.h5")["loss"], rtol=0.5)


def test_weights_alone_of_our_own_networks_are_told_what_the_data_settle(trained, tmp_path):
    torch.save(load(trained / "resnet.pt").weights, tmp_path / "a.pt")
    alone = ("--network", "resnet", "--argument", "depth=8", "width=4", "--data", "digits", "--standardize")
    command("lesion", tmp_path / "a.pt", tmp_path / "a.h5", *alone, "--quiet")
    command("lesion", trained / "resnet.pt", tmp_path / "b.h5", "--quiet")
    np.testing.assert_array_equal(read(tmp_path / "a.h5")["loss"], read(tmp_path / "b.h5")["loss"])
    other = ("--network", "plain", "--argument", "depth=8", "width=4", "--data", "digits")
    said = command("lesion", tmp_path / "a.pt", tmp_path / "a.h5", *other, "--quiet", check=False).stderr
    assert "its network is resnet-8:width=4, this command's is plain-8:width=4" in said


@pytest.mark.parametrize("case", ["no network", "no module", "other weights"])
def test_the_commands_say_it_with_status_2_and_write_nothing(mine, case):
    torch.save({f"module.{name}": value for name, value in import_object("mine:Net")().state_dict().items()}, "a.pt")
    arguments, said = wrong(mine)[case]
    done = command("surface", "a.pt", "a.h5", *arguments, check=False, cwd=mine)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr
    assert not (mine / "a.h5").exists()


def test_what_does_not_fit_is_not_trained(mine):
    for network, said in (
        ("torchvision.models:resnet18", "resnet18 does not take inputs of shape (1, 8, 8)"),
        ("mine:Few", "Few has 5 outputs, digits 10 classes"),
    ):
        done = command("train", "a.pt", "--network", network, check=False, cwd=mine)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert said in done.stderr
