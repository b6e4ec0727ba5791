"""Every kind of figure, as it is laid out, at its default width and in one column of a paper, keeps the rules of
``tests/audit.py``; and every rule notices a figure that breaks it.

The figures are those of the gallery and some of the studies, drawn from their results files by the same commands.
"""

import glob
import os
import re
import shlex
from functools import cache

import audit
import pytest
from files import ROOT
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ensemble.drawing.draw import draw
from landscape.engine.table import read
from landscape.errors import BadInput
from scripts.figure import parser

GALLERY = (ROOT / "results" / "gallery" / "README.md").read_text()
STUDY, LANGUAGE, TRAINING = (f"results/{name}/" for name in ("study", "language", "training"))
COLUMN = 3.25  # inches

COMMANDS = dict(re.findall(r"python scripts/figure\.py ([\w-]+)\.png (.*)", GALLERY)) | {
    "study surfaces": "{S}surface-plain-110-0.h5 {S}surface-resnet-110-0.h5",
    "study contours": "{S}surface-densenet-40-0.h5 {S}surface-vgg-16-0.h5 --only contours",
    "study lines": "{S}line-small.h5 {S}line-large.h5",
    "study degradation": "{S}degradation.h5",
    "study depth": "{S}single-*.h5 --by-depth",
    "study single": "{S}single-preact-56-0.h5 {S}single-stochastic-56-0.h5",
    "study many": "{S}random-preact-56-0.h5 {S}swaps-preact-56-0.h5 {S}applied-twice-preact-56-0.h5",
    "pooled gate": "{T}pooled-gate-56.h5",
    "language parts": "{L}parts.h5 --variable perplexity",
    "language layers": "{L}layers.h5 {L}neighbours.h5 --variable agreement",
    "claims": "results/claims/*.h5",
    "language redundancy": "{L}redundancy-parts.h5 {L}redundancy-layers.h5",
}
WIDTHS = {"whole": {}, "column": {"width": COLUMN}}


@cache
def laid_out(name, width):
    """A figure of a command at a width, drawn; None if it cannot be so narrow."""
    words = shlex.split(COMMANDS[name].format(S=STUDY, L=LANGUAGE, T=TRAINING))
    words = [each for word in words for each in (sorted(glob.glob(word, root_dir=ROOT)) or [word])]
    options = vars(parser().parse_args(["figure.png", *words]))
    files = [_read(path) for path in options.pop("files")]
    del options["out"]
    try:
        return audit.drawn(draw(files, **options | WIDTHS[width]))
    except BadInput as error:
        if "does not hold this figure" not in str(error):
            raise
        return None


@cache
def _read(path):
    return read(os.path.relpath(ROOT / path))


@pytest.mark.slow
@pytest.mark.parametrize("rule", audit.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_figure_keeps_every_rule(name, width, rule):
    if (page := laid_out(name, width)) is None:
        pytest.skip("too narrow for this figure, which it says")
    assert not list(rule(page))


# Every rule notices a figure that breaks it, and is silent on one that does not


def sound():
    """A figure that keeps every rule."""
    figure = Figure((4, 2), dpi=100)
    axes = figure.add_axes((0.2, 0.25, 0.6, 0.6))
    axes.plot([1, 2, 3], [1, 10, 100], "--o", color="tab:blue", label="ResNet-20")
    axes.set(yscale="log", ylabel="loss", xticks=[1, 2, 3])
    axes.legend()
    return figure, axes


def bar(figure, **how):
    mesh = figure.axes[0].pcolormesh([[1, 2], [3, 4]])
    return figure.colorbar(mesh, cax=figure.add_axes((0.86, 0.3, 0.02, 0.5)), **how)


BROKEN = {
    "neighbours": (audit.overlaps, lambda figure, axes: axes.set_xticks([1, 1.13, 3], ["−1", "1", "3"])),
    "a title over a title": (
        audit.overlaps,
        lambda figure, axes: (axes.set_title("a"), figure.text(0.5, 0.88, "loss")),
    ),
    "a label in another's way": (audit.overlaps, lambda figure, axes: figure.text(0.08, 0.5, "error", rotation=60)),
    "a long title": (audit.cuts, lambda figure, axes: axes.set_title("loss" * 20)),
    "a label beyond the edge": (audit.cuts, lambda figure, axes: axes.set_ylabel("loss", labelpad=40)),
    "no label": (audit.scales, lambda figure, axes: axes.set_ylabel("")),
    "one number": (audit.scales, lambda figure, axes: axes.set(yticks=[10])),
    "one number in view": (audit.scales, lambda figure, axes: axes.set(yticks=[1, 1000], ylim=(0.5, 500))),
    "no label of a bar": (audit.scales, lambda figure, axes: bar(figure)),
    "no numbers of a bar": (audit.scales, lambda figure, axes: bar(figure, label="loss", ticks=[2])),
    "one end of a symlog scale": (
        audit.scales,
        lambda figure, axes: (axes.set_yscale("symlog"), axes.set(ylim=(-1000, 1000), yticks=[0, 10, 1000])),
    ),
    "a key of nothing": (
        audit.keys,
        lambda figure, axes: figure.legend(handles=[Line2D([], [], color="tab:red", label="VGG")]),
    ),
    "a key of another marker": (
        audit.keys,
        lambda figure, axes: figure.legend(handles=[Line2D([], [], color="0.3", linestyle="none", marker="D")]),
    ),
    "a key of other dashes": (
        audit.keys,
        lambda figure, axes: figure.legend(handles=[Line2D([], [], color="0.3", linestyle=":")]),
    ),
    "a key of what is out of view": (audit.keys, lambda figure, axes: axes.set_xlim(4, 5)),
    "a small text": (audit.small, lambda figure, axes: axes.set_title("loss", fontsize=5.9)),
    "arguments": (audit.raw, lambda figure, axes: axes.set_title("resnet:order=pre")),
    "a class": (audit.raw, lambda figure, axes: axes.set_xlabel("LogitsT")),
    "two words of a class": (audit.raw, lambda figure, axes: axes.set_xlabel("CrossEntropyLoss")),
    "a variable": (audit.raw, lambda figure, axes: axes.set_xlabel("create_model")),
    "a factory": (audit.raw, lambda figure, axes: axes.set_xlabel("torchvision.models:resnet18")),
    "a family": (audit.raw, lambda figure, axes: axes.set_title("preact-resnet-56")),
}


@pytest.mark.parametrize(("rule", "spoil"), BROKEN.values(), ids=BROKEN)
def test_a_rule_notices_what_breaks_it(rule, spoil):
    figure, axes = sound()
    spoil(figure, axes)
    assert list(rule(audit.drawn(figure)))


@pytest.mark.parametrize("rule", audit.RULES, ids=lambda rule: rule.__name__)
def test_a_sound_figure_breaks_no_rule(rule):
    figure, axes = sound()
    bar(figure, label="loss")
    axes.set_title("ResNet-20 (stages.0.1), pre-activation, BatchNorm", fontsize=6)
    assert not list(rule(audit.drawn(figure)))
