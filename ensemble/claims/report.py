"""The verdict on a claim as text: published and here side by side, with intervals, and what differs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ensemble.claims.specification import Claim
from ensemble.claims.verdict import VERDICTS, Number, estimate, overall
from landscape.engine.results import Results

__all__ = ["Verdicts", "described", "listed", "overall_of", "report"]


class Verdicts(list[Results]):
    """Results of claims that were tried, one each; shown as their reports.

    Attributes
    ----------
    untried : dict of str
        Of several claims, those that could not be tried on their networks: why not, by name.
    """

    def __init__(self, results: Iterable[Results] = ()) -> None:
        super().__init__(results)
        self.untried: dict[str, str] = {}

    def __repr__(self) -> str:
        untried = (f"{name}: could not be tried: {why}" for name, why in self.untried.items())
        return "\n\n".join([*map(report, self), *untried])

    def to_markdown(self) -> str:
        """A table, one row for each criterion; at its end, a row for each claim that could not be tried."""
        lines = [_markdown(self)]
        for name, why in self.untried.items():
            lines.append(f"| **{name}**: could not be tried | – | – | – | {why.replace('|', '∣')} | – |\n")
        return "".join(lines)


def overall_of(results: Results) -> str:
    """The verdict on a claim that was tried."""
    return overall([VERDICTS[int(code)] for code in results["verdict"]])


def report(results: Results) -> str:
    """What was claimed, what was measured, and the verdict on each criterion, as lines."""
    a = results.attributes
    lines = [f"{a['title']}: {overall_of(results)}", f"  {a['statement']}", f"  {a['source']}", ""]
    rows = [("", "published", "here (95 %)"), *_quantities(results)]
    widths = [max(len(row[n]) for row in rows) for n in range(3)]
    lines += [
        "  " + "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines.append("")
    for n, says in enumerate(results["says"]):
        word = VERDICTS[int(results["verdict"][n])]
        lines.append(f"  {word:<14} {says}: {_contrast(results, n)}")
    lines.append(f"  {_differs(results)}")
    return "\n".join(lines)


def listed(claims: Iterable[Claim]) -> str:
    """One line a claim: its name and what it says."""
    every = list(claims)
    width = max(len(claim.name) for claim in every)
    lines = [f"  {claim.name:<{width}}  {claim.title} ({claim.source.partition(',')[0]})" for claim in every]
    return "\n".join([f"{len(every)} claims; skipscape claim NAME tells one, and tries it with --out FOLDER:", *lines])


def described(claim: Claim) -> str:
    """A claim before it is tried: statement, source, published numbers, networks, criteria."""
    lines = [f"{claim.name}: {claim.title}", f"  {claim.statement}", f"  {claim.source}", ""]
    lines.append("  networks" if claim.networks else "  no network")
    for role, network in claim.networks.items():
        words = ", ".join(f"{name} {value}" for name, value in network.settings.items())
        lines.append(f"    {role}: {words}")
    lines.append("  quantities")
    for each in claim.quantities.values():
        unit = f" ({each.unit})" if each.unit else ""
        lines.append(f"    {each.label}{unit}" + (f"; published: {each.published}" if each.published else ""))
    lines.append("  it holds if")
    lines += [f"    {each.says}" for each in claim.criteria]
    trainings = f"{claim.seeds} training{'s' * (claim.seeds > 1)} of each network"
    lines.append(f"  at the scale {claim.scale}, {trainings}" + (f"; {claim.differs}" if claim.differs else ""))
    return "\n".join(lines)


def _markdown(tried: Sequence[Results]) -> str:
    lines = ["| claim | source | criterion | published | here (95 %) | verdict |", "|---|---|---|---|---|---|"]
    for results in tried:
        a = results.attributes
        for n, says in enumerate(results["says"]):
            published = "; ".join(
                f"{results[f'{which}_label'][n]}: {results[f'{which}_published'][n]}"
                for which in ("first", "second")
                if results[f"{which}_published"][n]
            )
            cells = [
                f"**{a['title']}**: {overall_of(results)}" if n == 0 else "",
                a["source"] if n == 0 else "",
                says,
                published or "–",
                _contrast(results, n),
                VERDICTS[int(results["verdict"][n])],
            ]
            lines.append(f"| {' | '.join(str(cell).replace('|', '∣') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _quantities(results: Results) -> list[tuple[str, str, str]]:
    """Label, published number, and what is measured here, of every quantity."""
    rows: dict[str, tuple[str, str, str]] = {}
    for n in range(len(results["says"])):
        for which in ("first", "second"):
            label = str(results[f"{which}_label"][n])
            if label and label not in rows:
                unit = str(results["first_unit"][n])
                ends = float(results[f"{which}_least"][n]), float(results[f"{which}_most"][n])
                both = zip(results[which][n], results[f"{which}_se"][n], strict=True)
                numbers = [Number(value, se, "", *ends) for value, se in both]
                rows[label] = (label, str(results[f"{which}_published"][n]) or "–", _here(numbers, unit))
    return list(rows.values())


def _here(numbers: Sequence[Number], unit: str) -> str:
    known = [number for number in numbers if math.isfinite(number.value)]
    if not known:
        return "no number"
    result = estimate(numbers)
    lost = len(numbers) - len(known)
    text = (
        _number(result.mean)
        + (f" [{_number(result.low)}, {_number(result.high)}]" if math.isfinite(result.low) else "")
        + (f" {unit}" if unit else "")
    )
    return text + (f" ({lost} of {len(numbers)} without)" if lost else "")


def _contrast(results: Results, n: int) -> str:
    value, low, high = (float(results[name][n]) for name in ("estimate", "low", "high"))
    operation = str(results["operation"][n])
    unit = str(results["first_unit"][n]) if operation != "over" else "times"
    if operation == "minus" and unit == "%":
        unit = "points"
    if not math.isfinite(value):
        return "no number"
    known = math.isfinite(low) and math.isfinite(high)
    bounds, nothing = (f" [{_number(low)}, {_number(high)}]", "") if known else ("", ", no interval")
    return f"{_number(value)}{bounds}" + (f" {unit}" if unit else "") + nothing


def _differs(results: Results) -> str:
    a = results.attributes
    over = (
        f"intervals over {a['seeds']} trainings" if a["seeds"] > 1 else "one training; intervals over what it measures"
    )
    scale = f"as published ({a['data']})" if a["scale"] == "published" else f"{a['data'] or 'no data'}"
    return f"{scale}; {over}" + (f"; {a['differs']}" if a["differs"] else "")


def _number(value: float) -> str:
    """Three digits, without an exponent where that reads as well."""
    if not math.isfinite(value):
        return str(value)
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        mantissa, _, power = f"{value:.1e}".partition("e")
        return f"{mantissa}·10^{int(power)}".replace("-", "−")
    digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
    return f"{value:.{digits}f}".replace("-", "−")
