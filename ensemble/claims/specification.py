"""A claim as data: one small file says what is claimed, where, on which networks, how it is measured, and what decides.

A file is TOML; nothing in it is executed. Wherever a value depends on the scale, a table of scales may stand in its
place, ``depth = { digits = 32, cifar10 = 56, published = 110 }``. Networks that several claims share have a name in
``networks.toml``, and what they share by scale is in ``scales.toml``.

    title = "A block can go"
    statement = "Deleting any one block hardly changes a residual network."
    source = "Veit et al. 2016, 1605.06431, §4.1"

    [networks]
    residual = "preact-deep"                                      # of networks.toml
    halved = { like = "resnet-deep", arguments.join = "scale" }   # or that, changed

    [quantities.rise]
    label = "rise of the error, median deletion"
    network = "residual"
    measure = "deletions"                                         # see `ensemble.claims.measures.MEASURES`
    settings = { statistic = "median", of = "rise" }
    published = "0.5 points"

    [[criteria]]
    says = "the median deletion costs less than 10 points"
    quantity = "rise"
    below = 10
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from landscape.errors import BadInput, did_you_mean
from landscape.networks import NETWORKS

__all__ = ["SCALES", "Claim", "Criterion", "Network", "Quantity", "claim_named", "names", "scale_named", "year_of"]

HERE = Path(__file__).parent
LIBRARY = HERE / "library"
SCALES = ("digits", "cifar10", "published")
LARGEST = 100_000  # bytes of a claim's file
MOST = 10**6  # of anything that a setting counts
LARGEST_BOUND = 1e300
KINDS = {str: "a text", bool: "true or false", int: f"a whole number, to {MOST:,}", float: "a number", list: "a list"}
# Settings of `landscape.training.train.train`, and what they are.
TRAINABLE: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(["network", "data", "root", "recipe", "optimizer"], (str,)),
    **dict.fromkeys(["standardize", "download", "augment", "bfloat16", "snapshots"], (bool,)),
    **dict.fromkeys(
        ["depth", "width", "size", "window", "examples", "epochs", "batch_size", "micro_batch", "warm_up"], (int,)
    ),
    **dict.fromkeys(["learning_rate", "weight_decay"], (int, float)),
    **dict.fromkeys(["mean", "std"], (list, str)),
    "arguments": (dict,),
}
RELATIONS = ("below", "above", "within")


@dataclass(frozen=True)
class Network:
    """What is trained: arguments of `landscape.training.train.train`, and for how long.

    Attributes
    ----------
    settings : dict
        By name. ``epochs = 0`` is a network at initialisation.
    """

    settings: Mapping[str, Any]

    @property
    def key(self) -> str:
        """One text for the same settings, whatever their order."""
        return json.dumps(self.settings, sort_keys=True)


@dataclass(frozen=True)
class Quantity:
    """A number that is measured in every training of a network.

    Attributes
    ----------
    name, label, unit : str
    measure : str
        One of `ensemble.claims.measures.MEASURES`.
    settings : dict
        Of the measure.
    network : str, optional
        The role of the network; none for what needs none.
    other : str, optional
        The role of a second network, for what is measured between two.
    published : str
        The number that was published, as it is shown; empty for none.
    """

    name: str
    label: str
    measure: str
    settings: Mapping[str, Any]
    network: str | None = None
    other: str | None = None
    unit: str = ""
    published: str = ""


@dataclass(frozen=True)
class Criterion:
    """What decides, settled before anything is measured.

    Attributes
    ----------
    says : str
        In words.
    quantity : str
        The number, or of two numbers the first.
    minus, over : str, optional
        A second number, which is subtracted, or by which the first is divided.
    below, above : float, optional
        The claim is that the number is below, or above this.
    within : (float, float), optional
        Or between these.
    """

    says: str
    quantity: str
    minus: str | None = None
    over: str | None = None
    below: float | None = None
    above: float | None = None
    within: tuple[float, float] | None = None

    @property
    def region(self) -> tuple[float, float]:
        """From where to where the number has to lie."""
        if self.within is not None:
            return float(self.within[0]), float(self.within[1])
        if self.below is not None:
            return float("-inf"), float(self.below)
        assert self.above is not None
        return float(self.above), float("inf")


@dataclass(frozen=True)
class Claim:
    """What a paper says, at one scale.

    Attributes
    ----------
    name, title, statement, source : str
    scale : str
    networks : dict of Network
        By role.
    quantities : dict of Quantity
        By name.
    criteria : tuple of Criterion
        The claim holds if all of them do.
    differs : str
        What is not as in the publication, beside the scale.
    seeds : int
        Number of trainings of each network.
    """

    name: str
    title: str
    statement: str
    source: str
    scale: str
    networks: Mapping[str, Network]
    quantities: Mapping[str, Quantity]
    criteria: tuple[Criterion, ...]
    differs: str = ""
    seeds: int = 1


def names() -> list[str]:
    """All claims that there are, in order of their sources."""
    claims = {path.stem: _read(path) for path in LIBRARY.glob("*.toml")}
    return sorted(
        claims, key=lambda name: (year_of(str(claims[name].get("source"))), str(claims[name].get("source")), name)
    )


def claim_named(name: str | os.PathLike, scale: str = "digits") -> Claim:
    """A claim of the library, or of a file.

    Parameters
    ----------
    name : str or path
        One of `names`, or the path of a .toml file.
    scale : {"digits", "cifar10", "published"}

    Raises
    ------
    BadInput
        There is no such claim, or its file is not as it should be.

    Examples
    --------
    >>> claim = claim_named("one-block-can-go")
    >>> claim.source.partition(",")[0]
    'Veit et al. 2016'
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = LIBRARY / f"{name}.toml"
        known = [each.stem for each in LIBRARY.glob("*.toml")]
        if str(name) not in known:
            raise BadInput(
                f"there is no claim {name}{did_you_mean(str(name), known)}; skipscape claim lists them, and a file of "
                "your own ends in .toml"
            )
    shared = scale_named(scale)
    try:
        return _claim(path, _at(_read(path), scale), scale, shared)
    except RecursionError as error:
        raise BadInput(f"{path} has tables in tables without end; see docs/claims.md for what a claim is") from error


def scale_named(scale: str) -> dict[str, Any]:
    """What the claims share at a scale: seeds, a type of numbers, and settings of the training by kind of data."""
    if scale not in SCALES:
        raise BadInput(f"there is no scale {scale}; use {', '.join(SCALES)}{did_you_mean(scale, SCALES)}")
    return _shared()[scale]


@cache
def _shared() -> dict[str, Any]:
    return _read(HERE / "scales.toml")


@cache
def _known_networks() -> dict[str, Any]:
    return _read(HERE / "networks.toml")


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise BadInput(f"{path} is no file; name another one")
        if (size := path.stat().st_size) > LARGEST:
            raise BadInput(f"{path} has {size} bytes, and a claim is a small file; name another one")
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}; name another file") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise BadInput(f"{path} is not TOML ({reason}); see docs/claims.md for what a claim looks like") from error


def _at(value: Any, scale: str) -> Any:
    """A value with every table of scales replaced by what it has for this one."""
    if isinstance(value, dict):
        if value and value.keys() <= set(SCALES):
            if scale not in value:
                return None
            return _at(value[scale], scale)
        return {name: _at(each, scale) for name, each in value.items()}
    return [_at(each, scale) for each in value] if isinstance(value, list) else value


def _claim(path: Path, content: dict, scale: str, shared: dict) -> Claim:
    def wrong(what: str) -> BadInput:
        return BadInput(f"{path}: {what}; see docs/claims.md for what a claim looks like")

    _only_known(content, {field.name for field in fields(Claim)} - {"name", "scale"}, wrong, "a claim")
    if odd := next(_dates(content), None):
        raise wrong(f"{odd} is a date, and a claim has texts and numbers")
    for name in ("title", "statement", "source"):
        if not isinstance(content.get(name), str) or not content[name].strip():
            raise wrong(f"it needs a {name}, a text")
    differs = content.get("differs", "")
    if not isinstance(differs, str):
        raise wrong("what differs is a text")
    networks = _tables(content.get("networks", {}), wrong, "networks")
    quantities = _tables(content.get("quantities"), wrong, "quantities")
    roles = {role: _network(spec, scale, shared, wrong, role) for role, spec in networks.items()}
    made = {name: _quantity(name, each, roles, wrong) for name, each in quantities.items()}
    criteria = content.get("criteria")
    if not isinstance(criteria, list) or not criteria:
        raise wrong("it needs criteria, at least one [[criteria]]")
    decides = tuple(_criterion(each, made, wrong) for each in criteria)
    used = {name for each in decides for name in (each.quantity, each.minus, each.over)}
    if idle := made.keys() - used:
        raise wrong(f"no criterion reads the quantity {min(idle)}")
    seeds = content.get("seeds", shared["seeds"])
    if not isinstance(seeds, int) or isinstance(seeds, bool) or not 1 <= seeds <= 1000:
        raise wrong(f"seeds is {seeds!r}, and it is a number of trainings, from 1 to 1000")
    texts = {name: " ".join(content[name].split()) for name in ("title", "statement", "source")}
    return Claim(
        path.stem,
        **texts,
        scale=scale,
        networks=roles,
        quantities=made,
        criteria=decides,
        differs=" ".join(differs.split()),
        seeds=seeds,
    )


def _tables(value: object, wrong: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or (name == "quantities" and not value):
        raise wrong(f"it needs {name}, a table by name")
    return value


def _network(spec: object, scale: str, shared: dict, wrong: Any, role: str) -> Network:
    """The settings of a network: of its name in networks.toml, of the scale, and its own on top."""
    own: dict[str, Any] = {"like": spec} if isinstance(spec, str) else dict(spec) if isinstance(spec, dict) else {}
    if not own:
        raise wrong(f"the network {role} is a name in networks.toml, or a table of settings")
    base: dict[str, Any] = {}
    if (like := own.pop("like", None)) is not None:
        shared_networks = _known_networks()
        if not isinstance(like, str) or like not in shared_networks:
            meant = did_you_mean(str(like), shared_networks)
            raise wrong(f"there is no network {like!r} in networks.toml{meant}")
        base = _at(shared_networks[like], scale)
    settings = _merged(base, own)
    kind = settings.pop("kind", "images")  # which of the scale's settings it shares
    if not isinstance(kind, str) or not isinstance(shared.get(kind), dict):
        raise wrong(f"the scale {scale} has no settings for {kind!r}")
    settings = _merged(shared[kind], settings)
    settings = {name: _none(value) for name, value in settings.items() if value is not None}
    if not isinstance(settings.get("network"), str):
        raise wrong(f"the network {role} needs a network, such as resnet")
    _only_known(settings, set(TRAINABLE), wrong, f"the network {role}")
    for name, value in settings.items():
        if value is not None and not _is(value, TRAINABLE[name]):
            kinds = " or ".join(KINDS.get(kind, "a table") for kind in TRAINABLE[name])
            raise wrong(f"the {name} of the network {role} is {value!r}, and it is {kinds}")
    if settings["network"] not in NETWORKS:  # nothing that a file names is imported
        meant = did_you_mean(settings["network"], NETWORKS)
        raise wrong(f"the network {role} is a {settings['network']!r}, which is none of {', '.join(NETWORKS)}{meant}")
    data = settings.get("data") or ""
    if ":" in data and not data.startswith("text:"):
        raise wrong(f"the data of the network {role} are {data!r}, and code is named by --data alone")
    return Network(settings)


def _is(value: object, kinds: tuple[type, ...]) -> bool:
    """Whether a setting is of one of these types; truth values are no numbers, and numbers have bounds."""
    bounded = not isinstance(value, int | float) or isinstance(value, bool) or abs(value) <= MOST
    return type(value) in kinds and bounded


def _only_known(table: Mapping[str, Any], known: set[str], wrong: Any, what: str) -> None:
    if unknown := table.keys() - known:
        word = min(unknown)
        raise wrong(f"{what} has no {word}{did_you_mean(word, known)}")


def _dates(value: Any) -> Iterator[Any]:
    """What TOML has besides texts, numbers, truths, lists and tables."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _dates(each)
    elif not isinstance(value, str | int | float | None):
        yield value


def _none(value: Any) -> Any:
    """A value with None for the text "None", as on a command line: TOML has no word for it."""
    if isinstance(value, dict):
        return {name: _none(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_none(each) for each in value]
    return None if value == "None" else value


def _merged(below: dict, above: dict) -> dict:
    """Settings, with those above in place of those below; tables, such as arguments, are merged."""
    merged = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def _quantity(name: str, value: object, roles: Mapping[str, Network], wrong: Any) -> Quantity:
    if not isinstance(value, dict):
        raise wrong(f"the quantity {name} is a table")
    _only_known(value, {field.name for field in fields(Quantity)} - {"name"}, wrong, f"the quantity {name}")
    for text, empty in {"label": None, "measure": None, "unit": ""}.items():
        if not isinstance(value.get(text, empty), str):
            raise wrong(f"the quantity {name} needs a {text}, a text")
    for role in ("network", "other"):
        if role in value and value[role] not in [*roles]:
            raise wrong(f"the quantity {name} is of the network {value[role]!r}, which is none of {', '.join(roles)}")
    if not isinstance(value.get("settings", {}), dict):
        raise wrong(f"the settings of the quantity {name} are a table")
    settings = {name: each for name, each in value.get("settings", {}).items() if each is not None}
    return Quantity(name, **(value | {"settings": settings, "published": str(value.get("published", ""))}))


def _criterion(value: object, quantities: Mapping[str, Quantity], wrong: Any) -> Criterion:
    if not isinstance(value, dict) or not isinstance(value.get("says"), str):
        raise wrong("a criterion says in words what it asks for: says = …")
    _only_known(value, {field.name for field in fields(Criterion)}, wrong, "a criterion")
    for part in ("quantity", "minus", "over"):
        if (part == "quantity" or part in value) and value.get(part) not in [*quantities]:
            raise wrong(f"a criterion reads {value.get(part)!r}, which is none of {', '.join(quantities)}")
    if "minus" in value and "over" in value:
        raise wrong("a criterion takes a difference (minus) or a ratio (over), not both")
    given = [relation for relation in RELATIONS if value.get(relation) is not None]
    if len(given) != 1:
        raise wrong(f"the criterion {value['says']!r} needs one of {', '.join(RELATIONS)}, it has {len(given)}")
    if value["quantity"] in (value.get("minus"), value.get("over")):
        raise wrong(f"a criterion compares {value['quantity']!r} with itself")
    bounds = value[given[0]]
    each = bounds if given[0] == "within" and isinstance(bounds, list) else [bounds]
    number = all(type(bound) in (int, float) and abs(bound) < LARGEST_BOUND for bound in each)
    if not number or len(each) != (2 if given[0] == "within" else 1):
        raise wrong(f"{given[0]} is {bounds!r}; it takes {'two numbers' if given[0] == 'within' else 'a number'}")
    if given[0] == "within":
        value = value | {"within": (float(each[0]), float(each[1]))}
        if each[0] >= each[1]:
            raise wrong(f"within is {bounds}; the first number is the smaller one")
    return Criterion(**value)


def year_of(source: str) -> str:
    """The first four digits in a row of a source, by which claims are listed.

    Examples
    --------
    >>> year_of("Veit et al. 2016, 1605.06431, §5")
    '2016'
    """
    words = source.replace(",", " ").split()
    return next((word for word in words if len(word) == 4 and word.isdigit()), "9999")
