"""A checkpoint from a stranger runs nothing, fills no memory, and is taken or refused in one line."""

import builtins
import collections
import copy
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import ENVIRONMENT, ROOT
from hostile import Call, Claim, bounded, complaint, forged, ran, refused, script
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from landscape import saved
from landscape.checkpoint import Checkpoint, load, save
from landscape.errors import BadInput
from landscape.networks import build

SMALL = {"depth": 8, "width": 2, "channels": 1}
TRILLION = 10**12
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return dict(build("resnet", **SMALL).state_dict())


@pytest.fixture
def canary(tmp_path):
    """A file that payloads would make; it must not be there in the end."""
    yield tmp_path / "canary"
    assert not (tmp_path / "canary").exists()


def content(weights, /, **changes):
    """What is in a checkpoint of ours, but for these changes."""
    whole = Checkpoint("resnet", dict(SMALL), weights, data={"name": "digits"}, versions={"torch": "2"})
    return {name: value for name, value in {**vars(whole), **changes}.items() if name != "sha256"}


def put(path, value, **options):
    torch.save(value, path, **options)
    return path


def opened(path, network=None):
    """Load and build, which is what every command does with a checkpoint."""
    return load(path, network).restore(network)


# Payloads

CALLS = {
    "os.system": lambda canary: Call(os.system, f"touch {canary}"),
    "eval": lambda canary: Call(builtins.eval, f"open({str(canary)!r}, 'w')"),
    "exec": lambda canary: Call(builtins.exec, f"open({str(canary)!r}, 'w')"),
    "open": lambda canary: Call(builtins.open, str(canary), "w"),
    "subprocess": lambda canary: Call(subprocess.call, ["touch", str(canary)]),
    "pathlib": lambda canary: Call(Path.touch, Path(canary)),
    "shutil": lambda canary: Call(shutil.copy, "/dev/null", str(canary)),
    "torch.load": lambda canary: Call(torch.load, str(canary)),
    "torch.hub": lambda canary: Call(torch.hub.load, "a/b", "c"),
    "torch.save": lambda canary: Call(torch.save, 1, str(canary)),
    "getattr": lambda canary: Call(getattr, 1, "real"),
    "bytearray": lambda canary: Call(bytearray, TRILLION),
    "a network": lambda canary: nn.Linear(2, 2),
}
PLACES = {
    "alone": lambda payload, weights: payload,
    "weight": lambda payload, weights: content({**weights, "stem.0.weight": payload}),
    "metadata": lambda payload, weights: content(weights, versions={"metadata": payload}),
    "arguments": lambda payload, weights: content(weights, arguments={"depth": payload}),
    "deep": lambda payload, weights: content(weights, history={"epoch": [[[(payload,)]]]}),
    "state dict": lambda payload, weights: {"state_dict": weights, "epoch": payload},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("call", CALLS)
def test_a_payload_is_not_run(weights, canary, tmp_path, call, place):
    path = put(tmp_path / "a.pt", PLACES[place](CALLS[call](canary), weights))
    complaint(opened, path)
    complaint(saved.load, path)


@pytest.mark.parametrize("call", ["os.system", "eval"])
def test_a_payload_in_an_old_file_or_a_bare_pickle_is_not_run(canary, tmp_path, call):
    payload = CALLS[call](canary)
    for name, write in {
        "old.pt": lambda path: torch.save({"a": payload}, path, _use_new_zipfile_serialization=False),
        "bare.pt": lambda path: path.write_bytes(pickle.dumps(payload)),
        "late.pt": lambda path: path.write_bytes(pickle.dumps({}) + pickle.dumps(payload)),
        "named.safetensors": lambda path: path.write_bytes(pickle.dumps(payload)),
    }.items():
        write(tmp_path / name)
        complaint(opened, tmp_path / name)


# What is in the place of what train.py writes

WILD = {
    "none": None,
    "number": 7,
    "negative": -1,
    "fraction": 0.5,
    "nan": float("nan"),
    "huge": 10**5000,
    "word": "resnet\x1b[31m",
    "list": [1, "a", None],
    "dict": {"depth": [8]},
    "odd keys": {1: 2},
    "tensor": torch.zeros(3),
    "bytes": b"\x00\xff",
    "set": {1, 2},
    "dtype": torch.float32,
    "nested": [[[[[[[[[[[[1]]]]]]]]]]]],
    "long": ["a" * 2_000_000],
}
FIELDS = ("network", "arguments", "weights", "data", "training", "history", "final", "state", "versions", "format")
# What may be so.
FINE = {("state", "none"), ("data", "dict"), ("training", "dict"), ("history", "dict"), ("versions", "dict")}


@pytest.mark.parametrize("kind", WILD)
@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_another_type_is_refused_or_has_no_effect(weights, tmp_path, field, kind):
    path = put(tmp_path / "a.pt", content(weights, **{field: WILD[kind]}))
    if (field, kind) in FINE:
        opened(path)
    else:
        complaint(opened, path)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_missing_is_refused_or_empty(weights, tmp_path, field):
    whole = content(weights)
    del whole[field]
    path = put(tmp_path / "a.pt", whole)
    if field in ("network", "arguments", "weights", "format"):
        complaint(opened, path)
    else:
        opened(path)


def endless():
    content = []
    content.append(content)
    return content


def laughs():
    content = ["a"]
    for _ in range(60):
        content = [content] * 10
    return content


@pytest.mark.parametrize("make", [endless, laughs])
@pytest.mark.parametrize("field", FIELDS)
def test_lists_that_hold_each_other_are_refused(weights, tmp_path, make, field):
    path = put(tmp_path / "a.pt", content(weights, **{field: {"a": make()}}))
    complaint(opened, path)
    complaint(saved.load, put(tmp_path / "b.pt", make()))


NETWORKS = {
    "import path": {"network": "os:system", "arguments": {"command": "touch canary"}},
    "its own import path": {"network": "torch.nn:Linear", "arguments": {"in_features": 2, "out_features": 2}},
    "path": {"network": "../../etc/passwd"},
    "spaces": {"network": "resnet os:system"},
    "empty": {"network": ""},
    "dunder": {"network": "__import__"},
    "unknown": {"network": "resnext"},
    "deep": {"arguments": {**SMALL, "depth": 6 * 10**9 + 2}},
    "deep without end": {"arguments": {**SMALL, "depth": 6 * 10**18 + 2}},
    "wide": {"arguments": {**SMALL, "width": 10**9}},
    "rather wide": {"arguments": {**SMALL, "width": 2000}},
    "wide without end": {"arguments": {**SMALL, "width": 10**18}},
    "classes": {"arguments": {**SMALL, "classes": 10**10}},
    "channels": {"arguments": {**SMALL, "channels": 10**10}},
    "deep plain": {"network": "plain", "arguments": {**SMALL, "depth": 6 * 10**9 + 2}},
    "deep vgg": {"network": "vgg", "arguments": {"depth": 10**9, "constant": True, "width": 1}},
    "wide vgg": {"network": "vgg", "arguments": {"width": 10**6}},
    "deep densenet": {"network": "densenet", "arguments": {"depth": 3 * 10**9 + 4, "growth": 1}},
    "growing densenet": {"network": "densenet", "arguments": {"growth": 10**9}},
    "gate": {"arguments": {**SMALL, "join": "channel-gate", "gate_bias": "a"}},
    "gate of lists": {"arguments": {**SMALL, "join": "exclusive-gate", "gate_bias": [[]]}},
    "unknown argument": {"arguments": {**SMALL, "pretrained": True}},
    "argument of no name": {"arguments": {**SMALL, "": 1}},
    "self": {"arguments": {**SMALL, "self": 1}},
    "depth of words": {"arguments": {**SMALL, "depth": "8"}},
    "depth of truth": {"arguments": {**SMALL, "depth": True}},
    "negative depth": {"arguments": {**SMALL, "depth": -4}},
    "negative width": {"arguments": {**SMALL, "width": -2}},
    "mean of words": {"data": {"name": "digits", "mean": ["a"], "std": ["b"]}},
    "mean of lists": {"data": {"name": "digits", "mean": [[0.0]], "std": [[1.0]]}},
    "name of numbers": {"data": {"name": 3}},
    "epoch of words": {"state": {"epoch": "a"}},
    "no epoch": {"state": {}},
    "view in a state": {"state": {"epoch": 1, "optimizer": {"state": {0: {"a": torch.zeros(1).expand(TRILLION)}}}}},
    "history of words": {"history": {"epoch": ["a"]}},
    "final of numbers": {"final": {"train": 3}},
    "final of words": {"final": {split: {"loss": "a", "accuracy": "b"} for split in ("train", "test")}},
    "half of a final": {"final": {"train": {"loss": 1.0, "accuracy": 0.5}}},
    "history of a tuple": {"history": {"epoch": (1, 2)}},
    "negative epoch": {"state": {"epoch": -1}},
    "seed of words": {"training": {"seed": "a"}},
    "format of tomorrow": {"format": 2},
    "format of weights alone": {"format": 0},
    "another field": {"extra": 1},
}


@pytest.mark.parametrize("case", NETWORKS)
def test_what_a_checkpoint_says_of_itself_is_not_believed(weights, canary, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    complaint(opened, put(tmp_path / "a.pt", content(weights, **NETWORKS[case])))


def test_a_network_of_the_users_own_is_no_larger_than_the_memory(weights, tmp_path):
    arguments = {"in_features": 10**7, "out_features": 10**7}
    path = put(tmp_path / "a.pt", content(weights, network="torch.nn:Linear", arguments=arguments))
    complaint(opened, path, "torch.nn:Linear")
    arguments = {"input_size": 1, "hidden_size": 10**7}
    path = put(tmp_path / "b.pt", content(weights, network="torch.nn:RNN", arguments=arguments))
    complaint(opened, path, "torch.nn:RNN")


# Tensors

TENSORS = {
    "trillion": lambda: torch.zeros(1).expand(TRILLION),
    "view": lambda: torch.zeros(1).expand(64, 64, 64),
    "meta": lambda: torch.empty(2, 1, 3, 3, device="meta"),
    "huge meta": lambda: torch.empty(10**6, 10**6, device="meta"),
    "sparse": lambda: torch.sparse_coo_tensor([[0], [0]], [1.0], (10**6, 10**6)),
    "small sparse": lambda: torch.eye(2).to_sparse(),
    "csr": lambda: torch.eye(2).to_sparse_csr(),
    "quantised": lambda: torch.quantize_per_tensor(torch.zeros(2, 1, 3, 3), 0.1, 0, torch.qint8),
    "nan": lambda: torch.full((2, 1, 3, 3), float("nan")),
    "infinite": lambda: torch.full((2, 1, 3, 3), float("inf")),
    "complex": lambda: torch.zeros(2, 1, 3, 3, dtype=torch.complex64),
    "int8": lambda: torch.zeros(2, 1, 3, 3, dtype=torch.int8),
    "int64": lambda: torch.zeros(2, 1, 3, 3, dtype=torch.int64),
    "bool": lambda: torch.zeros(2, 1, 3, 3, dtype=torch.bool),
    "shape": lambda: torch.zeros(2, 3, 3, 3),
    "scalar": lambda: torch.tensor(1.0),
    "empty": lambda: torch.zeros(0),
    "number": lambda: 1.0,
    "nothing": lambda: None,
    "list": lambda: [0.0] * 18,
    "word": lambda: "weights",
}


@pytest.mark.parametrize("kind", TENSORS)
def test_a_tensor_that_is_no_weight_is_refused(weights, tmp_path, kind):
    tensor = TENSORS[kind]()
    complaint(opened, put(tmp_path / "a.pt", content({**weights, "stem.0.weight": tensor})))
    complaint(lambda: opened_as_resnet(put(tmp_path / "b.pt", {**weights, "stem.0.weight": tensor})))
    if kind not in ("shape", "scalar", "empty", "complex"):  # which are those of some network
        complaint(saved.load, put(tmp_path / "c.pt", [{"stem.0.weight": tensor}]))


def opened_as_resnet(path):
    found = load(path, "resnet")
    found.arguments = {**SMALL}
    return found.restore("resnet")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_another_precision_are_taken(weights, tmp_path, dtype):
    other = {name: t.to(dtype) if t.is_floating_point() else t for name, t in weights.items()}
    assert next(opened(put(tmp_path / "a.pt", content(other))).parameters()).dtype == torch.float32


NAMES = {
    "renamed": lambda w: {name.replace("stages.", "parts."): t for name, t in w.items()},
    "prefixed in part": lambda w: {(f"x.{n}" if n.startswith("stages.") else n): t for n, t in w.items()},
    "one missing": lambda w: dict(list(w.items())[1:]),
    "one more": lambda w: {**w, "more": torch.zeros(1)},
    "none": lambda w: {},
    "a number": lambda w: {**w, 3: torch.zeros(1)},
    "a tuple": lambda w: {**w, ("a",): torch.zeros(1)},
    "line ends": lambda w: {**w, "a\n\x1b]0;title\x07b": torch.zeros(1)},
    "long": lambda w: {**w, "a" * 10**6: torch.zeros(1)},
    "dots": lambda w: {**w, "." * 10**5: torch.zeros(1)},
    "many": lambda w: {**w, **{f"a{i}": torch.zeros(()) for i in range(300)}},
    "dunder": lambda w: {**w, "__class__": torch.zeros(1)},
}


@pytest.mark.parametrize("case", NAMES)
def test_weights_under_other_names_are_refused(weights, tmp_path, case):
    complaint(opened, put(tmp_path / "a.pt", content(NAMES[case](weights))))
    complaint(lambda: opened_as_resnet(put(tmp_path / "b.pt", NAMES[case](weights))))


THEIRS = {
    "scalar stem": {"conv1.weight": torch.tensor(1.0)},
    "no shape": {"layer1.0.conv1.weight": torch.tensor(1.0)},
    "no head": {"fc.weight": torch.tensor(1.0)},
    "stem of nothing": {"conv1.weight": torch.zeros(0, 3, 3, 3), "bn1.weight": torch.zeros(0)},
    "far stage": {"layer999999999.0.conv1.weight": torch.zeros(1)},
    "far block": {"layer1.999999999.conv1.weight": torch.zeros(1)},
    "block of many digits": {f"layer1.{'9' * 5000}.conv1.weight": torch.zeros(1)},
    "bottlenecks": {"layer1.0.conv3.weight": torch.zeros(1)},
}


@pytest.mark.parametrize("case", THEIRS)
def test_weights_under_the_names_of_others_are_refused(tmp_path, case):
    whole = {"conv1.weight": torch.zeros(4, 3, 3, 3), "bn1.weight": torch.zeros(4), "bn1.bias": torch.zeros(4)}
    for stage in (1, 2, 3):
        for part in ("conv1", "conv2"):
            whole[f"layer{stage}.0.{part}.weight"] = torch.zeros(4, 4, 3, 3)
            whole[f"layer{stage}.0.bn{part[-1]}.weight"] = torch.zeros(4)
    path = put(tmp_path / "a.pt", {**whole, **THEIRS[case]})
    complaint(lambda: load(path, "resnet").restore("resnet"))


def test_a_name_in_the_place_of_a_method_is_not_called(weights, tmp_path):
    tensor = weights["stem.0.weight"].clone()
    for name in ("isfinite", "is_floating_point", "clone", "to", "copy_"):
        setattr(tensor, name, "not a function")
    taken = opened(put(tmp_path / "a.pt", content({**weights, "stem.0.weight": tensor})))
    assert torch.equal(taken.state_dict()["stem.0.weight"], weights["stem.0.weight"])


def test_metadata_of_a_state_dict_are_not_looked_at(weights, tmp_path):
    odd = collections.OrderedDict(weights)
    odd._metadata = "not a dict"
    opened(put(tmp_path / "a.pt", content(odd)))


# Archives

CLAIMS = {
    "numel": Claim(numel=10**6, size=(10**6,)),
    "trillion": Claim(numel=TRILLION, size=(TRILLION,)),
    "negative numel": Claim(numel=-4),
    "size": Claim(size=(10**6,)),
    "trillion of size": Claim(size=(TRILLION,)),
    "expanded": Claim(size=(TRILLION,), stride=(0,)),
    "negative size": Claim(size=(-4,)),
    "negative stride": Claim(stride=(-1,)),
    "fraction of a size": Claim(size=(1.5,)),
    "sizes without strides": Claim(size=(2, 2), stride=(1,)),
    "offset": Claim(offset=10**9),
    "negative offset": Claim(offset=-1),
    "no storage": Claim(key="9"),
    "storage elsewhere": Claim(key="../../../etc/passwd"),
    "storage of numbers": Claim(key=3),
    "type of storage": Claim(storage="FloatStorage"),
    "sizes that overflow": Claim(size=(2**40, 2**40), stride=(0, 0)),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_a_tensor_that_claims_what_is_not_there_is_refused(tmp_path, case):
    path = forged(tmp_path / "a.pt", {"w": CLAIMS[case]})
    complaint(load, path, "resnet")
    complaint(load, path, "resnet", lazy=True)
    complaint(saved.load, path)


def bomb(path, size=2 * 10**7):
    """Zeros, a thousandfold smaller in the file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}))
        with archive.open("a/data/0", "w") as member:
            for _ in range(size // 10**7):
                member.write(bytes(10**7))


def lying(path, size=TRILLION):
    """An entry that says that it inflates to a trillion bytes."""
    forged(path, {"w": Claim()})
    raw = bytearray(path.read_bytes())
    place = raw.rindex(b"PK\x01\x02", 0, raw.rindex(b"PK\x05\x06"))
    raw[place + 24 : place + 28] = struct.pack("<I", min(size, 2**32 - 2))
    path.write_bytes(raw)


def twice(path):
    forged(path, {"w": Claim()})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/data/0", bytes(16))


def overlapping(path):
    """Many entries that are the same bytes of the file."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", bytes(10**5))
        for number in range(100):
            entry = zipfile.ZipInfo(f"a/data/{number}")
            entry.file_size = entry.compress_size = 10**5
            entry.header_offset = entry.CRC = 0
            archive.filelist.append(entry)
            archive.NameToInfo[entry.filename] = entry
        archive._didModify = True


ARCHIVES = {
    "bomb": bomb,
    "bomb of a pickle": lambda path: forged(path, {"a" * 10**7: Claim()}, kind=zipfile.ZIP_DEFLATED),
    "compressed": lambda path: forged(path, {"w": Claim()}, kind=zipfile.ZIP_DEFLATED),
    "compressed by bzip2": lambda path: forged(path, {"w": Claim()}, kind=zipfile.ZIP_BZIP2),
    "compressed by lzma": lambda path: forged(path, {"w": Claim()}, kind=zipfile.ZIP_LZMA),
    "lying": lying,
    "twice": twice,
    "overlapping": overlapping,
    "other byte order": lambda path: forged(path, {"w": Claim(numel=10**6, size=(10**6,))}, more={"byteorder": b"big"}),
    "unknown byte order": lambda path: forged(path, {"w": Claim()}, more={"byteorder": b"\xff\xfe"}),
    "alignment": lambda path: forged(path, {"w": Claim()}, more={".storage_alignment": b"x"}),
    "no pickle": lambda path: zipfile.ZipFile(path, "w").writestr("a/data/0", bytes(16)),
    "no entries": lambda path: zipfile.ZipFile(path, "w").close(),
    "parents": lambda path: zipfile.ZipFile(path, "w").writestr("../../data.pkl", bytes(16)),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello\n"),
    "zeros": lambda path: path.write_bytes(bytes(10**6)),
    "half a signature": lambda path: path.write_bytes(b"PK"),
    "signature": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
    "end of an archive": lambda path: path.write_bytes(b"PK\x05\x06" + bytes(18)),
    "hdf5": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(1000)),
    "gzip": lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(100)),
    "tar": lambda path: path.write_bytes(b"storages" + bytes(249) + b"ustar" + bytes(1000)),
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "loop": lambda path: path.symlink_to(path),
    "nowhere": lambda path: path.symlink_to(path.with_name("nowhere")),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "nothing": lambda path: None,
    "larger than the memory": lambda path: (path.touch(), os.truncate(path, 2**43)),
    "script": lambda path: torch.jit.script(nn.Linear(2, 2)).save(path),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_a_file_that_is_no_sound_archive_is_refused(tmp_path, case):
    ARCHIVES[case](path := tmp_path / "a.pt")
    complaint(load, path, "resnet")
    complaint(load, path, "resnet", lazy=True)
    complaint(saved.load, path)


def old(path, numel=4, size=4, stride=1, read=4):
    """A file as before torch 1.6, whose numbers are others: of the storage, of the tensor, before the bytes."""
    torch.save({"w": torch.zeros(4)}, path, _use_new_zipfile_serialization=False)
    raw = path.read_bytes()
    for before, after, number in (
        (b"q\x06K\x04", b"N", numel),
        (b"QK\x00K\x04", b"\x85", size),
        (b"q\x08K\x01", b"\x85", stride),
    ):
        assert raw.count(before + after) == 1
        raw = raw.replace(before + after, before[:-2] + b"\x8a\x08" + struct.pack("<q", number) + after)
    path.write_bytes(raw[:-24] + struct.pack("<q", read) + bytes(16))
    return path


OLD = {
    "storage": {"numel": TRILLION},
    "storage and length": {"numel": TRILLION, "read": TRILLION},
    "all": {"numel": TRILLION, "size": TRILLION, "read": TRILLION},
    "length": {"read": TRILLION},
    "size": {"size": TRILLION},
    "view": {"size": TRILLION, "stride": 0},
    "negative storage": {"numel": -4},
    "negative size": {"size": -4},
    "negative length": {"read": -4},
}


def test_an_old_file_is_still_read(tmp_path):
    assert torch.equal(load(old(tmp_path / "a.pt"), "resnet").weights["w"], torch.zeros(4))


@pytest.mark.parametrize("case", OLD)
def test_an_old_file_that_claims_what_is_not_there_is_refused(tmp_path, case):
    path = old(tmp_path / "a.pt", **OLD[case])
    complaint(load, path, "resnet")
    complaint(saved.load, path)


PICKLES = {
    "old, numel": b"\x80\x02}U\x01aK\x01s.",
    "stop": b".",
    "no stop": b"\x80\x02}",
    "protocol": b"\x80\xff.",
    "memo": b"\x80\x02}r\xff\xff\xff\x7f.",
    "get": b"\x80\x02j\xff\xff\xff\x7f.",
    "pop": b"\x80\x020000.",
    "marks": b"(" * 10**5 + b".",
    "long": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "word": b"\x80\x02X\xff\xff\xff\x7fa.",
    "frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "global": b"\x80\x02cos\nsystem\n.",
    "reduce": b"\x80\x02cos\nsystem\nU\x04true\x85R.",
    "inst": b"(S'true'\nios\nsystem\n.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent": b"\x80\x02}Q.",
    "build": b"\x80\x02}}b.",
}


@pytest.mark.parametrize("case", PICKLES)
@pytest.mark.parametrize("kind", ["bare", "archive"])
def test_a_pickle_that_is_none_is_refused(tmp_path, case, kind):
    path = tmp_path / "a.pt"
    if kind == "bare":
        path.write_bytes(PICKLES[case])
    else:
        forged(path, {}, more={"data.pkl": PICKLES[case]})
    complaint(load, path, "resnet")
    complaint(saved.load, path)


# Safetensors


def header(text, path, length=None, tail=bytes(64)):
    raw = text if isinstance(text, bytes) else json.dumps(text).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + tail)


def entry(**changes):
    return {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16], **changes}}


SAFETENSORS = {
    "length 2**63": (entry(), 2**63),
    "length 2**64 - 1": (entry(), 2**64 - 1),
    "length of 99 MB": (entry(), 99 * 10**6),
    "length 0": (entry(), 0),
    "length 1": (entry(), 1),
    "offsets the other way round": (entry(data_offsets=[16, 0]), None),
    "negative offset": (entry(data_offsets=[-16, 0]), None),
    "offset beyond": (entry(data_offsets=[0, 10**12]), None),
    "offset too large": (entry(data_offsets=[0, 2**70]), None),
    "one offset": (entry(data_offsets=[0]), None),
    "offsets of words": (entry(data_offsets=["0", "16"]), None),
    "shape beyond": (entry(shape=[10**12]), None),
    "shape that overflows": (entry(shape=[2**40, 2**40]), None),
    "negative shape": (entry(shape=[-4]), None),
    "shape of words": (entry(shape=["4"]), None),
    "no shape": ({"w": {"dtype": "F32", "data_offsets": [0, 16]}}, None),
    "unknown type": (entry(dtype="F128"), None),
    "type of numbers": (entry(dtype=32), None),
    "overlapping": ({**entry(), "v": entry()["w"]}, None),
    "a gap": ({"v": {"dtype": "F32", "shape": [4], "data_offsets": [48, 64]}}, None),
    "a list": ([1, 2], None),
    "a number": (3, None),
    "nothing": ({}, None),
    "metadata of numbers": ({"__metadata__": {"a": 1}, **entry()}, None),
    "not UTF-8": (b'{"\xff\xfe": {}}', None),
    "not JSON": (b"hello", None),
    "deep": (b"[" * 10**5 + b"]" * 10**5, None),
    "deep names": (b'{"a":' * 10**5 + b"1" + b"}" * 10**5, None),
    "cut": (b'{"w": {"dtype": "F32", "shape": [4', None),
    "name twice": (b'{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},' * 2 + b"}", None),
}


@pytest.mark.parametrize("case", SAFETENSORS)
def test_a_header_of_safetensors_that_lies_is_refused(tmp_path, case):
    text, length = SAFETENSORS[case]
    header(text, tmp_path / "a.safetensors", length)
    complaint(load, tmp_path / "a.safetensors", "resnet")
    complaint(load, tmp_path / "a.safetensors", "resnet", lazy=True)


@pytest.mark.parametrize(
    "case", ["empty", "folder", "pipe", "device", "loop", "larger than the memory", "text", "zeros"]
)
def test_a_file_that_is_no_safetensors_is_refused(tmp_path, case):
    ARCHIVES[case](path := tmp_path / "a.safetensors")
    complaint(load, path, "resnet")


# Damage


@pytest.fixture(scope="module")
def whole(weights, tmp_path_factory):
    """Sound files, as bytes."""
    folder = tmp_path_factory.mktemp("whole")
    checkpoint = Checkpoint("resnet", dict(SMALL), weights, data={"name": "digits"}, history={"epoch": [1]})
    save(checkpoint, folder / "ours.pt")
    torch.save(weights, folder / "theirs.pt")
    torch.save(weights, folder / "old.pt", _use_new_zipfile_serialization=False)
    pytest.importorskip("safetensors.torch").save_file(weights, folder / "theirs.safetensors")
    saved.save([{"stem.0.weight": torch.ones(2, 1, 3, 3)}] * 2, folder / "directions.pt")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["ours.pt", "theirs.pt", "old.pt", "theirs.safetensors", "directions.pt"])
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_file_is_taken_or_refused_but_never_a_crash(whole, tmp_path_factory, name, data):
    raw = bytearray(whole[name])
    head = data.draw(st.booleans(), "near the beginning")  # where the structure is
    for _ in range(data.draw(st.integers(0, 3), "bytes")):
        place = data.draw(st.integers(0, (min(len(raw), 3000) if head else len(raw)) - 1), "place")
        raw[place] = data.draw(st.integers(0, 255), "value")
    if data.draw(st.booleans(), "cut"):
        raw = raw[: data.draw(st.integers(0, len(raw)), "length")]
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(raw)
    try:
        with bounded():
            saved.load(path) if name == "directions.pt" else opened_as_resnet(path)
    except BadInput:
        pass


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(FIELDS), PLAIN, min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_a_checkpoint_of_any_values_is_taken_or_refused(weights, tmp_path_factory, changes):
    path = put(tmp_path_factory.mktemp("any") / "a.pt", content(weights, **changes))
    try:
        with bounded():
            opened(path)
    except BadInput:
        pass


# Whole commands


@pytest.fixture
def folder(weights, tmp_path):
    """A folder with a sound checkpoint, and others."""
    put(tmp_path / "net.pt", content(weights))
    torch.save({"a": Call(os.system, f"touch {tmp_path}/canary")}, tmp_path / "payload.pt")
    put(tmp_path / "path.pt", content(weights, **NETWORKS["import path"]))
    put(tmp_path / "deep.pt", content(weights, **NETWORKS["deep"]))
    put(tmp_path / "wide.pt", content(weights, **NETWORKS["wide"]))
    put(tmp_path / "nan.pt", content({**weights, "stem.0.weight": TENSORS["nan"]()}))
    put(tmp_path / "view.pt", content({**weights, "stem.0.weight": TENSORS["trillion"]()}))
    put(tmp_path / "a\n\x1b[31mb.pt", 3)
    bomb(tmp_path / "bomb.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    put(tmp_path / "directions.pt", [{"stem.0.weight": TENSORS["nan"]()}])
    yield tmp_path
    assert not (tmp_path / "canary").exists()


HOSTILE = ("payload.pt", "path.pt", "deep.pt", "wide.pt", "nan.pt", "view.pt", "a\n\x1b[31mb.pt", "bomb.pt", "pipe.pt")
ASKED = {
    "surface": lambda file: (file, "out.h5"),
    "surface to": lambda file: ("net.pt", "out.h5", "--to", file),
    "surface along": lambda file: ("net.pt", "out.h5", "--along", file),
    "lesion": lambda file: (file, "out.h5"),
    "curvature": lambda file: (file, "out.h5"),
    "paths": lambda file: (file, "out.h5"),
    "sharpness": lambda file: (file, "out.h5"),
    "redundancy": lambda file: (file, "out.h5"),
    "trajectory": lambda file: ("net.pt", "out.h5", "--snapshots", file, "net.pt"),
    "flow": lambda file: ("out.h5", "--checkpoints", file),
    "reuse": lambda file: (file, "out.h5"),
    "convert": lambda file: (file, "out.h5", "--checkpoint", "net.pt"),
    "train": lambda file: (file, "--depth", 8, "--width", 2, "--epochs", 1, "--examples", 20),
}


@pytest.mark.parametrize("asked", ASKED)
def test_every_command_that_reads_checkpoints_refuses_them(folder, asked):
    for file in HOSTILE:
        if (asked, file) in {
            ("surface to", "nan.pt"),
            ("surface to", "path.pt"),
            ("surface to", "deep.pt"),
            ("surface to", "wide.pt"),
        }:
            continue  # of the other end only the weights are looked at
        refused(asked.split()[0], *ASKED[asked](file), folder=folder)


STRANGE = ("strange:f", "strange.npz", "strange", "/dev/zero", "\x1b[31m\n")


@pytest.mark.parametrize("asked", ["surface", "lesion", "curvature", "paths", "sharpness", "redundancy", "flow"])
@pytest.mark.parametrize("name", STRANGE)
def test_data_that_only_a_checkpoint_names_are_neither_imported_nor_opened(weights, tmp_path, asked, name):
    sys.modules.pop("strange", None)  # of a case that failed
    (tmp_path / "strange.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\n")
    put(tmp_path / "odd.pt", content(weights, data={"name": name}))
    for more in ((), ("--data", "")):
        refused(asked, *ASKED[asked]("odd.pt"), *more, folder=tmp_path)
    put(tmp_path / "odd.pt", content(weights, data={}))
    assert "does not say what it was trained on" in refused(asked, *ASKED[asked]("odd.pt"), folder=tmp_path)
    assert not (tmp_path / "canary").exists()


# What a training goes on from

TRAINED = ("--depth", 8, "--width", 2, "--epochs", 2, "--examples", 20, "--quiet")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """What a training saves that is stopped after its last epoch, before the end."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:

        def full(*_):
            raise BadInput("no room")

        script("train")
        patch.setattr(sys.modules["landscape.train"], "measure", full)  # what is measured in the end
        assert ran("train", "a.pt", *TRAINED, "--save-every", 0, folder=folder)[0] == 2
    whole = torch.load(folder / "a.pt", weights_only=True)
    assert whole["state"]["epoch"] == 2
    return whole


def optimizer(stopped, change):
    """The same, but for what the optimizer kept."""
    kept = copy.deepcopy(stopped["state"])
    change(kept["optimizer"])
    return {**stopped, "state": kept}


BEGUN = {
    "no optimizer": lambda s: {**s, "state": {"epoch": 1}},
    "optimizer of numbers": lambda s: {**s, "state": {"epoch": 1, "optimizer": 3}},
    "nothing kept": lambda s: {**s, "state": {"epoch": 1, "optimizer": {}}},
    "kept of another weight": lambda s: optimizer(s, lambda o: o["state"].update({10**6: o["state"][0]})),
    "kept of no weight": lambda s: optimizer(s, lambda o: o["state"].update({"a": o["state"][0]})),
    "kept in a list": lambda s: optimizer(s, lambda o: o.update(state=[1])),
    "no buffer": lambda s: optimizer(s, lambda o: o["state"][0].clear()),
    "buffer of words": lambda s: optimizer(s, lambda o: o["state"][0].update(momentum_buffer="a")),
    "buffer of a shape": lambda s: optimizer(s, lambda o: o["state"][0].update(momentum_buffer=torch.zeros(3))),
    "buffer of another": lambda s: optimizer(s, lambda o: o["state"][0].update(exp_avg=torch.zeros(3))),
    "buffer on no device": lambda s: optimizer(
        s, lambda o: o["state"][0].update(momentum_buffer=torch.zeros(2, 1, 3, 3, device="meta"))
    ),
    "epoch of words": lambda s: {**s, "state": {**s["state"], "epoch": "a"}},
    "negative epoch": lambda s: {**s, "state": {**s["state"], "epoch": -3}},
    "a weight less": lambda s: {**s, "weights": dict([*s["weights"].items()][1:])},
    "a weight of another shape": lambda s: {**s, "weights": {**s["weights"], "stem.0.weight": torch.zeros(3)}},
    "a snapshot": lambda s: {**s, "state": None},
    "another seed": lambda s: {**s, "training": {**s["training"], "seed": "\x1b[31m"}},
    "no settings": lambda s: {**s, "training": {}},
    "other data": lambda s: {**s, "data": {"name": "strange:f"}},
}


@pytest.mark.parametrize("case", BEGUN)
def test_a_training_does_not_go_on_from_what_is_no_training(stopped, tmp_path, case):
    put(tmp_path / "a.pt", BEGUN[case](stopped))
    refused("train", "a.pt", *TRAINED, folder=tmp_path)


def test_a_training_goes_on_whatever_settings_the_optimizer_claims(stopped, tmp_path):
    wild = {**stopped["state"], "optimizer": {**stopped["state"]["optimizer"], "param_groups": ["a"]}}
    put(tmp_path / "a.pt", {**stopped, "state": wild})
    assert ran("train", "a.pt", *TRAINED, folder=tmp_path) == (0, "")


def test_a_bomb_is_refused_in_little_memory(tmp_path):
    """In a process of its own, for what it takes at most."""
    bomb(tmp_path / "bomb.pt", 3 * 10**8)
    forged(tmp_path / "claim.pt", {"w": Claim(size=(TRILLION,), stride=(0,))})
    old(tmp_path / "old.pt", numel=10**8, size=10**8, read=10**8)
    program = (
        "import resource, sys; from landscape.checkpoint import load; from landscape.errors import BadInput\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try: load(path, 'resnet'); sys.exit('taken')\n"
        "    except BadInput: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    files = [str(tmp_path / name) for name in ("bomb.pt", "claim.pt", "old.pt")]
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100_000  # kB
