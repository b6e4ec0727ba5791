"""A file is gone on with only by the command that made it: what differs is named, and the file stays as it is."""

import re

import pytest
from hostile import refused
from measured_twice import MADE, SCRIPT, folder

folder = pytest.fixture(scope="module")(folder)


# Of each file: what is typed instead or besides, and what is named.
DIFFERENT = {
    "surface": {
        "resnet.pt=other.pt": "checkpoint",
        "resnet.pt=plain.pt": "network is resnet-8:width=2, this command's is plain-8:width=2",
        "some.npz=else.npz": "data is some, this command's is else",
        "some.npz=again/some.npz": "data_digest",
        "20=10": "data_digest",
        "--split test": "split is train, this command's is test",
        "--split both": "second_split is nothing, this command's is test",
        "--loss mse": "loss is cross_entropy, this command's is mse",
        "--loss cross_entropy mse": "further_losses is nothing, this command's is ",
        "--weight-decay 0.1": "weight_decay is nothing, this command's is 0.1",
        "--seed 1": "seed is 0, this command's is 1",
        "--dtype bfloat16": "dtype is float32, this command's is bfloat16",
        "--tolerance 0.5": "tolerance is nothing, this command's is 0.5",
        "--batch-size 7": "batch_size",
        "--batchnorm batch": "batchnorm is frozen, this command's is batch",
        "--batchnorm recalibrated --calibration 10": "batchnorm is frozen, this command's is recalibrated",
        "--normalize layer": "directions",
        "--orthogonal": "orthogonal is nothing, this command's is True",
        "--adaptive 0.1": "adaptive is nothing, this command's is 0.1",
        "3=4": "x is 3 values from -1 to 1, this command's is 4 values from -1 to 1",
        "-1=-2": "x is 3 values from -1 to 1, this command's is 3 values from -2 to 1",
        "--z 0 1 2": "z is absent",
        "--repeats 2": "repeats is nothing, this command's is 2",
    },
    "line": {
        "other.pt=a.pt": "to is ",
        "--batchnorm frozen": "batchnorm is interpolated, this command's is frozen",
    },
    "lesion": {
        "resnet.pt=other.pt": "checkpoint",
        "--split train": "split is test, this command's is train",
        "--loss mse": "loss is cross_entropy",
        "--seed 1": "seed is 0, this command's is 1",
        "--dtype bfloat16": "dtype is float32",
        "--batchnorm recalibrated": "batchnorm is frozen, this command's is recalibrated",
        "20=10": "data_digest",
        "--trials 3": "(trial|trials) is",
    },
    "curvature": {
        "resnet.pt=other.pt": "checkpoint",
        "--split test": "split is train, this command's is test",
        "--loss mse": "loss is cross_entropy",
        "--seed 1": "seed is 0, this command's is 1",
        "2=3": "x is 2 values from -1 to 1, this command's is 3 values",
        "--data else.npz": "data is digits, this command's is else",
    },
    "trajectory": {
        "other.pt=resnet.pt": "checkpoint",
        "--split test": "split is train, this command's is test",
        "--loss mse": "loss is cross_entropy",
        "--data else.npz": "data is digits, this command's is else",
    },
}


@pytest.mark.parametrize(
    ("name", "change", "said"), [(name, *case) for name, cases in DIFFERENT.items() for case in cases.items()]
)
@pytest.mark.slow
def test_another_measurement_is_refused_and_what_differs_is_named(folder, name, change, said):
    old, _, new = change.partition("=")
    if new:
        typed = [new if str(word) == old else word for word in MADE[name]]
        assert typed != list(MADE[name])
    else:
        typed = [*MADE[name], *change.split()]
    answer = refused(SCRIPT.get(name, name), *typed, folder=folder)
    wanted = said if " is" in said else f"{said} is"
    assert re.search(f"{name}.h5 holds another measurement: its ({wanted})", answer), answer
    assert "give another output file, or remove this one to start anew" in answer


def test_other_snapshots_are_refused(folder):
    typed = ["resnet.pt" if word == "b.pt" else word for word in MADE["trajectory"]]
    assert "trajectory.h5 is of other snapshots: it has" in refused("trajectory", *typed, folder=folder)
