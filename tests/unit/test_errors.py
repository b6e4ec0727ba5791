"""What is wrong is said in one line: with options to who types a command, with names to who calls from Python."""

import pytest
from hostile import refused

from ensemble.attribution import shapley
from ensemble.lesions import plans
from landscape.engine.ranks import SerialComm, collective_errors
from landscape.errors import COMMAND, BadInput
from landscape.evaluation.device import choose_device


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: shapley.orders(6, 3, 0), "shapley is 3; give an even number"),
        (lambda: choose_device(SerialComm(), "tpu"), "device is 'tpu'; use auto"),
        (lambda: plans.every(40, [20]), "with trials"),
    ],
)
def test_a_call_reads_the_names_of_arguments(call, said):
    with pytest.raises(BadInput, match=said) as caught:
        call()
    assert "--" not in str(caught.value)


def test_only_options_become_names():
    error = BadInput("a--b.h5 — 3 --- --batch-size is 0 -- give --x; or run scripts/check.py --repair a.h5")
    assert str(error) == "a--b.h5 — 3 --- batch_size is 0 -- give x; or run skipscape check --repair a.h5"
    before = COMMAND.set(True)
    try:
        assert "--batch-size is 0 -- give --x" in str(error)
    finally:
        COMMAND.reset(before)
    with pytest.raises(BadInput, match=r"^batch_size is 0$"), collective_errors(SerialComm()):
        raise BadInput("--batch-size is 0")


def test_a_command_reads_options(tmp_path):
    assert "--trials" in refused("lesion", "a.pt", "a.h5", "--trials", "many", folder=tmp_path)
    assert not COMMAND.get()  # and what is called afterwards does not


def test_flow_does_not_advise_an_option_that_it_lacks(tmp_path):
    import torch

    from landscape.networks import build

    torch.save(build("resnet", depth=8, width=2, channels=1, classes=10).state_dict(), tmp_path / "weights.pt")
    for name, typed in {
        "flow": ("a.h5", "--checkpoints", "weights.pt"),
        "trainings": ("a.h5", "--checkpoints", "weights.pt"),
        "reuse": ("weights.pt", "a.h5"),
    }.items():
        said = refused(name, *typed, folder=tmp_path)
        assert "weights alone" in said and "--" not in said
