"""A damaged HDF5 file, or another program's, is read as labelled arrays or refused in one line."""

import os
import subprocess
import sys

import pytest
from files import ROOT

ARCHIVE = ROOT / "tests" / "archive"


FLIP = """
import sys
from pathlib import Path
from landscape.errors import BadInput
from landscape.engine.results import read
source, target = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
first = source.index(sys.argv[3].encode() + bytes(1))
for place in range(8 * (first - 8), 8 * (first + 48)):
    content = bytearray(source)
    content[place // 8] ^= 1 << place % 8
    target.write_bytes(content)
    try:
        read(target)
    except BadInput as error:
        assert str(target) in str(error) and str(error).isprintable(), error
"""


@pytest.mark.parametrize("attribute", ["CLASS", "network", "units"])
def test_no_flipped_bit_of_an_attribute_in_an_unsealed_file_breaks_hdf5(tmp_path, attribute):
    """In a process of its own, which HDF5 would end."""
    call = [sys.executable, "-c", FLIP, ARCHIVE / "surface.h5", tmp_path / "a.h5", attribute]
    done = subprocess.run(call, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
