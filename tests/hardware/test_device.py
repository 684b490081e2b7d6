"""Everything registered under autokd.devices keeps the shipped contract; a profile names its device."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from autokd import registry
from autokd.config.load import from_dict
from autokd.config.plan import Plan, make_plan
from autokd.effort import FULL
from autokd.errors import ConfigError, HardwareError, StageFailure
from autokd.files import digest
from autokd.hardware import meter as meter_module
from autokd.hardware.device import Device, DeviceFacts, open_device
from autokd.hardware.host import cpu_model
from autokd.hardware.local import LocalDevice
from autokd.hardware.meter import LatencyMeter
from autokd.hardware.profile import (
    DeviceProfile,
    HardwareProfile,
    check_host,
    load_profile,
    pinned_cores,
    profile_of,
)
from autokd.hardware.request import timing_request
from autokd.hardware.turnstile import Quiet
from autokd.testing.devices import check_device

HERE = HardwareProfile("here")


@pytest.mark.parametrize("name", registry.names("devices"))
def test_registered_device_keeps_the_contract(name: str) -> None:
    check_device(lambda: open_device(profile_of(name="here", device=name)))


class Forgetful(LocalDevice):
    def close(self) -> None:
        forgotten.append(self)


forgotten: list[LocalDevice] = []


class Patient(LocalDevice):
    def ask(self, request: Mapping[str, Any], file: Path | None, timeout_s: float) -> dict[str, Any]:
        return super().ask({**request, "beat_s": 1.0} if timeout_s < 1 else request, file, 60.0)


class Curt(LocalDevice):
    def ask(self, request: Mapping[str, Any], file: Path | None, timeout_s: float) -> dict[str, Any]:
        reply = super().ask(request, file, timeout_s)
        if "error" in reply:
            raise StageFailure("measure", "error", reply["error"])
        return reply


class Stateless(LocalDevice):
    def facts(self) -> DeviceFacts:
        return replace(super().facts(), id=f"process-{self.process.pid}")


class Once(LocalDevice):
    def close(self) -> None:
        if self.process.returncode is not None:
            raise RuntimeError("closed already")
        super().close()


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (Forgetful, "nothing may be left running"),
        (Patient, "must be a StageFailure"),
        (Curt, "this is not a model|Protobuf"),
        (Stateless, "the same id"),
        (Once, "possible twice"),
    ],
)
def test_the_contract_catches(device: Callable[[HardwareProfile], Device], words: str) -> None:
    with pytest.raises((AssertionError, StageFailure), match=words):
        check_device(lambda: device(HERE))
    while forgotten:
        LocalDevice.close(forgotten.pop())


def test_this_hosts_clock_keeps_the_name_of_its_file(quiet: Quiet, make_onnx, tmp_path: Path) -> None:
    with LatencyMeter([HERE], quiet, tmp_path / "clocks") as meter:
        meter.measure(make_onnx(), HERE.name)
        device = meter.device_of(HERE.name)
        assert isinstance(device, LocalDevice)
        facts = device.facts()
    assert facts.id == digest([platform.node(), cpu_model()])[:16]
    assert facts.cores == len(pinned_cores(HERE)) and facts.runtime.startswith("onnxruntime ")
    assert [f.name for f in (tmp_path / "clocks").iterdir()] == [f"{facts.id}.json"]


# ------------------------------------------------------------------------------ another device behind the meter


class Board:
    """A device that is somewhere else: it answers at once, and remembers what it was asked."""

    def __init__(self, facts: DeviceFacts, beat_us: float = 10.0, dies: int = 0) -> None:
        self.greeting, self.beat_us, self.dies = facts, beat_us, dies
        self.asked: list[tuple[dict[str, Any], Path | None, float]] = []
        self.closed = 0

    def facts(self) -> DeviceFacts:
        return self.greeting

    def ask(self, request: Mapping[str, Any], file: Path | None, timeout_s: float) -> dict[str, Any]:
        self.asked.append((dict(request), file, timeout_s))
        if file and self.dies:
            self.dies -= 1
            raise StageFailure("measure", "lost_worker", "no route to board")
        times = {"p50_ms": 2.0, "p90_ms": 3.0, "spread": 0.01, "count": 30, "peak_memory_bytes": 7, "cpu_s": 0.0}
        return {**times, "beat_us": 10.0 if file is None else self.beat_us}

    def close(self) -> None:
        self.closed += 1


def test_the_meter_gives_a_board_the_file_and_itself_keeps_the_policy(quiet: Quiet, tmp_path: Path) -> None:
    board = Board(DeviceFacts("kitchen", cores=3), beat_us=10.2)
    profile, file = HardwareProfile("board", threads=0, timeout_s=7.0), tmp_path / "net.onnx"
    with LatencyMeter([profile], quiet, tmp_path / "clocks", device=lambda profile: board) as meter:
        timed = meter.measure(file, "board")
        assert timed.clock_factor == pytest.approx(10.0 / 10.2)
        assert timed.p50_ms == pytest.approx(2.0 * 10.0 / 10.2)
    (request, given, timeout_s), calibration = board.asked
    calibration_s = meter_module.CALIBRATION_S
    assert request == timing_request(file, profile, FULL, 0.0) | {"threads": 3}
    assert (given, timeout_s) == (file.resolve(), 7.0) and "path" not in request
    assert calibration == ({"beat_s": calibration_s}, None, max(7.0, 10 * calibration_s))
    assert board.closed == 1
    assert [f.name for f in (tmp_path / "clocks").iterdir()] == ["kitchen.json"]


def test_two_devices_have_two_clocks(quiet: Quiet, tmp_path: Path) -> None:
    boards = {"near": Board(DeviceFacts("near"), 10.1), "far": Board(DeviceFacts("far"), 9.9)}
    profiles = [HardwareProfile(name) for name in boards]
    with LatencyMeter(profiles, quiet, tmp_path, device=lambda profile: boards[profile.name]) as meter:
        factors = [meter.measure(tmp_path / "net.onnx", name).clock_factor for name in boards]
    assert factors == pytest.approx([10 / 10.1, 10 / 9.9])
    assert sorted(f.name for f in tmp_path.iterdir()) == ["far.json", "near.json"]


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_lost_board_is_opened_once_more(quiet: Quiet, tmp_path: Path, deaths: int) -> None:
    opened: list[Board] = []

    def fresh(profile: HardwareProfile) -> Board:
        opened.append(Board(DeviceFacts("board"), dies=1 if len(opened) < deaths else 0))
        return opened[-1]

    with LatencyMeter([HERE], quiet, device=fresh) as meter:
        if deaths == 1:
            assert meter.measure(tmp_path / "net.onnx", "here").count == 30
        else:
            with pytest.raises(StageFailure, match="no route"):
                meter.measure(tmp_path / "net.onnx", "here")
    assert [board.closed for board in opened] == [1, 1]


def test_a_board_whose_peak_cannot_be_reset_is_opened_for_every_file(quiet: Quiet, tmp_path: Path) -> None:
    opened: list[Board] = []

    def fresh(profile: HardwareProfile) -> Board:
        opened.append(Board(DeviceFacts("board", resets_peak=False)))
        return opened[-1]

    with LatencyMeter([HERE], quiet, device=fresh) as meter:
        for _ in range(3):
            assert meter.measure(tmp_path / "net.onnx", "here").peak_memory_bytes == 7
    files = [[file for _, file, _ in board.asked if file] for board in opened]
    assert [len(asked) for asked in files if asked] == [1, 1, 1]
    assert all(board.closed for board in opened)


@pytest.mark.parametrize("id", ["", "../up", "a b", "http://board:80", ".hidden"])
def test_an_id_that_cannot_name_a_file_is_refused(id: str) -> None:
    with pytest.raises(HardwareError, match="id must be"):
        DeviceFacts(id)


# ----------------------------------------------------------------------------------- a profile names its device


def nearby(profile: HardwareProfile) -> Board:
    """A person's own device."""
    return Board(DeviceFacts("nearby"))


def test_a_profile_names_its_device(quiet: Quiet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (file := tmp_path / "mine.yaml").write_text("# Mine\ndevice: test_device:nearby\nmachine: pdp11\n")
    profile = load_profile(str(file))
    assert profile == DeviceProfile("mine", "Mine", machine="pdp11", device="test_device:nearby")
    check_host(profile)  # this host need not be a pdp11
    with LatencyMeter([profile], quiet) as meter:
        assert meter.measure(tmp_path / "net.onnx", "mine").p50_ms == 2.0


@pytest.mark.parametrize(
    ("name", "words"), [("locale", "Did you mean 'local'"), ("no_such:thing", "no_such"), ("3", "must be text")]
)
def test_an_unknown_device_is_refused_with_its_line(tmp_path: Path, name: str, words: str) -> None:
    (file := tmp_path / "mine.yaml").write_text(f"threads: 1\ndevice: {name}\n")
    with pytest.raises(ConfigError, match=words) as caught:
        load_profile(str(file))
    assert str(caught.value).startswith(f"{file}:2: ")
    with pytest.raises(ConfigError):
        check_host(profile_of(name="mine", device=name))


def test_a_profile_of_this_host_is_in_plans_and_keys_as_it_always_was(tmp_path: Path) -> None:
    (file := tmp_path / "cpu_1_thread.yaml").write_text("# One thread\ndevice: local\n")
    assert "device" not in asdict(load_profile(str(file))) and load_profile(str(file)).device == "local"
    assert digest(asdict(HERE)) == "c92aeb27cb82bc84d008eb5ee7a0ca54843d8429e66e84a42906d72d8e5f79ab"


def test_a_plan_keeps_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (file := tmp_path / "mine.yaml").write_text("device: test_device:nearby\ncores: [1]\n")
    plan = make_plan(
        from_dict(
            {
                "name": "devices",
                "data": {"source": "digits"},
                "teacher": {"family": "mobilenet"},
                "space": "digits",
                "hardware": ["cpu_1_thread", str(file)],
                "objectives": ["maximize accuracy", "minimize latency_ms@mine"],
            }
        )
    )
    here, mine = Plan.from_json(plan.to_json()).profiles
    assert type(here) is HardwareProfile
    assert mine == DeviceProfile("mine", cores=(1,), device="test_device:nearby")
