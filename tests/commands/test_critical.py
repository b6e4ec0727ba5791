"""The command of critical sharpness: on any number of ranks the results of the call."""

import pytest
import tiny
from files import same
from processes import command

from landscape.curvature.critical import critical_sharpness
from landscape.evaluation.evaluator import Evaluator


@pytest.mark.mpi
def test_a_command_on_any_number_of_ranks_gives_the_results_of_the_call(tmp_path):
    (tmp_path / "run").mkdir()
    for epoch, network in enumerate(tiny.snapshots(width=4, steps=30)):
        tiny.checkpoint(network, tmp_path / "run" / f"epoch-{epoch}.pt", width=4, epoch=epoch)
    path = tiny.checkpoint(network, tmp_path / "net.pt", width=4, epoch=epoch)
    evaluate = Evaluator.from_checkpoint(path, examples=30, split="both")
    results = critical_sharpness(evaluate, tmp_path / "run", along="update", out=tmp_path / "call.h5", quiet=True)
    how = ("--snapshots", tmp_path / "run", "--along", "update", "--examples", 30, "--split", "both")
    said = command("critical", path, tmp_path / "a.h5", *how).stdout
    assert "epoch-0: critical sharpness" in said
    command("critical", path, tmp_path / "b.h5", *how, ranks=2)
    for name in ("a", "b"):
        same(tmp_path / f"{name}.h5", results.path)
    command("figure", tmp_path / "a.pdf", tmp_path / "a.h5")
    done = command("critical", path, tmp_path / "c.h5", "--along", "update", check=False)
    assert done.returncode == 2 and "--along update goes from one checkpoint to the next" in done.stderr
