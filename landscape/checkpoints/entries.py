"""Which of a file's tensors are a network's: found by its own names, whatever they are wrapped in.

Trainers put weights into dicts in dicts (``{"checkpoint": {"model": …}}``) and modules into modules (``module.``,
``_orig_mod.``, ``model.``, ``encoder_q.``). Both are one thing here, a prefix: the tensors of a file have full names,
keys of dicts and names of modules joined by dots, and an *entry* is a prefix under which all names of the network are,
with its shapes. No list of prefixes is needed, and a file with two entries shows: raw weights and their average, say.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from landscape.errors import BadInput

__all__ = ["Entry", "averages_in", "completed", "entry_for", "entry_under", "flat", "nearest", "parts_of"]

DEEPEST = 16  # levels of dicts and lists in each other
MODULES = 64  # levels of modules in each other
MOST = 10**6  # values
MOST_ENTRIES = 100  # in a file; a network of one layer is in another one at many places
PREFIXES = 100  # that are looked at to say how a file differs
SHOWN = 6  # names in a message
LONGEST = 80  # characters of a name in a message

# Modules that wrap others and compute nothing: FSDP, activation checkpointing, torch.compile, Lightning Fabric.
WRAPPERS = {"_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod", "_forward_module"}
OLD = {"gamma": "weight", "beta": "bias"}  # BERT's first files; transformers renames them as well

# Words in a key that say that its weights are averages; "ema" is no part of a longer word ("semantic", "email").
AVERAGED = re.compile(r"ema|emas|swa|averag\w*|shadow|polyak")
WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
NO_WEIGHTS = re.compile(r"optim|optimizers?|grads?|gradients?")  # of dicts with other things under names of weights

COUNTER = "num_batches_tracked"
# Of profilers, counters and tables that follow from a network's sizes.
HARMLESS = {COUNTER, "total_ops", "total_params", "n_averaged", "position_ids", "masked_bias", "inv_freq", "attn_mask"}
# Modules that a training has beside the network.
BESIDE = re.compile(
    r"(?i)loss|criteri|metric|class_?weight|pos_weight|aux|ema(_|$)|teacher|accuracy|^(train|val|test)_acc"
)


@dataclass
class Entry:
    """Weights of a network in a file.

    Attributes
    ----------
    name : the prefix of their full names, without the dot behind it; "." for none
    label : what a message calls it: the dict that they are in, where that is enough
    weights : under the network's own names
    names : their full names in the file
    missing : the network's names that are not there but must be; empty for an entry that can be taken
    level : names beside the network's own ones under the same prefix
    beside : names in the same dict under no such prefix
    misshapen : what is to be said of tensors of other shapes than the network's
    rest : the entry that buffers are taken from, where averages are of parameters only
    around : the prefix, and how names are read, for those who look for `level` and `beside`
    """

    name: str
    label: str
    weights: dict[str, Tensor]
    names: set[str]
    missing: list[str] = field(default_factory=list)
    level: dict[str, Tensor] = field(default_factory=dict)
    beside: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    rest: str = ""
    around: tuple[str, Callable[[str], str]] | None = None

    @property
    def notes(self) -> list[str]:
        """What is worth a line: whether the weights are averages, and which tensors beside them are left out."""
        notes = [f"the weights are the averaged ones in {_short(self.label)}"] if _averaged(self.name) else []
        if self.rest:
            notes.append(f"what these averages lack, buffers for one, is taken from {_short(self.rest)}")
        names = [*(name for name in self.level if not name.endswith(COUNTER)), *self.beside]
        if names:
            those = f"{len(names)} tensors that are" if len(names) > 1 else "a tensor that is"
            notes.append(f"left out {those} not the network's: {_listed(names)}")
        return notes


def parts_of(content: object) -> dict[str, dict[str, Tensor]]:
    """The dicts and lists in a file that hold tensors, by where they are: keys joined by dots, "" for the outermost.

    Only names are looked at; the tensors are as the file has them.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    left = MOST

    def visit(value: object, path: str, above: tuple[int, ...]) -> None:
        nonlocal left
        if id(value) in above or len(above) > DEEPEST:
            return
        if isinstance(value, Mapping):
            items: Iterable = value.items()
        elif isinstance(value, list | tuple):
            items = enumerate(value)
        else:
            return
        for key, each in items:
            left -= 1
            if left < 0:
                return
            name = str(key) if isinstance(key, str | int) else f"<{type(key).__name__}>"
            if isinstance(each, Tensor):
                parts.setdefault(path, {})[name] = each
            else:
                visit(each, _join(path, name), (*above, id(value)))

    visit(content, "", ())
    return parts


def flat(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of `parts_of` by their full names."""
    return {_join(path, key): tensor for path, part in parts.items() for key, tensor in part.items()}


def entry_for(
    parts: Mapping[str, Mapping[str, Tensor]], network: nn.Module, name: str | None, path: str | os.PathLike
) -> Entry | None:
    """The one entry of a file that is a network's.

    Parameters
    ----------
    parts : of `parts_of`
    network : whose names and shapes are looked for
    name : of the entry, or as much of it as tells it from others; None if there should be one only
    path : what to call the file

    Returns
    -------
    An entry without `missing` names; None if there is none, and no `name` was given.

    Raises
    ------
    BadInput
        There are several entries with different weights, averaged weights beside others among them; there is none of
        that `name`; or the file has more layers under the entry's names than the network.
    """
    fitting = [each for each in _entries(parts, network) if not each.missing]
    if not fitting:
        return None
    whole = _distinct([each for each in fitting if not _said(each.name, NO_WEIGHTS)] or fitting)
    least = sum(p.numel() for p in network.parameters() if p.requires_grad and not is_lazy(p)) / 2
    averages = [each for group in _averages(parts, fitting, least) for each in _completed(group, parts, network, whole)]
    entry = _chosen([*whole, *averages], name, path)
    _look_around(entry, parts)
    for one, others in _tied(network).items():
        for other in others:
            if {one, other} <= entry.weights.keys() and not torch.equal(entry.weights[one], entry.weights[other]):
                raise BadInput(
                    f"{path} has different weights in {one} and {other}, which are one tensor in the network; "
                    "build the network without that tie"
                )
    everything = flat(parts)
    elsewhere = {id(everything[n]) for each in (*whole, *averages) if each is not entry for n in each.names}
    entry.level = {n: t for n, t in entry.level.items() if id(t) not in elsewhere}
    if more := _unlike(entry, network):
        where = "" if entry.label == "." else f" in {_short(entry.label)}"
        raise BadInput(
            f"{path} has weights of another network{where}: beside the network's own there "
            f"{'is' if len(more) == 1 else 'are'} {_listed(more)}; build the network that they belong to"
        )
    return entry


def completed(entry: Entry, network: nn.Module) -> dict[str, Tensor]:
    """An entry's weights with those names that may be missing: further names of one tensor, counters of batches."""
    own, tied = network.state_dict(), _tied(network)
    weights = {}
    for name, t in own.items():
        other = next((n for n in (name, *sorted(tied.get(name, ()))) if n in entry.weights), None)
        weights[name] = t.detach().cpu() if other is None else entry.weights[other]
    return weights


def entry_under(
    parts: Mapping[str, Mapping[str, Tensor]], names: re.Pattern, anchor: str, name: str | None, path: str | os.PathLike
) -> Entry | None:
    """As `entry_for`, for a network that is not built yet: all its names are of a pattern, and one of them is known."""
    everything = flat(parts)
    inside = {_join(path, key): path for path, part in parts.items() for key in part}
    whole = []
    for prefix in _prefixes(everything, [anchor])[:MOST_ENTRIES]:
        dicts = {inside[prefix + anchor]}
        level = {n[len(prefix) :]: t for n, t in everything.items() if inside[n] in dicts and n.startswith(prefix)}
        weights = {short: t for short, t in level.items() if names.fullmatch(short)}
        more = [n for n in level.keys() - weights.keys() if not (_harmless(n, level[n]) or BESIDE.search(n))]
        if not more:
            label = prefix.rstrip(".") or "."
            entry = Entry(label, label, weights, {prefix + short for short in weights})
            entry.label, entry.around = min(dicts) or ".", (prefix, _same)
            whole.append(entry)
    if not whole:
        return None
    least = sum(t.numel() for t in whole[0].weights.values()) / 2
    entry = _chosen([*_distinct(whole), *_averages(parts, whole, least)], name, path)
    _look_around(entry, parts)
    return entry


def _chosen(entries: list[Entry], name: str | None, path: str | os.PathLike) -> Entry:
    """The one of several entries that a name tells from the others.

    Raises
    ------
    BadInput
        No entry has the name, or several have it, or it has averages that are not under the network's names.
    """
    if name is None:
        matching = entries
    else:
        bare = name.strip(".") or "."
        ways = (
            lambda full: full == bare,
            lambda full: full.startswith(f"{bare}."),
            lambda full: full.endswith(f".{bare}"),
            lambda full: f".{bare}." in f".{full}.",
        )
        _label(entries)
        hits = ([each for each in entries if way(each.label) or way(each.name)] for way in ways)
        matching = next(filter(None, hits), [])
    _label(matching or entries)
    if not matching:
        there = _listed([each.label for each in entries])
        raise BadInput(
            f'{path} has no weights of this network in {_short(name or "")}, but in {there}; choose with entry="NAME"'
        )
    if len(matching) > 1:
        there = _listed([each.label for each in matching])
        raise BadInput(
            f'{path} has {len(matching)} sets of weights for this network: {there}; choose one with entry="NAME"'
        )
    entry = matching[0]
    if entry.missing:
        raise BadInput(
            f"{path} has averaged weights in {_short(entry.label)}, but not under the network's names (it lacks "
            f"{_listed(entry.missing)}); save them as a state dict"
        )
    return entry


def averages_in(parts: Mapping[str, Mapping[str, Tensor]], network: nn.Module) -> list[str]:
    """Names in a file that say that averages of a network are there, for networks that rename what they load."""
    least = sum(p.numel() for p in network.parameters() if p.requires_grad and not is_lazy(p)) / 2
    return [each.label for each in _averages(parts, [], least)]


def nearest(parts: Mapping[str, Mapping[str, Tensor]], network: nn.Module) -> str:
    """What keeps a file from being the network's, in a few words."""
    entries = _entries(parts, network, all_prefixes=True)
    if not entries:
        names = list(flat(parts))
        return f"its names are {_listed(names)}, the network's {_listed(list(network.state_dict()))}"
    best = min(entries, key=lambda each: (len(each.missing), len(each.misshapen)))
    if best.misshapen:
        return best.misshapen[0]
    return f"it lacks {_listed(best.missing)}"


def _unlike(entry: Entry, network: nn.Module) -> list[str]:
    """Names that say that an entry is another network's: layers that the network itself would have to have."""
    buffers = {name for name, _ in network.named_buffers()}
    return [
        name
        for name, tensor in entry.level.items()
        if name not in buffers
        and not _harmless(name, tensor)
        and not (name.partition(".")[0] not in _children(network) and BESIDE.search(name.partition(".")[0]))
    ]


def _harmless(name: str, tensor: Tensor) -> bool:
    """Whether a tensor that the network has no place for is none of its weights."""
    last = name.rpartition(".")[2]
    if last in HARMLESS or not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    if last == "bias" and tensor.ndim == 4:  # GPT-2's causal mask, which newer versions make themselves
        return torch.equal(tensor, torch.ones_like(tensor).tril())
    return False


def _entries(parts: Mapping, network: nn.Module, all_prefixes: bool = False) -> list[Entry]:
    """Where all names of the network's parameters are with their shapes, or with `all_prefixes`, one of them.

    Some names may be missing: of what the network can count itself, and of all but one of the names of one tensor.
    """
    own = {name: t for name, t in network.state_dict().items() if isinstance(t, Tensor)}
    if not own:
        return []
    parameters = {name for name, _ in network.named_parameters(remove_duplicate=False)}
    tied = _tied(network)
    entries: dict[frozenset, Entry] = {}
    everything = flat(parts)
    inside = {_join(path, key): path for path, part in parts.items() for key in part}
    first = _common(own)
    for clean in (_same, _unwrapped, _without_module, _renewed):
        theirs = {clean(name): name for name in everything}
        if len(theirs) < len(everything) or (clean is not _same and all(n == o for n, o in theirs.items())):
            continue  # names would be one, or are what they were
        for cut in ("", first) if first else ("",):
            ours = {clean(name)[len(clean(cut)) :] if cut else clean(name): name for name in own}
            if len(ours) < len(own) or not all(ours):
                continue
            required = [short for short, name in ours.items() if name in parameters] or list(ours)
            longest = max(required, key=len)
            same = [short for short, name in ours.items() if name in tied[ours[longest]]]
            alone = [short for short in required if not tied[ours[short]]]
            prefixes = _prefixes(theirs, required if all_prefixes else [longest, *same])
            for prefix in prefixes[:PREFIXES] if all_prefixes else prefixes:
                if not (all_prefixes or all(prefix + short in theirs for short in alone)):
                    continue
                entry = _entry(prefix, theirs, ours, own, everything, tied)
                usable = all(name not in parameters for name in entry.missing)
                if all_prefixes or (usable and not entry.misshapen):
                    dicts = {inside[name] for name in entry.names}
                    entry.label = (min(dicts) or ".") if len(dicts) == 1 else entry.label
                    entry.around = prefix, clean
                    entries.setdefault(frozenset(entry.names), entry)
                    if len(entries) == MOST_ENTRIES:
                        return list(entries.values())
    return list(entries.values())


def _entry(prefix: str, theirs: dict, ours: dict, own: dict, everything: dict, tied: dict) -> Entry:
    weights, names, misshapen = {}, set(), []
    for short, name in ours.items():
        full = theirs.get(prefix + short)
        if full is None:
            continue
        given = everything[full]
        names.add(full)
        weights[name] = given
        if not is_lazy(own[name]) and given.shape != own[name].shape:
            sizes = f"{tuple(given.shape)} in the file, {tuple(own[name].shape)} in the network"
            misshapen.append(f"size mismatch for {_short(full)}: {sizes}")
    missing = [
        name
        for name in own
        if name not in weights and not name.endswith(COUNTER) and not any(other in weights for other in tied[name])
    ]
    label = prefix.rstrip(".") or "."
    return Entry(label, label, weights, names, missing, misshapen=misshapen)


def _look_around(entry: Entry, parts: Mapping) -> None:
    """Give an entry the other names in the dicts that it is in."""
    if entry.around is None:
        return
    prefix, clean = entry.around
    for path, part in parts.items():
        full = {_join(path, key): key for key in part}
        if entry.names.isdisjoint(full):
            continue
        for name, key in full.items():
            if name in entry.names:
                continue
            if (short := clean(name)).startswith(prefix):
                entry.level[short[len(prefix) :]] = part[key]
            else:
                entry.beside.append(key)


def _prefixes(names: Iterable[str], ends: Iterable[str]) -> list[str]:
    """What is in front of one of some names, wherever they are: nothing, or something that ends in a dot."""
    ends = set(ends)
    prefixes: dict[str, None] = {}
    for name in names:
        if name in ends:
            prefixes[""] = None
        place = 0
        for _ in range(MODULES):
            place = name.find(".", place) + 1
            if not place:
                break
            if name[place:] in ends:
                prefixes[name[:place]] = None
    return list(prefixes)


def _averages(parts: Mapping, whole: list[Entry], least: float) -> list[Entry]:
    """Tensors under a name that says "average" that are no entry themselves, if they are at least so many numbers."""
    taken = {name for each in whole for name in each.names}
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in flat(parts).items():
        if name not in taken and (label := _averaged(name)):
            groups.setdefault(label, {})[name] = tensor
    averages = []
    for label, tensors in groups.items():
        numbers = sum(t.numel() for t in tensors.values() if t.is_floating_point())
        if numbers and numbers >= least:
            averages.append(Entry(label, label, {}, set(tensors), list(whole[0].weights) if whole else []))
    return averages


def _completed(group: Entry, parts: Mapping, network: nn.Module, whole: list[Entry]) -> list[Entry]:
    """Averages of the parameters alone, by name or in their order, with the other weights' buffers.

    There may be several under one name: averages, and a copy of the raw weights that they are exchanged with.
    """
    everything = flat(parts)
    parameters = {name: p for name, p in network.named_parameters() if not is_lazy(p)}
    trained = [name for name, p in parameters.items() if p.requires_grad]
    rest = next((each for each in whole if not _averaged(each.name)), None)
    if rest is None:
        return [group]
    candidates = [(each.name, each.weights) for each in _entries(parts, network) if each.names <= group.names]
    for path in {name.rpartition(".")[0]: None for name in group.names if name.rpartition(".")[2].isdigit()}:
        values = list(parts.get(path, {}).values())
        for names in (list(parameters), trained):
            if [t.shape for t in values] == [parameters[name].shape for name in names]:
                candidates.append((path, dict(zip(names, values, strict=True))))
                break
    # Latent diffusion's averages have names without dots, since buffers of a module can have none.
    dotless = {name.replace(".", ""): name for name in parameters}
    named = {dotless.get(full[len(group.name) + 1 :]): everything[full] for full in group.names}
    candidates.append((group.name, {name: t for name, t in named.items() if name is not None}))
    fitting = [
        Entry(name, name, {**rest.weights, **weights}, group.names, rest=rest.label)
        for name, weights in candidates
        if weights and all(n in weights and weights[n].shape == parameters[n].shape for n in trained)
    ]
    if len(fitting) == 1:
        fitting[0].name = fitting[0].label = group.name
    return fitting or [group]


def _distinct(entries: list[Entry]) -> list[Entry]:
    """Entries without those that have the same weights as one before."""
    distinct: list[Entry] = []
    for each in entries:
        if not any(_equal(each.weights, other.weights) for other in distinct):
            distinct.append(each)
    return distinct


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    def same(a: Tensor, b: Tensor) -> bool:
        where = a.untyped_storage().data_ptr(), a.storage_offset(), a.stride(), a.dtype
        return where == (b.untyped_storage().data_ptr(), b.storage_offset(), b.stride(), b.dtype) or torch.equal(a, b)

    return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)


def _label(entries: list[Entry]) -> None:
    """Call entries by the dicts that they are in, but by all of their names where that would be several of them."""
    for each in entries:
        others = [other.name for other in entries if other is not each]
        if each.label == "." or any(f"{name}.".startswith(f"{each.label}.") for name in others):
            each.label = each.name


def _tied(network: nn.Module) -> dict[str, set[str]]:
    """For each name of a network's state dict, the other names of the same tensor."""
    places: dict[tuple, set[str]] = {}
    for name, t in network.state_dict().items():
        if isinstance(t, Tensor):
            own = is_lazy(t) or not t.numel() or t.is_meta
            place = (name,) if own else (t.data_ptr(), t.shape, t.stride(), t.dtype)
            places.setdefault(place, set()).add(name)
    return {name: names - {name} for names in places.values() for name in names}


def _children(network: nn.Module) -> set[str]:
    return {name for name, _ in network.named_children()} | {name.partition(".")[0] for name in network.state_dict()}


def _averaged(name: str) -> str:
    """A full name up to the first key that says "average"; empty if none does."""
    keys = name.split(".")
    plain = list(takewhile(lambda key: not _said(key, AVERAGED), keys))
    return ".".join(keys[: len(plain) + 1]) if len(plain) < len(keys) else ""


def _said(name: str, words: re.Pattern) -> bool:
    """Whether one of the words that a name is made of is one of these."""
    return any(words.fullmatch(word.lower()) for word in WORD.findall(name))


def _common(names: Iterable[str]) -> str:
    """The module that all names are in, with its dot; empty if there is none: a wrapper of the user's own."""
    firsts = {name.partition(".")[0] for name in names}
    return f"{min(firsts)}." if len(firsts) == 1 and all("." in name for name in names) else ""


def _same(name: str) -> str:
    return name


def _unwrapped(name: str) -> str:
    return ".".join(key for key in name.split(".") if key not in WRAPPERS)


def _without_module(name: str) -> str:
    """Without the name that DataParallel gives, on a part of a network as well."""
    return ".".join(key for key in name.split(".") if key not in WRAPPERS and key != "module")


def _renewed(name: str) -> str:
    layer, dot, last = name.rpartition(".")
    return f"{layer}{dot}{OLD.get(last, last)}" if "LayerNorm" in layer else name


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _short(name: str) -> str:
    """A name from a file as it may stand in a message of one line."""
    name = name if name.isprintable() else name[:LONGEST].encode("unicode_escape").decode()
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}…"


def _listed(names: list[str]) -> str:
    return ", ".join(map(_short, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
