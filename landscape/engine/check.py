"""Whether a results file is whole: complete, as it was written, and of values that can be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from landscape.engine.atomic import write_atomically
from landscape.engine.lock import acquire
from landscape.engine.results import FLAGS, Results, damaged, describe_row, load
from landscape.errors import BadInput

__all__ = ["Verdict", "check", "flaws", "repair"]

ALWAYS = ("command", "network", "data", "version_skipscape", "version_torch", "version_numpy")
OF_DATA = ("data_digest", "split", "loss", "device")
OF_CHECKPOINT = ("checkpoint", "seed", "dtype", *OF_DATA)
# Attributes that say where the numbers come from, besides those that are always there.
PROVENANCE = {
    **dict.fromkeys(
        (
            *("surface", "lesion", "curvature", "eigenvalues", "trace", "density", "trajectory", "sharpness", "paths"),
            *("basin", "critical"),
        ),
        OF_CHECKPOINT,
    ),
    **dict.fromkeys(("trainings", "flow"), OF_DATA),
    "reuse": ("checkpoint",),
}


class Verdict(NamedTuple):
    """What there is to say of a file, line by line.

    Attributes
    ----------
    status : 0, the file is whole; 1, something is wrong with it; 2, it cannot be read
    lines : what is wrong, and what else is worth knowing
    rows : bool ndarray, which rows are not as they were written
    """

    status: int
    lines: list[str]
    rows: np.ndarray | None = None


def check(path: str | os.PathLike, checkpoint: str | None = None) -> Verdict:
    """Look at a file.

    Parameters
    ----------
    path : of the file, whatever it may hold
    checkpoint : SHA-256 of the checkpoint that it should be of, if that is known
    """
    try:
        results = load(path)
        done, rows = results["done"], damaged(results)
    except BadInput as error:
        return Verdict(2, [str(error)])
    findings = [f"{path}: {flaw}" for flaw in flaws(results, rows, checkpoint)]
    lines = list(findings)
    for name in _named(results, "loss"):
        if odd := (~np.isfinite(results[name][done])).sum():
            lines.append(f"{path}: {odd} values of {name} are not finite; that is a result, not an error")
    if not findings:
        seen = "each as it was written" if results.crc is not None else "of a format without checksums"
        lines.append(f"{path} is whole: {done.size} rows of kind {results.kind}, {seen}")
    return Verdict(int(bool(findings)), lines, rows)


def flaws(results: Results, rows: np.ndarray, checkpoint: str | None = None) -> Iterator[str]:
    """What is wrong with a file.

    Parameters
    ----------
    results : the file, from `landscape.engine.results.load`
    rows : those that are not as they were written, from `landscape.engine.results.damaged`
    checkpoint : see `check`

    Yields
    ------
    str
        A line for each flaw.
    """
    done, size = results["done"], results["done"].size
    if rows.any():
        yield (
            f"the values of {rows.sum()} of {size} rows are not those that were written, the first "
            f"{describe_row(results, rows)}; --repair has them measured again"
        )
    if left := (~results.known).sum():
        yield f"{left} of {size} rows are not measured yet; the command that made it goes on"
    for flag in FLAGS:
        if flag in results.variables and (both := (done & results[flag]).sum()):
            yield f"{both} rows are measured and {flag} at once; run the command that made it again"
    for name, array in results.coordinates.items():
        if array.dtype.kind == "f" and (odd := (~np.isfinite(array)).sum()):
            yield f"{odd} of {array.size} values of the coordinate {name} are not finite"
    for ending, fits, what in (
        ("accuracy", lambda a: ~((a < 0) | (a > 1)), "outside 0 to 1"),
        ("examples", lambda n: n > 0, "not positive"),
        ("se", lambda s: ~(s < 0), "negative"),
    ):
        for name in _named(results, ending):
            if odd := (~fits(results[name][done])).sum():
                yield f"{odd} values of {name} are {what}"
    needed = (*ALWAYS, *PROVENANCE.get(results.kind, ()))
    if missing := [name for name in needed if name not in results.attributes]:
        yield f"it does not say where it comes from: the attributes {', '.join(missing)} are missing"
    if checkpoint is not None and (there := results.attributes.get("checkpoint")) != checkpoint:
        yield f"it is of the checkpoint with SHA-256 {there}, not of the one with {checkpoint}"


def _named(results: Results, ending: str) -> list[str]:
    """Measured variables called so, or "…_so"."""
    along = results.dims["done"]
    names = results.summed or [name for name, dims in results.dims.items() if dims[: len(along)] == along]
    return [name for name in names if name == ending or name.endswith(f"_{ending}")]


def repair(path: str | os.PathLike, rows: np.ndarray) -> None:
    """Mark rows as not measured, so that the command that made the file measures them again.

    What is derived from all rows is taken back with them. The file is whole before and after.

    Raises
    ------
    BadInput
        A job is writing the file, or it cannot be written.
    """
    path = Path(path)
    try:
        lock, _ = acquire(path)
    except OSError as error:
        raise BadInput(f"cannot write beside {path}: {error.strerror}; mend that, or repair a copy") from error
    try:
        with write_atomically(path, "mend that, or repair a copy") as draft:
            shutil.copy(path, draft)
            with h5py.File(draft, "r+", locking=False) as file:
                file["done"][...] = file["done"][...] & ~rows
                for flag in FLAGS:
                    if flag in file:
                        file[flag][...] = False
    finally:
        lock.release()
