"""A comparison as a table: as text, as CSV, in LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
import textwrap
from collections.abc import Callable
from itertools import chain, groupby
from typing import NamedTuple

__all__ = ["Comparison", "Estimate", "Line", "as_csv", "as_latex", "as_text", "notes"]

WIDTH = 100  # characters that headings and notes are broken at


class Estimate(NamedTuple):
    """A number of a network, or how two networks differ in it.

    Attributes
    ----------
    mean : over repeats; infinite if one of them is
    low, high : its 95 % interval; NaN from fewer than two repeats, unbounded towards where values are censored
    repeats : how many values it is taken from
    censored : how many of them are lower bounds
    missing : in how many repeats the number does not exist
    """

    mean: float
    low: float
    high: float
    repeats: int
    censored: int
    missing: int


class Line(NamedTuple):
    """A line of the table.

    Attributes
    ----------
    part : what was measured
    name, unit : of the number
    geometric : whether means are geometric, and `difference` is a ratio
    estimates : one a network; None where its files do not have the number
    difference : first minus second, or first over second, of two networks
    """

    part: str
    name: str
    unit: str
    geometric: bool
    estimates: tuple[Estimate | None, ...]
    difference: Estimate | None

    @property
    def apart(self) -> bool:
        """Whether the two networks differ beyond the interval of their difference."""
        same = 1.0 if self.geometric else 0.0
        return self.difference is not None and (self.difference.low > same or self.difference.high < same)


class Comparison(NamedTuple):
    """Networks, in the order of their files, and the lines of their table; shown as text."""

    networks: tuple[str, ...]
    lines: list[Line]

    def __repr__(self) -> str:
        return "\n".join(as_text(self))

    def to_csv(self) -> str:
        """One record for each number of a network, and for each difference of two; see `landscape.analysis.tables`."""
        return as_csv(self)

    def to_latex(self) -> str:
        """A tabular, which needs the package booktabs."""
        return as_latex(self)


def as_text(table: Comparison) -> list[str]:
    """Lines with aligned columns, then what their signs mean and which numbers tell two networks apart."""
    parts = rows(table, plain)
    head = ["", *headings(table)]
    widths = [max(map(len, column)) for column in zip(head, *chain(*parts.values()), strict=True)]

    def aligned(row: list[str]) -> str:
        return "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()

    said = [aligned(head)]
    for part, body in parts.items():
        said += ["", *textwrap.wrap(part, WIDTH, break_on_hyphens=False), *map(aligned, body)]
    return [*said, "", *chain(*(textwrap.wrap(note, WIDTH) for note in notes(table)))]


def as_csv(table: Comparison) -> str:
    """One record for each number of each network, and for each difference of two; empty where there is none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["part", "number", "unit", "network", "mean", "low", "high", "repeats", "censored"])
    for line in table.lines:
        between = (" / " if line.geometric else " − ").join(table.networks)
        for network, e in zip([*table.networks, between], [*line.estimates, line.difference], strict=True):
            if e is not None:
                unit = "1" if network == between and line.geometric else line.unit
                numbers = ["" if math.isnan(value) else value for value in (e.mean, e.low, e.high)]
                writer.writerow([line.part, line.name, unit, network, *numbers, e.repeats, e.censored])
    return out.getvalue()


def as_latex(table: Comparison) -> str:
    """A tabular, with what its signs mean as comments below."""
    head = ["", *map(escaped, headings(table))]
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule", " & ".join(head) + r" \\"]
    for part, body in rows(table, tex).items():
        lines += [r"\midrule", rf"\multicolumn{{{len(head)}}}{{l}}{{{escaped(part)}}} \\"]
        lines += [" & ".join([escaped(name), *cells]) + r" \\" for name, *cells in body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *(f"% {note}" for note in notes(table)), ""])


def headings(table: Comparison) -> list[str]:
    return [*table.networks, *(["difference"] if len(table.networks) == 2 else [])]


def rows(table: Comparison, form: Callable[..., str]) -> dict[str, list[list[str]]]:
    """For each part its rows: a number's name, the networks' estimates and their difference."""
    by_label: dict[str, list[list[str]]] = {}
    for part, group in groupby(table.lines, key=lambda line: line.part):
        lines = list(group)
        repeats = [
            max(e.repeats + e.missing if e else 0 for e in each)
            for each in zip(*(ln.estimates for ln in lines), strict=True)
        ]
        body = [[f"{ln.name} ({ln.unit})", *cells(ln, form), *apart(ln, form, len(table.networks))] for ln in lines]
        if max(repeats) > 1:
            body.insert(
                0, ["repeats (1)", *(str(n) if n else form(None, False) for n in repeats), *[""] * (len(repeats) == 2)]
            )
        by_label[part] = body
    return by_label


def cells(line: Line, form: Callable[..., str]) -> list[str]:
    """The networks' estimates."""
    texts = []
    for e in line.estimates:
        after = f" (n = {e.repeats})" if e and e.missing and e.repeats else ""
        after += f" ({e.censored} of {e.repeats} censored)" if e and e.censored and e.repeats > 1 else ""
        texts.append(form(e, line.geometric, before=">" if e and e.censored else "", after=after))
    return texts


def apart(line: Line, form: Callable[..., str], networks: int) -> list[str]:
    """The difference of two networks."""
    if networks != 2:
        return []
    more, less = (e is not None and e.censored > 0 for e in line.estimates)
    bound = ">" if more else "<" if less else ""
    before = f"{bound} ×".strip() if line.geometric else bound
    return [form(line.difference, line.geometric, before=before, after="*" if line.apart else "")]


def plain(e: Estimate | None, geometric: bool, before: str = "", after: str = "") -> str:
    """An estimate as text: mean [low, high]."""
    if e is None or math.isnan(e.mean):
        return "–"
    mean, *bounds = (value.replace("inf", "∞") for value in digits(e, geometric))
    return f"{before} {mean}".strip() + (f" [{', '.join(bounds)}]" if bounds else "") + after


def tex(e: Estimate | None, geometric: bool, before: str = "", after: str = "") -> str:
    """An estimate in LaTeX: $mean$ $[low, high]$."""
    if e is None or math.isnan(e.mean):
        return "--"
    mean, *bounds = (
        re.sub(r"e([+-]\d+)", lambda m: rf" \times 10^{{{int(m[1])}}}", value).replace("inf", r"\infty")
        for value in digits(e, geometric)
    )
    before = before.replace("×", r"\times") + " " * bool(before)
    interval = f" $[{', '.join(bounds)}]$" if bounds else ""
    return f"${before}{mean}${interval}{after.replace('*', '$^*$')}"


def digits(e: Estimate, geometric: bool) -> list[str]:
    """Mean and bounds, if it has any, with two digits of what is uncertain."""
    if math.isnan(e.low):
        return [f"{e.mean:.4g}"]
    values = [e.mean, e.low, e.high]
    width = max((abs(v - e.mean) for v in values if math.isfinite(v)), default=0.0)
    decimals = 1 - math.floor(math.log10(width)) if width else 99
    # Of a geometric mean the ends may be orders of magnitude apart.
    form = f"z.{max(decimals, 0)}f" if not geometric and decimals < 6 and abs(e.mean) < 1e6 else ".3g"
    return [f"{value:{form}}" for value in values]


def notes(table: Comparison) -> list[str]:
    """What the signs mean, and which numbers tell two networks apart."""
    said = []
    estimates = [e for line in table.lines for e in line.estimates if e]
    bounded = [e for e in estimates if not math.isnan(e.low)]
    if bounded:
        said.append("[low, high]: 95 % interval of the mean over repeats (directions, seeds), not over trainings.")
    if any(e.censored for e in estimates):
        said.append(">, <: at least, at most, since a basin reaches the edge of what is known.")
    if len(table.networks) != 2:
        return said
    first, second = table.networks
    if any(line.geometric and line.difference for line in table.lines):
        said.append(f"×: the ratio of {first} to {second}; other differences are {first} minus {second}.")
    if not any(line.difference for line in table.lines):
        return [*said, f"Nothing was measured alike of {first} and {second}, so they are not told apart."]
    known = [line for line in table.lines if line.difference and not math.isnan(line.difference.low)]
    if not known:
        return [
            *said,
            "No difference has an interval: that takes repeats of both (surface.py --repeats, or other seeds).",
        ]
    beyond = [line.name for line in known if line.apart]
    return [
        *said,
        f"*: {len(beyond)} of {len(known)} numbers differ beyond their intervals: {'; '.join(beyond) or 'none'}.",
    ]


# What LaTeX would not print as it stands, in any encoding of fonts.
SIGNS = {
    "λ_min": r"$\lambda_{\min}$", "λ_max": r"$\lambda_{\max}$", "\\": r"\textbackslash{}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", "−": "$-$", "–": "--", "…": r"\dots{}",
    "×": r"$\times$", "·": r"$\cdot$", **{sign: "\\" + sign for sign in "&%$#_{}"},
}  # fmt: skip


def escaped(text: str) -> str:
    """Text for LaTeX."""
    return re.sub("|".join(map(re.escape, SIGNS)), lambda sign: SIGNS[sign[0]], text)
