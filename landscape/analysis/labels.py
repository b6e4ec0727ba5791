"""What files and figures call things that several of them speak of."""

from __future__ import annotations

import re

__all__ = ["NORMALIZATIONS", "network_label"]

# How directions are scaled, as it stands in a results file and on a figure's axes.
NORMALIZATIONS = {
    "filter": "filter-normalised",
    "layer": "layer-normalised",
    "weight": "weight-normalised",
    "none": "not normalised",
}

# Families of networks as papers write them.
FAMILIES = {"resnet": "ResNet", "densenet": "DenseNet", "vgg": "VGG", "plain": "plain"}
FAMILIES |= {"transformer": "transformer", "vit": "ViT"}
IN_WORDS = ("plain", "transformer", "vit")  # whose depth is not what papers put behind the name
SAID = {
    "block=bottleneck": "bottlenecks",
    "bottleneck=True": "bottlenecks",
    "constant=True": "constant width",
    "join=scale": "constant scaling",
    "join=shortcut-gate": "shortcut-only gate",
    "join=dropout": "dropout on shortcuts",
    "norm=none": "no normalisation",
    "norm=post": "post-norm",
    "order=pre": "pre-activation",
    "order=bn-after-add": "BatchNorm after addition",
    "order=relu-before-add": "ReLU before addition",
    "order=relu-only-pre": "ReLU-only pre-activation",
    "shortcut=None": "no shortcuts",
    "shortcut=None,identity": "no shortcut around attention",
    "shortcut=identity,None": "no shortcut around the MLP",
    "dynamic=True": "dynamic",
    "shortcut=delta": "delta shortcuts",
    "shortcut=depth-attention": "attention over depth",
    "shortcut=hyper": "hyper-connections",
    "shortcut=mhc": "constrained hyper-connections",
    "shortcut=projection": "projections",
    "shortcut=projection-everywhere": "projections everywhere",
    "shortcut=zero-pad-average": "averaging shortcuts",
    "values=residual": "value residuals",
    "zero_init=True": "branches from 0",
}
FORMS = {
    "scales": "{}",
    "gate_bias": "b = {}",
    "survival": "stochastic depth {}",
    "keep": "{} blocks a batch",
    "heads": "{} heads",
    "streams": "{} streams",
}


def network_label(name: str) -> str:
    """What figures and tables call a network, or a variant, that files name by its family and arguments.

    Parameters
    ----------
    name : as of `landscape.networks.titled`, or as it was typed for ``trainings.py``

    Returns
    -------
    str
        A name of no family of this package is kept, as its user has chosen it.

    Examples
    --------
    >>> network_label("resnet-56"), network_label("plain-20")
    ('ResNet-56', 'plain, 20 layers')
    >>> network_label("preact-resnet-56:join=pooled-gate,gate_bias=-6")
    'ResNet-56, pre-activation, pooled gate, b = −6'
    """
    match = re.fullmatch(rf"(preact-)?({'|'.join(FAMILIES)})(?:-(\d+))?(?::(.+))?", name)
    if match is None:
        return name
    before, family, depth, arguments = match.groups()
    label = FAMILIES[family]
    if depth:
        label += f", {depth} layers" if family in IN_WORDS else f"-{depth}"
    words = re.split(r",(?![^(\[]*[)\]])", arguments) if arguments else []  # not at the comma of (0.5, 1)
    return ", ".join([label, *["pre-activation"] * bool(before), *map(_said, words)])


def _said(word: str) -> str:
    """An argument in words: "pooled gate", "width 32"."""
    argument, _, value = word.partition("=")
    value = {"true": "True", "false": "False", "none": "None"}.get(value, value) if argument != "norm" else value
    bare = re.sub(r"[][()'\" ]", "", value)  # a pair, however it is typed
    if f"{argument}={bare}" in SAID:
        return SAID[f"{argument}={bare}"]
    plain = re.sub(r"['\"]", "", value).replace("-", "−" if re.match(r"-[\d.]", value) else " ").replace(",", ", ")
    if argument == "join":
        return plain
    return FORMS.get(argument, f"{argument.replace('_', ' ')} {{}}").format(plain)
