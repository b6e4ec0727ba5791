"""A model folder runs nothing, leads nowhere else, and is measured as it says or refused in one line."""

import json
import os
import pickle
import shutil
import struct

import pytest
import torch
from hostile import Call, complaint, ran, refused

from landscape.evaluation.evaluator import Evaluator

pytest.importorskip("transformers")
from folders import TEXT, causal
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.filterwarnings("ignore")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
NORM = "transformer.ln_f.weight"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder with a sound GPT-2, the same in shards, and a text."""
    place = tmp_path_factory.mktemp("sound")
    network, _ = causal(place / "whole")
    shutil.copytree(place / "whole", place / "shards")
    network.save_pretrained(place / "shards", max_shard_size="20KB")
    (place / "shards" / WEIGHTS).unlink(missing_ok=True)
    (place / "fox.txt").write_text(TEXT, encoding="utf-8")
    return place


@pytest.fixture
def folder(sound, tmp_path):
    """Where a case puts its model; nothing in it must run."""
    shutil.copy(sound / "fox.txt", tmp_path)
    yield tmp_path
    assert not (tmp_path / "canary").exists()


def measured(path):
    return Evaluator.from_checkpoint(path, data=f"text:{path.parent / 'fox.txt'}", window=32, examples=3)()


def payload(path):
    return pickle.dumps(Call(os.system, f"touch {path.parent / 'canary'}"))


def settings(**changes):
    """Of config.json, changed."""
    return lambda path: merged(path / "config.json", changes)


def tokenizer(**changes):
    return lambda path: merged(path / "tokenizer_config.json", changes)


def merged(file, changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def written(name, content):
    return lambda path: (path / name).write_bytes(content)


def replaced(name, make):
    """A file, taken away and made anew."""
    return lambda path: ((path / name).unlink(), make(path / name))


def weights(change):
    def case(path):
        tensors = load_file(path / WEIGHTS)
        save_file(tensors | change(tensors), path / WEIGHTS, {"format": "pt"})

    return case


def code(path):
    """Code under names that a folder of the hub has."""
    for name in ("modeling", "configuration_gpt2", "transformers"):
        (path / f"{name}.py").write_text(f"open({str(path.parent / 'canary')!r}, 'w')")


def header(change, tail=b""):
    """A file of safetensors with another header: what `change` makes of the names, or its bytes."""

    def case(path):
        raw = (path / WEIGHTS).read_bytes()
        end = 8 + struct.unpack("<Q", raw[:8])[0]
        if isinstance(change, int):
            changed = struct.pack("<Q", change) + raw[8:]
        else:
            names = json.loads(raw[8:end])
            first, second = (name for name in [*names][:3] if name != "__metadata__")
            change(names, names[first], names[second])
            text = json.dumps(names).encode()
            changed = struct.pack("<Q", len(text)) + text + raw[end:]
        (path / WEIGHTS).write_bytes(changed + tail)

    return case


def index(change):
    """Shards, whose index `change` makes another one of: from its map, a name, its shard, and another shard."""

    def case(path):
        written_there = json.loads((path / INDEX).read_text())
        names = written_there["weight_map"]
        name = min(names)
        change(names, name, names[name], next(each for each in names.values() if each != names[name]), path)
        (path / INDEX).write_text(json.dumps(written_there))

    return case


def only_pickle(content):
    def case(path):
        (path / WEIGHTS).unlink()
        (path / "pytorch_model.bin").write_bytes(content(path))

    return case


def outside(name):
    """A file that is a link out of the folder."""

    def case(path):
        shutil.move(path / name, path.parent / "elsewhere")
        (path / name).symlink_to(path.parent / "elsewhere")

    return case


def adapter(alone):
    def case(path):
        (path / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "gpt2"}')
        shutil.copy(path / WEIGHTS, path / "adapter_model.safetensors")
        if alone:
            (path / WEIGHTS).unlink()

    return case


DEEP = b"[" * 100_000 + b"]" * 100_000
# What is found, of a folder with one file of weights: words of the refusal, and what is done to the folder.
WHOLE = {
    "class of its own": ("holds a Mine", settings(architectures=["MineLMHeadModel"], auto_map={"AutoModel": "a.B"})),
    "class that is none": ("no language model", settings(architectures=["os.system"])),
    "abstract class": ("does not have", settings(architectures=["AutoModelForCausalLM"])),
    "kernel": ("asks for the code", settings(attn_implementation={"": "a/b"})),
    "kernel inside": ("asks for the code of a/b", settings(text_config={"_attn_implementation": "a/b"})),
    "quantised": ("quantised", settings(quantization_config={"quant_method": "gptq", "bits": 4})),
    "config cut": ("cannot read", written("config.json", b'{"architectures": ["GPT2LM')),
    "config list": ("no settings by name", written("config.json", b"[1]")),
    "config deep": ("recursion", written("config.json", DEEP)),
    "config of digits": ("digits", written("config.json", b'{"n_layer": ' + b"9" * 5000 + b"}")),
    "config long": ("longer than", replaced("config.json", lambda file: os.truncate(make(file), 2**33))),
    "config pipe": ("weights alone", replaced("config.json", os.mkfifo)),
    "config of a device": ("weights alone", replaced("config.json", lambda file: file.symlink_to("/dev/zero"))),
    "wide": ("n_embd is 1e+09", settings(n_embd=10**9)),
    "deep network": ("n_layer is 1e+09", settings(n_layer=10**9)),
    "many classes": ("num_labels is 1e+09", settings(num_labels=10**9)),
    "large vocabulary": ("larger network", settings(vocab_size=10**12)),
    "nan": ("a setting is NaN", settings(layer_norm_epsilon=float("nan"))),
    "words": ("config.json", settings(n_head="two")),
    "no heads": ("cannot be made", settings(n_head=0)),
    "odd labels": ("label2id", settings(label2id={"a": "b"})),
    "label that is no whole number": ("label2id", settings(label2id={"a": 1.5})),
    "fewer layers": ("fewer layers", settings(n_layer=1)),
    "no layers": ("fewer layers", settings(n_layer=-1)),
    "more layers": ("larger network", settings(n_layer=9)),
    "untied": ("no weights for lm_head", settings(tie_word_embeddings=False)),
    "whole numbers": ("torch.int64", weights(lambda w: {name: t.long() for name, t in w.items()})),
    "one is bits": ("torch.int32", weights(lambda w: {NORM: w[NORM].view(torch.int32)})),
    "truth values": ("torch.bool", weights(lambda w: {NORM: w[NORM].bool()})),
    "complex": ("torch.complex64", weights(lambda w: {NORM: w[NORM].to(torch.complex64)})),
    "8 bits": ("quantised", weights(lambda w: {NORM: w[NORM].to(torch.float8_e4m3fn)})),
    "too large for float32": ("not finite", weights(lambda w: {NORM: w[NORM].double() * 1e300})),
    "two names": ("both transformer.ln_f.weight and ln_f", weights(lambda w: {"ln_f.weight": w[NORM] * 2})),
    "weights of another network": ("larger network", lambda path: save_file({"a": torch.ones(10**5)}, path / WEIGHTS)),
    "header longer than all": ("damaged", header(2**63)),
    "header of nothing": ("damaged", header(0)),
    "overlap": ("damaged", header(lambda names, one, two: one.update(data_offsets=two["data_offsets"]))),
    "beyond the end": ("damaged", header(lambda names, one, two: one.update(data_offsets=[0, 10**12]))),
    "backwards": ("damaged", header(lambda names, one, two: one.update(data_offsets=one["data_offsets"][::-1]))),
    "shape of any size": ("damaged", header(lambda names, one, two: one.update(shape=[2**40, 2**40]))),
    "more at the end": ("damaged", header(lambda names, one, two: None, tail=bytes(9))),
    "sparse file": ("damaged", lambda path: os.truncate(path / WEIGHTS, 2**40)),
    "weights pipe": ("leads out", replaced(WEIGHTS, os.mkfifo)),
    "weights elsewhere": ("leads out", outside(WEIGHTS)),
    "pickle": ("can be read safely", only_pickle(payload)),
    "adapter": ("an adapter", adapter(alone=True)),
    "adapter beside": ("an adapter", adapter(alone=False)),
    "averages beside": ("averaged", lambda path: shutil.copy(path / WEIGHTS, path / "ema.safetensors")),
    "nothing": ("no weights", lambda path: (shutil.rmtree(path), path.mkdir())),
    "file": ("can be read safely", lambda path: (shutil.rmtree(path), path.write_text("hello"))),
    "link to nothing": ("no checkpoint", lambda path: (shutil.rmtree(path), path.symlink_to("nowhere"))),
    "link to itself": ("no checkpoint", lambda path: (shutil.rmtree(path), path.symlink_to(path.name))),
    "tokenizer cut": ("the tokenizer", written("tokenizer.json", b'{"model')),
    "tokenizer deep": ("the tokenizer", written("tokenizer.json", DEEP)),
    "tokenizer long": ("longer than", lambda path: os.truncate(path / "tokenizer.json", 2**33)),
    "tokenizer pipe": ("the tokenizer", replaced("tokenizer.json", os.mkfifo)),
    "tokenizer that is no class": ("the tokenizer", tokenizer(tokenizer_class="__class__")),
    "no such end": ("the tokenizer", tokenizer(eos_token=3)),
}


def make(file):
    file.touch()
    return file


@pytest.mark.parametrize("case", WHOLE)
def test_a_folder_that_is_no_such_network_is_refused(sound, folder, case):
    words, change = WHOLE[case]
    shutil.copytree(sound / "whole", folder / "model")
    change(folder / "model")
    assert words in complaint(measured, folder / "model")


# The same of a folder of shards: what is done to the index.
SHARDS = {
    "leads out": ("no index of", index(lambda names, name, own, other, path: names.update({name: "../x.safetensors"}))),
    "absolute": ("no index of", index(lambda names, name, own, other, path: names.update({name: "/etc/passwd"}))),
    "line end": ("no index of", index(lambda names, name, own, other, path: names.update({name: f"{own}\n"}))),
    "long name": ("no index of", index(lambda names, name, own, other, path: names.update({name: "a" * 999 + own}))),
    "number": ("no index of", index(lambda names, name, own, other, path: names.update({name: 3}))),
    "pickle": ("no index of", index(lambda names, name, own, other, path: names.update({name: "pytorch_model.bin"}))),
    "none": ("no index of", index(lambda names, name, own, other, path: names.clear())),
    "no such shard": ("is not there", index(lambda names, name, own, other, path: (path / own).unlink())),
    "shard elsewhere": ("leads out", index(lambda names, name, own, other, path: outside(own)(path))),
    "name too many": ("do not agree", index(lambda names, name, own, other, path: names.update(nothing=own))),
    "name too few": ("do not agree", index(lambda names, name, own, other, path: names.pop(name))),
    "other shard": ("do not agree", index(lambda names, name, own, other, path: names.update({name: other}))),
    "in two shards": (
        "do not agree",
        index(
            lambda names, name, own, other, path: save_file(
                load_file(path / other) | {name: torch.zeros(3)}, path / other
            )
        ),
    ),
    "list": ("no index", written(INDEX, b"[1]")),
    "deep": ("no index", written(INDEX, DEEP)),
    "long": ("longer than", lambda path: os.truncate(path / INDEX, 2**33)),
    "pipe": ("no index", replaced(INDEX, os.mkfifo)),
}


@pytest.mark.parametrize("case", SHARDS)
def test_an_index_that_lies_is_refused(sound, folder, case):
    words, change = SHARDS[case]
    shutil.copytree(sound / "shards", folder / "model")
    change(folder / "model")
    assert words in complaint(measured, folder / "model")


# What has no effect: the numbers are those of the sound folder.
HARMLESS = {
    "code of a known class": lambda path: (code(path), settings(auto_map={"AutoConfig": "modeling.C"})(path)),
    "tokenizer's code": lambda path: (code(path), tokenizer(auto_map={"AutoTokenizer": ["modeling.T", None]})(path)),
    "pickle beside": lambda path: (path / "pytorch_model.bin").write_bytes(payload(path)),
    "pickle of a training": lambda path: (path / "training_args.bin").write_bytes(payload(path)),
    "another model_type": settings(model_type="bert"),
    "name of the hub": settings(_name_or_path="https://example.org/a"),
    "buffer of a name": weights(lambda w: {"transformer.h.0.attn.bias": torch.full((1, 1, 64, 64), torch.nan)}),
    "counters beside": weights(lambda w: {"position_ids": torch.arange(64)}),
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_else_is_in_a_folder_changes_no_number(sound, folder, case):
    shutil.copytree(sound / "whole", folder / "model")
    before = measured(folder / "model")
    HARMLESS[case](folder / "model")
    assert measured(folder / "model") == before


def test_a_command_refuses_a_folder_and_leaves_nothing(sound, folder):
    typed = ("model", "out.h5", "--data", "text:fox.txt", "--window", 32, "--examples", 3, "--x", 0, 1, 2)
    for case in ("class of its own", "many classes", "fewer layers", "complex", "adapter beside", "tokenizer cut"):
        shutil.rmtree(folder / "model", ignore_errors=True)
        shutil.copytree(sound / "whole", folder / "model")
        WHOLE[case][1](folder / "model")
        refused("surface", *typed, folder=folder)
    shutil.rmtree(folder / "model")
    shutil.copytree(sound / "shards", folder / "model")
    assert ran("surface", *typed, "--quiet", folder=folder) == (0, "")
