"""Shapes that do not depend on the batch, computed once here instead of at every call on the device."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime

from autokd.deployment.graph import drop_dead, set_constant

Inputs = Mapping[str, tuple[tuple[int, ...], str]]
BATCHES = (1, 3)
SIZES = 3  # Resize's input of that index
KEPT = (  # quantized weights stay integers; noise stays noise
    "QuantizeLinear",
    "DequantizeLinear",
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Multinomial",
)


def freeze_shapes(model: onnx.ModelProto, inputs: Inputs) -> int:
    """Replaces chains of Shape, Slice, Concat ... by constants; in place.

    What a tracer leaves behind for ``interpolate(size=...)`` or ``x.view(x.size(0), -1)`` is run for two batch sizes.
    What comes out the same is a constant; a Reshape that follows the batch gets 0 or -1 there, a Resize gets scales.

    Args:
        model: Reads ``(N, *shape)`` in the dtype of each of its inputs.
        inputs: Shape of one sample and dtype, by the input's name.

    Returns:
        How many values became constants.
    """
    graph = model.graph
    wanted, resized = _frontier(graph)
    if not wanted:
        return 0
    small, large = _run(model, (*wanted, *resized), inputs)
    frozen = 0
    for name in wanted:
        if np.array_equal(small[name], large[name]):
            set_constant(graph, f"{name}.frozen", small[name])
            for node in graph.node:
                for i, read in enumerate(node.input):
                    if read == name:
                        node.input[i] = f"{name}.frozen"
            frozen += 1
            continue
        for node in graph.node:
            if node.op_type == "Reshape" and node.input[1] == name:
                frozen += _freeze_reshape(graph, node, small[name], large[name])
            elif node.op_type == "Resize" and len(node.input) > SIZES and node.input[SIZES] == name:
                _freeze_resize(graph, node, small[node.input[0]].shape, small[name])
                frozen += 1
    drop_dead(graph)
    return frozen


def _frontier(graph: onnx.GraphProto) -> tuple[list[str], list[str]]:
    """Values made from shapes and constants alone that other nodes read, and the data that Resize nodes read."""
    fixed = {i.name for i in graph.initializer}
    static: set[str] = set()
    for node in graph.node:
        reads = [name for name in node.input if name]
        if node.op_type == "Shape" or (node.op_type not in KEPT and all(r in static or r in fixed for r in reads)):
            static.update(node.output)
    wanted: list[str] = []
    resized: list[str] = []
    for node in graph.node:
        if static.issuperset(node.output):
            continue
        found = [name for name in node.input if name in static]
        wanted += [name for name in found if name not in wanted]
        if found and node.op_type == "Resize":
            resized.append(node.input[0])
    return wanted, resized


def _run(
    model: onnx.ModelProto, names: tuple[str, ...], inputs: Inputs
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    probe = copy.deepcopy(model)
    known = {v.name for v in (*probe.graph.input, *probe.graph.output)}
    asked = [name for name in dict.fromkeys(names) if name not in known]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in asked)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, ["CPUExecutionProvider"])
    results = []
    for batch in BATCHES:
        data = {name: np.zeros((batch, *shape), dtype) for name, (shape, dtype) in inputs.items()}
        found = dict(zip(asked, session.run(asked, data), strict=True))
        results.append(found | data)
    return results[0], results[1]


def _freeze_reshape(graph: onnx.GraphProto, node: onnx.NodeProto, small: np.ndarray, large: np.ndarray) -> int:
    moving = np.flatnonzero(small != large)
    target = small.copy()
    if len(moving) != 1:
        return 0
    if -1 not in small:
        target[moving[0]] = -1
    elif moving[0] == 0 and (small[0], large[0]) == BATCHES:
        target[0] = 0  # copies the batch, which allowzero would forbid
        kept = [a for a in node.attribute if a.name != "allowzero"]
        del node.attribute[:]
        node.attribute.extend(kept)
    else:
        return 0
    node.input[1] = f"{node.output[0]}.shape"
    set_constant(graph, node.input[1], target)
    return 1


def _freeze_resize(graph: onnx.GraphProto, node: onnx.NodeProto, before: tuple[int, ...], sizes: np.ndarray) -> None:
    scales = np.array(sizes, np.float64) / np.array(before, np.float64)
    scales = scales.astype(np.float32)
    for i, (size, length) in enumerate(zip(sizes, before, strict=True)):
        # runtimes round the product down, some in float32 and some in float64
        while min(np.floor(scales[i] * np.float32(length)), np.floor(np.float64(scales[i]) * length)) < size:
            scales[i] = np.nextafter(scales[i], np.float32(np.inf))
    scales[0] = 1.0
    name = f"{node.output[0]}.scales"
    set_constant(graph, name, scales)
    data = node.input[0]
    del node.input[:]
    node.input.extend([data, "", name])
