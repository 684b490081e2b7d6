from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autokd.hardware.meter import LatencyMeter
from autokd.hardware.profile import HardwareProfile, load_profile
from autokd.hardware.turnstile import Quiet

MakeOnnx = Callable[..., Path]


@pytest.fixture
def make_onnx(tmp_path: Path) -> MakeOnnx:
    """Writes ``y = cast(x) @ w``: input ``(batch, features)`` of the given type, output ``(batch, 10) float32``."""

    def make(
        kind: str = "float", batch: int | str = "N", features: int = 64, op: str = "MatMul", name: str = "net"
    ) -> Path:
        weights = np.random.default_rng(0).standard_normal((features, 10)).astype(np.float32)
        graph = helper.make_graph(
            [
                helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
                helper.make_node(op, ["real", "w"], ["y"]),
            ],
            "net",
            [helper.make_tensor_value_info("x", TensorProto.DataType.Value(kind.upper()), [batch, features])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 10])],
            [numpy_helper.from_array(weights, "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        path = tmp_path / f"{name}.onnx"
        onnx.save(model, path)
        return path

    return make


@pytest.fixture(scope="session")
def short() -> HardwareProfile:
    """One thread, and timings too short to be worth much."""
    return replace(load_profile("cpu_1_thread"), min_duration_s=0.01, max_duration_s=0.03, timeout_s=20.0)


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Quiet:
    """A turnstile of the tests' own, so that they neither pause nor wait for a search on this host."""
    return Quiet(tmp_path_factory.mktemp("turnstile") / "locks")


@pytest.fixture(scope="session")
def meter(short: HardwareProfile, quiet: Quiet) -> Iterator[LatencyMeter]:
    by_32 = replace(short, name="by_32", batch=32)
    with LatencyMeter([short, by_32], quiet) as meter:
        yield meter
