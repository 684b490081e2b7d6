"""A PyTorch model turned into the ONNX file that would ship: raw values in, logits out."""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import onnx
import torch
from torch import nn

from autokd.deployment.folding import fold_batch_norms
from autokd.deployment.graph import canonical, tidy
from autokd.deployment.shapes import freeze_shapes
from autokd.errors import StageFailure
from autokd.files import write_checked
from autokd.protocols import InputSpec
from autokd.version import __version__

INPUT, OUTPUT = "input", "scores"
Pass = Callable[[onnx.ModelProto], int]
"""Changes a graph in place without changing what it computes; returns how often it did."""


@dataclass(frozen=True)
class ExportedFile:
    """An ONNX file as written."""

    path: Path
    sha256: str
    size_bytes: int
    opset: int


def export(
    model: nn.Module,
    spec: InputSpec,
    classes: Sequence[str],
    path: Path,
    *,
    name: str,
    opset: int = 17,
    passes: Sequence[Pass] = (),
) -> ExportedFile:
    """Writes ``model`` as an ONNX file with dynamic batch; equal weights give equal bytes.

    Args:
        model: Reads raw values ``(N, *spec.shape)`` in ``spec.dtype`` (of several inputs each, in the order of ``spec.inputs``),
            returns logits ``(N, classes) float32``.
        spec: The raw input; travels along in the metadata.
        classes: Class names, in index order; travel along too.
        path: Where to write; there whole or not at all.
        name: The graph's name.
        opset: ONNX operator set to ask for; the fallback exporter may answer with a newer one.
        passes: More passes over the graph, after batch norms are folded.

    Raises:
        StageFailure: Neither exporter can express the model, or its output is not ``(N, classes)``.
        StorageError: The disk refuses.
    """
    with evaluating(model):
        graph = _trace(model, spec, opset)
    try:
        tidy(graph)
        freeze_shapes(graph, spec.inputs)
        fold_batch_norms(graph)
        for change in passes:
            change(graph)
        label(canonical(tidy(graph)), spec, classes, name)
        onnx.checker.check_model(graph, full_check=True)
    except Exception as error:
        raise StageFailure("export", "error", f"the exported graph is not valid: {_one_line(error)}") from error
    _check_output(graph, len(classes))
    data = graph.SerializeToString(deterministic=True)
    write_checked(path, data)
    return ExportedFile(path, hashlib.sha256(data).hexdigest(), len(data), _opset(graph))


def _trace(model: nn.Module, spec: InputSpec, opset: int) -> onnx.ModelProto:
    """The TorchScript exporter first (some 20 ms), the dynamo exporter (a second) where that one gives up."""
    tensor = next(iter([*model.parameters(), *model.buffers()]), torch.zeros(()))
    examples = {
        name: torch.zeros((2, *shape), dtype=getattr(torch, dtype), device=tensor.device)
        for name, (shape, dtype) in spec.inputs.items()
    }
    with _quiet(), torch.no_grad():
        try:
            buffer = io.BytesIO()
            torch.onnx.export(
                model,
                tuple(examples.values()),
                cast(Any, buffer),  # a path or a buffer; only the first is declared
                dynamo=False,
                opset_version=opset,
                input_names=list(examples),
                output_names=[OUTPUT],
                dynamic_axes={name: {0: "batch"} for name in (*examples, OUTPUT)},
            )
            return onnx.load_from_string(buffer.getvalue())
        except Exception as first:
            try:
                named = dict(zip(inspect.signature(model.forward).parameters, examples.values(), strict=False))
                batch = torch.export.Dim("batch")
                program = torch.onnx.export(
                    model,
                    (),
                    kwargs=named,
                    dynamo=True,
                    opset_version=max(opset, 18),
                    input_names=list(examples),
                    output_names=[OUTPUT],
                    dynamic_shapes={argument: {0: batch} for argument in named},
                    verbose=False,
                )
                if program is None:
                    raise RuntimeError("the dynamo exporter returned nothing")
                return program.model_proto
            except Exception as second:
                detail = f"TorchScript exporter: {_one_line(first)}; dynamo exporter: {_one_line(second)}"
                raise StageFailure("export", "error", detail) from second


def label(graph: onnx.ModelProto, spec: InputSpec, classes: Sequence[str], name: str) -> None:
    """Sets the names and the metadata that a reader of the file needs."""
    graph.graph.name = name
    graph.producer_name, graph.producer_version = "autokd", __version__
    graph.domain, graph.model_version = "", 0
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.metadata_props[:]
    facts = {
        "autokd": __version__,
        "classes": json.dumps(list(classes), ensure_ascii=False),
        "input_spec": json.dumps(spec.to_dict(), ensure_ascii=False, sort_keys=True),
        "scores": "logits",
    }
    onnx.helper.set_model_props(graph, facts)


def _check_output(graph: onnx.ModelProto, classes: int) -> None:
    inferred = onnx.shape_inference.infer_shapes(graph).graph.output
    shapes = [[d.dim_value or None for d in o.type.tensor_type.shape.dim] for o in inferred]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] not in (classes, None):
        law = f"the model must return logits (N, {classes}), but returns {shapes}"
        raise StageFailure("export", "error", law)


def _opset(graph: onnx.ModelProto) -> int:
    return int(next(o.version for o in graph.opset_import if o.domain in ("", "ai.onnx")))


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; each module's own mode again afterwards."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters warn about themselves; a failure still raises."""
    # a failing trace prints its graph, and stdout is for results; no public name says where to
    torch._C._jit_set_onnx_log_output_stream("stderr")
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
