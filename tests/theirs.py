"""CIFAR ResNets as other people write them."""

import torch
from torch import nn
from torch.nn import functional as F


class Padded(nn.Module):
    """Every second position, and zeros half before the channels and half behind: option A of pytorch_resnet_cifar10."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.before = (outputs - inputs) // 2
        self.behind = outputs - inputs - self.before

    def forward(self, x):
        n, _, h, w = (few := x[:, :, ::2, ::2]).shape
        before, behind = (few.new_zeros(n, number, h, w) for number in (self.before, self.behind))
        return torch.cat([before, few, behind], dim=1)


class Theirs(nn.Module):
    """A CIFAR ResNet as most repositories write it, with their names."""

    def __init__(self, n, width=4, shapes=((3, 1), (3, 1)), around="pad", shortcut="shortcut", last="linear"):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        inputs = width
        for stage in range(3):
            blocks = nn.Sequential()
            for place in range(n):
                blocks.append(
                    TheirBlock(inputs, width * 2**stage, 1 + (stage > 0 and place == 0), shapes, around, shortcut)
                )
                inputs = width * 2**stage * shapes[-1][1]
            self.add_module(f"layer{stage + 1}", blocks)
        self.add_module(last, nn.Linear(inputs, 10))
        self.last = last

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return getattr(self, self.last)(x.mean((2, 3)))


class TheirBlock(nn.Module):
    def __init__(self, inputs, width, stride, shapes, around, shortcut):
        super().__init__()
        outputs, between = width * shapes[-1][1], inputs
        for i, (size, times) in enumerate(shapes, start=1):
            step = stride if i == (1 if len(shapes) == 2 else 2) else 1
            self.add_module(f"conv{i}", nn.Conv2d(between, width * times, size, step, size // 2, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(width * times))
            between = width * times
        self.number, self.shortcut_name = len(shapes), shortcut
        self.joined = around != "none"
        module = nn.Sequential()
        if stride != 1 or inputs != outputs:
            if around == "project":
                module = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            elif around == "pad":
                module = Padded(inputs, outputs)
        self.add_module(shortcut, module)

    def forward(self, x):
        out = x
        for i in range(1, self.number + 1):
            out = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(out))
            out = F.relu(out) if i < self.number else out
        return F.relu(out + getattr(self, self.shortcut_name)(x) if self.joined else out)


BOTTLENECK = ((1, 1), (3, 1), (1, 4))


def theirs(seed=0, **how):
    """Their network with random weights, and BatchNorm with the statistics that belong to them."""
    torch.manual_seed(seed)
    network = Theirs(**how)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.3)
            module.momentum = 1.0
    with torch.no_grad():
        network(images(32))
    return network.eval()


def images(number):
    """Blurred noise: unlike white noise, two such images are not the same on average."""
    return F.interpolate(torch.randn(number, 3, 4, 4), 16, mode="bilinear")
