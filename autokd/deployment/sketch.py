"""The ONNX file of an untrained module in a millisecond or two, without an exporter: all that its costs depend on.

Latency, size and multiply-accumulates follow from operators and shapes, not from weights. So the module is only *recorded*
(:mod:`autokd.deployment.tracing`; it may live on torch's meta device), channels are cut as widths, batch norms and residual
additions disappear where :mod:`autokd.deployment.export` would fold them, and the weights are slices of one pool of random
numbers. The runtime sees the operators, shapes, attributes and order of the exported file, and runs the same kernels.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import nn

from autokd.deployment.export import INPUT, OUTPUT, evaluating, label
from autokd.deployment.folding import LAYERS
from autokd.deployment.graph import ROLES
from autokd.deployment.inspect import count_params
from autokd.deployment.tape import ELEMENT, Op, Tape, Value
from autokd.deployment.tracing import record
from autokd.deployment.widths import CannotSketch, Channels, Weight
from autokd.protocols import InputSpec

__all__ = ["CannotSketch", "Sketch", "sketch"]

OPSET, IR_VERSION = 17, 8  # what the TorchScript exporter writes
POOL = 1 << 18

Left = Callable[[Sequence[nn.Module], int], int]
"""How many of so many channels stay, which these layers share; the layers are those that write the channels."""
Absorbs = Callable[[str, Sequence[int], Mapping[str, Any]], bool]
"""Whether a layer (operator, weight shape, attributes) can take the identity ``+ x`` into its weights."""


@dataclass(frozen=True)
class Sketch:
    """The untrained file.

    Args:
        model: The graph, weights included.
        data: Its bytes; as long as the exported file's.
        params: Trained numbers, as :func:`autokd.deployment.inspect.inspect` counts them.
        macs: Multiply-accumulates of one sample.
        written: Numbers that all operators together write for one sample.
        types: ONNX element type of every value, by name.
    """

    model: onnx.ModelProto
    data: bytes
    params: int
    macs: int
    written: int
    types: Mapping[str, int]


def sketch(
    module: nn.Module,
    spec: InputSpec,
    classes: Sequence[str],
    *,
    name: str,
    left: Left | None = None,
    absorbs: Absorbs | None = None,
) -> Sketch:
    """The file that :func:`autokd.deployment.export.export` would write of ``module``, its weights made up.

    Args:
        module: Reads raw values; on the meta device, or a real one whose layers may be pruned already. Only shapes are read.
        spec: The raw input.
        classes: Class names.
        name: The graph's name.
        left: Cuts channels as structured pruning would; without it all stay.
        absorbs: Which residual additions are folded away; without it none.

    Raises:
        CannotSketch: The module does something that only the exporter can express, or cuts channels that are fixed.
    """
    with evaluating(module):
        tape, source, scores = record(module, spec)
    if left is not None:
        _cut(tape.ops, left)
    _fold_batch_norms(tape, scores)
    if absorbs is not None:
        _absorb_residuals(tape, scores, absorbs)
    model, types = _write(tape, source, scores, spec)
    label(model, spec, classes, name)
    macs = sum(_macs(op) for op in tape.ops)
    written = sum(op.writes.channels.count * op.writes.repeat * math.prod(op.writes.space) for op in tape.ops)
    return Sketch(model, model.SerializeToString(deterministic=True), count_params(model.graph), macs, written, types)


# -------------------------------------------------------------------------------------------- cutting and folding


def _cut(ops: Sequence[Op], left: Left) -> None:
    groups: dict[int, Channels] = {}
    for op in ops:
        if op.weight is not None:
            root = op.weight.outputs.root
            groups[id(root)] = root
    for group in groups.values():
        count = left(group.layers, group.count)
        if count != group.count and group.fixed:
            raise CannotSketch("channels of the input or the classes cannot be cut")
        group.cut(count)


def _uses(ops: Sequence[Op], scores: Value) -> Counter[int]:
    found = Counter(id(r) for op in ops for r in op.reads if isinstance(r, Value))
    found[id(scores)] += 1
    return found


def _fold_batch_norms(tape: Tape, scores: Value) -> None:
    """As the exporter does behind convolutions and :mod:`autokd.deployment.folding` behind matrices."""
    uses, made_by = _uses(tape.ops, scores), {id(op.writes): op for op in tape.ops}
    kept = []
    for op in tape.ops:
        layer = made_by.get(id(op.reads[0])) if op.norm is not None else None
        if layer is None or layer.kind not in LAYERS or layer.weight is None or uses[id(op.reads[0])] != 1:
            kept.append(op)
            continue
        layer.kind = "Gemm" if layer.kind == "MatMul" else layer.kind
        layer.attributes.pop("beta", None)
        layer.weight.bias = True
        layer.writes = op.writes
        made_by[id(op.writes)] = layer
    tape.ops = kept


def _absorb_residuals(tape: Tape, scores: Value, absorbs: Absorbs) -> None:
    """As :mod:`autokd.compression.fold` does in the exported file."""
    uses, made_by = _uses(tape.ops, scores), {id(op.writes): op for op in tape.ops}
    kept = []
    for op in tape.ops:
        folded = False
        if op.kind == "Add":
            for branch, shortcut in ((op.reads[0], op.reads[1]), (op.reads[1], op.reads[0])):
                layer = made_by.get(id(branch))
                if (
                    layer is not None
                    and layer.weight is not None
                    and layer.reads[0] is shortcut
                    and uses[id(branch)] == 1
                    and absorbs(layer.kind, layer.weight.shape, _attributes(layer))
                ):
                    layer.writes = op.writes
                    made_by[id(op.writes)] = layer
                    folded = True
                    break
        if not folded:
            kept.append(op)
    tape.ops = kept


def _attributes(op: Op) -> dict[str, Any]:
    """With as many groups as a depthwise convolution has channels left."""
    if op.weight is not None and op.weight.inputs is None:
        return op.attributes | {"group": op.weight.outputs.count}
    return op.attributes


def _macs(op: Op) -> int:
    if op.weight is None:
        return 0
    shape = op.weight.shape
    inside = shape[0] if op.weight.transposed else math.prod(shape[1:])
    return op.weight.outputs.count * math.prod(op.writes.space) * inside


# ------------------------------------------------------------------------------------------------------ the file


@functools.cache
def _pool() -> np.ndarray:
    """Random numbers of magnitude .5 to 1.5: no zeros, nothing so small that a processor would slow down over it."""
    rng = np.random.default_rng(0)
    return (rng.uniform(0.5, 1.5, POOL) * rng.choice([-1.0, 1.0], POOL)).astype(np.float32)


class _Tensors:
    """Initialisers, and what they are called."""

    def __init__(self) -> None:
        self.made: list[TensorProto] = []
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._offset = 0

    def weight(self, name: str, shape: tuple[int, ...], scale: float, positive: bool = False) -> str:
        """Numbers from the pool, another place for each."""
        count = math.prod(shape)
        self._offset = (self._offset + 97) % (POOL // 2)
        numbers = np.resize(_pool()[self._offset :], count) * np.float32(scale)
        self._offset = (self._offset + count) % (POOL // 2)
        data = (np.abs(numbers) if positive else numbers).tobytes()
        self.made.append(TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, raw_data=data))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        """A value that matters; equal ones are kept once, as in an exported file."""
        value = np.ascontiguousarray(value)  # a scalar becomes (1,), as in a canonical graph
        key = (str(value.dtype), value.shape, value.tobytes())
        if key not in self._known:
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            self._known[key] = name
            self.made.append(TensorProto(name=name, data_type=kind, dims=value.shape, raw_data=key[2]))
        return self._known[key]


def _write(tape: Tape, source: Value, scores: Value, spec: InputSpec) -> tuple[onnx.ModelProto, dict[str, int]]:
    """The model with the names that :func:`autokd.deployment.graph.canonical` gives, and the type of every value."""
    if scores is source or not any(op.writes is scores for op in tape.ops):
        raise CannotSketch("the module returns its input")
    names = {id(source): INPUT}
    types = {INPUT: ELEMENT[source.dtype]}
    tensors = _Tensors()
    nodes = []
    for position, op in enumerate(tape.ops):
        place = f"{op.kind.lower()}{position}"
        reads = []
        for i, read in enumerate(op.reads):
            if read is None:
                reads.append("")
            elif isinstance(read, np.ndarray):
                reads.append(tensors.constant(f"{place}.{i}", read))
            else:
                reads.append(names[id(read)])
        if op.weight is not None:
            reads += _weights(tensors, place, op.kind, op.weight)
        if op.norm is not None:
            width = (op.norm.count,)
            reads += [tensors.weight(f"{place}.{i}", width, 1.0, positive=True) for i in range(1, 5)]
        name = OUTPUT if op.writes is scores else place
        names[id(op.writes)] = name
        types[name] = ELEMENT[op.writes.dtype]
        attributes = [helper.make_attribute(key, value) for key, value in _attributes(op).items()]
        # a canonical graph's nodes say that they have no name and no remarks
        nodes.append(
            onnx.NodeProto(op_type=op.kind, input=reads, output=[name], name="", doc_string="", attribute=attributes)
        )
    graph = helper.make_graph(
        nodes,
        "sketch",
        [helper.make_tensor_value_info(INPUT, types[INPUT], ["batch", *spec.shape])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", scores.channels.count * scores.repeat])],
    )
    graph.initializer.extend(tensors.made)
    graph.doc_string = ""
    opsets = [onnx.OperatorSetIdProto(version=OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, doc_string=""), types


def _weights(tensors: _Tensors, place: str, kind: str, weight: Weight) -> list[str]:
    shape = weight.shape
    inside = shape[0] if weight.transposed else math.prod(shape[1:])
    found = [tensors.weight(f"{place}.{ROLES[kind, 1]}", shape, math.sqrt(2 / inside))]  # activations keep their size
    if weight.bias:
        found.append(tensors.weight(f"{place}.{ROLES.get((kind, 2), 'b')}", (weight.outputs.count,), 0.1))
    return found
