#!/usr/bin/env python3
"""Measure what makes surfaces and lesions quick: ratios of things timed in one run on this machine.

    python scripts/development/benchmark.py --checkpoint resnet56.pt --data cifar10-jpeg
    python scripts/development/benchmark.py --only lesions engine

The checkpoint is a network for 32×32 colour images, and the data are a folder of image files, since part of
what is compared to is decoding them. Without them an untrained ResNet-56 sees random images, and what
depends on losses is left out. Each time is the median of several taken in turn, since a machine's speed drifts.
"""

import argparse
import copy
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from ensemble.blocks.blocks import blocks
from ensemble.lesions.context import every
from ensemble.lesions.prefix_cache import PrefixCache, branch_points, order
from landscape import data as datasets
from landscape.analysis.precision import sample
from landscape.checkpoints import checkpoint as checkpoints
from landscape.commands.cli import Parser, run
from landscape.curvature.hessian import hessian_eigenpairs, hessian_operator
from landscape.engine.grid import axis, grid
from landscape.engine.ranks import Communicator
from landscape.engine.sweep import sweep
from landscape.engine.table import prepare, read
from landscape.errors import BadInput
from landscape.evaluation.device import keep_freed_memory
from landscape.evaluation.fused import fuse
from landscape.evaluation.measure import cross_entropy, measure, score
from landscape.evaluation.prepared import batch_size
from landscape.evaluation.sampling import Tolerance
from landscape.log import say
from landscape.networks import build, summary
from landscape.networks.network import Network
from landscape.planes.directions import filter_normalize, random_direction
from landscape.planes.plane import Plane, shift
from landscape.weights import weights_of

SIDE = 51  # points of the surface that people publish, each way
TOLERANCE = 0.02
HERE = Path(__file__).parents[1]


def parser() -> Parser:
    p = Parser(prog="benchmark.py", description=__doc__)
    p.add_argument("--checkpoint", type=Path, help="of a trained network for the data")
    p.add_argument("--data", type=Path, help="a folder of images, ROOT/{train,test}/CLASS/*.jpg")
    p.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    p.add_argument("--rounds", type=int, default=3, help="how often each is timed")
    p.add_argument("--images", type=int, default=2048, help="images that speeds are measured on")
    p.add_argument("--points", type=int, default=40, help="points of the plane that times a point are averaged over")
    p.add_argument("--seeds", type=int, default=200, help="orders of the data that intervals are tried on")
    p.add_argument("--job", help="used by the benchmark itself: time one job on several ranks")
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    if arguments.job:
        job(arguments.job, comm)
        return
    if (arguments.checkpoint is None) != (arguments.data is None):
        raise BadInput("--checkpoint and --data belong together; give both or neither")
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(arguments, Path(folder))
        for part in arguments.only:
            if part in NEED_LOSSES and arguments.checkpoint is None:
                say(comm, f"{part}: left out; it needs --checkpoint and --data")
                continue
            for line in PARTS[part](trial):
                say(comm, line)


class Trial:
    """The network, some of its images, and how they are decoded by those who decode them at every point."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments, self.folder, self.rounds = arguments, folder, arguments.rounds
        if arguments.checkpoint is None:
            torch.manual_seed(0)
            self.network, self.title = build("resnet", depth=56), "resnet-56, untrained, random images"
            files = folder / "images"
            random_images(files, arguments.images)
            how: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
        else:
            loaded = checkpoints.load(arguments.checkpoint)
            self.network, self.title = loaded.restore(), f"{loaded.title} on {loaded.data.get('name')}"
            files = arguments.data
            recorded = {name: loaded.data[name] for name in ("mean", "std") if name in loaded.data}
            how = recorded or {"standardize": True}
        self.data = datasets.load(str(files), "train", **how)
        standardise = [transforms.Normalize(self.data.mean, self.data.std)] if self.data.mean else []
        steps = [transforms.ToTensor(), *standardise]
        self.files = ImageFolder(files / "train", transforms.Compose(steps))
        self.network.eval()
        self.chosen = datasets.stratified_order(self.data.labels, 0)[: arguments.images]
        self.images, self.labels = self.data.images[self.chosen], self.data.labels[self.chosen]
        self.flops = 2 * summary(self.network, self.images.shape[1:]).multiply_adds
        # What is compared to comes first, as the C library has it; then its memory is kept, as our commands do.
        if {"speed", *NEED_LOSSES} & {*arguments.only}:
            self.baseline, self.resident = self._baseline(), self._resident()
        keep_freed_memory()

    def quick(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        """Our forward, of the same weights."""
        self.network.to(memory_format=torch.channels_last)
        return fuse(self.network, self.images[:2], dtype)[0]

    def batches(self, dtype: torch.dtype = torch.float32, size: int | None = None) -> list:
        size = size or batch_size(self.images, dtype, torch.device("cpu"))
        return list(zip(self.images.split(size), self.labels.split(size), strict=True))

    def plane(self) -> Plane:
        origin = weights_of(self.network)
        return Plane(origin, tuple(filter_normalize(random_direction(origin, (0, i)), origin) for i in range(2)))

    def _baseline(self) -> tuple[float, float]:
        """Images a second, and the loss: one plain pass that decodes, as it is done today for each point."""
        seconds = []
        for workers in (0, 2):  # the quicker one counts
            loader = DataLoader(Subset(self.files, self.chosen.tolist()), batch_size=128, num_workers=workers)
            taken, loss = timed(lambda loader=loader: plain_pass(self.network, loader), self.rounds)
            seconds.append((len(self.chosen) / taken, loss))
        return max(seconds)

    def _resident(self) -> float:
        """Images a second of the same pass over decoded images in memory."""
        batches = self.batches(size=128)
        return len(self.images) / timed(lambda: plain_pass(self.network, batches), self.rounds)[0]


def plain_pass(network: nn.Module, batches: Any) -> float:
    """The mean loss as everybody writes it."""
    total, n = 0.0, 0
    with torch.no_grad():
        for images, labels in batches:
            total += F.cross_entropy(network(images), labels, reduction="sum").item()
            n += len(labels)
    return total / n


def timed(function: Callable, rounds: int) -> tuple[float, Any]:
    """Median seconds, and the result, of a function called once to warm up and then several times."""
    result = function()
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        result = function()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken), result


def speed(trial: Trial) -> Iterator[str]:
    """The forward pass."""
    (rate, loss), resident = trial.baseline, trial.resident
    yield f"{trial.title}; {len(trial.images)} images, {trial.rounds} rounds, {torch.get_num_threads()} threads"
    yield f"baseline (decodes, eager float32): {rate:.0f} images/s; resident baseline: {resident:.0f} images/s"
    size = min(4096, 64 * len(trial.images))  # for a peak that is worth the name, of 64 images or more
    speeds, ours = {}, {}
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        quick, batches = trial.quick(dtype), trial.batches(dtype)
        taken, results = timed(lambda quick=quick, batches=batches: measure(quick, batches), trial.rounds)
        speeds[name], ours[name] = len(trial.images) / taken, results["loss"]
        a = torch.randn(size, size).to(dtype)
        peak = 2 * size**3 / min(timed(lambda a=a: a @ a, 1)[0] for _ in range(5))
        yield (
            f"{name}: {speeds[name] / rate:.2f} × baseline, {speeds[name] / resident:.2f} × resident baseline, "
            f"{speeds[name] * trial.flops / peak:.2f} of the matrix peak of {peak / 1e9:.0f} GFLOP/s; "
            f"loss off by {abs(ours[name] / loss - 1):.1e}"
        )
    if trial.arguments.checkpoint:
        exact, near, off = trial.quick(), trial.quick(torch.bfloat16), []
        plane, points = trial.plane(), grid(axis(-1, 1, SIDE), axis(-1, 1, SIDE))
        for row in sample((SIDE, SIDE), 0):
            with shift(trial.network, plane, points[row]):
                off.append(measure(near, trial.batches())["loss"] / measure(exact, trial.batches())["loss"] - 1)
        yield (
            f"bfloat16 at {len(off)} points of the plane, {len(trial.images)} images: "
            f"loss off by {100 * np.abs(off).max():.2f} % at most, {100 * np.median(np.abs(off)):.2f} % in the median"
        )


def tolerance(trial: Trial) -> Iterator[str]:
    """As many examples as a point needs."""
    rate, _ = trial.baseline
    n = len(trial.data.labels)
    near, plane, points = trial.quick(torch.bfloat16), trial.plane(), grid(axis(-1, 1, SIDE), axis(-1, 1, SIDE))
    order = datasets.stratified_order(trial.data.labels, 0)
    batches = list(zip(trial.data.images[order].split(256), trial.data.labels[order].split(256), strict=True))
    known = Tolerance(trial.data.labels[order], TOLERANCE)
    rows = np.random.default_rng(0).choice(len(points), trial.arguments.points, replace=False)
    taken, used = [], []
    for row in rows:
        begun = time.perf_counter()
        with shift(trial.network, plane, points[row]):
            used.append(measure(near, batches, tolerance=known)["examples"])
        taken.append(time.perf_counter() - begun)
    point = statistics.mean(taken)
    yield (
        f"a point to {100 * TOLERANCE:g} %: {point:.2f} s, {np.mean(used):.0f} images of {n} "
        f"(median {np.median(used):.0f}, {min(used)} to {max(used)}; {len(rows)} random points); "
        f"baseline over all {n / rate:.1f} s: {n / rate / point:.0f} ×"
    )


def adaptive(trial: Trial) -> Iterator[str]:
    """Fewer points: the whole surface, by the command that people type, on one rank a core."""
    rate, _ = trial.baseline
    out, ranks = trial.folder / "surface.h5", os.cpu_count() or 1
    command = [trial.arguments.checkpoint, out, "--data", trial.arguments.data, "--x", -1, 1, SIDE, "--y", -1, 1, SIDE]
    how = ["--tolerance", TOLERANCE, "--adaptive", TOLERANCE, "--dtype", "auto", "--quiet"]
    begun = time.perf_counter()
    said = on_ranks(ranks, HERE / "surface.py", *command, *how)
    taken = time.perf_counter() - begun
    naive = SIDE**2 * len(trial.data.labels) / rate
    yield (
        f"{SIDE}×{SIDE} surface on {ranks} ranks, loading included: {taken:.0f} s; "
        f"baseline {naive / 3600:.1f} h: {naive / taken:.0f} ×"
    )
    yield from said.splitlines()[1:]  # after the name of the file
    used = read(out)["examples"]
    yield f"{used[used > 0].mean():.0f} images a measured point"


def coverage(trial: Trial) -> Iterator[str]:
    """Whether the stated intervals hold the loss over all examples."""
    plane, points = trial.plane(), grid(axis(-1, 1, SIDE), axis(-1, 1, SIDE))
    near, labels = trial.quick(torch.bfloat16), trial.data.labels
    middle = len(points) // 2
    rows = [middle, middle + 1, middle + SIDE, *np.random.default_rng(1).choice(len(points), 9, replace=False)]
    held, used = [], []
    for row in rows:
        with shift(trial.network, plane, points[row]), torch.inference_mode():
            parts = [near(x).float() for x in trial.data.images.split(512)]
        losses = torch.cat([cross_entropy(out, t) for out, t in zip(parts, labels.split(512), strict=True)])
        true = losses.double().mean().item()
        for seed in range(trial.arguments.seeds):
            order = datasets.stratified_order(labels, seed)
            batches = [(targets, targets) for targets in labels[order].split(256)]
            known = Tolerance(labels[order], TOLERANCE)
            m = score(losses[order, None].split(256), batches, lambda outputs, _: outputs[:, 0], known)
            held.append(abs(m["loss"] - true) <= 1.96 * m["loss_se"] + 1e-9 * true)
            used.append(m["examples"])
    each = np.reshape(held, (len(rows), -1)).mean(axis=1)
    yield (
        f"coverage of 95 % intervals at {100 * TOLERANCE:g} %, {trial.arguments.seeds} seeds × {len(rows)} points: "
        f"{100 * np.mean(held):.1f} % (by point {100 * each.min():.1f} to {100 * each.max():.1f} %), "
        f"{np.mean(used):.0f} images on average"
    )


def lesions(trial: Trial) -> Iterator[str]:
    """Deletions that share their beginnings, against one pass for each."""
    trial.network.to(memory_format=torch.channels_last)
    number = len(blocks(trial.network))
    few = trial.batches(size=128)[:2]
    for name, k in (("single", 1), ("pair", 2)):
        plan = every(number, [k])
        rows = order(plan)
        ahead = list(branch_points(plan[rows]))

        def sweep_all(plan=plan, rows=rows, ahead=ahead, room=2**31):
            walk = PrefixCache(cast("Network", trial.network), few, cross_entropy, room=room)
            return [walk.measure(plan[row], again) for row, again in zip(rows, ahead, strict=True)]

        rounds = trial.rounds if k == 1 else 1
        shared, one = timed(sweep_all, rounds)
        naive, other = timed(lambda sweep_all=sweep_all: sweep_all(room=0), rounds)
        same = "to the bit the same" if one == other else "NOT the same"
        yield f"all {name} deletions of {number} blocks: {naive / shared:.2f} × the naive sweep, {same}"


def engine(trial: Trial) -> Iterator[str]:
    """Ranks and rows."""
    seconds: dict[str, list[float]] = {name: [] for name in ("one", "two", "slow", "nothing")}
    for _ in range(trial.rounds):  # in turn, since the machine's speed drifts
        seconds["one"].append(sweep_seconds("surface", 1))
        seconds["two"].append(sweep_seconds("surface", 2))
        seconds["slow"].append(sweep_seconds("slow", 2))
        seconds["nothing"].append(sweep_seconds("nothing", 2))
    pairs = list(zip(seconds["one"], seconds["two"], seconds["slow"], strict=True))
    yield f"two ranks of one core against one: {spread([one / two for one, two, _ in pairs])}"
    # Speeds 1 and 1/5 add up to 1.2 of one rank's.
    yield f"one of two ranks 5 × slower, time / ideal: {spread([slow / (one / 1.2) for one, _, slow in pairs])}"
    yield f"a row of nothing on two ranks, ms: {spread([s / 10 for s in seconds['nothing']])}"  # of 10,000 rows


def training(trial: Trial) -> Iterator[str]:
    """A step of training ResNet-20, batch 128."""
    seconds = {}
    for name, layout, bfloat16 in (
        ("float32", torch.contiguous_format, False),
        ("float32, channels-last", torch.channels_last, False),
        ("bfloat16", torch.contiguous_format, True),
        ("bfloat16, channels-last", torch.channels_last, True),
    ):
        torch.manual_seed(0)
        network = build("resnet", depth=20).to(memory_format=layout)
        optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
        inputs, targets = trial.images[:128].contiguous(memory_format=layout), trial.labels[:128]

        def step(network=network, optimizer=optimizer, inputs=inputs, targets=targets, bfloat16=bfloat16):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                outputs = network(inputs)
            F.cross_entropy(outputs.float(), targets).backward()
            optimizer.step()

        seconds[name] = timed(step, 4 * trial.rounds)[0]
    plain = seconds.pop("float32")
    gains = ", ".join(f"{name} {plain / s:.2f} ×" for name, s in seconds.items())
    yield f"a step of training resnet-20 against float32 in PyTorch's default layout: {gains}"


def curvature(trial: Trial) -> Iterator[str]:
    """Products with the Hessian at one point, of 32 images."""
    batches = [(trial.images[:32], trial.labels[:32])]
    made = {keep: hessian_operator(trial.network, batches, cross_entropy, "filters", keep) for keep in (False, True)}
    vector = np.random.default_rng(0).standard_normal(made[True].shape[0])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the command does
    try:
        (anew, there), (kept, here) = (timed(lambda o=o: o.matvec(vector), trial.rounds) for o in made.values())
    finally:
        torch.set_num_threads(threads)
    same = "to the bit the same" if np.array_equal(here, there) else "NOT the same"
    yield f"a product with the Hessian, slopes kept: {anew / kept:.2f} × one with slopes taken anew, {same}"
    yield from eigenvalue(trial)


def eigenvalue(trial: Trial) -> Iterator[str]:
    """The largest eigenvalue over 256 images, against power iteration as PyHessian has it, to 1e-3 each."""
    images, labels = trial.images[:256], trial.labels[:256]
    trial.network.to(memory_format=torch.contiguous_format)
    plain = copy.deepcopy(trial.network)
    trial.network.to(memory_format=torch.channels_last)
    ours = images.contiguous(memory_format=torch.channels_last)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    products, seconds, values = [], [], []
    how: dict[str, Any] = {"which": "filters"}
    try:
        true = hessian_eigenpairs(trial.network, [(ours, labels)], tolerance=1e-6, **how).values[0]
        for seed in range(trial.rounds):
            begun = time.process_time()
            value, count = power_iteration(plain, images, labels, seed)
            between = time.process_time()
            pairs = hessian_eigenpairs(trial.network, [(ours, labels)], tolerance=1e-3, seed=seed, **how)
            seconds.append((time.process_time() - between) / (between - begun))
            products.append(pairs.products / count)
            values.append((pairs.values[0], value))
    finally:
        torch.set_num_threads(threads)
    off, other = np.abs(np.array(values) / true - 1).max(axis=0)
    yield (
        f"the largest eigenvalue against power iteration: products {spread(products)}, CPU time {spread(seconds)}; "
        f"the value off by {off:.1e} at most, the other's by {other:.1e}"
    )


def power_iteration(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, seed: int, tolerance: float = 1e-3
) -> tuple[float, int]:
    """The eigenvalue of the largest magnitude over weights with filters, and how many products it took.

    Until two values that follow each other differ by less than a part (the rule of Yao et al. 2020, 1912.07145).
    """
    weights = [p for p in network.parameters() if p.ndim >= 2]
    slopes = torch.autograd.grad(F.cross_entropy(network(images), labels), weights, create_graph=True)
    generator = torch.Generator().manual_seed(seed)
    v = [torch.randint(2, w.shape, generator=generator) * 2.0 - 1 for w in weights]
    value, count = float("inf"), 0
    while count < 100:
        length = sum(float((part**2).sum()) for part in v) ** 0.5
        v = [part / length for part in v]
        image = torch.autograd.grad(slopes, weights, v, retain_graph=True)
        last, value = value, sum(float((a * b).sum()) for a, b in zip(image, v, strict=True))
        v, count = list(image), count + 1
        if count > 1 and abs(last - value) / (abs(last) + 1e-6) < tolerance:
            break
    return value, count


PARTS = {
    "speed": speed,
    "tolerance": tolerance,
    "adaptive": adaptive,
    "coverage": coverage,
    "lesions": lesions,
    "engine": engine,
    "training": training,
    "curvature": curvature,
}
NEED_LOSSES = ("tolerance", "adaptive", "coverage")


def random_images(folder: Path, number: int) -> None:
    """Smooth random pictures in two classes, as an image folder."""
    draws = np.random.default_rng(0)
    for i in range(number):
        for split in ("train", "test") if i < 4 else ("train",):
            path = folder / split / f"class{i % 2}"
            path.mkdir(parents=True, exist_ok=True)
            small = Image.fromarray(draws.integers(256, size=(8, 8, 3), dtype=np.uint8))
            small.resize((32, 32), Image.Resampling.BICUBIC).save(path / f"{i:05d}.jpg")


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} … {max(values):.3f})"


def on_ranks(ranks: int, *words: Any) -> str:
    """Run a script of ours on ranks of one core each; what it prints."""
    call = ["mpiexec", "-n", ranks, sys.executable, "-m", "mpi4py", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(list(map(str, call)), capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def sweep_seconds(name: str, ranks: int) -> float:
    """Seconds of a sweep, without the start of its processes."""
    return float(on_ranks(ranks, __file__, "--job", name))


def job(name: str, comm: Communicator) -> None:
    with tempfile.TemporaryDirectory() as folder:
        side = axis(-1, 1, 15)
        points = np.zeros((10_000, 1)) if name == "nothing" else grid(side, side)
        table = None
        if comm.rank == 0:
            table, _ = prepare(
                Path(folder) / "a.h5",
                points,
                kind="benchmark",
                dims=("row",),
                coordinates={"row": np.arange(len(points))},
            )
        function = nothing if name == "nothing" else losses(slow=name == "slow" and comm.rank == 1)
        comm.allgather(None)  # all ranks are ready
        begun = time.perf_counter()
        sweep(function, table, comm, quiet=True)
        comm.allgather(None)
        say(comm, str(time.perf_counter() - begun))


def nothing(points):
    for _ in points:
        yield {"loss": 0.0, "loss_se": 0.0, "accuracy": 0.0, "examples": 0}


def losses(slow: bool) -> Any:
    """The points of a surface; on a slow rank each takes five times as long."""
    torch.manual_seed(0)
    network = build("resnet", depth=20, channels=1).to(memory_format=torch.channels_last)
    origin = weights_of(network)
    plane = Plane(origin, tuple(filter_normalize(random_direction(origin, (0, i)), origin) for i in range(2)))
    batches = [(torch.randn(256, 1, 8, 8), torch.randint(10, (256,))) for _ in range(2)]

    def function(points):
        for point in points:
            begun = time.perf_counter()
            with shift(network, plane, point):
                measured = measure(network, batches)
            if slow:
                time.sleep(4 * (time.perf_counter() - begun))
            yield measured

    return function


if __name__ == "__main__":
    run(main, parser())
