"""Value residuals, head by head in plain NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from ensemble.blocks.blocks import blocks
from ensemble.lesions.context import lesion
from ensemble.paths.chain import chain
from ensemble.paths.spectrum import spectrum
from landscape.errors import BadInput
from landscape.networks import build, titled

TEXT = {"depth": 3, "width": 12, "heads": 3, "vocabulary": 17, "context": 9, "values": "residual"}


def made(name="transformer", **arguments):
    """A network in which nothing is 0, 1 or the identity by accident."""
    torch.manual_seed(0)
    network = build(name, **TEXT | arguments).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def tokens():
    return torch.randint(17, (2, 9), generator=torch.Generator().manual_seed(1))


def attention(weights, x, first, scale):
    """One example: what comes out, and the values that were not yet mixed."""
    q, k, v = np.split(x @ weights["qkv.weight"].T + weights["qkv.bias"], 3, axis=1)
    mixed = v if first is None else scale[0] * first + scale[1] * v
    out = np.zeros_like(x)
    for head in range(3):
        part = slice(4 * head, 4 * head + 4)
        for t in range(len(x)):
            scores = np.exp(q[t, part] @ k[: t + 1, part].T / 2)
            out[t, part] = scores @ mixed[: t + 1, part] / scores.sum()
    return out @ weights["out.weight"].T + weights["out.bias"], v


def by_hand(network, x, norm, left_out=()):
    """The network's outputs, with attention in NumPy and the rest from its own modules."""
    embedding = network.stem[0]
    outputs = []
    for example in x:
        stream, first = embedding(example[None]), None
        for number, block in enumerate(network.parts()[1:-1]):
            if number % 2:
                f = block.branch.module(stream)
            else:
                *before, last = block.branch.branch
                inner = nn.Sequential(*before)(stream)[0].detach().numpy()
                weights = {name: tensor.numpy() for name, tensor in last.state_dict().items()}
                scale = None if number == 0 else block.branch.scale.detach().numpy()
                out, v = attention(weights, inner, first, scale)
                if number == 0:
                    first = np.zeros_like(v) if 0 in left_out else v
                f = torch.from_numpy(out)[None]
            if number not in left_out:
                stream = stream + f
            if norm == "post":
                stream = block.after.module(stream)
        outputs.append(network.head[1](stream))
    return torch.cat(outputs)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("left_out", [(), (0,), (2, 3)])
def test_it_is_the_formula_with_and_without_blocks(norm, left_out):
    network, x = made(norm=norm), tokens()
    names = list(blocks(network))
    expected = by_hand(network, x, norm, left_out)
    with lesion(network, [names[number] for number in left_out]) as without:
        torch.testing.assert_close(without(x), expected, rtol=1e-9, atol=1e-11)


def test_with_none_of_the_first_values_it_is_the_ordinary_transformer():
    torch.manual_seed(0)
    one = build("transformer", **TEXT | {"values": None}).eval()
    torch.manual_seed(0)
    other = build("transformer", **TEXT).eval()
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if name.endswith("branch.scale"):
                parameter.copy_(torch.tensor([0.0, 1.0]))
    assert torch.equal(one(tokens()), other(tokens()))


def test_shares_of_paths_sum_to_1_and_paths_by_the_first_values_go_through_the_first_attention():
    network = made()

    def loss(outputs, targets):
        return nn.functional.cross_entropy(outputs[:, -1], targets, reduction="none")

    steps = chain(network)
    _, share = spectrum(steps, [(tokens(), torch.arange(2))], loss)
    np.testing.assert_allclose(share.sum(0), 1, atol=1e-9)
    first = steps.steps[0]
    x = steps.stem(tokens())
    assert not first.carry(x)[:, 1].any() and first.branch(x)[:, 1].abs().min() > 0


def test_of_images_too_and_its_name_says_so():
    network = build("vit", depth=2, width=8, heads=2, size=8, channels=1, values="residual")
    assert network(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    assert titled("vit", {"values": "residual"}) == "vit:values=residual"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"shortcut": "hyper"}, "takes shortcut='identity' and join='add'"),
        ({"join": "scale"}, "takes shortcut='identity' and join='add'"),
        ({"shortcut": (None, "identity")}, "the same shortcuts"),
        ({"values": "residuals"}, "values is 'residuals'; it must be one of None, 'residual'"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(BadInput, match=message):
        build("transformer", **TEXT | arguments)
