"""Where the residual branches of other people's networks end.

A residual block adds what its branch computes to the stream that passes it. In a network that is not ours
the branch is found by the submodule whose output is added: without it the block is its shortcut, and all
that comes after the sum (a ReLU, a LayerNorm) stays. Networks are known by the names of their classes; no package is
imported for it.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import nn

__all__ = ["KNOWN", "concatenates", "known"]

# Pattern of a class's full name; of its parts, each a block of its own, the submodule whose output is added to the
# stream. Of alternatives, a|b, the first that is there counts; where a part is missing, so is the whole line, and
# the next one is tried. A line without parts says that these are no blocks.
KNOWN: tuple[tuple[str, dict[str, str]], ...] = (
    ("torchvision.models.resnet.BasicBlock", {"": "bn2"}),
    ("torchvision.models.resnet.Bottleneck", {"": "bn3"}),
    ("torchvision.models.regnet.ResBottleneckBlock", {"": "f"}),
    ("torchvision.models.convnext.CNBlock", {"": "stochastic_depth"}),  # after the scale of each channel
    ("torchvision.models.efficientnet.*MBConv", {"": "stochastic_depth"}),
    ("torchvision.models.mobilenetv3.InvertedResidual", {"": "block"}),
    ("torchvision.models.mobilenetv2.InvertedResidual", {"": "conv"}),
    ("torchvision.models.mnasnet._InvertedResidual", {"": "layers"}),
    ("torchvision.models.vision_transformer.EncoderBlock", {"attention": "dropout", "mlp": "mlp"}),
    ("torchvision.models.swin_transformer.SwinTransformerBlockV2", {"attention": "norm1", "mlp": "norm2"}),
    ("torchvision.models.swin_transformer.SwinTransformerBlock", {"attention": "attn", "mlp": "mlp"}),
    ("torch.nn.modules.transformer.TransformerEncoderLayer", {"attention": "dropout1", "mlp": "dropout2"}),
    (
        "torch.nn.modules.transformer.TransformerDecoderLayer",
        {"attention": "dropout1", "cross-attention": "dropout2", "mlp": "dropout3"},
    ),
    # timm puts the module that drops paths last, where there is one.
    ("timm.models.resnet.BasicBlock", {"": "drop_path|se|bn2"}),
    ("timm.models.resnet.Bottleneck", {"": "drop_path|se|bn3"}),
    ("timm.models.convnext.ConvNeXtBlock", {"": "drop_path"}),
    ("timm.models._efficientnet_blocks.*", {"": "drop_path"}),  # EfficientNet, MobileNet, MNASNet
    ("timm.models.xcit.XCABlock", {"attention": "drop_path1", "local": "drop_path3", "mlp": "drop_path2"}),
    ("timm.models.metaformer.MetaFormerBlock", {"attention": "layer_scale1", "mlp": "layer_scale2"}),
    ("timm.models.*Class*", {}),  # these change the class token alone
    ("timm.models.*Block", {"attention": "drop_path1", "mlp": "drop_path2"}),  # ViT, DeiT, BEiT, EVA, Swin
    ("timm.models.mlp_mixer.*Block", {"tokens": "mlp_tokens|linear_tokens", "mlp": "mlp_channels"}),
    ("timm.models.cait.LayerScaleBlock", {"attention": "attn", "mlp": "mlp"}),
    ("timm.models.*B*ck*", {"": "drop_path"}),  # ResNet v2, RegNet, and others of convolutions
    ("*.densenet.*DenseLayer", {"": "conv2"}),
    # Hugging Face, most of whose blocks are a GradientCheckpointingLayer
    ("transformers.*.bloom.*Block", {"attention": "self_attention.dense", "mlp": "mlp.dense_4h_to_h"}),
    # Norms of a branch's output come before the sum in Gemma 2, 3, OLMo 2 and in GLM-4.
    ("transformers.*Layer", {"attention": "post_attention_layernorm", "mlp": "post_feedforward_layernorm"}),
    ("transformers.*Layer", {"attention": "post_self_attn_layernorm", "mlp": "post_mlp_layernorm"}),
    ("transformers.*Layer", {"attention": "post_attention_layernorm", "mlp": "post_mlp_layernorm"}),
    ("transformers.*Layer", {"attention": "post_norm1", "mlp": "post_norm2"}),
    (  # the decoders of BERT's family, and BART's
        "transformers.*Layer",
        {
            "attention": "attention.output.dropout",
            "cross-attention": "crossattention.output.dropout",
            "mlp": "output.dropout",
        },
    ),
    ("transformers.*Layer", {"attention": "self_attn", "cross-attention": "encoder_attn", "mlp": "fc2"}),
    ("transformers.*Layer", {"attention": "self_attn", "cross-attention": "cross_attention", "mlp": "ff_dropout"}),
    ("transformers.*Layer", {"attention": "self_attn", "mlp": "ff_dropout"}),  # NLLB's mixtures
    # BERT, RoBERTa, ELECTRA; OPT; hybrids; LLaMA, Mistral, Qwen, Gemma, CLIP; GPT-NeoX, ViT
    ("transformers.*Layer", {"attention": "attention.output.dropout", "mlp": "output.dropout|output.dense"}),
    ("transformers.*Layer", {"attention": "attention.dropout", "mlp": "output.dropout"}),  # MPNet
    ("transformers.*Layer", {"fourier": "fourier.self", "mlp": "output.dropout"}),
    ("transformers.*Layer", {"attention": "self_attn", "mlp": "fc2"}),
    *(
        ("transformers.*Layer", {part: path, "experts": "block_sparse_moe", "mlp": "shared_mlp"})
        for part, path in {"attention": "self_attn", "mamba": "mamba"}.items()
    ),
    *(
        ("transformers.*Layer", {part: path, "mlp": "mlp|feed_forward|block_sparse_moe|shared_mlp"})
        for part, path in {
            "attention": "self_attn|self_attention|attention",
            "mamba": "mamba",
            "conv": "conv",
            "linear-attention": "linear_attn",
        }.items()
    ),
    ("transformers.*Layer", {"attention": "attn", "mlp": "mlp"}),  # ModernBERT
    ("transformers.*Layer", {"recurrence": "temporal_block", "mlp": "mlp_block"}),  # RecurrentGemma
    ("transformers.*.ctrl.*Layer", {"attention": "dropout1", "mlp": "dropout2"}),
    ("transformers.*.convnext*Layer", {"": "drop_path"}),
    ("transformers.*.mpt.*Block", {"attention": "resid_attn_dropout", "mlp": "ffn.down_proj"}),
    ("transformers.*.rwkv.*Block", {"attention": "attention", "mlp": "feed_forward"}),
    ("transformers.*.xlstm.*Block", {"recurrence": "mlstm_layer", "mlp": "ffn"}),
    ("transformers.*Block", {"": "mixer"}),  # Mamba
    ("transformers.*Block", {"attention": "attn", "cross-attention": "crossattention", "mlp": "mlp"}),
    ("transformers.*Block", {"attention": "attn", "mlp": "mlp"}),  # GPT-2, GPT-J
    ("transformers.*.TransformerBlock", {"attention": "attention", "mlp": "ffn"}),  # DistilBERT
    (  # T5's family
        "transformers.*Block",
        {"attention": "layer.0.dropout", "cross-attention": "layer.1.dropout", "mlp": "layer.2.dropout"},
    ),
    ("transformers.*Block", {"attention": "layer.0.dropout", "mlp": "layer.1.dropout"}),
)

# Layers whose output is not added but concatenated with what came before
CONCATENATING = ("*.densenet.*DenseLayer",)

# What a block calls its own answer to whether its input is added: where its shape changes, it is not.
ADDS = ("has_skip", "use_res_connect", "apply_residual")


def known(network: nn.Module) -> dict[str, dict[str, nn.Module]]:
    """Layers of a network whose classes are known, and in each where its branches end.

    Parameters
    ----------
    network : any

    Returns
    -------
    dict
        Name of the layer -> name of a part ("" where it has one only) -> submodule whose output is added to the stream.
    """
    blocks: dict[str, dict[str, nn.Module]] = {}
    for name, module in network.named_modules():
        inside = any(name.startswith(f"{layer}.") for layer in blocks)
        if not inside and (parts := _parts(module)):
            blocks[name] = parts
    return blocks


def concatenates(module: nn.Module) -> bool:
    """Whether what a known layer computes is put beside the stream, as in DenseNets."""
    name = f"{type(module).__module__}.{type(module).__qualname__}"
    return any(fnmatchcase(name, pattern) for pattern in CONCATENATING)


def _parts(module: nn.Module) -> dict[str, nn.Module] | None:
    if not all(getattr(module, name, True) for name in ADDS):
        return None
    names = [f"{c.__module__}.{c.__qualname__}" for c in type(module).__mro__]
    for pattern, parts in KNOWN:
        if any(fnmatchcase(name, pattern) for name in names):
            ends = {part: end for part, path in parts.items() if (end := _first_of(module, path)) is not None}
            if len(ends) == len(parts):
                return ends
    return None


def _first_of(module: nn.Module, paths: str) -> nn.Module | None:
    for path in paths.split("|"):
        try:
            submodule = module.get_submodule(path)
        except AttributeError:  # there is none, or it is None
            continue
        if isinstance(submodule, nn.Module):
            return submodule
    return None
