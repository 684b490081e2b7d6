"""An exported ONNX graph tidied: no constants as nodes, no identities, no dead ends, names made of the graph alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import numpy_helper

ROLES = {("Conv", 1): "w", ("Conv", 2): "b", ("Gemm", 1): "w", ("Gemm", 2): "b", ("MatMul", 1): "w"}


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Inlines constants, removes identities and everything that nothing reads; in place."""
    _inline_constants(model.graph)
    _drop_identities(model.graph)
    drop_dead(model.graph)
    return model


def constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Every initialiser's value by name."""
    return {i.name: numpy_helper.to_array(i) for i in graph.initializer}


def consumers(graph: onnx.GraphProto) -> Counter[str]:
    """How many node inputs and graph outputs read each value."""
    counts = Counter(name for node in graph.node for name in node.input if name)
    counts.update(o.name for o in graph.output)
    return counts


def replace_uses(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Lets every node that reads ``old`` read ``new``."""
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new


def set_constant(graph: onnx.GraphProto, name: str, value: np.ndarray) -> None:
    """Adds an initialiser, or gives an existing one another value."""
    for i in graph.initializer:
        if i.name == name:
            i.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))
            return
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))


def drop_dead(graph: onnx.GraphProto) -> None:
    """Removes nodes and initialisers that no output depends on."""
    needed = {o.name for o in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    weights = [i for i in graph.initializer if i.name in needed]
    nodes = kept[::-1]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(weights)


def _inline_constants(graph: onnx.GraphProto) -> None:
    rest = []
    for node in graph.node:
        values = [a.t for a in node.attribute if a.name == "value"]
        if node.op_type == "Constant" and values:
            graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(values[0]), node.output[0]))
        else:
            rest.append(node)
    del graph.node[:]
    graph.node.extend(rest)


def _drop_identities(graph: onnx.GraphProto) -> None:
    outputs = {o.name for o in graph.output}
    rest = []
    for node in graph.node:
        if node.op_type == "Identity" and node.output[0] not in outputs:
            replace_uses(graph, node.output[0], node.input[0])
        else:
            rest.append(node)
    del graph.node[:]
    graph.node.extend(rest)


def canonical(model: onnx.ModelProto) -> onnx.ModelProto:
    """Gives values short names by operator and position, merges equal initialisers, drops remarks; in place.

    What an exporter calls things depends on counters and on how the code is written; after this, equal graphs with
    equal weights are equal bytes.
    """
    graph = model.graph
    names = {v.name: v.name for v in (*graph.input, *graph.output)}
    values = {i.name: i for i in graph.initializer}
    contents: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    weights: list[onnx.TensorProto] = []
    for position, node in enumerate(graph.node):
        label = f"{node.op_type.lower()}{position}"
        for i, old in enumerate(node.input):
            if old in values and old not in names:
                array = np.ascontiguousarray(numpy_helper.to_array(values[old]))
                key = (values[old].data_type, tuple(values[old].dims), array.tobytes())
                if key not in contents:
                    contents[key] = f"{label}.{ROLES.get((node.op_type, i), i)}"
                    weights.append(numpy_helper.from_array(array, contents[key]))
                names[old] = contents[key]
            node.input[i] = names[old] if old else ""
        for i, old in enumerate(node.output):
            names.setdefault(old, label if i == 0 else f"{label}.out{i}")
            node.output[i] = names[old] if old else ""
        node.name = node.doc_string = ""
        del node.metadata_props[:]
        attributes = sorted(node.attribute, key=lambda a: a.name)
        del node.attribute[:]
        node.attribute.extend(attributes)
    del graph.initializer[:]
    graph.initializer.extend(weights)
    del graph.value_info[:]
    del graph.metadata_props[:]
    graph.doc_string = model.doc_string = ""
    return model
