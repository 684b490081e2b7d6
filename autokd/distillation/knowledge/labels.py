"""Plain training: what the same student reaches without a teacher."""

from __future__ import annotations

from torch import Tensor

from autokd.distillation.arguments import smoothing
from autokd.distillation.knowledge.knowledge import Knowledge
from autokd.distillation.knowledge.weighted import cross_entropy
from autokd.distillation.taps import Batch, Taps


class Labels(Knowledge):
    """Cross-entropy on the labels; the baseline of every distillation method.

    ``loss = -w sum_k q_k log p_k``, averaged over the batch, where ``w`` is the sample's weight (1 without
    ``training.class_weights``), ``p`` is the softmax of the student's logits and
    ``q = (1 - e) * onehot(y) + e / classes`` the smoothed label of class ``y`` with ``e = label_smoothing``.

    Christian Szegedy, Vincent Vanhoucke, Sergey Ioffe, Jonathon Shlens, Zbigniew Wojna: "Rethinking the Inception
    Architecture for Computer Vision" (label smoothing), CVPR 2016, https://arxiv.org/abs/1512.00567.

    Args:
        label_smoothing: ``e``, in [0, 1).

    Raises:
        ConfigError: A number outside its range.
    """

    teacher = frozenset()
    weighted = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = smoothing(label_smoothing)

    def forward(self, student: Taps, teacher: Taps, batch: Batch) -> Tensor:
        """Scalar loss of logits ``(B, classes)`` and targets ``(B,) int64``; ``teacher`` is not read."""
        return cross_entropy(student["logits"], batch, self.label_smoothing)

    def __repr__(self) -> str:
        return f"Labels(label_smoothing={self.label_smoothing})"
