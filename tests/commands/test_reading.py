"""What users open our files with reads them: xarray, pandas, NumPy and plain h5py."""

import h5py
import numpy as np
import pytest
import xarray
from processes import command

from landscape.checkpoints.checkpoint import Checkpoint, save
from landscape.networks import build


@pytest.fixture(scope="module")
def lesions(tmp_path_factory):
    """A lesion table of the real command: names, bools, numbers."""
    folder = tmp_path_factory.mktemp("reading")
    small = {"depth": 8, "width": 4, "channels": 1}
    save(Checkpoint("resnet", small, build("resnet", **small).state_dict(), {"name": "digits"}), folder / "a.pt")
    few = ("--examples", 50, "--quiet")
    command("lesion", folder / "a.pt", folder / "a.h5", "--delete", 1, 2, "--trials", 2, *few)
    return folder / "a.h5"


def test_the_examples_of_the_readme_hold(lesions):
    with xarray.open_dataset(lesions, engine="h5netcdf") as data:
        medians = data.accuracy.groupby(data.deleted.sum("block")).median()
        number, accuracy = data.deleted.values.sum(axis=1), data.accuracy.values
        assert medians.values.tolist() == [np.median(accuracy[number == k]) for k in np.unique(number)]


def test_lesions_are_a_data_frame_with_a_row_a_trial_and_block(lesions):
    with xarray.open_dataset(lesions, engine="h5netcdf") as data, h5py.File(lesions) as file:
        frame = data.to_dataframe()
        assert len(frame) == file["deleted"].size and frame.deleted.dtype == bool
        first = frame.xs(0, level="trial")
        assert first.index.tolist() == file["block"].asstr()[...].tolist()
        for name in ("loss", "rise"):
            np.testing.assert_array_equal(frame[name].groupby("trial").first(), file[name])
