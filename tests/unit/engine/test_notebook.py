"""Results as a notebook shows them."""

import dataclasses
from html.parser import HTMLParser

import numpy as np

from landscape.engine.notebook import as_html
from landscape.engine.table import MEASURED, prepare, results_of


class Cells(HTMLParser):
    """The texts of a page's cells, row by row."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        self.text = ""

    def handle_data(self, data):
        self.text += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append(self.text)


def line(network="resnet-8"):
    measured = {"loss": MEASURED["loss"], "each": ("f8", 0.0, {"units": "1"}, ("block",))}
    table, _ = prepare(
        None,
        np.zeros((4, 1)),
        kind="surface",
        dims=("x",),
        coordinates={"x": np.linspace(-1, 1, 4), "block": np.array(["first", "last"])},
        measured=measured,
        attributes={"network": network, "data": "digits", "split": "test"},
    )
    for row, loss in enumerate([2.0, np.inf, 0.5]):
        table.record(row, {"loss": loss, "each": [7, 7]})
    return results_of(table)


def test_axes_and_variables_have_a_row_with_what_is_known_of_them():
    page = line()._repr_html_()
    assert "surface: resnet-8, digits, test split" in page and "3 of 4 rows measured" in page
    assert Cells(page).rows == [
        ["", "over", "unit", "range"],
        ["block", "2 points", "", "first … last"],
        ["x", "4 points", "", "-1 … 1"],
        ["done", "x", "", "3 of 4"],
        ["each", "x, block", "1", "7"],
        ["loss", "x", "nats", "0.5 … 2; 1 not finite"],
    ]


def test_names_in_a_file_are_no_markup():
    page = as_html(line(network="<script>alert(1)</script>"))
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_results_without_any_row_are_shown():
    assert "0 of 0 rows measured" in as_html(dataclasses.replace(line(), variables={}))
