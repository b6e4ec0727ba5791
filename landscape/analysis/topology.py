"""Merge trees and barcodes of measured surfaces; see `landscape.analysis.merge_trees`."""

from __future__ import annotations

import numpy as np

from landscape.analysis.merge_trees import Barcode, MergeTree, bars, tree
from landscape.analysis.numbers import noise
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["Barcode", "MergeTree", "barcode", "merge_tree"]


def merge_tree(results: Results, *, variable: str = "loss", k: float | None = None) -> MergeTree:
    """The merge tree of a surface: its minima, and over which saddles they join as the loss rises.

    Parameters
    ----------
    results : Results
        A surface along a line, over a plane, or over any number of axes. Points that are not measured, or not finite,
        are outside of the domain.
    variable : str
        Which loss, where there are several: "test_loss", "mse", ….
    k : float, optional
        Standard errors that a minimum must stand out by; by default as `landscape.analysis.minima.threshold` has it.

    Returns
    -------
    MergeTree
        Minima within the noise are in it, and marked; see `significant`. Persistence of 0, of plateaus, is left out.

    Raises
    ------
    BadInput
        There is no such variable, or it has repeats: these are surfaces of their own.

    Examples
    --------
    >>> import skipscape as ss
    >>> x = np.linspace(-1, 1, 41)
    >>> wells = lambda rows: ({"loss": 16 * (x**2 - 0.25) ** 2 + 0.2 * x, "loss_se": 0.01} for (x,) in rows)
    >>> results = ss.run(wells, x, dims=["x"], coordinates={"x": x}, quiet=True)
    >>> wells = merge_tree(results)
    >>> wells.position[:, 0], wells.saddle_position[1], wells.parent
    (array([-0.5,  0.5]), array([0.]), array([-1,  0]))
    >>> float(wells.distance[1]), wells.significant  # saddle-minimum distance
    (0.5, array([ True,  True]))
    """
    return tree(*_field(results, variable), k)


def barcode(results: Results, *, variable: str = "loss", k: float | None = None) -> Barcode:
    """The persistence barcode of a surface, with what is noise told apart.

    Parameters
    ----------
    results : Results
        As for `merge_tree`.
    variable : str
        Which loss, where there are several.
    k : float, optional
        Standard errors that a feature must stand out by; by default such as noise alone reaches in one of 20 surfaces
        or fewer.

    Returns
    -------
    Barcode
        Its minima are those of `merge_tree`; in a plane it has loops besides.

    Raises
    ------
    BadInput
        As of `merge_tree`.

    Examples
    --------
    >>> import skipscape as ss
    >>> axis = np.linspace(-1, 1, 21)
    >>> ring = lambda rows: ({"loss": (x**2 + y**2 - 0.25) ** 2, "loss_se": 1e-3} for y, x in rows)
    >>> grid = [(y, x) for y in axis for x in axis]
    >>> results = ss.run(ring, grid, dims=["y", "x"], coordinates={"y": axis, "x": axis}, quiet=True)
    >>> bars = barcode(results)
    >>> loop = bars.dimension == 1  # around the peak in the middle
    >>> bars.end[loop & bars.significant].round(9) + 0.0
    array([[0., 0.]])
    """
    return bars(*_field(results, variable), k)


def _field(results: Results, variable: str) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """A loss, NaN where it is not known, its standard error, and its coordinates."""
    dims = results.dims[variable]
    if "repeat" in dims:
        many = f"{len(results.coordinates['repeat'])} repeats, surfaces of their own"
        raise BadInput(f"{results.source} has {many}; take one: results.isel(repeat=0)")
    axes = {name: results.coordinates[name] for name in dims}
    if not axes or not all(np.issubdtype(c.dtype, np.number) for c in axes.values()):
        raise BadInput(
            f"{results.source}: {variable} is over ({', '.join(dims)}), no directions in weights; name another"
        )
    if results.known.shape != results[variable].shape:
        raise BadInput(f"{results.source}: {variable} is not a number of each point; name another variable")
    return np.where(results.known, results[variable], np.nan), noise(results, variable), axes
