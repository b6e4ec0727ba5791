"""The names of the library and where each lives; skipscape imports one when it is first asked for."""

from landscape import __version__ as __version__
from landscape.build import plane_along as plane_along
from landscape.build import plane_to as plane_to
from landscape.build import random_plane as random_plane
from landscape.checkpoint import load as load
from landscape.curvature_maps import curvature as curvature
from landscape.errors import BadInput as BadInput
from landscape.evaluator import Evaluator as Evaluator
from landscape.plane import Plane as Plane
from landscape.ranks import Alone as Alone
from landscape.results import Results as Results
from landscape.run import run as run
from landscape.sharpness import sharpness as sharpness
from landscape.spectra import eigenpairs as eigenpairs
from landscape.spectra import hessian as hessian
from landscape.spectra import trace as trace
from landscape.surface import surface as surface
from landscape.table import read as read
from landscape.trajectory import around as around
from landscape.trajectory import principal_directions as principal_directions
from landscape.trajectory import trajectory as trajectory
