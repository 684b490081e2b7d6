"""What a teacher puts out, turned into logits: probabilities and single-column binary outputs are recognised."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autokd.errors import ConfigError, TeacherError, nearest

KINDS = ("logits", "probabilities")
TINY = 1e-7  # smallest probability that is told from 0


def table(values: np.ndarray, count: int) -> np.ndarray:
    """Output of ``count`` samples as ``(N, columns) float32``; axes of length 1 (a global pool's) are dropped."""
    return np.ascontiguousarray(values, dtype=np.float32).reshape(count, -1)


def fits(shape: tuple[int, ...], count: int, classes: int) -> bool:
    """Whether an output of this shape can score ``count`` samples: ``(N, classes)``, or one column for two classes."""
    columns = [n for n in shape[1:] if n != 1]
    return shape[:1] == (count,) and (columns == [classes] or (classes == 2 and not columns))


def declared(options: Mapping[str, object]) -> str | None:
    """``teacher.scores``, when the study file says what the outputs are.

    Raises:
        ConfigError: Neither ``logits`` nor ``probabilities``.
    """
    kind = options.get("scores")
    if kind is not None and kind not in KINDS:
        raise ConfigError("teacher.scores must be one of " + ", ".join(KINDS), repr(kind), nearest(str(kind), KINDS))
    return None if kind is None else str(kind)


def recognise(sample: np.ndarray) -> str:
    """``"probabilities"`` when every value is in [0, 1] and every row of two or more sums to 1, else ``"logits"``.

    Raises:
        TeacherError: Values that are not finite.
    """
    if not np.isfinite(sample).all():
        mend = "Check the weights, and teacher.input (scale, mean, std)."
        raise TeacherError("A teacher's outputs must be finite", "NaN or infinity on the first samples", mend)
    inside = bool(((sample >= -1e-6) & (sample <= 1 + 1e-6)).all())
    sums = sample.shape[1] == 1 or bool(np.allclose(sample.sum(1), 1.0, atol=5e-3))
    return "probabilities" if inside and sums else "logits"


def to_logits(values: np.ndarray, kind: str, classes: int) -> np.ndarray:
    """``(N, classes)``, or ``(N, 1)`` for two classes, to logits ``(N, classes) float32``.

    Probabilities become their logarithm, at least ``log(1e-7)``. One column is the second class: its probability, or
    its margin z, which becomes ``(-z/2, z/2)``: their softmax is the sigmoid of z.
    """
    if values.shape[1] == 1 and classes == 2:
        if kind != "probabilities":
            return np.hstack([-values / 2, values / 2]).astype(np.float32)
        values = np.hstack([1 - values, values])
    if kind == "probabilities":
        values = np.log(np.clip(values, TINY, 1.0))
    return np.ascontiguousarray(values, dtype=np.float32)
