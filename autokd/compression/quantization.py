"""Post-training int8: several ways to quantize a file, each timed, the fastest kept."""

from __future__ import annotations

import copy
import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import add_infer_metadata

from autokd.compression.calibration import ranges
from autokd.compression.plans import QUANTIZABLE, plans
from autokd.errors import StageFailure, StorageError
from autokd.files import write_atomic

TIE = 1.01  # of files within 1 % of the fastest, the smallest is kept


@dataclass(frozen=True)
class QuantizedFile:
    """An int8 file as written.

    Args:
        path: Where it lies.
        sha256: Of its bytes.
        size_bytes: Of the file.
        plan: Which operators are quantized; see ``autokd.compression.plans``.
        timings_ms: What ``compare`` gave for each plan.
        beside_ms: And for each of ``beside``.
    """

    path: Path
    sha256: str
    size_bytes: int
    plan: str
    timings_ms: dict[str, float]
    beside_ms: tuple[float, ...] = ()


def quantize(
    path: Path,
    calibration: np.ndarray,
    out: Path,
    compare: Callable[[Sequence[Path], Sequence[Path]], Sequence[float]],
    only: str | None = None,
    beside: Sequence[Path] = (),
) -> QuantizedFile:
    """Writes the fastest int8 version of a float32 ONNX file.

    Static QDQ: activations uint8 per tensor with minimum and maximum from the calibration data, weights int8 symmetric
    per channel, biases int32 (B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", CVPR 2018, https://arxiv.org/abs/1712.05877). Preprocessing and the scores stay
    in float; metadata is kept, ``bits`` and ``quantization_plan`` are added. Equal input gives equal bytes for each
    plan.

    Args:
        path: A float32 file with batch norms folded; its input reads ``(N, *shape)``.
        calibration: Raw samples ``(N, *shape)``.
        out: Where to write; there whole or not at all.
        compare: Milliseconds of one call of each of the plans' files, which are distinct, and of each of ``beside``; called once.
        only: Make this plan's file alone, which was the fastest of another file of the same shape; where the graph has no such
            plan all are made.
        beside: Other files to time together with the plans' files.

    Raises:
        StageFailure: Nothing in the file can be quantized, or ONNX Runtime fails at it.
        StorageError: The disk refuses.
    """
    if not len(calibration):
        raise StageFailure("quantize", "error", "calibration needs at least one sample")
    try:
        with quietly():
            candidates = _candidates(onnx.load(path), calibration, only)
    except Exception as error:  # the runtime's quantizer raises whatever comes
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise StageFailure("quantize", "error", detail) from error
    if not candidates:
        raise StageFailure("quantize", "error", "the file holds no convolution or matrix product with weights")
    with _storing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.")
    with folder:
        files = {plan: Path(folder.name) / f"{plan}.onnx" for plan in candidates}
        for plan, data in candidates.items():
            with _storing(out):
                files[plan].write_bytes(data)
        times = [float(ms) for ms in compare(list(files.values()), beside)]
        timings = dict(zip(files, times[: len(files)], strict=True))
        limit = min(timings.values()) * TIE
        best = min((p for p in files if timings[p] <= limit), key=lambda p: len(candidates[p]))
        with _storing(out):
            write_atomic(out, candidates[best], lasting=False)  # who keeps it syncs it
    data = candidates[best]
    return QuantizedFile(out, hashlib.sha256(data).hexdigest(), len(data), best, timings, tuple(times[len(files) :]))


@contextmanager
def _storing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        mend = "Free space or name another folder."
        raise StorageError(f"{out} must be writable", error.strerror or str(error), mend) from error


def _candidates(model: onnx.ModelProto, calibration: np.ndarray, only: str | None) -> dict[str, bytes]:
    """The bytes of every plan's file, alike ones once; of one plan only where it is known which."""
    for i, node in enumerate(model.graph.node):
        node.name = f"n{i}"
    chosen = plans(model.graph)
    if not chosen:
        return {}
    chosen = {only: chosen[only]} if only in chosen else chosen
    model = onnx.shape_inference.infer_shapes(model)
    observed = ranges(model, calibration)
    found: dict[str, bytes] = {}
    seen: set[str] = set()
    for plan, nodes in chosen.items():
        quantized = _quantize(model, observed, nodes)
        content = hashlib.sha256(quantized.SerializeToString(deterministic=True)).hexdigest()
        if content not in seen:
            seen.add(content)
            metadata = {p.key: p.value for p in model.metadata_props} | {"bits": "8", "quantization_plan": plan}
            onnx.helper.set_model_props(quantized, dict(sorted(metadata.items())))
            found[plan] = quantized.SerializeToString(deterministic=True)
    return found


def _quantize(
    model: onnx.ModelProto, observed: dict[str, tuple[np.ndarray, np.ndarray]], nodes: Sequence[str]
) -> onnx.ModelProto:
    quantized = insert_qdq(model, observed, nodes)
    shorten(quantized)
    return quantized


def insert_qdq(
    model: onnx.ModelProto, observed: dict[str, tuple[np.ndarray, np.ndarray]], nodes: Sequence[str]
) -> onnx.ModelProto:
    """A copy whose ``nodes`` work on integers, with the scores in float and without metadata.

    Args:
        model: With unique node names and inferred types (``value_info``).
        observed: Smallest and largest value of every float tensor.
        nodes: Names of the nodes to quantize.
    """
    copied = copy.deepcopy(model)
    add_infer_metadata(copied)  # shapes are there: spares the quantizer a round over the disk
    quantizer = QDQQuantizer(
        copied,
        True,
        False,
        QuantType.QInt8,
        QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, dict(observed)),
        list(nodes),
        [],
        list(QUANTIZABLE),
        {},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized = quantizer.model.model
    _float_scores(quantized.graph)
    quantized.producer_name, quantized.producer_version = model.producer_name, model.producer_version
    del quantized.metadata_props[:]
    return quantized


def _float_scores(graph: onnx.GraphProto) -> None:
    """Takes the scores as the last layer computes them, instead of rounding them to 256 steps."""
    made_by = {name: node for node in graph.node for name in node.output}
    for output in graph.output:
        restored = made_by[output.name]
        rounded = made_by.get(restored.input[0])
        if restored.op_type != "DequantizeLinear" or rounded is None or rounded.op_type != "QuantizeLinear":
            continue
        source = made_by[rounded.input[0]]
        readers = [n for n in graph.node if rounded.output[0] in n.input or rounded.input[0] in n.input]
        if len(readers) == 2:
            source.output[list(source.output).index(rounded.input[0])] = output.name
            graph.node.remove(restored)
            graph.node.remove(rounded)


def shorten(model: onnx.ModelProto) -> None:
    """Short names and equal initialisers merged: a tenth of a small file, at no cost in speed."""
    graph = model.graph
    names = {v.name: v.name for v in (*graph.input, *graph.output)}
    weights = {i.name: i for i in graph.initializer}
    contents: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    kept = []
    for node in graph.node:
        for i, old in enumerate(node.input):
            if old in weights and old not in names:
                tensor = weights[old]
                array = numpy_helper.to_array(tensor)
                key = (tensor.data_type, tuple(tensor.dims), array.tobytes())
                if key not in contents:
                    contents[key] = f"w{len(contents)}"
                    kept.append(numpy_helper.from_array(array, contents[key]))
                names[old] = contents[key]
            node.input[i] = names[old] if old else ""
        for i, old in enumerate(node.output):
            names.setdefault(old, f"v{len(names)}")
            node.output[i] = names[old] if old else ""
        node.name = node.doc_string = ""
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]


@contextmanager
def quietly() -> Iterator[None]:
    """The runtime's quantizer warns through the root logger about what is intended here."""
    root = logging.getLogger()
    root.addFilter(_from_quantizer)
    try:
        yield
    finally:
        root.removeFilter(_from_quantizer)


def _from_quantizer(record: logging.LogRecord) -> bool:
    return "onnxruntime" not in record.pathname
