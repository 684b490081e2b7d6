"""What a training from nothing begins with: the family's own weights, and a first convolution that knows the data."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from autokd.protocols import Dataset
from autokd.students.whitening import whiten_stem

SAMPLES = 2_000
MAX_VALUES = 16_000_000  # raw values in all: a few large pictures hold as many patches as many small ones


def first_weights(build: Callable[[int], nn.Module], seed: int, init: str, data: Dataset, data_seed: int) -> nn.Module:
    """An untrained student.

    Args:
        build: Makes it from a seed; reads raw input.
        seed: Of its weights.
        init: ``"auto"``: its first convolution whitens what it reads of the train split, where it has one that was drawn at
            random; ``"plain"``: all weights are the family's own.
        data: Data and splits.
        data_seed: Of the training samples that are looked at.
    """
    student = build(seed)
    if init == "auto" and any(isinstance(m, nn.Conv2d) for m in student.modules()):
        raw = some_of(data, data_seed)
        if isinstance(raw, np.ndarray):  # the trainer feeds one input as well
            whiten_stem(student, torch.from_numpy(np.ascontiguousarray(raw)), build(seed + 1))
    return student


def some_of(data: Dataset, seed: int) -> object:
    """Raw samples ``(N, *shape)`` of the train split, the same ones for a seed."""
    train = data.splits.train
    most = max(1, min(SAMPLES, MAX_VALUES // max(1, math.prod(data.spec.shape)), len(train)))
    index = np.random.default_rng([seed, most]).choice(len(train), most, replace=False)
    return data.inputs[train[np.sort(index)]]
