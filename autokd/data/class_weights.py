"""How much a sample of each class counts in the loss, where classes are not equally frequent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autokd.errors import ConfigError, nearest

REVISION = 1
"""Part of the key of every training with class weights: raised when equal words give other weights."""
AUTO = "auto"
MOST = 10.0
"""``auto``: the rarest class counts at most so many times as much as the most frequent one."""

Stated = str | Mapping[str, float]
"""``"auto"``, or weights by class name; a class that is not named has weight 1."""


def check_classes(stated: Stated | None, classes: Sequence[str], key: str = "training.class_weights") -> None:
    """Refuse weights of classes that the data do not have.

    Args:
        stated: Weights, or ``None``.
        classes: Class names.
        key: What stated them, for the message.

    Raises:
        ConfigError: An unknown class; the nearest one is offered.
    """
    for name in () if stated is None or isinstance(stated, str) else stated:
        if name not in classes:
            raise ConfigError(f"`{key}` must name classes of the data", repr(name), nearest(name, classes))


def class_weights(stated: Stated, targets: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Weight of each class ``(classes,) float32``; their mean over the training samples is 1, so that learning rates keep
    their meaning.

    ``auto`` is ``w_c = (n_max / n_c) ** 0.5``, at most 10, where ``n_c`` is the number of training samples of class ``c``: the
    square root of the inverse frequency (Dhruv Mahajan, Ross Girshick et al.: "Exploring the Limits of Weakly Supervised
    Pretraining", ECCV 2018, https://arxiv.org/abs/1805.00932, resample by it). The whole inverse frequency, and weights by the
    effective number of samples (Yin Cui et al.: "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019,
    https://arxiv.org/abs/1901.05555), cost a small net that learns slowly more than they gave (``docs/benchmarks.md``).

    Args:
        stated: ``"auto"``, or weights by class name; other classes have weight 1.
        targets: ``(N,)`` class indices of the train split.
        classes: Class names, in index order.

    Raises:
        ConfigError: A class that the data do not have.
    """
    check_classes(stated, classes)
    counts = np.bincount(np.asarray(targets, dtype=np.int64), minlength=len(classes))
    if isinstance(stated, str):
        raw = np.minimum((counts.max() / np.maximum(counts, 1)) ** 0.5, MOST)
    else:
        raw = np.array([float(stated.get(name, 1.0)) for name in classes])
    mean = float((raw * counts).sum() / max(1, counts.sum()))
    return np.asarray(raw / (mean or 1.0), dtype=np.float32)


def sample_weights(stated: Stated | None, targets: np.ndarray, classes: Sequence[str]) -> np.ndarray | None:
    """The weight of every training sample ``(N,) float32``, 1 on average; ``None`` where all count the same.

    Raises:
        ConfigError: A class that the data do not have.
    """
    if stated is None:
        return None
    return class_weights(stated, targets, classes)[np.asarray(targets, dtype=np.int64)]


def key_of(stated: Stated) -> list[object]:
    """What stands for the weights in keys, beside the data."""
    return [REVISION, stated if isinstance(stated, str) else {k: float(v) for k, v in sorted(stated.items())}]
