"""Every example of the library's page runs as it stands, on one rank and on two."""

import os
import re
import subprocess
import sys

import pytest
from files import ROOT
from patience import patient
from processes import ENVIRONMENT

PAGE = (ROOT / "docs" / "library.md").read_text()
CODE = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.mpi
def test_every_example_runs_on_two_ranks_with_the_same_numbers(tmp_path):
    numbers = (
        '[float(r["loss"].sum()) for r in (surface, line, study, curvature, around)] + [float(mine["depth"].sum())]'
    )
    keep = f"""
import mpi4py.MPI as mpi
assert surface["loss"].shape == (9, 9) and len(mine["depth"]) == 11
open(f'rank-{{mpi.COMM_WORLD.rank}}', 'w').write(repr({numbers}))"""
    (tmp_path / "page.py").write_text(f"{CODE}\n{keep}\n")
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    kept = []
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        folder.mkdir()
        call = ["mpiexec", "-n", str(ranks), sys.executable, "-m", "mpi4py", tmp_path / "page.py"]
        done = subprocess.run(call, capture_output=True, text=True, env=environment, cwd=folder, timeout=patient(300))
        assert done.returncode == 0, done.stderr
        assert {"net.pt", "surface.h5", "mine.h5"} <= {path.name for path in folder.iterdir()}
        kept += [(folder / f"rank-{rank}").read_text() for rank in range(ranks)]
    assert kept[0] == kept[1] == kept[2]
