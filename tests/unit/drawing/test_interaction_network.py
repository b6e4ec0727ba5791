"""Arcs join the blocks that interact, on the side of the sign, the wider the more."""

import audit
import numpy as np
import pytest
from analytic import file_of
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Arc

from ensemble.attribution.interaction import interactions
from ensemble.drawing.draw import draw
from ensemble.drawing.interaction_network import LESS, MORE, WIDEST, arcs
from landscape.errors import BadInput

PAIRS = [0.1, -0.2, 0.01], [0.01, 0.02, 0.01]  # the third cannot be told from nothing


def drawn_arcs(axes):
    return [patch for patch in axes.patches if isinstance(patch, Arc)]


def test_each_significant_pair_has_an_arc():
    axes = arcs(Figure().subplots(), interactions(file_of(*PAIRS)), ["a", "b", "c"], 0.2)
    more, less = drawn_arcs(axes)
    assert (more.center, more.width) == ((1.5, 0), 1) and (less.center, less.width) == ((2.0, 0), 2)
    assert (more.theta1, more.theta2) == (0, 180) and (less.theta1, less.theta2) == (180, 360)
    assert [to_hex(arc.get_edgecolor()).upper() for arc in (more, less)] == [MORE, LESS]
    assert [arc.get_linewidth() for arc in (more, less)] == pytest.approx([WIDEST / 2, WIDEST])


def test_networks_share_the_widths_of_their_arcs_and_tell_how_many_there_are():
    half = np.array(PAIRS[0]) / 2, PAIRS[1]
    figure = draw([file_of(*PAIRS), file_of(*half)], show="network", titles=["one", "other"])
    widths = [max(arc.get_linewidth() for arc in drawn_arcs(axes)) for axes in figure.axes]
    assert widths == pytest.approx([WIDEST, WIDEST / 2])
    assert [axes.get_title() for axes in figure.axes] == ["one\n2 of 3 pairs", "other\n2 of 3 pairs"]
    assert "widest is 20" in figure._supxlabel.get_text().replace("\n", " ")


def test_losses_are_drawn_on_demand_and_nothing_else():
    (axes,) = draw(file_of(*PAIRS), show="network", variable="loss").axes
    assert len(drawn_arcs(axes)) == 3
    with pytest.raises(BadInput, match="show the network of error or loss"):
        draw(file_of(*PAIRS), show="network", variable="kl")


@pytest.mark.parametrize("rule", audit.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("width", [5.5, 3.25])
def test_it_keeps_the_rules_of_figures(width, rule):
    figure = draw([file_of(*PAIRS)] * 2, show="network", titles=["one", "other"], width=width)
    assert not list(rule(audit.drawn(figure)))
