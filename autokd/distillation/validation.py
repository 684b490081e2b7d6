"""When a model in training is looked at, and how well it does then."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from autokd.protocols import Pace

POINTS = 12  # of a learning curve, at most
LONG = 8  # points of a training shorter than this many epochs


def marks(steps: int, per_epoch: int) -> frozenset[int]:
    """Numbers of finished steps at which to validate: epoch ends, or eighths when epochs are few; at most 12."""
    epochs = steps // per_epoch
    if epochs >= LONG:
        stride = -(-epochs // (POINTS - 1))
        found = {e * per_epoch for e in range(stride, epochs + 1, stride)}
    else:
        found = {round(steps * i / LONG) for i in range(1, LONG + 1)}
    return frozenset(found - {0}) | {steps}


def subset(inputs: np.ndarray, targets: np.ndarray, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A seeded part of the validation split, small enough that a learning curve costs some 5 % of the training.

    At least 500 samples (or all there are), else a fortieth of the training samples seen. The file's own accuracy is
    measured on the whole split afterwards.
    """
    limit = max(500, samples // 40)
    if len(targets) <= limit:
        return inputs, targets
    chosen = np.sort(np.random.default_rng([seed, 1]).permutation(len(targets))[:limit])
    return inputs[chosen], targets[chosen]


def batch_size(shape: tuple[int, ...]) -> int:
    """Samples a batch without gradients, between 32 and 256: more do not fit the caches and need memory that training did not."""
    return int(min(256, max(32, 2**20 // max(1, int(np.prod(shape))))))


def accuracy(
    model: nn.Module,
    inputs: np.ndarray,
    targets: np.ndarray,
    pace: Pace,
    tensor: Callable[[np.ndarray], torch.Tensor],
) -> float:
    """Share of correct predictions on raw ``inputs`` ``(N, *shape)``, in [0, 1]; leaves the model's mode as it was."""
    was_training = model.training
    model.eval()
    size, correct = batch_size(inputs.shape[1:]), 0
    with torch.no_grad():
        for start in range(0, len(targets), size):
            with pace():
                predicted = model(tensor(inputs[start : start + size])).argmax(1).cpu().numpy()
                correct += int((predicted == targets[start : start + size]).sum())
    model.train(was_training)
    return correct / max(1, len(targets))
