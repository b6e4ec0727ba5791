"""Small networks of the kinds that people have, in float64; and what blocks do in them, by hooks alone."""

from contextlib import ExitStack

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

IDS = torch.randint(2, 20, (2, 6), generator=torch.Generator().manual_seed(1))
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
LAYERS = {
    "vocab_size": 20,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 12,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
T5 = {"vocab_size": 20, "d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4}
MASKED = {"input_ids": IDS, "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])}


def language(kind, model="ForCausalLM", **arguments):
    import transformers

    config = getattr(transformers, f"{kind}Config")(**arguments)
    return getattr(transformers, f"{kind}{'LMHeadModel' if kind == 'GPT2' else model}")(config)


def timm(name, **arguments):
    import timm as package

    return package.create_model(name, num_classes=5, **arguments)


def gpt2(layers=2, attention="sdpa"):
    return language("GPT2", attn_implementation=attention, **{**LAYERS, "num_hidden_layers": layers})


def t5():
    return language("T5", "ForConditionalGeneration", **T5)


# How it is made; its inputs; the module before which the first block's stream is.
KNOWN = {
    "GPT-2": (gpt2, MASKED, "transformer.h.0"),
    "GPT-2, eager": (lambda: gpt2(attention="eager"), IDS, "transformer.h.0"),
    "Llama": (lambda: language("Llama", **LAYERS, num_key_value_heads=2), IDS, "model.layers.0"),
    "Mistral": (
        lambda: language("Mistral", **LAYERS, num_key_value_heads=2, sliding_window=3),
        MASKED,
        "model.layers.0",
    ),
    "Mixtral": (
        lambda: language(
            "Mixtral", **LAYERS, num_key_value_heads=2, num_local_experts=4, experts_implementation="eager"
        ),
        IDS,
        "model.layers.0",
    ),
    "Gemma 2": (lambda: language("Gemma2", **LAYERS, num_key_value_heads=2, head_dim=4), IDS, "model.layers.0"),
    "OPT": (
        lambda: language("OPT", **LAYERS, ffn_dim=24, word_embed_proj_dim=16),
        MASKED,
        "model.decoder.layers.0",
    ),
    "BERT": (lambda: language("Bert", "ForMaskedLM", **LAYERS), MASKED, "bert.encoder.layer.0"),
    "T5's encoder": (t5, {"input_ids": IDS, "decoder_input_ids": IDS}, "encoder.block.0"),
    "T5's decoder": (t5, {"input_ids": IDS, "decoder_input_ids": IDS}, "decoder.block.0"),
    "GPT-NeoX": (  # attention and MLP read the same stream
        lambda: language("GPTNeoX", **LAYERS, use_parallel_residual=True),
        MASKED,
        "gpt_neox.layers.0",
    ),
    "Mamba": (
        lambda: language("Mamba", vocab_size=20, hidden_size=16, num_hidden_layers=3, state_size=4),
        IDS,
        "backbone.layers.0",
    ),
    "ViT": (
        lambda: timm("vit_tiny_patch16_224", img_size=32, embed_dim=24, num_heads=2, depth=2, drop_path_rate=0.1),
        IMAGES,
        "blocks.0",
    ),
    "torchvision's ViT": (
        lambda: _torchvision_vit(),
        IMAGES,
        "encoder.layers.encoder_layer_0",
    ),
    "ConvNeXt": (lambda: timm("convnext_atto", depths=(1, 1, 2, 1), dims=(8, 8, 12, 12)), IMAGES, "stages.0.blocks.0"),
    "Swin": (
        lambda: timm(
            "swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=12, depths=(2, 2), num_heads=(2, 2)
        ),
        IMAGES,
        "layers.0.blocks.0",
    ),
    "ResNet": (lambda: _resnet(), IMAGES, "layer1.0"),
    "EfficientNet": (lambda: _efficientnet(), IMAGES, "features.2.1"),
    "DenseNet": (lambda: _densenet(), IMAGES, "features.denseblock1"),
}
# Where branches end in what is not known, or not wanted whole.
DESCRIBED = {
    "T5's encoder": lambda network: _t5_blocks("encoder", 2),
    "T5's decoder": lambda network: _t5_blocks("decoder", 3),
    "Mamba": lambda network: {f"layers.{i}": f"backbone.layers.{i}.mixer" for i in range(3)},
}


def _t5_blocks(side, parts):
    return {f"{side}.{i}.{j}": f"{side}.block.{i}.layer.{j}.dropout" for i in range(2) for j in range(parts)}


def _torchvision_vit():
    from torchvision.models import VisionTransformer

    return VisionTransformer(32, 16, 2, 2, 24, 32, num_classes=5)


def _resnet():
    from torchvision.models.resnet import BasicBlock, ResNet

    network = ResNet(BasicBlock, [2, 2, 1, 1], num_classes=5)
    return network


def _efficientnet():
    """The first of each stage changes the shape, as in B0, whose other blocks add to a stream."""
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    stages = [MBConvConfig(1, 3, 1, 16, 8, 1), MBConvConfig(4, 3, 2, 8, 16, 2), MBConvConfig(4, 5, 2, 16, 24, 3)]
    return EfficientNet(stages, dropout=0.2, num_classes=5, last_channel=24)


def _densenet():
    from torchvision.models import DenseNet

    return DenseNet(growth_rate=4, block_config=(2, 1), num_init_features=8, bn_size=2, num_classes=5)


def known_network(name):
    """A network whose scales and statistics are at random too; inputs, targets and what describes its blocks."""
    make, inputs, _ = KNOWN[name]
    torch.manual_seed(0)
    network = make()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim != 4:
                parameter.add_(0.1 * torch.randn(parameter.shape))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2)
    targets = torch.tensor([1, 3]) if isinstance(inputs, torch.Tensor) and inputs.ndim == 4 else IDS.roll(-1, 1)
    return network.eval(), inputs, targets, DESCRIBED.get(name)


class InFloat64(TorchFunctionMode):
    """What a network does in float32 whatever its type, such as its norms, is done in float64."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.float:
            function = torch.Tensor.double
        args = [torch.float64 if a is torch.float32 else a for a in args]
        kwargs = {name: torch.float64 if a is torch.float32 else a for name, a in (kwargs or {}).items()}
        return function(*args, **kwargs)


def streams(network, first, ends, inputs, targets, factors, loss):
    """The gradient at what the module `first` gets, with that by each end multiplied by a factor; no value changes."""
    network = network.double()
    seen = []

    def begin(_, args, kwargs):
        x = args[0] if args else kwargs["hidden_states"]
        seen.append(x.detach().requires_grad_())
        return ((seen[-1], *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": seen[-1]})

    def by(factor):
        def hook(_, __, out):
            x = out[0] if isinstance(out, tuple) else out
            x = factor * x + (1 - factor) * x.detach() if factor != 1 else x
            return (x, *out[1:]) if isinstance(out, tuple) else x

        return hook

    with ExitStack() as stack:
        for end, factor in zip(ends, factors, strict=True):
            stack.callback(end.register_forward_hook(by(factor)).remove)
        handle = network.get_submodule(first).register_forward_pre_hook(begin, with_kwargs=True)
        stack.callback(handle.remove)
        stack.enter_context(InFloat64())
        out = (
            network(**inputs) if isinstance(inputs, dict) else network(inputs.double() if inputs.ndim == 4 else inputs)
        )
        out = getattr(out, "logits", out)
        (gradient,) = torch.autograd.grad(loss(out, targets).sum(), seen[0])
    return gradient.detach()


def loss(outputs, targets):
    axis = 1 if targets.ndim == 1 else 2
    each = nn.functional.cross_entropy(outputs.movedim(axis, 1), targets, reduction="none")
    return each if targets.ndim == 1 else each.mean(1)
