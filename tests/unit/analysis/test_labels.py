import re

import audit
import pytest

from landscape.analysis.labels import network_label
from landscape.networks import NETWORKS, titled
from landscape.networks.joins import JOINS

LABELS = {  # by hand
    "resnet": "ResNet",
    "resnet-110": "ResNet-110",
    "plain-20": "plain, 20 layers",
    "densenet-40:growth=24,bottleneck=True": "DenseNet-40, growth 24, bottlenecks",
    "vgg-16:constant=true": "VGG-16, constant width",
    "transformer-8:heads=8,norm=post": "transformer, 8 layers, 8 heads, post-norm",
    "vit-4:patch=2": "ViT, 4 layers, patch 2",
    "resnet:order=pre,survival=0.5": "ResNet, pre-activation, stochastic depth 0.5",
    "preact-resnet-56": "ResNet-56, pre-activation",
    "resnet:join=scale,scales=(0.5,1)": "ResNet, constant scaling, (0.5, 1)",
    "resnet:join=exclusive-gate,gate_bias=-6": "ResNet, exclusive gate, b = −6",
    "resnet-20:shortcut=hyper": "ResNet-20, hyper-connections",
    "resnet-20:shortcut=hyper,streams=2,dynamic=True": "ResNet-20, hyper-connections, 2 streams, dynamic",
    "preact-resnet-20:shortcut=mhc": "ResNet-20, pre-activation, constrained hyper-connections",
    "resnet-20:shortcut=delta": "ResNet-20, delta shortcuts",
    "transformer-4:shortcut=depth-attention": "transformer, 4 layers, attention over depth",
    "vit-4:values=residual": "ViT, 4 layers, value residuals",
    "plain:norm=none": "plain, no normalisation",
    "transformer-4:shortcut=('identity',None)": "transformer, 4 layers, no shortcut around the MLP",
    "vit:shortcut=[None, 'identity']": "ViT, no shortcut around attention",
    "vit:shortcut=(None,None)": "ViT, shortcut (None, None)",
}


@pytest.mark.parametrize("name", LABELS)
def test_a_network_is_called_as_a_paper_calls_it(name):
    assert network_label(name) == LABELS[name]


@pytest.mark.parametrize("name", ["resnet18", "plain-20-0", "my-network", "LlamaForCausalLM", "frozen", "a: b=c", ""])
def test_what_is_no_network_of_ours_keeps_its_name(name):
    assert network_label(name) == name


@pytest.mark.parametrize("arguments", [{"join": join, "order": "pre"} for join in JOINS], ids=str)
def test_no_argument_of_a_network_is_left_as_it_was_typed(arguments):
    for family in NETWORKS:
        label = network_label(titled(family, {"depth": 20, "width": 77, "norm": "none"} | arguments))
        assert not any(pattern.search(label) for pattern in audit.RAW.values())
        assert re.search(r"\b20\b", label) and ("77" in label or family == "densenet")


def test_two_networks_have_two_labels():
    names = [*LABELS, "resnet-20", "resnet-20:width=32", "resnet-20:keep=3", "resnet-20:shortcut=projection"]
    assert len({network_label(name) for name in names}) == len(names)
