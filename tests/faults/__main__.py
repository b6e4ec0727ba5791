#!/usr/bin/env python3
"""What machines and people do to runs: kills, full disks, taken files, ranks that hang or are not alike.

    python tests/faults --kills 200 --seed 0
    python tests/faults --quick
    python tests/faults kills --forked

Every kind of run is disturbed, and goes on where it can. Prints a line a fault and a table; status 1 if anything
that was whole is broken afterwards, if more is lost than is stated, or if an end is not clear.
"""

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import claims
import disk
import kernel
import kill
import long
import ranks
from jobs import Skipped, all_ended, forks, prepared

PARTS = ("kills", "disk", "ranks", "kernel", "claims")  # and `long`, which takes an hour
HEADER = (
    "run",
    "killed by",
    "kills",
    "unreadable",
    "rows lost",
    "seconds lost",
    "too many",
    "other values",
    "ended in",
)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; by default all; or long, an hour")
    p.add_argument("--kills", type=int, default=200, help="so many (200)")
    p.add_argument("--seed", type=int, default=0, help="of the moments and victims (0)")
    p.add_argument("--quick", action="store_true", help="20 kills, and no silence of a minute: a few minutes in all")
    p.add_argument("--forked", action="store_true", help="kill forks of a process that has torch imported: quicker")
    arguments = p.parse_args()
    if unknown := set(arguments.parts) - {*PARTS, "long"}:
        p.error(f"there is no {', '.join(sorted(unknown))}; choose of {', '.join(PARTS)}, long")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # clean up as at any other end
    parts, begun, failed = arguments.parts or PARTS, time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, all_ended():
        folder = Path(folder)
        prepared(folder)
        with forks(folder / "forks") if arguments.forked else contextlib.nullcontext():
            if "kills" in parts:
                failed += killed(folder, 20 if arguments.quick else arguments.kills, arguments.seed)
            for module in (disk, ranks, kernel, claims, long):
                if module.__name__ in parts:
                    failed += tried(folder / module.__name__, folder, module.CASES, arguments.quick)
    say(f"{failed} failures, in {(time.monotonic() - begun) / 60:.0f} minutes")
    sys.exit(failed > 0)


def killed(folder: Path, number: int, seed: int) -> int:
    """Kill, and print what came of it; how many failures."""
    tolls = kill.kills(folder, number, random.Random(seed), say)
    total = kill.Toll()
    for toll in tolls.values():
        total.add(toll)
    lines = [HEADER]
    for (name, way), t in [*tolls.items(), (("all", ""), total)]:
        lost = (t.rows, f"{t.seconds:.2f}", t.late)
        lines.append((name, way, t.kills, t.unreadable, *lost, t.mismatches, f"{t.slowest:.1f} s"))
    widths = [max(len(str(cell)) for cell in column) for column in zip(*lines, strict=True)]
    say("")
    for line in lines:
        say("  ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    say("", *total.wrong)
    return len(total.wrong)


def tried(place: Path, nets: Path, cases, quick: bool) -> int:
    """Try cases one by one, and print what came of them; how many failed."""
    place.mkdir()
    for name in ("net.pt", "other.pt", "deep.pt", "every"):
        (place / name).symlink_to(nets / name)
    failed = 0
    for number, (title, case) in enumerate(cases.items()):
        folder = place / str(number)
        folder.mkdir()
        try:
            outcome = f"as it should be: {case(place, folder, quick)}"
        except Skipped as why:
            outcome = f"skipped: {why}"
        except Exception as error:
            failed += 1
            outcome = f"FAILED: {type(error).__name__}: {error}"
        say(f"{title}: {outcome}")
    return failed


def say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
