"""Whatever is typed, a command does it or refuses it: in one line, with status 2, and with no file changed."""

import argparse
import logging
import os
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from files import ROOT
from hostile import complaint, listed, ran, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from typed import SCRIPTS, script

from landscape import log
from landscape.checkpoints.checkpoint import Checkpoint, save
from landscape.commands import cli
from landscape.engine.ranks import SerialComm
from landscape.errors import BadInput
from landscape.networks import build
from landscape.networks.arguments import parse_arguments

NAMES = sorted(path.stem for path in (ROOT / "scripts").glob("[a-z]*.py"))
HUGE = "9" * 5000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with hardly trained networks, results, and what has the name of a file and is none."""
    path = tmp_path_factory.mktemp("folder")
    for network in ("resnet", "plain"):
        small = {"depth": 8, "width": 2, "channels": 1}
        torch.manual_seed(0)
        made = build(network, **small)
        save(Checkpoint(network, small, made.state_dict(), data={"name": "digits"}), path / f"{network}.pt")
    for name, typed in {
        "surface": ("resnet.pt", "surface.h5", "--x", -1, 1, 3, "--y", -1, 1, 3),
        "lesion": ("resnet.pt", "lesion.h5"),
    }.items():
        assert ran(name, *typed, "--examples", 20, "--quiet", folder=path) == (0, "")
    for name in ("pipe", "pipe.pt", "pipe.h5", "pipe.npz", "pipe.png"):
        os.mkfifo(path / name)
    (path / "loop").symlink_to("loop")
    (path / "folder.pt").mkdir()
    (path / "text").write_text("hello\n")
    return path


# What no option takes: refused before anything is read.

NUMBERS = [
    "",
    "a",
    "nan",
    "1e3",
    "0x10",
    "1_0_",
    "٣٫",
    HUGE,
    "-" + HUGE,
    "99999999999999999999",
    "1.5",
    "--",
    "\x1b[31m",
]
FRACTIONS = [
    "",
    "a",
    "nan",
    "-nan",
    "1e308",
    "-1e308",
    "1e-320",
    "1e-40",
    "inf",
    "-inf",
    "1e999",
    "1,5",
    "0x1p3",
    HUGE,
    "\x1b[31m",
]
WORDS = ["\x00", "a\x00b", "\udcff", "\ud800.h5"]
CHOICES = ["bogus", "", " ", "\n", "\x1b[31m"]


def options(name):
    """All options of a script that take something, and values that they cannot take."""
    for action in script(name)["parser"]()._actions:
        if not action.option_strings or action.nargs == 0 or isinstance(action, argparse._HelpAction):
            continue
        wild = CHOICES if action.choices else WORDS
        if action.type in (int, float):
            wild = (NUMBERS if action.type is int else FRACTIONS) + WORDS
        number = action.nargs if isinstance(action.nargs, int) else 1
        for value in wild:
            yield action.option_strings[-1], [value] * number


def needed(name):
    """Words for what a script cannot do without."""
    few = []
    for action in script(name)["parser"]()._actions:
        if action.required:
            few += [*action.option_strings[-1:], "nothing.h5"]
    return few


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_a_value_that_an_option_cannot_take_is_refused(folder, name):
    parser = script(name)["parser"]()
    for option, values in options(name):
        said = complaint(cli._parsed, parser, [*needed(name), f"{option}={values[0]}", *values[1:]])
        assert said.isprintable()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_command_line_is_refused(folder, name):
    for typed in (
        ["--bogus"],
        ["--quiet=1"],
        ["-x"],
        ["--\x1b[31m\n"],
        ["\x00"],
        ["\udcff"],
        ["--seed", "0"] * 2 + ["--a"],
    ):
        refused(name, *needed(name), *typed, folder=folder)


FILES = [
    "",
    ".",
    "/",
    "nowhere/a.h5",
    "pipe",
    "pipe.h5",
    "loop",
    "folder.pt",
    "/dev/null",
    "/dev/zero",
    "text",
    "x" * 300,
    "\x1b[31m\n",
]
READS = {
    "surface": ("{}", "out.h5"),
    "surface to": ("resnet.pt", "out.h5", "--to", "{}"),
    "surface along": ("resnet.pt", "out.h5", "--along", "{}"),
    "curvature": ("{}", "out.h5"),
    "sharpness": ("{}", "out.h5"),
    "basin": ("{}", "out.h5"),
    "critical": ("{}", "out.h5"),
    "critical snapshots": ("resnet.pt", "out.h5", "--snapshots", "{}"),
    "paths": ("{}", "out.h5"),
    "lesion": ("{}", "out.h5"),
    "redundancy": ("{}", "out.h5"),
    "reuse": ("{}", "out.h5"),
    "trajectory": ("{}", "out.h5", "--snapshots", "resnet.pt"),
    "trajectory snapshots": ("resnet.pt", "out.h5", "--snapshots", "{}"),
    "flow": ("out.h5", "--checkpoints", "{}"),
    "stream": ("out.h5", "--checkpoints", "{}"),
    "check": ("{}",),
    "check checkpoint": ("surface.h5", "--checkpoint", "{}"),
    "compare": ("{}",),
    "compare csv": ("surface.h5", "--csv", "{}"),
    "compare latex": ("surface.h5", "--latex", "{}"),
    "figure": ("out.png", "{}"),
    "figure out": ("{}", "surface.h5"),
    "convert": ("{}", "out.csv"),
    "convert out": ("surface.h5", "{}"),
    "convert checkpoint": ("resnet.pt", "out.h5", "--checkpoint", "{}"),
    "train data": ("out.pt", "--data", "{}"),
    "train out": ("{}", "--epochs", 0),
    "flow data": ("out.h5", "plain", "--data", "{}"),
    "trainings data": ("out.h5", "plain", "--data", "{}"),
    "surface out": ("resnet.pt", "{}", "--x", 1, -1, 3),
}


@pytest.mark.parametrize("asked", READS)
@pytest.mark.slow
def test_what_is_no_file_is_refused(folder, asked):
    for file in FILES:
        if (asked, file) in {("flow data", ""), ("check checkpoint", "text")}:  # as if not given; of another digest
            continue
        typed = [str(word).format(file) for word in READS[asked]]
        refused(asked.split()[0], *typed, folder=folder)


# What is a number or a word, but not one that can be meant.

NET = ("resnet.pt", "out.h5")
MEANT = """
surface  NET --x 1 -1 3
surface  NET --x 0 0 2
surface  NET --x 0 1 0
surface  NET --x 0 1 -1
surface  NET --x 0 1 1.5
surface  NET --x 0 1 inf
surface  NET --x -inf 1 3
surface  NET --x 0 inf 3
surface  NET --x 0 1
surface  NET --z 0 1 3
surface  NET --examples 0
surface  NET --examples -1
surface  NET --examples 10000000
surface  NET --batch-size 0
surface  NET --batch-size -1
surface  NET --seed -1
surface  NET --seed 4611686018427387905
surface  NET --tolerance 0
surface  NET --tolerance -0.1
surface  NET --tolerance 1
surface  NET --tolerance inf
surface  NET --adaptive 0
surface  NET --adaptive 2
surface  NET --adaptive --z 0 1 3 --y 0 1 3
surface  NET --weight-decay -1
surface  NET --repeats 0
surface  NET --repeats -1
surface  NET --repeats 1001
surface  NET --repeats 2 --to plain.pt
surface  NET --to plain.pt --along plain.pt
surface  NET --to plain.pt plain.pt plain.pt
surface  NET --auto-range -1 --examples 20
surface  NET --calibration 1 --batchnorm recalibrated --examples 20
surface  NET --calibration 10000000 --batchnorm recalibrated --examples 20
surface  NET --loss bogus
surface  NET --loss ""
surface  NET --loss os:nothing
surface  NET --loss os.path:
surface  NET --loss :system
surface  NET --loss mse mse
surface  NET --network os:system
surface  NET --network plain
surface  NET --network ""
surface  NET --argument depth
surface  NET --argument ""
surface  NET --argument depth=8
surface  NET --data nowhere
surface  NET --data os:nothing
surface  NET --data no_such_module:f
surface  NET --size 8
surface  NET --device cuda
lesion  NET --delete 0
lesion  NET --delete -1
lesion  NET --delete 4
lesion  NET --delete 10000000
lesion  NET --delete 2 1
lesion  NET --delete 1 2 3
lesion  NET --delete 1 --swap 1
lesion  NET --delete 1 --trials 0
lesion  NET --delete 1 --trials 10000000
lesion  NET --swap 1
lesion  NET --swap 0 --trials 1
lesion  NET --swap -1 --trials 1
lesion  NET --permute
lesion  NET --shapley 3
lesion  NET --shapley 10000000
lesion  NET --shapley 4 --precision 0
lesion  NET --repeat 0
lesion  NET --repeat 10000000
lesion  NET --reverse 1
lesion  NET --reverse 10000000
lesion  NET --gate nothing
lesion  NET --gate stages.0.0 stages.0.0
lesion  NET --gate stages.0.0 --alpha 1 0 3
lesion  NET --gate stages.0.0 --alpha 0 inf 3
lesion  NET --sets nowhere
lesion  NET --sets text
lesion  NET --sets folder.pt
lesion  NET --blocks nothing
lesion  NET --blocks os:nothing
lesion  NET --calibration 1 --batchnorm recalibrated
curvature  NET --top 0 --examples 20
curvature  NET --top -1 --examples 20
curvature  NET --top 10000000 --examples 20
curvature  NET --trace 0 --examples 20
curvature  NET --trace -1 --examples 20
curvature  NET --density 1 --examples 20
curvature  NET --density -1 --examples 20
curvature  NET --density 2 --top 1
curvature  NET --precision 0
curvature  NET --precision -1
curvature  NET --precision inf
curvature  NET --steps 0
curvature  NET --steps -1
curvature  NET --top 1 --x 0 1 2
curvature  NET --top 1 --directions nowhere/a.pt --examples 20
curvature  NET --batchnorm batch
curvature  NET --tolerance 0.1
sharpness  NET --rho 0
sharpness  NET --rho -1
sharpness  NET --rho inf
sharpness  NET --rho 0.2 0.1
sharpness  NET --trials 0
sharpness  NET --trials -1
sharpness  NET --steps 0
basin  NET --radius 1 0 5
basin  NET --radius 0 1 1
basin  NET --radius 0 inf 3
basin  NET --directions 0
basin  NET --directions 28
basin  NET --share 0
basin  NET --share 1
basin  NET --confidence 1
basin  NET --level x
basin  NET --level +2x
basin  NET --level inf
basin  NET --steps 0
basin  NET --ball weights --batchnorm batch
critical  NET --along update
critical  NET --precision 0
critical  NET --precision 1
critical  NET --learning-rate 0
critical  NET --learning-rate 1 2
critical  NET --tolerance 0.1
critical  NET --dtype bfloat16
critical  NET --snapshots plain.pt
paths  NET --draws 1
paths  NET --draws -1
paths  NET --examples 0
paths  NET --dtype bfloat16
redundancy  NET --blocks nothing
trajectory  NET --snapshots resnet.pt
trajectory  NET --snapshots resnet.pt plain.pt
trajectory  NET --snapshots plain.pt plain.pt
trajectory  NET --snapshots resnet.pt --along resnet.pt --filters-only
train  out.pt --epochs 0
train  out.pt --epochs -1
train  out.pt --depth 9
train  out.pt --depth 0
train  out.pt --depth -1
train  out.pt --width 0
train  out.pt --width -1
train  out.pt --batch-size 0
train  out.pt --micro-batch 0
train  out.pt --examples 0
train  out.pt --examples 10000000
train  out.pt --network bogus
train  out.pt --network os:nothing
train  out.pt --network os:getpid
train  out.pt --argument depth
train  out.pt --argument bogus=1
train  out.pt --argument order=bogus
train  out.pt --argument width=1e3
train  out.pt --argument depth=True
train  out.pt --argument survival=2
train  out.pt --argument keep=-1
train  out.pt --argument classes=1
train  out.pt --argument channels=9
train  out.pt --argument self=1
train  out.pt --data nowhere
train  out.pt --size 3
train  nowhere/out.pt
trainings  out.h5 bogus
trainings  out.h5 plain plain
trainings  out.h5 plain:bogus=1
trainings  out.h5 plain:depth
trainings  out.h5 plain: --depth 9
trainings  out.h5 plain --depth 8 8
trainings  out.h5 plain --seeds 0
trainings  out.h5 plain --epochs 0
trainings  out.h5 plain --batch-size 0
flow  out.h5
flow  out.h5 bogus
flow  out.h5 plain --batches 0
flow  out.h5 plain --batches 10000000
flow  out.h5 plain --batch-size 10000000
flow  out.h5 plain --batch-size 3
flow  out.h5 plain --seeds 0
flow  out.h5 plain --epochs -1
flow  out.h5 plain --depth 0
identity  out.h5 --depth 0
identity  out.h5 --depth -1
identity  out.h5 --seeds 0
identity  out.h5 --steps 0
identity  out.h5 --learning-rate 0
identity  out.h5 --learning-rate -1
identity  out.h5 --kinds plain plain
identity  out.h5 --depth 1 1
reuse  NET
compare  surface.h5 --loss-level inf
compare  surface.h5 --error-level 0
compare  surface.h5 --error-level 101
compare  surface.h5 --csv a.txt
compare  surface.h5 --latex a.csv
check
check  nowhere surface.h5
check  surface.h5 resnet.pt
check  surface.h5 --checkpoint
figure  out.bogus surface.h5
figure  out surface.h5
figure  out.png surface.h5 lesion.h5
figure  out.png surface.h5 --titles a b
figure  out.png surface.h5 --cmap bogus
figure  out.png surface.h5 --variable bogus
figure  out.png surface.h5 --by-depth
figure  out.png lesion.h5 --vmin 1
figure  out.html surface.h5 lesion.h5
convert  surface.h5 out.bogus
convert  surface.h5 out
convert  surface.h5 out.pt
convert  surface.h5 out.csv --linear
convert  surface.h5 out.vts --repeat 1
convert  lesion.h5 out.stl
convert  resnet.pt out.h5
convert  surface.h5 out.csv --layout 2018
"""


@pytest.mark.parametrize("typed", [line for line in MEANT.splitlines() if line])
@pytest.mark.slow
def test_what_cannot_be_meant_is_refused(folder, typed):
    name, *words = shlex.split(typed.replace("NET", shlex.join(NET)))
    refused(name, *words, folder=folder)


# A network's arguments

LITERALS = [
    "{[]: 1}",
    "-" * 10_000 + "1",
    "(" * 10_000,
    "[" * 300 + "]" * 300,
    HUGE,
    "1e999",
    "__import__('os')",
    "\x00",
    "'",
]


@pytest.mark.parametrize("value", LITERALS)
def test_what_is_no_literal_is_a_word(value):
    parsed = parse_arguments([f"a={value}"])["a"]
    assert parsed == value or parsed == float("inf")


# What a machine refuses is no bug.


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError("Unable to allocate 7.45 GiB"), "not enough memory (Unable"),
        (RuntimeError("[enforce fail] can't allocate memory: you tried\nframe #1: python"), "not enough memory"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), "not enough memory"),
        (PermissionError(13, "Permission denied", "/a\n\x1b[31mb"), "cannot use /a\\n\\x1b[31mb: Permission denied"),
        (OSError(28, "No space left on device", "a.h5"), "cannot use a.h5: No space left on device"),
        (BadInput("a\nb\x1b[31m\udcff\u202e"), "a\\nb\\x1b[31m\\udcff\\u202e"),
        (BadInput("a" * 10**6 + "; do this"), "; do this"),
    ],
)
def test_what_the_machine_refuses_is_one_line(tmp_path, error, words):
    def main(arguments, comm):
        raise error

    SCRIPTS["failing"] = {"main": main, "parser": lambda: cli.Parser(prog="failing.py")}
    assert words in refused("failing", folder=tmp_path)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError("a bug"), KeyError("a"), ZeroDivisionError()])
def test_a_bug_keeps_its_traceback(tmp_path, error):
    def main(arguments, comm):
        raise error

    SCRIPTS["failing"] = {"main": main, "parser": lambda: cli.Parser(prog="failing.py")}
    status, said = ran("failing", folder=tmp_path)
    assert status == 1 and "Traceback" in said and type(error).__name__ in said


def test_what_is_said_keeps_its_lines_and_no_control_characters(capsys):
    with cli._printing(logging.INFO):
        log.say(SerialComm(), "a\nb", "c\x1b[31m\r", "λ = 1 · 10⁷")
        log.note("d\x1b[31m\ne")
    assert capsys.readouterr() == ("a\nb\nc\\x1b[31m\\r\nλ = 1 · 10⁷\n", "d\\x1b[31m\\ne\n")


def test_numbers_that_can_be_meant_are_taken():
    parser = script("surface")["parser"]()
    typed = [
        "a",
        "b",
        "--seed",
        str(2**62),
        "--x",
        "-1e-30",
        "1e30",
        "3",
        "--weight-decay",
        "0",
        "--examples",
        "10000000",
    ]
    parsed = cli._parsed(parser, typed)
    assert (parsed.seed, parsed.x, parsed.weight_decay) == (2**62, [-1e-30, 1e30, 3.0], 0)


# Anything at all

WILD = [
    "",
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "1",
    "3",
    "1e308",
    "1e-320",
    HUGE,
    "99999999999999999999",
    "-",
    "--",
    "é☃",
    "\x00",
]
WILD += [
    "\x1b[31m\n",
    "\udcff",
    "x" * 300,
    ".",
    "pipe",
    "folder.pt",
    "/dev/zero",
    "resnet.pt",
    "surface.h5",
    "os:system",
    "a=1",
]


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
@pytest.mark.slow
def test_any_words_are_a_command_line_or_refused(name, data):
    parser = script(name)["parser"]()
    names = [word for action in parser._actions for word in action.option_strings if "-h" not in word]
    words = data.draw(st.lists(st.sampled_from(names + WILD) | st.text(max_size=8), max_size=8))
    try:
        cli._parsed(parser, words)
    except (BadInput, OSError) as error:
        assert cli.printable(cli._complaint(error)).isprintable()
    except SystemExit:  # --help, abbreviated by nothing
        assert "-h" in words or "--help" in words


# Whole commands, which do what can be meant and refuse the rest

FEW = ("--examples", "20", "--quiet")
SOUND = {
    "surface": (*NET, "--x", "-1", "1", "2", *FEW),
    "lesion": (*NET, *FEW),
    "train": ("out.pt", "--depth", "8", "--width", "2", "--epochs", "1", *FEW),
    "figure": ("out.png", "surface.h5"),
}
LONG = {"-h", "--help", "--compile", "--download"}  # not of interest, or for minutes, or for a network
VALUES = [*WILD, "2", "0.5", "-0.5", "-1e-3", "plain.pt", "out.h5", "digits", "mse", "test", "stages.0.0"]


@pytest.mark.parametrize("name", SOUND)
@given(data=st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
@pytest.mark.slow
def test_a_command_of_any_words_ends_well(folder, name, data):
    actions = [a for a in script(name)["parser"]()._actions if a.option_strings and not LONG & {*a.option_strings}]
    typed = list(SOUND[name])
    for _ in range(data.draw(st.integers(1, 3), "options")):
        action = data.draw(st.sampled_from(actions), "option")
        choices = VALUES + [str(choice) for choice in action.choices or ()] * 3
        number = {None: 1, "+": 2, "*": 2, "?": 1}.get(action.nargs, action.nargs)
        number = max(0, number + data.draw(st.sampled_from([0, 0, 0, 0, -1, 1]), "more"))
        values = data.draw(st.lists(st.sampled_from(choices) | st.text(max_size=4), min_size=number, max_size=number))
        typed += [action.option_strings[-1], *values]
    before = listed(folder)
    status, said = ran(name, *typed, folder=folder)
    assert status in (0, 2), said
    if status == 2:
        assert said.startswith(f"{name}.py: error: ") and said.endswith("\n") and said[:-1].isprintable(), said
        assert listed(folder) == before
    for path in {line[0] for line in listed(folder)} - {line[0] for line in before}:
        shutil.rmtree(path) if os.path.isdir(path) else Path(path).unlink(missing_ok=True)
