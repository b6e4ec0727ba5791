"""Every example of the library's page runs as it stands, on one rank and on two."""

import os
import re
import subprocess
import sys

import pytest
from files import ROOT
from processes import ENVIRONMENT

PAGE = (ROOT / "docs" / "library.md").read_text()
CODE = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.mpi
def test_every_example_runs_on_two_ranks_with_the_same_numbers(tmp_path):
    tell = 'print([float(r["loss"].sum()) for r in (surface, line, study, curvature)], float(mine["depth"].sum()))'
    (tmp_path / "page.py").write_text(f"{CODE}\n{tell}\n")
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    said = []
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        call = ["mpiexec", "-n", str(ranks), sys.executable, "-m", "mpi4py", tmp_path / "page.py"]
        done = subprocess.run(call, capture_output=True, text=True, env=environment, cwd=folder, timeout=300)
        assert done.returncode == 0, done.stderr
        said += done.stdout.strip().split("\n")
    assert len(said) == 3 and len(set(said)) == 1
