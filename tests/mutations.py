#!/usr/bin/env python3
"""Do the tests notice? Break central lines, one at a time, in a copy of this project, and run the tests of each.

    python tests/mutations.py
    python tests/mutations.py --together

Prints a line for each broken line and ends with status 1 if one of them is not noticed. With --together all lines are
broken at once, and every file of tests/unit is run on that: those that pass all the same are listed. They test what no
line here is about, or nothing.
"""

import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}

IMPORTED = ("h5py", "matplotlib.figure", "scipy.stats", "torch._dynamo", "torch.fx", "hypothesis")

# file, what stands there, what is put in its place, the tests that should notice
MUTATIONS = [
    ("ensemble/attribution/interaction.py", "+ intact[:, :n]", "- intact[:, :n]", "test_interaction"),
    ("ensemble/attribution/interaction.py", "2 * scipy.stats.norm.sf", "scipy.stats.norm.sf", "test_interaction"),
    ("ensemble/attribution/paired.py", "each.std(ddof=1) / np.sqrt(n)", "each.std(ddof=1) / n", "test_paired"),
    ("ensemble/attribution/shapley.py", "for order in (one, one[::-1])", "for order in (one, one)", "test_shapley"),
    ("ensemble/attribution/shapley.py", "ddof=1) / np.sqrt(pairs)", "ddof=1) / np.sqrt(2 * pairs)", "test_shapley"),
    (
        "ensemble/claims/measures/blocks.py",
        "each * (2 + np.arange(len(each)))",
        "each * (1 + np.arange(len(each)))",
        "test_measures",
    ),
    ("ensemble/claims/measures/lesions.py", "/ rise if rise > 0", "if rise > 0", "test_measures"),
    ("ensemble/claims/measures/paths.py", "stats.binom.cdf(low - 1,", "stats.binom.cdf(low,", "test_measures"),
    (
        "ensemble/claims/trial.py",
        "quantity].network == other.network",
        "quantity].network != other.network",
        "test_trial",
    ),
    ("ensemble/claims/trial.py", "ratio=criterion.over is not None", "ratio=False", "test_trial"),
    ("ensemble/claims/verdict.py", "low <= of.low and of.high <= high", "low <= of.mean <= high", "test_verdict"),
    (
        "ensemble/claims/verdict.py",
        "if of.high < low or of.low > high else",
        "if of.mean < low or of.mean > high else",
        "test_verdict",
    ),
    (
        "ensemble/claims/verdict.py",
        "Number(a.value - b.value, math.hypot(a.se, b.se)) for",
        "Number(a.value - b.value, a.se) for",
        "test_verdict",
    ),
    ("ensemble/claims/verdict.py", "/ (number - 3))", "/ number)", "test_verdict"),
    ("ensemble/claims/verdict.py", "n.se / n.value, n.over", "n.se, n.over", "test_verdict"),
    (
        "ensemble/drawing/measure.py",
        "centre = fraction + z**2 / (2 * n)",
        "centre = fraction + z / (2 * n)",
        "test_drawing",
    ),
    (
        "ensemble/flow/effects.py",
        "x = part.skip(activations[left_out])",
        "x = part.run(activations[left_out])",
        "test_stream",
    ),
    ("ensemble/flow/gains.py", "norms(carried) / norms(entered)", "norms(entered) / norms(carried)", "test_stream"),
    (
        "ensemble/flow/gradients.py",
        "sum(np.square(g.numpy()).sum() for g in part)",
        "sum(np.abs(g.numpy()).sum() for g in part)",
        "test_flow",
    ),
    (
        "ensemble/flow/gradients.py",
        "np.sqrt(np.array(squares, float)) / examples",
        "np.sqrt(np.array(squares, float))",
        "test_flow",
    ),
    ("ensemble/flow/mixing.py", "each[end - 1] @ product", "product @ each[end - 1]", "test_flow"),
    (
        "ensemble/flow/mixing.py",
        "zip(measured, (-1, -2), strict=True)",
        "zip(measured, (-2, -1), strict=True)",
        "test_flow",
    ),
    ("ensemble/flow/redundancy.py", "(1 + as_far) / (1 + DRAWS)", "as_far / DRAWS", "test_redundancy"),
    ("ensemble/flow/refinement.py", "share = own / (own + carried)", "share = own / carried", "test_stream"),
    ("ensemble/flow/scores.py", "numbers[0] = 1 - np", "numbers[0] = np", "test_redundancy"),
    ("ensemble/flow/shattering.py", "2 * means.std(ddof=1)", "means.std(ddof=1)", "test_stream"),
    ("ensemble/flow/shattering.py", "& ~np.eye(len(matrix), dtype=bool)", "", "test_stream"),
    ("ensemble/flow/similarity.py", "2 / (n - 2) * crossed", "2 / (n - 1) * crossed", "test_what_blocks_do"),
    ("ensemble/flow/similarity.py", ".fill_diagonal_(0)", "", "test_what_blocks_do"),
    ("ensemble/identity.py", "(each - error * size).std(ddof=1)", "each.std(ddof=1)", "test_what_blocks_do"),
    ("ensemble/identity.py", "np.random.default_rng([seed, 1])", "np.random.default_rng([1])", "test_what_blocks_do"),
    ("ensemble/lesions/context.py", "np.flatnonzero(trial != intact(len(blocks)))", "np.arange(0)", "test_lesions"),
    ("ensemble/lesions/context.py", "lambda out: gate * out", "lambda out: out", "test_lesions"),
    ("ensemble/lesions/context.py", "other[cycle] = np.roll(cycle, 1)", "other[cycle] = cycle", "test_lesions"),
    ("ensemble/lesions/context.py", 'move["runs"] - 1))', 'move["runs"]))', "test_lesions"),
    ("ensemble/lesions/context.py", "scale[0] / scale[1] * kept", "kept", "test_lesions"),
    ("ensemble/lesions/context.py", "sums[number, place] / examples", "sums[number, place]", "test_lesions"),
    ("ensemble/lesions/layer_cache.py", "step <= number)", "step <= number + 1)", "test_layer_cache"),
    ("ensemble/lesions/plans.py", 'plan["pair"][:, 1:][chosen[:, :-1]] = SECOND', "pass", "test_plans"),
    (
        "ensemble/lesions/plans.py",
        "default_rng([seed, k, trial]).choice",
        "default_rng([seed, k]).choice",
        "test_plans",
    ),
    ("ensemble/lesions/plans.py", "1 - 4 * inversions", "1 - 2 * inversions", "test_plans"),
    (
        "ensemble/lesions/prefix_cache.py",
        "step <= self.place[common(before, trial)]",
        "step <= self.place[common(before, trial)] + 1",
        "test_walk",
    ),
    ("ensemble/paths/chain.py", "return module.survival * module.branch(x)", "return module.branch(x)", "test_paths"),
    ("ensemble/paths/chain.py", "comb(n - plain, k - plain)", "comb(n, k)", "test_paths"),
    ("ensemble/paths/spectrum.py", "sums[1:] += branched", "sums[1:] -= branched", "test_paths"),
    ("ensemble/paths/spectrum.py", "paths * np.concatenate", "np.concatenate", "test_paths"),
    (
        "ensemble/paths/spectrum.py",
        "(sums * whole).sum(-1) / (whole * whole).sum(-1)",
        "_norm(sums) / _norm(whole)",
        "test_paths",
    ),
    ("ensemble/paths/spectrum.py", "default_rng([seed, length, draw])", "default_rng([seed, length])", "test_paths"),
    (
        "ensemble/paths/surviving.py",
        "comb(number - deleted, length) / comb(number, length)",
        "comb(number - deleted, length) / comb(number, deleted)",
        "test_surviving",
    ),
    ("landscape/alignment/matching.py", "maximize=True)", "maximize=False)", "test_matching"),
    ("landscape/alignment/matching.py", "st / number - np.outer(s, t) / number**2", "st / number", "test_matching"),
    ("landscape/alignment/matching.py", "value[i, j] += more", "value[i, j] += 0", "test_matching"),
    (
        "landscape/alignment/matching.py",
        "made[name].index_select(axis, torch.from_numpy(source)",
        "made[name].index_select(axis, torch.from_numpy(source.argsort())",
        "test_matching",
    ),
    ("landscape/analysis/basins.py", "np.logical_and.accumulate(excess <= 0, axis=1)", "excess <= 0", "test_basins"),
    ("landscape/analysis/basins.py", "beta.ppf(1 - confidence, np", "beta.ppf((1 - confidence) / 2, np", "test_basins"),
    ("landscape/analysis/basins.py", "excess + NOISE * results", "excess - NOISE * results", "test_basins"),
    (
        "landscape/analysis/comparison.py",
        "mean, low, high = np.exp([mean, low, high])\n    low, high = np.clip",
        "mean = np.exp(mean)\n    low, high = np.clip",
        "test_comparison",
    ),
    ("landscape/analysis/flood.py", "oldest = min(lakes", "oldest = max(lakes", "test_topology"),
    ("landscape/analysis/flood.py", "basin[min(wet, key", "basin[max(wet, key", "test_topology"),
    ("landscape/analysis/geometry.py", "/ (a[2:] - a[:-2])[:, None]", "/ (a[2:] - a[1:-1])[:, None]", "test_geometry"),
    (
        "landscape/analysis/geometry.py",
        "squared_b**2 / max(len(b) - 1, 1)",
        "squared_b**2 / max(len(b), 1)",
        "test_geometry",
    ),
    ("landscape/analysis/geometry.py", "(1 - share[top]) * loss_se[0]", "loss_se[0]", "test_geometry"),
    ("landscape/analysis/geometry.py", "(level - values[i]) / (values[i + step] - values[i])", "0.5", "test_geometry"),
    ("landscape/analysis/geometry.py", "residual - noise, 0", "residual, 0", "test_geometry"),
    ("landscape/analysis/merge_trees.py", "LOOPS if k is None else k", "1.0 if k is None else k", "test_topology"),
    ("landscape/analysis/minima.py", "flood(height, corners=False)", "flood(height)", "test_topology"),
    (
        "landscape/analysis/minima.py",
        "np.hypot(error[births.minimum], error[births.saddle])",
        "error[births.minimum]",
        "test_persistence",
    ),
    (
        "landscape/analysis/numbers.py",
        'results.attributes["parameters"] * (node * weight)',
        "(node * weight)",
        "test_numbers",
    ),
    ("landscape/analysis/precision.py", "/ loss_float32[both] - 1", "- loss_float32[both]", "test_numbers"),
    (
        "landscape/checkpoints/cifar_resnets.py",
        'max(int(stage) - (place == "0"), 0)',
        "int(stage)",
        "test_foreign_names",
    ),
    ("landscape/checkpoints/entries.py", "{**rest.weights, **weights}", "{**weights, **rest.weights}", "test_entries"),
    (
        "landscape/checkpoints/entries.py",
        "b.stride(), b.dtype) or torch.equal(a, b)",
        "b.stride(), b.dtype) or a.shape == b.shape",
        "test_entries",
    ),
    (
        "landscape/curvature/basin.py",
        "- level.factor * here[id(targets)] - level.plus",
        "- here[id(targets)] - level.plus",
        "test_basin",
    ),
    ("landscape/curvature/basin.py", 'Level("error", 1.0, number / 100,', 'Level("error", 1.0, number,', "test_basin"),
    ("landscape/curvature/critical.py", "return 2 / step.size, low", "return 1 / step.size, low", "test_critical"),
    ("landscape/curvature/critical.py", "tensors_of(-slope, own)", "tensors_of(slope, own)", "test_critical"),
    (
        "landscape/curvature/critical.py",
        "rates = names[:-1], rates[1:]",
        "rates = names[:-1], rates[:-1]",
        "test_critical",
    ),
    (
        "landscape/curvature/critical.py",
        'measured["passes"] += 1 + len(seen)',
        'measured["passes"] += len(seen)',
        "test_critical",
    ),
    (
        "landscape/curvature/critical_step.py",
        "value(below) / below, value(above) / above",
        "value(below), value(above)",
        "test_critical",
    ),
    (
        "landscape/curvature/critical_step.py",
        "for shift in (quantile, -quantile))",
        "for shift in (-quantile, quantile))",
        "test_critical",
    ),
    ("landscape/curvature/critical_step.py", "if value(step) < -rounding:", "if value(step) < 0:", "test_critical"),
    ("landscape/curvature/hessian.py", "_slopes(each.sum() / examples", "_slopes(each.mean()", "test_curvature"),
    (
        "landscape/curvature/sharpness.py",
        "norm(weights) / np.sqrt(len(weights))",
        "norm(weights) / len(weights)",
        "test_sharpness",
    ),
    (
        "landscape/curvature/sharpness.py",
        "np.sqrt(np.count_nonzero(scale)) / norm(u)",
        "np.sqrt(len(scale)) / norm(u)",
        "test_sharpness",
    ),
    ("landscape/curvature/sharpness.py", "if value > highest:", "if value >= -np.inf:", "test_sharpness"),
    ("landscape/curvature/sharpness.py", "grad(each.sum() / examples", "grad(each.mean()", "test_sharpness"),
    ("landscape/curvature/sharpness.py", "return value, s * slope", "return value, slope", "test_sharpness"),
    (
        "landscape/data/__init__.py",
        "generator=torch.Generator().manual_seed(seed)",
        "generator=torch.Generator().manual_seed(0)",
        "test_data",
    ),
    ("landscape/data/__init__.py", "images.flip(3), images)", "images.flip(2), images)", "test_data"),
    (
        "landscape/data/__init__.py",
        "mean=training.mean, std=training.std",
        "standardize=bool(standardize)",
        "test_data",
    ),
    ("landscape/data/__init__.py", "(rank + 0.5).double() / count[group]", "(rank + 0.5).double()", "test_data"),
    ("landscape/engine/checksum.py", "parts = [some.astype", "parts = [(0 * some).astype", "test_checksum"),
    ("landscape/engine/checksum.py", "np.where(done.flat[rows], crcs, ~crcs)", "crcs", "test_checksum"),
    (
        "landscape/engine/grid.py",
        "np.repeat(repeat, len(points))",
        "np.resize(repeat, len(points) * len(repeat))",
        "test_many",
    ),
    (
        "landscape/engine/grid.py",
        "(start * i[::-1] + stop * i) / i[-1]",
        "start + (stop - start) * i / i[-1]",
        "test_plane",
    ),
    ("landscape/engine/results.py", "(computed != there) & (", "(computed < there) & (", "test_results"),
    ("landscape/engine/run.py", "yield first\n            part = part[1:]", "yield first", "test_run"),
    ("landscape/engine/run.py", "np.array_equal(part[0], rows[0])", "True", "test_run"),
    ("landscape/engine/run.py", "require_same(comm, attributes)", "pass", "test_run"),
    ("landscape/engine/sweep.py", "most = -(-left // (2 * ranks))", "most = left", "test_scaling"),
    (
        "landscape/engine/table.py",
        "array[cell] = measurement[name]",
        "array[cell] = measurement[name] or 1",
        "test_table",
    ),
    ("landscape/engine/table.py", "self._unsummed.add(row)", "pass", "test_table"),
    (
        "landscape/engine/table.py",
        "if before is None or not _same(before, np.asarray(array)):",
        "if before is None:",
        "test_table",
    ),
    (
        "landscape/engine/table.py",
        'for names in (self.values | checked, self.derived | {"done": self.done}):',
        'for names in (self.derived | {"done": self.done}, self.values | checked):',
        "test_table",
    ),
    (
        "landscape/evaluation/accuracy.py",
        "return right.sum(1) / counts.sum(1)",
        "return right.sum(1) / counts.shape[1]",
        "test_kinds",
    ),
    ("landscape/evaluation/accuracy.py", "flatten()).gt(0)", "flatten()).gt(0.5)", "test_kinds"),
    ("landscape/evaluation/batchnorm.py", "norm.momentum = None  #", "norm.momentum = 0.1  #", "test_statistics"),
    (
        "landscape/evaluation/batchnorm.py",
        ".to(own).log() - norm.running_var.log())",
        ".to(own).log() - variance)",
        "test_statistics",
    ),
    ("landscape/evaluation/fused.py", "(n.running_var + n.eps).rsqrt()", "n.running_var.rsqrt()", "test_fusion"),
    (
        "landscape/evaluation/fused.py",
        "c.bias - n.running_mean) * scale",
        "c.bias * scale - n.running_mean)",
        "test_fusion",
    ),
    (
        "landscape/evaluation/losses.py",
        "return each.masked_fill(void, 0).sum(1) / (~void).sum(1)",
        "return each.masked_fill(void, 0).mean(1)",
        "test_kinds",
    ),
    (
        "landscape/evaluation/losses.py",
        'targets.to(outputs.dtype), reduction="none")\n    return each.flatten(1).mean(1)',
        'targets.to(outputs.dtype), reduction="none")\n    return each.flatten(1).sum(1)',
        "test_kinds",
    ),
    ("landscape/evaluation/measure.py", "/ np.sqrt(len(each))", "/ len(each)", "test_measure"),
    ("landscape/evaluation/measure.py", "if n >= examples:", "if n > examples:", "test_measure"),
    ("landscape/evaluation/measure.py", "each.std(ddof=1)", "each.std()", "test_measure"),
    (
        "landscape/evaluation/measure.py",
        "if tolerance is not None and n < len(tolerance.strata) else None",
        "if tolerance is not None else None",
        "test_estimate",
    ),
    ("landscape/evaluation/paired.py", "np.sqrt(len(each))", "len(each)", "test_critical"),
    (
        "landscape/evaluation/paired.py",
        "evaluation.test.batches if test",
        "evaluation.batches if test",
        "test_critical",
    ),
    ("landscape/evaluation/prepared.py", "self.test.batches, self.loss", "self.batches, self.loss", "test_evaluator"),
    ("landscape/evaluation/prepared.py", 'chosen, side="right")', 'chosen, side="left")', "test_statistics"),
    ("landscape/evaluation/prepared.py", "return measure(self.exact,", "return measure(self.forward,", "test_reduced"),
    (
        "landscape/evaluation/reference.py",
        "reference.exp() * (reference - changed)",
        "reference.exp() * (changed - reference)",
        "test_reference",
    ),
    (
        "landscape/evaluation/reference.py",
        "= predictions(scores, self._axis)\n",
        "= predictions(-scores, self._axis)\n",
        "test_reference",
    ),
    ("landscape/evaluation/regression.py", "mean + slope * gap", "mean - slope * gap", "test_regression"),
    ("landscape/evaluation/regression.py", "1 / second - 1 / sizes", "0 * second", "test_regression"),
    (
        "landscape/evaluation/regression.py",
        "left / np.maximum(1 - basis.leverage, DEPENDENT)",
        "left / 1",
        "test_regression",
    ),
    (
        "landscape/evaluation/regression.py",
        "row - part * before, gap - part * its_gap",
        "row - part * before, gap",
        "test_regression",
    ),
    (
        "landscape/evaluation/rows.py",
        "reference.exp() * (reference - changed",
        "changed.exp() * (reference - changed",
        "test_rows",
    ),
    ("landscape/evaluation/sampling.py", "(1 - n / size)", "(1 + n / size)", "test_estimate"),
    (
        "landscape/evaluation/sampling.py",
        "error <= self.error * abs(mean)",
        "error >= self.error * abs(mean)",
        "test_estimate",
    ),
    ("landscape/evaluation/sampling.py", "weight**2 @ variance", "weight @ variance", "test_estimate"),
    ("landscape/linalg/density.py", "vectors[0] ** 2, missing", "np.abs(vectors[0]), missing", "test_spectra"),
    ("landscape/linalg/density.py", "2 / (n + 2) * spread", "0 * spread", "test_spectrum"),
    ("landscape/linalg/density.py", "steps, (seed, number))", "steps, (seed, 0))", "test_curvature"),
    ("landscape/linalg/lanczos.py", "q = w / beside[k]", "q = w / (beside[k] + 1e-6)", "test_curvature"),
    ("landscape/linalg/trace.py", "return sketch.trace + dot", "return dot", "test_curvature"),
    (
        "landscape/linalg/trace.py",
        "probe(operator, known, (seed, number))",
        "probe(operator, known, (seed, 0))",
        "test_curvature",
    ),
    ("landscape/planes/adaptive.py", "np.abs(off) <= allowed", "off <= allowed", "test_adaptive"),
    ("landscape/planes/adaptive.py", "np.exp(guess) if logarithm else guess", "guess", "test_adaptive"),
    (
        "landscape/planes/auto_range.py",
        "[-max(map(abs, reached)), max(map(abs, reached))]",
        "[-min(map(abs, reached)), min(map(abs, reached))]",
        "test_auto_range",
    ),
    ("landscape/planes/auto_range.py", "math.ceil(round(", "math.floor(round(", "test_auto_range"),
    (
        "landscape/planes/controls.py",
        "[value for part in comm.allgather(values) for value in part]",
        "values",
        "test_controls",
    ),
    ("landscape/planes/directions.py", "np.divide(w, d,", "np.divide(w**2, d,", "test_directions"),
    (
        "landscape/planes/directions.py",
        "_ratio(convention.rows(weight), convention.rows(direction))",
        "_ratio(weight, direction)",
        "test_filters",
    ),
    (
        "landscape/planes/directions.py",
        "weight.reshape(1, -1), direction.reshape(1, -1))",
        "weight.reshape(1, -1), direction.reshape(1, -1) ** 2)",
        "test_directions",
    ),
    (
        "landscape/planes/directions.py",
        "_dot(rest, along, direction) / _dot(along, along, direction)",
        "_dot(rest, along, direction)",
        "test_directions",
    ),
    ("landscape/planes/directions.py", "between / math.sqrt(own * others)", "between / own", "test_directions"),
    ("landscape/planes/directions.py", "generator.bit_generator.state = state  #", "pass  #", "test_directions"),
    ("landscape/planes/filters.py", "*shape[1:]), COLUMNS", "*shape[1:]), ROWS", "test_filters"),
    (
        "landscape/planes/filters.py",
        '(r"Conv1D", r"weight", {2: SECOND})',
        '(r"Conv1D", r"weight", {2: FIRST})',
        "test_filters",
    ),
    ("landscape/planes/filters.py", "n if i in self.axes else 1", "n if i == self.axes[0] else 1", "test_filters"),
    ("landscape/planes/plane.py", "alpha=float(coordinate)", "alpha=-float(coordinate)", "test_plane"),
    ("landscape/planes/plane.py", "here.copy_(plane.origin[name])", "pass", "test_plane"),
    (
        "landscape/planes/principal_components.py",
        "np.minimum.outer(covered, covered)",
        "np.maximum.outer(covered, covered)",
        "test_principal_components",
    ),
    (
        "landscape/planes/principal_components.py",
        "np.linalg.solve(metric, inner.T).T",
        "(inner / np.diag(metric))",
        "test_principal_components",
    ),
    (
        "landscape/planes/principal_components.py",
        'squares - np.einsum("ik,ik->i", coordinates, inner)',
        'squares - np.einsum("ik,ik->i", inner, inner)',
        "test_principal_components",
    ),
    ("landscape/planes/trajectory.py", 'history["epoch"][-1]', 'history["epoch"][0]', "test_trajectory"),
    ("landscape/planes/waypoints.py", "key=_numbers)", "key=str)", "test_waypoints"),
    ("landscape/training/loop.py", 'reduction="sum") / count', 'reduction="mean")', "test_training"),
    ("landscape/training/loop.py", 'first = state["epoch"]', 'first = state["epoch"] - 1', "test_train"),
    ("landscape/training/loop.py", "SeedSequence([seed, epoch])", "SeedSequence([seed, 0])", "test_training"),
    (
        "landscape/training/loop.py",
        "torch.stack(batch_losses).sum() * len(chosen)",
        "torch.stack(batch_losses).sum() * batch_size",
        "test_training",
    ),
]


def main() -> None:
    survived = sum(in_parts(part_survives, MUTATIONS))
    print(f"{len(MUTATIONS) - survived} of {len(MUTATIONS)} broken lines are noticed")
    sys.exit(bool(survived))


def part_survives(mutations: list) -> int:
    """How many of these nobody notices."""
    survived = 0
    with copied() as copy:
        for tests in dict.fromkeys(tests for *_, tests in mutations):
            if (ended := run(copy, path_of(copy, tests)))[0]:
                sys.exit(f"{tests} fails although nothing is broken: {ended[1]}")
        for name, there, instead, tests in mutations:
            whole = broken(copy / name, there, instead)
            status, said = run(copy, path_of(copy, tests))
            if status not in (0, 1):  # they cannot even start
                sys.exit(said)
            (copy / name).write_text(whole)
            survived += status == 0
            print(f"{'noticed' if status else 'SURVIVED'}: {name}: {there!r} → {instead!r} ({tests})", flush=True)
    return survived


def together() -> None:
    """Which test files notice nothing although all lines are broken."""
    files = [file.relative_to(ROOT) for file in sorted((ROOT / "tests" / "unit").rglob("test_*.py"))]
    silent = [file for part in in_parts(part_silent, files) for file in part]
    print(*(f"notices nothing: {file}" for file in sorted(silent)), sep="\n")
    print(f"{len(files) - len(silent)} of {len(files)} files of tests notice that all lines are broken")


def part_silent(files: list[Path]) -> list[Path]:
    """Which of these pass although all lines are broken."""
    with copied() as copy:
        for name, there, instead, _ in MUTATIONS:
            broken(copy / name, there, instead)
        return [file for file in files if run(copy, copy / file)[0] == 0]


def in_parts(function: Callable, each: list) -> list:
    """What a function gives of each half of a list, in processes that have imported what most tests need."""
    for module in IMPORTED:
        importlib.import_module(module)
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        return list(pool.map(function, [each[0::2], each[1::2]]))


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of this project."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "skipscape"
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "results")
        )
        (copy / "results").symlink_to(ROOT / "results")  # which some tests read
        yield copy


def broken(path: Path, there: str, instead: str) -> str:
    """Break a line, which stands there once; what the file was."""
    whole = path.read_text()
    if whole.count(there) != 1:
        sys.exit(f"{path} has {there!r} {whole.count(there)} times; say another line")
    path.write_text(whole.replace(there, instead))
    return whole


def path_of(copy: Path, tests: str) -> Path:
    return next((copy / "tests" / "unit").rglob(f"{tests}.py"))


def run(copy: Path, tests: Path) -> tuple[int, str]:
    """The status of a file of tests, and what it said: in a fork of this process, which knows no code of ours."""
    said = copy / "said.log"
    if not (child := os.fork()):
        log = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(copy)
        os.environ.update({**ENVIRONMENT, "PYTHONPATH": str(copy)})
        sys.path[:0] = [str(copy), str(copy / "tests")]
        os._exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", str(tests)]))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, said.read_text(errors="replace")


if __name__ == "__main__":
    together() if sys.argv[1:] == ["--together"] else main()
