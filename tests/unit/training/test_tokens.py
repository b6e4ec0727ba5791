"""A language model is trained like a classifier: a window's loss is the mean over its tokens that have a target."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from landscape import data as datasets
from landscape.checkpoints.checkpoint import load
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.losses import cross_entropy
from landscape.networks import build
from landscape.training import loop as training
from landscape.training.train import train
from landscape.training.trainings import trainings
from landscape.weights import digest

TINY = {"network": "transformer", "depth": 1, "width": 8, "epochs": 3, "batch_size": 8, "quiet": True}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Windows of 12 tokens of 19, of which one in four has no target."""
    draws = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 40), ("test", 30)):
        tokens = draws.integers(19, size=(n, 13)) * (draws.random((n, 13)) < 0.5)
        targets = np.where(draws.random((n, 12)) < 0.25, -100, tokens[:, 1:])
        targets[:, 0] = tokens[:, 1]
        arrays |= {f"{split}_inputs": tokens[:, :-1], f"{split}_targets": targets}
    path = tmp_path_factory.mktemp("text") / "text.npz"
    np.savez(path, **arrays)
    return str(path)


def loss_by_hand(network, data):
    """Mean over windows of the mean over the tokens that have a target, and the same of what is right."""
    losses, hits = [], []
    for tokens, targets in zip(data.images, data.labels, strict=True):
        logits = network(tokens[None])[0][targets != -100]
        losses.append(F.cross_entropy(logits, targets[targets != -100]))
        hits.append((logits.argmax(1) == targets[targets != -100]).float().mean())
    return torch.stack(losses).mean(), float(torch.stack(hits).mean())


def test_a_step_is_that_of_plain_pytorch(text):
    done = train(data=text, **TINY | {"batch_size": 40, "epochs": 1, "micro_batch": 15})
    torch.manual_seed(0)
    network = build("transformer", **done.arguments)
    splits = datasets.load_for_training(text)
    rate = 3e-3 * training.one_cycle(0)
    steps = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.1)
    loss, hit = loss_by_hand(network, splits[0])
    loss.backward()
    steps.step()
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(done.weights[name], weight, rtol=1e-5, atol=1e-6)
    assert done.history["train_loss"] == pytest.approx([float(loss.detach())], rel=1e-5)
    assert done.history["train_error"] == pytest.approx([1 - hit], rel=1e-5)
    expected, right = loss_by_hand(network.eval(), splits[1])
    assert done.final["test"]["loss"] == pytest.approx(float(expected.detach()), rel=1e-5)
    assert done.final["test"]["accuracy"] == pytest.approx(right, rel=1e-5)


def test_gradients_are_those_of_the_mean_over_windows(text):
    torch.manual_seed(0)
    data = datasets.load(text, "train")
    network = build("transformer", depth=1, width=8, vocabulary=19, context=12)
    loss, _ = loss_by_hand(network, data)
    expected = torch.autograd.grad(loss, list(network.parameters()))
    each, _ = training._of_tokens(network(data.images), data.labels)
    for there, here in zip(torch.autograd.grad(each.mean(), list(network.parameters())), expected, strict=True):
        torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-6)


def test_it_learns(text):
    history = train(data=text, **TINY | {"epochs": 20, "learning_rate": 0.02}).history
    assert history["train_loss"][-1] < history["train_loss"][0] - 0.3


def test_an_interrupted_training_goes_on_to_the_same_bits(text, tmp_path, monkeypatch):
    whole = train(data=text, **TINY)
    train_epochs = training.train_epochs

    def interrupted(*arguments, **options):
        for record, state in train_epochs(*arguments, **options):
            yield record, state
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(training, "train_epochs", interrupted)
        train(tmp_path / "a.pt", save_every=0, data=text, **TINY)
    assert load(tmp_path / "a.pt").state["epoch"] == 1
    gone_on = train(tmp_path / "a.pt", data=text, **TINY)
    assert digest(gone_on.weights) == digest(whole.weights) and gone_on.final == whole.final


def test_bytes_of_the_library_are_there_at_once_and_the_checkpoint_knows_its_window(tmp_path):
    done = train(tmp_path / "a.pt", data="stdlib", window=16, examples=40, **TINY | {"epochs": 1})
    assert done.data["window"] == 16 and done.arguments["context"] == 16 and done.arguments["vocabulary"] == 256
    assert (done.training["recipe"], done.training["optimizer"]) == ("text", "adamw")
    assert (done.final["train"]["examples"], done.final["test"]["examples"]) == (40, 4)
    assert done.title == "transformer-1:width=8"
    evaluate = Evaluator.from_checkpoint(tmp_path / "a.pt", examples=40)
    assert evaluate()["loss"] == pytest.approx(done.final["train"]["loss"], rel=1e-6)
    assert evaluate.sources[0].batches[0][0].shape == (40, 16)


def test_many_trainings_tell_networks_with_skips_from_those_without(text):
    variants = ["transformer", "transformer:shortcut=None", "transformer:shortcut=('identity',None)"]
    results = trainings(variants, depth=1, width=8, data=text, epochs=1, seeds=1, quiet=True)
    assert results.attributes["recipe"] == "text" and results.attributes["learning_rate"] == 3e-3
    assert len({*results["loss"].ravel()}) == 3 and np.isfinite(results["test_loss"]).all()


def test_where_there_are_as_many_tokens_as_positions_the_network_gets_one_more():
    done = train(data="stdlib", examples=4, window=256, **TINY | {"epochs": 1, "width": 4})
    assert done.arguments["vocabulary"] == 257 and np.isfinite(done.final["test"]["loss"])
    with pytest.raises(BadInput, match="as many classes as positions, shapes do not tell which is which"):
        cross_entropy(torch.zeros(2, 5, 5), torch.zeros(2, 5, dtype=torch.int64))


def test_a_token_that_only_the_test_split_has_is_a_class_too(tmp_path):
    tokens = {"train_inputs": [[0, 1], [1, 2]], "test_inputs": [[0, 7], [1, 2]]}
    targets = {"train_targets": [[1, -100], [2, -100]], "test_targets": [[7, -100], [2, -100]]}
    np.savez(tmp_path / "few.npz", **tokens, **targets)
    assert train(data=str(tmp_path / "few.npz"), **TINY | {"epochs": 1}).arguments["vocabulary"] == 8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"network": "resnet", "depth": 8}, "a resnet takes images, and .* has other inputs"),
        ({"data": "digits"}, "a transformer takes windows of tokens, and digits has other inputs"),
        ({"data": "digits", "window": 8}, "window 8 was given, but digits is no text"),
        ({"augment": True}, "augment is for images"),
        ({"arguments": {"context": 5}}, "does not take inputs of shape"),
        ({"arguments": {"vocabulary": 5}}, "does not take inputs of shape"),
    ],
)
def test_data_and_network_must_go_together(text, arguments, said):
    with pytest.raises(BadInput, match=said):
        train(**{"data": text, **TINY, **arguments})


def test_windows_without_a_target_are_refused(tmp_path):
    tokens, targets = np.zeros((4, 3), int), np.full((4, 3), -100)
    targets[1:, 0] = 1
    names = [f"{split}_{what}" for split in ("train", "test") for what in ("inputs", "targets")]
    np.savez(tmp_path / "void.npz", **dict(zip(names, [tokens, targets] * 2, strict=True)))
    with pytest.raises(BadInput, match="the train split has windows without any target"):
        train(data=str(tmp_path / "void.npz"), **TINY)
