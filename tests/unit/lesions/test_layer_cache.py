"""Networks that are not ours share the beginnings of their lesions: the same numbers, to the bit, for less work."""

import numpy as np
import pytest
import torch
from torch import nn

from ensemble.blocks.blocks import blocks, check, stages
from ensemble.lesions.context import NONE, Replacement, arranged, every, means
from ensemble.lesions.layer_cache import LayerCache
from ensemble.lesions.plans import MEAN, OTHER, deletions, gates, orders, replacements, sampled, swapped
from ensemble.lesions.prefix_cache import branch_points, order
from landscape.evaluation.fused import in_dtype
from landscape.evaluation.measure import measure

SMALL = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4}
SMALL |= {"num_attention_heads": 2, "max_position_embeddings": 12}
T5 = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "use_cache": False}


class Language(nn.Module):
    """Logits of the last token."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        extra = {"decoder_input_ids": x} if self.model.config.is_encoder_decoder else {}
        return self.model(input_ids=x, **extra).logits[:, -1]


def transformer(name, config, **arguments):
    import transformers

    return Language(getattr(transformers, name)(getattr(transformers, f"{config}Config")(**arguments)))


def unet():
    """Every layer is read again behind the last one, so that none of them alone is what goes on."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Sequential(nn.Tanh(), nn.Conv2d(3, 3, 3, padding=1)) for _ in range(3))

        def forward(self, x):
            kept = []
            for layer in self.layers:
                kept.append(x := x + layer(x))
            return (kept[0] + kept[1] * kept[2]).flatten(1)[:, :10]

    return Net()


def resnet():
    from torchvision.models.resnet import BasicBlock, ResNet

    return ResNet(BasicBlock, [2, 1, 1, 1], num_classes=10)


def convnext():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(4, 8, 2), CNBlockConfig(8, None, 3)], num_classes=10)


def vit():
    from torchvision.models.vision_transformer import VisionTransformer

    few = {"num_layers": 3, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 12, "num_classes": 10}
    return VisionTransformer(image_size=32, patch_size=8, **few)


NETWORKS = {
    "GPT-2": lambda: transformer("GPT2LMHeadModel", "GPT2", **SMALL, n_inner=24),
    "Llama": lambda: transformer("LlamaForCausalLM", "Llama", **SMALL, num_key_value_heads=1),
    "BERT": lambda: transformer("BertForMaskedLM", "Bert", **SMALL),
    "T5": lambda: transformer("T5ForConditionalGeneration", "T5", **T5),
    "vit": vit,
    "resnet": resnet,
    "convnext": convnext,
}


@pytest.fixture(params=NETWORKS)
def case(request):
    """A network, its blocks, and batches of unequal size."""
    torch.manual_seed(0)
    network = NETWORKS[request.param]().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    sizes, classes = (3, 3, 2), 40 if isinstance(network, Language) else 10
    inputs = [torch.randint(0, 40, (n, 7)) if classes == 40 else torch.randn(n, 3, 32, 32) for n in sizes]
    return network, blocks(network), [(x, torch.randint(0, classes, (len(x),))) for x in inputs]


def cross_entropy(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


def plain(network, by_name, plan, data, dtype=torch.float32, replacement=NONE):
    measured = []
    for trial in plan:
        with arranged(network, by_name, trial, replacement):
            measured.append(measure(in_dtype(network, dtype), data, cross_entropy))
    return measured


def shared(network, by_name, plan, data, **options):
    """Measurements by number of trial, and how often layers ran, in examples."""
    cache, runs = LayerCache(network, by_name, data, cross_entropy, **options), [0]

    def count(module, args, kwargs, _):
        runs[0] += "forward" not in vars(module)

    layers = cache.layers if cache.shares else []
    handles = [network.get_submodule(name).register_forward_hook(count, with_kwargs=True) for name in layers]
    rows = order(plan)
    measured = {}
    for row, again in zip(rows, branch_points(plan[rows]), strict=True):
        measured[row] = cache.measure(plan[row], again)
    for handle in handles:
        handle.remove()
    return [measured[row] for row in range(len(plan))], runs[0], cache


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_deletions_are_those_of_the_plain_loop_to_the_bit_for_less_work(case, dtype):
    network, by_name, data = case
    plan = deletions(np.concatenate([every(len(by_name), [1]), sampled(len(by_name), [2, 3], 4, seed=0)[1:]]))
    modules, state = list(network.named_modules()), {n: t.clone() for n, t in network.state_dict().items()}
    measured, runs, cache = shared(network, by_name, plan, data, dtype=dtype)
    assert cache.shares
    assert measured == plain(network, by_name, plan, data, dtype)
    assert runs < 0.85 * len(plan) * len(data) * len(cache.layers)
    assert modules == list(network.named_modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in network.modules())
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


@pytest.mark.slow
def test_every_other_lesion_is_too(case):
    network, by_name, data = case
    number = len(by_name)
    replacement = Replacement(means(network, by_name, range(number), [x for x, _ in data]), seed=3)
    plans = [
        gates(number, [1, number - 1], np.array([[a, b] for a in (0, 0.3, 1) for b in (0, 0.5, 1)])),
        replacements(every(number, [1]), MEAN),
        replacements(every(number, [1]), OTHER),
    ]
    for plan in plans:
        measured, _, _ = shared(network, by_name, plan, data, replacement=replacement)
        assert measured == plain(network, by_name, plan, data, replacement=replacement)


@pytest.mark.slow
def test_layers_that_trade_places_share_too():
    torch.manual_seed(0)
    network = vit().eval()
    by_name = blocks(network, layers=True)
    data = [(torch.randn(3, 3, 32, 32), torch.arange(3))]
    plan = orders(swapped(3, stages(network, by_name), [1, 2], 5, seed=0)[0])
    measured, _, cache = shared(network, by_name, plan, data)
    assert cache.shares
    assert measured == plain(network, by_name, plan, data)


def test_what_is_kept_stays_within_its_room():
    torch.manual_seed(0)
    network = vit().eval()
    by_name, data = blocks(network), [(torch.randn(3, 3, 32, 32), torch.arange(3)) for _ in range(2)]
    plan = deletions(every(len(by_name), [1]))
    one = 3 * 17 * 8 * 4  # bytes of one activation
    measured, runs, cache = shared(network, by_name, plan, data, room=one)
    assert measured == plain(network, by_name, plan, data)
    assert sum(t.nbytes for _, kept in cache.kept.values() for _, s in kept for t in s.values()) <= one
    assert runs > shared(network, by_name, plan, data)[1]


def test_behind_layers_that_are_read_again_no_trial_starts():
    torch.manual_seed(0)
    network = unet().eval()
    by_name = blocks(network, lambda _: {f"layers.{i}": f"layers.{i}" for i in range(3)})
    data = [(torch.randn(3, 3, 8, 8), torch.arange(3))]
    plan = deletions(every(3, [1]))
    check(network, by_name, data[0][0])
    measured, _, cache = shared(network, by_name, plan, data)
    assert cache.needed == {1: [0]}  # the input and what the first gives are all there is then
    assert measured == plain(network, by_name, plan, data)
