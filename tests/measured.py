"""A network put on data and measured in one call, for tests that look at one number of many networks."""

import inspect

from landscape.evaluation.evaluator import Evaluator
from landscape.planes import surface as surfaces


def surface(network, batches, out=None, **options):
    return _measured(surfaces.surface, network, batches, out, options)


def lesions(network, batches, out=None, **options):
    from ensemble.lesions import trials

    return _measured(trials.lesions, network, batches, out, options)


def _measured(measure, network, batches, out, options):
    names = inspect.signature(Evaluator).parameters
    evaluate = Evaluator(network, batches, **{n: v for n, v in options.items() if n in names})
    return measure(evaluate, out=out, **{n: v for n, v in options.items() if n not in names})
