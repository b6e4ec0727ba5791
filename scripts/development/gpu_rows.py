#!/usr/bin/env python3
"""The rows of gpu.py, each a process of its own: gpu_rows.py NAME SETTINGS prints what it measures, a line each."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ensemble.lesions.trials import lesions as all_lesions
from landscape import data as datasets
from landscape.checkpoints.checkpoint import Checkpoint, save
from landscape.commands.launch import command_on
from landscape.curvature.hessian import hessian_operator
from landscape.curvature.maps import curvature as curvature_map
from landscape.engine.ranks import SerialComm, node_share, world
from landscape.engine.results import Results
from landscape.engine.table import read
from landscape.evaluation.device import choose_device
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.fused import Compiled, fuse
from landscape.log import Report
from landscape.networks import build
from landscape.planes.surface import surface as measured_surface
from landscape.training.loop import train_epochs

ROOT = Path(__file__).parents[2]
MEASURED = "MEASURED "
SIDE = 51


class Trial:
    """Where a row computes, on what, and how much of it."""

    def __init__(self, how: dict[str, Any]) -> None:
        self.how, self.small, self.folder = how, bool(how["small"]), Path(how["folder"])
        self.device = choose_device(SerialComm(), how["device"])
        self.gpu = self.device.type == "cuda"
        self.dtype = "auto" if self.gpu else "bfloat16"

    def of(self, whole: int, small: int) -> int:
        """A size, or that of a trial."""
        return small if self.small else whole

    def data_file(self) -> str:
        """The data: those asked for, or 50,000 and 10,000 random images with classes that can be learned."""
        if self.how["data"]:
            return str(self.how["data"])
        path = self.folder / "images.npz"
        if not path.exists():
            draws = np.random.default_rng(0)
            patterns = draws.integers(96, size=(10, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
            arrays: dict[str, Any] = {}
            for split, number in (("train", self.of(50_000, 64)), ("test", self.of(10_000, 32))):
                labels = np.arange(number) % 10
                noise = draws.integers(160, size=(number, 32, 32, 3), dtype=np.uint8)
                arrays[f"{split}_images"] = (patterns[labels] + noise).astype(np.uint8)
                arrays[f"{split}_labels"] = labels
            np.savez(path.with_suffix(".draft.npz"), **arrays)
            os.replace(path.with_suffix(".draft.npz"), path)
        return str(path)

    def data(self, split: str) -> datasets.Data:
        return datasets.load(self.data_file(), split, standardize=True)

    def network(self, depth: int) -> nn.Module:
        """A network as the row `training` has left it, or as it is initialised."""
        torch.manual_seed(0)
        network = build("resnet", depth=self.of(depth, 8), **({"width": 4} if self.small else {}))
        path = self.folder / f"resnet-{depth}.weights"
        if path.exists():
            network.load_state_dict(torch.load(path, weights_only=True))
        return network.to(self.device).to(memory_format=torch.channels_last).eval()

    def evaluator(self, depth: int, split: str = "train", examples: int | None = None, **how: Any) -> Evaluator:
        data = self.data(split)
        number = examples or len(data.labels)
        return Evaluator(
            self.network(depth),
            [(data.images[:number], data.labels[:number])],
            batch_size=how.pop("batch_size", self.of(5000, 16)),
            **how,
        )

    def bytes_of(self, depth: int) -> int:
        """Bytes of an image's way through a network in bfloat16: each convolution reads and writes its activations."""
        network, total = self.network(depth), 0

        def count(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            nonlocal total
            total += 2 * (inputs[0].numel() + output.numel())

        hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
        with torch.inference_mode():
            network(torch.zeros(1, 3, 32, 32, device=self.device))
        for hook in hooks:
            hook.remove()
        return total

    def bound(self, depth: int) -> float:
        """Images a second that the memory would let through a network, by the row `ceilings`; NaN without it."""
        return self.ceiling("copy") / self.bytes_of(depth)

    def ceiling(self, name: str) -> float:
        path = self.folder / "ceilings.json"
        return float(json.loads(path.read_text())[name]) if path.exists() else float("nan")

    def wait(self) -> None:
        if self.gpu:
            torch.cuda.synchronize()

    def seconds(self, function: Callable[[], Any], rounds: int = 3) -> float:
        """The least of several times, after one to warm up."""
        function()
        taken = []
        for _ in range(self.of(rounds, 1)):
            self.wait()
            begun = time.perf_counter()
            function()
            self.wait()
            taken.append(time.perf_counter() - begun)
        return min(taken)


def values(results: Results | Report) -> Results:
    assert isinstance(results, Results)  # of no dry run
    return results


def tell(text: str, **figures: Any) -> None:
    print(MEASURED + json.dumps({"text": text, **figures}), flush=True)


def rate(name: str, value: float, ceiling: float, what: str = "images/s", of: str = "the memory bound") -> None:
    """Tell a speed, and which part it is of what the machine allows."""
    tell(f"{name}: {value:,.0f} {what}, {value / ceiling:.3f} of {of} of {ceiling:,.0f}", value=value, ceiling=ceiling)


def ceilings(trial: Trial) -> None:
    """What the memory and the multipliers of the machine do at best."""
    a = torch.empty(trial.of(2**29, 2**20), dtype=torch.float32, device=trial.device).fill_(1)
    b = torch.empty_like(a)
    copy = 2 * a.nbytes / trial.seconds(lambda: b.copy_(a), 10)
    size = trial.of(8192, 128)
    m = torch.randn(size, size, device=trial.device).bfloat16()
    matrix = 2 * size**3 / trial.seconds(lambda: m @ m, 10)
    (trial.folder / "ceilings.json").write_text(json.dumps({"copy": copy, "matrix": matrix}))
    tell(f"copying, read and written: {copy / 1e9:,.0f} GB/s", value=copy)
    tell(f"matrices of {size} in bfloat16: {matrix / 1e12:,.1f} TFLOP/s", value=matrix)


def forward(trial: Trial) -> None:
    """Images a second of the fused forward in bfloat16, and compiled."""
    for depth in (56, 110):
        images = trial.data("train").images[: trial.of(4096, 8)].to(trial.device)
        images = images.contiguous(memory_format=torch.channels_last)
        bound = trial.bound(depth)
        for name in ("fused", "fused and compiled") if trial.gpu else ("fused",):
            quick = fuse(trial.network(depth), images[:2], torch.bfloat16)[0]
            try:
                module = Compiled(quick) if name != "fused" else quick
                with torch.inference_mode():
                    taken = trial.seconds(partial(module, images), 10)
                rate(f"resnet-{depth}, bfloat16, {name}", len(images) / taken, bound)
            except Exception as error:  # no compiler, for example
                tell(f"resnet-{depth}, {name}: {type(error).__name__}: {str(error).splitlines()[0][:200]}")


def training(trial: Trial) -> None:
    """Epochs of training in mixed precision, recorded on a GPU; the weights are what other rows measure."""
    train, test = trial.data("train"), trial.data("test")
    for depth, epochs in ((56, 4), (20, 3)):
        network = trial.network(depth)
        how: dict[str, Any] = {"pad": 4, "flip": True, "bfloat16": True, "recorded": trial.gpu, "device": trial.device}
        records = [
            record for record, _ in train_epochs(network, train, test, epochs=trial.of(epochs, 1), seed=0, **how)
        ]
        torch.save(network.state_dict(), trial.folder / f"resnet-{depth}.weights")
        each, number = records[-1]["seconds"], len(train.labels)
        rate(f"training resnet-{depth}, batches of 128, forward and backward", number / each, trial.bound(depth) / 3)
        tell(
            f"resnet-{depth}: {each:.1f} s for an epoch of {number} images; 164 of them, extrapolated from "
            f"{len(records)}: {164 * each / 60:.0f} min; training error {records[-1]['train_error']:.3f} by now",
            value=each,
        )


def surface(trial: Trial) -> None:
    """A surface over all training images, from a part of its points."""
    evaluate = trial.evaluator(56, dtype=trial.dtype)
    number, side = len(trial.data("train").labels), trial.of(6, 2)
    measured_surface(evaluate, x=(-1, 1, 2), quiet=True)  # what only the first takes
    begun = time.perf_counter()
    measured_surface(evaluate, x=(-1, 1, side), y=(-1, 1, side), quiet=True)
    each = (time.perf_counter() - begun) / side**2
    rate(f"a surface of resnet-56 over {number} images, {side**2} points", number / each, trial.bound(56))
    tell(f"{SIDE}×{SIDE}, extrapolated from {side**2} points: {each * SIDE**2:.0f} s", value=each * SIDE**2)


def adaptive(trial: Trial) -> None:
    """Whole surfaces to 2 %, with as many images and points as that takes."""
    evaluate = trial.evaluator(56, dtype=trial.dtype, tolerance=0.02, batch_size=256)
    measured_surface(evaluate, x=(-1, 1, 2), quiet=True)
    for side in (trial.of(51, 4), trial.of(251, 5)):
        begun = time.perf_counter()
        results = values(measured_surface(evaluate, x=(-1, 1, side), y=(-1, 1, side), adaptive=True, quiet=True))
        taken, points = time.perf_counter() - begun, int(results["done"].sum())
        images = int(results["examples"][results["done"]].sum())
        tell(f"{side}×{side} at 2 %, adaptive: {taken:.1f} s, {points} points measured", value=taken, points=points)
        rate(f"{side}×{side}, images of measured points", images / taken, trial.bound(56))


def lesions(trial: Trial) -> None:
    """Every deletion of a deep network; later blocks share what earlier ones have made."""
    evaluate = trial.evaluator(110, "test", dtype=trial.dtype)
    number = len(trial.data("test").labels)
    begun = time.perf_counter()
    trials = len(values(all_lesions(evaluate, delete=1, quiet=True))["loss"])
    taken = time.perf_counter() - begun
    tell(f"all {trials - 1} deletions of resnet-110 over {number} images: {taken:.1f} s", value=taken)
    rate("images through half of the network each", trials * number / taken, 2 * trial.bound(110))


def curvature(trial: Trial) -> None:
    """Products with the Hessian, as they are and compiled, and a map of its ends."""
    network, data, number = trial.network(20), trial.data("train"), trial.of(1000, 16)
    images, labels = data.images[:number].to(trial.device), data.labels[:number].to(trial.device)
    operator = hessian_operator(network, [(images, labels)], which="filters")
    vector = np.random.default_rng(0).standard_normal(operator.shape[0])
    eager = trial.seconds(lambda: operator.matvec(vector))
    rate(f"a product of resnet-20, {number} images, as 9 forwards", number / eager, trial.bound(20) / 9)
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    direction = {name: torch.randn_like(p) for name, p in parameters.items()}

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(network, weights, (images,)), labels)

    def product(direction: dict[str, Tensor]) -> dict[str, Tensor]:
        return torch.func.jvp(torch.func.grad(loss), (parameters,), (direction,))[1]

    if trial.gpu:
        try:
            quick = torch.compile(product)
            taken = trial.seconds(lambda: quick(direction))
            tell(f"torch.func's product, compiled: {eager / taken:.2f} × ours as it is", value=eager / taken)
        except Exception as error:  # no compiler, or a layer that cannot be differentiated so
            tell(f"compiled: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
    taken = trial.seconds(lambda: product(direction))
    tell(f"torch.func's product, as it is: {eager / taken:.2f} × ours", value=eager / taken)
    evaluate, side = trial.evaluator(20, examples=number, batch_size=number), trial.of(3, 2)
    begun = time.perf_counter()
    curvature_map(evaluate, x=(-1, 1, side), y=(-1, 1, side), steps=trial.of(100, 3), quiet=True)
    taken = (time.perf_counter() - begun) / side**2
    tell(f"a point of a map: {taken:.1f} s; 11×11, extrapolated from {side**2}: {121 * taken:.0f} s", value=taken)


def job(trial: Trial) -> None:
    """Part of the rows `ranks` and `cores`: images a second of a surface on all ranks that there are."""
    comm = world()
    trial.device = choose_device(comm, trial.how["device"])
    trial.gpu = trial.device.type == "cuda"
    examples = trial.of(10_000 if trial.gpu else 1000, 16)
    evaluate, side = trial.evaluator(56, examples=examples, dtype="bfloat16"), trial.of(8 if trial.gpu else 4, 2)
    measured_surface(evaluate, x=(-1, 1, 2), quiet=True, comm=comm)
    comm.allgather(None)
    begun = time.perf_counter()
    measured_surface(evaluate, x=(-1, 1, side), y=(-1, 1, side), quiet=True, comm=comm)
    if comm.rank == 0:
        tell(str(examples * side**2 / (time.perf_counter() - begun)))


def _job(trial: Trial, ranks: int, device: str) -> float:
    how = json.dumps({**trial.how, "device": device})
    call = command_on(ranks, [__file__, "job", how])
    environment = {**os.environ, **({"OMP_NUM_THREADS": "1"} if device == "cpu" else {})}
    done = subprocess.run(call, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(json.loads(done.stdout.partition(MEASURED)[2].splitlines()[0])["text"])


def ranks(trial: Trial) -> None:
    """Whether a second rank on the same GPU is worth it."""
    device = "cuda" if trial.gpu else "cpu"
    one, two = _job(trial, 1, device), _job(trial, 2, device)
    rate("one rank", one, trial.bound(56))
    tell(f"two ranks on one device: {two / one:.2f} × one", value=two / one)


def cores(trial: Trial) -> None:
    """All cores of the machine against its GPU."""
    number = trial.of(node_share(SerialComm()).cores, 1)
    there = _job(trial, number, "cpu")
    tell(f"{number} cores, a rank each, bfloat16: {there:,.0f} images/s", value=there)
    if trial.gpu:
        gpu = _job(trial, 1, "cuda")
        tell(f"the GPU against all of them: {gpu / there:.0f} ×", value=gpu / there)


def bits(trial: Trial) -> None:
    """The same numbers on one rank and two, and with an interruption."""
    network = trial.network(56)
    weights = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    arguments = {"depth": trial.of(56, 8)} | ({"width": 4} if trial.small else {})
    save(Checkpoint("resnet", arguments, weights), trial.folder / "resnet-56.pt")
    side = trial.of(16, 6)
    typed = ["--x", -1, 1, side, "--y", -1, 1, side, "--data", trial.data_file(), "--standardize", "--quiet"]
    typed += ["--examples", trial.of(20_000, 16), "--device", "cuda" if trial.gpu else "cpu"]
    environment = {**os.environ} if trial.gpu else {**os.environ, "OMP_NUM_THREADS": "1"}
    losses = {}
    for name in ("one", "two", "interrupted"):
        out = trial.folder / f"bits-{name}.h5"
        out.unlink(missing_ok=True)
        words = [trial.folder / "resnet-56.pt", out, *typed, *(["--ranks", 2] if name == "two" else [])]
        call = [sys.executable, *map(str, [ROOT / "scripts" / "surface.py", *words])]
        if name == "interrupted":
            process = subprocess.Popen(call, env=environment)
            while process.poll() is None and not (out.exists() and read(out)["done"].any()):
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            process.wait()
            tell(f"interrupted after {int(read(out)['done'].sum())} of {side**2} points")
        subprocess.run(call, env=environment, check=True)
        losses[name] = read(out)["loss"]
    for name in ("two", "interrupted"):
        same = np.array_equal(losses["one"], losses[name])
        tell(f"{name} against one: {'to the bit the same' if same else 'NOT the same'}", value=bool(same))


def tests(trial: Trial) -> None:
    """Those that need a GPU."""
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if "mark.gpu" in path.read_text(encoding="utf-8")]
    if trial.small:
        marked = marked[:1]
    call = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", *map(str, marked)]
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, check=False)
    lines = done.stdout.strip().splitlines()
    for line in lines:
        if re.match("(FAILED|ERROR) ", line):
            tell(line)
    tell(lines[-1] if lines else f"pytest ended with status {done.returncode}", value=done.returncode)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:] or "tests have failed")


ROWS: dict[str, Callable[[Trial], None]] = {
    function.__name__: function
    for function in (
        ceilings, forward, training, surface, adaptive, lesions, curvature, ranks, cores, bits, tests, job,
    )
}  # fmt: skip

if __name__ == "__main__":
    ROWS[sys.argv[1]](Trial(json.loads(sys.argv[2])))
