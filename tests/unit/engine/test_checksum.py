"""A seal over what never changes and a checksum for each row show whether a file is as it was written."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.engine import checksum
from landscape.engine.checksum import blank, row_checksums, seal, sealed, sums


def test_a_sum_is_zlibs_of_the_rows_number_and_its_values():
    loss, examples, node = np.array([[0.5, np.nan]]), np.array([[10, -1]], "<i8"), np.arange(6.0).reshape(1, 2, 3)
    expected = [zlib.crc32(struct.pack("<qdq3d", row, loss[0, row], examples[0, row], *node[0, row])) for row in (1, 0)]
    checksums = sums([loss, examples, node], np.array([1, 0]), 2)
    assert checksums.dtype == np.uint32 and checksums.tolist() == expected


@pytest.mark.parametrize("order", ["<", ">"])
def test_sums_do_not_depend_on_the_machines_order_of_bytes(order):
    rows = np.arange(4)
    plain = sums([np.arange(4.0), np.arange(4)], rows, 4)
    np.testing.assert_array_equal(
        sums([np.arange(4).astype(f"{order}f8"), np.arange(4.0).astype(f"{order}i8")], rows, 4), plain
    )


def test_sums_of_many_rows_are_those_of_each(monkeypatch):
    monkeypatch.setattr(checksum, "ROWS", 3)
    values = [np.random.default_rng(0).normal(size=10), np.arange(10) % 2 == 0]
    rows = np.array([7, 0, 1, 9, 3, 3, 5, 2])
    np.testing.assert_array_equal(sums(values, rows, 10), [sums(values, np.array([row]), 10)[0] for row in rows])
    assert sums(values, np.array([], int), 10).size == 0


def test_equal_values_in_another_row_have_another_sum():
    assert len({*sums([np.ones(50)], np.arange(50), 50).tolist()}) == 50


def test_zero_minus_zero_and_every_nan_are_told_apart():
    nans = np.array([0x7FF8000000000000, 0x7FF8000000000001, 0xFFF8000000000000], "u8").view("f8")
    each = [sums([np.array([value])], np.array([0]), 1)[0] for value in (0.0, -0.0, *nans)]
    assert len({*each}) == 5


def test_what_is_not_done_has_the_complement():
    done, rows = np.array([[True, False]]), np.arange(2)
    checksums, plain = row_checksums([np.ones((1, 2))], rows, done), sums([np.ones((1, 2))], rows, 2)
    assert checksums.tolist() == [plain[0], plain[1] ^ 0xFFFFFFFF]


CONTENT = bytes(range(256)) * 20


@pytest.fixture
def path(tmp_path):
    """A sealed file in which the bytes from 1000 to 1099 and from 3000 to 3009 may change."""
    places = [(3000, 10), (1000, 100)]
    (tmp_path / "a").write_bytes(bytes(50) + blank(2).encode() + CONTENT)
    seal(tmp_path / "a", places)
    return tmp_path / "a"


def test_a_seal_is_whole_whatever_is_in_the_places_that_change(path):
    assert sealed(path) is True
    content = bytearray(path.read_bytes())
    content[3000:3010], content[1000:1100] = bytes(10), bytes(100)
    path.write_bytes(content)
    assert sealed(path) is True


@pytest.mark.parametrize("where", [0, 49, 600, 999, 1100, 2999, 3010, -1])
def test_a_seal_is_broken_by_any_bit_elsewhere(path, where):
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    assert sealed(path) is False


def test_a_seal_is_broken_by_what_is_missing_or_added(path):
    content = path.read_bytes()
    for other in (content[:-1], content[:3005], content + b"\0", content[:2000] + content[2001:]):
        path.write_bytes(other)
        assert sealed(path) is False


@settings(max_examples=60, deadline=None)
@given(where=st.integers(50, 50 + len(blank(2)) - 1), bit=st.integers(0, 7))
def test_a_seal_with_any_bit_flipped_is_broken(tmp_path_factory, where, bit):
    path = tmp_path_factory.mktemp("seal") / "a"
    path.write_bytes(bytes(50) + blank(2).encode() + CONTENT)
    seal(path, [(1000, 100), (3000, 10)])
    content = bytearray(path.read_bytes())
    content[where] ^= 1 << bit
    path.write_bytes(content)
    assert sealed(path) is False


@pytest.mark.parametrize("places", [[(1000, 100), (1050, 10)], [(6000, 10)], [(100, 64)]])
def test_places_that_are_not_in_the_file_one_after_another_make_no_seal(path, places):
    with open(path, "r+b") as file:
        assert checksum._digest(file, [(100, 64), *places]) is None


def test_a_file_longer_than_what_is_read_at_once_is_sealed_all_the_same(path, monkeypatch):
    monkeypatch.setattr(checksum, "BLOCK", 7)
    assert sealed(path) is True


@pytest.mark.parametrize("content", [b"", b"hello", b"seal: " + b"0" * 64])
def test_what_has_no_seal_has_none(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert sealed(tmp_path / "a") is None
