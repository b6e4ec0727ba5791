"""A small network of every kind in this package, and BatchNorm whose statistics are not the initial ones."""

import torch
from torch import nn

from landscape.networks.connections import CONNECTIONS
from landscape.networks.hyper_connections import HYPER
from landscape.networks.joins import JOINS
from landscape.networks.residual import ORDERS
from landscape.networks.shortcuts import SHORTCUTS

SMALL = {"depth": 8, "width": 4}
NETWORKS = {
    **{f"order {order}": ("resnet", SMALL | {"order": order}) for order in ORDERS},
    **{f"shortcut {name}": ("resnet", SMALL | {"shortcut": name}) for name in SHORTCUTS},
    **{f"join {join}": ("resnet", SMALL | {"join": join}) for join in JOINS},
    **{f"shortcut {name}": ("resnet", SMALL | {"shortcut": name}) for name in CONNECTIONS},
    **{f"shortcut {name}, dynamic": ("resnet", SMALL | {"shortcut": name, "dynamic": True}) for name in HYPER},
    "vit, value residuals": ("vit", {"depth": 2, "width": 8, "size": 8, "values": "residual"}),
    "vit, attention over depth": ("vit", {"depth": 1, "width": 8, "size": 8, "shortcut": "depth-attention"}),
    "vit, shortcut mhc": ("vit", {"depth": 1, "width": 8, "size": 8, "shortcut": "mhc", "dynamic": True}),
    "highway": ("resnet", SMALL | {"join": "exclusive-gate", "gate_bias": -2.0, "shortcut": "projection-everywhere"}),
    "no BatchNorm": ("resnet", SMALL | {"norm": "none"}),
    "zero-init": ("resnet", SMALL | {"zero_init": True}),
    "zero-init, pre": ("resnet", SMALL | {"zero_init": True, "order": "pre"}),
    "stochastic depth": ("resnet", SMALL | {"survival": 0.5}),
    "keep": ("resnet", SMALL | {"keep": 2}),
    "bottleneck": ("resnet", {"depth": 11, "width": 4, "block": "bottleneck"}),
    "bottleneck, pre": ("resnet", {"depth": 11, "width": 4, "block": "bottleneck", "order": "pre"}),
    "checkpointing": ("resnet", SMALL | {"checkpointing": True}),
    "plain": ("plain", SMALL),
    "plain, pre": ("plain", SMALL | {"order": "pre"}),
    "plain, no BatchNorm": ("plain", SMALL | {"norm": "none"}),
    "plain bottleneck": ("plain", {"depth": 11, "width": 4, "block": "bottleneck"}),
    "densenet": ("densenet", {"depth": 10, "growth": 4}),
    "densenet-BC": ("densenet", {"depth": 16, "growth": 4, "bottleneck": True, "compression": 0.5}),
    "densenet, checkpointing": ("densenet", {"depth": 7, "growth": 4, "checkpointing": True}),
    "vgg-9": ("vgg", {"depth": 9, "width": 4}),
    "vgg-9, no BatchNorm": ("vgg", {"depth": 9, "width": 4, "norm": "none"}),
    "vgg of constant width": ("vgg", {"depth": 7, "width": 8, "constant": True}),
    "vit": ("vit", {"depth": 2, "width": 8, "heads": 2, "size": 8}),
    "vit, post-norm, gates": ("vit", {"depth": 1, "width": 8, "size": 8, "norm": "post", "join": "exclusive-gate"}),
    "vit, no shortcut around attention": ("vit", {"depth": 1, "width": 8, "size": 8, "shortcut": (None, "identity")}),
}


def trained_like(network):
    """The network with statistics that are not at their initial values, in evaluation mode."""
    torch.manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
    return network.eval()
