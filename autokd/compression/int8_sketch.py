"""The int8 files of an untrained graph: every plan's operators and shapes, without calibration and without quantizing a weight.

Which nodes the runtime's quantizer inserts depends on how operators are wired, not on how wide they are. So the quantizer runs on a
*thin* copy of the graph, two channels everywhere, with ranges made up; then every tensor gets its real shape and made-up integers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from autokd.compression.plans import WEIGHTED, plans
from autokd.compression.quantization import insert_qdq, quietly, shorten

THIN = 2  # one channel alone would be quantized per tensor
POOL = 1 << 18
SUFFIX = "_quantized"
SPATIAL = ("Conv", "MaxPool", "AveragePool")  # the quantizer looks at none of their attributes
POSITIVE = ("Relu", "Clip")
KEEPS_SIGN = ("MaxPool", "AveragePool", "GlobalAveragePool", "Flatten", "Resize", "Reshape")


class Int8Sketches(Mapping[str, bytes]):
    """The bytes of every plan's file, as :func:`autokd.compression.quantization.quantize` makes them, each when it is asked for.

    Their operators and shapes are exact; their sizes are right to some ten bytes a quantized value, since equal zero points share a
    tensor in a file. Whoever goes through all has alike ones once, in the order of :func:`autokd.compression.plans.plans`.

    Args:
        model: A float32 file with batch norms folded; not changed.
        types: ONNX element type of every value.
    """

    def __init__(self, model: onnx.ModelProto, types: Mapping[str, int]) -> None:
        self._full = {i.name: i for i in model.graph.initializer}
        self._attributes = {f"n{i}": node.attribute for i, node in enumerate(model.graph.node)}
        self._metadata = {p.key: p.value for p in model.metadata_props} | {"bits": "8"}
        self._types = tuple(types.items())
        self._thin = _thin(model, types).SerializeToString(deterministic=True)
        self._made: dict[str, bytes] = {}

    @property
    def plans(self) -> tuple[str, ...]:
        """Their names, two whose files are alike included; empty where nothing can be quantized."""
        return tuple(_wiring(self._thin, self._types)[2])

    def __getitem__(self, plan: str) -> bytes:
        if plan not in self._made:
            if plan not in self.plans:
                raise KeyError(plan)
            quantized = onnx.load_from_string(_quantized(self._thin, self._types, plan))
            _widen(quantized.graph, self._full, self._attributes)
            shorten(quantized)
            helper.set_model_props(quantized, dict(sorted({**self._metadata, "quantization_plan": plan}.items())))
            self._made[plan] = quantized.SerializeToString(deterministic=True)
        return self._made[plan]

    def __iter__(self) -> Iterator[str]:
        first = {_quantized(self._thin, self._types, plan): plan for plan in reversed(self.plans)}
        return iter(plan for plan in self.plans if plan in first.values())

    def __len__(self) -> int:
        return sum(1 for _ in self)


Ranges = dict[str, tuple[np.ndarray, np.ndarray]]
Types = tuple[tuple[str, int], ...]


@functools.lru_cache(maxsize=256)
def _wiring(thin: bytes, types: Types) -> tuple[onnx.ModelProto, Ranges, dict[str, tuple[str, ...]]]:
    """What all plans of a thin graph begin with. Most nets of a search are wired like one before them, only wider or narrower."""
    model = onnx.load_from_string(thin)
    return model, _ranges(model, types), plans(model.graph)


@functools.lru_cache(maxsize=1024)
def _quantized(thin: bytes, types: Types, plan: str) -> bytes:
    """The thin file of a plan."""
    model, ranges, nodes = _wiring(thin, types)
    with quietly():
        quantized = insert_qdq(model, ranges, nodes[plan])
    return quantized.SerializeToString(deterministic=True)


def _thin(model: onnx.ModelProto, types: Mapping[str, int]) -> onnx.ModelProto:
    """The graph with two channels in every layer, node names, and the types that the quantizer asks for."""
    graph = onnx.GraphProto(name=model.graph.name, doc_string=model.graph.doc_string)
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    layers = set()
    for position, node in enumerate(graph.node):
        node.name = f"n{position}"
        if node.op_type in SPATIAL:
            grouped = any(a.name == "group" and a.i > 1 for a in node.attribute)
            del node.attribute[:]
            node.attribute.extend([helper.make_attribute("group", THIN)] if grouped else [])
        if node.op_type in WEIGHTED:
            layers.update(node.input[1:])
    for place, tensor in enumerate(model.graph.initializer):
        if tensor.name in layers:
            dims = (THIN,) * min(len(tensor.dims), 2) + (1,) * (len(tensor.dims) - 2)
            values = np.linspace(0.3, 0.7 + 1e-3 * place, math.prod(dims), dtype=np.float32)
            graph.initializer.append(numpy_helper.from_array(values.reshape(dims), tensor.name))
        else:
            graph.initializer.append(tensor)
    ends = {v.name for v in (*graph.input, *graph.output)}
    graph.value_info.extend(helper.make_tensor_value_info(n, t, None) for n, t in types.items() if n not in ends)
    return onnx.ModelProto(
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        domain=model.domain,
        model_version=model.model_version,
        doc_string=model.doc_string,
        opset_import=model.opset_import,
        graph=graph,
    )


def _ranges(model: onnx.ModelProto, types: Types) -> Ranges:
    """A range for every float value, another for each, never negative behind a ReLU."""
    positive: set[str] = set()
    for node in model.graph.node:
        if node.op_type in POSITIVE or (node.op_type in KEEPS_SIGN and node.input[0] in positive):
            positive.update(node.output)
    floats = [name for name, kind in types if kind == TensorProto.FLOAT]
    return {
        name: (
            np.array(0.0 if name in positive else -1 - 0.02 * i, np.float32),
            np.array(2 + 0.01 * i, np.float32),
        )
        for i, name in enumerate(floats)
    }


def _widen(graph: onnx.GraphProto, full: Mapping[str, TensorProto], attributes: Mapping[str, Any]) -> None:
    """Real shapes for what stands for a layer's weights; integers and scales are made up, no two tensors alike."""
    held = {i.name: i for i in graph.initializer}
    restored: dict[str, onnx.NodeProto] = {}

    def put(name: str, values: np.ndarray) -> None:
        held[name].CopyFrom(numpy_helper.from_array(values, name))

    for place, node in enumerate(graph.node):
        if node.op_type in SPATIAL:
            del node.attribute[:]
            node.attribute.extend(attributes[node.name])
        if node.op_type == "DequantizeLinear":
            restored[node.output[0]] = node
            name = node.input[0]
            layer = full.get(name.removesuffix(SUFFIX))
            if name not in held or layer is None:
                continue
            dims, kind = tuple(layer.dims), helper.tensor_dtype_to_np_dtype(held[name].data_type)
            put(name, _integers(math.prod(dims), 101 * place).astype(kind).reshape(dims))
            axis = next((a.i for a in node.attribute if a.name == "axis"), None)
            if axis is not None:
                put(node.input[1], np.linspace(0.01, 0.02, dims[axis], dtype=np.float32) * np.float32(1 + place / 1000))
                put(node.input[2], np.zeros(dims[axis], kind))
    for node in graph.node:
        if node.op_type not in WEIGHTED:
            continue
        for name in node.input[1:]:
            if name in held and name in full:
                held[name].CopyFrom(full[name])
        if len(node.input) == 3 and all(name in restored for name in node.input):
            # a bias with another scale than this product would keep the runtime from fusing the layer
            data, weight, bias = (restored[name] for name in node.input)
            put(
                bias.input[1], numpy_helper.to_array(held[data.input[1]]) * numpy_helper.to_array(held[weight.input[1]])
            )


def _integers(count: int, offset: int) -> np.ndarray:
    """``(count,) int8`` from another place of one pool for each offset; no zeros."""
    return np.resize(_pool()[offset % (POOL // 2) :], count)


@functools.cache
def _pool() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.integers(1, 128, POOL) * rng.choice([-1, 1], POOL)).astype(np.int8)
