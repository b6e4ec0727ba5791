"""The installed command: ``skipscape surface …``, or ``python -m skipscape surface …``.

Each command is a file beside this one, whose name is its own; it is run as if it had been started itself.
"""

from __future__ import annotations

import ast
import contextlib
import runpy
import sys
from pathlib import Path

from landscape import __version__
from landscape.errors import BadInput, did_you_mean

HERE = Path(__file__).parent
# Those that take --ranks, which is to be known before torch is imported.
MEASURING = (
    *(
        "basin",
        "claim",
        "critical",
        "curvature",
        "flow",
        "identity",
        "lesion",
        "paths",
        "redundancy",
        "reuse",
        "sharpness",
    ),
    *("stream", "surface", "trainings", "trajectory"),
)


def commands() -> dict[str, Path]:
    """All commands by name."""
    return {path.stem: path for path in sorted(HERE.glob("*.py")) if not path.stem.startswith("_")}


def help() -> str:
    """What there is, a line each."""
    lines = ["usage: skipscape COMMAND [options]", "", "Loss surfaces and path lesions of residual networks.", ""]
    for name, path in commands().items():
        first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        lines.append(f"  {name:<12} {first}")
    lines += ["", "skipscape COMMAND --help tells the options of one. On all GPUs or cores of this machine:"]
    lines += ["  skipscape surface … --ranks all"]
    return "\n".join(lines)


def main() -> None:
    """Run the command that is named first."""
    name, words = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if name in ("-h", "--help"):
        print(help())
    elif name == "--version":
        print(f"skipscape {__version__}")
    elif name in commands():
        sys.argv = ["skipscape", name, *words]
        from landscape.commands.cli import RanksAlone, run
        from landscape.commands.launch import started_by, typed_ranks
        from landscape.engine.ranks import world

        if name in MEASURING and typed_ranks(words):
            run(print, RanksAlone(prog=f"skipscape {name}"), words)
        if name in MEASURING and started_by() is not None:
            with contextlib.suppress(BadInput):  # it is told below
                world()  # before torch is imported, which may take minutes: ranks that do not come are named
        module = runpy.run_path(str(commands()[name]))
        parser = module["parser"]()
        parser.prog = f"skipscape {name}"
        run(module["main"], parser, words)
    else:
        print(
            f"skipscape: error: there is no command {name}{did_you_mean(name, commands())} (see --help)",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
