"""Seeded augmented views: a sample's values depend only on (seed, view, position), never on its batch.

Randomness is counter-based: the finaliser of splitmix64 (G. L. Steele, D. Lea, C. H. Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014, https://doi.org/10.1145/2660193.2660195) hashes a counter
made of the three.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial

import numpy as np

from autokd import registry
from autokd.errors import ConfigError, nearest
from autokd.protocols import Dataset

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def names(kind: str) -> tuple[str, ...]:
    """The augmentations of a modality: ``auto`` (the one it stands for is the modality's), ``none`` (every view is the clean
    data), and its own.
    """
    return ("auto", "none", *registry.load("modalities", kind)().augmentations)


class SeededViews:
    """Augmented views of the train split; implements :class:`autokd.protocols.Views`.

    Args:
        dataset: The data.
        augment: One of :func:`names`.
        seed: Another seed gives other views.
        count: Number of distinct views, at least 1; without augmentation there is one.

    Raises:
        ConfigError: Unknown augmentation for this kind of data.
    """

    def __init__(self, dataset: Dataset, augment: str, seed: int, count: int) -> None:
        spec = dataset.spec
        modality = registry.load("modalities", spec.kind)()
        if augment not in names(spec.kind):
            law = f"`augment` must be one of those for {spec.kind} data"
            raise ConfigError(law, repr(augment), nearest(augment, names(spec.kind)))
        if count < 1:
            raise ConfigError("`views` must be at least 1", count)
        self.augment = modality.auto if augment == "auto" else augment
        # without augmentation all views are one: the teacher need not score it again
        self.count, self.size = 1 if self.augment == "none" else count, len(dataset.splits.train)
        own = registry.identity("modalities", spec.kind)
        facts = [dataset.fingerprint, self.augment, seed, self.count, *([] if own == f"{spec.kind}@1" else [own])]
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        self._seed = seed
        # a plain view: indexing np.memmap itself is slow
        self._inputs = np.asarray(dataset.inputs) if isinstance(dataset.inputs, np.ndarray) else dataset.inputs
        self._train = dataset.splits.train
        self._change = None if self.augment == "none" else modality.augment(self.augment, spec)

    def batch(self, positions: np.ndarray, view: int) -> np.ndarray:
        """Raw values ``(B, *shape)``, in the source's dtype, of the training samples at ``(B,)`` positions."""
        clean: np.ndarray = self._inputs[self._train[positions]]
        if self._change is None:
            return clean
        changed: np.ndarray = self._change(clean, positions, view_bits(self._seed, view % self.count))
        return changed


def view_bits(seed: int, view: int) -> Callable[[np.ndarray], np.ndarray]:
    """The random bits of a view: ``uint64`` of each counter."""
    return partial(_hash, _key(seed, view))


def _key(seed: int, view: int) -> int:
    """A 64-bit stream key in which neighbouring seeds and views have nothing in common."""
    text = f"autokd view {seed} {view}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _hash(stream: int, counter: np.ndarray) -> np.ndarray:
    """``uint64`` random bits of each counter: splitmix64 at that place of the stream."""
    z = np.asarray(counter).astype(np.uint64)
    z = (z + np.uint64(1)) * np.uint64(_GOLDEN) + np.uint64(stream & _MASK)  # uint64 arrays wrap around silently
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
