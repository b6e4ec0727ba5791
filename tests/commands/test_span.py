"""Lines and planes to other checkpoints, and what becomes of BatchNorm on them, as typed."""

import numpy as np
import pytest
from processes import command

from landscape.engine.table import read

HOW = ("--examples", 300, "--quiet")


@pytest.fixture(scope="module")
def three(trained, tmp_path_factory):
    """Three trainings of one network that differ in their seeds."""
    folder = tmp_path_factory.mktemp("three")
    for seed in range(3):
        small = ("--depth", 8, "--width", 4, "--epochs", 2, "--seed", seed, "--quiet")
        command("train", folder / f"{seed}.pt", "--network", "resnet", *small)
    return folder


def alone(three, seed):
    """The loss of one checkpoint at its own place."""
    out = three / f"alone{seed}.h5"
    command("surface", three / f"{seed}.pt", out, "--x", 0, 0, 1, *HOW)
    return read(out)["loss"][0]


@pytest.mark.mpi
def test_a_line_between_checkpoints_has_their_losses_at_its_ends(three, tmp_path):
    line = ("--to", three / "1.pt", "--x", -0.5, 1.5, 9, *HOW)
    command("surface", three / "0.pt", tmp_path / "a.h5", *line)
    command("surface", three / "0.pt", tmp_path / "b.h5", *line, ranks=2)
    one, two = read(tmp_path / "a.h5"), read(tmp_path / "b.h5")
    np.testing.assert_array_equal(one["loss"], two["loss"])
    assert one["loss"][2] == alone(three, 0)
    assert one["loss"][6] == pytest.approx(alone(three, 1), rel=1e-4)
    assert one["loss"][4] > max(one["loss"][2], one["loss"][6])  # two minima, and a barrier between them
    assert np.isfinite(one["loss"]).all()
    assert one.attributes["directions"] == "to other checkpoints"
    assert one.attributes["batchnorm"] == "interpolated"
    command("figure", tmp_path / "a.png", tmp_path / "a.h5")


def test_frozen_statistics_do_not_arrive_at_the_other_checkpoint(three, tmp_path):
    for policy in ("frozen", "recalibrated", "batch"):
        how = ("--to", three / "1.pt", "--x", 0, 1, 3, "--batchnorm", policy, "--calibration", 256, *HOW)
        command("surface", three / "0.pt", tmp_path / f"{policy}.h5", *how)
    frozen, anew, batch = (read(tmp_path / f"{policy}.h5")["loss"] for policy in ("frozen", "recalibrated", "batch"))
    end = alone(three, 1)
    assert frozen[0] == alone(three, 0)
    assert abs(frozen[2] / end - 1) > 0.05
    assert anew[2] == pytest.approx(end, rel=0.2)
    assert batch[2] == pytest.approx(anew[2], rel=0.3) and batch[2] != anew[2]


@pytest.mark.parametrize("why", ["no BatchNorm", "axes that lead elsewhere"])
def test_statistics_stay_where_they_cannot_follow(three, tmp_path, why):
    ends, how = [three / "1.pt", three / "2.pt"], ("--orthogonal",)
    if why == "no BatchNorm":
        ends, how = [tmp_path / "0.pt", tmp_path / "1.pt", tmp_path / "2.pt"], ()
        for seed, path in enumerate(ends):
            small = ("--depth", 8, "--width", 4, "--epochs", 1, "--seed", seed, "--argument", "norm=none", "--quiet")
            command("train", path, "--network", "resnet", *small)
    out, net = tmp_path / "a.h5", ends.pop(0) if len(ends) > 2 else three / "0.pt"
    command("surface", net, out, "--to", *ends, "--x", 0, 1, 2, "--y", 0, 1, 2, *how, *HOW)
    assert read(out).attributes["batchnorm"] == "frozen"


def test_two_other_checkpoints_give_a_plane_through_all_three(three, tmp_path):
    to = ("--to", three / "1.pt", three / "2.pt", "--x", 0, 1, 3, "--y", 0, 1, 3)
    command("surface", three / "0.pt", tmp_path / "a.h5", *to, *HOW)
    loss = read(tmp_path / "a.h5")["loss"]
    corners = [loss[0, 0], loss[0, 2], loss[2, 0]]
    assert corners == pytest.approx([alone(three, seed) for seed in range(3)], rel=1e-4)


def test_what_does_not_go_together_is_refused(three, trained, tmp_path):
    net, out = three / "0.pt", tmp_path / "a.h5"
    for arguments, said in [
        (["--to", three / "1.pt", "--y", 0, 1, 3], "one other checkpoint gives a line"),
        (["--to", three / "1.pt", three / "2.pt"], "two give a plane"),
        (["--to", trained / "plain.pt"], "another network"),
        (["--to", three / "gone.pt"], "no checkpoint"),
        (["--to", three / "1.pt", "--normalize", "layer"], "are for random directions"),
        (["--batchnorm", "interpolated"], "give others with --to"),
        (["--batchnorm", "recalibrated", "--calibration", 1], "calibration is 1; give 2 to"),
        (["--batchnorm", "recalibrated", "--calibration", 301], "calibration is 301; give 2 to 300"),
    ]:
        done = command("surface", net, out, *arguments, *HOW, check=False)
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        assert not out.exists()


def test_statistics_are_measured_on_what_examples_there_are(three, tmp_path):
    few = ("--x", -1, 1, 3, "--batchnorm", "recalibrated", "--examples", 40, "--quiet")
    command("surface", three / "0.pt", tmp_path / "a.h5", *few)
    assert read(tmp_path / "a.h5").attributes["calibration"] == 40


def test_another_policy_is_another_measurement(three, tmp_path):
    command("surface", three / "0.pt", tmp_path / "a.h5", "--x", -1, 1, 3, *HOW)
    how = ("--x", -1, 1, 3, "--batchnorm", "recalibrated", "--calibration", 256, *HOW)
    done = command("surface", three / "0.pt", tmp_path / "a.h5", *how, check=False)
    assert "its batchnorm is frozen, this command's is recalibrated" in done.stderr
