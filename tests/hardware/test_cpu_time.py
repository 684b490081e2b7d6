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


def while_alive_and_after(tree: ProcessTree, program: str) -> tuple[float, float]:
    """CPU seconds once a program has written a line, and after it ended because its standard input did."""
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdin is not None
    child.stdout.readline()
    alive = tree.cpu_s(now=True)
    child.stdin.close()
    child.wait()
    child.stdout.close()
    return alive, tree.cpu_s(now=True)


def test_own_work_counts() -> None:
    tree = ProcessTree()
    before = tree.cpu_s(now=True)
    burn(0.2)
    assert 0.15 <= tree.cpu_s(now=True) - before < 0.6


def test_a_child_counts_while_it_lives_and_after() -> None:
    tree = ProcessTree()
    before = tree.cpu_s(now=True)
    alive, dead = while_alive_and_after(tree, BURN + "import sys\nprint('done', flush=True)\nsys.stdin.read()")
    assert alive - before >= 0.35
    assert dead >= alive - 1e-6


def test_a_killed_grandchild_is_not_forgotten() -> None:
    inner = f"{BURN}\nimport sys, time\nprint('done', flush=True)\ntime.sleep(60)"
    outer = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {inner!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\nprint(child.pid, flush=True)\nsys.stdin.read()\nchild.kill()\n"
    )
    tree = ProcessTree()
    before = tree.cpu_s(now=True)
    alive, dead = while_alive_and_after(tree, outer)
    assert alive - before >= 0.35
    assert dead >= alive - 1e-6


def test_a_fresh_look_is_not_taken_at_every_call() -> None:
    tree = ProcessTree()
    first = tree.cpu_s(now=True)
    burn(0.05)
    assert tree.cpu_s() == first
