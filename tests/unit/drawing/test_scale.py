"""Labels of a scale are short, and tell its losses apart."""

import numpy as np
import pytest
from analytic import maker

from landscape.drawing import planes
from landscape.drawing.scale import common_norm, label_of, labels_of, levels_of, linear_within, signed_ticks

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


@pytest.mark.parametrize("highest", [1e3, 1e9, 1e30])
def test_the_lowest_loss_has_a_place_on_the_scale_however_far_above_it_the_others_lie(highest):
    loss = np.append(2e-4, np.geomspace(highest / 100, highest, 400))
    norm = common_norm([loss])
    assert norm.vmin <= 2e-4 and norm.vmax >= np.median(loss)
    levels = levels_of(norm)
    steps = np.diff(np.log10(levels))
    assert 4 <= len(levels) <= 12 and np.ptp(steps) < 1e-9
    assert np.log10(levels[0] / norm.vmin) <= steps[0] >= np.log10(norm.vmax / levels[-1])


@pytest.mark.parametrize(
    ("low", "high", "linear", "ticks"),
    [
        (-50, 50, 1, [-50, -10, -1, 0, 1, 10, 50]),
        (-2e8, 2e8, 20, [-2e8, -1e6, -1e4, -100, 0, 100, 1e4, 1e6, 2e8]),
        (-2e8, 0, 20, [-2e8, -1e7, -1e6, -1e5, -1e4, -1000, -100, 0]),
        (0, 1, 0.05, [0, 0.1, 1]),
        (-2, 2, 5, [-2, 0, 2]),  # linear throughout
    ],
)
def test_a_scale_that_is_linear_near_0_has_its_ends_and_0_and_powers_of_ten_that_keep_apart(low, high, linear, ticks):
    assert signed_ticks(low, high, linear) == pytest.approx(ticks)


def test_numbers_below_0_have_a_minus_sign_however_they_are_written():
    assert [label_of(v) for v in (-0.05, -200.0, -1e5, -2e-4)] == ["−0.05", "−200", "−$10^{5}$", r"−$2\times10^{-4}$"]
    assert linear_within(0.023) == "linear within ±0.023, logarithmic beyond"
