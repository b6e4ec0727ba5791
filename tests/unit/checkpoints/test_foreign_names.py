"""State dicts of other people's CIFAR networks compute with us what they compute at home."""

import pytest
import torch
import torchvision
from theirs import BOTTLENECK, images, theirs

from landscape.checkpoints.checkpoint import load
from landscape.checkpoints.cifar_resnets import describe_architecture, renamed, reordered
from landscape.errors import BadInput
from landscape.networks import build

ARCHITECTURES = {
    "zeros": ({"n": 3}, "resnet", {"depth": 20, "width": 4, "shortcut": "zero-pad"}),
    "zeros, wide": ({"n": 1, "width": 8}, "resnet", {"depth": 8, "width": 8, "shortcut": "zero-pad"}),
    "projections": ({"n": 2, "around": "project"}, "resnet", {"depth": 14, "width": 4, "shortcut": "projection"}),
    "downsample, fc": (
        {"n": 2, "around": "project", "shortcut": "downsample", "last": "fc"},
        "resnet",
        {"depth": 14, "width": 4, "shortcut": "projection"},
    ),
    "bottlenecks": (
        {"n": 2, "around": "project", "shapes": BOTTLENECK},
        "resnet",
        {"depth": 20, "width": 4, "block": "bottleneck", "shortcut": "projection"},
    ),
    "no shortcuts": ({"n": 2, "around": "none"}, "plain", {"depth": 14, "width": 4}),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_our_network_with_their_weights_computes_what_theirs_does(tmp_path, name):
    how, network, arguments = ARCHITECTURES[name]
    original = theirs(**how)
    torch.save(original.state_dict(), tmp_path / "a.pt")
    checkpoint = load(tmp_path / "a.pt", network)
    assert checkpoint.arguments == arguments
    ours = checkpoint.restore(network).eval()
    x = images(5)
    with torch.no_grad():
        expected, outputs = original(x), ours(x)
    assert (expected - expected.mean(0)).abs().max() > 0.1  # else a constant would do
    torch.testing.assert_close(outputs, expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_the_order_of_channels_matters_where_zeros_are_padded():
    original = theirs(n=2)
    weights, arguments = renamed(original.state_dict(), "resnet")
    x = images(2)
    ours = build("resnet", **arguments).eval()
    ours.load_state_dict(reordered(weights, back=True))  # under our names, but in their order
    with torch.no_grad():
        assert (ours(x) - original(x)).abs().max() > 1e-3


def test_an_order_can_be_taken_back():
    weights, _ = renamed(theirs(n=2).state_dict(), "resnet")
    again = reordered(reordered(weights, back=True))
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())


@pytest.mark.parametrize("wrap", ["", "state_dict", "net", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
def test_checkpoints_of_other_programs_come_in_many_wrappings(tmp_path, wrap, prefix):
    original = theirs(n=1)
    weights = {prefix + name: tensor for name, tensor in original.state_dict().items()}
    more = {"epoch": 7, "acc": 91.2, "best_prec1": torch.tensor(91.2), "optimizer": {"param_groups": [{"lr": 0.1}]}}
    torch.save({wrap: weights, **more} if wrap else weights, tmp_path / "a.t7")
    ours = load(tmp_path / "a.t7", "resnet").restore("resnet").eval()
    x = images(2)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), original(x), rtol=1e-5, atol=1e-5)


def test_files_of_before_torch_1_and_of_half_precision_are_read(tmp_path):
    original = theirs(n=1)
    weights = {n: t.half() for n, t in original.state_dict().items() if not n.endswith("num_batches_tracked")}
    torch.save({"state_dict": weights}, tmp_path / "a.th", _use_new_zipfile_serialization=False)
    ours = load(tmp_path / "a.th", "resnet").restore("resnet")
    assert torch.equal(ours.stem[0].weight, original.conv1.weight.half().float())


def test_torchvisions_names_are_its_own_networks(tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=10)
    torch.save({"model": {f"module.{n}": t for n, t in network.state_dict().items()}, "epoch": 3}, tmp_path / "a.pt")
    checkpoint = load(tmp_path / "a.pt", "torchvision.models:resnet18")
    checkpoint.arguments = {"num_classes": 10}
    restored = checkpoint.restore("torchvision.models:resnet18").eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(restored(x), network.eval()(x))


def test_our_own_names_are_left_alone():
    weights = build("resnet", depth=8, width=4).state_dict()
    same, arguments = renamed(weights, "resnet")
    assert arguments == {} and list(same) == list(weights)
    assert all(same[name] is weights[name] for name in weights)


def without(network, *words):
    return {n: t for n, t in network.state_dict().items() if not any(word in n for word in words)}


def wrong():
    """Weights with their names that are of none of our networks, and words of the answer."""
    four = torchvision.models.resnet18(num_classes=10).state_dict()
    early = {**theirs(n=1).state_dict(), "layer2.0.bn1.weight": torch.ones(4)}
    odd = {**theirs(n=1).state_dict(), "layer3.0.conv2.weight": torch.ones(4, 4, 3, 3)}
    return {
        "four stages": (four, "resnet", "stages of 2, 2, 2, 2 blocks, resnet has 3 stages of equal length"),
        "unequal": (without(theirs(n=2), "layer3.1"), "resnet", "stages of 2, 2, 1 blocks"),
        "no stages": ({"conv1.weight": torch.ones(4, 3, 3, 3)}, "resnet", "stages of no blocks"),
        "no stem": (without(theirs(n=1), "conv1") | {"bn1.weight": torch.ones(4)}, "resnet", "does not follow"),
        "pre-activation": (early, "resnet", "BatchNorm does not follow its convolutions"),
        "projections": (theirs(n=1, around="project").state_dict(), "plain", "plain has no shortcuts; use resnet"),
        "bottlenecks": (theirs(n=1, around="none", shapes=BOTTLENECK).state_dict(), "resnet", "have no weights"),
        "widths": (odd, "resnet", "do not double their channels"),
    }


@pytest.mark.parametrize("case", list(wrong()))
@pytest.mark.slow
def test_what_is_of_another_architecture_is_refused_in_one_line(case):
    weights, network, words = wrong()[case]
    with pytest.raises(BadInput) as caught:
        renamed(weights, network)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_taken_for_granted_is_told():
    assert "half before" in describe_architecture("resnet", {"depth": 8, "shortcut": "zero-pad"})
    assert "half before" not in describe_architecture("plain", {"depth": 8})
