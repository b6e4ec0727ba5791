"""Lines and planes to other checkpoints, and what becomes of BatchNorm on them."""

import numpy as np
import pytest

from landscape.engine.ranks import SerialComm
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.planes import surface as surfaces
from landscape.training.train import train

SMALL = {"depth": 8, "width": 4, "examples": 600, "quiet": True, "comm": SerialComm()}


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three trainings of one network that differ in their seeds."""
    folder = tmp_path_factory.mktemp("three")
    for seed in range(3):
        train(folder / f"{seed}.pt", epochs=2, seed=seed, **SMALL)
    return folder


def surface(checkpoint, out=None, *, examples=300, **how):
    return surfaces.surface(Evaluator.from_checkpoint(checkpoint, examples=examples), out=out, quiet=True, **how)


def alone(three, seed):
    """The loss of one checkpoint at its own place."""
    return surface(three / f"{seed}.pt", x=(0, 0, 1))["loss"][0]


def test_a_line_between_checkpoints_has_their_losses_at_its_ends(three):
    line = surface(three / "0.pt", to=three / "1.pt", x=(-0.5, 1.5, 9))
    assert line["loss"][2] == alone(three, 0)
    assert line["loss"][6] == pytest.approx(alone(three, 1), rel=1e-4)
    assert line["loss"][4] > max(line["loss"][2], line["loss"][6])  # two minima, and a barrier between them
    assert np.isfinite(line["loss"]).all()
    assert line.attributes["directions"] == "to other checkpoints"
    assert line.attributes["batchnorm"] == "interpolated"


def test_frozen_statistics_do_not_arrive_at_the_other_checkpoint(three):
    frozen, anew, batch = (
        surface(three / "0.pt", to=three / "1.pt", x=(0, 1, 3), batchnorm=policy, calibration=calibration)["loss"]
        for policy, calibration in (("frozen", None), ("recalibrated", 256), ("batch", 256))
    )
    end = alone(three, 1)
    assert frozen[0] == alone(three, 0)
    assert abs(frozen[2] / end - 1) > 0.05
    assert anew[2] == pytest.approx(end, rel=0.2)
    assert batch[2] == pytest.approx(anew[2], rel=0.3) and batch[2] != anew[2]


def test_statistics_stay_where_there_is_no_batchnorm(tmp_path):
    for seed in range(3):
        train(tmp_path / f"{seed}.pt", epochs=1, seed=seed, arguments={"norm": "none"}, **SMALL)
    plane = {"to": [tmp_path / "1.pt", tmp_path / "2.pt"], "x": (0, 1, 2), "y": (0, 1, 2)}
    assert surface(tmp_path / "0.pt", **plane).attributes["batchnorm"] == "frozen"


def test_statistics_stay_where_axes_lead_elsewhere(three):
    plane = {"to": [three / "1.pt", three / "2.pt"], "x": (0, 1, 2), "y": (0, 1, 2)}
    assert surface(three / "0.pt", **plane, orthogonal=True).attributes["batchnorm"] == "frozen"


def test_two_other_checkpoints_give_a_plane_through_all_three(three):
    loss = surface(three / "0.pt", to=[three / "1.pt", three / "2.pt"], x=(0, 1, 3), y=(0, 1, 3))["loss"]
    corners = [loss[0, 0], loss[0, 2], loss[2, 0]]
    assert corners == pytest.approx([alone(three, seed) for seed in range(3)], rel=1e-4)


def test_what_does_not_go_together_is_refused(three, trained, tmp_path):
    out = tmp_path / "a.h5"
    for how, said in [
        ({"to": three / "1.pt", "y": (0, 1, 3)}, "one other checkpoint gives a line"),
        ({"to": [three / "1.pt", three / "2.pt"]}, "two give a plane"),
        ({"to": trained / "plain.pt"}, "another network"),
        ({"to": three / "gone.pt"}, "no checkpoint"),
        ({"to": three / "1.pt", "normalize": "layer"}, "are for random directions"),
        ({"batchnorm": "interpolated"}, "give others with to"),
        ({"batchnorm": "recalibrated", "calibration": 1}, "calibration is 1; give 2 to"),
        ({"batchnorm": "recalibrated", "calibration": 301}, "calibration is 301; give 2 to 300"),
    ]:
        with pytest.raises(BadInput) as refusal:
            surface(three / "0.pt", out, **how)
        assert said in str(refusal.value)
        assert not out.exists()


def test_statistics_are_measured_on_what_examples_there_are(three):
    few = surface(three / "0.pt", x=(-1, 1, 3), batchnorm="recalibrated", examples=40)
    assert few.attributes["calibration"] == 40


def test_another_policy_is_another_measurement(three, tmp_path):
    surface(three / "0.pt", tmp_path / "a.h5", x=(-1, 1, 3))
    with pytest.raises(BadInput) as refusal:
        surface(three / "0.pt", tmp_path / "a.h5", x=(-1, 1, 3), batchnorm="recalibrated", calibration=256)
    assert "its batchnorm is frozen" in str(refusal.value) and "recalibrated" in str(refusal.value)
