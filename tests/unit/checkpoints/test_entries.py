"""Checkpoints as trainers write them: the right weights are found, or one line says which there are."""

import argparse
import collections
import copy
import os
import pathlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from wrapped import (
    AVERAGE,
    FACTORY,
    PARAMETERS,
    SEVERAL,
    WEIGHTS,
    X,
    Y,
    averaged_model,
    elsewhere,
    folder,
    made,
    optimizer,
    under,
)

from landscape.checkpoints.checkpoint import load, sha256_of
from landscape.errors import BadInput
from landscape.networks import build

elsewhere = pytest.fixture(autouse=True)(elsewhere)


def loss_of(weights):
    network = made["network"]()
    network.load_state_dict(weights)
    with torch.no_grad():
        return cross_entropy(network.eval()(X), Y).item()


LOSS, AVERAGE_LOSS = loss_of(WEIGHTS), loss_of(AVERAGE)


def within(module, weights=WEIGHTS):
    """Names as of networks whose layers are wrapped."""
    return {name.replace(".", f".{module}.", 1): t for name, t in weights.items()}


def restored(content, entry=None, factory=FACTORY, arguments=None, path="a.pt"):
    if content is not None:
        torch.save(content, path)
    checkpoint = load(path, factory, entry=entry)
    checkpoint.arguments = arguments or {}
    return checkpoint, checkpoint.restore(factory).eval()


def measured(*arguments, **options):
    with torch.no_grad():
        return cross_entropy(restored(*arguments, **options)[1](X), Y).item()


def refusal(*arguments, **options):
    with pytest.raises(BadInput) as caught:
        restored(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# One set of weights

ONE = {
    "plain": lambda: WEIGHTS,
    "lightning": lambda: {
        "epoch": 3,
        "pytorch-lightning_version": "2.4",
        "state_dict": under("model."),
        "hyper_parameters": {"lr": 0.1},
        "optimizer_states": [optimizer()],
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.3)}},
    },
    "nested": lambda: {"checkpoint": {"model": WEIGHTS}},
    "nested deeper": lambda: {"a": {"trainer": {"state": {"params": under("net.")}}}},
    "in a list": lambda: [{"lr": 0.1}, WEIGHTS],
    "model and optimizer": lambda: {"model": WEIGHTS, "optimizer": optimizer(), "epoch": 4},
    "model_state_dict": lambda: {"model_state_dict": under("module."), "loss": 0.3},
    "mmcv": lambda: {"meta": {"epoch": 1}, "state_dict": under("backbone.")},
    "deepspeed": lambda: {"module": WEIGHTS, "param_shapes": collections.OrderedDict(a=torch.Size([3]))},
    "moco without its average": lambda: {"state_dict": under("module.encoder_q.")},
    "compiled, then parallel": lambda: under("module._orig_mod."),
    "fsdp": lambda: under("_fsdp_wrapped_module.", within("_fsdp_wrapped_module")),
    "activations checkpointed": lambda: within("_checkpoint_wrapped_module"),
    "each layer compiled": lambda: within("_orig_mod"),
    "each layer parallel": lambda: within("module"),
    "swa alone": averaged_model,
    "no counters": lambda: {name: t for name, t in WEIGHTS.items() if "num_batches" not in name},
    "average that is the same": lambda: {"model": WEIGHTS, "model_ema": copy.deepcopy(WEIGHTS)},
    "gradients beside": lambda: {"model": WEIGHTS, "grads": AVERAGE},
    "another network beside": lambda: {"generator": WEIGHTS, "discriminator": {"0.weight": torch.ones(3)}},
    "a loss called ema": lambda: {"model": WEIGHTS, "loss_ema": torch.tensor(0.3), "semantic": torch.ones(5000)},
}


@pytest.mark.parametrize("case", ONE)
def test_weights_are_found_whatever_they_are_wrapped_in(case):
    assert measured(ONE[case]()) == pytest.approx(AVERAGE_LOSS if case == "swa alone" else LOSS, rel=1e-6)


def test_a_network_that_wraps_another_takes_the_weights_of_the_other():
    assert measured({"model": WEIGHTS}, factory="trained_elsewhere:Around") == pytest.approx(LOSS, rel=1e-6)


# Several sets of weights


@pytest.mark.parametrize("case", SEVERAL)
def test_of_several_sets_of_weights_none_is_taken_unless_it_is_named(case):
    content, raw, average = SEVERAL[case]
    # Averages of parameters alone go with the network's own buffers.
    mixed = {name: (AVERAGE if name in PARAMETERS else WEIGHTS)[name] for name in WEIGHTS}
    alone = case in ("an optimizer", "parameters in their order", "parameters by name", "names without dots")
    said = refusal(content)
    assert f"2 sets of weights for this network: {raw}, {average}" in said or f": {average}, {raw}" in said
    assert 'entry="NAME"' in said
    assert measured(content, raw) == pytest.approx(LOSS, rel=1e-6)
    assert measured(content, average) == pytest.approx(loss_of(mixed) if alone else AVERAGE_LOSS, rel=1e-6)


@pytest.mark.parametrize("name", ["encoder_k", "module.encoder_k", "state_dict.module.encoder_k"])
def test_as_much_of_an_entry_s_name_is_enough_as_tells_it_from_others(name):
    checkpoint, _ = restored(SEVERAL["moco"][0], name)
    assert checkpoint.entry == "state_dict.module.encoder_k"


@pytest.mark.parametrize("name", ["ema", "state_dict_em", "", "state_dict.model", "a\n", "0"])
def test_a_wrong_entry_lists_those_that_there_are(name):
    said = refusal(SEVERAL["timm"][0], name)
    assert "state_dict, state_dict_ema" in said


def test_a_name_that_several_entries_have_is_refused():
    assert "state_dict.model, state_dict.model_ema" in refusal(SEVERAL["names without dots"][0], "state_dict")


def test_the_raw_weights_beside_averages_are_an_entry_too():
    lists = {"shadow_params": [AVERAGE[n] for n in PARAMETERS], "collected_params": [WEIGHTS[n] for n in PARAMETERS]}
    dicts = {"shadow": {n: AVERAGE[n] for n in PARAMETERS}, "backup": {n: WEIGHTS[n] for n in PARAMETERS}}
    for ema, names in ((lists, ("shadow_params", "collected_params")), (dicts, ("shadow", "backup"))):
        content = {"model": WEIGHTS, "ema": ema}
        assert all(f"ema.{name}" in refusal(content) for name in names)
        assert measured(content, names[0]) != pytest.approx(LOSS, rel=1e-3)
        assert measured(content, names[1]) == pytest.approx(LOSS, rel=1e-6)


def test_averages_that_cannot_be_taken_are_named_all_the_same():
    content = {"model": WEIGHTS, "ema": {"shadow_params": [torch.ones(2000)]}}
    assert "model, ema" in refusal(content)
    assert "not under the network's names" in refusal(content, "ema")
    assert measured(content, "model") == pytest.approx(LOSS, rel=1e-6)


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_averages_of_networks_that_rename_their_weights_are_not_passed_over(tmp_path):
    old = nn.utils.weight_norm(nn.Linear(8, 8)).state_dict()
    code = "from torch import nn\ndef normed():\n    return nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))\n"
    (tmp_path / "renaming.py").write_text(code)
    _, network = restored({"model": old}, factory="renaming:normed")
    assert torch.equal(network.bias, old["bias"])
    assert "model_ema" in refusal({"model": old, "model_ema": old}, factory="renaming:normed")


def test_what_is_found_is_said():
    checkpoint, _ = restored(SEVERAL["timm"][0], "state_dict_ema")
    assert checkpoint.notes == ["the weights are the averaged ones in state_dict_ema"]
    checkpoint, _ = restored(SEVERAL["parameters by name"][0], "shadow")
    assert "is taken from model" in checkpoint.notes[1]


def test_averages_of_our_networks_under_others_names_are_not_passed_over():
    from theirs import theirs

    weights = theirs(n=1).state_dict()
    average = {name: t * 0.5 if t.is_floating_point() else t for name, t in weights.items()}
    torch.save({"net": under("module.", weights), "ema": average}, "a.pt")
    with pytest.raises(BadInput, match=r"net\.module, ema|net, ema"):
        load("a.pt", "resnet")
    taken = load("a.pt", "resnet", entry="ema").restore("resnet")
    assert torch.equal(taken.stem[0].weight, average["conv1.weight"])
    torch.save({"net": weights, "ema": {"shadow_params": list(average.values())}}, "b.pt")
    with pytest.raises(BadInput, match="net, ema"):
        load("b.pt", "resnet")
    profiled = weights | {"layer1.0.conv1.total_ops": torch.zeros(1), "criterion.weight": torch.ones(10)}
    torch.save({"net": profiled}, "c.pt")
    assert "left out 2 tensors" in load("c.pt", "resnet").notes[0]


def test_checkpoints_of_ours_have_no_entries(trained):
    with pytest.raises(BadInput, match="no entries"):
        load(trained / "resnet.pt", entry="ema")


# More tensors, and fewer

BESIDE = {
    "criterion": ({"state_dict": under("model.") | {"criterion.weight": torch.ones(10)}}, "criterion.weight"),
    "criterion in the network's dict": (WEIGHTS | {"criterion.weight": torch.ones(10)}, "criterion.weight"),
    "profiler": (WEIGHTS | {"total_ops": torch.zeros(1), "total_params": torch.zeros(1)}, "total_ops, total_params"),
    "profiler within": (WEIGHTS | {"0.total_ops": torch.zeros(1)}, "0.total_ops"),
    "n_averaged": (under("module.") | {"n_averaged": torch.tensor(3)}, "n_averaged"),
    "metrics": (under("net.") | {"val_accuracy.correct": torch.zeros(1)}, "val_accuracy.correct"),
    "another head": (under("encoder.") | {"decoder.weight": torch.ones(3, 3)}, "decoder.weight"),
    "table of places": (WEIGHTS | {"position_ids": torch.arange(3)}, "position_ids"),
    "queue": ({"state_dict": under("module.encoder_q.") | {"module.queue": torch.ones(9)}}, "module.queue"),
}


@pytest.mark.parametrize("case", BESIDE)
def test_tensors_beside_the_network_are_left_out_and_named(case):
    content, names = BESIDE[case]
    checkpoint, network = restored(content)
    assert cross_entropy(network(X), Y).item() == pytest.approx(LOSS, rel=1e-6)
    assert len(checkpoint.notes) == 1 and checkpoint.notes[0].endswith(names)


OTHERS = {
    "a further layer": (WEIGHTS | {"5.weight": torch.ones(3, 10)}, "5.weight"),
    "a further layer under a prefix": ({"state_dict": under("model.", WEIGHTS | {"5.bias": torch.ones(3)})}, "5.bias"),
    "a parameter within": (WEIGHTS | {"0.scale": torch.ones(4)}, "0.scale"),
    "a layer where there is an activation": (WEIGHTS | {"2.weight": torch.ones(1)}, "2.weight"),
    "a parameter of the network itself": (WEIGHTS | {"cls_token": torch.ones(4)}, "cls_token"),
    "a missing weight": ({n: t for n, t in WEIGHTS.items() if n != "4.weight"}, "lacks 4.weight"),
    "a missing statistic": ({n: t for n, t in WEIGHTS.items() if n != "1.running_var"}, "lacks 1.running_var"),
    "a shape": (
        {"model": WEIGHTS | {"4.weight": torch.ones(10, 100)}},
        "size mismatch for model.4.weight: (10, 100) in the file, (10, 144) in the network",
    ),
    "other names": ({"model": {"a.weight": torch.ones(3)}}, "its names are model.a.weight"),
    "one prefix in part": (under("a.") | {"b.4.weight": WEIGHTS["4.weight"]} | {"a.4.weight": torch.ones(1)}, "(1,)"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_weights_of_another_network_are_refused_with_their_names(case):
    content, words = OTHERS[case]
    assert words in refusal(content)


@pytest.mark.parametrize("given", ["embedding.weight", "head.weight"])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_one_tensor_of_two_names_needs_one_of_them(given, prefix):
    safetensors = pytest.importorskip("safetensors.torch")
    network = made["Language"]()
    other = {"embedding.weight": "head.weight", "head.weight": "embedding.weight"}[given]
    kept = {prefix + name: t.clone() for name, t in network.state_dict().items() if name != other}
    safetensors.save_file(kept, "a.safetensors")
    factory = "trained_elsewhere:Language"
    _, taken = restored(None, factory=factory, path="a.safetensors")
    assert torch.equal(taken(torch.arange(7)), network(torch.arange(7)))
    assert taken.head.weight is taken.embedding.weight
    assert f"lacks {other}" in refusal(None, factory=factory, arguments={"tie": False}, path="a.safetensors")


def test_two_tensors_are_not_taken_for_one():
    weights = made["Language"](tie=False).state_dict()
    assert "one tensor in the network" in refusal(weights, factory="trained_elsewhere:Language")


@pytest.mark.parametrize("layers", [1, 3])
def test_a_network_of_another_depth_is_refused(layers):
    said = refusal(made["Language"](layers).state_dict(), factory="trained_elsewhere:Language")
    assert f"layers.{max(layers - 1, 1)}." in said


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_taken_as_the_network_has_its_weights(dtype):
    weights = {name: t.to(dtype) if t.is_floating_point() else t for name, t in WEIGHTS.items()}
    rounded = {name: t.to(WEIGHTS[name].dtype) for name, t in weights.items()}
    assert measured({"state_dict": under("model.", weights)}) == pytest.approx(loss_of(rounded), rel=1e-6)


def test_weights_under_the_names_of_a_network_that_there_is():
    safetensors = pytest.importorskip("safetensors.torch")
    network = made["Language"]()
    kept = {f"model.{n}": t.clone() for n, t in network.state_dict().items() if n != "head.weight"}
    safetensors.save_file(kept, "a.safetensors")
    for lazy in (False, True):
        weights = load("a.safetensors", "trained_elsewhere:Language", lazy=lazy, like=network).weights
        assert weights.keys() == network.state_dict().keys()
        assert all(torch.equal(weights[name], t) for name, t in network.state_dict().items())
    torch.save(SEVERAL["timm"][0], "b.pt")
    with pytest.raises(BadInput, match="state_dict, state_dict_ema"):
        load("b.pt", FACTORY, like=made["network"]())
    taken = load("b.pt", FACTORY, like=made["network"](), entry="state_dict_ema").weights
    assert torch.equal(taken["0.weight"], AVERAGE["0.weight"])


# Not only tensors

NUMBERS = {
    "float64": np.float64(0.1),
    "float32": np.float32(0.1),
    "float16": np.float16(0.1),
    "int64": np.int64(3),
    "uint8": np.uint8(3),
    "bool": np.bool_(True),
    "complex": np.complex64(1j),
    "other byte order": np.array(1.5, ">f8")[()],
    "word": np.str_("a"),
    "date": np.datetime64("2020-01-01"),
    "array": np.arange(3),
    "array of objects": np.array([{}], object),
    "random state": np.random.RandomState(0).get_state(),
}


@pytest.mark.skipif(not hasattr(torch.serialization, "safe_globals"), reason="torch before 2.5 knows no other numbers")
@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_of_numpy_are_harmless(case):
    assert measured({"model": WEIGHTS, "best": NUMBERS[case]}) == pytest.approx(LOSS, rel=1e-6)


@pytest.mark.skipif(not hasattr(torch.serialization, "safe_globals"), reason="torch before 2.5 knows no other numbers")
def test_numbers_of_numpy_are_read_as_python_s_own():
    from landscape.checkpoints.safe_load import read

    for case in ("float64", "float32", "int64", "uint8", "bool", "complex", "other byte order"):
        torch.save({"a": NUMBERS[case]}, "a.pt")
        value = read(pathlib.Path("a.pt"))["a"]
        assert value == NUMBERS[case] and type(value).__module__ == "builtins"


class Settings:
    pass


CLASSES = {
    "args": ({"model": WEIGHTS, "args": argparse.Namespace(lr=0.1)}, "argparse.Namespace (in args)", "['model']"),
    "opt": ({"net": WEIGHTS, "opt": argparse.Namespace()}, "argparse.Namespace (in opt)", "['net']"),
    "first": ({"cfg": argparse.Namespace(), "model": WEIGHTS}, "argparse.Namespace (in cfg)", "['model']"),
    "nested": (
        {"hyper_parameters": {"lr": 1, "config": argparse.Namespace()}, "state_dict": WEIGHTS},
        "argparse.Namespace (in config)",
        "['state_dict']",
    ),
    "a path": ({"model": WEIGHTS, "out": pathlib.PurePosixPath("a")}, "PurePosixPath (in out)", "['model']"),
    "a class": ({"model": WEIGHTS, "settings": Settings()}, "test_entries.Settings (in settings)", "['model']"),
    "a defaultdict": ({"model": WEIGHTS, "log": collections.defaultdict(list)}, "defaultdict (in log)", "['model']"),
    "a network": (made["network"](), "torch.nn.modules.container.Sequential", ".state_dict()"),
    "a network in a dict": ({"model": nn.Linear(2, 2)}, "linear.Linear (in model)", "['model'].state_dict()"),
}


# Files from before torch 1.6 hold the source of a network's classes, under names of their own.
@pytest.mark.parametrize(
    ("case", "old"), [(case, old) for case in CLASSES for old in (False, True) if not (old and "network" in case)]
)
def test_classes_are_refused_by_name(case, old):
    content, words, cure = CLASSES[case]
    torch.save(content, "a.pt", _use_new_zipfile_serialization=not old)
    said = refusal(None)
    assert words in said and f"torch.save(torch.load(OLD, weights_only=False){cure}, NEW)" in said


# Folders

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
FIRST = dict(list(WEIGHTS.items())[:4])
SECOND = {name: t for name, t in WEIGHTS.items() if name not in FIRST}
MAP = {name: SHARDS[name not in FIRST] for name in WEIGHTS}


FOLDERS = {
    "safetensors": lambda: folder(**{"model.safetensors": WEIGHTS}),
    "safetensors before bin": lambda: folder(**{"model.safetensors": WEIGHTS, "pytorch_model.bin": AVERAGE}),
    "bin": lambda: folder(**{"pytorch_model.bin": WEIGHTS, "training_args.json": {}}),
    "wrapped bin": lambda: folder(**{"pytorch_model.bin": {"model": under("module.")}}),
    "shards": lambda: folder(index=MAP, **dict(zip(SHARDS, (FIRST, SECOND), strict=True))),
    "prefixed shards": lambda: folder(
        index=under("net.", MAP), **dict(zip(SHARDS, (under("net.", FIRST), under("net.", SECOND)), strict=True))
    ),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_hugging_face_folder_is_a_checkpoint(case):
    path = FOLDERS[case]()
    assert measured(None, path=path) == pytest.approx(LOSS, rel=1e-6)
    assert load(path, FACTORY, lazy=True).restore(FACTORY)
    assert load(path, FACTORY).sha256 == sha256_of(path) != ""


def test_the_digest_of_a_folder_is_that_of_all_files_read():
    one = folder("one", index=MAP, **dict(zip(SHARDS, (FIRST, SECOND), strict=True)))
    other = folder("other", index=MAP, **dict(zip(SHARDS, (FIRST, {**SECOND, "4.bias": torch.ones(10)}), strict=True)))
    (one / "README.md").write_text("not read")
    digest = sha256_of(one)
    (one / "README.md").unlink()
    assert digest == sha256_of(one) != sha256_of(other)


def linked_out():
    folder("away", **{"model.safetensors": WEIGHTS})
    path = folder()
    (path / "model.safetensors").symlink_to(pathlib.Path("away/model.safetensors").resolve())
    return path


def broken(text):
    path = folder(**dict(zip(SHARDS, (FIRST, SECOND), strict=True)))
    (path / "model.safetensors.index.json").write_text(text)
    return path


def piped():
    os.mkfifo((path := folder()) / "model.safetensors")
    return path


WRONG = {
    "empty": (folder, "no weights"),
    "other files": (lambda: folder(**{"epoch.pt": WEIGHTS}), "only epoch.pt"),
    "averages beside": (
        lambda: folder(**{"model.safetensors": WEIGHTS, "model_ema.safetensors": AVERAGE}),
        "averaged weights in model_ema.safetensors",
    ),
    "a shard is missing": (lambda: folder(index=MAP, **{SHARDS[0]: FIRST}), f"{SHARDS[1]} is not there"),
    "shards exchanged": (lambda: folder(index=MAP, **{SHARDS[0]: SECOND, SHARDS[1]: FIRST}), "do not agree on"),
    "a name is missing": (
        lambda: folder(index=MAP | {"x": SHARDS[0]}, **dict(zip(SHARDS, (FIRST, SECOND), strict=True))),
        "do not agree on x",
    ),
    "a name more": (
        lambda: folder(index=MAP, **{SHARDS[0]: FIRST, SHARDS[1]: SECOND | {"x": torch.ones(1)}}),
        "do not agree on x",
    ),
    "a folder above": (lambda: folder(index=dict.fromkeys(WEIGHTS, "../a.safetensors")), "files in the folder"),
    "a path": (lambda: folder(index=dict.fromkeys(WEIGHTS, "/a.safetensors")), "files in the folder"),
    "another kind": (
        lambda: folder(index=dict.fromkeys(WEIGHTS, "a.bin"), **{"a.bin": WEIGHTS}),
        "files in the folder",
    ),
    "numbers": (lambda: folder(index=dict.fromkeys(WEIGHTS, 3)), "files in the folder"),
    "nothing indexed": (lambda: folder(index={}), "files in the folder"),
    "a link that leads out": (linked_out, "leads out of the folder"),
    "a pipe": (piped, "is not there"),
    "no JSON": (lambda: broken("hello"), "no index of tensors"),
    "a list": (lambda: broken("[]"), "no index of tensors"),
    "deep JSON": (lambda: broken("[" * 10**5), "no index of tensors"),
    "a Namespace": (lambda: folder(**{"pytorch_model.bin": {"a": argparse.Namespace()}}), "argparse.Namespace (in a)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_folder_that_is_not_whole_is_refused(case):
    make, words = WRONG[case]
    assert words in refusal(None, path=make())


def test_the_cache_of_the_hub_is_a_folder_of_links():
    safetensors = pytest.importorskip("safetensors.torch")
    (path := pathlib.Path("hub/snapshots/abc")).mkdir(parents=True)
    pathlib.Path("hub/blobs").mkdir()
    safetensors.save_file(WEIGHTS, "hub/blobs/123")
    (path / "model.safetensors").symlink_to("../../blobs/123")
    assert measured(None, path=path) == pytest.approx(LOSS, rel=1e-6)


def test_our_own_networks_may_be_wrapped_as_well():
    torch.manual_seed(0)
    network = build("resnet", depth=8, width=2, channels=1)
    torch.save({"state_dict": under("model.", network.state_dict()), "ema": under("", network.state_dict())}, "a.pt")
    checkpoint = load("a.pt", "resnet")
    checkpoint.arguments = {"depth": 8, "width": 2, "channels": 1}
    assert torch.equal(checkpoint.restore("resnet").stem[0].weight, network.stem[0].weight)
