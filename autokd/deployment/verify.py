"""Does the file compute what the model computes?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from autokd.errors import StageFailure

RELATIVE, ABSOLUTE, FLOOR = 1e-3, 1e-4, 1e-6


@dataclass(frozen=True)
class Agreement:
    """How far the file and the model agree.

    Args:
        max_abs_error: Largest absolute difference of a logit.
        prediction_mismatches: Samples whose predicted class differs.
        n: Samples compared.
        accuracy_file: Accuracy of the file, ratio.
        accuracy_model: Accuracy of the model, ratio.
    """

    max_abs_error: float
    prediction_mismatches: int
    n: int
    accuracy_file: float
    accuracy_model: float


def scores(path: Path, inputs: np.ndarray | Mapping[str, np.ndarray], batch: int = 256, threads: int = 1) -> np.ndarray:
    """Output 0 of the file on raw inputs ``(N, *shape)``, of several inputs one such array each, by name: ``(N, classes)``.

    Raises:
        StageFailure: ONNX Runtime cannot load or run the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        source, output = session.get_inputs()[0].name, session.get_outputs()[0].name
        named = inputs if isinstance(inputs, Mapping) else {source: inputs}
        parts = [
            session.run([output], {n: np.ascontiguousarray(a[i : i + batch]) for n, a in named.items()})[0]
            for i in range(0, len(next(iter(named.values()))), batch)
        ]
    except Exception as error:  # the runtime raises types of its own, without a common base
        detail = " ".join(str(error).split())[:300]
        raise StageFailure("verify", "error", f"ONNX Runtime cannot run {path.name}: {detail}") from error
    return np.concatenate(parts)


def verify(found: np.ndarray, reference: np.ndarray, targets: np.ndarray, *, bits: int) -> Agreement:
    """Compares what a file computes with what the model computes that it was exported from.

    A 32-bit file must give each logit within ``1e-3 |logit| + 1e-4 scale``, where ``scale`` is the mean absolute
    logit, and the same predictions; a prediction may differ only where the model itself decides between its two best
    classes by less than that. Of an 8-bit file only the numbers are reported.

    Args:
        found: The file's scores ``(N, classes)``, by :func:`scores`.
        reference: The model's logits ``(N, classes)`` on the same inputs.
        targets: Class indices ``(N,)``.
        bits: 32 or 8.

    Raises:
        StageFailure: ``verify_mismatch`` for a 32-bit file outside the tolerance or any file whose scores are not
        finite.
    """
    found = found.astype(np.float64)
    wanted = np.asarray(reference, np.float64)
    if found.shape != wanted.shape:
        raise StageFailure("verify", "verify_mismatch", f"the file returns {found.shape}, the model {wanted.shape}")
    if not np.isfinite(found).all():
        raise StageFailure("verify", "verify_mismatch", "the file's scores must be finite")
    error = np.abs(found - wanted)
    differs = found.argmax(1) != wanted.argmax(1)
    agreement = Agreement(
        max_abs_error=float(error.max(initial=0.0)),
        prediction_mismatches=int(differs.sum()),
        n=len(found),
        accuracy_file=float((found.argmax(1) == targets).mean()),
        accuracy_model=float((wanted.argmax(1) == targets).mean()),
    )
    if bits == 32:
        _refuse_mismatch(agreement, error, wanted, differs)
    return agreement


def _refuse_mismatch(agreement: Agreement, error: np.ndarray, wanted: np.ndarray, differs: np.ndarray) -> None:
    tolerance = RELATIVE * np.abs(wanted) + ABSOLUTE * np.abs(wanted).mean() + FLOOR
    outside = (error > tolerance).any(1)
    top = np.partition(wanted, -2, axis=1)[:, -2:]
    clear = differs & (
        top[:, 1] - top[:, 0] > 2 * tolerance.max(1)
    )  # each of the two logits may be off by one tolerance
    if outside.any() or clear.any():
        detail = (
            f"{int(outside.sum())} of {agreement.n} samples outside the tolerance, "
            f"{agreement.prediction_mismatches} predictions differ, largest error {agreement.max_abs_error:.3g}"
        )
        raise StageFailure("verify", "verify_mismatch", detail)
