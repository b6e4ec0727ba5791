"""Results seen in another way: another variable as the loss, many repeats as one surface, slices of a space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["averaged", "measured", "metrics_of", "only", "shown", "slices"]


def only(files: Sequence[Results]) -> Results:
    """The one file of a figure that shows one; `BadInput` for several."""
    if len(files) != 1:
        raise BadInput(f"a figure of {files[0].kind} shows one file, got {len(files)}; draw them apart")
    return files[0]


NAMES = {"objective": "loss + weight decay", "penalty": "weight decay"}


def shown(file: Results, variable: str) -> Results:
    """The results with another variable in the place of the loss: test_loss, mse, objective, …; or the perplexity.

    Raises
    ------
    BadInput
        There is no such variable, or it is no loss.
    """
    if variable == "loss":
        return file
    if variable.removeprefix("test_") == "perplexity":
        return _perplexity(shown(file, variable.replace("perplexity", "loss")))
    losses = [name for name in file.variables if f"{name}_se" in file.variables or name in NAMES]
    losses = [name for name in losses if not name.endswith("accuracy")]
    if variable not in losses:
        raise BadInput(f"{file.source} has no loss {variable!r}; it has {', '.join(losses)}")
    split = variable.startswith("test_")
    kind = variable.removeprefix("test_")
    there = {
        "loss": file[variable],
        "loss_se": file.variables.get(f"{variable}_se", np.full(file["loss"].shape, np.nan)),
        "accuracy": file.accuracy("test_" if split else ""),
    }
    renamed = {"loss": file.attributes["loss"] if kind == "loss" else NAMES.get(kind, kind)}
    if split:
        renamed["split"] = file.attributes["second_split"]
    # What is interpolated is so for the loss alone.
    left = {name: array for name, array in file.variables.items() if name != "interpolated"}
    # A loss of another kind than the first, such as weight decay besides, has units of its own.
    units = {"loss": file.metadata.get(variable, {})}
    dims = file.dims | dict.fromkeys(there, file.dims[variable])
    parts: dict[str, Any] = {"variables": left | there, "dims": dims}
    return replace(file, **parts, attributes=file.attributes | renamed, metadata=file.metadata | units)


def _perplexity(file: Results) -> Results:
    """exp of the cross-entropy, in the place of the loss, with the error that follows to first order."""
    if (loss := file.attributes.get("loss", "cross_entropy")) != "cross_entropy":
        raise BadInput(f"{file.source} has the loss {loss}; perplexity is the exponential of the cross-entropy")
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.exp(file["loss"])
        there = {"loss": mean, "loss_se": mean * file["loss_se"]}
    metrics = [*np.atleast_1d(file.attributes.get("metrics", [])), "perplexity"]
    left = {name: array for name, array in file.variables.items() if name != "interpolated"}
    return replace(
        file,
        variables=left | there,
        attributes=file.attributes | {"loss": "perplexity", "metrics": metrics},
        metadata=file.metadata | {"loss": {"long_name": "perplexity", "units": "1"}},
    )


def metrics_of(file: Results, variable: str = "loss") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each metric by name, with its standard error; of the split that a loss is of, and without the loss itself."""
    split = "test_" if variable.startswith("test_") else ""
    names = [str(name) for name in np.atleast_1d(file.attributes.get("metrics", []))]
    return {
        name: (file[split + name], file[f"{split}{name}_se"])
        for name in names
        if split + name != variable and {split + name, f"{split}{name}_se"} <= file.variables.keys()
    }


def averaged(file: Results) -> Results:
    """One surface from repeats over independent directions: at each point the mean, and what they differ by.

    Returns
    -------
    Results
        Without the dimension ``repeat``. ``loss`` is the geometric mean, or the arithmetic one if a loss is not
        positive; ``low`` and ``high`` lie one standard deviation over repeats beside it, of logarithms in the
        first case; ``spread`` is that standard deviation: about the relative one if it is small. A point counts
        when all its repeats are known.
    """
    known, loss = file.known, file["loss"]
    all_known = known.all(axis=0)
    positive = bool((loss[known & np.isfinite(loss)] > 0).all())
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.log(loss) if positive else loss
        mean = np.where(all_known, values.mean(axis=0), np.nan)
        spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(mean.shape, np.nan)
    back = np.exp if positive else np.asarray
    with np.errstate(over="ignore"):
        there = {"loss": back(mean), "low": back(mean - spread), "high": back(mean + spread), "spread": spread}
    there |= {"accuracy": file.accuracy().mean(axis=0), "loss_se": np.zeros(mean.shape), "done": all_known}
    dims = {name: tuple(d for d in over if d != "repeat") for name, over in file.dims.items()}
    return replace(file, variables=there, dims=dims | dict.fromkeys(there, dims["loss"]))


def slices(file: Results, number: int = 5) -> list[tuple[float, Results]]:
    """Planes of a space over (z, y, x), at so many of its z at most: both ends and evenly between."""
    z = file.coordinates["z"]
    places = np.unique(np.linspace(0, len(z) - 1, min(number, len(z))).round().astype(int))
    return [(float(z[i]), file.isel(z=i)) for i in places]


def measured(file: Results) -> np.ndarray:
    """The losses, NaN where there are none yet."""
    return np.where(file.known, file["loss"], np.nan)
