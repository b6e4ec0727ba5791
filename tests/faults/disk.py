"""Disks that are full or may not be written, files that are taken away, locks, and jobs in each other's way.

The end must be clear, or the run go on; what was whole stays whole; and with the cause mended, the same command
ends with what an undisturbed run has. Cases are as in `ranks`. Those that mount a small file system need root.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

from jobs import KINDS, Failure, Job, Skipped, finished, rank, refused, starts, whole

SURFACE, TRAINING = KINDS["surface"], KINDS["training"]


def full_at_once(nets: Path, folder: Path, quick: bool) -> str:
    """There is no room for the file."""
    with mounted(folder / "disk", "size=20k") as disk:
        line = ended(Job.start(SURFACE, nets, disk / "a.h5", 2), "No space left")
        if left := [path.name for path in disk.iterdir()]:
            raise Failure(f"{line}, and yet there is {left}")
    return line


def fills_up(disk: Path, nets: Path, word: str) -> str:
    """Something else takes all the room while rows are measured into the file, and gives it back later."""
    job = Job.start(SURFACE, nets, disk / "a.h5", 2)
    starts(job, 20)
    fill(disk / "others")
    outcome = ended(job, word, or_well=True)
    (disk / "others").unlink()
    goes_on(SURFACE, nets, disk / "a.h5")
    return outcome


def full_later(nets: Path, folder: Path, quick: bool) -> str:
    """The disk fills."""
    with mounted(folder / "disk", "size=1m") as disk:
        return fills_up(disk, nets, "No space left")


def full_in_training(nets: Path, folder: Path, quick: bool) -> str:
    """The disk fills between two checkpoints."""
    with mounted(folder / "disk", "size=2m") as disk:
        job = Job.start(TRAINING, nets, disk / "a.pt")
        until(job, (disk / "a.pt").exists)
        fill(disk / "others")
        line = ended(job, "No space left")
        finished(disk / "a.pt")  # it is whole
        (disk / "others").unlink()
        goes_on(TRAINING, nets, disk / "a.pt")
    return line


def full_on_a_disk(nets: Path, folder: Path, quick: bool) -> str:
    """The same on ext4, which says only later, when it writes, that there is no room."""
    with formatted(folder / "disk", 8, "mkfs.ext4") as disk:
        return fills_up(disk, nets, "No space left")


def quota_at_once(nets: Path, folder: Path, quick: bool) -> str:
    """The quota leaves no room for the file."""
    with limited(folder / "disk", "64k") as disk:
        fill(disk / "others")
        line = ended(Job.start(SURFACE, nets, disk / "a.h5"), "quota")
        if left := [path.name for path in disk.iterdir() if path.name != "others"]:
            raise Failure(f"{line}, and yet there is {left}")
    return line


def quota_later(nets: Path, folder: Path, quick: bool) -> str:
    """The quota is used up while rows are measured."""
    with limited(folder / "disk", "4m") as disk:
        return fills_up(disk, nets, "quota")


def read_only_at_once(nets: Path, folder: Path, quick: bool) -> str:
    """The folder may not be written: nothing can begin, nothing go on, and what is finished says so."""
    with mounted(folder / "disk", "size=1m") as disk:
        begun(nets, disk / "half.h5")
        goes_on(SURFACE, nets, disk / "whole.h5")
        before = {path: path.read_bytes() for path in disk.iterdir()}
        mount("remount,ro", disk)
        for name in ("new.h5", "half.h5"):
            line = ended(Job.start(SURFACE, nets, disk / name), "Read-only")
        job = Job.start(SURFACE, nets, disk / "whole.h5")
        job.finish()
        if "complete already" not in job.complaint:
            raise Failure(f"of the finished file it said: {job.complaint}")
        if before != {path: path.read_bytes() for path in disk.iterdir()}:
            raise Failure("the files have changed")
    return line


def read_only_later(nets: Path, folder: Path, quick: bool) -> str:
    """The file system is made read-only in the midst of a run, as kernels do when a disk fails."""
    with mounted(folder / "disk", "size=1m") as disk:
        job = Job.start(SURFACE, nets, disk / "a.h5", 2)
        starts(job, 20)
        # Laid over itself: a remount fails while a file is open for writing, as the marker of a job is.
        subprocess.run(["mount", "--bind", "-o", "ro", disk, disk], check=True)
        line = ended(job, "Read-only")
        subprocess.run(["umount", disk], check=True)
        goes_on(SURFACE, nets, disk / "a.h5")
    return line


def closed_folder(nets: Path, folder: Path, quick: bool) -> str:
    """The folder may not be written by this user."""
    call = rank(SURFACE, folder / "a.h5", mpi=False, plain=True)
    if os.geteuid() == 0:  # who may write everywhere
        if not shutil.which("setpriv"):
            raise Skipped("root may write everywhere, and there is no setpriv (util-linux) to be somebody else")
        call = ["setpriv", "--reuid=65534", "--clear-groups", *call]
        for path in folder.parents[:2]:
            path.chmod(0o755)
    folder.chmod(0o555)
    try:
        return ended(Job.start(SURFACE, nets, folder / "a.h5", call=call), "Permission denied")
    finally:
        folder.chmod(0o755)


def deleted(nets: Path, folder: Path, quick: bool) -> str:
    """The file is deleted under a run."""
    job = Job.start(SURFACE, nets, folder / "a.h5", 2)
    starts(job, 20)
    (folder / "a.h5").unlink()
    line = ended(job, "a.h5")
    goes_on(SURFACE, nets, folder / "a.h5")
    return line


def replaced(nets: Path, folder: Path, quick: bool) -> str:
    """Another measurement takes the file's name under a run."""
    other = folder / "other.h5"
    Job.start(SURFACE, nets, other, call=[*rank(SURFACE, other, mpi=False), "--seed", "1"], nap=0).finish()
    content = other.read_bytes()
    job = Job.start(SURFACE, nets, folder / "a.h5", 2)
    starts(job, 20)
    os.replace(other, folder / "a.h5")
    line = ended(job, "was replaced or changed")
    if (folder / "a.h5").read_bytes() != content:
        raise Failure(f"{line}, and yet the other file has changed")
    return line


def copied_over(nets: Path, folder: Path, quick: bool) -> str:
    """An earlier state of the same file is copied over it under a run."""
    begun(nets, folder / "a.h5")
    shutil.copy(folder / "a.h5", folder / "earlier.h5")
    job = Job.start(SURFACE, nets, folder / "a.h5", 2)
    starts(job, 100)
    shutil.copy(folder / "earlier.h5", folder / "a.h5")
    line = ended(job, "was replaced or changed")
    if (folder / "a.h5").read_bytes() != (folder / "earlier.h5").read_bytes():
        raise Failure(f"{line}, and yet the copy has changed")
    goes_on(SURFACE, nets, folder / "a.h5")
    return line


def moved(nets: Path, folder: Path, quick: bool) -> str:
    """The folder is renamed under a run."""
    (folder / "here").mkdir()
    job = Job.start(SURFACE, nets, folder / "here/a.h5", 2)
    starts(job, 20)
    (folder / "here").rename(folder / "there")
    line = ended(job, "a.h5")
    goes_on(SURFACE, nets, folder / "there/a.h5")
    return line


def locked(nets: Path, folder: Path, quick: bool) -> str:
    """Another process holds every lock there is on the file, as a dead one may on a server."""
    begun(nets, folder / "a.h5")
    with open(folder / "a.h5", "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)
        goes_on(SURFACE, nets, folder / "a.h5")
    return "the run went on"


NO_LOCKS = """
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>
int flock(int file, int how) { errno = ENOLCK; return -1; }
int fcntl(int file, int command, ...) {
    va_list more; va_start(more, command); void *argument = va_arg(more, void *); va_end(more);
    if (command == F_SETLK || command == F_SETLKW || command == F_GETLK) { errno = ENOLCK; return -1; }
    return syscall(SYS_fcntl, file, command, argument);
}
int fcntl64(int file, int command, void *argument) { return fcntl(file, command, argument); }
"""


def without_locks(nets: Path, folder: Path, quick: bool) -> str:
    """The file system knows no locks: every call for one fails."""
    if not shutil.which("cc"):
        raise Skipped("no C compiler, to make every call for a lock fail")
    (folder / "locks.c").write_text(NO_LOCKS)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "locks.so", folder / "locks.c"], check=True)
    env = {"LD_PRELOAD": str(folder / "locks.so")}
    call = ["mpiexec", "-n", "2", *rank(SURFACE, folder / "a.h5", plain=True)]
    job = Job.start(SURFACE, nets, folder / "a.h5", 2, call=call, env=env, nap=0)
    job.finish()
    whole(nets, folder / "a.h5")
    return "the run went on"


def dead_elsewhere(nets: Path, folder: Path, quick: bool) -> str:
    """A job on another host has died and left its marker."""
    elsewhere(nets, folder)
    began = time.monotonic()
    job = Job.start(SURFACE, nets, folder / "a.h5", nap=0)
    job.finish()
    if "on host elsewhere" not in job.complaint or "silent for" not in job.complaint:
        raise Failure(f"it said: {job.complaint}")
    whole(nets, folder / "a.h5")
    return f"it waited, and was done after {time.monotonic() - began:.0f} s: {job.complaint.split(' / ')[0]}"


def alive_elsewhere(nets: Path, folder: Path, quick: bool) -> str:
    """A job on another host has the output."""
    marker, end = elsewhere(nets, folder), threading.Event()

    def renew():
        while not end.wait(1):
            os.utime(marker)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        before = (folder / "a.h5").read_bytes()
        line = ended(Job.start(SURFACE, nets, folder / "a.h5"), "is being written by")
    finally:
        end.set()
        thread.join()
    if before != (folder / "a.h5").read_bytes():
        raise Failure(f"{line}, and yet the file has changed")
    return line


def elsewhere(nets: Path, folder: Path) -> Path:
    """Leave a half-filled file and the marker of a job on another host."""
    begun(nets, folder / "a.h5")
    marker = folder / ".a.h5.running"
    marker.write_text(re.sub("^host=.*$", "host=elsewhere", marker.read_text(), flags=re.M))
    return marker


def at_once(nets: Path, folder: Path, quick: bool) -> str:
    """Two jobs are started on one output: one measures, the other says so."""
    for number in range(2 if quick else 6):
        out = folder / f"{number}.h5"
        jobs = [Job.start(SURFACE, nets, out, ranks) for ranks in (0, 2)]
        for job in jobs:
            if not job.wait(300):
                raise Failure("a job did not end")
        first, second = sorted(jobs, key=lambda job: job.status)
        line = refused(second, 2, "is being written by")
        if first.status:
            raise Failure(f"neither went well: {first.complaint}")
        whole(nets, out)
    return f"{number + 1} times: {line}"


def begun(nets: Path, out: Path) -> Job:
    """Leave a file that is half filled, by a run that was killed."""
    job = Job.start(SURFACE, nets, out, 1)
    starts(job, 100)
    job.kill(job.family())
    job.wait(20)
    return job


def goes_on(kind, nets: Path, out: Path) -> None:
    """The same command ends well, with the file that it should have been."""
    Job.start(kind, nets, out, 0 if kind is TRAINING else 2, nap=0).finish()
    whole(nets, out)


def ended(job: Job, word: str, or_well: bool = False) -> str:
    """Wait until a job has ended; its line, which has this word in it."""
    if not job.wait(300):
        job.kill(job.family())
        raise Failure("the job did not end")
    if or_well and job.status == 0:
        return "the run went on"
    return refused(job, 2, word)


def until(job: Job, there) -> None:
    while not there():
        if job.process.poll() is not None:
            raise Failure(f"the run ended with status {job.status}: {job.complaint}")
        time.sleep(0.02)


def fill(path: Path) -> None:
    """Take all the room that is left."""
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(512))


def mount(how: str, place: Path) -> None:
    call = ["mount", "-o", how, *([] if "remount" in how else ["-t", "tmpfs", "tmpfs"]), str(place)]
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode:
        raise Skipped(f"this system mounts none with {how}")


@contextlib.contextmanager
def mounted(place: Path, how: str):
    """A small file system in memory."""
    if os.geteuid() != 0:
        raise Skipped("only root can mount a small file system")
    place.mkdir()
    mount(how, place)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextlib.contextmanager
def formatted(place: Path, megabytes: int, make: str):
    """A small file system on a loop device."""
    if os.geteuid() != 0:
        raise Skipped("only root can mount a small file system")
    if not shutil.which(make):
        raise Skipped(f"there is no {make}")
    image = place.with_suffix(".image")
    image.touch()
    os.truncate(image, megabytes << 20)
    subprocess.run([make, "-q", str(image)], check=True, capture_output=True)
    place.mkdir()
    if subprocess.run(["mount", "-o", "loop", str(image), str(place)], capture_output=True).returncode:
        raise Skipped(f"this system mounts nothing made by {make}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        image.unlink()


@contextlib.contextmanager
def limited(place: Path, most: str):
    """A file system in which a quota, that of btrfs, leaves so much room."""
    with formatted(place, 128, "mkfs.btrfs") as disk:
        for call in (("quota", "enable", disk), ("qgroup", "limit", most, disk)):
            subprocess.run(["btrfs", *map(str, call)], check=True, capture_output=True)
        yield disk


CASES = {
    "the disk is full": full_at_once,
    "the disk fills up": full_later,
    "the disk fills up in a training": full_in_training,
    "the disk, with ext4 on it, fills up": full_on_a_disk,
    "the quota is used up": quota_at_once,
    "the quota is used up under the run": quota_later,
    "the file system is read-only": read_only_at_once,
    "the file system becomes read-only": read_only_later,
    "the folder may not be written": closed_folder,
    "the file is deleted under the run": deleted,
    "the file is replaced under the run": replaced,
    "an earlier copy is put back under the run": copied_over,
    "the folder is renamed under the run": moved,
    "another process holds the locks": locked,
    "the file system has no locks": without_locks,
    "a dead job on another host has left its marker": dead_elsewhere,
    "a living job on another host has the output": alive_elsewhere,
    "two jobs start at once": at_once,
}
