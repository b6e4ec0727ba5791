"""Skipscape: loss surfaces and path lesions of residual networks, from Python or from the command line.

    import skipscape as ss

    evaluate = ss.Evaluator(network, loader)
    surface = ss.surface(evaluate, x=(-1, 1, 51), y=(-1, 1, 51))
    ss.draw(surface)

Everything that is measured starts from an `Evaluator`, and is given back as `Results`. What a command can do, the call
of that name can do, with the same options and the same numbers.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

# Where each name lives, as type checkers read it too. It is imported when it is first asked for: torch takes seconds.
HOMES = {
    alias.name: statement.module
    for statement in ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body
    if isinstance(statement, ast.ImportFrom)
    for alias in statement.names
}

__all__ = sorted(HOMES)


def __getattr__(name: str):
    if name not in HOMES:
        raise AttributeError(f"skipscape has no {name}; it has {', '.join(sorted(HOMES))}")
    return getattr(importlib.import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
