"""A student that reads the source's raw values: normalisation becomes part of the model and of the exported file."""

from __future__ import annotations

import math

from torch import Tensor, nn

from autokd import registry
from autokd.protocols import InputSpec


def flat_features(spec: InputSpec) -> int:
    """Number of values that a model reads of one prepared sample; for tables one-hot columns included."""
    return math.prod(registry.load("modalities", spec.kind)().prepared_shape(spec))


class RawInput(nn.Module):
    """A model behind the modality's preparation of its raw input.

    Only ``model`` holds weights: what follows from ``spec`` is kept out of the state dict.

    Args:
        model: Reads what ``prepare`` of the modality gives, ``(N, C, H, W)`` or ``(N, D)`` float32, normalised; returns
            ``(N, classes)`` logits.
        spec: The raw input.
    """

    def __init__(self, model: nn.Module, spec: InputSpec) -> None:
        super().__init__()
        self.prepare: nn.Module = registry.load("modalities", spec.kind)().prepare(spec)
        self.model = model

    def forward(self, raw: Tensor, *more: Tensor) -> Tensor:
        """``(N, *shape)`` raw values, of several inputs in the spec's order, to ``(N, classes)`` float32."""
        logits: Tensor = self.model(self.prepare(raw, *more))
        return logits
