"""Figures of the lesions other than deletions."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from ensemble.drawing.lesions import lesions
from ensemble.drawing.marks import by_block, by_kind, by_neighbours, by_number, by_order
from ensemble.lesions.plans import kendall_tau, permuted
from landscape.drawing import save
from landscape.engine.table import prepare, read

BLOCKS = [f"stages.{stage}.{block}" for stage in range(2) for block in range(6)]
STAGES = [[1, 2, 3, 4, 5], [7, 8, 9, 10, 11]]


def table(path, lesion, trials, network="resnet-26", blocks=BLOCKS, **given):
    nothing = np.zeros((trials, len(blocks)), bool)
    given = {"deleted": (("trial", "block"), nothing)} | given
    rows, _ = prepare(
        path,
        nothing,
        kind="lesion",
        dims=("trial",),
        coordinates={"trial": np.arange(trials), "block": np.array(blocks)},
        given=given,
        attributes={"network": network, "data": "digits", "split": "test", "lesion": lesion},
    )
    for row, accuracy in enumerate(np.linspace(0.98, 0.3, trials)):
        rows.record(row, {"loss": 1.0, "loss_se": 0.1, "accuracy": accuracy, "examples": 400})
    rows.flush()
    return read(path)


def swaps(path, **how):
    order = permuted(12, STAGES, 59, seed=0)
    order = order[np.argsort(-kendall_tau(order), kind="stable")]
    both = {"order": (("trial", "block"), order), "kendall_tau": (("trial",), kendall_tau(order))}
    return table(path, "swap", 60, **both, **how)


def chosen(path, lesion, variable, counts=(1,), **how):
    rows = np.concatenate([np.zeros((1, 12), bool), *(np.tril(np.ones((12, 12), bool))[k - 1 : k] for k in counts * 4)])
    return table(path, lesion, len(rows), **{variable: (("trial", "block"), rows)}, **how)


@pytest.fixture
def files(tmp_path):
    return {
        "swap": swaps(tmp_path / "a.h5"),
        "repeat": chosen(tmp_path / "b.h5", "repeat", "repeated", (1, 2, 3)),
        "mean": chosen(tmp_path / "c.h5", "replace by mean", "replaced"),
        "other": chosen(tmp_path / "d.h5", "replace by other", "replaced", (1, 2)),
        "delete": chosen(tmp_path / "e.h5", "delete", "deleted"),
        "parallel": chosen(tmp_path / "f.h5", "parallel", "parallel", (2,)),
    }


def test_the_line_over_kendalls_tau_is_the_median_of_the_trials_near_it(files):
    file = files["swap"]
    points, line = by_order(Figure().subplots(), file).lines
    assert len(points.get_xdata()) == 60
    tau, error = file["kendall_tau"], 100 * (1 - file["accuracy"])
    step = max(0.02, np.ptp(tau) / 12)
    bins = np.round((1 - tau) / step)
    for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True):
        near = bins == np.round((1 - x) / step)
        assert y == pytest.approx(np.median(error[near])) and abs(tau[near] - x).max() <= step
    assert line.get_ydata()[0] == pytest.approx(error[0])  # the intact order
    assert 5 < len(line.get_xdata()) < 15


def test_repeats_are_counted(files):
    file = files["repeat"]
    _, line = by_number(Figure().subplots(), file, variable="repeated").lines
    assert line.get_xdata().tolist() == [0, 1, 2, 3]
    twice = file["repeated"].sum(1) == 2
    assert line.get_ydata()[2] == pytest.approx(100 * (1 - np.median(file["accuracy"][twice])))


def test_a_bar_is_the_median_and_an_absent_kind_an_empty_place():
    axes = by_kind(Figure().subplots(), [np.array([10.0, 20, 60]), np.empty(0), np.array([5.0])])
    assert [(bar.get_y() + bar.get_height() / 2, bar.get_width()) for bar in axes.patches] == [
        (pytest.approx(0), 20),
        (pytest.approx(2), 5),
    ]


@pytest.mark.slow
def test_every_kind_has_its_panel(files, tmp_path):
    panels = {
        ("swap",): ["Kendall"],
        ("repeat",): ["applied twice"],
        ("delete", "swap"): ["deleted block", "Kendall"],
        ("mean", "parallel"): ["median"],
        tuple(files): ["deleted block", "Kendall", "applied twice", "median"],
    }
    for names, labels in panels.items():
        figure = lesions([files[name] for name in names])
        assert len(figure.axes) == len(labels)
        assert all(label in axes.get_xlabel() for label, axes in zip(labels, figure.axes, strict=True))
        save(figure, tmp_path / "a.png")


def test_bars_compare_lesions_of_one_block(files):
    bars = lesions(list(files.values())).axes[-1]
    names = [label.get_text() for label in bars.get_yticklabels()]
    assert names == [
        "left out",
        "applied twice",
        "replaced by mean output",
        "replaced by another's output",
        "2 blocks replaced by another's output",
        "2 blocks side by side",
    ]
    deleted = 100 * (1 - files["delete"]["accuracy"][1:])
    assert bars.patches[0].get_width() == pytest.approx(np.median(deleted))


def test_swaps_not_measured_yet_are_left_out(files, tmp_path):
    file = files["swap"]
    file["done"][30:] = False
    points, line = by_order(Figure().subplots(), file).lines
    assert len(points.get_xdata()) == 30 and np.isfinite(line.get_ydata()).all()
    file["done"][:] = False
    save(lesions([file]), tmp_path / "a.png")


def neighbours(path):
    order = np.tile(np.arange(12), (12, 1))
    for first in range(11):
        order[first + 1, [first, first + 1]] = first + 1, first
    return table(path, "reverse", 12, order=(("trial", "block"), order), kendall_tau=(("trial",), kendall_tau(order)))


def test_neighbours_that_are_swapped_stand_between_their_places(tmp_path):
    file = neighbours(tmp_path / "n.h5")
    axes = by_neighbours(Figure().subplots(), file)
    points, intact = axes.lines
    assert points.get_xdata().tolist() == [place + 1.5 for place in range(11)]
    assert points.get_ydata() == pytest.approx(100 * (1 - file["accuracy"][1:]))
    assert intact.get_ydata()[0] == pytest.approx(100 * (1 - file["accuracy"][0]))
    (panel,) = lesions([file]).axes
    assert panel.get_xlabel() == "swapped neighbours, by depth"


def test_other_orders_stand_over_kendalls_tau(files, tmp_path):
    (panel,) = lesions([files["swap"]]).axes
    assert panel.get_xlabel().startswith("Kendall")


def test_attention_and_mlp_have_marks_of_their_own(tmp_path):
    names = [f"layers.{layer}.{part}" for layer in range(6) for part in ("attention", "mlp")]
    deleted = np.concatenate([np.zeros((1, 12), bool), np.eye(12, dtype=bool)])
    file = table(tmp_path / "t.h5", "delete", 13, blocks=names, deleted=(("trial", "block"), deleted))
    attention, mlp, _ = by_block(Figure().subplots(), file, names).lines
    assert attention.get_xdata().tolist() == [*range(1, 13, 2)] and mlp.get_xdata().tolist() == [*range(2, 13, 2)]
    assert attention.get_marker() != mlp.get_marker()
    figure = lesions([file])
    assert "MLP" in [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "layer 6" in [text.get_text() for text in figure.axes[0].texts]


def test_perplexity_is_e_to_the_mean_loss(files):
    by_loss, by_perplexity = (lesions([files["swap"]], variable=name).axes[0] for name in ("loss", "perplexity"))
    (_, losses), (_, perplexities) = (axes.lines for axes in (by_loss, by_perplexity))
    assert perplexities.get_ydata() == pytest.approx(np.exp(losses.get_ydata()))
    assert by_perplexity.get_ylabel() == "test perplexity"


def texts(figure):
    legends = [[*legend.get_texts(), legend.get_title()] for legend in figure.legends]
    return " ".join(text.get_text().replace("\n", " ") for texts in legends for text in texts)


def singles(path, blocks, network):
    deleted = np.vstack([np.zeros((1, len(blocks)), bool), np.eye(len(blocks), dtype=bool)])
    return table(path, "delete", len(deleted), network, blocks, deleted=(("trial", "block"), deleted))


def test_a_figure_says_why_blocks_that_change_the_shape_are_not_deleted(tmp_path):
    blocks = [*BLOCKS[:6], *BLOCKS[7:]]
    with_all, without = singles(tmp_path / "a.h5", BLOCKS, "resnet-26"), singles(tmp_path / "b.h5", blocks, "plain-26")
    assert "cannot be deleted (plain, 26 layers)" in texts(lesions([with_all, without]))
    assert "shortcut" not in texts(lesions([with_all])) + texts(lesions([without]))


def test_a_figure_says_what_the_lines_through_its_points_are(tmp_path):
    assert "95 % intervals" in texts(lesions([singles(tmp_path / "a.h5", BLOCKS, "resnet-26")]))
    assert "95 % intervals" in texts(lesions([neighbours(tmp_path / "b.h5")]))


def test_the_axis_of_kendalls_tau_has_a_number_at_the_trained_order(files):
    (panel,) = lesions([files["swap"]]).axes
    assert panel.get_xticks().max() == pytest.approx(1) and panel.get_xlim()[0] > 1


def test_numbers_of_blocks_end_where_the_trials_do(tmp_path):
    deleted = np.tril(np.ones((26, 25), bool), -1)
    file = table(
        tmp_path / "a.h5", "delete", 26, blocks=[f"a.{i}" for i in range(25)], deleted=(("trial", "block"), deleted)
    )
    (panel,) = lesions([file]).axes
    low, high = panel.get_xlim()
    assert low > -1 and 25 < high < 26


def test_bars_have_a_line_at_the_intact_network(files):
    (panel,) = lesions([files["mean"]]).axes
    (line,) = [line for line in panel.lines if line.is_dashed()]
    intact = files["mean"]["accuracy"][~files["mean"]["replaced"].any(axis=1)][0]
    assert line.get_xdata()[0] == pytest.approx(100 * (1 - intact))
