"""Trying a claim: its networks are trained, its quantities measured, its criteria judged, and all of it kept."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ensemble.claims.measures import check_measure, measured
from ensemble.claims.report import Verdicts, overall_of, report
from ensemble.claims.specification import Claim, Criterion, Network, Quantity, claim_named, names, scale_named
from ensemble.claims.verdict import VERDICTS, Number, contrast, estimate, verdict
from ensemble.claims.workbench import Workbench, silently
from landscape.engine.progress import bar
from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.results import Results
from landscape.engine.run import run
from landscape.errors import BadInput, did_you_mean
from landscape.log import ANSWER, say
from landscape.validate import whole

__all__ = ["claim", "claims"]

NAN = float("nan")
MEASURED: dict[str, tuple] = {
    "estimate": ("f8", NAN, {"long_name": "what the criterion is about, the mean over trainings"}),
    "low": ("f8", NAN, {"long_name": "lower end of its 95 % interval"}),
    "high": ("f8", NAN, {"long_name": "upper end of its 95 % interval"}),
    "verdict": ("i8", -1, {"long_name": f"0 … {len(VERDICTS) - 1}: {', '.join(VERDICTS)}"}),
    "first": ("f8", NAN, {"long_name": "the quantity, in each training"}, ("training",)),
    "second": ("f8", NAN, {"long_name": "the quantity that it is compared with, in each training"}, ("training",)),
    "first_least": ("f8", NAN, {"long_name": "least that the quantity can be"}),
    "first_most": ("f8", NAN, {"long_name": "most that it can be"}),
    "second_least": ("f8", NAN, {"long_name": "least that the other can be"}),
    "second_most": ("f8", NAN, {"long_name": "most that it can be"}),
    "first_se": ("f8", NAN, {"long_name": "standard error of the quantity in each training"}, ("training",)),
    "second_se": ("f8", NAN, {"long_name": "standard error of the other in each training"}, ("training",)),
}


def claim(
    name: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    out: str | os.PathLike,
    scale: str = "digits",
    data: str | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    checkpoints: Mapping[str, str | os.PathLike | Sequence[str | os.PathLike]] | None = None,
    device: str = "auto",
    comm: Communicator | None = None,
    quiet: bool = False,
) -> Verdicts:
    """Try claims of papers: train what it takes, measure, and judge by criteria that were settled before. Collective.

    Parameters
    ----------
    name : str or path, or several
        Claims that `claims` lists; paths of .toml files of your own; or "all".
    out : path
        A folder. Networks and measurements are kept there and shared by claims; the same call goes on where it was
        interrupted, and does nothing where all is there.
    scale : {"digits", "cifar10", "published"}
        Which networks, data and trainings: minutes on two cores, hours, or as published.
    data : str, optional
        In place of the scale's images, see `landscape.training.train.train`.
    seeds : int, optional
        Number of trainings of each network, in place of the scale's.
    epochs : int, optional
        Length of the trainings of images, in place of the scale's.
    checkpoints : dict, optional
        Networks of your own, by the role that they have in the claim: paths, one for each training. They are measured
        in the place of those that would be trained.
    device : {"auto", "cpu", "cuda"}
    comm : communicator, optional
        By default all ranks that mpiexec has started. Trainings are handed out to them, then rows of measurements.
    quiet : bool
        Whether to show no progress.

    Returns
    -------
    Verdicts
        A list of Results, one a claim, over its criteria: ``estimate`` with its 95 % interval ``low``, ``high``, and
        the ``verdict``. Shown as a table; ``to_markdown()`` is one too. Of several claims, one that cannot be tried on
        its networks does not stop the others: ``untried`` tells why, by its name.

    Raises
    ------
    BadInput
        There is no such claim, its file is not as it should be, the folder holds another trial of it, or the only claim
        cannot be tried on its networks.

    Examples
    --------
    >>> import tempfile
    >>> results, = claim("most-paths-are-of-middling-length", out=tempfile.mkdtemp(), quiet=True)
    >>> overall_of(results)
    'holds'
    """
    comm = communicator(comm)
    folder = Path(out)
    with collective_errors(comm):
        if folder.exists() and not folder.is_dir():
            raise BadInput(f"{folder} is a file; name a folder, in which networks and measurements are kept")
        chosen = [_changed(each, data, seeds, epochs) for each in _named(name, scale)]
        for each in chosen:
            check_measure(each)
        given = _given(chosen, checkpoints or {})
    bench = Workbench(folder, comm, device, quiet, given, data, scale_named(scale)["dtype"])
    trainings = [(network, seed) for each in chosen for network in _used(each) for seed in range(each.seeds)]
    bench.train(each for each in trainings if (each[0].key, each[1]) not in given)
    results = Verdicts()
    for each in chosen:
        try:
            tried = _tried(each, bench)
        except BadInput as error:
            if len(chosen) == 1 or not (comm.size == 1 or error.collective):
                raise
            results.untried[each.name] = str(error)
            say(comm, f"{each.title}: could not be tried\n  {error}", level=ANSWER)
            continue
        results.append(tried)
        say(comm, report(tried), level=ANSWER)
    if len(chosen) > 1:
        counts = [sum(overall_of(each) == word for each in results) for word in VERDICTS]
        said = [f"{number} {word}" for number, word in zip(counts, VERDICTS, strict=True)]
        if results.untried:
            said.append(f"{len(results.untried)} could not be tried")
        say(comm, f"{len(chosen)} claims: {', '.join(said)}", level=ANSWER)
    return results


def claims(scale: str = "digits") -> list[Claim]:
    """All claims that there are, by the year of their source.

    Parameters
    ----------
    scale : {"digits", "cifar10", "published"}
        Which networks and data they are tried on, see `claim`.

    Returns
    -------
    list of Claim
        Each with its name, statement, source, networks, quantities and criteria.

    Examples
    --------
    >>> "one-block-can-go" in [claim.name for claim in claims()]
    True
    """
    return [claim_named(name, scale) for name in names()]


def _named(name: str | os.PathLike | Sequence[str | os.PathLike], scale: str) -> list[Claim]:
    each = [name] if isinstance(name, str | os.PathLike) else list(name)
    if each == ["all"]:
        each = list(names())
    made = [claim_named(one, scale) for one in each]
    stems = [one.name for one in made]
    if twice := {stem for stem in stems if stems.count(stem) > 1}:
        raise BadInput(f"{min(twice)} is there twice; give each claim once")
    return made


def _changed(of: Claim, data: str | None, seeds: int | None, epochs: int | None) -> Claim:
    """The claim with other data, trainings or lengths of them."""
    changes: dict[str, Any] = {}
    if seeds is not None:
        changes["seeds"] = whole("seeds", seeds)
    networks = {}
    for role, network in of.networks.items():
        settings = dict(network.settings)
        if settings["network"] != "transformer":
            if data is not None:
                settings["data"] = data
            if epochs is not None and settings.get("epochs") != 0:
                settings["epochs"] = whole("epochs", epochs)
        networks[role] = Network(settings)
    return replace(of, networks=networks, **changes)


def _given(chosen: list[Claim], checkpoints: Mapping[str, Any]) -> dict[tuple[str, int], Path]:
    """Where the networks of a user are, by the network and the seed in whose place they are measured."""
    if not checkpoints:
        return {}
    roles = {role for each in chosen for role in each.networks}
    given = {}
    for role, paths in checkpoints.items():
        if role not in roles:
            raise BadInput(
                f"there is no network {role!r} in {', '.join(each.name for each in chosen)}; there are "
                f"{', '.join(sorted(roles))}{did_you_mean(role, roles)}"
            )
        listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
        for each in chosen:
            if role in each.networks:
                if len(listed) != each.seeds:
                    raise BadInput(
                        f"{len(listed)} checkpoints for {role}, and {each.name} is tried on {each.seeds} trainings; "
                        f"give --seeds {len(listed)}"
                    )
                for seed, path in enumerate(listed):
                    if not Path(path).exists():
                        raise BadInput(f"there is no file {path}; give the checkpoint of {role}")
                    given[each.networks[role].key, seed] = Path(path)
    return given


def _used(of: Claim) -> list[Network]:
    """The networks that its quantities are measured on."""
    roles = [role for each in of.quantities.values() for role in (each.network, each.other) if role is not None]
    return [of.networks[role] for role in dict.fromkeys(roles)]


def _tried(of: Claim, bench: Workbench) -> Results:
    """The verdicts on a claim whose networks are trained."""
    quantities = [(of.quantities[each.quantity], _other(of, each)) for each in of.criteria]
    cases = {role: [bench.case(network, seed) for seed in range(of.seeds)] for role, network in of.networks.items()}
    trained = {role: network.key for role, network in of.networks.items()}
    settings = trained | {
        role: " ".join(case.path.name for case in each) for role, each in cases.items() if each[0].is_given
    }
    criteria = np.arange(len(of.criteria))
    bounds = np.array([each.region for each in of.criteria])

    def texts(values: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
        return ("criterion",), np.array(values, object)

    with collective_errors(bench.comm):
        if bench.comm.rank == 0:
            bench.folder.mkdir(parents=True, exist_ok=True)
    out = bench.folder / f"{of.name}.h5"

    rows: list[dict] = []

    def begin() -> None:
        quiet = bench.quiet or bench.comm.rank > 0
        with bar(of.seeds * len(of.quantities), "measurements", quiet=quiet, note=of.title) as progress:
            numbers = {name: _measured(of, each, bench, progress) for name, each in of.quantities.items()}
        rows.extend(_judged(of, each, numbers) for each in of.criteria)

    def function(points: np.ndarray) -> Iterator[dict]:
        for (row,) in points:
            yield rows[int(row)]

    with silently(), _kept_if_measured(out, rows, bench.comm):
        results = run(
            function,
            criteria,
            label="criteria",
            kind="claim",
            dims=("criterion",),
            coordinates={"criterion": criteria, "training": np.arange(of.seeds)},
            given={
                "says": texts([each.says for each in of.criteria]),
                "first_label": texts([first.label for first, _ in quantities]),
                "second_label": texts(["" if second is None else second.label for _, second in quantities]),
                "first_unit": texts([first.unit for first, _ in quantities]),
                "first_published": texts([first.published for first, _ in quantities]),
                "second_published": texts(["" if second is None else second.published for _, second in quantities]),
                "operation": texts(["minus" if e.minus else "over" if e.over else "" for e in of.criteria]),
                "above": (("criterion",), bounds[:, 0]),
                "below": (("criterion",), bounds[:, 1]),
            },
            measured=MEASURED,
            attributes={
                "claim": of.name,
                "title": of.title,
                "statement": of.statement,
                "source": of.source,
                "differs": of.differs
                if settings == trained
                else "networks given: "
                + ", ".join(f"{role}: {said}" for role, said in settings.items() if said != trained[role]),
                "scale": of.scale,
                "seeds": of.seeds,
                "data": ", ".join(dict.fromkeys(case.data for each in cases.values() for case in each)),
                "networks": "; ".join(f"{role}: {key}" for role, key in settings.items()),
                "checkpoint": " ".join(case.digest or "diverged" for each in cases.values() for case in each),
                "quantities": "; ".join(
                    f"{q.name}: {q.measure} {json.dumps(q.settings, sort_keys=True)} of {q.network}, {q.other}"
                    for q in of.quantities.values()
                ),
                "network": of.title,
            },
            begin=begin,
            out=out,
            comm=bench.comm,
            quiet=True,
        )
    assert isinstance(results, Results)  # and no report, which a dry run would give
    return results


@contextlib.contextmanager
def _kept_if_measured(path: Path, rows: Sequence, comm: Communicator) -> Iterator[None]:
    """Take a new file away again if nothing could be measured for it: what was wrong with the claim can be mended."""
    there = path.exists()
    try:
        yield
    except BadInput:
        if comm.rank == 0 and not there and not rows:
            path.unlink(missing_ok=True)
        raise


def _measured(of: Claim, quantity: Quantity, bench: Workbench, progress: tqdm) -> list[Number]:
    """A quantity in every training."""
    numbers = []
    for seed in range(of.seeds):
        network = None if quantity.network is None else of.networks[quantity.network]
        case = bench.case(network, seed, of.seeds)
        other = None if quantity.other is None else bench.case(of.networks[quantity.other], seed)
        with collective_errors(bench.comm):
            numbers.append(measured(quantity.measure, case, other, quantity.settings))
        progress.update()
    return numbers


def _other(of: Claim, criterion: Criterion) -> Quantity | None:
    second = criterion.minus or criterion.over
    return None if second is None else of.quantities[second]


def _judged(of: Claim, criterion: Criterion, numbers: Mapping[str, list[Number]]) -> dict:
    first, other = numbers[criterion.quantity], _other(of, criterion)
    second = [] if other is None else numbers[other.name]
    if other is None:
        result = estimate(first)
    else:
        paired = of.quantities[criterion.quantity].network == other.network
        result = contrast(first, second, ratio=criterion.over is not None, paired=paired)
    blank = [Number(NAN)] * len(first)
    return {
        "estimate": result.mean,
        "low": result.low,
        "high": result.high,
        "verdict": VERDICTS.index(verdict(result, criterion.region)),
        "first_least": max(n.least for n in first),
        "first_most": min(n.most for n in first),
        "second_least": max(n.least for n in second or blank),
        "second_most": min(n.most for n in second or blank),
        "first": np.array([n.value for n in first]),
        "second": np.array([n.value for n in second or blank]),
        "first_se": np.array([n.se for n in first]),
        "second_se": np.array([n.se for n in second or blank]),
    }
