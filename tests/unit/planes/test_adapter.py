"""The surface of an adapter alone: what is chosen moves as in the whole, the frozen model stays."""

import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.curvature.maps import curvature
from landscape.curvature.sharpness import sharpness
from landscape.curvature.spectra import hessian
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.planes.make_plane import random_plane
from landscape.planes.surface import surface
from landscape.planes.trajectory import trajectory
from landscape.weights import digest, weights_of

WORDS, WIDTH, LENGTH = 11, 8, 6
CHOICE = "*lora_*"


class Lora(nn.Module):
    """x ↦ Wx + b + B(Ax): a frozen layer and an adapter of rank 2 (Hu et al. 2021, 2106.09685, §4.1)."""

    def __init__(self, base):
        super().__init__()
        self.base_layer = base.requires_grad_(False)
        self.lora_A, self.lora_B = (
            nn.Linear(base.in_features, 2, bias=False),
            nn.Linear(2, base.out_features, bias=False),
        )

    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x))


class Layer(nn.Module):
    """A pre-norm layer as GPT-2 has them, one head."""

    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.c_attn, self.c_proj = Lora(nn.Linear(WIDTH, 3 * WIDTH)), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), Lora(nn.Linear(4 * WIDTH, WIDTH)))

    def forward(self, x):
        q, k, v = self.c_attn(self.ln_1(x)).chunk(3, dim=-1)
        x = x + self.c_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return x + self.mlp(self.ln_2(x))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(WORDS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.h, self.ln_f = nn.Sequential(Layer(), Layer()), nn.LayerNorm(WIDTH)

    def forward(self, tokens):
        x = self.h(self.wte(tokens) + self.wpe.weight[: tokens.shape[1]])
        return F.linear(self.ln_f(x), self.wte.weight)  # tied


def next_token(scores, tokens):
    """The mean over an example's positions of the cross-entropy of the token that follows."""
    return F.cross_entropy(scores[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none").mean(1)


@pytest.fixture
def evaluate():
    torch.manual_seed(0)
    model, tokens = Model(), torch.randint(WORDS, (5, LENGTH))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return Evaluator(model, [(tokens, tokens)], next_token)


def by_hand(model, tokens, point, seed):
    """The loss where each row of an adapter's matrices has moved by a draw of its own length; nothing of ours."""
    generators = [np.random.default_rng((seed, number, 0)) for number in range(len(point))]
    moved = {}
    for name, w in model.named_parameters():
        draws = [torch.from_numpy(g.standard_normal(tuple(w.shape), dtype=np.float32)) for g in generators]
        if "lora_" in name:
            rows = [d * (w.norm(dim=1) / d.norm(dim=1))[:, None] for d in draws]
            moved[name] = w + sum(a * row for a, row in zip(point, rows, strict=True))
    with torch.no_grad():
        return float(next_token(torch.func.functional_call(model, moved, tokens), tokens).mean())


def test_the_surface_of_an_adapter_is_what_plain_torch_gives(evaluate):
    before = digest(weights_of(evaluate.network))
    results = surface(evaluate, x=(-1, 1, 3), y=(0, 2, 2), parameters=CHOICE, seed=4, quiet=True)
    tokens = evaluate.sources[0].batches[0][0]
    expected = [[by_hand(evaluate.network, tokens, (x, y), 4) for x in (-1, 0, 1)] for y in (0, 2)]
    assert results["loss"] == pytest.approx(np.array(expected), rel=1e-5) and results["loss"].std() > 1e-3
    assert results.attributes["chosen_parameters"] == CHOICE
    assert digest(weights_of(evaluate.network)) == before
    assert {name.split(".")[-2] for name in random_plane(evaluate.network, parameters=CHOICE).moved} == {
        "lora_A",
        "lora_B",
    }


def test_every_measurement_takes_the_choice(evaluate):
    network = evaluate.network
    adapter = {name: w for name, w in weights_of(network).items() if "lora_" in name}
    assert hessian(evaluate, parameters=CHOICE).shape[0] == sum(w.numel() for w in adapter.values())
    plane = curvature(evaluate, x=(0, 1, 2), parameters=CHOICE, quiet=True)
    ball = sharpness(evaluate, rho=0.1, trials=1, steps=1, parameters=CHOICE, quiet=True)
    whole = sharpness(evaluate, rho=0.1, trials=1, steps=1, quiet=True)
    assert (ball["rise"] != whole["rise"]).any()

    def trained(scale_a, scale_b):
        factor = {"lora_A": scale_a, "lora_B": scale_b}
        return {n: w * factor.get(n.split(".")[-2], 2.0) for n, w in network.state_dict().items()}

    path = trajectory(evaluate, [trained(1.5, 1.2), trained(1.1, 1.4)], parameters=CHOICE, quiet=True)
    far = sum(float(((0.5 if "lora_A" in n else 0.2) * w.double()).square().sum()) for n, w in adapter.items()) ** 0.5
    assert path["distance"][0] == pytest.approx(far, rel=1e-6)  # that other weights have doubled is no part of it
    assert {each.attributes["chosen_parameters"] for each in (plane, ball, path)} == {CHOICE}


def test_what_is_frozen_is_said_and_what_fits_nothing_is_refused(evaluate, caplog):
    with caplog.at_level(logging.INFO, "skipscape"):
        surface(evaluate, x=(0, 1, 2), quiet=True)
    assert "are frozen" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "skipscape"):
        surface(evaluate, x=(0, 1, 2), parameters=CHOICE, quiet=True)
    assert "frozen" not in caplog.text  # none of them is in the adapter
    with pytest.raises(BadInput, match=r"no parameter's name fits the pattern 'h\.0\.c_attn\.lora_C\.weight'.*lora_"):
        surface(evaluate, x=(0, 1, 2), parameters="h.0.c_attn.lora_C.weight", quiet=True)
    with pytest.raises(BadInput, match="no parameter's name fits"):
        sharpness(evaluate, parameters="*adapter*", quiet=True)
