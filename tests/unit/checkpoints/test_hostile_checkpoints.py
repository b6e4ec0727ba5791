"""A checkpoint runs nothing, and one that is damaged, cut off or another program's is refused in one line."""

import builtins
import copy
import os
import pickle
import sys
import zipfile

import pytest
import torch
from hostile import Call, bounded, complaint, ran, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from typed import script

from landscape.checkpoints.checkpoint import Checkpoint, load, save
from landscape.errors import BadInput
from landscape.networks import build
from landscape.planes import direction_files as saved

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
    "open": lambda canary: Call(builtins.open, str(canary), "w"),
    "getattr": lambda canary: Call(getattr, 1, "real"),
    "a network": lambda canary: nn.Linear(2, 2),
}
PLACES = {
    "alone": lambda payload, weights: payload,
    "weight": lambda payload, weights: content({**weights, "stem.0.weight": payload}),
    "metadata": lambda payload, weights: content(weights, versions={"metadata": payload}),
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
    "word": "resnet\x1b[31m",
    "list": [1, "a", None],
    "tensor": torch.zeros(3),
}
FIELDS = ("network", "arguments", "weights", "data", "training", "history", "final", "state", "versions", "format")
# What may be so.
FINE = {("state", "none")}


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


NETWORKS = {
    "import path": {"network": "os:system", "arguments": {"command": "touch canary"}},
    "its own import path": {"network": "torch.nn:Linear", "arguments": {"in_features": 2, "out_features": 2}},
    "unknown": {"network": "resnext"},
    "deep": {"arguments": {**SMALL, "depth": 6 * 10**9 + 2}},
    "wide": {"arguments": {**SMALL, "width": 10**9}},
    "unknown argument": {"arguments": {**SMALL, "pretrained": True}},
    "depth of words": {"arguments": {**SMALL, "depth": "8"}},
    "negative depth": {"arguments": {**SMALL, "depth": -4}},
    "name of numbers": {"data": {"name": 3}},
    "no epoch": {"state": {}},
    "half of a final": {"final": {"train": {"loss": 1.0, "accuracy": 0.5}}},
    "format of tomorrow": {"format": 2},
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
    "meta": lambda: torch.empty(2, 1, 3, 3, device="meta"),
    "sparse": lambda: torch.sparse_coo_tensor([[0], [0]], [1.0], (10**6, 10**6)),
    "quantised": lambda: torch.quantize_per_tensor(torch.zeros(2, 1, 3, 3), 0.1, 0, torch.qint8),
    "nan": lambda: torch.full((2, 1, 3, 3), float("nan")),
    "bool": lambda: torch.zeros(2, 1, 3, 3, dtype=torch.bool),
    "shape": lambda: torch.zeros(2, 3, 3, 3),
    "empty": lambda: torch.zeros(0),
    "list": lambda: [0.0] * 18,
}


@pytest.mark.parametrize("kind", TENSORS)
def test_a_tensor_that_is_no_weight_is_refused(weights, tmp_path, kind):
    tensor = TENSORS[kind]()
    complaint(opened, put(tmp_path / "a.pt", content({**weights, "stem.0.weight": tensor})))
    complaint(lambda: opened_as_resnet(put(tmp_path / "b.pt", {**weights, "stem.0.weight": tensor})))
    if kind not in ("shape", "scalar", "empty", "complex"):  # which are those of some network
        complaint(saved.load, put(tmp_path / "c.pt", [{"stem.0.weight": tensor}]))


def opened_as_resnet(path):
    loaded = load(path, "resnet")
    loaded.arguments = {**SMALL}
    return loaded.restore("resnet")


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
}


@pytest.mark.parametrize("case", NAMES)
def test_weights_under_other_names_are_refused(weights, tmp_path, case):
    complaint(opened, put(tmp_path / "a.pt", content(NAMES[case](weights))))
    complaint(lambda: opened_as_resnet(put(tmp_path / "b.pt", NAMES[case](weights))))


# Archives


def compressed(path):
    """A checkpoint that somebody has unpacked and packed again."""
    torch.save({"w": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in entries.items():
            archive.writestr(name, value)


ARCHIVES = {
    "compressed": compressed,
    "no pickle": lambda path: zipfile.ZipFile(path, "w").writestr("a/data/0", bytes(16)),
    "no entries": lambda path: zipfile.ZipFile(path, "w").close(),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello\n"),
    "zeros": lambda path: path.write_bytes(bytes(10**6)),
    "half a signature": lambda path: path.write_bytes(b"PK"),
    "signature": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
    "hdf5": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(1000)),
    "tar": lambda path: path.write_bytes(b"storages" + bytes(249) + b"ustar" + bytes(1000)),
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "nowhere": lambda path: path.symlink_to(path.with_name("nowhere")),
    "nothing": lambda path: None,
    "script": lambda path: torch.jit.script(nn.Linear(2, 2)).save(path),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_a_file_that_is_no_sound_archive_is_refused(tmp_path, case):
    ARCHIVES[case](path := tmp_path / "a.pt")
    complaint(load, path, "resnet")
    complaint(load, path, "resnet", lazy=True)
    complaint(saved.load, path)


def test_an_old_file_is_still_read(tmp_path):
    """As torch wrote them before 1.6."""
    torch.save({"w": torch.ones(4)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(load(tmp_path / "a.pt", "resnet").weights["w"], torch.ones(4))


# Safetensors


@pytest.mark.parametrize("case", ["empty", "folder", "pipe", "text", "zeros"])
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


def test_an_archive_that_claims_to_span_several_disks_is_refused(whole, tmp_path):
    """Of which Python's own look at whether a file is an archive complains."""
    raw = bytearray(whole["ours.pt"])
    locator = raw.rindex(b"PK\x06\x07")
    raw[locator + 16] = 2  # the number of disks
    (tmp_path / "a.pt").write_bytes(raw)
    assert "its archive is damaged" in complaint(opened, tmp_path / "a.pt")


@pytest.mark.parametrize("name", ["ours.pt", "theirs.pt", "old.pt", "theirs.safetensors", "directions.pt"])
@given(data=st.data())
@settings(max_examples=100, deadline=None)
@pytest.mark.slow
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
    (tmp_path / "cut.pt").write_bytes((tmp_path / "net.pt").read_bytes()[:-100])
    put(tmp_path / "a\n\x1b[31mb.pt", 3)
    os.mkfifo(tmp_path / "pipe.pt")
    put(tmp_path / "directions.pt", [{"stem.0.weight": TENSORS["nan"]()}])
    yield tmp_path
    assert not (tmp_path / "canary").exists()


HOSTILE = ("payload.pt", "path.pt", "deep.pt", "wide.pt", "nan.pt", "cut.pt", "a\n\x1b[31mb.pt", "pipe.pt")
ASKED = {
    "surface": lambda file: (file, "out.h5"),
    "surface to": lambda file: ("net.pt", "out.h5", "--to", file),
    "surface along": lambda file: ("net.pt", "out.h5", "--along", file),
    "lesion": lambda file: (file, "out.h5"),
    "curvature": lambda file: (file, "out.h5"),
    "paths": lambda file: (file, "out.h5"),
    "sharpness": lambda file: (file, "out.h5"),
    "basin": lambda file: (file, "out.h5"),
    "critical": lambda file: ("net.pt", "out.h5", "--snapshots", file),
    "redundancy": lambda file: (file, "out.h5"),
    "trajectory": lambda file: ("net.pt", "out.h5", "--snapshots", file, "net.pt"),
    "flow": lambda file: ("out.h5", "--checkpoints", file),
    "reuse": lambda file: (file, "out.h5"),
    "convert": lambda file: (file, "out.h5", "--checkpoint", "net.pt"),
    "train": lambda file: (file, "--depth", 8, "--width", 2, "--epochs", 1, "--examples", 20),
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.slow
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


STRANGE = ("strange:f", "strange.npz")


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
        patch.setattr(sys.modules["landscape.training.train"], "measure", full)  # what is measured in the end
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
    "nothing kept": lambda s: {**s, "state": {"epoch": 1, "optimizer": {}}},
    "kept of another weight": lambda s: optimizer(s, lambda o: o["state"].update({10**6: o["state"][0]})),
    "buffer of a shape": lambda s: optimizer(s, lambda o: o["state"][0].update(momentum_buffer=torch.zeros(3))),
    "negative epoch": lambda s: {**s, "state": {**s["state"], "epoch": -3}},
    "a weight less": lambda s: {**s, "weights": dict([*s["weights"].items()][1:])},
    "a snapshot of no epoch": lambda s: {**s, "state": None, "history": {}},
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
