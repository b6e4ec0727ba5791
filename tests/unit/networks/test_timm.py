"""Networks of timm go by their names, and get no weights but those of the checkpoint."""

import pytest
import torch

from landscape.checkpoints.checkpoint import load
from landscape.errors import BadInput
from landscape.networks import build, titled

timm = pytest.importorskip("timm")


def test_a_file_of_weights_is_restored_by_the_name_of_its_model(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("resnet18", num_classes=3, in_chans=1).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    checkpoint = load(tmp_path / "w.pth", "timm:resnet18")
    checkpoint.arguments = {"num_classes": 3, "in_chans": 1}
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(checkpoint.restore("timm:resnet18").eval()(images), network(images))
    assert checkpoint.title == titled("timm:resnet18", {}) == "resnet18"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("timm:resnet81", {}, "timm has no model 'resnet81'.*did you mean"),
        ("timm:hf-hub:someone/model", {}, "timm has no model"),
        ("timm:resnet18", {"pretrained": True}, "leave out pretrained"),
        ("timm:resnet18", {"checkpoint_path": "x.pth"}, "leave out checkpoint_path"),
        ("timm:resnet18", {"colour": 1}, "unexpected keyword argument 'colour'"),
    ],
)
def test_what_timm_does_not_have_is_one_line(name, arguments, message):
    with pytest.raises(BadInput, match=message) as error:
        build(name, **arguments)
    assert "\n" not in str(error.value)
