"""An experiment of one's own: a function of rows fills a table, in memory or in a file that is gone on with."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from landscape.engine.ranks import SerialComm
from landscape.engine.run import run
from landscape.engine.table import read
from landscape.errors import BadInput, Stopped

WORDS = ["alpha", "beta", "gamma"]


def lengths(rows):
    """What is measured of a word: numbers by name."""
    for (word,) in rows:
        yield {"letters": len(word), "vowels": sum(letter in "aeiou" for letter in word)}


def experiment(function=lengths, **options):
    how = {"dims": ["word"], "coordinates": {"word": WORDS}, "quiet": True, "comm": SerialComm()}
    return run(function, np.array(WORDS), **{**how, **options})


def test_results_are_in_memory_and_named_as_the_function_names_them():
    results = experiment()
    assert results["letters"].tolist() == [5, 4, 5] and results["vowels"].tolist() == [2, 2, 2]
    assert results.coordinates["word"].tolist() == WORDS and results.path is None


def test_the_first_row_is_measured_once_though_it_names_the_variables(tmp_path):
    seen = []

    def counted(rows):
        for row, values in zip(rows, lengths(rows), strict=True):
            seen.append(row[0])
            yield values

    experiment(counted)
    assert seen == WORDS
    experiment(counted, out=tmp_path / "a.h5")
    experiment(counted, out=tmp_path / "a.h5")
    assert seen == WORDS * 2  # a finished file is not measured again


def test_names_as_coordinates_are_kept_killed_and_gone_on_with(tmp_path):
    def interrupted(rows):
        for row, values in zip(rows, lengths(rows), strict=True):
            if row[0] == "gamma":
                raise KeyboardInterrupt
            yield values

    with pytest.raises(Stopped, match="stopped after 2 of 3 words; the same call goes on from here"):
        experiment(interrupted, out=tmp_path / "a.h5", label="words")
    assert read(tmp_path / "a.h5")["done"].tolist() == [True, True, False]
    results = experiment(out=tmp_path / "a.h5", label="words")
    assert results["letters"].tolist() == [5, 4, 5] and results["done"].all()
    with pytest.raises(BadInput, match="its word is"):
        run(
            lengths,
            np.array(["delta"]),
            dims=["word"],
            coordinates={"word": ["delta"]},
            measured={"letters": ("f8", np.nan, {}), "vowels": ("f8", np.nan, {})},
            out=tmp_path / "a.h5",
            comm=SerialComm(),
            quiet=True,
        )


def test_what_is_interrupted_in_memory_is_said_to_be_lost():
    def interrupted(rows):
        yield from lengths(rows[:1])
        raise KeyboardInterrupt

    measured = {"letters": ("f8", np.nan, {}), "vowels": ("f8", np.nan, {})}
    with pytest.raises(Stopped, match="nothing is kept, since out= names no file") as stopped:
        experiment(interrupted, measured=measured)
    assert stopped.value._render_traceback_() == [str(stopped.value)]


def test_memory_and_file_hold_the_same(tmp_path):
    measured = {
        "letters": ("i8", 0, {"long_name": "letters", "units": "1"}),
        "codes": ("f8", np.nan, {"long_name": "codes of the first letters"}, ("place",)),
    }

    def coded(rows):
        for (word,) in rows:
            yield {"letters": len(word), "codes": [ord(letter) for letter in word[:2]]}

    how = {"coordinates": {"word": WORDS, "place": [1, 2]}, "measured": measured, "kind": "words"}
    memory, file = experiment(coded, **how), experiment(coded, **how, out=tmp_path / "a.h5")
    assert memory.keys() == file.keys() and memory.kind == file.kind == "words"
    for name in memory:
        np.testing.assert_array_equal(memory[name], file[name])
        assert memory.dims[name] == file.dims[name] and memory.metadata[name] == file.metadata[name]


def test_an_array_needs_names_for_its_dimensions():
    def arrays(rows):
        for _ in rows:
            yield {"both": [1, 2]}

    with pytest.raises(BadInput, match=r"both is an array of shape \(2,\); say with measured= what its dimensions"):
        experiment(arrays)


def test_what_follows_is_derived_before_the_results_are_given(caplog):
    def finish(table):
        table.derive(longest=table.values["letters"] == table.values["letters"].max())
        yield "alpha is the longest"

    derived = {"longest": ("?", False, {"long_name": "whether none is longer"})}
    with caplog.at_level("INFO", logger="skipscape"):
        results = experiment(derived=derived, finish=finish)
    assert results["longest"].tolist() == [True, False, True]
    assert "the results: 3 rows" in caplog.text and "alpha is the longest" in caplog.text


def test_a_dry_run_tells_and_keeps_nothing(tmp_path):
    report = experiment(out=tmp_path / "a.h5", dry_run=True)
    assert repr(report).startswith(f"{tmp_path / 'a.h5'}: 3 rows") and "nothing was written" in report
    assert not [*tmp_path.iterdir()]
    assert experiment(dry_run=True).startswith("3 rows in memory")


def test_a_dry_run_may_be_asked_for_in_any_thread():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(experiment, dry_run=True).result().startswith("3 rows in memory")


def test_ranks_that_are_asked_for_different_measurements_measure_nothing():
    """As where a job's ranks read a seed each from their own environment."""

    class Two(SerialComm):
        size = 2

        def allgather(self, mine):
            if mine is None:  # no rank complains of its input
                return [None, None]
            settings = mine[1]
            return [mine, ("other", {**settings, "seed": "1"})]

    with pytest.raises(BadInput, match="the seed of rank 1 on other is 1, that of rank 0"):
        experiment(lambda rows: pytest.fail("a row is measured"), attributes={"seed": 0}, comm=Two())
