"""Quality of class scores: one value and its standard error for every quality metric (numpy only)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from autokd import registry
from autokd.errors import StageFailure
from autokd.storage.by_class import cautious

REVISION = 1
"""Part of the key of every measurement: raised when a metric gives another value of the same scores."""
ECE_BINS = 15
RESAMPLES = 100
USER_RESAMPLES = 20
_SEED = 0

Scored = tuple[float, float | None]
"""Value and standard error; ``None`` where the error could not be estimated."""


def quality(name: str, scores: np.ndarray, targets: np.ndarray, teacher_scores: np.ndarray | None = None) -> Scored:
    """Value and standard error of a quality metric.

    The standard error is closed-form where there is one, else a bootstrap with a fixed seed. It covers the draw of the
    samples only, not the draw of the training run. A metric of the user's, ``package.module:metric``, is called as
    ``metric(targets, probabilities)`` and must return a finite number.

    Args:
        name: Name of the metric, e.g. ``"accuracy"`` or ``"my_module:my_metric"``.
        scores: ``(N, classes) float32`` logits.
        targets: ``(N,)`` class indices.
        teacher_scores: ``(N, classes)`` logits of the teacher; only ``"agreement"`` reads them.

    Raises:
        StageFailure: Scores that are not finite (cause ``diverged``), a metric that cannot be computed from these
            samples, or one of the user's that raises or returns no finite number (cause ``error``).
        ConfigError: A metric of the user's that cannot be imported.
    """
    scores, targets = np.asarray(scores), np.asarray(targets, dtype=np.int64)
    if scores.ndim != 2 or len(scores) != len(targets) or not len(targets):
        raise _failure(f"{name} needs scores (N, classes) and N targets, but got {scores.shape} and {targets.shape}")
    if not np.isfinite(scores).all():
        raise StageFailure("measure", "diverged", "the file's scores are not all finite")
    if name == "agreement":
        if teacher_scores is None:
            raise _failure("agreement needs the teacher's scores")
        return _mean(scores.argmax(axis=1) == np.asarray(teacher_scores).argmax(axis=1))
    if name in _METRICS:
        return _METRICS[name](scores, targets)
    return _user_metric(name, softmax(scores), targets)


def confusion(scores: np.ndarray, targets: np.ndarray, classes: int) -> np.ndarray:
    """``(classes, classes) int64``: row = true class, column = predicted class, entry = number of samples."""
    predicted = np.asarray(scores).argmax(axis=1)
    cells = np.asarray(targets, dtype=np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Logits ``(N, classes)`` to probabilities ``(N, classes) float64``."""
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    return powers / powers.sum(axis=1, keepdims=True)


def _mean(per_sample: np.ndarray) -> Scored:
    """Mean and its standard error; for 0/1 values the latter is sqrt(p (1 - p) / n)."""
    return float(per_sample.mean()), float(per_sample.std() / math.sqrt(len(per_sample)))


def _accuracy(scores: np.ndarray, targets: np.ndarray) -> Scored:
    return _mean(scores.argmax(axis=1) == targets)


def _balanced_accuracy(scores: np.ndarray, targets: np.ndarray) -> Scored:
    """Recall averaged over the classes that occur among the targets."""
    table = confusion(scores, targets, scores.shape[1])
    support = table.sum(axis=1)
    seen = support > 0
    recall = table.diagonal()[seen] / support[seen]
    variance = (recall * (1 - recall) / support[seen]).sum()
    return float(recall.mean()), float(math.sqrt(variance) / seen.sum())


def _recall_min(scores: np.ndarray, targets: np.ndarray) -> Scored:
    """Recall of the class that has the least, among those that occur among the targets.

    The standard error is that of the least one over redrawn samples, not of one class that is fixed beforehand: which class is
    the worst is chance, too. Shares of few samples are redrawn as :func:`autokd.storage.by_class.cautious` says.
    """
    table = confusion(scores, targets, scores.shape[1])
    support = table.sum(axis=1)
    seen = support > 0
    right, support = table.diagonal()[seen], support[seen]
    draws = np.random.default_rng(_SEED).binomial(support, cautious(right, support), size=(RESAMPLES, len(support)))
    return float((right / support).min()), float((draws / support).min(axis=1).std(ddof=1))


def _f1_macro(scores: np.ndarray, targets: np.ndarray) -> Scored:
    """F1 averaged over the classes that occur among targets or predictions."""
    classes = scores.shape[1]
    table = confusion(scores, targets, classes)
    rows, columns = np.nonzero(table)
    counts = table[rows, columns]

    def f1(counts: np.ndarray) -> float:
        hits = np.bincount(rows, counts * (rows == columns), classes)
        sizes = np.bincount(rows, counts, classes) + np.bincount(columns, counts, classes)
        return float((2 * hits[sizes > 0] / sizes[sizes > 0]).mean())

    # Drawing samples with replacement is drawing the cells of the confusion matrix from a multinomial.
    draws = np.random.default_rng(_SEED).multinomial(len(targets), counts / len(targets), size=RESAMPLES)
    return f1(counts), float(np.std([f1(d) for d in draws], ddof=1))


def _log_loss(scores: np.ndarray, targets: np.ndarray) -> Scored:
    """Cross-entropy in nats, from the logits: no probability is clipped."""
    wide = scores.astype(np.float64)
    top = wide.max(axis=1)
    log_sum = top + np.log(np.exp(wide - top[:, None]).sum(axis=1))
    return _mean(log_sum - wide[np.arange(len(targets)), targets])


def _ece(scores: np.ndarray, targets: np.ndarray) -> Scored:
    """Expected calibration error over 15 equal bins of the confidence.

    C. Guo, G. Pleiss, Y. Sun & K. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
    https://arxiv.org/abs/1706.04599.
    """
    probabilities = softmax(scores)
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == targets) - confidence
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)  # bins are (low, high]

    def ece(index: np.ndarray | slice) -> float:
        return float(np.abs(np.bincount(bins[index], gap[index])).sum() / len(targets))

    rng = np.random.default_rng(_SEED)
    draws = [ece(rng.integers(len(targets), size=len(targets))) for _ in range(RESAMPLES)]
    return ece(slice(None)), float(np.std(draws, ddof=1))


def _auroc(scores: np.ndarray, targets: np.ndarray) -> Scored:
    """Area under the ROC curve; with more than two classes each against the rest, averaged.

    A class that never or always occurs among the targets has no curve and is left out of the average. The standard
    error comes from the samples' placements: E. DeLong, D. DeLong & D. Clarke-Pearson, "Comparing the areas under two
    or more correlated receiver operating characteristic curves", Biometrics 44(3), 1988,
    https://doi.org/10.2307/2531595, carried over to the average by adding each sample's influence on every class's
    area.
    """
    probabilities = softmax(scores)
    classes = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    areas = []
    influence = np.zeros(len(targets))
    for c in classes:
        positive = targets == c
        if positive.all() or not positive.any():
            continue
        placement = _placements(probabilities[:, c], positive)
        area = placement[positive].mean()
        areas.append(area)
        influence += np.where(positive, 1 / positive.mean(), 1 / (~positive).mean()) * (placement - area)
    if not areas:
        raise _failure("auroc needs samples of at least two classes")
    return float(np.mean(areas)), float(influence.std() / len(areas) / math.sqrt(len(targets)))


def _placements(score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Share of negatives below each positive, and of positives above each negative; ties count half."""
    below, above = np.sort(score[~positive]), np.sort(score[positive])
    result = np.empty(len(score))
    lower = np.searchsorted(below, score[positive], "left") + np.searchsorted(below, score[positive], "right")
    higher = np.searchsorted(above, score[~positive], "left") + np.searchsorted(above, score[~positive], "right")
    result[positive] = lower / (2 * len(below))
    result[~positive] = 1 - higher / (2 * len(above))
    return result


def _user_metric(name: str, probabilities: np.ndarray, targets: np.ndarray) -> Scored:
    metric = registry.load("metrics", name)
    try:
        value = float(metric(targets, probabilities))
    except Exception as error:
        raise _failure(f"{name} raised {type(error).__name__}: {error}") from error
    if not math.isfinite(value):
        raise _failure(f"{name} must return a finite number, but got {value}")
    rng = np.random.default_rng(_SEED)
    draws = []
    for _ in range(USER_RESAMPLES):
        index = rng.integers(len(targets), size=len(targets))
        try:
            draws.append(float(metric(targets[index], probabilities[index])))
        except Exception:  # e.g. a resample without a rare class: the value stands, its error is unknown
            return value, None
    spread = float(np.std(draws, ddof=1))
    return value, spread if math.isfinite(spread) else None


def _failure(detail: str) -> StageFailure:
    return StageFailure("measure", "error", detail)


_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], Scored]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "recall_min": _recall_min,
    "f1_macro": _f1_macro,
    "auroc": _auroc,
    "log_loss": _log_loss,
    "ece": _ece,
}
