#!/usr/bin/env python3
"""Take pictures of pages to explore, as an installed Chromium shows them: PAGE.png beside each PAGE.html.

    python scripts/development/photograph.py surfaces.html lesions.html

Needs playwright (pip install 'skipscape[browser]') and Chromium (apt install chromium), no screen and no network.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

from landscape.commands.cli import Parser, run
from landscape.engine.ranks import Communicator, collective_errors
from landscape.errors import BadInput
from landscape.log import say

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# WebGL without a GPU; no sandbox, since root has none.
SOFTWARE = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-watchdog"]


def parser() -> Parser:
    p = Parser(prog="photograph.py", description=__doc__)
    p.add_argument("pages", metavar="PAGE.html", nargs="+", type=Path, help="of figure.py")
    size: dict[str, Any] = {"nargs": 2, "type": int, "default": [1200, 800], "metavar": ("WIDTH", "HEIGHT")}
    p.add_argument("--size", **size, help="of the window, in pixels; a longer page is taken whole")
    p.add_argument("--wait", type=float, default=10.0, metavar="SECONDS", help="for a page to be drawn")
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    with collective_errors(comm):
        try:
            from playwright.sync_api import sync_playwright
        except ImportError as error:
            raise BadInput("playwright is not installed: pip install 'skipscape[browser]'") from error
        browser = next(filter(None, map(shutil.which, BROWSERS)), None)
        if browser is None:
            raise BadInput("no Chromium is installed: apt install chromium, or take the picture in your browser")
        for page in arguments.pages:
            if not page.is_file() or page.suffix != ".html":
                raise BadInput(f"{page} is not a page; give files that end in .html")
    width, height = arguments.size
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=SOFTWARE)
        for page in arguments.pages:
            tab = opened.new_page(viewport={"width": width, "height": height})
            tab.set_default_timeout(120_000)  # reliefs without a GPU, on a busy machine
            tab.goto(page.resolve().as_uri())
            tab.wait_for_timeout(1000 * arguments.wait)
            tab.screenshot(path=page.with_suffix(".png"), full_page=True)
            tall = tab.evaluate("document.documentElement.scrollHeight")
            tab.close()
            say(comm, f"{page.with_suffix('.png')}: {width} × {tall} pixels")
        opened.close()


if __name__ == "__main__":
    run(main, parser())
