"""Batch norms folded into the layer before them."""

from __future__ import annotations

import numpy as np
import onnx

from autokd.deployment.graph import constants, consumers, drop_dead, set_constant

LAYERS = ("Conv", "Gemm", "MatMul")


def fold_batch_norms(model: onnx.ModelProto) -> int:
    """Folds every BatchNormalization that directly follows a Conv, Gemm or MatMul into its weights; in place.

    ``y = gamma (W x + b - mean) / sqrt(var + eps) + beta`` is one affine map, so nothing is lost. PyTorch's exporter
    does this for convolutions but not for linear layers.

    Returns:
        How many were folded.
    """
    graph = model.graph
    values, uses = constants(graph), consumers(graph)
    made_by = {o: n for n in graph.node for o in n.output}
    folded = []
    for norm in [n for n in graph.node if n.op_type == "BatchNormalization"]:
        layer = made_by.get(norm.input[0])
        if layer is None or layer.op_type not in LAYERS or uses[norm.input[0]] != 1:
            continue
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in layer.attribute}
        if (
            any(name not in values for name in (*layer.input[1:], *norm.input[1:]))
            or attributes.get("alpha", 1.0) != 1.0
        ):
            continue
        if layer.op_type == "MatMul":
            if _rank(model, layer.output[0]) != 2:
                continue  # over more axes the norm's channels are not the product's columns
            layer.op_type = "Gemm"
        gamma, beta, mean, var = (values[name].astype(np.float64) for name in norm.input[1:5])
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        scale = gamma / np.sqrt(var + epsilon)
        weight = values[layer.input[1]]
        transposed = layer.op_type == "Conv" or attributes.get("transB", 0) == 1  # outputs come first
        shape = (-1,) + (1,) * (weight.ndim - 1) if transposed else (1, -1)
        bias = values[layer.input[2]].astype(np.float64) if len(layer.input) > 2 else 0.0
        bias = bias * attributes.get("beta", 1.0)
        new_weight, new_bias = f"{norm.output[0]}.w", f"{norm.output[0]}.b"
        set_constant(graph, new_weight, (weight * scale.reshape(shape)).astype(weight.dtype))
        set_constant(graph, new_bias, ((bias - mean) * scale + beta).astype(weight.dtype))
        data = layer.input[0]
        del layer.input[:]
        layer.input.extend([data, new_weight, new_bias])
        kept = [a for a in layer.attribute if a.name != "beta"]
        del layer.attribute[:]
        layer.attribute.extend(kept)
        layer.output[0] = norm.output[0]
        folded.append(norm)
    for norm in folded:
        graph.node.remove(norm)
    drop_dead(graph)
    return len(folded)


def _rank(model: onnx.ModelProto, name: str) -> int | None:
    """Number of axes of a value, ``None`` where it cannot be inferred."""
    for value in onnx.shape_inference.infer_shapes(model).graph.value_info:
        if value.name == name and value.type.tensor_type.HasField("shape"):
            return len(value.type.tensor_type.shape.dim)
    return None
