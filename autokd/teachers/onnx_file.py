"""An ONNX file as the teacher, from any framework: ``teacher: {onnx: path, input: {...}}``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from autokd.errors import ConfigError, TeacherError, first_line
from autokd.protocols import TeacherOptions
from autokd.teachers import onnx_outputs, scores
from autokd.teachers.batches import batch_size
from autokd.teachers.inputs import InputRule, lay_out

DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


class OnnxTeacher:
    """Scores raw samples with ONNX Runtime; see :func:`load`."""

    def __init__(self, path: Path, options: TeacherOptions) -> None:
        block = options.options
        self.name, self.classes, self._path = str(block.get("name") or f"onnx:{path.name}"), options.classes, path
        self._rule = InputRule.parse(block.get("input"), options.spec)
        self._kind = scores.declared(block)
        graph = _graph(path)
        self._session = _session(path, options.device)
        self._input = _only_input(self._session)
        sample = np.array(options.sample)
        values = tuple(self._rule.values(torch.from_numpy(sample[:1])).shape[1:])
        self._layout = _fit_layout(self._rule.layout, self._input.shape, values)
        size = self._input.shape[0] if self._input.shape else None
        self._fixed = size if isinstance(size, int) and size > 0 else None
        names = [o.name for o in self._session.get_outputs()]
        only = block.get("output")
        first = sample[: self._fixed] if self._fixed else sample
        outputs, count = self._run(first)
        self._read = onnx_outputs.reader(
            names,
            outputs,
            count,
            tuple(options.class_names),
            options.classes,
            onnx_outputs.graph_labels(graph),
            None if only is None else str(only),
        )
        self._kind = self._kind or scores.recognise(self._values(sample))
        self.fingerprint = _fingerprint(
            path, graph, f"{self._rule}|{self._layout}|{only}|{self._kind}|{options.classes}"
        )

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Raw ``(N, *shape)`` to ``(N, classes) float32``."""
        return scores.to_logits(self._values(inputs), str(self._kind), self.classes)

    def onnx_file(self) -> Path | None:
        """The file itself; it reads what ``teacher.input`` makes of the raw samples."""
        return self._path

    def _values(self, inputs: np.ndarray) -> np.ndarray:
        size = self._fixed or batch_size(inputs.shape[1:])
        found = []
        for start in range(0, len(inputs), size):
            raw = inputs[start : start + size]
            outputs, count = self._run(raw)
            found.append(self._read(outputs, count)[: len(raw)])
        return np.concatenate(found) if found else np.empty((0, self.classes), dtype=np.float32)

    def _run(self, raw: np.ndarray) -> tuple[Sequence[Any], int]:
        """Outputs of one call and the number of samples it was given; a fixed batch is filled up with the last."""
        if self._fixed and len(raw) < self._fixed:
            raw = np.concatenate([raw, np.repeat(raw[-1:], self._fixed - len(raw), axis=0)])
        x = lay_out(self._rule.values(torch.from_numpy(np.array(raw))), self._layout).numpy()
        dtype = DTYPES[self._input.type]
        if np.issubdtype(dtype, np.integer):
            limits = np.iinfo(dtype)
            x = np.clip(np.rint(x), limits.min, limits.max)
        feed = {self._input.name: np.ascontiguousarray(x, dtype=dtype)}
        try:
            return self._session.run(None, feed), len(raw)
        except Exception as error:  # the runtime's exceptions share no base of their own
            value = f"{self._path}: {first_line(error)}"
            raise TeacherError("The teacher's ONNX file must run on the data", value, "State teacher.input.") from error


def load(options: TeacherOptions) -> OnnxTeacher:
    """An ONNX classifier from any framework; reads the raw samples unless ``teacher.input`` says otherwise.

    Keys of the ``teacher:`` block: ``onnx`` (the path), ``input`` (see :class:`InputRule`), ``output`` (name of the
    output with the scores, where there are several) and ``scores`` (``logits`` or ``probabilities``, where recognising
    them fails). Input is flattened when the file's is two-dimensional and goes channels last when its static shape says
    so; a fixed batch size is kept to. Label outputs beside the scores, ZipMap and single-column binary scores are
    understood.

    Raises:
        ConfigError: ``onnx``, ``input``, ``output`` or ``scores`` is wrong.
        TeacherError: The file cannot be read or run, has several inputs, or no output with scores.
    """
    value = options.options.get("onnx")
    if not isinstance(value, str | Path):
        raise ConfigError("teacher.onnx must be the path of an ONNX file", repr(value))
    path = Path(value).expanduser()
    if not path.is_file():
        raise TeacherError("The teacher's ONNX file must exist", str(path), "Check teacher.onnx.")
    return OnnxTeacher(path, options)


def _graph(path: Path) -> onnx.GraphProto:
    try:
        return onnx.load(str(path), load_external_data=False).graph
    except (DecodeError, OSError, ValueError) as error:
        raise TeacherError(
            "The teacher must be a valid ONNX file", f"{path}: {first_line(error)}", "Export it again."
        ) from error


def _session(path: Path, device: str) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()  # one setting governs torch and ONNX teachers
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 3
    wanted = ["CUDAExecutionProvider"] if device == "cuda" else []
    providers = [p for p in [*wanted, "CPUExecutionProvider"] if p in ort.get_available_providers()]
    try:
        return ort.InferenceSession(str(path), settings, providers=providers)
    except Exception as error:  # the runtime's exceptions share no base of their own
        raise TeacherError(
            "The teacher must be a valid ONNX file", f"{path}: {first_line(error)}", "Export it again."
        ) from error


def _only_input(session: ort.InferenceSession) -> Any:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        found = ", ".join(f"{i.name} {i.type}" for i in inputs[:5]) + (" ..." if len(inputs) > 5 else "")
        mend = "Export it with one tensor that holds all features (skl2onnx: convert from an array, not a data frame)."
        raise TeacherError("The teacher's ONNX file must have one input", f"{len(inputs)}: {found}", mend)
    if inputs[0].type not in DTYPES:
        raise TeacherError("The teacher's input must be a tensor of numbers", f"{inputs[0].name}: {inputs[0].type}")
    return inputs[0]


def _fit_layout(layout: str | None, declared: Sequence[Any], values: tuple[int, ...]) -> str | None:
    """The layout in which values of shape ``(N, *values)`` fit the file's declared input."""
    static = [d if isinstance(d, int) and d > 0 else None for d in declared][1:]
    for option in [layout] if layout else [None, "NHWC", "NHW", "NF"]:
        if option in {"NHWC", "NHW"} and (len(values) != 3 or (option == "NHW" and values[0] != 1)):
            continue
        shape = tuple(lay_out(torch.empty(1, *values), option).shape[1:])
        if not declared or (
            len(shape) == len(static) and all(s in (None, n) for s, n in zip(static, shape, strict=True))
        ):
            return option
    wanted = "(N, " + ", ".join(str(s or "any") for s in static) + ")"
    given = "(N, " + ", ".join(map(str, values)) + ")"
    mend = "State teacher.input: size for images of another size, layout (NCHW, NHWC, NHW, NF) for another order."
    raise TeacherError(f"The data must fit the teacher's input {wanted}", given, mend)


def _fingerprint(path: Path, graph: onnx.GraphProto, identity: str) -> str:
    outside = {ExternalDataInfo(t).location for t in graph.initializer if uses_external_data(t)}
    found = hashlib.sha256(identity.encode())
    for file in [path, *(path.parent / name for name in sorted(outside))]:
        with file.open("rb") as stream:
            found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()


def _invalid(path: Path, error: Exception) -> TeacherError:
    return TeacherError("The teacher must be a valid ONNX file", f"{path}: {first_line(error)}", "Export it again.")
