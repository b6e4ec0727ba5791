"""A training is a call: in memory, or into a file from which the same call goes on to the same bits."""

import logging
import shutil
from dataclasses import replace

import pytest
import torch

from landscape import data as datasets
from landscape.checkpoints.checkpoint import load, save
from landscape.errors import BadInput, Stopped
from landscape.evaluation.measure import measure
from landscape.networks import build
from landscape.training import loop as training
from landscape.training.train import train
from landscape.weights import digest

SMALL = {"depth": 8, "width": 4, "epochs": 4, "examples": 100, "quiet": True}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished training with a snapshot of each epoch."""
    folder = tmp_path_factory.mktemp("train")
    train(folder / "a.pt", snapshots=folder / "every", **SMALL)
    return folder


def stopped(epochs):
    """An interrupt after so many epochs, within the next, which has changed all weights and their momenta already."""
    train_epochs = training.train_epochs

    def interrupted(network, *arguments, **options):
        for record, state in train_epochs(network, *arguments, **options):
            yield record, state
            if record["epoch"] == epochs:
                for held in [*network.state_dict().values(), *state["optimizer"]["state"][0].values()]:
                    held.zero_()
                raise KeyboardInterrupt

    return interrupted


def test_in_memory_is_the_same_training_as_into_a_file(finished):
    held, kept = train(**SMALL), load(finished / "a.pt")
    assert digest(held.weights) == digest(kept.weights)
    assert (held.title, held.final, held.training, held.data) == (kept.title, kept.final, kept.training, kept.data)
    assert [*held.history] == [*kept.history] and held.history["epoch"] == [1, 2, 3, 4]


def test_a_checkpoint_holds_the_errors_of_the_network_that_it_restores(finished):
    checkpoint = load(finished / "a.pt")
    constants = {name: checkpoint.data[name] for name in ("mean", "std")}
    for split, examples in (("train", 100), ("test", None)):
        data = datasets.load("digits", split, examples=examples, **constants)
        measured = measure(checkpoint.restore().eval(), datasets.batches(data, 500))
        assert measured["accuracy"] == checkpoint.final[split]["accuracy"]
        assert measured["loss"] == pytest.approx(checkpoint.final[split]["loss"], rel=1e-5)


@pytest.mark.parametrize("save_every", [0, 1e9])
def test_an_interrupted_training_keeps_every_epoch_and_ends_with_the_same_weights(
    finished, tmp_path, monkeypatch, caplog, save_every
):
    with monkeypatch.context() as patched, pytest.raises(Stopped, match="after 2 of 4 epochs; the same call goes on"):
        patched.setattr(training, "train_epochs", stopped(2))
        train(tmp_path / "a.pt", save_every=save_every, **SMALL)
    assert load(tmp_path / "a.pt").state["epoch"] == 2
    with caplog.at_level(logging.INFO, "skipscape"):
        whole = train(tmp_path / "a.pt", **SMALL)
    assert "going on from epoch 2 of 4" in caplog.messages
    assert digest(whole.weights) == digest(load(finished / "a.pt").weights)
    assert whole.history["epoch"] == [1, 2, 3, 4] and whole.state is None


def test_a_training_interrupted_while_all_is_measured_has_nothing_left_to_train(finished, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("landscape.training.train._measured", interrupted)
        train(tmp_path / "a.pt", save_every=1e9, **SMALL)
    assert load(tmp_path / "a.pt").state["epoch"] == 4
    assert digest(train(tmp_path / "a.pt", **SMALL).weights) == digest(load(finished / "a.pt").weights)


def test_a_finished_training_is_left_alone(finished, caplog):
    before = (finished / "a.pt").read_bytes()
    with caplog.at_level(logging.INFO, "skipscape"):
        again = train(finished / "a.pt", **SMALL)
    assert "is trained already" in caplog.messages[-1]
    assert (finished / "a.pt").read_bytes() == before and again.final == load(finished / "a.pt").final


def test_there_is_a_snapshot_of_each_epoch_and_of_the_beginning(finished):
    snapshots = sorted((finished / "every").iterdir())
    assert [path.name for path in snapshots] == [f"epoch-{epoch:04d}.pt" for epoch in range(5)]
    torch.manual_seed(0)
    begun = load(snapshots[0])
    assert digest(begun.weights) == digest(build(begun.network, **begun.arguments).state_dict())
    assert digest(load(snapshots[-1]).weights) == digest(load(finished / "a.pt").weights)
    assert digest(begun.weights) != digest(load(snapshots[1]).weights)


def test_from_its_first_snapshot_a_training_is_the_training_itself(finished, tmp_path):
    """At the beginning there is no momentum yet that a snapshot could miss."""
    shutil.copy(finished / "every" / "epoch-0000.pt", tmp_path / "a.pt")
    again, whole = train(tmp_path / "a.pt", **SMALL), load(finished / "a.pt")
    assert digest(again.weights) == digest(whole.weights)
    assert again.history["epoch"] == [1, 2, 3, 4] and again.history["test_loss"] == whole.history["test_loss"]


def test_from_a_later_snapshot_a_training_goes_on_without_its_momentum(finished, tmp_path, caplog):
    checkpoint = load(finished / "every" / "epoch-0002.pt")
    half = {name: t.half() if t.is_floating_point() else t for name, t in checkpoint.weights.items()}
    save(replace(checkpoint, weights=half), tmp_path / "a.pt")  # and 16 bits suffice
    with caplog.at_level(logging.INFO, "skipscape"):
        again = train(tmp_path / "a.pt", **SMALL)
    assert any("going on from epoch 2 of 4; a snapshot keeps no momentum" in said for said in caplog.messages)
    assert again.history["epoch"] == [1, 2, 3, 4] and again.history["test_loss"][:2] == checkpoint.history["test_loss"]
    assert again.restore().state_dict()["head.2.weight"].dtype == torch.float32
    whole = load(finished / "a.pt")
    assert again.history["train_loss"][2:] == pytest.approx(whole.history["train_loss"][2:], rel=0.2)
    assert digest(again.weights) != digest(whole.weights)


@pytest.mark.parametrize("epochs", [{}, {"epoch": []}, {"epoch": [-1]}, {"epoch": [1.5]}])
def test_a_snapshot_that_does_not_tell_its_epoch_is_refused(finished, tmp_path, epochs):
    save(replace(load(finished / "every" / "epoch-0002.pt"), history=epochs), tmp_path / "a.pt")
    with pytest.raises(BadInput, match="does not tell after which epoch it was saved"):
        train(tmp_path / "a.pt", **SMALL)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"network": "plain"}, "its network is resnet, this command's is plain"),
        ({"width": 8}, "its width is 4, this command's is 8"),
        ({"arguments": ["order=pre"]}, "its order is None, this command's is pre"),
        ({"examples": 90}, "its digest is"),
        ({"epochs": 5}, "its epochs is 4, this command's is 5"),
        ({"seed": 1}, "its digest is"),
        ({"augment": True}, "its pad is 0, this command's is 1"),
        ({"learning_rate": 0.05}, r"its learning_rate is 0\.1, this command's is 0\.05"),
    ],
)
def test_a_file_of_another_training_is_refused_by_the_setting_that_differs(finished, other, said):
    before = (finished / "a.pt").read_bytes()
    with pytest.raises(BadInput, match=said):
        train(finished / "a.pt", **{**SMALL, **other})
    assert (finished / "a.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"recipe": "hee"}, "did you mean he"),
        ({"epochs": 0}, "epochs is 0; give 1 or more"),
        ({"micro_batch": 0}, "micro_batch is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"optimizer": "adam"}, "use sgd or adamw"),
        ({"arguments": ["order"]}, "NAME=VALUE"),
        ({"out": "no/a.pt"}, "mkdir -p no"),
        ({"device": "tpu"}, "use auto, cpu or cuda"),
    ],
)
def test_bad_input_is_refused_in_the_words_of_the_call(wrong, said):
    with pytest.raises(BadInput, match=said):
        train(**{**SMALL, "epochs": 1, **wrong})


def test_recipe_and_augmentation_are_the_ones_asked_for():
    settings = train(**SMALL | {"epochs": 1, "recipe": "he", "augment": True}).training
    assert (settings["recipe"], settings["weight_decay"], settings["nesterov"]) == ("he", 1e-4, False)
    assert (settings["pad"], settings["flip"]) == (1, True)
    assert not train(**SMALL | {"epochs": 1}).training["flip"]  # digits are not mirrored unless asked


def test_how_a_network_is_trained_is_in_its_checkpoint():
    how = {"optimizer": "adamw", "micro_batch": 32, "warm_up": 3, "bfloat16": True, "batch_size": 64}
    one, other = train(**SMALL | {"epochs": 1}, **how), train(**SMALL | {"epochs": 1})
    assert how.items() <= one.training.items()
    assert digest(one.weights) != digest(other.weights)


def test_arguments_of_a_network_are_words_or_a_dict():
    one, other = (
        train(network="densenet", depth=10, epochs=1, examples=50, quiet=True, arguments=arguments)
        for arguments in (["growth=3"], {"growth": 3})
    )
    assert one.arguments == other.arguments and one.arguments["growth"] == 3
    assert digest(one.weights) == digest(other.weights)


def test_random_numbers_of_the_caller_stay_as_they_were():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(**SMALL | {"epochs": 1})
    assert torch.equal(torch.rand(3), expected)
