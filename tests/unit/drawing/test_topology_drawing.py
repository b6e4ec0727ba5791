"""Figures of merge trees and barcodes show what the trees and barcodes say."""

import audit
import numpy as np
import pytest
from analytic import SURFACE, write
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ensemble.drawing.draw import draw
from landscape import drawing as surfaces
from landscape.analysis.topology import barcode, merge_tree
from landscape.drawing import topology
from landscape.drawing.topology import BARS, PANELS
from landscape.errors import BadInput

X, Y = np.linspace(-1, 1, 31), np.linspace(-1, 1, 21)
XX, YY = np.meshgrid(X, Y)
WELLS = 16 * (XX**2 - 0.25) ** 2 + YY**2 + 0.1 * XX + 0.2
PEAK = (XX**2 + YY**2 - 0.36) ** 2 + 0.1
BOWL = 0.1 + XX**2 + YY**2
TOTAL = XX.size


def surface(loss, dims=("y", "x"), se=1e-3, **attributes):
    axes = {name: {"y": Y, "x": X, "repeat": np.arange(len(loss))}[name] for name in dims}
    values = {"loss": loss, "loss_se": se, "accuracy": 0.5, "examples": 100, **attributes.pop("more", {})}
    return write(None, "surface", dims, axes, values, split="train", **{**SURFACE, **attributes})


def stems(axes):
    """Where stems stand, and from which loss to which."""
    lines = [np.array(line.get_xydata()) for line in axes.lines if len(line.get_xdata()) == 2]
    return sorted((line[0, 0], *sorted(line[:, 1])) for line in lines if line[0, 0] == line[1, 0])


def lengths(axes):
    """Birth and death of each bar."""
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]


def test_stems_go_from_minima_to_saddles_and_are_as_wide_as_their_basins():
    file = surface(WELLS)
    tree, figure = merge_tree(file), draw(file, show="tree")
    (axes,) = figure.axes
    (first, second), top = stems(axes), axes.get_ylim()[1]
    shares = 100 * tree.share
    np.testing.assert_allclose(first, [shares[0] / 2, tree.birth[0], top])
    np.testing.assert_allclose(second, [shares[0] + shares[1] / 2, tree.birth[1], tree.death[1]])
    joints = [line for line in axes.lines if len(line.get_xdata()) == 2 and np.ptp(line.get_xdata()) > 0]
    assert [line.get_ydata()[0] for line in joints] == [tree.death[1]] * len(joints) and len(joints) == 1
    assert axes.get_xlabel() == "share of the plane (%)" and axes.get_yscale() == "log"


def test_bars_go_from_birth_to_death_filled_for_minima_and_hollow_for_loops():
    file = surface(PEAK)
    known = barcode(file)
    (axes,) = draw(file, show="barcode").axes
    drawn = lengths(axes)
    order = np.lexsort([-known.persistence, known.dimension])
    high = axes.get_xlim()[1]
    np.testing.assert_allclose(drawn, [(known.birth[i], min(known.death[i], high)) for i in order])
    hollow = [bar.get_facecolor() == (1, 1, 1, 1) for bar in axes.patches]
    assert hollow == (known.dimension[order] == 1).tolist() and any(hollow)
    assert any("1 loop" in text.get_text() for text in axes.texts)


def test_no_branches_of_a_tree_cross():
    """Of a rough surface: no stem stands where a joint passes, but those that begin above it."""
    rough = np.random.default_rng(0).random((21, 31)) + 0.5
    (axes,) = draw(surface(rough, se=1e-9), show="tree", linear=True).axes
    upright = stems(axes)
    joints = [[*sorted(line.get_xdata()), line.get_ydata()[0]] for line in axes.lines if len(line.get_xdata()) == 2]
    joints = [joint for joint in joints if joint[1] > joint[0]]
    assert len(joints) > 20
    for left, right, level in joints:
        assert not [x for x, low, high in upright if left < x < right and low < level < high]


def test_the_most_persistent_bars_are_drawn_and_all_are_counted():
    rough = np.random.default_rng(0).random((21, 31)) + 0.5
    file = surface(rough, se=0.1)
    known = barcode(file)
    (axes,) = draw(file, show="barcode", linear=True).axes
    assert len(lengths(axes)) == BARS < known.birth.size
    said = next(text.get_text() for text in axes.texts)
    minima, noise = (known.significant & (known.dimension == 0)).sum(), (~known.significant).sum()
    assert said.startswith(f"{minima} minim") and said.endswith(f"{noise} in the noise")


@pytest.mark.parametrize("linear", [False, True])
def test_surfaces_side_by_side_share_their_scale(linear):
    figure = draw([surface(WELLS), surface(BOWL)], show="topology", titles=["rough", "smooth"], linear=linear)
    trees, bars = figure.axes[:2], figure.axes[2:]
    assert [axes.get_title() for axes in trees] == ["rough", "smooth"]
    limits = {axes.get_ylim() for axes in trees} | {axes.get_xlim() for axes in bars}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low <= 0.1 and merge_tree(surface(WELLS)).death[1] < high < WELLS.max()
    assert {axes.get_yscale() for axes in trees} == {"linear" if linear else "log"}
    asked = draw(surface(WELLS), show="tree", vmin=0.01, vmax=100.0)
    assert asked.axes[0].get_ylim() == (0.01, 100)


def test_each_repeat_has_a_panel_and_each_file_a_line():
    files = [surface(np.stack([WELLS, BOWL]), ("repeat", "y", "x")), surface(BOWL)]
    figure = draw(files, show="tree", titles=["a", "b"])
    names = [axes.get_title() for axes in figure.axes if axes.axison]
    assert names == ["a, directions 1", "a, directions 2", "b"]
    with pytest.raises(BadInput, match=f"a figure shows {PANELS} surfaces at most"):
        draw(surface(np.stack([BOWL] * (PANELS + 1)), ("repeat", "y", "x")), show="topology")


def test_lines_and_other_losses_have_trees_too():
    line = write(None, "surface", ("x",), {"x": X}, {"loss": WELLS[10], "loss_se": 1e-3, "examples": 9}, split="test")
    assert draw(line, show="tree").axes[0].get_xlabel() == "share of the line (%)"
    file = surface(BOWL, more={"mse": WELLS, "mse_se": 1e-3})
    assert len(stems(draw(file, show="tree", variable="mse").axes[0])) == 2
    assert len(stems(draw(file, show="tree").axes[0])) == 1


def test_where_the_noise_is_unknown_the_figure_says_so():
    assert "noise of the losses is unknown" in draw(surface(WELLS, se=np.nan), show="topology")._supxlabel.get_text()
    assert "unknown" not in draw(surface(WELLS), show="topology")._supxlabel.get_text()


def test_one_surface_is_drawn_onto_the_axes_given():
    for show, size in (("tree", 2), ("barcode", 2), ("topology", 2)):
        axes = Figure().subplots()
        assert draw(surface(WELLS), ax=axes, show=show) is axes
        assert len(lengths(axes) if show == "barcode" else stems(axes)) == size
    with pytest.raises(BadInput, match="shows one file, got 2"):
        draw([surface(WELLS)] * 2, ax=Figure().subplots(), show="tree")


def test_what_is_to_be_shown_is_chosen_by_its_name():
    for choose in (draw, surfaces.draw):
        assert len(choose(surface(WELLS), show="topology").axes) == 2
        with pytest.raises(BadInput, match="show does not apply to planes"):
            choose(surface(WELLS), show="norm")
    with pytest.raises(BadInput, match="there is no 'twigs' to show of a surface; use topology, tree, barcode"):
        topology([surface(WELLS)], show="twigs")


@pytest.mark.parametrize("rule", audit.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("width", [5.5, 3.25])
@pytest.mark.parametrize("number", [1, 3])
def test_it_keeps_the_rules_of_figures(number, width, rule):
    files = [surface(WELLS), surface(PEAK, se=0.02), surface(BOWL, network="other")][:number]
    assert not list(rule(audit.drawn(draw(files, show="topology", width=width))))
