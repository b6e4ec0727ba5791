"""Merge trees and barcodes: closed forms, floods of every level, bottlenecks of spanning trees, GUDHI's numbers."""

from itertools import product

import networkx
import numpy as np
import pytest
from analytic import maker, write
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from landscape.analysis.merge_trees import bars, tree
from landscape.analysis.minima import LOOPS, loops, minima
from landscape.analysis.numbers import noise
from landscape.analysis.topology import barcode, merge_tree
from landscape.errors import BadInput

X, Y = np.linspace(-1, 1, 41), np.linspace(-2, 2, 21)
XX, YY = np.meshgrid(X, Y)
AXES = {"y": Y, "x": X}
ERROR = np.full(XX.shape, 1e-3)
WELLS = 16 * (XX**2 - 0.25) ** 2 + YY**2 + 0.1 * XX
INF = np.inf

VALUES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, np.nan, np.inf])
SHAPES = st.one_of(st.tuples(st.integers(1, 12)), st.tuples(st.integers(1, 6), st.integers(1, 6)))
PLANES = st.tuples(st.integers(1, 7), st.integers(1, 7))
SPACES = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))


def grown(loss, error=None, k=None, make=tree):
    """A tree, or bars, over the places of an array."""
    axes = {f"axis {i}": np.arange(n) for i, n in enumerate(np.shape(loss))}
    return make(np.asarray(loss, float), np.zeros(np.shape(loss)) if error is None else error, axes, k)


def neighbours(shape):
    """Pairs of points that share an edge or a corner."""
    for point in np.ndindex(*shape):
        for step in product((-1, 0, 1), repeat=len(shape)):
            other = tuple(p + s for p, s in zip(point, step, strict=True))
            if other > point and all(0 <= p < n for p, n in zip(other, shape, strict=True)):
                yield point, other


# What is known in closed form


def test_a_double_well_has_two_leaves_and_a_saddle_between_them():
    known = tree(WELLS, ERROR, AXES)
    barrier = 1 - 0.1 * 0.5  # of the shallow well
    np.testing.assert_allclose(known.position, [(0, -0.5), (0, 0.5)], atol=1e-12)
    np.testing.assert_allclose(known.saddle_position, [(np.nan, np.nan), (0, 0)], atol=1e-12)
    np.testing.assert_allclose(known.birth, [-0.05, 0.05])
    np.testing.assert_allclose(known.death, [np.inf, 1])
    np.testing.assert_allclose(known.persistence[1], barrier)
    np.testing.assert_allclose(known.distance, [np.nan, 0.5])
    np.testing.assert_allclose(known.se, [np.nan, 1e-3 * np.sqrt(2)])
    assert known.parent.tolist() == [-1, 0] and known.significant.tolist() == [True, True]
    assert known.axes == ("y", "x")
    np.testing.assert_allclose(known.share, [21 / 41, 20 / 41])  # the column at the saddle goes to the deeper one
    assert not tree(WELLS, np.full(WELLS.shape, 0.3), AXES).significant[1]
    assert tree(WELLS, np.full(WELLS.shape, 0.3), AXES, k=2).significant[1]


def test_of_three_wells_each_joins_the_lower_one_beyond_the_lower_pass():
    """Wells at 2, 0, 1; passes at 6 and 4, over which both others join the one in the middle."""
    known = grown([9, 2, 6, 0, 4, 1, 9])
    assert known.position[:, 0].tolist() == [3, 1, 5]
    assert known.parent.tolist() == [-1, 0, 0]
    assert known.saddle_position[1:, 0].tolist() == [2, 4] and known.death.tolist() == [INF, 6, 4]
    chain = grown([9, 0, 5, 1, 4, 2, 9])  # the third joins the second before that joins the first
    assert chain.position[:, 0].tolist() == [1, 3, 5] and chain.parent.tolist() == [-1, 0, 1]


def test_a_peak_within_a_ring_is_a_loop_as_high_as_it_stands_out():
    ring = (XX**2 + YY**2 - 0.64) ** 2
    shape = bars(ring, ERROR, AXES)
    (loop,) = np.flatnonzero((shape.dimension == 1) & shape.significant)
    assert shape.death[loop] == pytest.approx(0.64**2)
    assert shape.birth[loop] == pytest.approx(0, abs=2e-2)  # the ring goes between grid points
    np.testing.assert_allclose(shape.end[loop], [0, 0], atol=1e-12)
    assert np.hypot(*shape.position[loop]) == pytest.approx(0.8, abs=0.1)
    assert not (bars(WELLS, ERROR, AXES).dimension == 1).any()


def test_peaks_at_the_rim_are_no_loops_and_holes_are_some_that_never_end():
    assert loops(-(XX**2) - YY**2).birth.size == 1  # one peak in the middle of a dome
    assert loops(XX**2 + YY**2).birth.size == 0  # four at the corners
    hole = np.where(np.hypot(XX, YY) < 0.3, np.nan, XX**2 + YY**2)
    around = loops(hole)
    assert around.death.tolist() == [INF] and 0.09 <= around.birth[0] < 0.21
    assert loops(np.full((4, 4), np.nan)).birth.size == 0


# Against what others make of it


LINE = [8, 6, 5, 2, 3, 0, 0, 0, 1, 8, 6, 9, 5, 6, 9, 7, 6, 5, 5, 9, 2, 8, 6, 0]
PLANE = [
    [3, 8, 5, 0, 7, 7, 8, 1, 0, 8, 0],
    [5, 0, 2, 4, 4, 4, 0, 0, 1, 0, 6],
    [5, 6, 2, 6, 7, 3, 4, 9, 8, 9, 3],
    [6, 9, 6, 8, 6, 7, 3, 8, 1, 5, 7],
    [8, 5, 3, 3, 4, 4, 7, 8, 0, 9, 5],
    [3, 6, 5, 2, 3, 7, 5, 5, 3, 7, 3],
    [3, 8, 2, 2, 7, 6, 0, 0, 3, 8, 4],
    [7, 3, 2, 7, 8, 0, 0, 6, 3, 5, 1],
    [8, 4, 8, 7, 7, 2, 7, 0, 5, 4, 9],
]
HOLES = [
    [8, 0, 9, INF, 9, 3, 1, 5, 9, 3, 8],
    [3, 8, 2, 4, 3, 2, 8, 8, 1, 9, 9],
    [2, 4, 5, 6, 4, 1, 9, 6, 0, 8, 7],
    [1, 6, 5, 0, 9, 7, 3, 0, 0, 7, 1],
    [5, 8, 9, 2, 0, INF, 8, 6, 0, 6, 3],
    [2, 4, 8, 9, 1, 5, 7, 2, 2, 2, 2],
    [8, 2, 2, 1, 1, 7, 2, 8, 5, 8, 5],
    [7, 8, 0, 5, 4, 2, 4, 4, 4, 8, 8],
    [6, 7, 9, 6, 3, 0, 5, 2, 5, 0, 8],
]
SPACE = [
    [[1, 9, 0, 6], [5, 8, 2, 9], [6, 8, 1, 7], [9, 0, 3, 6]],
    [[1, 5, 6, 7], [9, 4, 4, 4], [9, 1, 4, 0], [4, 9, 6, 3]],
    [[9, 6, 9, 0], [4, 8, 7, 4], [4, 4, 5, 2], [7, 0, 4, 2]],
    [[7, 7, 7, 9], [9, 1, 1, 1], [7, 9, 9, 6], [9, 8, 0, 1]],
]
GUDHI = {  # 3.13.0, CubicalComplex(top_dimensional_cells=…).persistence(): dimension, birth, death
    "line": (LINE, "0 0 9, 0 0 inf, 0 2 3, 0 2 8, 0 5 9, 0 5 9, 0 6 8"),
    "plane": (
        PLANE,
        "0 0 2, 0 0 3, 0 0 4, 0 0 5, 0 0 inf, 0 1 4, 0 2 4, 0 3 4, 1 3 6, 1 5 8, 1 5 9, 1 5 9, 1 6 7, 1 6 7, 1 6 7, "
        "1 6 8, 1 6 9, 1 7 8, 1 7 8, 1 8 9",
    ),
    "holes": (
        HOLES,
        "0 0 1, 0 0 2, 0 0 2, 0 0 4, 0 0 4, 0 0 inf, 0 1 2, 0 1 3, 0 1 3, 0 1 3, 0 2 4, 0 6 7, 1 4 8, 1 4 inf, 1 5 6, "
        "1 5 7, 1 5 8, 1 5 9, 1 5 9, 1 7 8, 1 7 9, 1 8 9",
    ),
    "space": (SPACE, "0 0 1, 0 0 1, 0 0 2, 0 0 2, 0 0 inf, 0 1 4"),  # of dimension 0
}


@pytest.mark.parametrize("name", GUDHI)
def test_bars_are_those_of_gudhi(name):
    """Ties abound in them. A point is a cell, so that cells that share a corner are connected, as here."""
    loss, theirs = GUDHI[name]
    ours = grown(loss, make=bars)
    expected = sorted(tuple(map(float, each.split())) for each in theirs.split(", "))
    assert sorted(zip(*(each.tolist() for each in ours[:3]), strict=True)) == expected


@settings(max_examples=150, deadline=None)
@given(arrays.arrays(float, st.one_of(SHAPES, SPACES), elements=VALUES))
def test_saddles_are_the_bottlenecks_of_a_spanning_tree(loss):
    """From a minimum, the lowest of all ways to its parent climbs to its saddle, and none to any lower one less."""
    graph = networkx.Graph()
    graph.add_nodes_from(map(tuple, np.argwhere(np.isfinite(loss)).tolist()))
    for one, other in neighbours(loss.shape):
        if np.isfinite(loss[one]) and np.isfinite(loss[other]):
            graph.add_edge(one, other, weight=max(loss[one], loss[other]))
    spanning = networkx.minimum_spanning_tree(graph)
    known = grown(loss)

    def climb(one, other):
        if not networkx.has_path(spanning, one, other):
            return INF
        return max(loss[point] for point in networkx.shortest_path(spanning, one, other))

    leaves = [tuple(place) for place in known.position.astype(int).tolist()]
    for i, leaf in enumerate(leaves):
        lower = [other for other in leaves if loss[other] < loss[leaf]]
        assert min((climb(leaf, other) for other in lower), default=INF) >= known.death[i]
        if known.parent[i] >= 0:
            assert climb(leaf, leaves[known.parent[i]]) == known.death[i]
            assert loss[leaves[known.parent[i]]] <= loss[leaf]
            assert loss[tuple(known.saddle_position[i].astype(int))] == known.death[i]


@settings(max_examples=150, deadline=None)
@given(arrays.arrays(float, PLANES, elements=VALUES))
def test_loops_are_the_holes_of_every_level(loss):
    """At each level as many as there are pieces, joined by edges, of what lies above and does not reach the outside."""
    around = loops(loss)
    for level in np.unique(loss[np.isfinite(loss)]):
        above = np.pad(~(np.where(np.isfinite(loss), loss, INF) <= level), 1, constant_values=True)
        _, pieces = ndimage.label(above)
        assert pieces - 1 == np.sum((around.birth <= level) & (level < around.death))


@settings(max_examples=100, deadline=None)
@given(arrays.arrays(float, st.one_of(SHAPES, SPACES), elements=VALUES))
def test_minima_joined_at_a_level_are_one_part_of_what_lies_below_it(loss):
    known = grown(loss)
    places = tuple(known.position.astype(int).T)
    for level in np.unique(loss[np.isfinite(loss)]):
        lakes, _ = ndimage.label(loss <= level, np.ones((3,) * loss.ndim))
        root = np.arange(known.birth.size)
        for _ in root:  # from each to whom it has joined by then
            joined = known.death[root] <= level
            root = np.where(joined, known.parent[root], root)
        under = known.birth <= level
        ours, theirs = root[under], lakes[places][under]
        assert (np.equal.outer(ours, ours) == np.equal.outer(theirs, theirs)).all()


def test_shares_are_those_of_the_ways_down():
    loss = np.random.default_rng(0).standard_normal((12, 9))
    known, points = grown(loss), np.full(loss.shape, -1)
    for start in np.ndindex(*loss.shape):
        place = start
        while True:
            around = [p for p in np.ndindex(*loss.shape) if max(np.abs(np.subtract(p, place))) <= 1]
            lowest = min(around, key=lambda p: loss[p])
            if lowest == place:
                break
            place = lowest
        points[start] = np.ravel_multi_index(place, loss.shape)
    minimum = np.ravel_multi_index(tuple(known.position.astype(int).T), loss.shape)
    np.testing.assert_allclose(known.share, [(points == m).mean() for m in minimum])
    coarse = grown(loss, np.full(loss.shape, 0.4), k=3.0)
    assert 1 < coarse.significant.sum() < coarse.significant.size
    assert coarse.share[coarse.significant].sum() == pytest.approx(1)


# What must not matter


@settings(max_examples=100, deadline=None)
@given(arrays.arrays(float, PLANES, elements=VALUES))
def test_turned_mirrored_or_rescaled_it_has_the_same_bars(loss):
    def pairs_of(values):
        ours = grown(values, make=bars)
        return sorted(zip(*(each.tolist() for each in ours[:3]), strict=True))

    expected = pairs_of(loss)
    assert pairs_of(loss.T) == pairs_of(loss[::-1]) == pairs_of(loss[:, ::-1]) == expected
    assert pairs_of(np.exp(loss)) == [(d, np.exp(birth), np.exp(death)) for d, birth, death in expected]


# Noise


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.02, 0.2])
def test_a_noisy_bowl_has_one_minimum_and_no_loop_in_95_of_100_draws(sigma):
    bowl = XX**2 + YY**2
    noisy = [bowl + sigma * np.random.default_rng([1, seed]).standard_normal(bowl.shape) for seed in range(100)]
    made = [bars(loss, np.full(bowl.shape, sigma), AXES) for loss in noisy]
    assert sum((each.significant & (each.dimension == 0)).sum() == 1 for each in made) >= 95
    assert sum(not (each.significant & (each.dimension == 1)).any() for each in made) >= 95
    assert np.mean([each.significant.size for each in made]) > 4  # of noise there is much


@pytest.mark.slow
def test_noise_on_a_plateau_makes_no_loops():
    """The threshold is of white noise on a plateau, where nothing else tells points apart."""
    clean = 0
    for seed in range(100):
        around = loops(np.random.default_rng([2, seed]).standard_normal((51, 51)))
        clean += (around.death - around.birth).max() <= LOOPS * np.sqrt(2)
    assert clean >= 95


def test_a_peak_that_stands_out_is_a_loop_through_the_noise():
    peak = np.exp(-10 * (XX**2 + YY**2)) + 0.3 * (XX**2 + YY**2)
    made = [
        bars(peak + 0.05 * np.random.default_rng([3, seed]).standard_normal(XX.shape), np.full(XX.shape, 0.05), AXES)
        for seed in range(40)
    ]
    assert sum((each.significant & (each.dimension == 1)).sum() == 1 for each in made) >= 38


def test_the_standard_error_is_what_persistence_varies_by():
    """Of two clear wells, whose extremes stay where they are: one point each is so low, or so high."""
    loss = np.array([9.0, 0.0, 5.0, 1.0, 9.0])
    error = np.array([0.1, 0.1, 0.3, 0.2, 0.1])
    generator = np.random.default_rng(0)
    drawn = [grown(loss + error * generator.standard_normal(5), error) for _ in range(2000)]
    assert drawn[0].se[1] == pytest.approx(np.hypot(0.3, 0.2))
    assert np.std([each.persistence[1] for each in drawn]) == pytest.approx(drawn[0].se[1], rel=0.05)


# Results


@pytest.fixture
def surface(tmp_path):
    return maker(tmp_path)


def test_trees_of_results_are_those_of_their_losses(surface):
    results = surface(WELLS, X, Y)
    known, same = merge_tree(results), tree(WELLS, noise(results), AXES)
    for ours, theirs in zip(known[:-1], same[:-1], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert known.significant.sum() == minima(WELLS, noise(results)).number == 2
    line = barcode(surface(WELLS[10], X, None))
    assert line.axes == ("x",) and line.dimension.tolist() == [0, 0]
    np.testing.assert_allclose(line.persistence, [INF, 0.95])


def test_another_loss_has_a_tree_of_its_own_with_its_own_noise(surface):
    more = {"mse": XX**2 + YY**2, "mse_se": np.full(XX.shape, 0.5)}
    results = surface(WELLS, X, Y, more=more)
    assert merge_tree(results, variable="mse").birth.tolist() == [0]
    loud = surface(WELLS, X, Y, more={"mse": WELLS, "mse_se": np.full(XX.shape, 0.5)})
    assert merge_tree(loud, variable="mse").significant.tolist() == [True, False]
    assert merge_tree(loud).significant.tolist() == [True, True]
    with pytest.raises(BadInput, match="has no variable kl"):
        merge_tree(results, variable="kl")


def test_repeats_are_surfaces_of_their_own(surface):
    results = surface(np.stack([WELLS, XX**2 + YY**2]), X, Y)
    with pytest.raises(BadInput, match=r"has 2 repeats, surfaces of their own; take one: results.isel\(repeat=0\)"):
        merge_tree(results)
    assert [merge_tree(results.isel(repeat=i)).birth.size for i in range(2)] == [2, 1]


def test_what_is_not_measured_or_not_finite_is_outside(surface):
    walled = WELLS.copy()
    walled[:, 20] = np.inf
    known = merge_tree(surface(walled, X, Y))
    assert known.parent.tolist() == [-1, -1] and np.isinf(known.death).all() and known.significant.all()
    assert known.share.sum() == pytest.approx(1)
    results = surface(WELLS, X, Y)
    results["done"][:, 20] = False  # as if the run were still going on
    assert merge_tree(results).parent.tolist() == [-1, -1]
    results["done"][:] = False
    assert merge_tree(results).birth.size == barcode(results).birth.size == 0


def test_where_the_noise_is_unknown_nothing_but_the_least_is_significant(surface):
    known = merge_tree(surface(WELLS, X, Y, se=np.nan))
    assert known.significant.tolist() == [True, False] and np.isnan(known.se).all()


def test_what_is_over_no_directions_is_refused():
    rows = {"block": np.array(["a", "b"], object)}
    results = write(None, "mine", ("block",), rows, {"loss": np.arange(2.0), "loss_se": 0.1})
    with pytest.raises(BadInput, match=r"loss is over \(block\), no directions in weights"):
        merge_tree(results)
