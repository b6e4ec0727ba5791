"""The recipes run as they stand; for what is not installed here a stand-in has the documented names and hooks."""

import re
import shlex
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import skipscape as ss
import torch
from files import ROOT
from processes import command
from torch import nn
from torch.nn.functional import cross_entropy

PAGE = (ROOT / "docs" / "recipes.md").read_text()
SECTIONS = {part.splitlines()[0]: part for part in PAGE.split("\n## ")[1:]}


def examples(heading):
    return [
        compile(code, f"docs/recipes.md, {heading}", "exec")
        for code in re.findall(r"```python\n(.*?)```", SECTIONS[heading], re.DOTALL)
    ]


def small():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    return network, [(torch.randn(40, 6), torch.randint(3, (40,)))]


def step(network, batches, rate=0.5):
    for inputs, targets in batches:
        loss = cross_entropy(network(inputs), targets)
        weights = [*network.parameters()]
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.data.sub_(rate * gradient)


def loss_of(network, batches):
    with torch.no_grad():
        return float(cross_entropy(network(batches[0][0]), batches[0][1]))


@pytest.fixture
def stand_in(monkeypatch):
    """A module that is not installed here."""

    def stand(name, **contents):
        module = ModuleType(name)
        module.__dict__.update(contents)
        for parent in (name.partition(".")[0], name):
            monkeypatch.setitem(sys.modules, parent, module)

    return stand


def test_the_callback_of_lightning_writes_a_path_when_a_stand_in_calls_its_hooks(tmp_path, monkeypatch, stand_in):
    monkeypatch.chdir(tmp_path)
    stand_in("lightning.pytorch", Callback=object)
    network, batches = small()
    module = nn.Module()
    module.network = network  # names its weights network.0.weight, …, as a LightningModule does
    names = {"module": module, "batches": batches}
    callback, measure = examples("Snapshots from Lightning")
    exec(callback, names)
    trainer = SimpleNamespace(is_global_zero=True, current_epoch=0)
    snapshots = names["Snapshots"]("snapshots")
    snapshots.on_train_start(trainer, module)
    losses = [loss_of(network, batches)]
    for trainer.current_epoch in range(11):  # so that epoch-10 must not come before epoch-2
        step(network, batches)
        losses.append(loss_of(network, batches))
        snapshots.on_train_epoch_end(trainer, module)
    assert {path.name for path in tmp_path.glob("snapshots/*")} == {f"epoch-{n}.pt" for n in range(12)}
    exec(measure, names)
    np.testing.assert_allclose(names["path"]["loss"], losses, rtol=1e-5)  # the last is the network itself
    assert names["surface"]["loss"].shape == (11, 11) and (tmp_path / "path.pdf").read_bytes().startswith(b"%PDF")


def test_only_the_first_process_of_lightning_writes(tmp_path, stand_in):
    stand_in("lightning.pytorch", Callback=object)
    names = {}
    exec(examples("Snapshots from Lightning")[0], names)
    other = SimpleNamespace(is_global_zero=False, current_epoch=0)
    names["Snapshots"](tmp_path / "none").on_train_start(other, nn.Linear(1, 1))
    assert not (tmp_path / "none").exists()


def test_the_callback_of_transformers_writes_a_path_when_its_handler_calls_it(tmp_path, monkeypatch):
    from transformers import GPT2Config, GPT2LMHeadModel, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_callback import CallbackHandler

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=16, n_positions=8)).eval()
    tokens = torch.randint(16, (4, 8))
    targets = torch.cat([tokens[:, 1:], torch.full((4, 1), -100)], dim=1)
    names = {"model": model, "windows": [(tokens, targets)]}
    callback, measure = examples("Snapshots from the Trainer of transformers")
    exec(callback, names)
    # What calls the hooks in a Trainer; the Trainer itself needs accelerate, which the tests do without.
    handler = CallbackHandler([names["ModelSnapshots"]("steps")], model, None, None, None)
    arguments, state, control = object.__new__(TrainingArguments), TrainerState(), TrainerControl()
    handler.on_train_begin(arguments, state, control)
    for state.global_step in (5, 10, 100):
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.01 * torch.randn_like(weight))
        handler.on_epoch_end(arguments, state, control)
    exec(measure, names)
    assert [*names["path"].coordinates["checkpoint"][:-1]] == ["step-0", "step-5", "step-10"]  # and the model itself
    loss = model(input_ids=tokens, labels=tokens).loss.item()
    np.testing.assert_allclose(names["path"]["loss"][-1], loss, rtol=1e-5)


def test_the_largest_eigenvalue_is_measured_between_epochs_without_a_trace():
    measured, other = small()[0], small()[0]
    batches = small()[1]
    names = {"network": measured, "batches": batches, "train_one_epoch": lambda network: step(network, batches)}
    exec(*examples("Measure while you train"), names)
    for _ in range(3):
        step(other, batches)
    assert len(names["sharpest"]) == 3 and min(names["sharpest"]) > 0
    for one, two in zip(measured.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


@pytest.mark.parametrize(("rank", "measured"), [("0", True), ("1", False)])
def test_one_process_of_torchrun_measures(monkeypatch, rank, measured):
    monkeypatch.setenv("RANK", rank)
    network, batches = small()
    names = {"network": network, "batches": batches, "torch": torch}
    exec(*examples("torchrun, srun, mpiexec"), names)
    assert ("line" in names) == measured


def test_a_stand_in_for_wandb_gets_the_table_and_the_picture(tmp_path, monkeypatch, stand_in):
    logged = {}

    class Run(SimpleNamespace):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    stand_in(
        "wandb",
        init=lambda project: Run(log=logged.update),
        Table=lambda dataframe: dataframe,
        Image=lambda path: (tmp_path / path).read_bytes(),
    )
    monkeypatch.chdir(tmp_path)
    stored = ss.train(tmp_path / "net.pt", network="resnet", depth=8, width=2, epochs=1, examples=50, quiet=True)
    evaluate = ss.Evaluator.from_checkpoint(tmp_path / "net.pt", split="test", examples=20)
    study = ss.lesions(evaluate, delete=1, out="blocks.h5", quiet=True)
    heading = "Weights & Biases, and other trackers"
    for script, *words in map(shlex.split, re.findall(r"^skipscape (.*)$", SECTIONS[heading], re.MULTILINE)):
        command(script, *words)
    exec(*examples(heading), {})
    np.testing.assert_array_equal(logged["blocks"]["loss"], study["loss"])
    assert stored.weights and logged["figure"].startswith(b"\x89PNG")
