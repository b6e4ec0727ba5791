"""Figures of loss surfaces and of trainings, for papers.

Functions draw onto the axes that they are given and return them; `planes`, `profiles`, `topology`, `curvature`,
`sharpnesses`, `trainings` and `trajectories` compose whole figures of them, and `draw` finds which of these it takes;
`film` is one of paths that grow. Only a script saves one. Losses are in the unit of their file; colours and heights of
all the networks in a figure stand on one scale, a matplotlib norm.
"""

from landscape.drawing.animation import FILMS, Film, check_film, save_film
from landscape.drawing.curvature import curvature
from landscape.drawing.drawings import DRAWINGS, ONTO, draw
from landscape.drawing.film import film
from landscape.drawing.lines import curves, profiles
from landscape.drawing.page import PARTS, contour, planes
from landscape.drawing.scale import common_norm, extension, label_of, levels_of
from landscape.drawing.several import repeats, spaces
from landscape.drawing.sharpness import sharpnesses
from landscape.drawing.spectrum import densities, eigenvalues
from landscape.drawing.style import COLORS, STYLE, SUFFIXES, check_output, save
from landscape.drawing.surface import contours, profile, relief
from landscape.drawing.topology import topology
from landscape.drawing.trainings import trainings
from landscape.drawing.trajectory import trajectories

__all__ = [
    "COLORS",
    "DRAWINGS",
    "FILMS",
    "ONTO",
    "PARTS",
    "STYLE",
    "SUFFIXES",
    "Film",
    "check_film",
    "check_output",
    "common_norm",
    "contour",
    "contours",
    "curvature",
    "curves",
    "densities",
    "draw",
    "eigenvalues",
    "extension",
    "film",
    "label_of",
    "levels_of",
    "planes",
    "profile",
    "profiles",
    "relief",
    "repeats",
    "save",
    "save_film",
    "sharpnesses",
    "spaces",
    "topology",
    "trainings",
    "trajectories",
]
