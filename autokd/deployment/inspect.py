"""What an ONNX file costs, read from the file alone: size, parameters, multiply-accumulates, operators."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from autokd.errors import UserError, first_line
from autokd.files import file_sha256

WEIGHT_INPUT = {
    "Conv": 1,
    "ConvTranspose": 1,
    "ConvInteger": 1,
    "Gemm": 1,
    "MatMul": 1,
    "MatMulInteger": 1,
    "QLinearConv": 3,
    "QLinearMatMul": 3,
    "QGemm": 3,
}
SCALES = {  # inputs that hold scales and zero points
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QGemm": (1, 2, 4, 5, 7, 8),
}
SETTINGS = ("Resize", "Clip", "Pad", "Equal", "OneHot", "Greater", "Less", "Where", "Range")
COUNTED = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.INT32,
)


@dataclass(frozen=True)
class FileFacts:
    """Facts of one ONNX file.

    Args:
        size_bytes: Of the file.
        params: Trained numbers: weights and biases, neither scales and zero points nor the constants of preprocessing.
        macs: Multiply-accumulates for one sample, of convolutions and matrix products.
        ops: How often each operator occurs.
        input_dtype: E.g. ``"uint8"``.
        input_shape: Of one sample, without the batch; ``None`` where the file leaves it open.
        classes: Class names, if the file names them.
        sha256: Of the file.
    """

    size_bytes: int
    params: int
    macs: int
    ops: Mapping[str, int]
    input_dtype: str
    input_shape: tuple[int | None, ...]
    classes: tuple[str, ...]
    sha256: str


def inspect(path: Path) -> FileFacts:
    """The facts of an ONNX file.

    Raises:
        UserError: The file is no ONNX model.
    """
    try:
        model = onnx.load(path)
        if not (model.ir_version and model.graph.node and model.graph.input):  # nothing at all parses too
            raise ValueError("it holds no graph")
    except Exception as error:
        raise UserError("the file must be an ONNX model", f"{path}: {first_line(error)}") from error
    graph = model.graph
    fixed = {i.name for i in graph.initializer}
    source = next(i for i in graph.input if i.name not in fixed)
    tensor = source.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    metadata = {p.key: p.value for p in model.metadata_props}
    return FileFacts(
        size_bytes=path.stat().st_size,
        params=count_params(graph),
        macs=count_macs(model),
        ops=dict(sorted(Counter(n.op_type for n in graph.node).items())),
        input_dtype=str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))),
        input_shape=shape[1:],
        classes=tuple(str(c) for c in json.loads(metadata.get("classes", "[]"))),
        sha256=file_sha256(path),
    )


def count_params(graph: onnx.GraphProto) -> int:
    """Number of trained values in initialisers and ``ai.onnx.ml`` attributes; one that several nodes share counts once."""
    fixed = {i.name: i for i in graph.initializer}
    raw = {i.name for i in graph.input if i.name not in fixed}  # computed from the input without any weight
    counted: set[str] = set()
    for node in graph.node:
        skipped = SCALES.get(node.op_type, ())
        held = {name for i, name in enumerate(node.input) if name in fixed and i not in skipped}
        weighted = node.op_type in WEIGHT_INPUT or (node.op_type == "Gather" and node.input[0] in fixed)
        if (
            not weighted
            and all(name in raw for name in node.input if name and name not in fixed)
            and raw.intersection(node.input)
        ):
            raw.update(node.output)
        elif node.op_type not in SETTINGS:
            counted |= {name for name in held if fixed[name].data_type in COUNTED}
    # scikit-learn's converters keep the model in attributes of nodes of their own domain
    learned = sum(len(a.floats) for n in graph.node if n.domain == "ai.onnx.ml" for a in n.attribute)
    return sum(math.prod(fixed[name].dims) for name in counted) + learned


def count_macs(model: onnx.ModelProto) -> int:
    """Multiply-accumulates of one sample; a node whose shape cannot be inferred counts nothing."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    fixed = {i.name for i in single.graph.initializer}
    for value in single.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in fixed and dims and not dims[0].dim_value:
            dims[0].dim_value = 1
    for output in single.graph.output:
        if output.type.tensor_type.shape.dim:
            output.type.tensor_type.shape.dim[0].Clear()
    del single.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(single, data_prop=True).graph
    shapes = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in (*graph.input, *graph.value_info, *graph.output)
    }
    shapes |= {i.name: tuple(i.dims) for i in graph.initializer}
    return sum(_node_macs(node, shapes) for node in graph.node)


def _node_macs(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    if node.op_type not in WEIGHT_INPUT:
        return 0
    data, weight = shapes.get(node.input[0], ()), shapes.get(node.input[WEIGHT_INPUT[node.op_type]], ())
    out = shapes.get(node.output[0], ())
    if not weight or not data or not out:
        return 0
    if node.op_type == "ConvTranspose":  # every input value meets a kernel
        return math.prod(data) * math.prod(weight[1:])
    if node.op_type in ("Conv", "ConvInteger", "QLinearConv"):
        return math.prod(out) * math.prod(weight[1:])
    if node.op_type in ("Gemm", "QGemm"):
        transposed = next((a.i for a in node.attribute if a.name == "transA"), 0)
        return math.prod(out) * data[0 if transposed else 1]
    return math.prod(out) * data[-1]
