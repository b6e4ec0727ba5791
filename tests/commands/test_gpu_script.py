"""The measurements of a GPU machine, in small on a processor: each row runs, and one that fails stops no other.

Here rows are called in one process, and of the processes that they start those that measure are.
"""

import importlib.util
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from files import ROOT
from typed import typed

FOLDER = ROOT / "scripts" / "development"


def module(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def rows(monkeypatch):
    rows = module("gpu_rows")

    def run(call, **how):
        """Of a row's process: the row, the command or the tests that it runs."""
        if "pytest" in call:
            return SimpleNamespace(returncode=0, stdout="1 skipped in 0.1s", stderr="")
        if "job" in call:
            return SimpleNamespace(returncode=0, stdout='MEASURED {"text": "2.5"}\n', stderr="")
        assert typed("surface", *call[2:])[0] == 0
        return SimpleNamespace(returncode=0)

    def start(call, **how):
        run(call)
        return SimpleNamespace(poll=lambda: 0, send_signal=lambda number: None, wait=lambda: 0)

    monkeypatch.setattr(rows, "subprocess", SimpleNamespace(run=run, Popen=start))
    monkeypatch.setattr(rows, "command_on", lambda ranks, command: command)
    return rows


@pytest.mark.slow
def test_every_row_runs_and_tells_what_it_has_measured(rows, tmp_path, capsys):
    runner = module("gpu")
    assert {*runner.BUDGETS, "job"} == rows.ROWS.keys()
    how = {"small": True, "device": "cpu", "data": "", "folder": str(tmp_path)}
    for name in (*runner.BUDGETS, "job"):
        rows.ROWS[name](rows.Trial(how))
        said = [line.removeprefix(rows.MEASURED) for line in capsys.readouterr().out.splitlines()]
        figures = [json.loads(line) for line in said if line.startswith("{")]
        assert figures, name
        assert not any("NOT the same" in figure["text"] or "nan" in figure["text"] for figure in figures), figures


def row(runner, folder, code, budget=60):
    return runner.row(folder, "some", [sys.executable, "-c", code], {}, budget)


def test_a_row_that_fails_or_takes_too_long_is_told_with_what_it_had_measured(tmp_path):
    runner = module("gpu")
    good = """print('MEASURED {"text": "12 images/s", "value": 12}', flush=True)"""
    assert row(runner, tmp_path, good)
    assert not row(runner, tmp_path, f"{good}\nraise ValueError('no more')")
    assert not row(runner, tmp_path, f"{good}\nimport time; time.sleep(60)", budget=5)
    assert not row(runner, tmp_path, good, budget=1)
    kept = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    assert [figure.get("value") for figure in kept] == [12, None, 12, None, 12, None, None]
    said = (tmp_path / "gpu.txt").read_text()
    assert "failed with status 1; ValueError: no more" in said
    assert "stopped after its 5 s" in said and "no time is left" in said


def test_its_first_stage_needs_nothing_that_a_machine_may_lack():
    code = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import gpu; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "landscape"} & {*done.stdout.split()}
