"""A loss surface as triangles: open for Blender (.obj), closed on a base for a printer (.stl).

Triangles run counterclockwise seen from outside (of an open surface: from above).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from landscape.engine.table import Results
from landscape.errors import BadInput
from landscape.formats.heights import heights, plane

__all__ = ["Mesh", "solid", "surface", "write_obj", "write_stl"]

BASE = 0.05  # thickness under the lowest point, of the longer side


class Mesh(NamedTuple):
    """Triangles in space.

    Attributes
    ----------
    vertices : ndarray, shape (n, 3)
    triangles : int ndarray, shape (m, 3), three vertices each
    """

    vertices: np.ndarray
    triangles: np.ndarray


def surface(x: np.ndarray, y: np.ndarray, height: np.ndarray) -> Mesh:
    """The relief over a grid, two triangles a cell.

    Parameters
    ----------
    x, y : ndarray, shapes (nx,) and (ny,), ascending
    height : ndarray, shape (ny, nx); at NaN there is a hole
    """
    ys, xs = np.meshgrid(y, x, indexing="ij")
    vertices = np.stack([xs.ravel(), ys.ravel(), height.ravel()], axis=1)
    at = np.arange(height.size).reshape(height.shape)
    a, b, c, d = (part.ravel() for part in (at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]))
    triangles = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    triangles = triangles[np.isfinite(vertices[:, 2])[triangles].all(axis=1)]
    used, renumbered = np.unique(triangles, return_inverse=True)
    return Mesh(vertices[used], renumbered.reshape(-1, 3))


def solid(x: np.ndarray, y: np.ndarray, height: np.ndarray, base: float) -> Mesh:
    """The relief as the upper side of a body with four walls and a flat floor.

    Parameters
    ----------
    x, y, height : as in `surface`, but without holes
    base : depth of the floor under the lowest point, above 0
    """
    top = surface(x, y, height)
    at = np.arange(height.size).reshape(height.shape)
    rim = np.concatenate([at[0, :-1], at[:-1, -1], at[-1, :0:-1], at[:0:-1, 0]])  # counterclockwise from above
    n, k = height.size, len(rim)
    floor = height.min() - base
    lower = np.column_stack([top.vertices[rim, :2], np.full(k, floor)])
    middle = [(x[0] + x[-1]) / 2, (y[0] + y[-1]) / 2, floor]
    here, under = rim, n + np.arange(k)
    there, beyond = np.roll(rim, -1), np.roll(under, -1)
    walls = [np.stack([under, beyond, there], axis=1), np.stack([under, there, here], axis=1)]
    fan = np.stack([beyond, under, np.full(k, n + k)], axis=1)  # around the middle of the floor, seen from below
    return Mesh(np.vstack([top.vertices, lower, middle]), np.concatenate([top.triangles, *walls, fan]))


def write_obj(
    results: Results,
    path: Path,
    repeat: int | None = None,
    linear: bool = False,
    clip: float | None = None,
    height: float = 1.0,
) -> list[str]:
    """A surface for Blender and the like; what has no height is a hole.

    Parameters
    ----------
    results, repeat : see `landscape.formats.heights.plane`
    linear, clip, height : see `landscape.formats.heights.heights`
    """
    results = plane(results, repeat)
    up, notes = heights(results, linear, clip, height)
    mesh = surface(results.coordinates["x"], results.coordinates["y"], up)
    if not len(mesh.triangles):
        raise BadInput(f"{results.source} has no three neighbours with a height; measure more of it first")
    if holes := (~np.isfinite(up)).sum():
        notes.append(f"points not finite or not measured: {holes} of {up.size}; they are holes")
    lines = ["# x, y: the plane; z: the loss" if linear else "# x, y: the plane; z: log10 of the loss"]
    lines += [f"v {a!r} {b!r} {c!r}" for a, b, c in mesh.vertices.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (mesh.triangles + 1).tolist()]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return notes


def write_stl(
    results: Results,
    path: Path,
    repeat: int | None = None,
    linear: bool = False,
    clip: float | None = None,
    height: float = 1.0,
) -> list[str]:
    """A closed body that can be printed, as binary STL in the units of the plane; what is not finite lies on top.

    Parameters
    ----------
    results, repeat : see `landscape.formats.heights.plane`
    linear, clip, height : see `landscape.formats.heights.heights`

    Raises
    ------
    BadInput
        Points are missing, or lie closer together than single precision can tell.
    """
    results = plane(results, repeat)
    if left := (~results.known).sum():
        raise BadInput(
            f"{results.source}: {left} of {results['done'].size} points are not measured yet; finish it first"
        )
    up, notes = heights(results, linear, clip, height)
    if (lost := ~np.isfinite(up)).any():
        notes.append(f"losses not finite: {lost.sum()} of {up.size}; they lie at the greatest height")
        up = np.where(lost, up[~lost].max(), up)
    x, y = results.coordinates["x"], results.coordinates["y"]
    body = solid(x, y, up, BASE * max(np.ptp(x), np.ptp(y)))
    corners = body.vertices.astype("<f4").astype(float)[body.triangles]  # (m, 3, 3), as they will be read
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    if not np.isfinite(corners).all() or not (lengths > 0).all():
        raise BadInput(f"{results.source} has points too close or too far for STL's single precision; use .obj")
    facets = np.zeros(len(corners), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    facets["normal"], facets["corners"] = normals / lengths, corners
    with open(path, "wb") as file:
        file.write(b"skipscape: a loss surface".ljust(80))  # must not begin with "solid", as the text form does
        file.write(np.array(len(facets), "<u4").tobytes())
        file.write(facets.tobytes())
    return notes
