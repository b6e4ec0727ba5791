"""Progress with time left: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys

from tqdm import tqdm

__all__ = ["bar"]


def bar(total: int, label: str, *, begun: int = 0, quiet: bool = False, note: str = "") -> tqdm:
    """A progress bar on standard error.

    Parameters
    ----------
    total, begun : steps in all, and those done before now (they do not count for the speed)
    label : what a step is called, in the plural
    quiet : show nothing
    note : shown at the end
    """
    terminal = sys.stderr.isatty()
    layout = "{n_fmt}/{total_fmt} {unit}, {speed}, {elapsed} gone, {remaining} left{postfix}"
    progress = _Bar(
        total=total,
        initial=begun,
        unit=label,
        disable=quiet,
        dynamic_ncols=terminal,
        mininterval=0.2 if terminal else 20,
        maxinterval=10 if terminal else 20,
        bar_format="{l_bar}{bar}| " + layout if terminal else layout + "\n",
        file=sys.stderr if terminal else _Lines(),
    )
    if note:
        progress.set_postfix_str(note, refresh=False)
    return progress


class _Bar(tqdm):
    @property
    def format_dict(self) -> dict:
        told = super().format_dict
        rate = told["rate"] or (told["n"] - told["initial"]) / (told["elapsed"] or 1)
        speed = f"{rate:.3g} {told['unit']} a second" if rate >= 1 else f"{1 / rate:.3g} s each" if rate else "? s each"
        return told | {"speed": speed}


class _Lines:
    """Standard error for a log file: what tqdm would overwrite becomes lines."""

    def write(self, text: str) -> None:
        if text := text.strip("\r\n "):
            sys.stderr.write(text + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
