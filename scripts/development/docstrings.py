#!/usr/bin/env python3
"""Check the docstrings of what the reference shows: all that ``import skipscape`` has, and what docs/api.md adds.

    python scripts/development/docstrings.py

Part of make lint. They are read by the parser that renders them, griffe, without importing anything. Says what is
missing, a line each, with status 1.
"""

from __future__ import annotations

import ast
import logging
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parents[2]
UNTYPED = re.compile(r"^(\w+(?:, \w+)+)\n +\S", re.MULTILINE)  # several names of arguments, and what they mean below


def homes(root: Path = ROOT) -> dict[str, str]:
    """Where each name of the face lives: its dotted path by the name, as scripts/__init__.pyi has them."""
    stub = ast.parse((root / "scripts" / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.name: f"{statement.module}.{alias.name}"
        for statement in stub.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
        if not alias.name.startswith("_")
    }


def complaints(root: Path = ROOT) -> Iterator[str]:
    """What is missing, a line each."""
    logging.getLogger("griffe").setLevel(logging.CRITICAL)  # what griffe would say is said below, in our words
    face = homes(root)
    shown = re.findall(r"^::: (\S+)$", (root / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    yield from (f"docs/api.md: skipscape.{name} is missing" for name in face if f"skipscape.{name}" not in shown)
    packages = {
        wing: griffe.load(wing, search_paths=[root], try_relative_path=False) for wing in ("landscape", "ensemble")
    }
    for path in shown:
        package, _, rest = path.partition(".")
        named = package == "skipscape"
        if named and rest not in face:
            yield f"docs/api.md: skipscape has no {rest}"
            continue
        package, _, rest = (face[rest] if named else path).partition(".")
        thing = packages[package][rest]
        yield from of_object(thing.final_target if thing.is_alias else thing, example=named)


def of_object(thing: Any, *, example: bool = False) -> Iterator[str]:
    """What the docstring of a function lacks, or those of a class or module and its public members."""
    where = f"{thing.relative_filepath}:{thing.lineno}: {thing.name}" if thing.lineno else thing.path
    if thing.docstring is None:
        yield f"{where} has no docstring"
        return
    sections = {section.kind.value: section.value for section in thing.docstring.parse("numpy", warnings=False)}
    if example and "examples" not in sections:
        yield f"{where} has no Examples"
    if thing.is_function or thing.is_class:
        has = [parameter.name for parameter in thing.parameters if parameter.name not in ("self", "cls")]
        said = [item.name.lstrip("*") for item in sections.get("parameters", [])]
        if thing.is_class:  # of whose arguments those that it keeps may stand among its attributes
            said += [item.name for item in sections.get("attributes", []) if item.name in has]
        yield from (f"{where} does not document its parameter {name}" for name in has if name not in said)
        yield from (f"{where} documents {name}, which it does not take" for name in said if name not in has)
        for group in UNTYPED.findall(thing.docstring.value):  # which griffe gives the type of the first
            yield f"{where} names {group} at once, without a type"
    if thing.is_function:
        if str(thing.returns) != "None" and not {"returns", "yields"} & sections.keys():
            yield f"{where} has no Returns, and gives {thing.returns}"
        if _refuses(thing) and "raises" not in sections:
            yield f"{where} has no Raises, and raises BadInput"
    else:
        for name, member in thing.members.items():
            if not name.startswith("_") and not member.is_alias and (member.is_function or member.is_class):
                yield from of_object(member)


def _refuses(function: Any) -> bool:
    """Whether it raises BadInput in its own body."""
    return any(
        isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and ast.unparse(node.exc.func).endswith("BadInput")
        for node in ast.walk(ast.parse(textwrap.dedent(function.source)))
    )


if __name__ == "__main__":
    missing = [*complaints()]
    print(*missing, sep="\n", end="\n" * bool(missing))
    sys.exit(bool(missing))
