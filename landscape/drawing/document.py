"""Pages to explore: one HTML file with everything in it, which opens from a disk, without a network.

Names and titles in a results file may be a stranger's. As text of the page they are escaped, as data they cannot
end their script, and the page's policy runs the scripts written here and no others, and loads nothing.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import numpy as np

from landscape.analysis.labels import network_label
from landscape.engine.atomic import write_atomically
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["FONT", "check_page", "document", "packed", "plain", "plotly", "provenance", "save_page"]

FONT = {"family": "system-ui, sans-serif", "size": 13, "color": "#222"}
SHOWN = {  # attributes that a page tells, where a file has them
    "network": "{}",
    "data": "data {}",
    "split": "{} split",
    "checkpoint": "checkpoint {:.12}",
    "directions": "directions {}",
    "command": "{}",
}


def plotly():
    """The package of that name; `BadInput` if it is not installed."""
    try:
        import plotly.graph_objects
        import plotly.offline
    except ImportError as error:
        raise BadInput(
            "a page is made with plotly, which is not installed here: pip install 'skipscape[html]'"
        ) from error
    return plotly


def check_page(path: str | os.PathLike) -> Path:
    """The path, if a page can be saved there; `BadInput` if not."""
    path = Path(path)
    if not path.parent.is_dir():
        raise BadInput(f"output folder {path.parent} does not exist; create it: mkdir -p {path.parent}")
    plotly()  # rather now than after the work
    return path


def save_page(text: str, path: str | os.PathLike) -> None:
    """Save a page, whole or not at all."""
    with write_atomically(check_page(path)) as draft:
        draft.write_bytes(text.encode(errors="replace"))


def document(title: str, body: str, data: dict, script: str) -> str:
    """A page as text; the same page is the same text.

    Parameters
    ----------
    title : plain text
    body : HTML, in which everything that comes from a file is escaped
    data : what the script reads as ``page``; arrays as `packed`, figures as `plain`
    script : JavaScript, run when plotly and the functions of ``document.js`` are there
    """
    here = resources(__package__)
    scripts = [plotly().offline.get_plotlyjs(), (here / "document.js").read_text("utf-8"), script]
    runs = " ".join(f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in scripts)
    policy = f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {runs}"
    encoded = json.dumps(data, allow_nan=False).replace("<", r"\u003c")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{(here / 'document.css').read_text('utf-8')}</style>",
            "</head>",
            "<body>",
            f"<h1>{escape(title)}</h1>",
            "<noscript><p>This page needs JavaScript, which is switched off.</p></noscript>",
            body,
            f'<script type="application/json" id="page">{encoded}</script>',
            *(f"<script>{text}</script>" for text in scripts),
            "</body>",
            "</html>",
            "",
        ]
    )


def plain(figure: Any) -> dict:
    """A plotly figure as JSON has it, its arrays as base64 of their bytes."""
    return json.loads(figure.to_json(engine="json"))


def packed(array: np.ndarray) -> dict:
    """An array as base64 of its bytes, in the form that plotly has; the script's ``unpacked`` reads it.

    Nothing is rounded; integers take as few bytes as they need.
    """
    array = np.asarray(array)
    if array.dtype.kind in "iu" and array.size:
        array = array.astype(np.promote_types(np.min_scalar_type(array.min()), np.min_scalar_type(array.max())))
    array = array.astype(np.uint8) if array.dtype == bool else array
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return {"dtype": array.dtype.str[1:], "bdata": b64encode(little.tobytes()).decode()}


def provenance(files: Sequence[Results]) -> str:
    """Where the numbers of a page come from, as HTML: a paragraph for each file."""
    lines = []
    for file in files:
        about = file.attributes | {"network": network_label(file.network)}
        parts = [how.format(str(about[name])) for name, how in SHOWN.items() if name in about]
        source = file.path.name if file.path else file.source
        lines.append(f'<p class="provenance">{escape(source)}: {escape(" · ".join(parts))}</p>')
    return "\n".join(lines)
