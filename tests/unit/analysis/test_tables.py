"""A comparison as text, as CSV and in LaTeX, and the command that writes them."""

import csv
import importlib.util
import math
import re

import numpy as np
import pytest
from analytic import (
    BOWL,
    SURFACE,
    X,
    Y,
    bowls,
    lesions,
    maker,
    numbers,
    other,
    write,
)
from files import ROOT

from landscape.analysis.comparison import compare
from landscape.analysis.numbers import KINDS
from landscape.analysis.tables import as_csv, as_latex, as_text, notes
from landscape.engine.ranks import SerialComm
from landscape.engine.table import prepare, read
from landscape.errors import BadInput

spec = importlib.util.spec_from_file_location("compare", ROOT / "scripts" / "compare.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


@pytest.fixture
def surface(tmp_path):
    return maker(tmp_path)


@pytest.fixture
def two(surface, tmp_path):
    """Files of two networks: repeats, a basin at the edge, numbers that do not exist, and lesions of the first."""
    missing = bowls(0.3, 0.35, 0.4)
    missing[0] = np.nan
    name = r"50%_&\net"
    plan = np.vstack([np.zeros((1, 3), bool), np.eye(3, dtype=bool)])
    return [
        surface(bowls(0.5, 0.9, 3.0)),
        surface(missing, checkpoint="decaf", network=name),
        lesions(tmp_path / "lesions.h5", plan, [1, 2, 3, 4]),
    ]


def test_the_terminal_shows_intervals_bounds_and_what_tells_two_networks_apart(two):
    lines = as_text(compare(two, loss_level=2))
    assert lines[0].split() == ["net", r"50%_&\net", "difference"]
    shown = {line.partition(" (")[0]: re.split(r"  +", line)[1:] for line in lines}
    assert shown["loss at the centre"] == ["1", "1", "0"]
    assert shown["convex part of the slice"] == ["100 [100, 100]", "100 [100, 100] (n = 2)", "0 [0, 0]"]
    assert shown["repeats"] == ["3", "3"]
    basin = next(line for line in lines if line.startswith("basin") and "loss" in line)
    assert re.search(r" > 3\.8 \[0\.0, ∞\] \(1 of 3 censored\) .* > 3\.3 \[-6\.0, ∞\]$", basin)
    assert shown["median error, 1 deleted"] == ["3", "–", "–"]
    assert re.match(r"× 0\.\d+ \[0\.\d+, \d", shown["largest loss, geometric mean"][2])
    assert "numbers differ beyond their intervals" in " ".join(lines[-3:])


def test_without_repeats_the_last_line_says_what_intervals_take(surface):
    lines = as_text(compare([surface(BOWL), other(surface, 2 * BOWL)]))
    assert "No difference has an interval" in lines[-1] and "--repeats" in lines[-1]
    assert "[" not in "".join(lines)
    alone = as_text(compare([surface(BOWL)]))
    assert "difference" not in "".join(alone)


def test_csv_holds_every_number_to_the_last_digit(two):
    table = compare(two, loss_level=2)
    records = list(csv.DictReader(as_csv(table).splitlines()))
    assert list(records[0]) == ["part", "number", "unit", "network", "mean", "low", "high", "repeats", "censored"]
    keyed = {(r["part"], r["number"], r["network"]): r for r in records}
    assert len(keyed) == len(records)
    ways = {True: r"net / 50%_&\net", False: r"net − 50%_&\net"}
    for line in table.lines:
        for network, e in zip((*table.networks, ways[line.geometric]), (*line.estimates, line.difference), strict=True):
            record = keyed.pop((line.part, line.name, network), None)
            assert (record is None) == (e is None)
            if e:
                each = [float(record[name] or "nan") for name in ("mean", "low", "high", "repeats", "censored")]
                np.testing.assert_array_equal(each, e[:5])
    assert not keyed


def columns(row):
    """How many columns a row of a tabular fills."""
    cells = re.split(r"(?<!\\)&", row.removesuffix(r"\\"))
    spans = [re.match(r"\s*\\multicolumn\{(\d+)\}\{l\}\{.*\}\s*$", cell) for cell in cells]
    return sum(int(span[1]) if span else 1 for span in spans)


def test_latex_is_a_whole_tabular_with_its_signs_escaped(two, tmp_path):
    values = {"loss": 1.0, "lambda_min": -1e-7, "lambda_max": 2.0, "converged": True}
    hessian = write(tmp_path / "h.h5", "curvature", ("x",), {"x": X}, values, **SURFACE, hessian_parameters="all")
    text = as_latex(compare([*two, hessian], loss_level=2))
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    assert (lines[0], lines[-1]) == (r"\begin{tabular}{lrrr}", r"\end{tabular}")
    assert lines[1] == r"\toprule" and lines[-2] == r"\bottomrule"
    rows = [line for line in lines[1:-1] if not re.fullmatch(r"\\(top|mid|bottom)rule", line)]
    assert len(rows) > 20 and all(row.endswith(r" \\") and columns(row) == 4 for row in rows)
    assert " & net & 50\\%\\_\\&\\textbackslash{}net & difference" in rows[0]
    body = "\n".join(rows)
    assert body.isascii()
    bare = re.sub(r"\\[\\&%$#_{}]", "", body)  # what is escaped
    assert not re.search(r"[%#~]", bare)
    assert bare.count("$") % 2 == 0 and bare.count("{") == bare.count("}")
    outside = re.sub(r"\$[^$]*\$", "", bare)
    assert not re.search(r"[_^<>|]", outside)
    assert r"median $|$$\lambda_{\min}$/$\lambda_{\max}$$|$ (1) & $5 \times 10^{-8}$ & -- & --" in body
    assert re.search(r"\$> 3\.8\$ \$\[0\.0, \\infty\]\$ \(1 of 3 censored\)", body)


def test_a_mark_tells_what_separates_two_networks(surface):
    rough = 0.02 * np.random.default_rng(0).standard_normal((6, *BOWL.shape))
    files = [
        surface(bowls(0.3, 0.31, 0.32) * (1 + rough[:3]), se=0.02 * bowls(0.3, 0.31, 0.32)),
        other(surface, bowls(0.9, 0.91, 0.92) * (1 + rough[3:]), se=0.02 * bowls(0.9, 0.91, 0.92)),
    ]
    table = compare(files, loss_level=2)
    *_, last = notes(table)
    named = ["largest loss, geometric mean", "convex part of the slice", "basin area around the centre, loss < 2 nats"]
    named += ["minima of the loss on these examples"]
    assert last == f"*: 4 of 14 numbers differ beyond their intervals: {'; '.join(named)}."
    marked = [line for line in as_text(table)[1:-1] if line.endswith("*")]
    assert [line.partition(" (")[0] for line in marked] == named
    assert as_latex(table).count("$^*$") == 4


def call(*arguments):
    """The command in this process, which is quicker."""
    script.main(script.parser().parse_args([*map(str, arguments)]), SerialComm())


def test_files_are_written_whole_or_not_at_all(surface, tmp_path):
    file = surface(BOWL).path
    (tmp_path / "a.csv").write_text("before")
    with pytest.raises(BadInput, match="name a file in a folder that exists"):
        call(file, "--csv", tmp_path / "a.csv", "--latex", tmp_path / "no" / "a.tex")
    assert (tmp_path / "a.csv").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.h5", "a.csv"]
    with pytest.raises(BadInput, match=r"would become a \.csv file; name it so"):
        call("--csv", file, file)
    assert read(file)["done"].all()
    call(file, "--csv", tmp_path / "a.csv", "--latex", tmp_path / "a.tex")
    assert (tmp_path / "a.csv").read_text().startswith("part,")
    assert (tmp_path / "a.tex").read_text().startswith(r"\begin{tabular}")


def test_basins_lie_below_the_levels_that_are_given(surface):
    file = surface(BOWL, error=BOWL)
    text = repr(compare([file], loss_level=0.5, error_level=2))
    assert "loss < 0.5 nats" in text and "error < 2 %" in text
    for wrong in ({"error_level": 0}, {"error_level": math.nan}, {"loss_level": math.inf}):
        with pytest.raises(BadInput, match="error_level more than 0"):
            compare([file], **wrong)


def test_a_comparison_is_shown_as_its_text_and_takes_paths_for_their_results(two):
    table = compare([file.path for file in two], loss_level=2)
    assert repr(table).split("\n") == as_text(compare(two, loss_level=2))
    assert (table.to_csv(), table.to_latex()) == (as_csv(table), as_latex(table))


def test_other_kinds_are_left_out_with_a_warning(surface, tmp_path, caplog):
    stranger = write(tmp_path / "stranger.h5", "astrology", ("x",), {"x": X}, {"loss": 1.0}).path
    text = repr(compare([surface(BOWL), stranger]))
    warning = f"{stranger} is of kind astrology; there are numbers of {', '.join(KINDS)}"
    assert caplog.messages == [f"{warning}: left out"]
    assert "convex part of the slice" in text
    with pytest.raises(BadInput, match=re.escape(warning)):
        compare([stranger])


def test_a_surface_that_is_not_finished_says_so(surface, tmp_path, caplog):
    file = surface(BOWL)
    plan = {"dims": ("y", "x"), "coordinates": {"y": Y, "x": X}}
    attributes = {name: value for name, value in file.attributes.items() if name not in ("kind", "format")}
    table, _ = prepare(tmp_path / "half.h5", np.zeros((1681, 2)), kind="surface", **plan, attributes=attributes)
    for row in range(0, 21 * 41):
        table.record(row, {"loss": BOWL.flat[row], "loss_se": 0, "accuracy": 1, "examples": 1})
    table.flush()
    by_name = numbers(tmp_path / "half.h5")
    assert caplog.messages == [f"{tmp_path / 'half.h5'}: 820 of 1681 points are not measured yet"]
    assert by_name["convex part of the slice"].mean == 100
    assert by_name["points not finite"].mean == 0
    assert by_name["basin area around the centre, loss < 2.303 nats"].censored == 1
