"""Panels of maps and their bars have their places, whatever the width and the number of panels."""

import numpy as np
import pytest

from landscape.drawing.maps import head_of, sheet


def places(figure, axes):
    """Left, bottom, right and top of axes, in inches."""
    return axes.get_position().extents * np.tile(figure.get_size_inches(), 2)


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("width", [3.25, 5.5, 7.0])
@pytest.mark.parametrize("columns", [1, 2, 3])
def test_panels_have_the_shape_asked_for_and_fill_the_width(width, columns, below):
    rows = 1 if below else 2
    figure, panels, bars = sheet(width, rows, columns, shape=0.5, head=0.3, foot=0.4, below=below)
    assert figure.get_figwidth() == width and panels.shape == (rows, columns)
    assert len(bars) == (columns if below else rows)
    boxes = np.array([places(figure, axes) for axes in [*panels.flat, *bars]])
    sides = boxes[:, 2:] - boxes[:, :2]
    np.testing.assert_allclose(sides[: panels.size, 1], 0.5 * sides[: panels.size, 0])
    rest = width - sides[:columns, 0].sum()
    assert rest < 0.2 * (columns - 1) + 1.5  # labels, and a bar
    assert boxes[:, 0].min() > 0.4 and boxes[:, 1].min() >= 0.4
    assert boxes[:, 3].max() == pytest.approx(figure.get_figheight() - 0.3)
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            assert (one[:2] >= other[2:] - 1e-9).any() or (other[:2] >= one[2:] - 1e-9).any()


def test_only_the_outer_panels_have_numbers_unless_there_is_room():
    _, panels, _ = sheet(5.5, 2, 2, head=0.3, foot=0.3)
    assert panels[0, 0].get_position().y0 > panels[1, 0].get_position().y1  # rows from above, columns from the left
    assert panels[0, 0].get_position().x1 < panels[0, 1].get_position().x0
    left = [axes.yaxis.get_tick_params()["labelleft"] for axes in panels.flat]
    below = [axes.xaxis.get_tick_params()["labelbottom"] for axes in panels.flat]
    assert left == [True, False, True, False] and below == [False, False, True, True]
    _, panels, _ = sheet(5.5, 2, 2, head=0.3, foot=0.3, gap=(0.4, 0.5))
    assert all(axes.yaxis.get_tick_params()["labelleft"] for axes in panels.flat)


def test_long_titles_are_wrapped_and_have_room_above():
    names, head = head_of(["ResNet-20", "a network with a long name indeed"], 3.25, 2)
    assert names[0] == "ResNet-20" and names[1].replace("\n", " ") == "a network with a long name indeed"
    assert max(map(len, names[1].split("\n"))) < 14 and head > head_of(["ResNet-20"], 3.25, 2)[1]
