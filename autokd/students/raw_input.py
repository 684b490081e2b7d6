"""A student that reads the source's raw values: normalisation becomes part of the model and of the exported file."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.protocols import InputSpec


def flat_features(spec: InputSpec) -> int:
    """Number of values that a model reads of one normalised sample; for tables one-hot columns included."""
    if spec.kind == "image" or not spec.cardinalities:
        return math.prod(spec.shape)
    return sum(max(1, k) for k in spec.cardinalities)


class RawInput(nn.Module):
    """A model behind the normalisation of its raw input.

    Only ``model`` holds weights: what follows from ``spec`` is kept out of the state dict.

    Args:
        model: Reads ``(N, C, H, W)`` or ``(N, D)`` float32, normalised; returns ``(N, classes)`` logits.
        spec: The raw input.
    """

    def __init__(self, model: nn.Module, spec: InputSpec) -> None:
        super().__init__()
        self.prepare: nn.Module = NormaliseImage(spec) if spec.kind == "image" else EncodeTable(spec)
        self.model = model

    def forward(self, raw: Tensor) -> Tensor:
        """``(N, *shape)`` float32 or uint8 to ``(N, classes)`` float32."""
        logits: Tensor = self.model(self.prepare(raw))
        return logits


class NormaliseImage(nn.Module):
    """``(N, C, H, W)`` raw values to ``(x - mean) / std``, per channel.

    Written as a batch norm with fixed statistics: one ONNX node instead of two, and half the time at 224 pixels.
    """

    mean: Tensor
    variance: Tensor
    one: Tensor
    zero: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        channels = spec.shape[0]
        self.register_buffer("mean", _column(spec.mean, channels), persistent=False)
        self.register_buffer("variance", _column(spec.std, channels) ** 2, persistent=False)
        # the exporter wants weight and bias spelt out
        self.register_buffer("one", torch.ones(channels), persistent=False)
        self.register_buffer("zero", torch.zeros(channels), persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        x = raw if raw.dtype == torch.float32 else raw.to(torch.float32)
        return F.batch_norm(x, self.mean, self.variance, self.one, self.zero, training=False, eps=0.0)


class EncodeTable(nn.Module):
    """``(N, F)`` raw features to ``(N, D)``: numbers standardised, missing ones at the mean; then categories one-hot.

    A category code outside 0 .. k-1, NaN included, becomes zeros only.
    """

    numbers: Tensor
    mean: Tensor
    scale: Tensor
    columns: Tensor
    codes: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        width = spec.shape[0]
        kinds = spec.cardinalities or (0,) * width
        numbers = [i for i, k in enumerate(kinds) if k == 0]
        columns = [i for i, k in enumerate(kinds) for _ in range(k)]
        self.all_numbers, self.any_numbers, self.any_codes = len(numbers) == width, bool(numbers), bool(columns)
        chosen = torch.tensor(numbers, dtype=torch.int64)
        self.register_buffer("numbers", chosen, persistent=False)
        self.register_buffer("mean", _column(spec.mean, width)[chosen], persistent=False)
        self.register_buffer("scale", 1.0 / _column(spec.std, width)[chosen], persistent=False)
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64), persistent=False)
        codes = torch.tensor([c for k in kinds for c in range(k)], dtype=torch.float32)
        self.register_buffer("codes", codes, persistent=False)

    def forward(self, raw: Tensor) -> Tensor:
        x = raw if raw.dtype == torch.float32 else raw.to(torch.float32)
        parts = []
        if self.any_numbers:
            numbers = x if self.all_numbers else x.index_select(1, self.numbers)
            # subtract first: a feature far from 0 (a year, a timestamp) would lose its digits in x * scale + shift
            z = (numbers - self.mean) * self.scale
            parts.append(torch.where(torch.isnan(z), torch.zeros((), dtype=z.dtype, device=z.device), z))
        if self.any_codes:
            parts.append((x.index_select(1, self.columns) == self.codes).to(torch.float32))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _column(values: tuple[float, ...], count: int) -> Tensor:
    """``(count,) float32``; a single value stands for all."""
    return torch.tensor(values, dtype=torch.float32).expand(count).clone()
