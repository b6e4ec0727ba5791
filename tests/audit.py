"""What is wrong with a figure as it is laid out: texts that collide or are cut, axes without a scale, and the like.

A figure is drawn once, with what was drawn written down; every rule then gives its faults as sentences.
"""

import itertools
import re
from dataclasses import dataclass
from unittest import mock

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.collections import Collection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from mpl_toolkits.mplot3d.axes3d import Axes3D

SLACK = 1.0  # pixels that two boxes may share, or that a box may stand out: rounding of letters to pixels
APART = 0.25  # of the size of letters: what must lie between two texts of a line, so that they are not read as one
END = 0.3  # of an axis: how far from its end the last label of a symlog scale may be
LEAST = 6  # points

PROPER = "ReLU|ResNet|DenseNet|BatchNorm|LayerNorm|FashionMNIST|ViT"  # names that a paper writes so, too

# What a program calls a thing, and a reader does not.
RAW = {
    "arguments": re.compile(r"\b[A-Za-z_]{2,}=\S"),
    "name of a variable": re.compile(r"\b[a-z]+_[a-z_]+\b"),
    "name of a class": re.compile(rf"\b(?!(?:{PROPER})\b)[A-Z][a-z]+(?:[A-Z][a-z]*)+\b"),
    "name of a family": re.compile(r"(?<![\w-])(?:plain|resnet|preact|densenet|vgg|transformer|vit|stochastic)-[\d\w]"),
    "module and name": re.compile(r"\b[a-z]\w+\.[a-z]\w+:\w|\b[a-z]\w+:[a-z_]+\b"),
}


@dataclass
class Drawn:
    """A figure with the texts that were drawn, each with the corners of its lines, shape (lines, 4, 2), in pixels."""

    figure: object
    texts: list


class Recorder(RendererAgg):
    """Draws nothing, and writes down where every line of every text goes."""

    def __init__(self, figure):
        self.texts, self.under = {}, None
        super().__init__(*figure.bbox.size, figure.dpi)

    def _update_methods(self):
        super()._update_methods()
        for name in ("path", "markers", "path_collection", "quad_mesh", "gouraud_triangles", "image", "tex"):
            setattr(self, f"draw_{name}", lambda *args, **kwargs: None)

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        wide, high, deep = self.get_text_width_height_descent(s, prop, ismath)
        box = np.array([(0, -deep), (wide, -deep), (wide, high - deep), (0, high - deep)])
        turn = np.radians(angle)
        ahead, up = (np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))
        corners = np.array([x, self.height - y]) + box @ np.array([ahead, up])
        self.texts.setdefault(id(self.under), (self.under, []))[1].append(corners)


def drawn(figure):
    """Lay out a figure as it is drawn, and keep its texts."""
    draw, recorder = Text.draw, Recorder(figure)

    def noted(self, renderer, *args, **kwargs):
        recorder.under = self
        draw(self, renderer, *args, **kwargs)

    with mock.patch.object(Text, "draw", noted):
        figure.draw(recorder)
    texts = recorder.texts.values()
    return Drawn(figure, [(text, np.array(lines)) for text, lines in texts if text.get_text().strip()])


# Rules: of each, the faults of a figure


def overlaps(page):
    """No two texts lie on each other, nor so near in one line that they are read as one."""
    boxes = [(text, corners) for text, lines in page.texts for corners in lines]
    reach = [(corners.min(axis=0) - 6, corners.max(axis=0) + 6) for _, corners in boxes]
    for (i, (one, here)), (j, (other, there)) in itertools.combinations(enumerate(boxes), 2):
        if one is other or (reach[i][0] > reach[j][1]).any() or (reach[j][0] > reach[i][1]).any():
            continue
        size = min(one.get_fontsize(), other.get_fontsize()) * page.figure.dpi / 72
        if _meet(_longer(here, APART * size / 2), _longer(there, APART * size / 2)):
            yield f"{one.get_text()!r} and {other.get_text()!r} collide"


def cuts(page):
    """No text is cut by the edge of the figure."""
    for text, lines in page.texts:
        points = lines.reshape(-1, 2)
        if (points < -SLACK).any() or (points > np.array(page.figure.bbox.size) + SLACK).any():
            yield f"{text.get_text()!r} is cut by the edge of the figure"


def scales(page):
    """Every axis that is not linear, and every colour bar, has a label and two numbers or more."""
    seen = {id(text) for text, _ in page.texts}
    for axes in page.figure.axes:
        bar = getattr(axes, "_colorbar", None)
        for name in axes._axis_names if axes.axison and axes.get_visible() else ():
            axis = getattr(axes, f"{name}axis")
            long = bar is not None and name == ("x" if bar.orientation == "horizontal" else "y")
            if not long and (bar is not None or axis.get_scale() == "linear"):
                continue
            what = "a colour bar" if long else f"a {axis.get_scale()} axis ({name})"
            grouper = axes.get_shared_x_axes() if name == "x" else axes.get_shared_y_axes()
            siblings = [getattr(each, f"{name}axis") for each in grouper.get_siblings(axes)]
            if not any(id(each.label) in seen for each in siblings):
                yield f"{what} has no label"
            places = max((_places(each, seen) for each in siblings), key=len)
            if len(places) < 2:
                yield f"{what} has {len(places)} numbers"
            elif axis.get_scale() == "symlog" and (min(places) > END or max(places) < 1 - END):
                yield f"{what} has no number near one of its ends"


def keys(page):
    """Every entry of a legend is of a mark that is seen."""
    figure = page.figure
    legends = [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]
    own = {id(part) for legend in legends for part in legend.findobj()}
    marks = [
        part
        for axes in figure.axes
        if axes.get_visible()
        for part in [*axes.lines, *axes.collections, *axes.patches]
        if id(part) not in own and part.get_visible() and _inside(part, axes)
    ]
    for legend in legends:
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            if handle is not None and not any(_like(handle, mark) for mark in marks) and not _empty(handle):
                yield f"the legend has {text.get_text()!r}, and no such mark is seen"


def small(page):
    """No text is smaller than six points."""
    for text, _ in page.texts:
        if text.get_fontsize() < LEAST:
            yield f"{text.get_text()!r} is {text.get_fontsize():g} points high"


def raw(page):
    """Nothing is called as a program calls it."""
    for text, _ in page.texts:
        for what, pattern in RAW.items():
            if match := pattern.search(re.sub(r"\$.*?\$", "", text.get_text())):
                yield f"{text.get_text()!r} has {match[0]!r}, the {what}"


RULES = [overlaps, cuts, scales, keys, small, raw]


def _longer(corners, more):
    """A box of a text, longer at both ends of its line, and as much lower as rounding may be."""
    ahead = (corners[1] - corners[0]) / max(np.linalg.norm(corners[1] - corners[0]), 1e-9)
    up = (corners[3] - corners[0]) / max(np.linalg.norm(corners[3] - corners[0]), 1e-9)
    return (
        corners + np.array([-1, 1, 1, -1])[:, None] * more * ahead + np.array([1, 1, -1, -1])[:, None] * SLACK / 2 * up
    )


def _meet(one, other):
    """Whether two rectangles share more than a line: no side of either has the other wholly beyond it."""
    for corners in (one, other):
        for side in (corners[1] - corners[0], corners[3] - corners[0]):
            a, b = one @ side, other @ side
            if a.max() <= b.min() or b.max() <= a.min():
                return False
    return True


def _places(axis, seen):
    """Where the numbers of an axis stand, from 0 to 1."""
    labels = [label for label in axis.get_ticklabels(which="both") if id(label) in seen and label.get_text().strip()]
    at = [label.get_position()["xy".index(axis.axis_name)] for label in labels]
    low, high = np.sort(axis.get_transform().transform(np.array(axis.get_view_interval(), float)))
    return [(axis.get_transform().transform(np.array([place], float))[0] - low) / (high - low) for place in at]


def _inside(mark, axes):
    """Whether a mark has a point in its axes."""
    if isinstance(axes, Axes3D):
        return True
    room = axes.bbox.padded(2)
    if isinstance(mark, Line2D):
        path = mark.get_transform().transform_path(mark.get_path())
        if mark.get_linestyle() != "None":
            return len(path.vertices) > 1 and path.intersects_bbox(room, filled=False)
        return _any(path.vertices, room)
    if isinstance(mark, Patch):
        return mark.get_transform().transform_path(mark.get_path()).intersects_bbox(room)
    offsets = mark.get_offset_transform().transform(np.atleast_2d(mark.get_offsets()))
    paths = [mark.get_transform().transform_path(path) for path in mark.get_paths()]
    return any(_any(path.vertices + offset, room) for path in paths if len(path.vertices) for offset in offsets)


def _any(points, room):
    with np.errstate(invalid="ignore"):
        return bool(((points >= room.min) & (points <= room.max)).all(axis=1).any())


def _empty(handle):
    """Whether an entry is a remark, without a mark of its own."""
    if isinstance(handle, Line2D):
        return handle.get_linestyle() == "None" and handle.get_marker() in ("None", "", None)
    return not isinstance(handle, (Patch, Collection))


def _like(handle, mark):
    """Whether a mark looks as its entry says: the colour, unless the entry is grey for any; the marker, the dashes."""
    if isinstance(handle, Line2D):
        color = to_rgb(handle.get_color())
        marker = handle.get_marker() not in ("None", "")
        any_color = len(set(color)) == 1 and color != (0, 0, 0)
        if not any_color and color in _colors(mark):
            return True
        if not isinstance(mark, Line2D):
            return any_color and not marker
        if not any_color:
            return False
        if marker and handle.get_marker() != mark.get_marker():
            return False
        if handle.get_linestyle() == "None":
            return marker
        return marker or handle._unscaled_dash_pattern == mark._unscaled_dash_pattern
    if getattr(handle, "get_hatch", lambda: None)():
        return getattr(mark, "get_hatch", lambda: None)() == handle.get_hatch()
    return bool(_colors(handle) & _colors(mark))


def _colors(mark):
    """The colours of a mark, without their transparency."""
    if isinstance(mark, Line2D):
        each = [mark.get_color(), mark.get_markerfacecolor()]
    elif isinstance(mark, Patch):
        each = [mark.get_facecolor(), mark.get_edgecolor()]
    else:
        each = [*mark.get_facecolor()[:1], *mark.get_edgecolor()[:1]]
    return {to_rgb(color) for color in each if not isinstance(color, str) or color != "none"}
