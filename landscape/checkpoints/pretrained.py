"""Networks of transformers from folders of ``save_pretrained()``, whose config.json says what they are.

The class is one of the installed package: code that a folder brings, or names, is never run, and nothing is downloaded.
The tensors come from `landscape.checkpoints.safe_load`; transformers puts them in their places, ties what is tied, and
tells what is missing, which it would otherwise draw at random.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from landscape.data.reading import config_of, quietly, settings_of
from landscape.errors import BadInput
from landscape.lazy_weights import forgetter
from landscape.networks.size_limit import TooLarge, at_most

__all__ = ["architecture_of", "restored"]

CURE = "name what builds the network with --network package.module:factory"
TIED = 4  # names that one tensor may have, as T5's embedding does; a file has it once
SHOWN = 4  # names in a line


def architecture_of(folder: Path) -> str | None:
    """The class of transformers that a folder is of, as its config.json says; None where it does not.

    Raises
    ------
    BadInput
        config.json cannot be read.
    """
    names = config_of(folder).get("architectures")
    return str(names[0]) if isinstance(names, list) and names else None


def restored(folder: Path, architecture: str, weights: Mapping[str, Tensor]) -> tuple[nn.Module, list[str]]:
    """The network of a folder, in float32 and in evaluation mode.

    Parameters
    ----------
    folder : with config.json
    architecture : the class that this names
    weights : all tensors of the folder

    Returns
    -------
    nn.Module
        With weights of its own, which share nothing with a file.
    list of str
        Lines on what was found that a user should see.

    Raises
    ------
    BadInput
        transformers is not installed, or has no such class; or the weights are not those of the network, one by one.
    """
    kind, config = _class(folder, architecture), config_of(folder)
    if config.get("quantization_config"):
        raise BadInput(f"{folder} holds quantised weights, which do not move; give the network that was quantised")
    if hub := [value for name, value in settings_of(config) if name.endswith("_implementation") and "/" in str(value)]:
        raise BadInput(f"{folder} asks for the code of {hub[0]}, which is not run; take that out of its config.json")
    try:
        with quietly():
            settings = kind.config_class.from_dict(config)
            numbers = sum(tensor.numel() for tensor in weights.values())
            with torch.device("meta"), at_most(TIED * len(weights), TIED * numbers):
                blank = kind(settings)
            _check_weights(folder, blank, weights)
            network, report = kind.from_pretrained(
                None,
                config=settings,
                state_dict=dict(weights),
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # since they are refused below, with their names
            )
    except TooLarge as error:
        raise BadInput(f"{folder} has a config.json of a larger network than its weights; copy the whole folder") from (
            error
        )
    except BadInput:
        raise
    except Exception as error:  # of a config that does not fit the class, of all kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadInput(f"{folder} cannot be made a {architecture} ({reason}); {CURE}") from error
    _check(folder, architecture, report)
    _check_layers(folder, network, report["unexpected_keys"])
    _own(network, weights)
    if getattr(network.config, "use_cache", False):
        network.config.use_cache = False  # keys and values for a text to be continued, which nobody reads here
    return network.eval(), _notes(architecture, report)


def _class(folder: Path, architecture: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise BadInput(
            f"{folder} holds a {architecture} of transformers, which is not installed; "
            "pip install 'skipscape[transformers]'"
        ) from error
    kind = getattr(transformers, architecture, None) if architecture.isidentifier() else None
    if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
        raise BadInput(
            f"{folder} holds a {architecture}, which transformers {transformers.__version__} does not have, and code "
            f"that a folder brings is not run; install it, and {CURE}"
        )
    return kind


def _check(folder: Path, architecture: str, report: Mapping) -> None:
    """Refuse weights that are not there, or of other shapes, in whose place there are random ones."""
    if missing := sorted(report["missing_keys"]):
        raise BadInput(
            f"{folder} has no weights for {_few(missing)} of its {architecture}, which would be random; "
            "train it and save it, or give the folder of one that was trained"
        )
    if wrong := sorted(report["mismatched_keys"]):
        name, stored, own = wrong[0]
        raise BadInput(
            f"{folder} has {name} {tuple(stored)}, but its config.json makes it {tuple(own)}; copy the whole folder"
        )
    if report["error_msgs"]:
        raise BadInput(f"{folder} cannot be loaded ({' '.join(str(report['error_msgs'][0]).split())[:200]}); {CURE}")


def _check_weights(folder: Path, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Refuse weights that transformers would make others of: of other types, or one under two names."""
    prefix, own = f"{network.base_model_prefix}.", network.state_dict()
    for name, tensor in weights.items():
        bare = name.removeprefix(prefix)
        if name != bare and bare in weights:
            raise BadInput(f"{folder} has both {name} and {bare}, which are one tensor; save the one that is meant")
        place = next((own[each] for each in (name, prefix + name, bare) if each in own), None)
        if place is not None and place.is_floating_point() and not tensor.is_floating_point():
            raise BadInput(
                f"{folder} has {name} as {tensor.dtype}, which cannot be taken for {place.dtype}; save it anew"
            )


def _check_layers(folder: Path, network: nn.Module, unexpected: Iterable[str]) -> None:
    """Refuse to leave out layers: config.json then says that there are fewer."""
    lists = {f"{name}.": len(each) for name, each in network.named_modules() if isinstance(each, nn.ModuleList)}
    for name in unexpected:
        for match in re.finditer(r"(?<=\.)\d+(?=\.)", name):
            around = name[: match.start()]
            number = lists.get(around, lists.get(f"{network.base_model_prefix}.{around}"))
            if number is not None and int(match[0]) >= number:
                raise BadInput(f"{folder} has {name}, and its config.json fewer layers; copy the whole folder")


def _notes(architecture: str, report: Mapping) -> list[str]:
    unexpected = sorted(report["unexpected_keys"])
    return [f"not of a {architecture}, and left out: {_few(unexpected)}"] if unexpected else []


def _few(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _own(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy what is mapped from a file, which others may write to."""
    mapped = {tensor.untyped_storage().data_ptr() for tensor in weights.values()}
    forget = forgetter(weights)
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.untyped_storage().data_ptr() in mapped:
            tensor.data = tensor.data.clone()
            forget()
