"""Paths and their planes against other people's linear algebra."""

import subprocess
import sys

import pytest
import torch
from files import ROOT
from processes import ENVIRONMENT

MEMORY = """
import resource, sys, torch
from landscape.checkpoints import checkpoint
from landscape.planes import principal_components
principal_components.ROOM, principal_components.BLOCK = 2**23, 2**22
paths = [sys.argv[1] + f"/{i}.pt" for i in range(40)]
points = {p: lambda p=p: checkpoint.load(p, "any", lazy=True).weights for p in paths}
final = {name: torch.zeros(1000, 250) for name in "abcd"}
warm = torch.randn(40, 5000, dtype=torch.float64)
(warm @ warm.T).numpy() @ (warm @ warm.T).numpy()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
principal_components.path_in_plane(points, final)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is in other units elsewhere")
def test_a_run_is_not_held_in_memory(tmp_path):
    for i in range(40):  # 160 MB in all, 8 MB of directions
        torch.save({name: torch.randn(1000, 250) for name in "abcd"}, tmp_path / f"{i}.pt")
    call = [sys.executable, "-c", MEMORY, str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, check=True)
    assert float(done.stdout) < 60
