"""A notebook's kernel is killed and interrupted in the midst of a call, and the same cell goes on."""

from __future__ import annotations

import queue
import random
import re
import time
from pathlib import Path

import h5py
from jobs import ENVIRONMENT, Failure, Skipped, finished

CELL = """
import time
import skipscape as ss

def slow(outputs, targets):  # one's own metric, which tells when it is called
    with open("calls.txt", "a") as file:
        file.write(f"{time.time()}\\n")
    time.sleep(NAP)
    return (outputs.argmax(1) == targets).double()

evaluate = ss.Evaluator.from_checkpoint("net.pt", examples=200, metrics={"slow": slow})
ss.surface(evaluate, x=(-1, 1, 15), y=(-1, 1, 15), out="OUT", quiet=True)
None
"""
STATED = 3.0  # seconds of measuring that may be lost
BEFORE = 3  # calls of a metric before the first row


def disturbed(nets: Path, folder: Path, quick: bool) -> str:
    """Killed, interrupted, killed … until it is done; then once more, undisturbed, beside it."""
    try:
        from jupyter_client.manager import KernelManager
    except ImportError as error:
        raise Skipped("there are no notebooks here: pip install ipykernel") from error
    (folder / "net.pt").symlink_to(nets / "net.pt")
    draw, line, kernel, client = random.Random(0), [], None, None
    try:
        while True:
            if kernel is None:
                kernel = KernelManager()
                kernel.start_kernel(cwd=str(folder), env=ENVIRONMENT)
                client = kernel.blocking_client()
                client.start_channels()
                client.wait_for_ready(timeout=120)
            before = rows(folder / "a.h5")
            (folder / "calls.txt").write_text("")
            client.execute(CELL.replace("OUT", "a.h5").replace("NAP", "0.08"))
            until = time.monotonic() + draw.uniform(2, 9)
            while time.monotonic() < until or not calls(folder, time.time()):
                if reply := answer(client, 0.05):
                    break
            if reply:
                break
            died, how = time.time(), "killed" if len(line) % 2 == 0 else "interrupted"
            if how == "killed":
                kernel.shutdown_kernel(now=True)
                client.stop_channels()
                kernel, lost = None, calls(folder, died - STATED) - BEFORE - (rows(folder / "a.h5") - before)
            else:
                kernel.interrupt_kernel()
                reply = answer(client, 30)
                lost = 0
                if said := re.match(r"stopped after (\d+) of 225 points; the same call goes on", reply["evalue"]):
                    lost = int(said[1]) - rows(folder / "a.h5")
                elif calls(folder, time.time()) > BEFORE:
                    raise Failure(f"interrupted, it said: {reply['ename']}: {reply['evalue']}")
            if lost > 0:
                raise Failure(f"{how}, it lost {lost} points that should be there")
            line.append(f"{how} at {rows(folder / 'a.h5')} of 225")
        if reply["status"] != "ok":
            raise Failure(f"the cell ended with {reply['ename']}: {reply['evalue']}")
        client.execute(CELL.replace("OUT", "whole.h5").replace("NAP", "0"))
        if (reply := answer(client, 300))["status"] != "ok":
            raise Failure(f"the cell ended with {reply['ename']}: {reply['evalue']}")
    finally:
        if kernel is not None:
            kernel.shutdown_kernel(now=True)
    if finished(folder / "a.h5") != finished(folder / "whole.h5"):
        raise Failure("the file differs from an undisturbed one")
    return ", ".join(line)


def answer(client, seconds: float) -> dict | None:
    """How the cell has ended, if it has within that time."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        try:
            message = client.get_shell_msg(timeout=left)
        except queue.Empty:
            return None
        if message["msg_type"] == "execute_reply":
            return message["content"]
    return None


def rows(out: Path) -> int:
    if not out.exists():
        return 0
    with h5py.File(out, "r", locking=False) as file:
        return int(file["done"][...].sum())


def calls(folder: Path, until: float) -> int:
    """How often the metric had been called by then."""
    return sum(float(when) < until for when in (folder / "calls.txt").read_text().split())


CASES = {"a notebook's kernel is killed and interrupted until it is done": disturbed}
