"""CPU seconds of a process and of all that it started, dead ones included."""

from __future__ import annotations

import subprocess
import sys
import time

from autokd.hardware.cpu_time import ProcessTree

BURN = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\n"


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_own_work_counts() -> None:
    tree = ProcessTree()
    before = tree.cpu_s(now=True)
    burn(0.2)
    assert 0.15 <= tree.cpu_s(now=True) - before < 0.6


def test_a_child_counts_while_it_lives_and_after() -> None:
    tree = ProcessTree()
    before = tree.cpu_s(now=True)
    child = subprocess.Popen(
        [sys.executable, "-c", BURN + "import sys\nprint('done', flush=True)\nsys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None and child.stdin is not None
    child.stdout.readline()
    alive = tree.cpu_s(now=True) - before
    assert alive >= 0.35
    child.stdin.close()
    child.wait()
    child.stdout.close()
    assert tree.cpu_s(now=True) - before >= alive - 1e-6


def test_a_killed_grandchild_is_not_forgotten() -> None:
    inner = f"{BURN}\nimport sys, time\nprint('done', flush=True)\ntime.sleep(60)"
    outer = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {inner!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\nprint(child.pid, flush=True)\nsys.stdin.read()\nchild.kill()\n"
    )
    tree = ProcessTree()
    before = tree.cpu_s(now=True)
    child = subprocess.Popen([sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdin is not None
    child.stdout.readline()
    seen = tree.cpu_s(now=True) - before
    assert seen >= 0.35
    child.stdin.close()
    child.wait()
    child.stdout.close()
    assert tree.cpu_s(now=True) - before >= seen - 1e-6


def test_a_fresh_look_is_not_taken_at_every_call() -> None:
    tree = ProcessTree()
    first = tree.cpu_s(now=True)
    burn(0.05)
    assert tree.cpu_s() == first
