"""Claims as data: every one in the library is whole, and what is wrong with a file is said in one line."""

import inspect
import math

import pytest
import torch

from ensemble.claims.measures import MEASURES, check_measure
from ensemble.claims.specification import LIBRARY, SCALES, claim_named, names
from landscape.errors import BadInput
from landscape.networks import build
from landscape.training.loop import RECIPES
from landscape.training.train import train

SMALL = """
title = "One is one"
statement = "A number is what it is."
source = "Nobody 2020, §1"

[networks]
net = {{ like = "resnet-shallow", arguments.order = "pre", {more} }}

[quantities.number]
label = "a number"
network = "net"
measure = "error"

[[criteria]]
says = "it is below 1"
quantity = "number"
below = 1
"""


WHOLE = SMALL.format(more="epochs = 1")


def written(tmp_path, text=WHOLE):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", names())
def test_every_claim_is_whole_at_every_scale(name, scale):
    claim = claim_named(name, scale)
    assert claim.name == name and claim.seeds >= 1
    for quantity in claim.quantities.values():
        other = {"other": None} if quantity.other else {}
        inspect.signature(MEASURES[quantity.measure]).bind(None, **other, **quantity.settings)
    for network in claim.networks.values():
        assert network.settings.keys() <= inspect.signature(train).parameters.keys()


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
def test_every_network_of_every_claim_can_be_built_and_has_a_recipe(scale):
    networks = {n.key: n.settings for name in names() for n in claim_named(name, scale).networks.values()}
    for settings in networks.values():
        shape = {name: settings[name] for name in ("depth", "width") if name in settings}
        with torch.device("meta"):
            build(settings["network"], **shape, **settings.get("arguments", {}))
        assert settings.get("recipe", "fast") in RECIPES


def test_there_are_many_claims_with_names_of_their_own():
    assert len(names()) == len(set(names())) >= 45
    assert len({claim_named(name).title for name in names()}) == len(names())


def test_claims_come_by_year():
    years = [
        next(int(word) for word in claim_named(n).source.replace(",", " ").split() if word.isdigit()) for n in names()
    ]
    assert years == sorted(years)


def test_every_source_says_where_it_was_published():
    assert all(any(c.isdigit() for c in claim_named(name).source) for name in names())


def test_a_value_depends_on_the_scale():
    depths = [claim_named("resilience-grows-with-depth", scale).networks["deep"].settings["depth"] for scale in SCALES]
    assert depths == sorted(depths) and len(set(depths)) == 3


def test_a_network_is_that_of_its_name_with_changes_on_top(tmp_path):
    own = claim_named(written(tmp_path)).networks["net"].settings
    shared = claim_named("resilience-grows-with-depth").networks["shallow"].settings
    assert own == {**shared, "epochs": 1}


def test_networks_of_the_same_settings_are_one(tmp_path):
    text = SMALL.format(more="epochs = 15")
    one, other = claim_named(written(tmp_path, text)), claim_named("resilience-grows-with-depth")
    assert one.networks["net"].key == other.networks["shallow"].key


def test_a_criterion_has_the_region_that_it_names(tmp_path):
    text = WHOLE
    regions = {"below = 1": (-math.inf, 1), "above = 2": (2, math.inf), "within = [1, 3]": (1, 3)}
    for words, region in regions.items():
        (criterion,) = claim_named(written(tmp_path, text.replace("below = 1", words))).criteria
        assert criterion.region == region


WRONG = {
    "it is no TOML": ("title = ", "is not TOML"),
    "it lacks a title": (WHOLE.replace('title = "One is one"', ""), "needs a title"),
    "a word is misspelt": ("titel = 'x'" + WHOLE, "did you mean title"),
    "there is no such network": (
        WHOLE.replace("resnet-shallow", "resnet-shalow"),
        "resnet-shallow",
    ),
    "a setting is misspelt": (SMALL.format(more="epoch = 1"), "did you mean epochs"),
    "a quantity is of no network": (
        WHOLE.replace('network = "net"', 'network = "ner"'),
        "'ner'",
    ),
    "a criterion reads no quantity": (
        WHOLE.replace('quantity = "number"', 'quantity = "n"'),
        "'n'",
    ),
    "a criterion has no bound": (WHOLE.replace("below = 1", ""), "needs one of"),
    "a criterion has two": (WHOLE + "above = 2", "has 2"),
    "a bound is a text": (WHOLE.replace("below = 1", "below = 'x'"), "takes a number"),
    "a range is upside down": (WHOLE.replace("below = 1", "within = [3, 1]"), "smaller"),
    "nothing decides": (WHOLE.partition("[[criteria]]")[0], "needs criteria"),
    "a quantity is read by nothing": (
        WHOLE + "\n[quantities.other]\nlabel = 'x'\nmeasure = 'error'\n",
        "no criterion reads the quantity other",
    ),
    "seeds are none": ("seeds = 0" + WHOLE, "from 1 to 1000"),
    "it nests too deep": ("x = " + "[" * 5000, "is not TOML"),
    "it is long": ("# " + "x" * 200_000, "small file"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_file_that_is_wrong_is_refused_in_a_line(what, tmp_path):
    text, said = WRONG[what]
    with pytest.raises(BadInput) as refused:
        claim_named(written(tmp_path, text))
    assert said in str(refused.value) and "mine.toml" in str(refused.value) and "\n" not in str(refused.value)


ODD = ("3", "-1.5", "'x'", "true", "[]", "[1]", "{ a = 1 }", "nan", "1979-05-27", "[[{ b = 2 }]]")


@pytest.mark.parametrize("value", ODD)
def test_any_value_in_the_place_of_any_other_is_a_claim_or_refused_in_a_line(value, tmp_path):
    lines = (WHOLE + "unit = '%'").splitlines()
    for number, line in enumerate(lines):
        name, equals, _ = line.partition(" = ")
        for words in [f"{name} = {value}"] * bool(equals) + [f"{line}\nsettings = {value}", f"{line}\nmore = {value}"]:
            text = "\n".join([*lines[:number], words, *lines[number + 1 :]])
            try:
                check_measure(claim_named(written(tmp_path, text)))
            except BadInput as error:
                assert "\n" not in str(error)


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b'title = "\xff"')
    with pytest.raises(BadInput, match="is not TOML"):
        claim_named(path)


def test_a_claim_that_does_not_exist_is_refused_with_what_was_meant():
    with pytest.raises(BadInput, match="did you mean one-block-can-go"):
        claim_named("one-blok-can-go")
    with pytest.raises(BadInput, match="there is no scale"):
        claim_named("one-block-can-go", "digit")
    with pytest.raises(BadInput, match="cannot read"):
        claim_named("nowhere.toml")


def test_the_library_is_files_of_toml_alone():
    assert {path.suffix for path in LIBRARY.iterdir()} == {".toml"}
