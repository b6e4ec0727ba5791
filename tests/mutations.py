#!/usr/bin/env python3
"""Do the tests notice? Break central lines, one at a time, in a copy of this project, and run the tests of each.

    python tests/mutations.py
    python tests/mutations.py --together

Prints a line for each broken line and ends with status 1 if one of them is not noticed. With --together all lines are
broken at once, and every file of tests/unit is run on that: those that pass all the same are listed. They test what no
line here is about, or nothing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}

# file, what stands there, what is put in its place, the tests that should notice
MUTATIONS = [
    ("landscape/planes/plane.py", "alpha=float(coordinate)", "alpha=-float(coordinate)", "test_plane"),
    ("landscape/planes/plane.py", "here.copy_(plane.origin[name])", "pass", "test_plane"),
    ("landscape/evaluation/sampling.py", "(1 - n / size)", "(1 + n / size)", "test_estimate"),
    (
        "landscape/evaluation/sampling.py",
        "error <= self.error * abs(mean)",
        "error >= self.error * abs(mean)",
        "test_estimate",
    ),
    ("landscape/planes/adaptive.py", "np.abs(off) <= allowed", "off <= allowed", "test_adaptive"),
    (
        "landscape/engine/table.py",
        "array[cell] = measurement[name]",
        "array[cell] = measurement[name] or 1",
        "test_table",
    ),
    ("landscape/planes/directions.py", "np.divide(w, d,", "np.divide(w**2, d,", "test_directions"),
    (
        "landscape/planes/directions.py",
        "_ratio(convention.rows(weight), convention.rows(direction))",
        "_ratio(weight, direction)",
        "test_directions",
    ),
    ("landscape/evaluation/measure.py", "/ np.sqrt(len(each))", "/ len(each)", "test_measure"),
    ("landscape/linalg/lanczos.py", "q = w / beside[k]", "q = w / (beside[k] + 1e-6)", "test_curvature"),
    ("landscape/engine/results.py", "(computed != there) & (", "(computed < there) & (", "test_results"),
    ("landscape/engine/checksum.py", "parts = [some.astype", "parts = [(0 * some).astype", "test_checksum"),
    ("ensemble/paths/spectrum.py", "sums[1:] += branched", "sums[1:] -= branched", "test_paths"),
    ("ensemble/paths/spectrum.py", "paths * np.concatenate", "np.concatenate", "test_paths"),
    ("landscape/analysis/flood.py", "oldest = min(lakes", "oldest = max(lakes", "test_topology"),
    ("landscape/analysis/flood.py", "basin[min(wet, key", "basin[max(wet, key", "test_topology"),
    ("landscape/analysis/minima.py", "flood(height, corners=False)", "flood(height)", "test_topology"),
    ("landscape/analysis/merge_trees.py", "LOOPS if k is None else k", "1.0 if k is None else k", "test_topology"),
    ("ensemble/attribution/interaction.py", "+ intact[:, :n]", "- intact[:, :n]", "test_interaction"),
    ("ensemble/attribution/shapley.py", "for order in (one, one[::-1])", "for order in (one, one)", "test_shapley"),
    ("ensemble/lesions/context.py", "np.flatnonzero(trial != intact(len(blocks)))", "np.arange(0)", "test_lesions"),
    (
        "ensemble/drawing/measure.py",
        "centre = fraction + z**2 / (2 * n)",
        "centre = fraction + z / (2 * n)",
        "test_drawing",
    ),
]


def main() -> None:
    survived = 0
    with copied() as copy:
        for name, there, instead, tests in MUTATIONS:
            whole = broken(copy / name, there, instead)
            done = run(copy, path_of(copy, tests))
            if done.returncode not in (0, 1):  # they cannot even start
                sys.exit(done.stdout + done.stderr)
            noticed = done.returncode == 1
            (copy / name).write_text(whole)
            survived += not noticed
            print(f"{'noticed' if noticed else 'SURVIVED'}: {name}: {there!r} → {instead!r} ({tests})", flush=True)
    print(f"{len(MUTATIONS) - survived} of {len(MUTATIONS)} broken lines are noticed")
    sys.exit(bool(survived))


def together() -> None:
    """Which test files notice nothing although all lines are broken."""
    with copied() as copy, ThreadPoolExecutor(2) as pool:
        for name, there, instead, _ in MUTATIONS:
            broken(copy / name, there, instead)
        files = sorted((copy / "tests" / "unit").rglob("test_*.py"))
        passed = pool.map(lambda file: run(copy, file).returncode == 0, files)
        silent = [file for file, same in zip(files, passed, strict=True) if same]
    print(*(f"notices nothing: {file.relative_to(copy)}" for file in silent), sep="\n")
    print(f"{len(files) - len(silent)} of {len(files)} files of tests notice that all lines are broken")


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of this project."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "skipscape"
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "results")
        )
        yield copy


def broken(path: Path, there: str, instead: str) -> str:
    """Break a line, which stands there once; what the file was."""
    whole = path.read_text()
    if whole.count(there) != 1:
        sys.exit(f"{path} has {there!r} {whole.count(there)} times; say another line")
    path.write_text(whole.replace(there, instead))
    return whole


def path_of(copy: Path, tests: str) -> Path:
    return next((copy / "tests" / "unit").rglob(f"{tests}.py"))


def run(copy: Path, tests: Path) -> subprocess.CompletedProcess:
    call = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(tests)]
    environment = {**ENVIRONMENT, "PYTHONPATH": str(copy)}
    return subprocess.run(call, cwd=copy, env=environment, capture_output=True, text=True)


if __name__ == "__main__":
    together() if sys.argv[1:] == ["--together"] else main()
