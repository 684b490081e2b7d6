"""Int8 files: close in accuracy, smaller, the fastest plan kept, the same bytes every time."""

from __future__ import annotations

import json
import logging
import time

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper

from autokd.compression import quantization
from autokd.compression.calibration import ranges
from autokd.compression.fold import fold_residuals
from autokd.deployment.export import export
from autokd.deployment.verify import scores
from autokd.errors import StageFailure
from autokd.protocols import InputSpec

NAMES = [f"digit {i}" for i in range(10)]


def quantize(path, calibration, out, time_file, **more):
    """With a clock for one file."""
    return quantization.quantize(
        path, calibration, out, lambda files, beside: [time_file(file) for file in (*files, *beside)], **more
    )


def time_file(path):
    """Median milliseconds of one call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    sample = np.zeros((1, *session.get_inputs()[0].shape[1:]), np.uint8)
    times = []
    for _ in range(50):
        start = time.perf_counter()
        session.run(None, {"input": sample})
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


@pytest.fixture(scope="module")
def exported(trained, digits_spec, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return export(trained, digits_spec, NAMES, folder / "net.onnx", name="net", passes=[fold_residuals]).path


@pytest.fixture
def quantized(exported, digits, tmp_path):
    return quantize(exported, digits[0][1200:1400], tmp_path / "q.onnx", time_file)


def accuracy(path, digits):
    x, y = digits[0][1400:], digits[1][1400:]
    return float((scores(path, x).argmax(1) == y).mean())


def test_accuracy_stays(quantized, exported, digits):
    before, after = accuracy(exported, digits), accuracy(quantized.path, digits)
    assert before > 0.9
    assert abs(after - before) <= 0.02


def test_file_is_smaller_and_holds_int8_weights(exported, digits, tmp_path):
    quantized = quantize(
        exported, digits[0][:64], tmp_path / "all.onnx", lambda path: 1.0 if path.stem == "all" else 2.0
    )
    graph = onnx.load(quantized.path).graph
    assert any(i.data_type == TensorProto.INT8 and len(i.dims) == 4 for i in graph.initializer)
    assert quantized.size_bytes == quantized.path.stat().st_size < 0.6 * exported.stat().st_size


@pytest.mark.parametrize("winner", ["all", "all_but_stem", "no_add", "linear"])
def test_fastest_plan_is_kept(exported, digits, tmp_path, winner):
    seen = []

    def time_by_name(path):
        seen.append(path.stem)
        return 1.0 if path.stem == winner else 2.0

    found = quantize(exported, digits[0][:64], tmp_path / "q.onnx", time_by_name)
    assert found.plan == winner
    assert found.timings_ms == {p: 1.0 if p == winner else 2.0 for p in seen}
    assert len(seen) == len(set(seen)) <= 5
    assert {p.key: p.value for p in onnx.load(found.path).metadata_props}["quantization_plan"] == winner


def test_of_equally_fast_plans_the_smallest_file_is_kept(exported, digits, tmp_path):
    sizes = {}

    def equally(path):
        sizes[path.stem] = path.stat().st_size
        return 1.0

    found = quantize(exported, digits[0][:64], tmp_path / "q.onnx", equally)
    assert found.size_bytes == min(sizes.values()) < max(sizes.values())


def test_equal_files_are_timed_once(make_net, raw, digits, digits_spec, tmp_path):
    path = export(raw(make_net("mlp")), digits_spec, NAMES, tmp_path / "mlp.onnx", name="n").path
    found = quantize(path, digits[0][:64], tmp_path / "q.onnx", lambda p: 1.0)
    assert set(found.timings_ms) == {"all", "linear"}


def test_metadata_is_kept(quantized):
    metadata = {p.key: p.value for p in onnx.load(quantized.path).metadata_props}
    assert json.loads(metadata["classes"]) == NAMES
    assert (metadata["bits"], metadata["scores"]) == ("8", "logits")
    assert metadata["quantization_plan"] == quantized.plan


def test_same_bytes_every_time(exported, digits, tmp_path):
    hashes = {quantize(exported, digits[0][:64], tmp_path / f"{i}.onnx", lambda p: 1.0).sha256 for i in range(2)}
    assert len(hashes) == 1


def test_preprocessing_and_scores_stay_in_float(exported, digits, tmp_path):
    def full(path):
        return 1.0 if path.stem == "all" else 2.0

    found = quantize(exported, digits[0][:64], tmp_path / "q.onnx", full)
    graph = onnx.load(found.path).graph
    ops = [n.op_type for n in graph.node]
    assert ops.index("QuantizeLinear") > max(i for i, op in enumerate(ops) if op in ("Cast", "Sub", "Div"))
    assert next(n for n in graph.node if "scores" in n.output).op_type == "Gemm"
    assert graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert np.unique(scores(found.path, digits[0][:64])).size > 300  # more than 256 steps


@pytest.mark.parametrize("kind", ["plain", "residual", "depthwise", "inverted", "grouped", "mlp"])
def test_every_block_kind(make_net, raw, digits, digits_spec, tmp_path, kind):
    model = raw(make_net(kind))
    path = export(model, digits_spec, NAMES, tmp_path / "n.onnx", name="n", passes=[fold_residuals]).path
    x = digits[0][:100]
    wanted = scores(path, x)

    def keep_all(file):
        close = scores(file, x)
        assert np.abs(close - wanted).max() < 0.1 * np.abs(wanted).max()
        return 1.0

    found = quantize(path, x, tmp_path / "q.onnx", keep_all)
    assert len(found.timings_ms) <= 5


def test_is_quiet(exported, digits, tmp_path, caplog, capfd):
    with caplog.at_level(logging.INFO):
        quantize(exported, digits[0][:64], tmp_path / "q.onnx", lambda p: 1.0)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().filters == []


def test_leaves_no_other_files(quantized):
    assert [p.name for p in quantized.path.parent.iterdir()] == ["q.onnx"]


def test_an_error_of_the_timer_travels(exported, digits, tmp_path):
    def broken(path):
        raise OSError("the clock stopped")

    with pytest.raises(OSError, match="the clock stopped"):
        quantize(exported, digits[0][:64], tmp_path / "q.onnx", broken)
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_file_without_weights(digits, digits_spec, tmp_path):
    model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d((10, 1)), torch.nn.Flatten())
    spec = InputSpec("image", (1, 10, 1), "float32", (0.0,), (1.0,))
    path = export(model, spec, NAMES, tmp_path / "n.onnx", name="n").path
    with pytest.raises(StageFailure, match="no convolution") as caught:
        quantize(path, np.zeros((4, 1, 10, 1), np.float32), tmp_path / "q.onnx", lambda p: 1.0)
    assert caught.value.stage == "quantize"


def test_refuses_an_empty_calibration(exported, digits, tmp_path):
    with pytest.raises(StageFailure, match="at least one sample"):
        quantize(exported, digits[0][:0], tmp_path / "q.onnx", lambda p: 1.0)


def test_ranges_are_those_of_all_batches(exported, digits):
    model = onnx.shape_inference.infer_shapes(onnx.load(exported))
    x = digits[0][:200]
    low, high = ranges(model, x)["scores"]
    wanted = scores(exported, x)
    np.testing.assert_allclose([low, high], [wanted.min(), wanted.max()], rtol=1e-5)


def test_weights_are_symmetric_per_channel(exported, digits, tmp_path):
    found = quantize(exported, digits[0][:64], tmp_path / "q.onnx", lambda p: 1.0)
    graph = onnx.load(found.path).graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    kernels = [
        n for n in graph.node if n.op_type == "DequantizeLinear" and values.get(n.input[0], np.zeros(0)).ndim == 4
    ]
    assert kernels
    for node in kernels:
        weight, scale, zero = (values[name] for name in node.input)
        assert scale.shape == (len(weight),) and not zero.any()


def test_other_files_are_timed_together_with_the_plans(exported, digits, tmp_path):
    asked: list[list[str]] = []

    def compare(files, beside):
        asked.append([file.name for file in (*files, *beside)])
        return [float(i) for i in range(1, len(asked[0]) + 1)]

    found = quantization.quantize(exported, digits[0][:50], tmp_path / "q.onnx", compare, beside=[exported])
    (names,) = asked
    assert names[-1] == exported.name and len(names) == 1 + len(found.timings_ms)
    assert found.plan == "all" and found.beside_ms == (float(len(names)),)


def test_a_plan_that_is_known_to_be_the_fastest_is_the_only_one_made(exported, digits, tmp_path):
    timed = []

    def clock(path):
        timed.append(path.name)
        return 1.0

    done = quantize(exported, digits[0][:50], tmp_path / "q.onnx", clock, only="no_add")
    assert (done.plan, timed) == ("no_add", ["no_add.onnx"])
    every = quantize(exported, digits[0][:50], tmp_path / "r.onnx", lambda path: 1.0, only="of_another_net")
    assert len(every.timings_ms) > 1
