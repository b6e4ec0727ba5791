"""What a command does is what the call does: every option is a keyword, with the same default."""

import inspect
import runpy

import pytest
from files import ROOT

from ensemble.claims.trial import claim
from ensemble.flow.gradient_flow import gradient_flow
from ensemble.flow.redundancy import redundancy
from ensemble.flow.reuse import reuse
from ensemble.flow.stream import stream
from ensemble.identity import identity
from ensemble.lesions.kinds import KINDS
from ensemble.lesions.trials import lesions
from ensemble.paths.path_spectrum import path_spectrum
from landscape.analysis.comparison import compare
from landscape.curvature.basin import basin_radius
from landscape.curvature.critical import critical_sharpness
from landscape.curvature.maps import curvature
from landscape.curvature.sharpness import sharpness
from landscape.evaluation.evaluator import Evaluator
from landscape.planes.surface import surface
from landscape.planes.trajectory import trajectory
from landscape.training.train import train
from landscape.training.trainings import trainings

# Script: the functions that it calls, the measurement first.
CALLED = {
    "basin": (basin_radius, Evaluator.from_checkpoint),
    "claim": (claim,),
    "compare": (compare,),
    "critical": (critical_sharpness, Evaluator.from_checkpoint),
    "curvature": (curvature, Evaluator.from_checkpoint),
    "flow": (gradient_flow,),
    "identity": (identity,),
    "lesion": (lesions, Evaluator.from_checkpoint),
    "paths": (path_spectrum, Evaluator.from_checkpoint),
    "redundancy": (redundancy, Evaluator.from_checkpoint),
    "reuse": (reuse,),
    "sharpness": (sharpness, Evaluator.from_checkpoint),
    "stream": (stream,),
    "surface": (surface, Evaluator.from_checkpoint),
    "train": (train,),
    "trainings": (trainings,),
    "trajectory": (trajectory, Evaluator.from_checkpoint),
}
# What is said and written besides; and --ranks, which starts processes: a call takes part in those that there are.
OF_COMMANDS = {"help", "verbose", "csv", "latex", "markdown", "mpi_ranks"}
OF_CALLS = {"comm", "evaluate", "plane"}  # objects
# Of the evaluator: networks are trained on the other split.
OTHERWISE = {(name, "split") for name in ("lesion", "paths", "redundancy")}
# Without them claims are listed, and told.
OTHERWISE |= {("claim", "name"), ("claim", "out")}


def options(name):
    """Each option of a command, or argument, by the name of its keyword."""
    parser = runpy.run_path(str(ROOT / "scripts" / f"{name}.py"))["parser"]()
    return {action.dest: action for action in parser._actions}


def plain(value):
    return tuple(value) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("name", CALLED)
def test_options_are_keywords(name):
    keywords = {keyword for function in CALLED[name] for keyword in inspect.signature(function).parameters}
    if name == "lesion":  # a kind that is entered in the table needs no keyword of its own
        keywords = keywords - {"kinds"} | {*KINDS}
    assert {*options(name)} - OF_COMMANDS == keywords - OF_CALLS


@pytest.mark.parametrize("name", CALLED)
def test_options_have_the_defaults_of_keywords(name):
    defaults = {}
    for function in CALLED[name]:
        for keyword, parameter in inspect.signature(function).parameters.items():
            if defaults.get(keyword) is None:  # a measurement may leave the choice to its evaluator
                defaults[keyword] = parameter.default
    for keyword, action in options(name).items():
        if keyword in defaults and not action.required and (name, keyword) not in OTHERWISE:
            assert plain(action.default) == plain(defaults[keyword]), keyword


def test_the_commands_that_take_ranks_are_known_without_their_options():
    measuring = runpy.run_path(str(ROOT / "scripts" / "__main__.py"))["MEASURING"]
    assert {*measuring} == {name for name in CALLED if "mpi_ranks" in options(name)}
