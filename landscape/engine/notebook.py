"""Results as a notebook shows them: what was measured, along which axes, in which range."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from landscape.engine.results import Results

__all__ = ["as_html"]


def as_html(results: Results) -> str:
    """A heading and a small table: a row for each axis, then for each variable; every text is escaped."""
    data, split = (str(results.attributes.get(name, "")) for name in ("data", "split"))
    heading = ", ".join(filter(None, [f"{results.kind}: {results.network}", data, split and f"{split} split"]))
    done = results.variables.get("done", np.ones(0, bool))
    rows = [_row(name, f"{len(values)} points", "", _range(values)) for name, values in results.coordinates.items()]
    for name in results.variables:
        along, unit = ", ".join(results.dims[name]), str(results.metadata.get(name, {}).get("units", ""))
        rows.append(_row(name, along, unit, _range(_measured(results, name))))
    return "\n".join(
        [
            f"<p><b>{escape(heading)}</b>; {done.sum()} of {done.size} rows measured; {escape(results.source)}</p>",
            "<table>",
            _row("", "over", "unit", "range", cell="th"),
            *rows,
            "</table>",
        ]
    )


def _row(*texts: str, cell: str = "td") -> str:
    return f"<tr>{''.join(f'<{cell}>{escape(text)}</{cell}>' for text in texts)}</tr>"


def _measured(results: Results, name: str) -> np.ndarray:
    """The values of a variable; of one that is over the rows, without those that are not known."""
    over, dims = results.dims.get("done", ()), results.dims[name]
    return results[name][results.known] if name != "done" and dims[: len(over)] == over else results[name]


def _range(values: np.ndarray) -> str:
    """Ends of numbers, how many of truths, and the first and last of texts."""
    if values.dtype.kind == "b":
        return f"{values.sum()} of {values.size}"
    if values.dtype.kind == "O":
        return _ends(map(str, values.flat[[0, -1]])) if values.size else ""
    finite = values[np.isfinite(values)]
    text = _ends(f"{value:.4g}" for value in (finite.min(), finite.max())) if finite.size else "nothing finite"
    lost = values.size - finite.size
    return f"{text}; {lost} not finite" if lost and finite.size else text


def _ends(texts: Iterable[str]) -> str:
    return " … ".join(dict.fromkeys(texts))
