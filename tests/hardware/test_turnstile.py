from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autokd.errors import StorageError
from autokd.hardware import turnstile
from autokd.hardware.turnstile import Quiet

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="batches are not paused on Windows")

BATCHES = """
import sys, time
from pathlib import Path
from autokd.hardware.turnstile import Quiet
quiet, out, stop = Quiet(Path(sys.argv[1])), open(sys.argv[2], "w"), Path(sys.argv[3])
print("ready", flush=True)
while not stop.exists():
    with quiet.working():
        begun = time.monotonic_ns()
        while time.monotonic_ns() - begun < 2_000_000:
            pass
        out.write(f"{begun} {time.monotonic_ns()}\\n")
"""
TIMING = """
import os, sys, time
from pathlib import Path
from autokd.hardware.turnstile import Quiet
with Quiet(Path(sys.argv[1])).measuring():
    if sys.argv[2] == "with a child":
        if os.fork() == 0:
            sys.stdout.close(); os.close(1)
            time.sleep(30)
            os._exit(0)
    print("ready", flush=True)
    time.sleep(60)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def in_thread(task: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=task, daemon=True)
    thread.start()
    return thread


def finishes(task: Callable[[], None], within_s: float = 30.0) -> bool:
    thread = in_thread(task)
    thread.join(within_s)
    return not thread.is_alive()


def enter(quiet: Quiet, how: str) -> Callable[[], None]:
    def task() -> None:
        with getattr(quiet, how)():
            pass

    return task


def test_no_batch_of_another_process_runs_during_a_timing_and_none_starves(tmp_path: Path) -> None:
    quiet, stop = Quiet(tmp_path / "locks"), tmp_path / "stop"
    workers = [start(BATCHES, quiet.folder, tmp_path / f"{i}.txt", stop) for i in range(2)]
    timings, waits = [], []
    try:
        for _ in range(15):
            asked = time.monotonic_ns()
            with quiet.measuring():
                begun = time.monotonic_ns()
                time.sleep(0.02)
                timings.append((begun, time.monotonic_ns()))
            waits.append((begun - asked) / 1e9)
            time.sleep(0.01)
    finally:
        stop.touch()
        for worker in workers:
            assert worker.wait(60) == 0
            worker.stdout.close()  # type: ignore[union-attr]
    for i in range(2):
        batches = [tuple(map(int, line.split())) for line in (tmp_path / f"{i}.txt").read_text().splitlines()]
        assert not [b for b in batches for t in timings if b[0] < t[1] and t[0] < b[1]]
        inside = [b for b in batches if timings[0][0] < b[0] < timings[-1][1]]
        assert inside, "batches must go on between the timings"
    assert max(waits) < 30.0, "a timing waits for batches in flight, not for a pause that never comes"


@pytest.mark.parametrize("how", ["alone", "with a child"])
def test_a_killed_timing_frees_the_others(tmp_path: Path, how: str) -> None:
    quiet = Quiet(tmp_path / "locks")
    timing = start(TIMING, quiet.folder, how)
    waiting = in_thread(enter(quiet, "working"))
    waiting.join(0.2)
    assert waiting.is_alive(), "the batch must wait while the other process times"
    timing.kill()
    timing.wait()
    waiting.join(20.0)  # less than the child lives
    assert not waiting.is_alive()
    timing.stdout.close()  # type: ignore[union-attr]


def test_timings_exclude_each_other_and_batches_do_not(tmp_path: Path) -> None:
    quiet = Quiet(tmp_path)
    with quiet.working():
        assert finishes(enter(quiet, "working"))
        assert not finishes(enter(quiet, "measuring"), 0.2)
    with quiet.measuring():
        assert not finishes(enter(quiet, "measuring"), 0.2)
        assert not finishes(enter(quiet, "working"), 0.2)


def test_a_timing_inside_a_batch_gives_the_batchs_place_up_and_takes_it_back(tmp_path: Path) -> None:
    def nested() -> None:
        with Quiet(tmp_path).working(), Quiet(tmp_path).working():
            with Quiet(tmp_path).measuring():  # another object on the same folder
                with Quiet(tmp_path).measuring(), Quiet(tmp_path).working():
                    timed.append(finishes(enter(Quiet(tmp_path), "working"), 0.1))
            resumed.append(finishes(enter(Quiet(tmp_path), "measuring"), 0.1))

    timed: list[bool] = []
    resumed: list[bool] = []
    assert finishes(nested)
    assert timed == [False], "nobody works while we time"
    assert resumed == [False], "our place on the floor is ours again"
    assert finishes(enter(Quiet(tmp_path), "measuring")), "and nothing is left behind"


def test_two_batches_that_time_at_once_do_not_deadlock(tmp_path: Path) -> None:
    quiet, both = Quiet(tmp_path), threading.Barrier(2)

    def batch() -> None:
        with quiet.working():
            both.wait()
            with quiet.measuring():
                pass

    threads = [in_thread(batch) for _ in range(2)]
    for thread in threads:
        thread.join(30.0)
        assert not thread.is_alive()


@pytest.mark.parametrize("how", ["working", "measuring"])
def test_an_error_releases(tmp_path: Path, how: str) -> None:
    quiet = Quiet(tmp_path)
    with pytest.raises(RuntimeError), getattr(quiet, how)():
        raise RuntimeError
    assert finishes(enter(quiet, "measuring"))


def test_it_travels_to_other_processes(tmp_path: Path) -> None:
    quiet = Quiet(tmp_path)
    with quiet.measuring():
        assert pickle.loads(pickle.dumps(quiet)).folder == quiet.folder  # noqa: S301  our own bytes


def test_the_folder_is_private_and_default_is_per_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = Quiet().folder
    assert folder == tmp_path / f"autokd-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert Quiet().folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("planted", ["file", "link", "dangling"])
def test_a_planted_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    place = tmp_path / f"autokd-{os.getuid()}"
    if planted == "file":
        place.touch()
    else:
        if planted == "link":
            (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(StorageError, match="folder of yours"):
        Quiet()


def test_a_strangers_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(StorageError, match="belongs to user"):
        Quiet(tmp_path)


# --------------------------------------------------------------------------------- where there is no fcntl: Windows


@pytest.fixture
def no_fcntl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "fcntl", None)


def test_without_fcntl_timings_exclude_each_other_and_batches_go_on(tmp_path: Path, no_fcntl: None) -> None:
    waits: list[bool] = []
    with Quiet(tmp_path).measuring():
        with Quiet(tmp_path).measuring(), Quiet(tmp_path).working():
            pass
        assert finishes(enter(Quiet(tmp_path), "working"))
        waiting = in_thread(enter(Quiet(tmp_path, waits.append), "measuring"))
        waiting.join(0.3)
        assert waiting.is_alive() and waits == [True]
    waiting.join(30.0)
    assert not waiting.is_alive() and waits == [True, False]
    assert not list(tmp_path.glob("gate*")), "this is the other way"


def test_without_fcntl_an_error_releases(tmp_path: Path, no_fcntl: None) -> None:
    quiet = Quiet(tmp_path)
    with pytest.raises(RuntimeError), quiet.measuring():
        raise RuntimeError
    assert finishes(enter(quiet, "measuring"))


def test_the_module_loads_without_fcntl() -> None:
    code = "import sys; sys.modules['fcntl'] = None; from autokd.hardware.turnstile import fcntl; print(fcntl)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "None", done.stderr
