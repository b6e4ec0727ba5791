"""Results as a tidy table: one row a point, one column a coordinate or a variable."""

from __future__ import annotations

from itertools import compress, product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from landscape.engine.results import Results

__all__ = ["columns"]


def columns(results: Results) -> tuple[dict[str, np.ndarray], list[str]]:
    """One column a coordinate, then one a variable, over all points that are measured.

    Returns
    -------
    The columns, and the names of variables that are not over these points.

    Notes
    -----
    Rows are in C order of the grid. A set of blocks (or of anything else with a name) is one column that names its
    members, with spaces between, so that a table is as wide for 54 blocks as for 3, can be read, and split again;
    nothing in it is the empty set. A second one has their numbers, from 1, as in figures. Other variables with further
    dimensions are one column for each label.
    """
    over = results.dims["done"]
    axes = [results.coordinates[name] for name in over]
    table = {name: grid.ravel() for name, grid in zip(over, np.meshgrid(*axes, indexing="ij"), strict=True)}
    left = []
    for name, array in results.variables.items():
        own = [d for d in results.dims[name] if d in over]
        more = [d for d in results.dims[name] if d not in over]
        if not own:
            left.append(name)
            continue
        # Its own dimensions first, in the order of the rows, and repeated along those that it has not.
        own.sort(key=over.index)
        array = array.transpose([results.dims[name].index(d) for d in [*own, *more]])
        array = np.expand_dims(array, [over.index(d) for d in over if d not in own])
        inner = array.shape[len(over) :]
        array = np.broadcast_to(array, [*map(len, axes), *inner]).reshape(len(table[over[0]]), -1)
        labels = [",".join(map(str, label)) for label in product(*(results.coordinates[d] for d in more))]
        if not more:
            table[name] = array[:, 0]
        elif array.dtype == bool and results.coordinates[more[0]].dtype.kind == "O":
            for column, members in {name: labels, f"{name}_number": range(1, len(labels) + 1)}.items():
                table[column] = np.array([" ".join(map(str, compress(members, row))) for row in array], object)
        else:
            table |= {f"{name}[{label}]": column for label, column in zip(labels, array.T, strict=True)}
    return table, left
