"""What is said to be added to a stream is added, and nothing else: right and wrong descriptions, and known networks."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ensemble.blocks.architectures import KNOWN
from ensemble.blocks.blocks import blocks, check, of_part, running
from ensemble.lesions.context import arranged, lesion
from ensemble.lesions.plans import gates, intact
from landscape.errors import BadInput
from landscape.networks import build


class RMSNorm(nn.Module):
    """A norm of several functions that read its input."""

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Layer(nn.Module):
    """A layer whose sum is a function of its own."""

    def __init__(self, add):
        super().__init__()
        self.branch, self.other, self.norm = nn.Linear(6, 6), nn.Linear(6, 6), nn.LayerNorm(6)
        self.by_hand = RMSNorm()
        self.scale, self.add = nn.Parameter(torch.randn(6)), add

    def forward(self, x):
        return self.add(self, x, self.branch(x.tanh()))


def network(add):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 6), Layer(add), Layer(add), nn.Linear(6, 3)).eval()


def described(_):
    return {"1": "1.branch", "2": "2.branch"}


def under_names_of_its_own(_):
    return {"one": "1.branch", "two": "2.branch"}


ADDED = {
    "plainly": lambda self, x, f: x + f,
    "the other way round": lambda self, x, f: f + x,
    "in place": lambda self, x, f: f.add_(x),
    "with a number in front": lambda self, x, f: x + 0.5 * f,
    "by alpha": lambda self, x, f: torch.add(x, f, alpha=0.5),
    "subtracted": lambda self, x, f: x - f,
    "scaled by weights": lambda self, x, f: x + self.scale.unsqueeze(0) * f,
    "divided by weights": lambda self, x, f: x + f / self.scale.exp(),
    "cast and reshaped": lambda self, x, f: x + f.double().view(-1, 2, 3).flatten(1).float(),
    "after dropout": lambda self, x, f: x + F.dropout(f, 0.3, self.training),
    "under a ReLU": lambda self, x, f: F.relu(x + f),
    "under a norm": lambda self, x, f: self.norm(x + f),
    "under a norm by hand": lambda self, x, f: self.by_hand(x + f),
    "to a projection": lambda self, x, f: self.other(x) + f,
    "to a scaled stream": lambda self, x, f: 0.81 * x + f,
    "with Python's sum": lambda self, x, f: sum([x, f]),
}


# Why a branch is not what is said, and a word of the line that says so
WRONG = {
    "multiplied": (lambda self, x, f: x * f, "goes into mul"),
    "a gate": (lambda self, x, f: x + f.sigmoid() * self.other(x), "goes into sigmoid"),
    "times what the input gives": (lambda self, x, f: x + f * self.other(x), "goes into mul"),
    "normalised before the sum": (lambda self, x, f: x + self.norm(f), "goes into layer_norm"),
    "computed on": (lambda self, x, f: x + self.other(f), "goes into linear"),
    "concatenated": (lambda self, x, f: torch.cat([x, f], 1)[:, 3:9], "goes into cat"),
    "used twice": (lambda self, x, f: (x + f) + f, "used 2 times"),
    "used twice in parts": (lambda self, x, f: torch.cat([x[:, :3] + f[:, :3], x[:, 3:] + f[:, 3:]], 1), "used 2"),
    "used for nothing": (lambda self, x, f: x + self.other(x), "added to nothing"),
    "added to weights": (lambda self, x, f: x * (self.scale + f), "goes into add"),
    "broadcast": (lambda self, x, f: x + f[:1], "goes into add"),
}
# Right branches in layers that do more than add them
MORE = {
    "another branch": lambda self, x, f: x + f + self.other(x),
    "another branch of two inputs": lambda self, x, f: x + f + self.other(x) * x,
    "a constant": lambda self, x, f: x + f + self.scale.expand(len(x), 6),
    "no stream": lambda self, x, f: f + self.other(torch.ones_like(x)),
    "a stream before": lambda self, x, f: torch.where(x > 0, x, x + f),
}


@pytest.mark.parametrize("how", ADDED)
@pytest.mark.parametrize("names", [described, under_names_of_its_own])
def test_a_branch_that_is_added_passes_and_without_it_the_sum_is_what_is_left(how, names):
    it, x = network(ADDED[how]), torch.randn(3, 6)
    by_name = blocks(it, names)
    check(it, by_name, x)
    trial = intact(2)
    trial["runs"][1] = 0
    with torch.no_grad(), arranged(it, by_name, trial):
        lesioned = it(x)
    for parameter in it[2].branch.parameters():
        parameter.data.zero_()
    torch.testing.assert_close(lesioned, it(x))


@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize("names", [described, under_names_of_its_own])
def test_what_is_not_added_is_refused_and_why(how, names):
    add, why = WRONG[how]
    it = network(add)
    with pytest.raises(BadInput, match=why) as error:
        check(it, blocks(it, names), torch.randn(3, 6))
    assert "\n" not in str(error.value)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in it.modules())


@pytest.mark.parametrize("how", MORE)
def test_a_layer_that_adds_more_is_refused(how):
    it = network(MORE[how])
    with pytest.raises(BadInput, match=r"1, a Layer, gives|goes into|used"):
        check(it, blocks(it, described), torch.randn(3, 6))


def test_a_branch_in_a_tuple_is_its_first_tensor_and_none_is_refused():
    class Pair(nn.Linear):
        def forward(self, x):
            return super().forward(x), None

    it, x = network(lambda self, x, f: x + f[0]), torch.randn(3, 6)
    it[1].branch, it[2].branch = Pair(6, 6), Pair(6, 6)
    check(it, blocks(it, described), x)
    it = network(lambda self, x, f: x + f["out"])
    for layer in it[1:3]:
        layer.branch.register_forward_hook(lambda _, __, out: {"out": out})
    with pytest.raises(BadInput, match="does not end in a tensor"):
        check(it, blocks(it, described), x)


# Language models of transformers, made small. Where it is known what a line refuses, the word of that.

FEW = {
    **dict.fromkeys(
        ["hidden_size", "n_embd", "d_model", "dim", "embedding_size", "word_embed_proj_dim", "lru_width"], 32
    ),
    **dict.fromkeys(["intermediate_size", "d_ff", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim"], 48),
    **dict.fromkeys(["num_hidden_layers", "n_layer", "num_layers", "n_layers", "encoder_layers", "decoder_layers"], 2),
    **dict.fromkeys(["num_attention_heads", "n_head", "num_heads", "n_heads", "mamba_n_heads", "num_local_experts"], 4),
    **dict.fromkeys(["encoder_attention_heads", "decoder_attention_heads", "rotary_dim"], 4),
    **dict.fromkeys(["head_dim", "d_kv", "state_size", "sliding_window", "attention_window_size"], 8),
    **dict.fromkeys(["vocab_size", "max_position_embeddings", "n_positions"], 64),
    **{"num_key_value_heads": 2, "num_decoder_layers": 2, "num_experts_per_tok": 2, "mamba_d_head": 16},
    "word_embed_proj_dim": 32,
    **{"use_cache": False, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
}
CAUSAL = (
    *("Afmoe", "Bamba", "BioGpt", "Bloom", "Cohere", "Cohere2", "Falcon", "FalconMamba", "Gemma", "Gemma2", "Glm4"),
    *("GPTJ", "GPTNeoX", "Jamba", "Llama", "Mamba", "MiniMax", "Mistral", "Mixtral", "Mpt", "Olmo2", "OPT", "Phi"),
    *("Phi3", "Qwen2", "Qwen3", "RecurrentGemma", "Rwkv", "StableLm"),
)
MASKED = ("Bert", "Deberta", "DistilBert", "Electra", "FNet", "ModernBert", "MPNet")
LM = {
    **{f"{name}ForCausalLM": {} for name in CAUSAL},
    **{f"{name}ForMaskedLM": {} for name in MASKED},
    **{f"{name}ForConditionalGeneration": {} for name in ("Bart", "NllbMoe", "T5")},
    "GraniteForCausalLM": {"residual_multiplier": 0.3},
    "Mamba2ForCausalLM": {"num_heads": 4, "head_dim": 16, "n_groups": 1},
    "FalconForCausalLM": {"new_decoder_architecture": True},
    "GPT2LMHeadModel": {},
    "MarianForCausalLM": {},  # whose decoder has attention to an encoder that is not there
}
REFUSED = {
    "AlbertForMaskedLM": "no block",  # one layer, run again and again
    "XLNetLMHeadModel": "no block",
}


def language(name, **arguments):
    import transformers

    kind = getattr(transformers, name)
    config = kind.config_class
    own = {*vars(config())} - {*getattr(config, "attribute_map", {})}
    torch.manual_seed(0)
    it = kind(config(**{k: v for k, v in FEW.items() if k in own} | arguments)).eval()
    with torch.no_grad():
        for parameter in it.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    tokens = torch.randint(3, 60, (2, 7))
    return it, {"input_ids": tokens} | ({"decoder_input_ids": tokens} if it.config.is_encoder_decoder else {})


def zeroed(ends):
    """What a user would write to leave out a branch."""

    def hook(_, __, out):
        return (torch.zeros_like(out[0]), *out[1:]) if isinstance(out, tuple) else torch.zeros_like(out)

    return [end.register_forward_hook(hook) for end in ends]


@pytest.mark.slow
@pytest.mark.parametrize("name", LM)
def test_a_language_model_adds_its_branches_and_a_lesion_is_a_hook_by_hand(name):
    it, inputs = language(name, **LM[name])
    by_name = running(it, blocks(it), inputs)
    check(it, by_name, inputs)
    assert len(by_name) >= 2
    first = next(iter(by_name))
    with torch.no_grad():
        whole = it(**inputs).logits
        with lesion(it, [first]):
            lesioned = it(**inputs).logits
        handles = zeroed(by_name[first].branches)
        torch.testing.assert_close(lesioned, it(**inputs).logits)
        for handle in handles:
            handle.remove()
        assert not torch.allclose(lesioned, whole, rtol=1e-3, atol=1e-4)
        both = list(by_name)[:2]
        (trial,) = gates(len(by_name), [0, 1], torch.tensor([[2.0, 0.5]]).numpy())
        with arranged(it, by_name, trial):
            gated = it(**inputs).logits
        for end, gate in zip([by_name[b].branches[0] for b in both], (2.0, 0.5), strict=True):
            handles.append(end.register_forward_hook(lambda _, __, out, g=gate: scaled(out, g)))
        torch.testing.assert_close(gated, it(**inputs).logits)


def scaled(out, gate):
    return (gate * out[0], *out[1:]) if isinstance(out, tuple) else gate * out


@pytest.mark.parametrize("name", REFUSED)
def test_a_language_model_that_is_not_known_is_refused_in_one_line(name):
    it, inputs = language(name)
    with pytest.raises(BadInput, match=REFUSED[name]):
        check(it, blocks(it), inputs)


def test_a_known_layer_that_does_more_is_refused():
    """A layer of Llama's to which somebody has added a second MLP."""
    it, inputs = language("LlamaForCausalLM")
    extra = nn.Linear(32, 32)
    it.model.layers[1].register_forward_hook(lambda _, args, out: out + extra(args[0]))
    check_of = blocks(it)
    with pytest.raises(BadInput, match=r"model\.layers\.1.*besides"):
        check(it, check_of, inputs)


# Parts


def test_a_part_of_all_layers_is_chosen_by_its_name():
    it, inputs = language("GPT2LMHeadModel")
    by_name = blocks(it)
    attention = of_part(by_name, "attention")
    assert list(attention) == ["transformer.h.0.attention", "transformer.h.1.attention"]
    check(it, attention, inputs)
    with pytest.raises(BadInput, match=r"attention, mlp; did you mean attention\?"):
        of_part(by_name, "atention")
    with pytest.raises(BadInput, match="no parts: leave it out"):
        of_part(blocks(build("resnet", depth=8, width=4)), "0")


# DenseNets


@pytest.mark.slow
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_dense_layer_that_is_left_out_gives_channels_of_0(library):
    import timm
    import torchvision

    torch.manual_seed(0)
    few = {"growth_rate": 4, "block_config": (2, 3), "num_classes": 5}
    make = torchvision.models.DenseNet if library == "torchvision" else timm.models.densenet.DenseNet
    it = make(**few, **({"num_init_features": 8} if library == "torchvision" else {})).eval()
    x, name = torch.randn(2, 3, 32, 32), "features.denseblock2.denselayer2"
    by_name = blocks(it)
    assert len(by_name) == 5 and all(block.concatenated for block in by_name.values())
    check(it, by_name, x)
    with torch.no_grad():
        whole = it(x)
        with lesion(it, [name]):
            lesioned = it(x)
        it.get_submodule(f"{name}.conv2").weight.zero_()
        torch.testing.assert_close(lesioned, it(x))
        assert not torch.allclose(lesioned, whole)


def test_a_line_without_parts_is_no_block():
    assert ("timm.models.*Class*", {}) in KNOWN
