"""Finds a classifier's scores among the outputs of an ONNX file, whatever framework wrote it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from autokd.errors import ConfigError, TeacherError, nearest
from autokd.teachers import scores
from autokd.teachers.labels import Label, column_order

Reader = Callable[[Sequence[Any], int], np.ndarray]
"""The outputs of one call and its number of samples to ``(N, columns) float32``, in the data's class order."""


def reader(
    names: Sequence[str],
    outputs: Sequence[Any],
    count: int,
    classes: Sequence[str],
    number: int,
    labels: Sequence[Label],
    only: str | None,
) -> Reader:
    """How to read the scores, decided on the ``outputs`` of a sample of ``count``.

    In this order: a float tensor ``(N, classes)``; a sequence of maps from label to score (scikit-learn's ZipMap); one
    column for two classes; a float output for every class (ZipMap's columns). Labels in integers or words are passed
    over.

    Args:
        names: Names of the outputs.
        outputs: Their values.
        count: Number of samples in them.
        classes: The data's class names, if known.
        number: Number of classes.
        labels: The teacher's labels by column, where the graph tells them.
        only: ``teacher.output``, the name of the output to read.

    Raises:
        ConfigError: No output is called ``only``.
        TeacherError: No output can be the scores.
    """
    if only is not None and only not in names:
        raise ConfigError("teacher.output must name an output of the file", repr(only), nearest(only, names))
    chosen = [i for i, name in enumerate(names) if only in (None, name)]
    order = column_order(labels, classes) if len(labels) == number else list(range(number))
    floats = [i for i in chosen if _is_float(outputs[i]) and scores.fits(outputs[i].shape, count, number)]
    wide = [i for i in floats if scores.table(outputs[i], count).shape[1] == number]
    maps = [i for i in chosen if _is_maps(outputs[i], count, number)]
    if wide:
        return _tensor(wide[0], order)
    if maps:
        keys = list(outputs[maps[0]][0])
        return _maps(maps[0], [keys[i] for i in column_order(keys, classes)])
    if number == 2 and len(floats) == 1:
        return _tensor(floats[0], [0])
    columns = [i for i in chosen if _is_float(outputs[i]) and outputs[i].size == count]
    if len(columns) == number:
        return _columns([columns[i] for i in order])
    found = "; ".join(f"{name}: {_describe(value)}" for name, value in zip(names, outputs, strict=True))
    mend = "A classifier's scores are needed, not its label only; teacher.output names the output if there are several."
    raise TeacherError(
        f"The teacher must have an output of shape (N, {number}) in floats", f"{found} (N = {count})", mend
    )


def graph_labels(graph: onnx.GraphProto) -> list[Label]:
    """The class labels that a converted scikit-learn model carries, by column; empty when it carries none."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "classlabels_strings" and attribute.strings:
                return [s.decode("utf-8", "replace") for s in attribute.strings]
            if attribute.name in {"classlabels_ints", "classlabels_int64s"} and attribute.ints:
                return [int(i) for i in attribute.ints]
    for initializer in graph.initializer:
        if initializer.name == "classes" and len(initializer.dims) == 1:
            values = numpy_helper.to_array(initializer).tolist()
            return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values]
    return []


def _tensor(index: int, order: list[int]) -> Reader:
    if order == list(range(len(order))):
        return lambda outputs, count: scores.table(outputs[index], count)
    return lambda outputs, count: scores.table(outputs[index], count)[:, order]


def _columns(indices: list[int]) -> Reader:
    return lambda outputs, count: np.hstack([scores.table(outputs[i], count) for i in indices])


def _maps(index: int, keys: list[Label]) -> Reader:
    return lambda outputs, count: np.array([[row[k] for k in keys] for row in outputs[index]], dtype=np.float32)


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _is_maps(value: Any, count: int, number: int) -> bool:
    return (
        isinstance(value, list) and len(value) == count and all(isinstance(v, dict) and len(v) == number for v in value)
    )


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"maps of {len(value[0])} labels"
    return type(value).__name__
