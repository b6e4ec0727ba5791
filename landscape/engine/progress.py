"""Progress with time left: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from tqdm import tqdm

__all__ = ["Progress", "bar"]


class Progress:
    """One bar over a run whose rounds each decide on the next, so that nobody knows before how many steps there are.

    Parameters
    ----------
    label, quiet : see `bar`
    """

    def __init__(self, label: str, quiet: bool = False):
        self._label, self._quiet = label, quiet
        self._bar: _Bar | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def begin(self, begun: int, missing: int, most: int, note: str = "") -> None:
        """A round of `missing` steps; `begun` are done, of all runs and rounds, and there may be `most` in all."""
        if self._bar is None:
            how: dict[str, Any] = {"begun": begun, "most": most, "quiet": self._quiet, "note": note}
            self._bar = bar(begun + missing, self._label, **how)
        else:
            self._bar.round += 1
            self._bar.total = begun + missing

    def update(self, steps: int) -> None:
        if self._bar is not None:
            self._bar.update(steps)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def bar(total: int, label: str, *, begun: int = 0, quiet: bool = False, note: str = "", most: int = 0) -> tqdm:
    """A progress bar on standard error.

    Parameters
    ----------
    total, begun : steps in all, and those done before now (they do not count for the speed)
    label : what a step is called, in the plural
    quiet : show nothing
    note : shown at the end
    most : steps that there may be where `total` is those of the first round; as long as it is less, the round is told
        and no time left, which nobody knows
    """
    kind: Any = _Bar
    if quiet or not _in_a_notebook():
        terminal = sys.stderr.isatty()
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where there are no widgets, it says so and serves all the same
            from tqdm.auto import tqdm as widget

        terminal, kind = True, type("_Widget", (_Bar, widget), {})
    progress = kind(
        terminal,
        most,
        total=total,
        initial=begun,
        unit=label,
        disable=quiet,
        dynamic_ncols=terminal and kind is _Bar,
        mininterval=0.2 if terminal else 20,
        maxinterval=10 if terminal else 20,
        file=sys.stderr if terminal else _Lines(),  # of no meaning to a widget
    )
    if note:
        progress.set_postfix_str(note, refresh=False)
    return progress


class _Bar(tqdm):
    """What a bar says, whatever draws it."""

    def __init__(self, terminal: bool, most: int, **how: Any) -> None:
        self._terminal, self._most, self.round = terminal, most, 1
        super().__init__(**how)

    @property
    def format_dict(self) -> dict:
        values = super().format_dict
        rate = values["rate"] or (values["n"] - values["initial"]) / (values["elapsed"] or 1)
        speed = (
            f"{rate:.3g} {values['unit']} a second" if rate >= 1 else f"{1 / rate:.3g} s each" if rate else "? s each"
        )
        if self.total < self._most:
            before, known, left = f"round {self.round}: ", f" of at most {self._most:,}", ""
        else:
            before, known, left = "{l_bar}{bar}| " if self._terminal else "", "", ", {remaining} left"
        steps = "{n_fmt}/{total_fmt} {unit}" + known
        layout = f"{before}{steps}, {{speed}}, {{elapsed}} gone{left}{{postfix}}" + ("" if self._terminal else "\n")
        return values | {"speed": speed, "bar_format": layout}


def _in_a_notebook() -> bool:
    """Whether a kernel runs this, whose standard error is no terminal but somebody's screen."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


class _Lines:
    """Standard error for a log file: what tqdm would overwrite becomes lines."""

    def write(self, text: str) -> None:
        if text := text.strip("\r\n "):
            sys.stderr.write(text + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
