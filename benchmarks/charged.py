"""Runs a command and counts the CPU seconds of every process that descends from it, daemons included (Linux).

    python benchmarks/charged.py REPORT.json COMMAND [ARGUMENT ...]

The kernel adds a process's time to its parent's when the parent waits for it. Two kinds would escape that: orphans, which are
therefore handed to this process (``prctl(2)``, ``PR_SET_CHILD_SUBREAPER``), and children of a process that ignores ``SIGCHLD``
(Ray's raylet does), whose own count is read from ``/proc`` while they live. What outlives the command is given a few seconds and
then ended. REPORT gets the command's exit status, ``cpu_s`` and ``wall_s``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_S = 0.1
"""Between two looks at the processes: what an escaping one does after the last look before its end is lost."""
GRACE_S = 10.0
"""For daemons to end after the command."""
_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True)
class Charged:
    """What a command cost.

    Args:
        code: Exit status; negative: the signal that ended it.
        cpu_s: CPU seconds, user and system, of all its processes.
        wall_s: Seconds on the clock, until the last of them was gone.
    """

    code: int
    cpu_s: float
    wall_s: float


def run_charged(command: Sequence[str], folder: Path, output: Path, report: Path) -> Charged:
    """Run a command in a folder; its output is appended to a file.

    Raises:
        RuntimeError: The count did not come back, as when somebody killed the counting process.
    """
    with output.open("ab") as out:
        wrapped = [sys.executable, str(Path(__file__).absolute()), str(report), *command]
        subprocess.run(wrapped, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
    try:
        return Charged(**json.loads(report.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise RuntimeError(f"the CPU seconds of {command[0]} were not counted: {error}") from error


@dataclass(frozen=True)
class Process:
    """One line of ``/proc/<pid>/stat``: parent, start in clock ticks, CPU ticks of its own and of those it waited for."""

    pid: int
    parent: int
    began: int
    ticks: int

    @property
    def key(self) -> tuple[int, int]:
        """Numbers are used again; with the start they are not."""
        return self.pid, self.began


class Watch:
    """Sees what descends from this process; remembers the ticks of those whose time will reach nobody."""

    def __init__(self) -> None:
        self.escaping: dict[tuple[int, int], int] = {}

    def look(self) -> list[Process]:
        """All descendants that live now, the nearest first."""
        children: dict[int, list[Process]] = {}
        for process in _processes():
            children.setdefault(process.parent, []).append(process)
        found, parents = [], [os.getpid()]
        while parents:
            parent = parents.pop(0)
            below = children.get(parent, [])
            found += below
            parents += [p.pid for p in below]
            if below and parent != os.getpid() and _ignores_children(parent):
                self.escaping |= {p.key: p.ticks for p in below}
            else:  # one that lost its parent has a new one, who waits for it
                for process in below:
                    self.escaping.pop(process.key, None)
        return found

    def cpu_s(self) -> float:
        """CPU seconds so far, of processes that are gone."""
        waited = resource.getrusage(resource.RUSAGE_CHILDREN)
        return waited.ru_utime + waited.ru_stime + sum(self.escaping.values()) / _TICKS


def _processes() -> Iterator[Process]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
                fields = text.rpartition(")")[2].split()  # the name before it may hold anything
                yield Process(int(folder.name), int(fields[1]), int(fields[19]), sum(map(int, fields[11:15])))


def _ignores_children(pid: int) -> bool:
    """Whether the kernel throws away what its children used."""
    try:
        text = Path("/proc", str(pid), "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    mask = next((line.split()[1] for line in text.splitlines() if line.startswith("SigIgn:")), "0")
    return bool(int(mask, 16) >> (signal.SIGCHLD - 1) & 1)


def _reap(first: int, code: int | None) -> int | None:
    """Wait for whoever has ended; the first process's exit status, once it is known."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == first:
                code = os.waitstatus_to_exitcode(status)
    return code


def count(command: Sequence[str]) -> Charged:
    """Run it here: nothing else may have been run by this process before."""
    if not sys.platform.startswith("linux"):
        sys.exit("error: CPU seconds of a whole process tree are counted on Linux only")
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0):
        sys.exit(f"error: orphans cannot be adopted: {os.strerror(ctypes.get_errno())}")
    watch, began = Watch(), time.monotonic()
    first = subprocess.Popen(command)
    code: int | None = None
    ended, told = None, False
    while True:
        living = watch.look()
        code = _reap(first.pid, code)
        if code is not None:
            ended = ended or time.monotonic()
            if not living:
                break
            late = time.monotonic() - ended
            if late > GRACE_S:
                for process in living:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL if told and late > 2 * GRACE_S else signal.SIGTERM)
                told = True
        time.sleep(LOOK_S)
    first.returncode = code
    return Charged(code, watch.cpu_s(), time.monotonic() - began)


def main() -> int:
    report, *command = sys.argv[1:]
    found = count(command)
    Path(report).write_text(json.dumps({"code": found.code, "cpu_s": found.cpu_s, "wall_s": found.wall_s}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
