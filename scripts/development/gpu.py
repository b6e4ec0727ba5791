#!/usr/bin/env python3
"""Measure on a GPU machine without a network, in minutes: speeds over what the card itself can do, and the tests.

    python3 scripts/development/gpu.py results/gpu --wheels wheels
    python3 scripts/development/gpu.py /tmp/trial --small --device cpu

On the machine there need be PyTorch alone. Everything else comes along as wheels in a folder, filled beforehand with

    pip download -d wheels --no-deps --only-binary :all: --python-version 3.12 --platform manylinux_2_28_x86_64 \\
        mpich mpi4py h5py filelock tqdm pillow scipy scikit-learn joblib threadpoolctl matplotlib pytest …

and is installed into an environment of its own, which sees the PyTorch that is there. Each row of the table is a
process of its own with a budget of time: one that fails is told, and the others go on. What a row has measured is in
FOLDER/gpu.jsonl and FOLDER/gpu.txt as soon as it has ended. Images are random ones of CIFAR-10's shape, which can be
learned; --data takes others. --small is to see on any machine that all of it runs.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import site
import subprocess
import sys
import threading
import time
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MEASURED = "MEASURED "  # what a line of a row's output begins with that holds a figure
# Row: seconds that it may take. In the order of what is missed most if time is short.
BUDGETS = {
    "ceilings": 40,
    "forward": 70,
    "training": 80,
    "surface": 60,
    "adaptive": 110,
    "lesions": 60,
    "bits": 90,
    "curvature": 80,
    "ranks": 70,
    "tests": 150,
    "cores": 60,
}


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path, metavar="FOLDER", help="where the results go")
    p.add_argument("--wheels", type=Path, help="folder of wheels to install, all of them and nothing else")
    p.add_argument("--rows", nargs="+", choices=BUDGETS, default=[*BUDGETS], help="rows to measure")
    p.add_argument("--minutes", type=float, default=8.8, help="after which no row goes on")
    p.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if available")
    p.add_argument("--data", default="", help="data as of train.py, 32×32 colour images; by default random ones")
    p.add_argument("--small", action="store_true", help="sizes of nothing, to see that every row runs")
    arguments = p.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    python = installed(arguments.wheels, folder / "environment") if arguments.wheels else sys.executable
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    environment["PATH"] = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    how = {"small": arguments.small, "device": arguments.device, "data": arguments.data, "folder": str(folder)}
    say(folder, {"row": "machine", "text": machine(python)})
    failed = 0
    for name in arguments.rows:
        left = end - time.monotonic()
        call = [python, str(HERE / "gpu_rows.py"), name, json.dumps(how)]
        failed += not row(folder, name, call, environment, min(BUDGETS[name] * (10 if arguments.small else 1), left))
    return int(failed > 0)


def row(folder: Path, name: str, call: list[str], environment: dict[str, str], budget: float) -> bool:
    """Run a row to its end or that of its budget, and keep each figure as it comes; whether it has ended well."""
    if budget < 5:
        say(folder, {"row": name, "text": "left out: no time is left", "failed": True})
        return False
    begun = time.monotonic()
    with open(folder / f"{name}.log", "w+") as log:
        process = subprocess.Popen(
            call, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, start_new_session=True
        )
        watch = threading.Timer(budget, os.killpg, (process.pid, signal.SIGKILL))
        watch.start()
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(MEASURED):
                say(folder, {"row": name, **json.loads(line.removeprefix(MEASURED))})
        status = process.wait()
        watch.cancel()
        log.seek(0)
        said = log.read().strip().splitlines()
    taken = time.monotonic() - begun
    if status == 0:
        say(folder, {"row": name, "text": f"took {taken:.0f} s", "seconds": taken})
        return True
    why = f"stopped after its {budget:.0f} s" if status == -signal.SIGKILL else f"failed with status {status}"
    say(folder, {"row": name, "text": f"{why}; {said[-1] if said else 'nothing was said'}", "failed": True})
    return False


def say(folder: Path, figure: dict[str, Any]) -> None:
    """Print a figure, and append it to the results at once."""
    line = f"{figure['row']}: {figure['text']}"
    print(line, flush=True)
    for name, text in (("gpu.jsonl", json.dumps(figure)), ("gpu.txt", line)):
        with open(folder / name, "a") as file:
            file.write(text + "\n")


def installed(wheels: Path, folder: Path) -> str:
    """A Python of its own with the wheels of a folder, which sees the packages of this one behind them."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    where = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*where, *map(str, sorted(wheels.glob("*.whl")))], check=True)
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
    (own / "those-of-the-machine.pth").write_text("\n".join([*site.getsitepackages(), site.getusersitepackages()]))
    return str(python)


def machine(python: str) -> str:
    """The card, the processor and the versions at work."""
    code = "import torch; print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    version, _, card = done.stdout.strip().partition(" ")
    ours = importlib.metadata.version("numpy")
    return (
        f"{card or 'no GPU'}; {os.cpu_count()} cores; Python {platform.python_version()}, torch {version}, numpy {ours}"
    )


if __name__ == "__main__":
    sys.exit(main())
