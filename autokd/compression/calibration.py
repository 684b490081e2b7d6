"""The range of every value inside an ONNX file, observed on calibration data."""

from __future__ import annotations

import copy
import math

import numpy as np
import onnx
import onnxruntime

MAX_BATCH = 64
MAX_VALUES = 4_000_000  # raw values a batch, so that large pictures do not fill the memory


def ranges(model: onnx.ModelProto, inputs: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Smallest and largest value of every float tensor, by name, as 0-d float32 arrays.

    Args:
        model: With inferred types (``value_info``).
        inputs: Raw calibration samples ``(N, *shape)``, N > 0.
    """
    probe = copy.deepcopy(model)
    graph = probe.graph
    names = [
        v.name
        for v in (*graph.input, *graph.value_info, *graph.output)
        if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    ]
    del graph.output[:]
    outputs = []
    for i, name in enumerate(names):
        for kind in ("Min", "Max"):
            outputs.append(f"{kind}{i}")
            graph.node.append(onnx.helper.make_node(f"Reduce{kind}", [name], [outputs[-1]], keepdims=0))
            graph.output.append(onnx.helper.make_tensor_value_info(outputs[-1], onnx.TensorProto.FLOAT, ()))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, ["CPUExecutionProvider"])
    batch = max(1, min(MAX_BATCH, MAX_VALUES // max(1, math.prod(inputs.shape[1:]))))
    source = graph.input[0].name
    rows = [
        session.run(outputs, {source: np.ascontiguousarray(inputs[i : i + batch])})
        for i in range(0, len(inputs), batch)
    ]
    found = np.array(rows, np.float32)
    low, high = found[:, 0::2].min(0), found[:, 1::2].max(0)
    return {name: (np.asarray(low[i]), np.asarray(high[i])) for i, name in enumerate(names)}
