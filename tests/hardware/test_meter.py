from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autokd.effort import BRIEF, QUICK
from autokd.errors import ConfigError, HardwareError, StageFailure, UserError
from autokd.hardware import meter as meter_module
from autokd.hardware.local import LocalDevice
from autokd.hardware.meter import LatencyMeter, ModelFileError, timing_cpu_s
from autokd.hardware.profile import HardwareProfile
from autokd.hardware.turnstile import Quiet

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def pid_of(meter: LatencyMeter, profile: str = "cpu_1_thread") -> int | None:
    """The child process that times on a profile."""
    device = meter.device_of(profile)
    return device.process.pid if isinstance(device, LocalDevice) else None


def kill_worker(meter: LatencyMeter, profile: str, with_signal: int = 9) -> int:
    pid = pid_of(meter, profile)
    assert pid is not None
    os.kill(pid, with_signal)
    return pid


@pytest.mark.parametrize("kind", ["float", "uint8", "int64", "float16", "bool", "double"])
@pytest.mark.parametrize("batch", ["N", 1])
def test_inputs_of_every_type(meter: LatencyMeter, make_onnx, kind: str, batch: int | str) -> None:
    result = meter.measure(make_onnx(kind, batch=batch), "cpu_1_thread")
    assert 0 < result.p50_ms < 100
    assert result.p50_ms <= result.p90_ms * 1.5
    assert result.count >= 30
    assert result.spread >= 0


def test_the_worker_stays_warm_over_files(meter: LatencyMeter, make_onnx) -> None:
    meter.measure(make_onnx(name="one"), "cpu_1_thread")
    pid = pid_of(meter)
    meter.measure(make_onnx(name="two"), "cpu_1_thread")
    assert pid_of(meter) == pid


def test_the_cpu_seconds_of_a_timing_are_counted(meter: LatencyMeter, make_onnx) -> None:
    meter.measure(make_onnx(name="one"), "cpu_1_thread")
    before = timing_cpu_s()
    result = meter.measure(make_onnx(name="two"), "cpu_1_thread")
    assert result.count * result.p50_ms / 2e3 < timing_cpu_s() - before < 60


def test_a_larger_file_costs_more_time_and_memory(meter: LatencyMeter, make_onnx) -> None:
    small = meter.measure(make_onnx(features=8, name="small"), "cpu_1_thread")
    large = meter.measure(make_onnx(features=400_000, name="large"), "cpu_1_thread")
    assert large.p50_ms > 3 * small.p50_ms
    assert large.peak_memory_bytes > 400_000 * 10 * 4
    assert meter.measure(make_onnx(features=8, name="small"), "cpu_1_thread").peak_memory_bytes < 4_000_000


def test_a_batch_is_timed_as_one_call(meter: LatencyMeter, make_onnx) -> None:
    path = make_onnx(features=20_000)
    assert meter.measure(path, "by_32").p50_ms > 3 * meter.measure(path, "cpu_1_thread").p50_ms


def test_a_fixed_batch_is_not_passed_off_as_another(meter: LatencyMeter, make_onnx) -> None:
    with pytest.raises(HardwareError, match="fixed batch of 1, not 32"):
        meter.measure(make_onnx(batch=1), "by_32")


def test_quick_asks_for_less(short: HardwareProfile, quiet: Quiet, make_onnx) -> None:
    slow = replace(short, min_count=300, min_duration_s=0.001, max_duration_s=0.002, warmup=0)
    with LatencyMeter([slow], quiet) as meter:
        path = make_onnx(features=100_000)
        assert meter.measure(path, slow.name).count >= 300 > meter.measure(path, slow.name, QUICK).count >= 100


def test_brief_asks_for_a_little_and_no_memory(
    short: HardwareProfile, quiet: Quiet, make_onnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter_module, "PAUSES_S", ())  # no waits, however disturbed
    patient = replace(short, min_count=200, min_duration_s=2.0, max_duration_s=4.0, warmup=1000)
    with LatencyMeter([short, replace(patient, name="patient")], quiet) as meter:
        path = make_onnx()
        before = timing_cpu_s()
        result = meter.measure(path, "patient", BRIEF)
        assert timing_cpu_s() - before < 0.5, "a whole one takes 2.0 s of calls"
        assert result.count >= 5
        assert result.peak_memory_bytes is None
        assert result.spread >= 0 and result.p50_ms > 0
        assert meter.measure(path, short.name).peak_memory_bytes is not None


def test_a_timing_ends_once_the_file_is_clearly_slower_than_asked(
    short: HardwareProfile, quiet: Quiet, make_onnx
) -> None:
    patient = replace(short, min_count=3000, min_duration_s=1e-4, max_duration_s=2e-4)
    with LatencyMeter([patient], quiet) as meter:
        path = make_onnx()
        assert meter.measure(path, patient.name, above_ms=1e-6).count < 1500
        assert meter.measure(path, patient.name, above_ms=1e6).count >= 3000


@pytest.mark.parametrize("what", ["text", "empty", "missing", "cut", "folder"])
def test_a_file_that_is_no_model_is_the_users_to_mend(
    meter: LatencyMeter, make_onnx, tmp_path: Path, what: str
) -> None:
    path = tmp_path / "bad.onnx"
    match what:
        case "text":
            path.write_text("this is not a model\n")
        case "empty":
            path.touch()
        case "cut":
            path.write_bytes(make_onnx().read_bytes()[:-700])
        case "folder":
            path.mkdir()
    with pytest.raises(ModelFileError, match=r"must be an ONNX model, but got .*bad\.onnx") as caught:
        meter.measure(path, "cpu_1_thread")
    assert isinstance(caught.value, UserError)


def test_a_model_that_cannot_run_fails_the_stage_and_spares_the_worker(meter: LatencyMeter, make_onnx) -> None:
    meter.measure(make_onnx(), "cpu_1_thread")
    pid = pid_of(meter)
    with pytest.raises(StageFailure, match="Teleport") as caught:
        meter.measure(make_onnx(op="Teleport"), "cpu_1_thread")
    assert (caught.value.stage, caught.value.cause) == ("measure", "error")
    meter.measure(make_onnx(), "cpu_1_thread")
    assert pid_of(meter) == pid


@posix
def test_a_killed_worker_is_replaced(meter: LatencyMeter, make_onnx) -> None:
    path = make_onnx()
    meter.measure(path, "cpu_1_thread")
    pid = kill_worker(meter, "cpu_1_thread")
    assert meter.measure(path, "cpu_1_thread").count >= 30
    assert pid_of(meter) != pid


@posix
@pytest.mark.parametrize("deaths", [1, 2])
def test_a_worker_killed_while_timing_is_tried_once_more(
    short: HardwareProfile, quiet: Quiet, make_onnx, monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    profile = replace(short, min_duration_s=2.0, max_duration_s=2.0)
    path, honest, killed = make_onnx(), LocalDevice.ask, list[int]()

    def ask(device: LocalDevice, request: Any, file: Path | None, timeout_s: float) -> dict[str, Any]:
        if file and len(killed) < deaths:
            killed.append(device.process.pid)
            threading.Timer(0.3, os.kill, (device.process.pid, signal.SIGKILL)).start()  # it times for 2 s
        return honest(device, request, file, timeout_s)

    monkeypatch.setattr(LocalDevice, "ask", ask)
    with LatencyMeter([profile], quiet) as meter:
        if deaths == 1:
            assert meter.measure(path, profile.name).count > 100
        else:
            with pytest.raises(StageFailure, match="SIGKILL") as caught:
                meter.measure(path, profile.name)
            assert caught.value.cause == "lost_worker"
    assert len(set(killed)) == deaths


@posix
def test_a_stopped_worker_times_out_and_is_replaced(short: HardwareProfile, quiet: Quiet, make_onnx) -> None:
    path = make_onnx()
    with LatencyMeter([replace(short, timeout_s=5.0)], quiet) as meter:
        meter.measure(path, "cpu_1_thread")
        pid = kill_worker(meter, "cpu_1_thread", signal.SIGSTOP)
        assert meter.measure(path, "cpu_1_thread").count >= 30
        assert pid_of(meter) != pid


def test_a_file_that_takes_too_long_twice_is_a_timeout(short: HardwareProfile, quiet: Quiet, make_onnx) -> None:
    with LatencyMeter([replace(short, min_duration_s=60.0, timeout_s=0.4)], quiet) as meter:
        with pytest.raises(StageFailure, match=r"within 0\.4 s") as caught:
            meter.measure(make_onnx(), "cpu_1_thread")
        assert caught.value.cause == "timeout"
        assert pid_of(meter) is None
    assert quiet_is_free(quiet)


def quiet_is_free(quiet: Quiet) -> bool:
    free = threading.Event()

    def enter() -> None:
        with quiet.measuring():
            free.set()

    threading.Thread(target=enter, daemon=True).start()
    return free.wait(30.0)


def test_unknown_profiles_and_other_hosts_are_refused(short: HardwareProfile, quiet: Quiet, make_onnx) -> None:
    with LatencyMeter([short, replace(short, name="moon", machine="pdp11")], quiet) as meter:
        with pytest.raises(ConfigError, match="cpu_1_thread"):
            meter.measure(make_onnx(), "cpu_1_thred")
        with pytest.raises(HardwareError, match="pdp11"):
            meter.measure(make_onnx(), "moon")
    with pytest.raises(ConfigError, match="once"):
        LatencyMeter([short, short], quiet)


def test_a_closed_meter_leaves_no_process_and_may_be_used_again(
    short: HardwareProfile, quiet: Quiet, make_onnx
) -> None:
    path = make_onnx()
    with LatencyMeter([short], quiet) as meter:
        meter.measure(path, "cpu_1_thread")
        process = meter.device_of("cpu_1_thread").process
        meter.close()
        assert process.poll() is not None
        assert meter.measure(path, "cpu_1_thread").count >= 30


DRIVER = """
import sys, time
from pathlib import Path
from autokd.hardware.local import LocalDevice
from autokd.hardware.meter import LatencyMeter
from autokd.hardware.profile import load_profile
from autokd.hardware.turnstile import Quiet
meter = LatencyMeter([load_profile("cpu_1_thread")], Quiet(Path(sys.argv[2])))
meter.measure(Path(sys.argv[1]), "cpu_1_thread")
print(meter.device_of("cpu_1_thread").process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_the_worker_outlives_ctrl_c_but_not_its_driver(quiet: Quiet, make_onnx) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, make_onnx(), quiet.folder], stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    with driver.stdout:
        pid = int(driver.stdout.readline())
    os.kill(pid, signal.SIGINT)
    time.sleep(0.2)
    assert alive(pid)
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 60
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


TRAINING = """
import sys, time
from pathlib import Path
import numpy as np
from autokd.hardware.turnstile import Quiet
quiet, stop, a = Quiet(Path(sys.argv[1])), Path(sys.argv[2]), np.random.rand(200, 200)
batches = []
print("ready", flush=True)
while not stop.exists():
    with quiet.working():
        begun = time.monotonic_ns()
        a @ a
        batches.append((begun, time.monotonic_ns()))
print(*(n for batch in batches for n in batch))
"""


def test_a_training_stands_still_while_a_file_is_timed(
    short: HardwareProfile, quiet: Quiet, make_onnx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, timings = LocalDevice.ask, list[tuple[int, int]]()

    def ask(device: LocalDevice, request: Any, file: Path | None, timeout_s: float) -> dict[str, Any]:
        begun = time.monotonic_ns()
        reply = honest(device, request, file, timeout_s)
        timings.append((begun, time.monotonic_ns()))
        return reply

    monkeypatch.setattr(LocalDevice, "ask", ask)
    stop = tmp_path / "stop"
    command = [sys.executable, "-c", TRAINING, str(quiet.folder), str(stop)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    training = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=one_thread)
    assert training.stdout is not None
    try:
        assert training.stdout.readline() == "ready\n"
        with LatencyMeter([short], quiet) as meter:
            path = make_onnx(features=20_000)
            for _ in range(10):
                assert meter.measure(path, short.name).count >= 30
                time.sleep(0.05)  # a batch's turn
        stop.touch()
        numbers = list(map(int, training.communicate(timeout=60)[0].split()))
    finally:
        training.kill()
        training.wait()
        training.stdout.close()
    batches = list(zip(numbers[::2], numbers[1::2], strict=True))
    assert len(timings) >= 10
    assert not [b for b in batches for t in timings if b[0] < t[1] and t[0] < b[1]]
    assert [b for b in batches if timings[0][1] < b[0] < timings[-1][0]], "the training went on between the timings"
