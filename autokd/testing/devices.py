"""The contract of a device, as a test that any plug-in can run."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper

from autokd.effort import BRIEF, FULL, Effort
from autokd.errors import StageFailure
from autokd.hardware.device import Device, DeviceFacts
from autokd.hardware.profile import HardwareProfile
from autokd.hardware.request import timing_request

FEATURES = 64
TIMED = ("p50_ms", "p90_ms", "spread", "beat_us", "cpu_s", "count")
"""Numbers of a timing's reply that the meter reads, beside ``peak_memory_bytes``."""
PROFILE = HardwareProfile("contract", min_duration_s=0.01, max_duration_s=0.03)
ANSWER_S = 60.0
LONG_S = 20.0
"""A request that takes this long is given up after ``SHORT_S``."""
SHORT_S = 0.5
ENDED_S = 10.0


def check_device(open_device: Callable[[], Device]) -> None:
    """Checks what the meter relies on.

    The greeting says who it is, and so does that of the next device; a timing's reply has every number; one without the memory
    says ``None`` of it; a file that is no model, one that is not there and an impossible batch are replies with ``error`` and
    ``kind``, after which the device still answers; a request that takes too long ends as a StageFailure ``timeout`` when its
    time is over; ``close`` may be called twice, at any time, and leaves neither a process nor a thread behind.

    Args:
        open_device: Starts a device; it is called several times.

    Raises:
        AssertionError: The first clause that does not hold.
    """
    with tempfile.TemporaryDirectory(prefix="autokd-contract-") as name:
        folder = Path(name)
        with _opened(open_device) as device:
            facts = device.facts()
            _check_facts(facts)
            _hold(device.facts() == facts, "facts must stay the same")
            _check_timing(device, linear_file(folder / "net.onnx"))
            _check_errors(device, folder)
            _check_timing(device, folder / "net.onnx")
        with _opened(open_device) as device:
            _check_beat(device, linear_file(folder / "other.onnx"))  # not greeted before it is asked
            _hold(device.facts().id == facts.id, "the next device on the same machine must have the same id")
            _check_timeout(device)
        with _opened(open_device):
            pass  # closed before it greets


def linear_file(file: Path, batch: int | str = "N") -> Path:
    """Writes ``y = x @ w``: input ``(batch, 64) float32``, output ``(batch, 10) float32``."""
    weights = np.random.default_rng(0).standard_normal((FEATURES, 10)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 10])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
    return file


@contextmanager
def _opened(open_device: Callable[[], Device]) -> Iterator[Device]:
    """A device, closed twice; nothing of it is left."""
    me = psutil.Process()
    processes, threads = set(me.children(recursive=True)), set(threading.enumerate())
    device = open_device()
    try:
        yield device
    finally:
        device.close()
    try:
        device.close()
    except Exception as error:  # whatever it is
        raise AssertionError(f"close must be possible twice, but got {type(error).__name__}: {error}") from error
    gone_at = time.monotonic() + ENDED_S
    while True:
        left: set[Any] = {p for p in set(me.children(recursive=True)) - processes if _runs(p)}
        left |= {t for t in set(threading.enumerate()) - threads if t.is_alive()}
        if not left or time.monotonic() > gone_at:
            break
        time.sleep(0.05)
    for process in left:  # a test must not leave them either
        if isinstance(process, psutil.Process):
            with suppress(psutil.NoSuchProcess):
                process.kill()
    _hold(not left, f"after close nothing may be left running, but there is {left}")


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _check_facts(facts: DeviceFacts) -> None:
    _hold(isinstance(facts, DeviceFacts), f"facts must be DeviceFacts, but got {type(facts).__name__}")
    _hold(facts.cores >= 1, f"a device must have a core, but got {facts.cores}")
    _hold(bool(facts.host and facts.runtime), "a greeting must name the host and the runtime")


def _request(file: Path, effort: Effort = FULL, **more: Any) -> dict[str, Any]:
    return timing_request(file, PROFILE, effort, 0.0) | more


def _check_timing(device: Device, file: Path) -> None:
    reply = device.ask(_request(file), file, ANSWER_S)
    _hold("error" not in reply, f"a file must be timed, but got {reply.get('error')}")
    _hold(reply.get("id") == str(file), f"a reply must carry its request's id, but got {reply.get('id')}")
    for key in TIMED:
        value = reply.get(key)
        fits = isinstance(value, int | float) and 0 <= value < float("inf")
        _hold(fits, f"{key} must be a finite number of at least 0, but got {value!r}")
    _hold(0 < reply["p50_ms"] <= 1e3 * ANSWER_S, f"a call must take a while, but got {reply['p50_ms']} ms")
    _hold(reply["count"] >= PROFILE.min_count, f"min_count must be met, but got {reply['count']} calls")
    peak = reply.get("peak_memory_bytes")
    _hold(isinstance(peak, int) and peak >= 0, f"peak_memory_bytes must be a whole number, but got {peak!r}")
    brief = device.ask(_request(file, BRIEF), file, ANSWER_S)
    _hold(brief.get("peak_memory_bytes", 0) is None, "the memory must be None where it was not asked for")


def _check_errors(device: Device, folder: Path) -> None:
    (bad := folder / "bad.onnx").write_text("this is not a model\n")
    fixed = linear_file(folder / "fixed.onnx", batch=1)
    for kind, request, file in (
        ("not_onnx", _request(bad), bad),
        ("not_onnx", _request(folder / "nowhere.onnx"), folder / "nowhere.onnx"),
        ("batch", _request(fixed, batch=2), fixed),
        ("provider", _request(fixed, provider="AbacusExecutionProvider"), fixed),
        ("request", _request(fixed, optimization="wild"), fixed),
    ):
        reply = device.ask(request, file, ANSWER_S)
        _hold(bool(reply.get("error")), f"{file.name} must be answered with an error, but got {reply}")
        _hold(reply.get("kind") == kind, f"{file.name}'s kind must be {kind}, but got {reply.get('kind')}")


def _check_beat(device: Device, file: Path) -> None:
    beat = device.ask({"beat_s": 0.1}, None, ANSWER_S)
    _hold(isinstance(beat.get("beat_us"), int | float) and beat["beat_us"] > 0, f"a beat must be timed, but got {beat}")
    timed = device.ask(_request(file), file, ANSWER_S)
    apart = timed["beat_us"] / beat["beat_us"]
    _hold(0.1 < apart < 10, f"the beats between calls must be the same work, but took {apart:.2g} times as long")


def _check_timeout(device: Device) -> None:
    begun = time.monotonic()
    try:
        device.ask({"beat_s": LONG_S}, None, SHORT_S)
    except StageFailure as failure:
        _hold(failure.cause == "timeout", f"a late answer must be a timeout, but got {failure.cause}")
    else:
        raise AssertionError("a request that takes too long must be a StageFailure")
    took = time.monotonic() - begun
    _hold(took < LONG_S / 2, f"a timeout must end the ask, but it took {took:.1f} s instead of {SHORT_S} s")


def _hold(fact: bool, law: str) -> None:
    if not fact:
        raise AssertionError(law)
