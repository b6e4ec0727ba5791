"""The rule about docstrings, part of make lint: what the reference shows is documented, and a gap is named.

Here, and not among the units, since griffe asks git where it is.
"""

import runpy
import textwrap

import pytest
from files import ROOT

COMPLAINTS = runpy.run_path(str(ROOT / "scripts" / "development" / "docstrings.py"))["complaints"]

WHOLE = '''
def half(number: float, *, exact: bool = False) -> float:
    """Half of a number.

    Parameters
    ----------
    number : float
        Which may be negative.
    exact : bool
        Whether to refuse what cannot be halved exactly.

    Returns
    -------
    float
        The half.

    Raises
    ------
    BadInput
        It cannot be halved.

    Examples
    --------
    >>> half(3.0)
    1.5
    """
    if exact:
        raise BadInput("no")
    return number / 2
'''


def complaints_of(root, code, api="::: skipscape.half\n"):
    """What is said of a small project whose face is one function."""
    for folder in ("landscape", "ensemble", "scripts", "docs"):
        (root / folder).mkdir()
    for wing in ("landscape", "ensemble"):
        (root / wing / "__init__.py").write_text('"""A wing."""\n')
    (root / "landscape" / "sums.py").write_text(f'"""Sums."""\n{textwrap.dedent(code)}')
    (root / "scripts" / "__init__.pyi").write_text("from landscape.sums import half as half\n")
    (root / "docs" / "api.md").write_text(api)
    return [*COMPLAINTS(root)]


def test_everything_in_the_reference_is_documented():
    assert [*COMPLAINTS(ROOT)] == []


def test_a_whole_docstring_is_not_complained_of(tmp_path):
    assert complaints_of(tmp_path, WHOLE) == []


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("    exact : bool\n        Whether to refuse what cannot be halved exactly.\n", "", "its parameter exact"),
        ("number : float\n", "figure : float\n", "documents figure, which it does not take"),
        ("number : float\n", "figure : float\n", "does not document its parameter number"),
        ("number : float\n", "number, exact\n", "names number, exact at once"),
        ("    Returns\n    -------\n    float\n        The half.\n\n", "", "has no Returns, and gives float"),
        ("    Raises\n    ------\n    BadInput\n        It cannot be halved.\n\n", "", "has no Raises"),
        ("    Examples\n    --------\n    >>> half(3.0)\n    1.5\n", "", "has no Examples"),
        (WHOLE[WHOLE.index('    """') : WHOLE.rindex('"""') + 3], "", "has no docstring"),
    ],
)
def test_a_gap_is_named_with_its_place(tmp_path, before, after, said):
    assert before in WHOLE
    complaints = complaints_of(tmp_path, WHOLE.replace(before, after))
    assert any(said in complaint and "sums.py:" in complaint for complaint in complaints)


def test_an_iterator_may_yield_and_an_error_may_be_raised_elsewhere(tmp_path):
    code = '''
    def half(numbers: list) -> Iterator[float]:
        """Half of each number.

        Parameters
        ----------
        numbers : list of float

        Yields
        ------
        float

        Examples
        --------
        >>> [*half([3.0])]
        [1.5]
        """
        yield from checked(numbers)
    '''
    assert complaints_of(tmp_path, code) == []


def test_fields_of_a_class_may_be_attributes_and_methods_count(tmp_path):
    code = '''
    @dataclass
    class half:
        """Half of a number.

        Attributes
        ----------
        number : float

        Examples
        --------
        >>> half(3.0)
        """

        number: float
        other: int = 0

        def of(self, more):
            """More."""

        def _hidden(self, more):
            return more
    '''
    code = "from dataclasses import dataclass\n" + textwrap.dedent(code)
    said = [complaint.partition(": ")[2] for complaint in complaints_of(tmp_path, code)]
    assert said == ["half does not document its parameter other", "of does not document its parameter more"]


def test_the_reference_has_all_of_the_face_and_nothing_else_of_it(tmp_path):
    assert complaints_of(tmp_path, WHOLE, api="::: skipscape.third\n") == [
        "docs/api.md: skipscape.half is missing",
        "docs/api.md: skipscape has no third",
    ]
