"""Labels of a scale are short, and tell its losses apart."""

import numpy as np
import pytest
from analytic import maker

from landscape.drawing import planes
from landscape.drawing.scale import common_norm, label_of, labels_of, levels_of

X = np.linspace(-1, 1, 21)
BOWL = np.add.outer(X**2, X**2) / 2  # 0 to 1


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize(
    ("low", "rise", "some"),
    [
        (2.3, 0.01, ["2.302", "2.304"]),
        (2.3, 4e-5, ["2.30001", "2.300015"]),
        (1e-5, 2e-7, [r"$1.005\times10^{-5}$"]),
        (12345, 6, ["12346", "12347"]),
        (2.0, 1.0, ["2.2", "2.4"]),
        (999.5, 0.5, ["999.6", "1000"]),
    ],
)
def test_an_almost_flat_surface_has_labels_that_tell_its_losses_apart(low, rise, some, linear):
    levels = levels_of(common_norm([low + rise * BOWL], linear=linear))
    names = labels_of(levels)
    assert len(set(names)) == len(levels) > 3
    assert set(some) <= set(names)


def test_labels_are_as_short_as_ever_where_that_tells_them_apart():
    for levels in ([0.1, 0.2, 0.5, 1, 2, 5, 10], [1e-6, 1e-3, 1, 1e4], [2.3], [2.3, 2.3]):
        assert labels_of(levels) == [label_of(level) for level in levels]


def test_levels_that_are_given_are_not_rounded_onto_others():
    assert labels_of([2.3014, 2.3096]) == ["2.301", "2.31"]
    assert labels_of([-2.99, -2.995, 5e3]) == ["−2.99", "−2.995", "5000"]


def test_contours_and_colour_bar_of_an_almost_flat_surface_have_the_same_numbers(tmp_path):
    file = maker(tmp_path)(2.3 + 0.01 * BOWL, X, X)
    figure = planes([file])
    figure.draw_without_rendering()
    bar = next(axes for axes in figure.axes if "loss" in axes.get_xlabel())
    ticks = [label.get_text() for label in bar.get_xticklabels()]
    assert ticks == ["2.3", "2.302", "2.304", "2.306", "2.308", "2.31"]
    texts = {text.get_text() for axes in figure.axes for text in axes.texts} - {"α", "β", "training loss"}
    lines = {text for text in texts if "centre" not in text}
    assert len(lines) > 1 and lines <= set(ticks)


def test_labels_that_would_touch_are_every_other(tmp_path):
    figure = planes([maker(tmp_path)(2.3 + 4e-5 * BOWL, X, X)])
    bar = next(axes for axes in figure.axes if "loss" in axes.get_xlabel())
    ticks = [label.get_text() for label in bar.get_xticklabels()]
    assert ticks[::2] == ["2.3", "2.30001", "2.30002", "2.30003", "2.30004"] and not any(ticks[1::2])
