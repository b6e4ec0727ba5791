#!/usr/bin/env python3
"""Do the tests notice? Break central lines, one at a time, in a copy of this project, and run the tests of each.

    python tests/mutations.py

Prints a line for each broken line and ends with status 1 if one of them is not noticed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
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
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "skipscape"
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "results")
        )
        for name, there, instead, tests in MUTATIONS:
            path = copy / name
            whole = path.read_text()
            if whole.count(there) != 1:
                sys.exit(f"{name} has {there!r} {whole.count(there)} times; say another line")
            path.write_text(whole.replace(there, instead))
            noticed = run(copy, tests)
            path.write_text(whole)
            survived += not noticed
            print(f"{'noticed' if noticed else 'SURVIVED'}: {name}: {there!r} → {instead!r} ({tests})", flush=True)
    print(f"{len(MUTATIONS) - survived} of {len(MUTATIONS)} broken lines are noticed")
    sys.exit(bool(survived))


def run(copy: Path, tests: str) -> bool:
    """Whether a test fails, and not because it cannot even start."""
    call = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        str(next((copy / "tests" / "unit").rglob(f"{tests}.py"))),
    ]
    done = subprocess.run(call, cwd=copy, env={**ENVIRONMENT, "PYTHONPATH": str(copy)}, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(done.stdout + done.stderr)
    return done.returncode == 1


if __name__ == "__main__":
    main()
