"""Which operators of a graph to quantize: a few plans, since only the timed file tells which is fast."""

from __future__ import annotations

import onnx

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
CHEAP = (
    "Relu",
    "Clip",
    "MaxPool",
    "Flatten",
    "Reshape",
    "Squeeze",
    "Transpose",
)  # free or a gain once their input is int8
QUANTIZABLE = (
    *WEIGHTED,
    *CHEAP,
    "Add",
    "Mul",
    "AveragePool",
    "GlobalAveragePool",
    "Concat",
    "Split",
    "Pad",
    "Unsqueeze",
    "LeakyRelu",
    "Sigmoid",
    "Softmax",
    "Resize",
)

INT8_GAIN = 6.0
"""No int8 plan is so many times faster than float32: 3.2 is the most that ``benchmarks/engine_cost.py`` has seen, and what else
runs on the core was never seen to double a time, which is not looked at twice (``autokd.hardware.meter.HOPELESS``)."""
ORDER = ("all_but_stem", "linear", "no_add", "all", "no_depthwise")
"""Plans by how often they win."""
GAINS = (1.3, 1.2, 1.1, 1.05)
"""No other plan is so many times faster than the fastest of float32 and a net's first plans in the order of ``ORDER``: one of them,
two and so on. A refusal keeps a margin beside, so it allows for 1.44 behind the first. ``benchmarks/engine_cost.py`` prints the
most that it sees: 1.34, of small convolutional nets on a CPU."""


def plans(graph: onnx.GraphProto) -> dict[str, tuple[str, ...]]:
    """Names of the nodes to quantize by plan; at most five plans, no two alike, none empty.

    - ``all``: every operator with an int8 kernel;
    - ``all_but_stem``: but the first convolution, which reads few channels and the raw picture's precision;
    - ``no_add``: no additions, products or averages either, whose int8 kernels cost more than they gain in small nets;
    - ``no_depthwise``: no depthwise convolutions in addition;
    - ``linear``: only Gemm and MatMul.

    Preprocessing (whatever comes before the first weights) and activations by weightless operators after the last stay
    in float.

    Args:
        graph: With unique node names.
    """
    inner = _after_first_weights(graph)
    full = [n for n in inner if n.op_type in QUANTIZABLE]
    convolutions = [n for n in full if n.op_type in ("Conv", "ConvTranspose")]
    stem = [n.name for n in convolutions[:1]]
    lean = [n for n in full if n.op_type in (*WEIGHTED, *CHEAP) and n.name not in stem]
    found = {
        "all": full,
        "all_but_stem": [n for n in full if n.name not in stem],
        "no_add": lean,
        "no_depthwise": [n for n in lean if not _depthwise(n)],
        "linear": [n for n in full if n.op_type in ("Gemm", "MatMul")],
    }
    chosen: dict[str, tuple[str, ...]] = {}
    for plan, nodes in found.items():
        names = tuple(n.name for n in nodes)
        if any(n.op_type in WEIGHTED for n in nodes) and names not in chosen.values():
            chosen[plan] = names
    return chosen


def _after_first_weights(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Nodes that depend on some weighted node, and the weighted nodes themselves."""
    fixed = {i.name for i in graph.initializer}
    reached: set[str] = set()
    inner = []
    for node in graph.node:
        own = node.op_type in WEIGHTED and any(name in fixed for name in node.input[1:2])
        if own or reached.intersection(node.input):
            reached.update(node.output)
            inner.append(node)
    return inner


def _depthwise(node: onnx.NodeProto) -> bool:
    return node.op_type == "Conv" and any(a.name == "group" and a.i > 1 for a in node.attribute)
