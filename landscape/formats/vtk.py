"""VTK's XML files, for ParaView: a surface as a structured grid (.vts), a path as a polyline (.vtp).

Arrays are little-endian and base64, each after its length as 64 bits: text would lose NaN and infinity. The first axis
of a structured grid is the fastest.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from landscape.engine.table import Results
from landscape.errors import BadInput
from landscape.formats.heights import heights, plane

__all__ = ["write_vtp", "write_vts"]

TYPES = {"f": ("Float64", "<f8"), "i": ("Int64", "<i8"), "u": ("UInt8", "u1"), "b": ("UInt8", "u1")}
HIDDEN = 2  # of vtkGhostType: a point that is not drawn


def write_vts(
    results: Results,
    path: Path,
    repeat: int | None = None,
    linear: bool = False,
    clip: float | None = None,
    height: float = 1.0,
) -> list[str]:
    """A surface over (y, x) as a relief, or a space over (z, y, x), with all that was measured at its points.

    Parameters
    ----------
    results, repeat : see `landscape.formats.heights.plane`
    linear, clip, height : see `landscape.formats.heights.heights`; of a relief only

    Notes
    -----
    Points without a height are hidden, by an array ``vtkGhostType``.
    """
    space = results.dims.get("loss") == ("z", "y", "x")
    if not space:
        results = plane(results, repeat)
    over = results.dims["loss"]
    x, y, *z = (grid.ravel() for grid in reversed(np.meshgrid(*(results.coordinates[n] for n in over), indexing="ij")))
    data = _data(results, over)
    notes: list[str] = []
    if space:
        up, shown = z[0], (results.known & np.isfinite(results["loss"])).ravel()
    else:
        up, notes = heights(results, linear, clip, height)
        up, shown = np.nan_to_num(up, nan=np.nanmin(up)).ravel(), np.isfinite(up).ravel()
    if not shown.all():
        data["vtkGhostType"] = np.where(shown, 0, HIDDEN).astype("u1")
        notes.append(f"points not finite or not measured: {(~shown).sum()} of {shown.size}; they are hidden")
    sizes = [*reversed(results["loss"].shape), 1, 1][:3]
    extent = " ".join(f"0 {n - 1}" for n in sizes)
    piece = f'<Piece Extent="{extent}">{_point_data(data)}{_points(x, y, up)}</Piece>'
    _write(path, "StructuredGrid", f'WholeExtent="{extent}"', piece)
    return notes


def write_vtp(
    results: Results, path: Path, linear: bool = False, clip: float | None = None, height: float = 1.0
) -> list[str]:
    """The path of a training as one polyline over its plane: (alpha, beta, height of the loss on the path).

    Parameters
    ----------
    results : of kind trajectory
    linear, clip, height : see `landscape.formats.heights.heights`
    """
    if results.kind != "trajectory":
        raise BadInput(f"{results.source} is a {results.kind}; a .vtp file holds the path of a trajectory: use .vts")
    up, notes = heights(results, linear, clip, height)
    if (lost := ~np.isfinite(up)).any():
        notes.append(f"losses not finite or not measured: {lost.sum()} of {up.size}; they lie at the greatest height")
        up = np.where(lost, up[~lost].max(), up)
    n = len(up)
    line = _array("connectivity", np.arange(n)) + _array("offsets", np.array([n]))
    counts = f'NumberOfPoints="{n}" NumberOfVerts="0" NumberOfLines="1" NumberOfStrips="0" NumberOfPolys="0"'
    points = _points(results["alpha"], results["beta"], up)
    data = _point_data(_data(results, ("checkpoint",)))
    _write(path, "PolyData", "", f"<Piece {counts}>{data}{points}<Lines>{line}</Lines></Piece>")
    return notes


def _data(results: Results, over: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The variables over the points, and the loss's logarithm."""
    arrays = {
        name: array.ravel()
        for name, array in results.variables.items()
        if results.dims[name] == over and array.dtype.kind in TYPES  # texts have no place there
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        return arrays | {"log10_loss": np.log10(arrays["loss"])}


def _point_data(arrays: Mapping[str, np.ndarray]) -> str:
    inside = "".join(_array(name, array) for name, array in arrays.items())
    return f'<PointData Scalars="log10_loss">{inside}</PointData>'


def _points(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> str:
    return f"<Points>{_array('Points', np.stack([x, y, z], axis=1).astype(float))}</Points>"


def _array(name: str, array: np.ndarray) -> str:
    kind, dtype = TYPES[array.dtype.kind]
    values = array.astype(dtype).tobytes()
    text = base64.b64encode(np.array(len(values), "<u8").tobytes() + values).decode()
    components = array.shape[1] if array.ndim > 1 else 1
    attributes = f'type="{kind}" Name={quoteattr(name)} NumberOfComponents="{components}" format="binary"'
    return f"<DataArray {attributes}>{text}</DataArray>\n"


def _write(path: Path, kind: str, attributes: str, piece: str) -> None:
    head = f'<VTKFile type="{kind}" version="1.0" byte_order="LittleEndian" header_type="UInt64">'
    inside = f"<{kind} {attributes}>{piece}</{kind}>"
    path.write_text(f'<?xml version="1.0"?>\n{head}\n{inside}\n</VTKFile>\n', encoding="utf-8")
