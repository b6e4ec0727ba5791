"""A filter is what makes one output unit, whatever the shape of the parameter; which parameters move is a choice."""

import warnings

import numpy as np
import pytest
import torch
from measured import surface
from torch import nn
from torch.nn import functional as F

from landscape.curvature.hessian import hessian_operator
from landscape.curvature.sharpness import rises
from landscape.errors import BadInput, UnknownLayer
from landscape.networks import NETWORKS, build
from landscape.planes.directions import cosine, filter_normalize, normalize, orthogonalize, random_direction
from landscape.planes.filters import conventions, frozen, listing, matching, selected, warn_of_unknown
from landscape.planes.principal_components import path_in_plane
from landscape.weights import digest, squared_norm, weights_of


class Conv1D(nn.Module):
    """As in transformers: stores (in, out)."""

    def __init__(self, outputs, inputs):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs) / 4), nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias


class Experts(nn.Module):
    """As in transformers 5: stacks of (out, in), or of (in, out) where `is_transposed` says so."""

    def __init__(self, transposed=None):
        super().__init__()
        up, down = ((3, 4, 6), (3, 6, 4)) if transposed else ((3, 6, 4), (3, 4, 6))
        self.gate_up_proj, self.down_proj = nn.Parameter(torch.randn(up)), nn.Parameter(torch.randn(down))
        self.gate_up_proj_bias = nn.Parameter(torch.randn(3, 6))
        if transposed is not None:
            self.is_transposed = transposed


class GptOssExperts(Experts):
    def __init__(self):
        super().__init__(True)
        del self.is_transposed  # as before transformers had it


class Own(nn.Module):
    """A layer that no table knows."""

    def __init__(self, *shape, bias=()):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(shape))
        if bias:
            self.bias = nn.Parameter(torch.randn(bias))


class Holder(nn.Module):
    """Parameters that a module holds itself."""

    def __init__(self, **shapes):
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))


def filters_of(w, axes, groups=1):
    """The filters of a tensor, one at a time."""
    if groups > 1:
        for part in w.chunk(groups):
            yield from part.unbind(1)
    elif len(axes) == 1:
        yield from w.unbind(axes[0])
    else:
        for i in np.ndindex(*(w.shape[axis] for axis in axes)):
            place = [slice(None)] * w.ndim
            for axis, k in zip(axes, i, strict=True):
                place[axis] = k
            yield w[tuple(place)]


LAYERS = {
    "linear": (nn.Linear(4, 6), "weight", (0,), 1),
    "linear of one output": (nn.Linear(4, 1), "weight", (0,), 1),
    "linear of one input": (nn.Linear(1, 4), "weight", (0,), 1),
    "convolution": (nn.Conv2d(3, 5, 2), "weight", (0,), 1),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4), "weight", (0,), 1),
    "transposed": (nn.ConvTranspose2d(3, 5, 2), "weight", (1,), 1),
    "grouped transposed": (nn.ConvTranspose1d(6, 4, 3, groups=2), "weight", (1,), 2),
    "depthwise transposed": (nn.ConvTranspose2d(4, 4, 2, groups=4), "weight", (1,), 4),
    "embedding": (nn.Embedding(7, 4), "weight", (0,), 1),
    "bag": (nn.EmbeddingBag(7, 4), "weight", (0,), 1),
    "bilinear": (nn.Bilinear(3, 4, 5), "weight", (0,), 1),
    "lstm": (nn.LSTM(3, 4, proj_size=2), "weight_hr_l0", (0,), 1),
    "gru cell": (nn.GRUCell(3, 4), "weight_hh", (0,), 1),
    "attention": (nn.MultiheadAttention(4, 2), "in_proj_weight", (0,), 1),
    "attention of other widths": (nn.MultiheadAttention(4, 2, kdim=3), "k_proj_weight", (0,), 1),
    "Conv1D": (Conv1D(16, 6), "weight", (1,), 1),
    "experts": (Experts(), "gate_up_proj", (0, 1), 1),
    "experts that say so": (Experts(False), "down_proj", (0, 1), 1),
    "transposed experts": (Experts(True), "gate_up_proj", (0, 2), 1),
    "transposed experts by name": (GptOssExperts(), "down_proj", (0, 2), 1),
    "unknown": (Own(5, 4), "matrix", (0,), 1),
    "unknown, its bias on the second axis": (Own(5, 4, bias=(4,)), "matrix", (1,), 1),
    "an unknown stack, its bias on the last": (Own(2, 5, 4, bias=(2, 1, 4)), "matrix", (0, 2), 1),
    "an unknown kernel": (Own(5, 4, 3, bias=(5,)), "matrix", (0,), 1),
}


@pytest.mark.parametrize("case", LAYERS)
def test_each_filter_gets_the_norm_of_the_networks_filter(case):
    layer, name, axes, groups = LAYERS[case]
    weights = weights_of(layer)
    direction = normalize(random_direction(weights, 3), weights, conventions=conventions(layer))
    pairs = list(zip(*(filters_of(t[name], axes, groups) for t in (direction, weights)), strict=True))
    assert conventions(layer)[name].filters == len(pairs)
    for d, w in pairs:
        assert d.norm().item() == pytest.approx(w.norm().item(), rel=1e-5)
    raw = random_direction(weights, 3)[name]
    ratios = [
        (d / r).flatten() for d, r in zip(*(filters_of(t, axes, groups) for t in (direction[name], raw)), strict=True)
    ]
    assert all(torch.allclose(ratio, ratio[0], rtol=1e-4) for ratio in ratios)  # one factor for each filter


NONE = {
    "norms of images": nn.LayerNorm((3, 4, 4)),
    "group norms": nn.GroupNorm(2, 4),
    "slopes": nn.PReLU(4),
    "layer scales": Holder(gamma=(4, 1, 1), layer_scale=(4, 1, 1), scale_factor=(3, 4)),
    "class, mask, register tokens": Holder(
        cls_token=(1, 1, 8), mask_token=(1, 8), register_tokens=(4, 8), dist_token=(1, 1, 8)
    ),
    "class embeddings": Holder(class_embedding=(1, 8), level_embed=(4, 8)),
    "positions": Holder(
        pos_embed=(1, 5, 8), position_embeddings=(5, 8), positional_embedding=(5, 8), pos_embedding=(1, 5, 8)
    ),
    "relative positions": Holder(
        relative_position_bias_table=(49, 3), rel_pos_h=(13, 8), rpb=(3, 5, 5), attention_biases=(2, 9)
    ),
    "queries": Holder(query=(4, 8), query_tokens=(1, 4, 8), latents=(4, 8), probe=(1, 1, 8)),
    "temperatures": Holder(temperature=(3, 1, 1), logit_scale=(3, 1, 1)),
    "biases of experts": Holder(down_proj_bias=(3, 4)),
    "what is broadcast, under any name": Holder(weight=(1, 1, 1, 8), other=(8, 1, 1), more=(1, 3, 8)),
    "state matrices": Holder(A_log=(8, 4)),
    "nothing": Holder(weight=(0, 4)),
}


@pytest.mark.parametrize("kind", NONE)
def test_what_makes_no_output_unit_does_not_move_unless_asked(kind):
    network = NONE[kind]
    weights = weights_of(network)
    with torch.no_grad():
        for w in weights.values():
            w.add_(0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_unknown(network)
    still = normalize(random_direction(weights, 0), weights, conventions=conventions(network))
    assert not any(d.any() for d in still.values())
    how = {"conventions": conventions(network), "one_dimensional": True}
    for name, d in normalize(random_direction(weights, 0), weights, **how).items():
        assert d.norm().item() == pytest.approx(weights[name].norm().item(), rel=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_an_embedding_and_an_output_layer_have_one_convention(tied):
    network = nn.ModuleDict({"words": nn.Embedding(9, 4), "output": nn.Linear(4, 9, bias=False)})
    if tied:
        network["output"].weight = network["words"].weight
    by_name = conventions(network)
    assert list(by_name) == (["words.weight"] if tied else ["words.weight", "output.weight"])
    assert {here.axes for here in by_name.values()} == {(0,)} and all(here.filters == 9 for here in by_name.values())


def test_a_matrix_that_an_unknown_module_holds_too_is_its_layers():
    network = nn.Module()
    network.shared = nn.Parameter(torch.randn(6, 4))
    network.layer = Conv1D(4, 6)
    network.layer.weight = network.shared
    assert conventions(network)["shared"].axes == (1,) and conventions(network)["shared"].known


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
@pytest.mark.parametrize("layer", ["convolution", "grouped transposed", "linear"])
def test_parts_of_a_weight_have_the_filters_of_the_weight(make, layer):
    of = {"convolution": nn.Conv2d(3, 5, 2), "linear": nn.Linear(4, 6)}
    of["grouped transposed"] = nn.ConvTranspose1d(6, 4, 3, groups=2)
    plain = conventions(of[layer])["weight"]
    by_name = {name: here for name, here in conventions(make(of[layer])).items() if "bias" not in name}
    assert len(by_name) == 2 and all(here.known and here.axes for here in by_name.values())
    assert list(by_name.values())[1][1:] == plain[1:]  # v
    assert list(by_name.values())[1].layer == plain.layer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
def test_spectral_norms_original_has_the_filters_of_the_weight(make):
    by_name = conventions(nn.Sequential(make(nn.ConvTranspose2d(3, 5, 2))))
    (here,) = (here for name, here in by_name.items() if "bias" not in name)
    assert here.axes == (1,) and here.filters == 5


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_ours_and_torchvisions_convolutions_are_as_they_were(name):
    """Slices of the first axis of whatever has two dimensions or more, to the bit."""
    network = build(name, **{"depth": 8} if name in ("plain", "resnet") else {})
    weights, by_name = weights_of(network), conventions(network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_unknown(network)
    assert all(here.axes == ((0,) if weights[name].ndim > 1 else ()) for name, here in by_name.items())
    one, other = (normalize(random_direction(weights, 3), weights, conventions=c) for c in (by_name, None))
    assert digest(one) == digest(other)


def test_layers_that_are_not_known_are_named_in_one_warning():
    network = nn.Sequential(nn.Linear(4, 4), Own(5, 4), Own(3, 4))
    with pytest.warns(UnknownLayer, match=r"1\.matrix of Own, .*2\.matrix of Own") as warned:
        warn_of_unknown(network)
    assert len(warned) == 1 and "\n" not in str(warned[0].message)


def test_every_parameter_is_listed_with_its_convention():
    network = nn.Sequential(Conv1D(3, 6), nn.BatchNorm1d(3), nn.ConvTranspose2d(4, 4, 2, groups=4), Own(5, 4))
    network[0].weight.requires_grad_(False)
    lines = listing(network, parameters=["0.*", "2.*"])
    assert len(lines) == 1 + len(list(network.parameters()))
    assert lines[1].split("  ")[0] == "0.weight"
    for text in ("Conv1D", "6×3", "3 filters, axis 1", "yes, frozen"):
        assert text in lines[1]
    assert "no filters" in lines[2] and lines[2].endswith("no")
    assert "4 filters, axes 0 and 2 of 4×1×1×2×2" in next(line for line in lines if line.startswith("2.weight"))
    assert "assumed" in lines[-1] and lines[-1].endswith("no")


def test_parameters_are_chosen_by_words_patterns_and_functions():
    network = nn.ModuleDict({"layer1": nn.Linear(2, 2), "layer2": nn.Linear(2, 2), "lora_A": nn.Linear(2, 2)})
    network["layer1"].requires_grad_(False)

    def names(choice):
        which = matching(network, choice)
        return [name for name, p in network.named_parameters() if which is None or which(name, p)]

    every = [name for name, _ in network.named_parameters()]
    assert names(None) == names("all") == names(["all", "layer1.*"]) == every
    assert names("trainable") == every[2:]
    assert names("*lora_*") == every[4:]
    assert names(["layer1.*", "*.bias"]) == ["layer1.weight", "layer1.bias", "layer2.bias", "lora_A.bias"]
    assert names(lambda name, p: p.ndim == 2) == every[::2]
    assert frozen(network, "layer2.*") is None and "2 of 6 parameters are frozen (33.3 %" in frozen(network)
    for wrong, said in (
        ("layer9.*", "no parameter's name fits the pattern 'layer9"),
        ("layer1.wieght", "did you mean layer1.weight?"),
        ("trainible", "did you mean trainable?"),
        ([], "all, trainable or patterns"),
        ([3], "all, trainable or patterns"),
        (lambda name, p: False, "chooses no parameter"),
    ):
        with pytest.raises(BadInput, match=said.replace("?", r"\?")):
            matching(network, wrong)
    with pytest.raises(BadInput, match="no parameter requires gradients"):
        matching(network.requires_grad_(False), "trainable")
    with pytest.raises(BadInput, match="has filters"):
        selected(network, "*.bias", filters=True)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("how", ["filter", "layer", "weight", "none"])
def test_complex_directions_have_both_parts_and_filters_of_the_norms_of_the_networks(dtype, how):
    torch.manual_seed(0)
    weights = {
        "w": torch.randn(5, 40, dtype=dtype),
        "b": torch.randn(5, dtype=dtype),
        "s": torch.randn((), dtype=dtype),
    }
    one, other = (normalize(random_direction(weights, seed), weights, how, one_dimensional=True) for seed in (0, 1))
    assert one["w"].dtype == dtype and one["w"].real.any() and one["w"].imag.any()
    if how == "filter":
        for d, w in zip(one["w"], weights["w"], strict=True):
            assert d.norm().item() == pytest.approx(w.norm().item(), rel=1e-5)
    flat = [torch.cat([torch.view_as_real(d[n]).flatten().double() for n in d]) for d in (one, other)]
    assert cosine(one, other) == pytest.approx((flat[0] @ flat[1] / flat[0].norm() / flat[1].norm()).item(), rel=1e-6)
    assert squared_norm(one) == pytest.approx((flat[0] @ flat[0]).item(), rel=1e-6)
    assert abs(cosine(*orthogonalize([one, other]))) < 1e-6
    assert digest(one) != digest(other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_types_have_filters_of_the_norms_of_the_networks_to_their_own_rounding(dtype):
    torch.manual_seed(0)
    weights = {"w": torch.randn(5, 400).to(dtype), "b": torch.randn(5).to(dtype), "s": torch.tensor(2.0, dtype=dtype)}
    one, other = (filter_normalize(random_direction(weights, seed), weights) for seed in (0, 1))
    for d, w in zip(one["w"].double(), weights["w"].double(), strict=True):
        assert d.norm().item() == pytest.approx(w.norm().item(), rel=torch.finfo(dtype).eps)
    assert len({digest(d) for d in (one, other, {n: d.float() for n, d in one.items()})}) == 3
    assert abs(cosine(*orthogonalize([one, other]))) < 1e-3


def test_whole_numbers_stay():
    network = nn.Linear(4, 4, bias=False)
    network.weight = nn.Parameter(torch.arange(16).view(4, 4), requires_grad=False)
    weights = weights_of(network)
    how = {"conventions": conventions(network), "one_dimensional": True}
    assert not normalize(random_direction(weights, 0), weights, **how)["weight"].any()
    assert "no, frozen" in listing(network, one_dimensional=True)[1]


def test_a_path_of_complex_weights_is_that_of_their_real_and_imaginary_parts():
    torch.manual_seed(0)
    final = {"w": torch.randn(4, 3, dtype=torch.complex64), "b": torch.randn(4)}
    steps = [{n: w + torch.randn_like(w) * k for n, w in final.items()} for k in (3, 2, 1)]

    def parts(weights):
        return {n: torch.view_as_real(w).clone() if w.is_complex() else w for n, w in weights.items()}

    one = path_in_plane({str(i): lambda step=step: step for i, step in enumerate(steps)}, final)
    other = path_in_plane({str(i): lambda step=step: parts(step) for i, step in enumerate(steps)}, parts(final))
    np.testing.assert_allclose(one.projection.coordinates, other.projection.coordinates)
    np.testing.assert_allclose(one.explained, other.explained)
    for d, d_parts in zip(one.directions, other.directions, strict=True):
        assert d["w"].is_complex() and torch.equal(torch.view_as_real(d["w"]), d_parts["w"])


# by call


def by_hand(network, data, direction, xs):
    """Loss along a direction, in plain PyTorch."""
    parameters, losses = dict(network.named_parameters()), []
    origin = weights_of(network)
    with torch.no_grad():
        for x in xs:
            for name, p in parameters.items():
                p.copy_(origin[name] + float(x) * direction[name])
            losses.append(F.cross_entropy(network(data[0]), data[1]).item())
        for name, p in parameters.items():
            p.copy_(origin[name])
    return losses


def drawn(network, axes=None, still=(), seed=0):
    """The direction that a seed gives, each filter scaled by itself, in plain PyTorch."""
    generator, direction = np.random.default_rng((seed, 0, 0)), {}
    for name, w in weights_of(network).items():
        d = torch.from_numpy(generator.standard_normal(tuple(w.shape), dtype=np.float32)).to(w)
        if w.ndim < 2 or name in still:
            direction[name] = torch.zeros_like(w)
            continue
        axis = (axes or {}).get(name, 0)
        slices = zip(d.unbind(axis), w.unbind(axis), strict=True)
        direction[name] = torch.stack([f * g.norm() / f.norm() for f, g in slices], axis)
    return direction


def line(network, data, out, **how):
    return surface(network, [data], out, quiet=True, **{"x": (-1, 1, 5), **how})


@pytest.fixture
def stored():
    torch.manual_seed(0)
    network = nn.Sequential(Conv1D(16, 6), nn.Tanh(), Conv1D(3, 16), nn.Linear(3, 3))
    return network, (torch.randn(30, 6), torch.arange(30) % 3)


def test_a_surface_of_columns_is_that_of_plain_pytorch(stored, tmp_path):
    network, data = stored
    direction = drawn(network, {"0.weight": 1, "2.weight": 1})
    expected = by_hand(network, data, direction, np.linspace(-1, 1, 5))
    np.testing.assert_allclose(line(network, data, tmp_path / "a.h5")["loss"], expected, rtol=1e-6)


@pytest.mark.parametrize("choice", ["2.*", ["2.weight", "3.weight"], "trainable", lambda name, p: name[0] in "23"])
def test_chosen_parameters_alone_move_as_they_do_among_all(stored, tmp_path, choice):
    network, data = stored
    network[0].requires_grad_(False)
    still = ("0.weight", "3.weight") if choice == "2.*" else ("0.weight",)
    direction = drawn(network, {"0.weight": 1, "2.weight": 1}, still)
    expected = by_hand(network, data, direction, np.linspace(-1, 1, 5))
    results = line(network, data, tmp_path / "a.h5", parameters=choice)
    np.testing.assert_allclose(results["loss"], expected, rtol=1e-6)
    assert results.attributes["chosen_parameters"]
    with pytest.raises(BadInput, match="chosen_parameters"):
        line(network, data, tmp_path / "a.h5", parameters="3.*")
    with pytest.raises(BadInput, match="chosen_parameters"):
        line(network, data, tmp_path / "a.h5")


def test_weights_in_memory_are_directions_and_ends(stored, tmp_path):
    network, data = stored
    torch.manual_seed(1)
    other = nn.Sequential(Conv1D(16, 6), nn.Tanh(), Conv1D(3, 16), nn.Linear(3, 3))
    difference = {name: w - network.state_dict()[name] for name, w in weights_of(other).items()}
    expected = by_hand(network, data, difference, [0, 0.5, 1])
    for number, how in enumerate(({"to": other}, {"to": [other.state_dict()]}, {"along": difference})):
        results = line(network, data, tmp_path / f"{number}.h5", x="0 1 3", **how)
        np.testing.assert_allclose(results["loss"], expected, rtol=1e-6)
    torch.save(difference, tmp_path / "d.pt")
    results = line(network, data, tmp_path / "named.h5", x=["0", "1", "3"], along=str(tmp_path / "d.pt"))
    np.testing.assert_allclose(results["loss"], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"normalize": "nonsense"}, "'nonsense'; use filter"),
        ({"batchnorm": "frozzen"}, "'frozzen'; use frozen"),
        ({"along": "/gone/d.pt"}, "no file of directions"),
        ({"along": [3]}, "got int"),
        ({"along": {"9.weight": torch.ones(1)}}, "which the network has not"),
        ({"along": {"0.weight": torch.ones(1)}}, "has shape"),
        ({"parameters": "9.*"}, "no parameter's name fits"),
        ({"parameters": "*.bias"}, "none of the chosen parameters moves"),
        ({"x": "from here"}, "how many points"),
        ({"x": (-1, 1)}, "how many points"),
        ({"y": 3}, "how many points"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(stored, tmp_path, how, said):
    network, data = stored
    with pytest.raises(BadInput, match=said) as error:
        line(network, data, tmp_path / "a.h5", **how)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "a.h5").exists()


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 6, dtype=torch.complex64))

    def forward(self, x):
        return (x.to(torch.complex64) @ self.weight.T).abs()


@pytest.mark.filterwarnings("ignore:what a filter is")
def test_a_network_of_complex_weights_has_a_surface_and_no_hessian(tmp_path):
    torch.manual_seed(0)
    network, data = Complex(), (torch.randn(30, 6), torch.arange(30) % 3)
    generator, w = np.random.default_rng((0, 0, 0)), network.weight.detach()
    d = torch.view_as_complex(torch.from_numpy(generator.standard_normal((3, 6, 2), dtype=np.float32)))
    d = d * (w.norm(dim=1) / d.norm(dim=1))[:, None]
    expected = by_hand(network, data, {"weight": d}, np.linspace(-1, 1, 5))
    np.testing.assert_allclose(line(network, data, tmp_path / "a.h5")["loss"], expected, rtol=1e-6)
    for refused in (lambda: hessian_operator(network, [data]).matvec(np.ones(18)), lambda: rises(network, [data])):
        with pytest.raises(BadInput, match="float32 or float64"):
            refused()


def chosen(name):
    return name.startswith(("stages.1.", "head."))
