#!/usr/bin/env python3
"""Measure on two hosts, lose one of them, go on, and compare the files with that of one process.

    python tests/faults/hosts.py

Needs Linux, root, and the commands ip, unshare and nsenter. The hosts are on this machine, each with a
network, a name, processes and shared memory of its own; a cable of the kernel's joins them. Two ranks
run on each, and three times the second host is lost: its processes die, its cable is pulled, and the
cable is pulled under a launcher that ends the job when the host is silent. Status 1 if any file differs.
"""

import argparse
import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from jobs import ENVIRONMENT, ROOT, done, finished, try_kill

ADDRESSES = ("10.77.0.1", "10.77.0.2")  # seen by the two hosts only
PORT = 22
SILENCE = 10.0  # seconds after which a launcher takes a host for lost; hosts speak every second
GRACE = 20.0  # seconds for an interrupted job to end, and for what a lost host left running


class Host:
    """Namespaces that live as long as their first process, which lives as long as this one."""

    def __init__(self, name: str):
        own = os.readlink("/proc/self/ns/net")
        apart = ["unshare", "--net", "--uts", "--ipc", "--pid", "--mount-proc", "--fork", "--kill-child"]
        first = [sys.executable, __file__, "--serve", name]
        pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([*apart, *first], **pipes, env=ENVIRONMENT, text=True)
        while self.network(self.process.pid) in (None, own):
            if self.process.poll() is not None:
                complain(f"no namespaces on this machine: {self.process.stderr.read().strip()}")
            time.sleep(0.01)
        self.own = self.network(self.process.pid)
        self.inside("ip", "link", "set", "lo", "up")

    @staticmethod
    def network(pid: int) -> str | None:
        with contextlib.suppress(OSError):
            return os.readlink(f"/proc/{pid}/ns/net")

    def inside(self, *command: str) -> None:
        subprocess.run(["nsenter", f"--target={self.process.pid}", "--net", *command], check=True)

    def start(self, *command, **options) -> subprocess.Popen:
        """A process on this host."""
        child = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0]
        return subprocess.Popen(["nsenter", f"--target={child}", "--all", f"--wd={os.getcwd()}", *command], **options)

    def processes(self) -> dict[int, str]:
        """What was started here, by process number: the command lines."""
        lines = {}
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            with contextlib.suppress(OSError):
                if self.network(pid) == self.own:
                    lines[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return {pid: line for pid, line in lines.items() if line and "--serve" not in line}

    def kill(self) -> None:
        for pid in self.processes():
            try_kill(pid)

    def close(self) -> None:
        self.kill()
        self.process.stdin.close()
        self.process.wait(timeout=GRACE)


class Job:
    """A surface on two ranks of each host."""

    def __init__(self, hosts: list[Host], folder: Path, name: str, watched: bool = False):
        self.hosts, self.path, self.log = hosts, folder / name, folder / "log"
        launcher = folder / "launcher"
        launcher.write_text(
            f'#!/bin/sh\nexec {shlex.join([sys.executable, __file__])} --launch {"--watch" * watched} -- "$@"\n'
        )
        launcher.chmod(0o755)
        launch = [Path(sys.executable).parent / "mpiexec", "-launcher", "ssh", "-launcher-exec", launcher]
        where = ["-localhost", ADDRESSES[0], "-hosts", ",".join(f"{address}:2" for address in ADDRESSES), "-n", "4"]
        self.begun = time.monotonic()
        with open(self.log, "w") as log:
            self.process = hosts[0].start(
                *launch, *where, *surface(folder, name, mpi=True), stdout=log, stderr=log, env=ENVIRONMENT
            )

    def wait(self, seconds: float) -> bool:
        """Whether the job ends in that time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=seconds)
        return self.process.returncode is not None

    def signal(self, number: int) -> None:
        for pid, line in self.hosts[0].processes().items():
            if Path(line.split()[0]).name.startswith("mpiexec"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def finish(self) -> float:
        """Seconds it took, undisturbed."""
        if not self.wait(600) or self.process.returncode:
            raise SystemExit(f"an undisturbed job ended with status {self.process.returncode}:\n{self.log.read_text()}")
        return time.monotonic() - self.begun


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--patience", type=float, default=60, help="seconds for a job to end by itself (60)")
    p.add_argument("--serve", metavar="NAME", help=argparse.SUPPRESS)
    p.add_argument("--launch", action="store_true", help=argparse.SUPPRESS)
    p.add_argument("--watch", action="store_true", help=argparse.SUPPRESS)
    p.add_argument("command", nargs="*", help=argparse.SUPPRESS)
    arguments = p.parse_args()
    if arguments.serve:
        serve(arguments.serve)
    elif arguments.launch:
        sys.exit(launch(arguments.command, arguments.watch))
    else:
        if sys.platform != "linux" or os.geteuid() != 0:
            complain("only root on Linux can make hosts")
        if missing := [name for name in ("ip", "unshare", "nsenter") if not shutil.which(name)]:
            complain(f"{', '.join(missing)} not found; install iproute2 and util-linux")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # let the hosts go as at any other end
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            hosts = []
            for name in ("first", "second"):
                hosts.append(Host(name))
                stack.callback(hosts[-1].close)
            join(hosts)
            sys.exit(compare(hosts, Path(folder), arguments.patience))


def compare(hosts: list[Host], folder: Path, patience: float) -> int:
    script = [sys.executable, str(ROOT / "scripts/train.py"), str(folder / "net.pt")]
    small = ["--depth", "8", "--width", "4", "--epochs", "2", "--quiet"]
    subprocess.run([*script, *small], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(surface(folder, "one.h5"), check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    whole = finished(folder / "one.h5")
    before = carried(hosts[0])
    seconds = Job(hosts, folder, "two.h5").finish()
    same = [finished(folder / "two.h5") == whole]
    say(
        f"undisturbed, 2 + 2 ranks on two hosts: {seconds:.1f} s, {(carried(hosts[0]) - before) / 1e3:.0f} kB over the "
        f"cable, {verdict(same[-1])}"
    )
    for number, (what, watched, lose) in enumerate(
        [
            ("the second host's processes die", False, hosts[1].kill),
            ("the second host's cable is pulled", False, lambda: cable(hosts[1], "down")),
            ("the cable is pulled, with a watching launcher", True, lambda: cable(hosts[1], "down")),
        ]
    ):
        say(f"{what}:")
        lost(hosts, folder / f"{number}.h5", watched, lose, patience)
        Job(hosts, folder, f"{number}.h5").finish()
        same.append(finished(folder / f"{number}.h5") == whole)
        say(f"  resumed on both hosts: {verdict(same[-1])}")
    say(f"{sum(same)} of {len(same)} files identical to that of one process")
    return int(not all(same))


def lost(hosts: list[Host], path: Path, watched: bool, lose, patience: float) -> None:
    """Run a job, lose the second host half way, see the job end, and mend the host."""
    job = Job(hosts, path.parent, path.name, watched)
    while done(path) < 0.3:
        if job.wait(0.02):
            raise SystemExit(f"the job ended before it was disturbed:\n{job.log.read_text()}")
    at, when = done(path), time.monotonic()
    lose()
    if job.wait(patience):
        say(f"  at {at:.0%} done; the job ended by itself after {time.monotonic() - when:.1f} s, {status(job)}")
    else:
        say(f"  at {at:.0%} done; the job did not end in {patience:.0f} s, with {done(path):.0%} done")
        when = time.monotonic()
        job.signal(signal.SIGINT)
        if job.wait(GRACE):
            say(f"  interrupted (SIGINT), it ended after {time.monotonic() - when:.1f} s, {status(job)}")
        else:
            job.signal(signal.SIGKILL)
            say(f"  interrupted (SIGINT), it did not end in {GRACE:.0f} s and was killed; ended: {job.wait(GRACE)}")
    hosts[0].kill()  # nothing, if the launcher has done its work
    if cut_off := ranks(hosts[1]):
        say(f"  {cut_off} ranks still run on the second host")
        cable(hosts[1], "up")
        when = time.monotonic()
        while (left := ranks(hosts[1])) and time.monotonic() - when < GRACE:
            time.sleep(0.1)
        after = f"were killed after {GRACE:.0f} s" if left else f"ended after {time.monotonic() - when:.1f} s"
        say(f"  its cable is back: they {after}")
    cable(hosts[1], "up")
    hosts[1].kill()


def surface(folder: Path, name: str, mpi: bool = False) -> list[str]:
    """The command of a surface."""
    grid = ["--x", "-1", "1", "30", "--y", "-1", "1", "30", "--quiet"]
    script = [str(ROOT / "scripts/surface.py"), str(folder / "net.pt"), str(folder / name)]
    return [sys.executable, *(["-m", "mpi4py"] if mpi else []), *script, *grid]


def join(hosts: list[Host]) -> None:
    first, second = (["cable", "netns", str(host.process.pid)] for host in hosts)
    subprocess.run(["ip", "link", "add", *first, "type", "veth", "peer", *second], check=True)
    for host, address in zip(hosts, ADDRESSES, strict=True):
        host.inside("ip", "address", "add", f"{address}/24", "dev", "cable")
        cable(host, "up")


def cable(host: Host, state: str) -> None:
    host.inside("ip", "link", "set", "cable", state)


def carried(host: Host) -> int:
    """Bytes that have left a host."""
    lines = Path(f"/proc/{host.process.pid}/net/dev").read_text().splitlines()
    return next(int(line.split()[9]) for line in lines if line.split()[0] == "cable:")


def ranks(host: Host) -> int:
    return sum("surface.py" in line for line in host.processes().values())


def verdict(same: bool) -> str:
    return "identical" if same else "DIFFERENT"


def status(job: Job) -> str:
    return f"status {job.process.returncode}, {done(job.path):.0%} in the file"


def serve(name: str) -> None:
    """The first process of a host: starts what it is told over the network, as an ssh server does."""
    socket.sethostname(name)
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)  # where an MPI looks for network devices
    server = socket.create_server(("", PORT))

    def answer(connection):
        command = connection.makefile().readline()
        nowhere = subprocess.DEVNULL  # ranks are heard through mpiexec
        process = subprocess.Popen(command, shell=True, stdin=nowhere, stdout=nowhere, stderr=nowhere)
        with connection, contextlib.suppress(OSError):  # a client that is gone does not end the command
            while process.poll() is None:
                connection.sendall(b"running\n")
                time.sleep(1)
            connection.sendall(b"ended %d\n" % process.returncode)
        process.wait()

    def listen():
        while True:
            threading.Thread(target=answer, args=server.accept()[:1], daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    sys.stdin.read()  # the end of the process that made the host is the end of the host


def launch(command: list[str], watch: bool) -> int:
    """Start a command on a host, as ssh does; called by mpiexec with: options, host, command."""
    while command[0].startswith("-"):
        command = command[1:]
    host, *command = command
    with contextlib.suppress(OSError), socket.create_connection((host, PORT), timeout=SILENCE) as connection:
        connection.sendall((" ".join(command) + "\n").encode())
        for line in connection.makefile():
            if line.startswith("ended"):
                return int(line.split()[1])
    if watch:
        os.kill(os.getppid(), signal.SIGINT)  # mpiexec itself does not look at how its launchers end
    return 255


def complain(text: str) -> None:
    print(f"hosts.py: error: {text}", file=sys.stderr)
    sys.exit(2)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
