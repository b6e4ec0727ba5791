"""Networks of timm and Hugging Face: a lesion is zeroing what computes the branch last."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ensemble.blocks.architectures import KNOWN
from ensemble.blocks.blocks import blocks, check, stages
from ensemble.lesions.context import arranged, lesion
from ensemble.lesions.plans import LOOP, deletions, gates, orders, pairs, repetitions, together
from landscape.errors import BadInput


class Logits(nn.Module):
    """What a user writes around a language model: token numbers in, one row of numbers for each example out."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        extra = {"decoder_input_ids": x} if self.model.config.is_encoder_decoder else {}
        return self.model(input_ids=x, **extra)[0][:, -1]


SMALL = {
    "vocab_size": 20,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 12,
    "attn_implementation": "eager",
}
ROTARY = {**SMALL, "num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0, "use_cache": False}
T5 = {"vocab_size": 20, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "use_cache": False}
OPT = {"word_embed_proj_dim": 16, "ffn_dim": 24, "pad_token_id": 0, "use_cache": False}
BART = {
    "vocab_size": 20,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 12,
    "use_cache": False,
}
DISTIL = {"vocab_size": 20, "dim": 16, "hidden_dim": 24, "n_layers": 3, "n_heads": 2, "max_position_embeddings": 12}
# Configuration, its arguments, and in a layer the modules whose weights compute what is added, by name of the block.
LANGUAGE = {
    "GPT2": (SMALL | {"n_inner": 24, "use_cache": False}, {"attention": "attn.c_proj", "mlp": "mlp.c_proj"}),
    "Bert": (SMALL, {"attention": "attention.output.dense", "mlp": "output.dense"}),
    "Roberta": (SMALL | {"pad_token_id": 1}, {"attention": "attention.output.dense", "mlp": "output.dense"}),
    "Llama": (ROTARY, {"attention": "self_attn.o_proj", "mlp": "mlp.down_proj"}),
    "Mistral": (ROTARY, {"attention": "self_attn.o_proj", "mlp": "mlp.down_proj"}),
    "Qwen2": (ROTARY, {"attention": "self_attn.o_proj", "mlp": "mlp.down_proj"}),
    "Gemma2": (ROTARY, {"attention": "self_attn.o_proj", "mlp": "mlp.down_proj"}),
    "GPTNeoX": (SMALL | {"use_cache": False}, {"attention": "attention.dense", "mlp": "mlp.dense_4h_to_h"}),
    "OPT": (SMALL | OPT, {"attention": "self_attn.out_proj", "mlp": "fc2"}),
    "DistilBert": (DISTIL, {"attention": "attention.out_lin", "mlp": "ffn.lin2"}),
    "T5": (T5, {"attention": "layer.0.SelfAttention.o", "mlp": "layer.-1.DenseReluDense.wo"}),
    "Bart": (BART, {"attention": "self_attn.out_proj", "mlp": "fc2"}),
}


@pytest.fixture(params=LANGUAGE)
def language(request):
    """A random language model, the weights that compute its branches, and tokens."""
    import transformers

    arguments, lasts = LANGUAGE[request.param]
    config = getattr(transformers, f"{request.param}Config")(**arguments)
    torch.manual_seed(0)
    network = Logits(getattr(transformers, f"{request.param}Model")(config)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return network, lasts, torch.randint(2, 20, (3, 6))


def zeroed(network, name, lasts):
    """A copy in which the weights that compute one branch are 0."""
    layer, _, part = name.rpartition(".")
    other = copy.deepcopy(network)
    path = lasts.get(part)
    if path is None:  # the attention to an encoder
        path = next(
            p for p in ("encoder_attn.out_proj", "layer.1.EncDecAttention.o") if has(other.get_submodule(layer), p)
        )
    if "-1" in path:
        path = path.replace("-1", str(len(other.get_submodule(f"{layer}.layer")) - 1))
    last = other.get_submodule(f"{layer}.{path}")
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.zero_()
    return other


def has(module, path):
    try:
        module.get_submodule(path)
    except AttributeError:
        return False
    return True


@pytest.mark.slow
def test_a_language_model_without_a_block_is_one_whose_branch_computes_0(language):
    network, lasts, x = language
    by_name = blocks(network)
    parts = {"attention", "mlp", "cross-attention"}
    assert len(by_name) >= 6 and {name.rpartition(".")[2] for name in by_name} <= parts
    with torch.no_grad():
        check(network, by_name, x)
        whole = network(x)
        for name in [*by_name][:2] + [*by_name][-3:]:
            with lesion(network, [name]):
                lesioned = network(x)
            torch.testing.assert_close(lesioned, zeroed(network, name, lasts)(x), rtol=1e-5, atol=1e-5)
            assert not torch.allclose(lesioned, whole, rtol=1e-3)
        assert torch.equal(network(x), whole)


def test_a_gate_scales_the_weights_that_compute_a_branch(language):
    network, lasts, x = language
    by_name = blocks(network)
    names = list(by_name)
    layer, _, part = names[1].rpartition(".")
    if "post_feedforward_layernorm" in dict(network.get_submodule(layer).named_children()):
        pytest.skip("a norm follows these weights")
    other = copy.deepcopy(network)
    path = lasts[part].replace("-1", "1")
    with torch.no_grad():
        for parameter in other.get_submodule(f"{layer}.{path}").parameters():
            parameter.mul_(0.5)
        with arranged(network, by_name, gates(len(by_name), [1], np.array([[0.5]]))[0]):
            torch.testing.assert_close(network(x), other(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("language", ["GPT2", "Llama", "Bert"], indirect=True)
def test_layers_of_a_language_model_trade_places_run_twice_and_side_by_side(language):
    network, _, x = language
    by_name = blocks(network, layers=True)
    assert len(by_name) == 3
    assert stages(network, by_name) == [[0, 1, 2]]
    rows = {
        "order": orders(np.array([[2, 0, 1]]))[0],
        "twice": repetitions(np.array([[False, True, False]]))[0],
        "without": deletions(np.array([[False, True, False]]))[0],
        "loop": together(np.array([[False, True, True]]), np.array([3]), LOOP)[0],
    }
    holder, _, attribute = next(iter(by_name)).rpartition(".")[0].rpartition(".")
    layers = network.get_submodule(f"{holder}.{attribute}")
    a, b, c = layers
    hands = {"order": [c, a, b], "twice": [a, b, b, c], "without": [a, c], "loop": [a, b, c, b, c, b, c]}
    post_norm = hasattr(a, "intermediate")
    for kind, trial in rows.items():
        if kind == "without" and post_norm:
            continue  # its norms stay
        with torch.no_grad():
            with arranged(network, by_name, trial):
                lesioned = network(x)
            setattr(network.get_submodule(holder), attribute, nn.ModuleList(hands[kind]))
            configured = network.model.config.num_hidden_layers
            network.model.config.num_hidden_layers = len(hands[kind])  # how far some loops go
            torch.testing.assert_close(lesioned, network(x), rtol=1e-5, atol=1e-5)
            network.model.config.num_hidden_layers = configured
            setattr(network.get_submodule(holder), attribute, layers)
    (pair,) = pairs(np.array([[True, False, False]]))
    if post_norm:
        with pytest.raises(BadInput, match="more than add"):
            check(network, by_name, x, by_name, how="parallel")
        return
    check(network, by_name, x, by_name, how="parallel")
    seen = {}
    handles = [
        module.register_forward_hook(lambda _, inputs, out, name=name: seen.update({name: (inputs[0], first(out))}))
        for name, module in (("a", a), ("b", b), ("c", c))
    ]
    with torch.no_grad(), arranged(network, by_name, pair):
        network(x)
    for handle in handles:
        handle.remove()
    with torch.no_grad():
        torch.testing.assert_close(seen["b"][0], seen["a"][0])


def first(output):
    return output[0] if isinstance(output, tuple) else output


def test_a_layer_that_keeps_keys_and_values_cannot_run_twice():
    import transformers

    network = Logits(transformers.GPT2Model(transformers.GPT2Config(**SMALL, n_inner=24))).eval()
    by_name, x = blocks(network, layers=True), torch.randint(2, 20, (3, 6))
    with pytest.raises(BadInput, match="use_cache=False"):
        check(network, by_name, x, by_name, how="repeat")
    with (
        pytest.raises(BadInput, match="use_cache=False"),
        arranged(network, by_name, repetitions(np.array([[True, False, False]]))[0]),
    ):
        network(x)
    assert not any(module._forward_hooks for module in network.modules())


# Images

IMAGES = {
    "resnet18": ({}, {"": "bn2"}, "layer2.0"),
    "resnet26": ({}, {"": "bn3"}, "layer2.0"),
    "seresnet18": ({}, {"": "bn2"}, "layer1.1"),
    "vit_tiny_patch16_224": ({"img_size": 32}, {"attention": "attn.proj", "mlp": "mlp.fc2"}, "blocks.3.attention"),
    "convnext_atto": ({}, {"": "mlp.fc2"}, "stages.1.blocks.1"),
    "swin_tiny_patch4_window7_224": (
        {"img_size": 56, "window_size": 7, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 2)},
        {"attention": "attn.proj", "mlp": "mlp.fc2"},
        "layers.1.blocks.0.mlp",
    ),
}


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.slow
def test_a_network_of_timm_without_a_block_is_one_whose_branch_computes_0(name):
    import timm

    arguments, lasts, block = IMAGES[name]
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=10, **arguments).eval()
    x = torch.randn(3, 3, arguments.get("img_size", 64), arguments.get("img_size", 64))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
        by_name = blocks(network)
        check(network, by_name, x)
        whole = network(x)
        with lesion(network, [block]):
            lesioned = network(x)
        layer, part = (block, "") if "" in lasts else block.rpartition(".")[::2]
        for parameter in network.get_submodule(f"{layer}.{lasts[part]}").parameters():
            parameter.zero_()
        torch.testing.assert_close(lesioned, network(x), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(lesioned, whole, rtol=1e-3)


def test_a_vision_transformer_of_hugging_face_has_two_blocks_a_layer():
    import transformers

    few = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
    config = transformers.ViTConfig(**few, image_size=16, patch_size=8)
    torch.manual_seed(0)
    network = transformers.ViTForImageClassification(config).eval()
    by_name = blocks(network)
    assert len(by_name) == 4
    x = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
        check(network, by_name, x)
        with lesion(network, by_name):
            without = network(x).logits
        body = network.vit
        by_hand = network.classifier(body.layernorm(body.embeddings(x))[:, 0])
    torch.testing.assert_close(without, by_hand, rtol=1e-5, atol=1e-5)


def test_no_package_is_imported_to_know_a_network():
    import sys

    import ensemble.blocks.architectures

    assert not {"timm", "transformers"} & vars(ensemble.blocks.architectures).keys()
    assert any(pattern.startswith("timm") for pattern, _ in KNOWN)
    assert sys.modules.get("ensemble.blocks.architectures")
