"""A check-up of this machine: versions, devices, the profiles it can stand for, and how quiet its clock is."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autokd import registry
from autokd.effort import QUICK
from autokd.errors import AutokdError, HardwareError
from autokd.hardware.meter import LatencyMeter
from autokd.hardware.profile import HardwareProfile, check_host, describe_host, load_profile
from autokd.storage.ledger import shown_url, sqlite_file, storage_url

PACKAGES = ("numpy", "onnx", "onnxruntime", "optuna", "pandas", "ray", "nni", "scikit-learn", "streamlit", "torch")
PYTHON = (3, 11)
TIMINGS = 5
AA_SPREAD = 0.01
"""Two timings of one file during a search should agree this well."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; ``detail`` says what was found, or why it failed and the mend."""

    name: str
    ok: bool
    detail: str


def examine() -> dict[str, Any]:
    """``{"host": facts of this machine, "checks": [{"name", "ok", "detail"}]}``; a failed check never raises."""
    checks = [_python(), *_packages(), _looked("ray.tune", _ray), _nni(), _looked("torch device", _torch)]
    checks += [_profile(name) for name in registry.names("profiles")]
    checks += [_looked("folder", _folder), _looked("A/A timing", _timing), _looked("ledger", _ledger)]
    return {"host": describe_host(), "checks": [asdict(check) for check in checks]}


def _looked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except AutokdError as error:
        return Check(name, False, str(error))
    except Exception as error:  # whatever a broken installation raises is what the person wants to read
        return Check(name, False, f"{type(error).__name__}: {error}")


def _python() -> Check:
    found = platform.python_version()
    mend = "" if sys.version_info >= PYTHON else f"; autokd needs {'.'.join(map(str, PYTHON))}"
    return Check("python", not mend, found + mend)


def _packages() -> list[Check]:
    """Installed versions; nni is looked at by :func:`_nni`, because it does not exist for every platform."""
    found = []
    for name in PACKAGES:
        try:
            found.append(Check(name, True, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            if name != "nni":
                found.append(Check(name, False, "not installed; pip install autokd"))
    return found


def _nni() -> Check:
    """Without nni autokd works, but for ``sampler: nni:*``: that it is missing is no failure where it has no wheels."""
    try:
        registry.load("samplers", "nni:random")(0, {})
    except Exception as error:
        wheels = sys.platform == "win32" or (sys.platform == "linux" and platform.machine() == "x86_64")
        return Check("samplers nni:*", not wheels, f"cannot be used here: {error}")
    return Check("samplers nni:*", True, "can be used")


def _ray() -> str:
    registry.load("runners", "ray")
    return "can be imported"


def _torch() -> str:
    import torch

    if not torch.cuda.is_available():
        return f"cpu, {torch.get_num_threads()} threads; no CUDA device is visible"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return "cuda: " + ", ".join(names)


def _profile(name: str) -> Check:
    """A shipped profile of another machine is no failure."""
    label = f"profile {name}"
    try:
        check_host(load_profile(name))
    except HardwareError as error:
        return Check(label, True, f"not this machine: {error}")
    except AutokdError as error:
        return Check(label, False, str(error))
    return Check(label, True, "this machine can stand for it")


def _folder() -> str:
    with tempfile.TemporaryFile(dir=Path.cwd()) as file:
        file.write(b"autokd")
    return f"{Path.cwd()} can be written"


def _timing() -> str:
    """One small file timed a few times, as a search would: how far the medians are apart.

    Raises:
        HardwareError: Further than a search should see.
    """
    profile = HardwareProfile("this_machine", threads=1)
    with tempfile.TemporaryDirectory() as name, LatencyMeter([profile]) as meter:
        file = Path(name) / "small.onnx"
        file.write_bytes(_small_net())
        meter.measure(file, profile.name, QUICK)  # starts the worker
        times = [meter.measure(file, profile.name).p50_ms for _ in range(TIMINGS)]
    middle = sorted(times)[len(times) // 2]
    spread = (max(times) - min(times)) / 2 / middle
    text = f"{middle * 1e3:.2f} µs ± {spread:.2%} over {TIMINGS} timings of one file, one thread"
    if spread > AA_SPREAD:
        text += f"; more than {AA_SPREAD:.0%}: other work disturbs the clock, so close results cannot be told apart"
    return text


def _small_net() -> bytes:
    """A convolution of 8 channels on 1x16x16, with random weights."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(size=(8, 1, 3, 3)).astype(np.float32), "w"),
        numpy_helper.from_array(rng.normal(size=(10, 8 * 16 * 16)).astype(np.float32), "v"),
    ]
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["scores"], transB=1),
    ]
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 16, 16])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph(nodes, "small", [given], [scores], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _ledger() -> str:
    """The ledger that the commands would use; that there is none yet is no failure."""
    from autokd.storage.ledger import check_place, list_studies

    url = storage_url()
    check_place(url)
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return f"none yet; it would be {file}"
    return f"{shown_url(url)} holds {len(list_studies(url))} studies"
