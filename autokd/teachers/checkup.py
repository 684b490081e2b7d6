"""What a teacher is worth on this data, before anything learns from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autokd.errors import TeacherError
from autokd.protocols import Teacher

BINS = 15
POORLY_CALIBRATED = 0.15


@dataclass(frozen=True)
class CheckUp:
    """A teacher's figures on held-out data.

    Args:
        accuracy: Share of correct predictions, in [0, 1].
        ece: Expected calibration error, in [0, 1]; see :func:`expected_calibration_error`.
        log_loss: Mean negative log-likelihood, in nats.
        majority: Accuracy of always guessing the commonest class.
        warnings: Sentences for people; empty when all is well.
    """

    accuracy: float
    ece: float
    log_loss: float
    majority: float
    warnings: tuple[str, ...] = ()


def check_up(
    teacher: Teacher,
    inputs: np.ndarray,
    targets: np.ndarray,
    classes: int,
    majority: float,
    *,
    logits: np.ndarray | None = None,
) -> CheckUp:
    """Accuracy and calibration of ``teacher`` on raw ``inputs`` ``(N, *shape)`` with ``targets`` ``(N,) int64``.

    Args:
        teacher: The teacher.
        inputs: Raw samples it has not been trained on, if possible.
        targets: Their classes.
        classes: Number of classes.
        majority: Accuracy of the majority guess on these data.
        logits: Its outputs on ``inputs``, if they are known already.

    Raises:
        TeacherError: Outputs of the wrong shape, not finite, or the same for every sample.
    """
    found = teacher.logits(inputs) if logits is None else logits
    if found.shape != (len(targets), classes):
        raise TeacherError(
            f"Teacher {teacher.name} must put out (N, {classes})", f"{found.shape} for N = {len(targets)}"
        )
    mend = "Check its weights, and teacher.input (scale, mean, std, layout)."
    if not np.isfinite(found).all():
        bad = int((~np.isfinite(found)).any(1).sum())
        raise TeacherError(
            "A teacher's outputs must be finite", f"NaN or infinity for {bad} of {len(found)} samples", mend
        )
    if len(found) > 1 and bool((np.ptp(found, axis=0) < 1e-6).all()):
        raise TeacherError("A teacher's outputs must depend on its input", "the same for every sample", mend)
    log_p = log_softmax(found)
    predicted = log_p.argmax(1)
    accuracy = float((predicted == targets).mean())
    ece = expected_calibration_error(np.exp(log_p.max(1)), predicted == targets)
    log_loss = float(-log_p[np.arange(len(targets)), targets].mean())
    notes = _warnings(accuracy, ece, majority, predicted, targets, classes)
    return CheckUp(accuracy, ece, log_loss, majority, notes)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """``(N, classes)`` logits to log-probabilities, float64."""
    z = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """Gap between confidence and accuracy, averaged over equally wide bins of confidence by their counts, in [0, 1].

    ``ECE = sum_b n_b / n * |accuracy(b) - confidence(b)|``, bins ``((b-1)/B, b/B]``. Chuan Guo, Geoff Pleiss, Yu Sun,
    Kilian Q. Weinberger: "On Calibration of Modern Neural Networks", ICML 2017, https://arxiv.org/abs/1706.04599.

    Args:
        confidence: ``(N,)`` probability of the predicted class.
        correct: ``(N,) bool``.
        bins: ``B``.
    """
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(which, weights=correct.astype(np.float64) - confidence, minlength=bins)
    return float(np.abs(gap).sum() / max(1, len(confidence)))


def _warnings(
    accuracy: float, ece: float, majority: float, predicted: np.ndarray, targets: np.ndarray, classes: int
) -> tuple[str, ...]:
    notes = []
    noise = math.sqrt(max(majority * (1 - majority), 0.0) / max(1, len(targets)))
    if accuracy <= majority + noise:
        notes.append(
            f"The teacher is no better than a majority guess: accuracy {accuracy:.1%}, majority {majority:.1%}. "
            "Check its weights, and teacher.input (scale, mean, std, layout)."
        )
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (predicted, targets), 1)
    meant = counts.argmax(1)
    reordered = float(counts.max(1).sum() / max(1, len(targets)))
    if len(set(meant.tolist())) == classes and reordered > max(0.5, 2 * accuracy, majority):
        notes.append(
            f"The teacher's classes seem to be in another order than the data's: accuracy {accuracy:.1%} as they are, "
            f"{reordered:.1%} if each of its outputs stood for the class it mostly meets."
        )
    if ece > POORLY_CALIBRATED:
        notes.append(
            f"The teacher's probabilities are poorly calibrated (expected calibration error {ece:.2f}); a higher "
            "temperature, or teacher.scores if its outputs were misread, may help."
        )
    return tuple(notes)
