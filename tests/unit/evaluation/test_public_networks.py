"""Fourteen kinds of networks that people bring: a line through each and every single deletion, by plain PyTorch.

From tiny configurations with random weights; nothing is downloaded. What a parameter's filters are, and which module
computes a branch last, is written here by hand, from what the parameter and the branch are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np
import pytest
import torch
from measured import lesions, surface
from plain import called, line, mean, parts, without
from torch import nn
from torch.nn import functional as F

from ensemble.blocks.blocks import blocks, check
from landscape.errors import BadInput

N, SIZES = 8, (5, 3)
TOKENS, LENGTH, CLASSES = 31, 7, 5
XS = (-1, 1, 3)


def nll(out, y):
    """Of classes (N,)."""
    return F.cross_entropy(out, y, reduction="none")


def right(out, y):
    return (out.argmax(1) == y).double()


def positions(out, y):
    """Of classes (N, …) from outputs (N, C, …): the mean over those that are not void."""
    each = F.cross_entropy(out, y, reduction="none").where(y != -100, torch.nan)
    return each.flatten(1).nanmean(1)


def positions_right(out, y):
    return (out.argmax(1) == y).double().where(y != -100, torch.nan).flatten(1).nanmean(1)


def words(out, y):
    return positions(out.movedim(-1, 1), y)


def words_right(out, y):
    return positions_right(out.movedim(-1, 1), y)


@dataclass(frozen=True)
class Public:
    """A network, its data, and what is known of it.

    Attributes
    ----------
    make : builds it
    inputs, targets : all N examples
    each, accuracy : of the scores and targets, shape (N,)
    axes : pattern of parameters -> axes that count filters, where that is not the first axis alone
    still : patterns of parameters that do not move, of two dimensions or more
    lasts : block -> the module that computes its branch last; in the order of the forward pass
    scores : takes the scores from the outputs
    """

    make: Callable[[], nn.Module]
    inputs: object
    targets: torch.Tensor
    each: Callable = nll
    accuracy: Callable = right
    axes: Mapping = field(default_factory=dict)
    still: tuple = ()
    lasts: Mapping = field(default_factory=dict)
    scores: Callable = lambda out: out

    def network(self) -> nn.Module:
        """With weights and statistics of no special value: some initialisations are 0 or 1."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = self.make().eval()
            with torch.no_grad():
                for p in network.parameters():
                    p.add_(0.1 * torch.randn(p.shape))
                for name, b in network.named_buffers():
                    if name.endswith("running_mean"):
                        b.normal_(0, 0.1)
                    if name.endswith("running_var"):
                        b.uniform_(0.5, 1.5)
        return network

    def batches(self) -> list:
        return list(zip(parts(self.inputs, *SIZES), parts(self.targets, *SIZES), strict=True))

    def convention(self, network) -> dict:
        names = [name for name, _ in network.named_parameters()]
        used = [p for p in (*self.axes, *self.still) if any(fnmatchcase(name, p) for name in names)]
        assert len(used) == len(self.axes) + len(self.still), "a pattern fits nothing"
        return {
            "axes": {n: axes for n in names for pattern, axes in self.axes.items() if fnmatchcase(n, pattern)},
            "still": [n for n in names if any(fnmatchcase(n, pattern) for pattern in self.still)],
        }


def integers(*shape, of, seed=0):
    return torch.randint(0, of, shape, generator=torch.Generator().manual_seed(seed))


def images(side, channels=3):
    return torch.randn(N, channels, side, side, generator=torch.Generator().manual_seed(1))


def voided(targets):
    """About a quarter of the positions void."""
    gone = torch.rand(targets.shape, generator=torch.Generator().manual_seed(4)) < 0.25
    return targets.masked_fill(gone, -100)


IDS, CLASS = integers(N, LENGTH, of=TOKENS), integers(N, of=CLASSES, seed=2)
FOLLOWING = voided(integers(N, LENGTH, of=TOKENS, seed=3))
MASK = (torch.arange(LENGTH) < integers(N, of=4, seed=5)[:, None] + 4).long()  # 4 to 7 tokens each, padded on the right
TEXT = {"input_ids": IDS, "attention_mask": MASK}


# Language models of transformers


def of_transformers(name, config, **arguments):
    def make():
        import transformers

        return getattr(transformers, name)(getattr(transformers, f"{config}Config")(**arguments))

    return make


def logits(out):
    return out.logits


def layered(pattern, layers, **lasts):
    """Blocks of a network of layers: name of the layer and part -> the last module of the part."""
    prefix = pattern.format
    return {f"{prefix(i)}.{part}": f"{prefix(i)}.{last}" for i in range(layers) for part, last in lasts.items()}


LLAMA = {
    "vocab_size": TOKENS, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 16, "pad_token_id": 0,
}  # fmt: skip
BERT = {
    "vocab_size": TOKENS, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": 16, "num_labels": CLASSES,
}  # fmt: skip
T5 = {
    "vocab_size": TOKENS, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "pad_token_id": 0,
    "decoder_start_token_id": 0,
}  # fmt: skip
LANGUAGE = {
    "GPT-2": Public(
        of_transformers("GPT2LMHeadModel", "GPT2", vocab_size=TOKENS, n_positions=16, n_embd=16, n_layer=2, n_head=2,
            bos_token_id=0, eos_token_id=0),
        TEXT, FOLLOWING, words, words_right, scores=logits,
        axes={"*.attn.c_attn.weight": 1, "*.c_proj.weight": 1, "*.c_fc.weight": 1},  # Conv1D stores (in, out)
        lasts=layered("transformer.h.{}", 2, attention="attn.c_proj", mlp="mlp.c_proj"),
    ),
    "Llama": Public(
        of_transformers("LlamaForCausalLM", "Llama", **LLAMA), TEXT, FOLLOWING, words, words_right, scores=logits,
        lasts=layered("model.layers.{}", 2, attention="self_attn.o_proj", mlp="mlp.down_proj"),
    ),
    "Mistral": Public(
        of_transformers("MistralForCausalLM", "Mistral", **LLAMA, sliding_window=3), TEXT, FOLLOWING, words,
        words_right, scores=logits,
        lasts=layered("model.layers.{}", 2, attention="self_attn.o_proj", mlp="mlp.down_proj"),
    ),
    "BERT": Public(
        of_transformers("BertForSequenceClassification", "Bert", **BERT),
        {**TEXT, "token_type_ids": integers(N, LENGTH, of=2, seed=6)}, CLASS, scores=logits,
        lasts=layered("bert.encoder.layer.{}", 2, attention="attention.output.dense", mlp="output.dense"),
    ),
    "T5": Public(
        of_transformers("T5ForConditionalGeneration", "T5", **T5),
        {**TEXT, "decoder_input_ids": integers(N, LENGTH, of=TOKENS, seed=7)}, FOLLOWING, words, words_right,
        scores=logits, still=("*.relative_attention_bias.weight",),  # added to scores: no output unit of its own
        lasts=layered("encoder.block.{}", 2, attention="layer.0.SelfAttention.o", mlp="layer.1.DenseReluDense.wo")
        | layered(
            "decoder.block.{}", 2, attention="layer.0.SelfAttention.o",
            **{"cross-attention": "layer.1.EncDecAttention.o", "mlp": "layer.2.DenseReluDense.wo"},
        ),
    ),
    "Mixtral": Public(
        of_transformers("MixtralForCausalLM", "Mixtral", **LLAMA, num_local_experts=4, num_experts_per_tok=2),
        TEXT, FOLLOWING, words, words_right, scores=logits,
        axes={"*.experts.gate_up_proj": (0, 1), "*.experts.down_proj": (0, 1)},  # (expert, out, in)
        lasts=layered("model.layers.{}", 2, attention="self_attn.o_proj", mlp="mlp.experts"),
    ),
    "Qwen, mixture of experts": Public(
        of_transformers(
            "Qwen2MoeForCausalLM", "Qwen2Moe", **LLAMA, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=12,
            shared_expert_intermediate_size=20,
        ),
        TEXT, FOLLOWING, words, words_right, scores=logits,
        axes={"*.experts.gate_up_proj": (0, 1), "*.experts.down_proj": (0, 1)},
        lasts=layered("model.layers.{}", 2, attention="self_attn.o_proj", mlp="mlp"),
    ),
}  # fmt: skip


# Networks of timm and torchvision for images


def vit():
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(16, 4, num_classes=CLASSES, embed_dim=16, depth=2, num_heads=2, init_values=0.5)


def swin():
    from timm.models.swin_transformer import SwinTransformer

    return SwinTransformer(
        16, 2, num_classes=CLASSES, embed_dim=8, depths=(2, 2), num_heads=(2, 4), window_size=4, drop_path_rate=0.1
    )


def convnext():
    from timm.models.convnext import ConvNeXt

    return ConvNeXt(num_classes=CLASSES, depths=(1, 1, 2, 1), dims=(8, 12, 16, 20), ls_init_value=0.5)


def efficientnet():
    from timm.models._efficientnet_builder import decode_arch_def
    from timm.models.efficientnet import EfficientNet

    stages = [["ds_r1_k3_s1_e1_c8_se0.25"], ["ir_r3_k3_s2_e3_c12_se0.25"], ["er_r2_k3_s2_e2_c16"]]
    return EfficientNet(decode_arch_def(stages), num_classes=CLASSES, num_features=24, stem_size=8)


def se_resnet():
    from timm.models.resnet import BasicBlock, ResNet

    return ResNet(
        BasicBlock, [1, 2, 1, 1], num_classes=CLASSES, channels=(8, 12, 16, 20), stem_width=8,
        block_args={"attn_layer": "se"},
    )  # fmt: skip


def densenet():
    from torchvision.models import DenseNet

    return DenseNet(4, (2, 2), 8, num_classes=CLASSES)


def segmentation():
    from torchvision.models import ResNet
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.resnet import BasicBlock
    from torchvision.models.segmentation.fcn import FCN, FCNHead

    backbone = IntermediateLayerGetter(ResNet(BasicBlock, [1, 1, 1, 1]), {"layer1": "aux", "layer2": "out"})
    return FCN(backbone, FCNHead(128, CLASSES), FCNHead(64, CLASSES))


class UNet(nn.Module):
    """Ronneberger et al. 2015 (1505.04597), with one stage: what goes down is put beside what comes up."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.bottom = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.last = nn.Sequential(nn.Conv2d(12, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, CLASSES, 1))

    def forward(self, x):
        beside = self.down(x)
        return self.last(torch.cat([beside, self.up(self.bottom(beside))], 1))


class LSTM(nn.Module):
    """The next token of a sequence."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 8)
        self.lstm = nn.LSTM(8, 12, num_layers=2, batch_first=True)
        self.head = nn.Linear(12, TOKENS)

    def forward(self, ids):
        return self.head(self.lstm(self.embedding(ids))[0])


STAGED = (0, 0), (1, 0), (2, 0), (2, 1), (3, 0)
MAP = voided(integers(N, 16, 16, of=CLASSES, seed=8))
IMAGES = {
    "ViT": Public(
        vit, images(16), CLASS, still=("cls_token", "pos_embed"),
        lasts=layered("blocks.{}", 2, attention="attn.proj", mlp="mlp.fc2"),
    ),
    "Swin": Public(
        swin, images(16), CLASS, still=("*.relative_position_bias_table",),
        lasts=layered("layers.0.blocks.{}", 2, attention="attn.proj", mlp="mlp.fc2")
        | layered("layers.1.blocks.{}", 2, attention="attn.proj", mlp="mlp.fc2"),
    ),
    "ConvNeXt": Public(
        convnext, images(32), CLASS,
        lasts={f"stages.{at}": f"stages.{at}.mlp.fc2" for at in (f"{s}.blocks.{b}" for s, b in STAGED)},
    ),
    "EfficientNet": Public(
        efficientnet, images(16), CLASS,  # the first of a stage changes the shape, so nothing is added to it
        lasts={
            "blocks.0.0": "blocks.0.0.bn2", "blocks.1.1": "blocks.1.1.bn3", "blocks.1.2": "blocks.1.2.bn3",
            "blocks.2.1": "blocks.2.1.bn2",
        },
    ),
    "SE-ResNet": Public(
        se_resnet, images(32), CLASS,
        lasts={name: f"{name}.bn2" for name in ("layer1.0", "layer2.0", "layer2.1", "layer3.0", "layer4.0")},
    ),
    "DenseNet": Public(
        densenet, images(16), CLASS,  # what a layer computes is put beside the rest: deleted, it gives channels of 0
        lasts={
            name: f"{name}.conv2"
            for name in (f"features.denseblock{b}.denselayer{n}" for b in (1, 2) for n in (1, 2))
        },
    ),
    "segmentation": Public(
        segmentation, images(16), MAP, positions, positions_right, scores=lambda out: out["out"],
        lasts={f"backbone.layer{i}.0": f"backbone.layer{i}.0.bn2" for i in (1, 2)},
    ),
    "U-Net": Public(
        UNet, images(16), MAP, positions, positions_right, axes={"up.weight": 1}  # stored (in, out)
    ),
}  # fmt: skip
NETWORKS = LANGUAGE | IMAGES | {"LSTM": Public(LSTM, IDS, FOLLOWING, words, words_right)}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.slow
def test_a_line_is_that_of_plain_pytorch(name, tmp_path):
    public = NETWORKS[name]
    network = public.network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    results = surface(network, public.batches(), tmp_path / "a.h5", x=XS, quiet=True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    xs, how = np.linspace(*XS), public.convention(network)
    expected = line(network, public.batches(), lambda out, y: public.each(public.scores(out), y), xs, **how)
    np.testing.assert_allclose(results["loss"], expected, rtol=1e-6)
    assert np.ptp(expected) > 1e-3
    expected = line(network, public.batches(), lambda out, y: public.accuracy(public.scores(out), y), xs, **how)
    np.testing.assert_allclose(results["accuracy"], expected, rtol=1e-6)


POST = ("BERT", "SE-ResNet", "segmentation")  # a norm or a ReLU follows the sum
BLOCKS = [name for name, public in NETWORKS.items() if public.lasts]


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.slow
def test_a_deleted_block_is_one_whose_branch_computes_0(name, tmp_path):
    public = NETWORKS[name]
    network = public.network()
    results = lesions(network, public.batches(), tmp_path / "a.h5", delete=[1], quiet=True)
    assert list(blocks(network)) == list(public.lasts)
    losses, accuracies = [], []
    for last in ((), *((last,) for last in public.lasts.values())):
        with without(network, *last), torch.no_grad():
            losses.append(mean(network, public.batches(), lambda out, y: public.each(public.scores(out), y)))
            accuracies.append(mean(network, public.batches(), lambda out, y: public.accuracy(public.scores(out), y)))
    np.testing.assert_allclose(results["loss"], losses, rtol=1e-6)
    np.testing.assert_allclose(results["accuracy"], accuracies, rtol=1e-6)
    assert (np.abs(np.diff(losses)) > 1e-6).all(), "a block without an effect tells nothing"


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in BLOCKS])
def test_a_network_without_blocks_says_so_in_one_line(name, tmp_path):
    public = NETWORKS[name]
    with pytest.raises(BadInput, match="no block") as caught:
        lesions(public.network(), public.batches(), tmp_path / "a.h5", delete=[1], quiet=True)
    assert "\n" not in str(caught.value) and "--" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def xcit():
    from timm.models.xcit import Xcit

    return Xcit(32, 8, num_classes=CLASSES, embed_dim=16, depth=2, num_heads=2, cls_attn_layers=0, eta=0.5)


def poolformer():
    from timm.models.metaformer import MetaFormer

    return MetaFormer(depths=(2,), dims=(8,), num_classes=CLASSES, layer_scale_init_values=0.5)


def efficientnet_of_torchvision():
    from torchvision.models.efficientnet import EfficientNet, FusedMBConvConfig, MBConvConfig

    stages = [FusedMBConvConfig(2, 3, 1, 8, 8, 3), MBConvConfig(2, 3, 2, 8, 12, 2)]
    return EfficientNet(stages, 0.0, num_classes=CLASSES, last_channel=16)


def of_torchvision(name, *arguments, **more):
    def make():
        import torchvision

        return getattr(torchvision.models, name)(*arguments, **more, num_classes=CLASSES)

    return make


STREAMS = {
    **{name: (NETWORKS[name].make, NETWORKS[name].inputs) for name in BLOCKS if name not in (*POST, "DenseNet")},
    "EfficientNet of torchvision": (efficientnet_of_torchvision, images(32)),
    "MobileNet V2": (
        of_torchvision("MobileNetV2", inverted_residual_setting=[[2, 8, 3, 1]], width_mult=0.5),
        images(32),
    ),
    "MobileNet V3": (of_torchvision("mobilenet_v3_small", width_mult=0.1), images(32)),
    "MNASNet": (of_torchvision("MNASNet", 0.1), images(32)),
    "XCiT": (xcit, images(32)),
    "PoolFormer": (poolformer, images(32)),
    "Switch": (
        of_transformers(
            "SwitchTransformersModel", "SwitchTransformers", **T5, num_sparse_encoder_layers=1, num_experts=3
        ),
        {**TEXT, "decoder_input_ids": IDS},
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_the_stream_before_and_the_branches_make_the_stream_after(name):
    make, inputs = STREAMS[name]
    network, seen = Public(make, inputs, CLASS).network(), {}

    def first(values):
        return (values[0] if isinstance(values, tuple) else values).clone()  # sums may be taken in place

    for layer, block in blocks(network, layers=True).items():
        for end in block.branches:
            end.register_forward_hook(
                lambda module, args, out, layer=layer: seen.setdefault(layer, []).append(first(out))
            )
        network.get_submodule(layer).register_forward_hook(
            lambda module, args, kwargs, out, layer=layer: seen.setdefault(layer, []).extend(
                (first(args) if args else kwargs["hidden_states"], first(out))
            ),
            with_kwargs=True,
        )
    with torch.no_grad():
        called(network, inputs)
    assert seen
    for *branches, before, after in seen.values():
        added = sum(branch.reshape(before.shape) for branch in branches)  # Swin's are of another shape
        torch.testing.assert_close(before + added, after, rtol=1e-5, atol=1e-5)


def test_blocks_that_add_in_place_can_share_their_input():
    make, inputs = STREAMS["EfficientNet of torchvision"]
    network = Public(make, inputs, CLASS).network()
    check(network, blocks(network), inputs, blocks(network), how="parallel")
