"""What a training from nothing may begin with: the family's own weights but for a first convolution that knows the data."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from autokd.protocols import Dataset
from autokd.students.whitening import has_convolution, whiten_stem

SAMPLES = 2_000
MAX_VALUES = 16_000_000  # raw values in all: a few large pictures hold as many patches as many small ones


def first_weights(
    build: Callable[[int], nn.Module], seed: int, data: Dataset, data_seed: int, samples: int = SAMPLES
) -> nn.Module:
    """An untrained net whose first convolution, where it has one that was drawn at random, whitens what it reads.

    Args:
        build: Makes the net from a seed; it reads raw input.
        seed: Of its weights.
        data: Data and splits.
        data_seed: Of the training samples that are looked at.
        samples: The most of them.
    """
    net = build(seed)
    if has_convolution(net):
        raw = some_of(data, data_seed, samples)
        if isinstance(raw, np.ndarray):  # the trainer feeds one input as well
            whiten_stem(net, torch.from_numpy(np.ascontiguousarray(raw)), build(seed + 1))
    return net


def some_of(data: Dataset, seed: int, samples: int = SAMPLES) -> object:
    """Raw samples ``(N, *shape)`` of the train split, the same ones for a seed; fewer of large pictures."""
    train = data.splits.train
    most = max(1, min(samples, MAX_VALUES // max(1, math.prod(data.spec.shape)), len(train)))
    index = np.random.default_rng([seed, most]).choice(len(train), most, replace=False)
    return data.inputs[train[np.sort(index)]]
