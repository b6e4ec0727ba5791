"""The names of the library and where each lives; skipscape imports one when it is first asked for."""

from ensemble.gradient_flow import gradient_flow as gradient_flow
from ensemble.identity import identity as identity
from ensemble.path_spectrum import path_spectrum as path_spectrum
from ensemble.reuse import reuse as reuse
from landscape import __version__ as __version__
from landscape.build import plane_along as plane_along
from landscape.build import plane_to as plane_to
from landscape.build import random_plane as random_plane
from landscape.checkpoint import Checkpoint as Checkpoint
from landscape.checkpoint import load as load
from landscape.comparison import compare as compare
from landscape.errors import BadInput as BadInput
from landscape.evaluator import Evaluator as Evaluator
from landscape.plane import Plane as Plane
from landscape.ranks import Alone as Alone
from landscape.results import Results as Results
from landscape.run import run as run
from landscape.surface import surface as surface
from landscape.table import read as read
from landscape.train import train as train
from landscape.trainings import trainings as trainings
