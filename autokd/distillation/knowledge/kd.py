"""Soft targets: the student imitates the teacher's softened class probabilities."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from autokd.distillation.arguments import fraction, number, smoothing
from autokd.distillation.knowledge.knowledge import Knowledge
from autokd.distillation.knowledge.weighted import cross_entropy
from autokd.distillation.taps import Batch, Taps


class KD(Knowledge):
    """Knowledge distillation by soft targets (Hinton, Vinyals & Dean 2015).

    ``loss = (1 - alpha) * CE(y, p(s)) + alpha * T^2 * KL(p(t / T) || p(s / T))``, averaged over the batch, where
    ``s`` and ``t`` are the logits ``(B, classes)`` of student and teacher, ``p`` is the softmax over classes, ``y`` the
    true class and ``T`` the temperature. The gradient of the second term shrinks as ``1 / T^2``; the factor ``T^2``
    keeps the balance of the two terms when ``T`` changes.

    With ``training.class_weights`` a sample of weight ``w`` counts ``w`` times in both terms, as if it stood so often in the data:
    at ``alpha = 0.9`` weights on the labels alone would hardly be felt, and students found fewer samples of rare classes (measured:
    ``docs/design.md``). What the teacher says is left as it is; one that is trained here has class weights of its own.

    Geoffrey Hinton, Oriol Vinyals, Jeff Dean: "Distilling the Knowledge in a Neural Network", NIPS 2014 Deep Learning
    Workshop, https://arxiv.org/abs/1503.02531.

    Args:
        alpha: Weight of the teacher, in [0, 1]; 0 is plain training, 1 ignores the labels.
        temperature: ``T`` > 0; higher shows more of what the teacher thinks of the wrong classes.
        label_smoothing: Of the cross-entropy term, in [0, 1).

    Raises:
        ConfigError: A number outside its range.
    """

    weighted = True

    def __init__(self, alpha: float = 0.9, temperature: float = 4.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.alpha = fraction("alpha", alpha)
        self.temperature = number("temperature", temperature, "temperature > 0", lambda v: v > 0)
        self.label_smoothing = smoothing(label_smoothing)

    def forward(self, student: Taps, teacher: Taps, batch: Batch) -> Tensor:
        """Scalar loss of logits ``(B, classes)`` and targets ``(B,) int64``; gradient flows to the student only."""
        logits, wanted = student["logits"], teacher["logits"].detach()
        hard = cross_entropy(logits, batch, self.label_smoothing)
        said, taught = (F.log_softmax(scores / self.temperature, dim=1) for scores in (logits, wanted))
        if batch.weights is None:
            soft = F.kl_div(said, taught, reduction="batchmean", log_target=True)
        else:
            each = F.kl_div(said, taught, reduction="none", log_target=True).sum(dim=1)
            soft = (each * batch.weights).mean()
        return (1 - self.alpha) * hard + self.alpha * self.temperature**2 * soft

    def __repr__(self) -> str:
        return f"KD(alpha={self.alpha}, temperature={self.temperature}, label_smoothing={self.label_smoothing})"
