"""Checkpoints as trainers wrap them: in entries, with averages, in folders."""

import copy
import json
import pathlib

import pytest
import torch

MODULE = """
import torch
from torch import nn

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))

class Around(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, x):
        return self.inner(x)

class Language(nn.Module):
    def __init__(self, layers=2, tie=True):
        super().__init__()
        torch.manual_seed(layers)
        self.embedding = nn.Embedding(7, 4)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(layers))
        self.head = nn.Linear(4, 7, bias=False)
        if tie:
            self.head.weight = self.embedding.weight

    def forward(self, x):
        x = self.embedding(x)
        for layer in self.layers:
            x = x + layer(x).relu()
        return self.head(x)

def data(split):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(64, 1, 8, 8, generator=generator).numpy(), (torch.arange(64) % 10).numpy()
"""
made = {}


exec(MODULE, made)


FACTORY = "trained_elsewhere:network"
X, Y = map(torch.tensor, made["data"]("test"))
WEIGHTS = copy.deepcopy(made["network"]().state_dict())
AVERAGE = {name: t * 0.5 if t.is_floating_point() else t for name, t in WEIGHTS.items()}
PARAMETERS = [name for name, _ in made["network"]().named_parameters()]


def elsewhere(tmp_path, monkeypatch):
    (tmp_path / "trained_elsewhere.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def under(prefix, weights=WEIGHTS):
    return {prefix + name: t for name, t in weights.items()}


def averaged_model():
    average = torch.optim.swa_utils.AveragedModel(made["network"]())
    average.update_parameters(made["network"]())
    return {name: t * 0.5 if t.is_floating_point() else t for name, t in average.state_dict().items()}


def optimizer():
    network = made["network"]()
    optimizer = torch.optim.Adam(network.parameters())
    network(X).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


LITEMA = under("model.") | {f"model_ema.{name.replace('.', '')}": AVERAGE[name] for name in PARAMETERS}
SEVERAL = {
    "timm": ({"state_dict": WEIGHTS, "state_dict_ema": AVERAGE}, "state_dict", "state_dict_ema"),
    "torchvision": ({"model": WEIGHTS, "model_ema": under("module.", AVERAGE)}, "model", "model_ema"),
    "swa_utils": ({"net": WEIGHTS, "swa_model": averaged_model()}, "net", "swa_model"),
    "a dict in a dict": ({"model": WEIGHTS, "ema": {"decay": 0.9, "module": AVERAGE}}, "model", "ema.module"),
    "deeper": ({"a": {"raw": WEIGHTS, "averaged": AVERAGE}}, "a.raw", "a.averaged"),
    "lightning's weight averaging": (
        {"state_dict": under("model.", AVERAGE), "current_model_state": under("model.")},
        "current_model_state",
        "state_dict",
    ),
    "a callback": (
        {"state_dict": under("model."), "callbacks": {"EMACallback": {"ema_state_dict": under("model.", AVERAGE)}}},
        "state_dict",
        "callbacks.EMACallback.ema_state_dict",
    ),
    "an optimizer": (
        {"state_dict": under("model."), "optimizer_states": [{"ema": tuple(AVERAGE[name] for name in PARAMETERS)}]},
        "state_dict",
        "optimizer_states.0.ema",
    ),
    "parameters in their order": (
        {"model": WEIGHTS, "ema": {"shadow_params": [AVERAGE[name] for name in PARAMETERS]}},
        "model",
        "ema",
    ),
    "parameters by name": ({"model": WEIGHTS, "shadow": {n: AVERAGE[n] for n in PARAMETERS}}, "model", "shadow"),
    "names without dots": ({"state_dict": LITEMA}, "state_dict.model", "state_dict.model_ema"),
    "one dict": (under("online_model.") | under("ema_model.", AVERAGE), "online_model", "ema_model"),
    "beside the network": (WEIGHTS | under("ema.", AVERAGE), ".", "ema"),
    "dino": ({"student": under("module.backbone."), "teacher": under("backbone.", AVERAGE)}, "student", "teacher"),
    "moco": (
        {"state_dict": under("module.encoder_q.") | under("module.encoder_k.", AVERAGE)},
        "state_dict.module.encoder_q",
        "state_dict.module.encoder_k",
    ),
    "last and best": ({"last": WEIGHTS, "best": AVERAGE}, "last", "best"),
    "folds": ({"fold0": {"model": WEIGHTS}, "fold1": {"model": AVERAGE}}, "fold0.model", "fold1.model"),
}


def folder(name="folder", index=None, **files):
    safetensors = pytest.importorskip("safetensors.torch")
    (path := pathlib.Path(name)).mkdir()
    if index is not None:
        (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    for file, content in files.items():
        if file.endswith(".safetensors"):
            safetensors.save_file({name: t.clone() for name, t in content.items()}, path / file)
        else:
            torch.save(content, path / file)
    return path
