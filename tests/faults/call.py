"""A surface by a library call in a script of one's own, with no command around it: call.py NET.pt OUT.h5."""

import sys

from landscape.evaluation.evaluator import Evaluator
from landscape.planes.surface import surface

surface(Evaluator.from_checkpoint(sys.argv[1], examples=200), x=(-1, 1, 15), y=(-1, 1, 11), out=sys.argv[2], quiet=True)
