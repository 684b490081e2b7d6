"""The cross-entropy against the labels, each sample with its weight."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.taps import Batch


def cross_entropy(logits: Tensor, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
    """``mean_i w_i CE(y_i, p_i)`` over the batch, a scalar; ``w`` are :attr:`Batch.weights`, 1 where there are none.

    The sum is divided by the number of samples, not by the weights in the batch as ``torch`` does: a rare sample counts the
    same whatever stands beside it.

    Args:
        logits: ``(B, classes)``.
        batch: Its targets ``(B,) int64`` and weights ``(B,) float32``.
        label_smoothing: In [0, 1).
    """
    if batch.weights is None:
        return F.cross_entropy(logits, batch.targets, label_smoothing=label_smoothing)
    each = F.cross_entropy(logits, batch.targets, label_smoothing=label_smoothing, reduction="none")
    return (each * batch.weights).mean()
