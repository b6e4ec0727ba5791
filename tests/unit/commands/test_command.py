"""How a command ends: by a signal, whatever a library makes of it, with one line and the signal's status."""

import pytest

from landscape.commands.cli import Parser
from landscape.errors import BadInput


@pytest.fixture
def parser():
    parser = Parser(prog="measure.py")
    parser.add_argument("net", nargs="?")
    parser.add_argument("--tolerance", type=float, required=True)
    parser.add_argument("--x", nargs="+", type=float)
    parser.add_argument("--title")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"])
    return parser


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tolerence", "0.02"], "there is no option --tolerence; did you mean --tolerance?"),
        (["--tolerence=0.02"], "there is no option --tolerence; did you mean --tolerance?"),
        (["-tolerance", "0.02"], "there is no option -tolerance; did you mean --tolerance?"),
        (["--q", "1"], "there is no option --q (see --help)"),
        (["-q"], "there is no option -q (see --help)"),
        (["--tolerance", "1", "--dtype", "bf16"], "'bfloat16'); did you mean bfloat16?"),
        (["--tolerance", "1", "--dtype", "int4"], "'bfloat16') (see --help)"),
    ],
)
def test_a_misspelt_option_or_choice_is_told_with_the_nearest_there_is(parser, words, said):
    with pytest.raises(BadInput) as refused:
        parser.parse_args(words)
    assert said in str(refused.value)


def test_what_only_looks_like_an_option_is_none(parser):
    words = ["--tolerance=-1e-3", "--x", "-1", "-.5e-2", "-v", "--title", "- a title", "--", "--tolerence"]
    parsed = parser.parse_args(words)
    assert (parsed.tolerance, parsed.x, parsed.verbose) == (-1e-3, [-1, -5e-3], True)
    assert (parsed.title, parsed.net) == ("- a title", "--tolerence")
