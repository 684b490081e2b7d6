"""What macOS and Windows do not have, taken away here: the other way is taken, or one clear refusal.

Nothing of it ran on such a system.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autokd.errors import HardwareError
from autokd.hardware.agent import cores, machine, memory
from autokd.hardware.clock import HostClock
from autokd.hardware.device import DeviceFacts
from autokd.hardware.host import available_cores
from autokd.hardware.local import LocalDevice
from autokd.hardware.meter import LatencyMeter
from autokd.hardware.profile import HardwareProfile, check_here, pinned_cores
from autokd.testing.devices import check_device

NO_RESET = """
import os, runpy, sys
access = os.access
os.access = lambda path, mode: str(path) != "/proc/self/clear_refs" and access(path, mode)
"""
NO_PROC = """
from pathlib import Path
for name in ("sched_getaffinity", "sched_setaffinity"):
    delattr(os, name)
read, exists = Path.read_text, Path.exists
def read_text(self, *a, **k):
    if self.parts[:2] == ("/", "proc"):
        raise FileNotFoundError(str(self))
    return read(self, *a, **k)
Path.read_text, Path.exists = read_text, lambda self: self.parts[:2] != ("/", "proc") and exists(self)
"""
START = """
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Lacking(LocalDevice):
    """This host's agent; the code that is run before it takes something away from its process."""

    def __init__(self, profile: HardwareProfile, code: str) -> None:
        start = subprocess.Popen.__init__

        def started(self, command, **how):  # type: ignore[no-untyped-def]
            start(self, [command[0], "-c", code + START, *command[1:]], **how)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subprocess.Popen, "__init__", started)
            super().__init__(profile)


@pytest.mark.parametrize("code", [NO_RESET, NO_RESET + NO_PROC], ids=["no_reset", "no_proc"])
def test_a_system_that_lacks_it_keeps_the_contract(code: str) -> None:
    def lacking() -> Lacking:
        devices.append(Lacking(HardwareProfile("lacking"), code))
        return devices[-1]

    devices: list[Lacking] = []
    check_device(lacking)
    assert not devices[0]._facts.resets_peak  # type: ignore[union-attr]


@pytest.mark.skipif(not memory.STATUS.exists(), reason="reads /proc")
def test_where_a_peak_cannot_be_reset_each_file_has_a_process(short, quiet, make_onnx) -> None:
    devices: list[Lacking] = []

    def lacking(profile: HardwareProfile) -> Lacking:
        devices.append(Lacking(profile, NO_RESET))
        return devices[-1]

    with LatencyMeter([replace(short, name="lacking")], quiet, device=lacking) as meter:
        large = meter.measure(make_onnx(features=500_000, name="large"), "lacking").peak_memory_bytes
        small = meter.measure(make_onnx(name="small"), "lacking").peak_memory_bytes
    assert large is not None and small is not None and large > 20_000_000 > small
    assert len(devices) >= 2


def test_cores_are_counted_without_an_affinity_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr("autokd.hardware.host._cpu_quota", lambda: None)
    assert available_cores() == (0, 1, 2, 3, 4, 5)
    assert pinned_cores(HardwareProfile("two", threads=2)) == (4, 5)
    assert cores.core_count() == 6


def test_where_nothing_can_be_pinned_a_profile_that_asks_for_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = HardwareProfile("pinned", cores=(available_cores()[-1],))
    check_here(pinned)
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    check_here(HardwareProfile("any"))
    with pytest.raises(HardwareError, match=r"cannot be pinned\. Leave out `cores`"):
        check_here(pinned)
    cores.pin([0])
    assert cores.pinned() == []


def test_the_peak_where_it_cannot_be_reset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "clear_refs")
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    assert not memory.resets_peak()
    before = memory.reset_peak()
    held = bytearray(60_000_000)
    assert memory.peak_bytes() >= before > 10_000_000
    assert memory.peak_bytes() > len(held)


def test_a_processor_is_named_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: Path, *_: object, **__: object) -> str:
        raise FileNotFoundError(str(self))

    monkeypatch.setattr(Path, "read_text", nothing)
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert machine.board_name() is None and machine.cpu_model() == "arm"
    assert len(machine.device_id()) == 16
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert machine.cpu_model() is None and len(machine.device_id()) == 16


def test_the_clock_is_kept_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: str, target: Path) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    clock = HostClock(DeviceFacts("here"), tmp_path)
    assert clock.factor(10.0, lambda: 10.2) == pytest.approx(1.02)
    assert [f.name for f in tmp_path.iterdir()] == ["here.json"]
    assert json.loads((tmp_path / "here.json").read_text())["beat_us"] == 10.2


AS_ON_WINDOWS = """
import os
from autokd.hardware.agent import __main__ as agent
os.name, agent.select.select = "nt", None
print([line.decode().strip() for line in agent.lines()])
"""


def test_requests_are_read_without_select() -> None:
    """As on Windows, where ``select`` takes sockets only."""
    command = [sys.executable, "-c", AS_ON_WINDOWS]
    done = subprocess.run(command, input="one\ntwo\n", capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "['one', 'two']", done.stderr
