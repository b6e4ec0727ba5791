#!/usr/bin/env python3
"""Tell the study's numbers, as tables in Markdown, from its results files.

    python scripts/studies/study_numbers.py results/study

What is not measured yet is left out.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy import stats

from ensemble.attribution import interaction, shapley
from landscape.analysis.hessian_files import convexity, ratio
from landscape.commands.cli import Parser, run
from landscape.engine.ranks import Communicator, collective_errors
from landscape.engine.table import Results, read
from landscape.errors import BadInput

RISE = 0.5  # nats; how far the loss may rise in what is called the width of a minimum


def parser() -> Parser:
    p = Parser(prog="study_numbers.py", description=__doc__)
    p.add_argument("folder", metavar="FOLDER", type=Path, help="what scripts/studies/study.sh has filled")
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    with collective_errors(comm):
        if comm.rank:
            return
        files = {path.stem: read(path) for path in sorted(arguments.folder.glob("*.h5"))}
        if not files:
            raise BadInput(
                f"{arguments.folder} holds no results files; give the folder that scripts/studies/study.sh has filled"
            )
        for tell in (errors, single, many, pairs, values, paths, path, curvature, interpolation, flow):
            tell(files)
        if (compute := arguments.folder / "compute.txt").is_file():
            cost(compute.read_text())


def table(title: str, head: str, rows: list[str]) -> None:
    """A table; without a head, a list."""
    if rows:
        below = [head, "|" + "---|" * (head.count("|") - 1)] if head else []
        print("", f"## {title}", "", *below, *rows, sep="\n")


def named(stem: str, kind: str) -> str:
    return stem.removeprefix(kind + "-")


def percent(accuracy: np.ndarray) -> np.ndarray:
    return 100 * (1 - accuracy)


def errors(files: dict[str, Results]) -> None:
    """Mean over seeds, and its 95 % interval by Student's t where there are several."""
    if "trained" not in files:
        return
    file, rows = files["trained"], []
    for v, variant in enumerate(file.coordinates["variant"]):
        for d, depth in enumerate(file.coordinates["depth"]):
            lines = []
            for name in ("accuracy", "test_accuracy"):
                each = percent(file[name][v, d])
                each = each[np.isfinite(each)]
                if not len(each):
                    break
                half = stats.t.ppf(0.975, len(each) - 1) * stats.sem(each) if len(each) > 1 else np.nan
                lines.append(f"{each.mean():.2f}" + (f" ± {half:.2f}" if len(each) > 1 else ""))
            else:
                rows.append(f"| {variant} | {depth} | {len(each)} | {lines[0]} | {lines[1]} |")
    head = "| network | depth | trainings | training error (%) | test error (%) |"
    table(f"Errors, {file.attributes['data']}, {file.attributes['epochs']} epochs", head, rows)


def single(files: dict[str, Results]) -> None:
    rows = []
    for stem, file in files.items():
        if stem.startswith("single-"):
            error, deleted = percent(file["accuracy"]), file["deleted"]
            one = deleted.sum(axis=1) == 1
            after = error[one]
            order = np.argsort(-after)[:3]
            names = [file.coordinates["block"][deleted[one][n].argmax()] for n in order]
            worst = ", ".join(f"{name} {after[n]:.1f}" for name, n in zip(names, order, strict=True))
            cells = [named(stem, "single"), one.sum(), file["examples"].min(), f"{error[~deleted.any(axis=1)][0]:.2f}"]
            cells += [f"{function(after):.1f}" for function in (np.mean, np.median, np.min, np.max)]
            cells.append(f"{(after - error[~deleted.any(axis=1)][0]).mean():.1f}")
            rows.append(f"| {' | '.join(map(str, [*cells, worst]))} |")
    head = "| network | blocks | images | intact (%) | mean | median | least | most | mean rise | the worst |"
    table("Test error after one deletion (%)", head, rows)


def many(files: dict[str, Results]) -> None:
    rows = []
    for stem, file in files.items():
        if stem.startswith(("random-", "applied-twice-")):
            moved = file["repeated" if "repeated" in file.variables else "deleted"].sum(axis=1)
            error = percent(file["accuracy"])
            cells = [
                f"{k}: {error[moved == k].mean():.1f} ± {1.96 * stats.sem(error[moved == k]):.1f} "
                f"({error[moved == k].min():.0f} … {error[moved == k].max():.0f})"
                for k in (1, 3, 5, 10, 15, 20)
                if (moved == k).sum() > 1
            ]
            rows.append(f"| {stem} | {'; '.join(cells)} |")
    table("Test error (%) by number of blocks: mean ± 95 %, (least … most)", "| trials | k: error |", rows)
    rows = []
    for stem, file in files.items():
        if stem.startswith("swaps-"):
            tau, error = file["kendall_tau"], percent(file["accuracy"])
            bins = [(t, error[np.abs(tau - t) < 0.01]) for t in np.arange(1, 0.6, -0.02)]
            cells = [f"{t:.2f}: {np.median(each):.1f} ({len(each)})" for t, each in bins if len(each)]
            rows.append(f"| {named(stem, 'swaps')} | {'; '.join(cells)} |")
    table("Test error (%) by Kendall's τ of the order: median (trials)", "| network | τ: error |", rows)


def pairs(files: dict[str, Results]) -> None:
    lines = [
        f"- {stem}: {interaction.summary(file)}" for stem, file in files.items() if "interaction" in file.variables
    ]
    table("Do blocks act alone?", "", lines)


def values(files: dict[str, Results]) -> None:
    lines = [f"- {stem}: {shapley.summary(file)}" for stem, file in files.items() if "turn" in file.variables]
    table("What blocks are worth", "", lines)


def paths(files: dict[str, Results]) -> None:
    rows = []
    for stem, file in files.items():
        if file.kind == "paths":
            share, norm, sampled = file["share"], file["norm"], file["sampled_norm"]
            part = np.cumsum(np.abs(share)) / np.abs(share).sum()
            low, high = np.searchsorted(part, [0.025, 0.975])
            over = sampled / norm
            peak = int(np.nanargmax(sampled))
            rows.append(
                f"| {named(stem, 'paths')} | {share.sum():.12f} | {share.argmax()} ({100 * share.max():.0f} %) | "
                f"{low}–{high} | {peak} | {over[peak]:.3g} | {np.nanmax(over):.3g} at {np.nanargmax(over)} |"
            )
    head = (
        "| network | shares' sum | largest share at length | 95 % of Σabs(share) | published estimate peaks at | "
        "times the exact norm there | at most |"
    )
    table("The gradient by path length", head, rows)


def path(files: dict[str, Results]) -> None:
    rows = []
    for stem, file in files.items():
        if file.kind == "trajectory":
            explained, walk = (100 * file[name][:2] for name in ("explained", "explained_random_walk"))
            off = (file["off_plane"] / np.maximum(file["distance"], 1e-12))[1:-1]
            worst = int(np.nanargmax(np.abs(np.log(file["plane_loss"] / file["loss"]))))
            rows.append(
                f"| {stem} | {explained[0]:.1f} + {explained[1]:.1f} | {walk[0]:.1f} + {walk[1]:.1f} | "
                f"{100 * off.min():.0f} … {100 * off.max():.0f} | {file['epoch'][worst]:g}: {file['loss'][worst]:.3g} "
                f"and {file['plane_loss'][worst]:.3g} |"
            )
    head = (
        "| path | two components explain (%) | of a random walk (%) | off the plane, of the distance to the end (%) | "
        "where they differ most, epoch: loss at the checkpoint and in the plane |"
    )
    table("The path of a training", head, rows)


def curvature(files: dict[str, Results]) -> None:
    rows = []
    for stem, file in files.items():
        if file.kind == "curvature":
            x, y = file.coordinates["x"], file.coordinates["y"]
            ratios = np.where(file["converged"], ratio(file["lambda_min"], file["lambda_max"]), np.nan)
            parts, at = convexity(file["loss"], ratios, x, y), (np.abs(y).argmin(), np.abs(x).argmin())
            cells = [f"{part.median:.3g}, at most {part.most:.3g} ({part.number})" for part in parts[2:]]
            negative = (file["lambda_min"] < 0).sum()
            rows.append(
                f"| {named(stem, 'curvature')} | {100 * parts.share:.0f} | {' | '.join(cells)} | {ratios[at]:.3g} | "
                f"{negative} of {ratios.size} |"
            )
    head = (
        "| network | slice convex (% of inner points) | median there (points) | elsewhere | at the checkpoint | "
        "λmin < 0 at |"
    )
    table("abs(λmin/λmax) over a plane", head, rows)


def interpolation(files: dict[str, Results]) -> None:
    rows = []
    for stem, file in files.items():
        if stem.startswith("interpolation"):
            x, loss = file.coordinates["x"], file["loss"]
            for name, at in (("small batch", 0), ("large batch", 1)):
                there = np.abs(x - at).argmin()
                low, high = around(loss < loss[there] + RISE, there)
                wrong = [f"{percent(file[name][there]):.2f}" for name in ("accuracy", "test_accuracy")]
                rows.append(
                    f"| {stem} | {name} | {' | '.join(wrong)} | {loss[there]:.3f} | {x[low]:.2f} … {x[high]:.2f} |"
                )
    head = "| line | end | training error (%) | test error (%) | loss | loss within half a nat of that |"
    table("From a small-batch to a large-batch solution", head, rows)
    rows = []
    for stem, file in files.items():
        if stem.startswith("line-") and file["loss"].ndim == 2:
            x, loss = file.coordinates["x"], file["loss"]  # (repeat, x)
            middle = np.abs(x).argmin()
            ends = [x[list(around(each < each[middle] + RISE, middle))] for each in loss]
            widths = np.ptp(ends, axis=1)
            half = stats.t.ppf(0.975, len(widths) - 1) * stats.sem(widths)
            rows.append(f"| {named(stem, 'line')} | {loss[0, middle]:.3f} | {widths.mean():.2f} ± {half:.2f} |")
    table(
        "Filter-normalised lines: width of the part within half a nat of the loss",
        "| network | loss | width (of the norm) |",
        rows,
    )


def around(true: np.ndarray, at: int) -> tuple[int, int]:
    """First and last index of the run of True that holds `at`."""
    low = high = at
    while low > 0 and true[low - 1]:
        low -= 1
    while high < len(true) - 1 and true[high + 1]:
        high += 1
    return low, high


def flow(files: dict[str, Results]) -> None:
    rows = []
    for file in files.values():
        if file.kind == "flow":
            middle = len(file.coordinates["quantile"]) // 2
            groups: dict[tuple, list[float]] = {}
            for n, key in enumerate(zip(file["moment"], file["variant"], file["depth"], strict=True)):
                if file["done"][n]:
                    groups.setdefault(key, []).append(file["gradient"][n, middle, 0])
            for key, each in groups.items():
                rows.append(f"| {' | '.join(map(str, key))} | {np.exp(np.mean(np.log(each))):.3g} | {len(each)} |")
    head = (
        "| moment | network | depth | gradient at the first boundary over that at the last, median image | networks |"
    )
    table("Gradients", head, rows)


def cost(seconds: str) -> None:
    """Processor time by kind of measurement, in minutes; where a command ran twice, of its longer run."""
    minutes: dict[str, float] = {}
    for line in seconds.splitlines():
        name, times = line.split("\t")
        spent = sum(float(m) + float(s.rstrip("s")) / 60 for m, s in (each.split("m") for each in times.split()))
        minutes[name] = max(spent, minutes.get(name, 0))
    groups: dict[str, list[float]] = {}
    for name, spent in minutes.items():
        groups.setdefault(name.partition("-")[0], []).append(spent)
    rows = [f"| {group} | {len(each)} | {sum(each):.0f} |" for group, each in groups.items()]
    rows.append(f"| all | {len(minutes)} | {sum(minutes.values()):.0f} |")
    table("Processor time", "| measured | files | minutes of one core |", rows)


if __name__ == "__main__":
    run(main, parser())
