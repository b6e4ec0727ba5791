#!/usr/bin/env python3
"""Check what linters do not know: floors, words, who may parse a command line, and who may print.

    python scripts/development/rules.py

Part of make lint. Says what is wrong, a line each, with status 1.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
WINGS = ("landscape", "ensemble")

# A room imports from those before it alone. Modules beside the rooms are on the ground floor, in their own order.
FLOORS = """
errors log import_path validate weights lazy_weights memory nested
linalg engine networks
data analysis
checkpoints drawing
evaluation formats
alignment
planes training
curvature commands
"""
NO_TORCH = ("engine", "linalg", "analysis", "drawing")

# What names were once, and are no more, in tests neither.
OLD = {
    "told": "what is told: metadata, lines, a label",
    "found": "the thing itself",
    "further": "extra",
    "agreed": "collective_errors",
    "alike": "require_same, or what is the same",
    "Alone": "SerialComm",
    "Patience": "Watchdog",
    "Subject": "Evaluator",
    "Odd": "UnexpectedContent",
}


def modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    """Every module in these folders, parsed."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import that runs; of ``from a import b``, a.b where `a` is a package alone."""
    typing = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if "." in node.module else [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((node.lineno, name) for name in names)


def bound(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a module gives a name to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def complaints() -> Iterator[str]:
    """What is wrong, a line each."""
    floor = {room: number for number, rooms in enumerate(FLOORS.strip().split("\n")) for room in rooms.split()}
    for path, tree in modules(*WINGS):
        wing, room = path.parts[0], path.with_suffix("").parts[1]
        if wing == "landscape" and room not in floor and room != "__init__":
            yield f"{path}: {room} has no floor; give it one in {Path(__file__).name}"
        for line, name in imports(tree):
            package, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if package == "argparse" and room != "commands":
                yield f"{path}:{line}: imports argparse, which is for landscape/commands and scripts"
            if wing == "landscape" and package == "ensemble":
                yield f"{path}:{line}: landscape imports ensemble; only the reverse is allowed"
            if package in WINGS and "skipscape" in name:
                yield f"{path}:{line}: the library imports its face"
            if package == "torch" and wing == "landscape" and room in NO_TORCH and _at_once(tree, line):
                yield f"{path}:{line}: {room} knows no torch"
            if wing == package == "landscape" and room != other and floor.get(other, 0) >= max(1, floor.get(room, 0)):
                yield f"{path}:{line}: {room} imports {other}, which is not on a floor below"
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print" and room != "commands":
                yield f"{path}:{node.lineno}: prints; libraries log, see landscape/log.py"
    for path, tree in modules(*WINGS, "tests"):
        for line, name in bound(tree):
            if name in OLD:
                yield f"{path}:{line}: {name} is an old word; say {OLD[name]}"


def _at_once(tree: ast.Module, line: int) -> bool:
    """Whether an import runs when its module is imported, and not within a function."""
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return not any(function.lineno <= line <= (function.end_lineno or 0) for function in functions)


if __name__ == "__main__":
    wrong = [*complaints()]
    print(*wrong, sep="\n", end="\n" * bool(wrong))
    sys.exit(bool(wrong))
