"""Seeded augmented views: a sample's pixels depend only on (seed, view, position), never on its batch.

Randomness is counter-based: the finaliser of splitmix64 (G. L. Steele, D. Lea, C. H. Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014, https://doi.org/10.1145/2660193.2660195) hashes a counter
made of the three.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from autokd.errors import ConfigError, nearest
from autokd.protocols import Dataset

_NAMES = {
    "image": ("auto", "none", "shift", "shift_flip", "crop_flip"),
    "tabular": ("auto", "none", "noise"),
}
_AUTO = {"image": "shift", "tabular": "none"}  # noise on counts and sums makes rows that cannot occur: ask for it
NOISE = 0.1
"""Standard deviation of ``noise``, in standard deviations of the feature."""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def names(kind: str) -> tuple[str, ...]:
    """The augmentations for ``"image"`` or ``"tabular"`` data.

    - ``auto``: ``shift`` for images, ``none`` for tables.
    - ``none``: every view is the clean data.
    - ``shift``: by up to an eighth of height and width, either way, filled with the lowest raw value.
    - ``shift_flip``: the same, mirrored half of the time.
    - ``crop_flip``: a crop of the image padded by an eighth through reflection, mirrored half of the time.
    - ``noise``: Gaussian, a tenth of each numeric feature's standard deviation; categories are left alone.
    """
    return _NAMES[kind]


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
        if augment not in names(spec.kind):
            law = f"`augment` must be one of those for {spec.kind} data"
            raise ConfigError(law, repr(augment), nearest(augment, names(spec.kind)))
        if count < 1:
            raise ConfigError("`views` must be at least 1", count)
        self.augment = _AUTO[spec.kind] if augment == "auto" else augment
        # without augmentation all views are one: the teacher need not score it again
        self.count, self.size = 1 if self.augment == "none" else count, len(dataset.splits.train)
        facts = [dataset.fingerprint, self.augment, seed, self.count]
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        self._seed = seed
        self._inputs = np.asarray(dataset.inputs)  # a plain view: indexing np.memmap itself is slow
        self._train = dataset.splits.train
        self._low = spec.low
        if spec.kind == "tabular":
            numeric = [k == 0 for k in spec.cardinalities] or [True] * spec.shape[0]
            self._scale = np.where(numeric, NOISE * np.asarray(spec.std), 0.0).astype(np.float32)
            self._columns = np.flatnonzero(self._scale)
        else:
            _, height, width = spec.shape
            self._reach = (_reach(height), _reach(width))

    def batch(self, positions: np.ndarray, view: int) -> np.ndarray:
        """Raw values ``(B, *shape)``, in the source's dtype, of the training samples at ``(B,)`` positions."""
        clean = self._inputs[self._train[positions]]
        if self.augment == "none":
            return clean
        stream = _key(self._seed, view % self.count)
        if self.augment == "noise":
            return self._noise(clean, positions, stream)
        bits = _hash(stream, positions)
        padded = _reflect(clean, self._reach) if self.augment == "crop_flip" else self._fill(clean)
        moved = _windows(padded, clean.shape[2:], self._reach, bits)
        return moved if self.augment == "shift" else _mirror(moved, bits)

    def _fill(self, clean: np.ndarray) -> np.ndarray:
        (dy, dx), (b, c, h, w) = self._reach, clean.shape
        padded = np.full((b, c, h + 2 * dy, w + 2 * dx), self._low, dtype=clean.dtype)
        padded[:, :, dy : dy + h, dx : dx + w] = clean
        return padded

    def _noise(self, clean: np.ndarray, positions: np.ndarray, stream: int) -> np.ndarray:
        columns = self._columns
        if not len(columns):
            return clean
        # Every (position, feature) has its own counter; NaN stays NaN.
        counter = np.asarray(positions, np.uint64)[:, None] * np.uint64(self._scale.size) + columns.astype(np.uint64)
        out = clean.copy()
        moved = clean[:, columns] + self._scale[columns] * _normal(_hash(stream, counter))
        if clean.dtype == np.uint8:
            moved = np.clip(np.rint(moved), 0, 255)
        out[:, columns] = moved.astype(clean.dtype)
        return out


def _reach(length: int) -> int:
    """Pixels of an axis that an image may move: an eighth, at least 1 from 4 pixels on."""
    return 0 if length < 4 else max(1, (length + 4) // 8)


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


def _normal(bits: np.ndarray) -> np.ndarray:
    """Standard normal ``float32`` from 64 random bits each, by the transform of Box and Muller (1958)."""
    radius = ((bits >> np.uint64(32)).astype(np.float64) + 0.5) * 2.0**-32
    angle = (bits & np.uint64(0xFFFFFFFF)).astype(np.float64) * (2 * np.pi * 2.0**-32)
    return (np.sqrt(-2.0 * np.log(radius)) * np.cos(angle)).astype(np.float32)


def _offsets(bits: np.ndarray, shift: int, choices: int) -> np.ndarray:
    """Uniform in 0 .. choices-1 from 16 of the bits."""
    part = (bits >> np.uint64(shift)) & np.uint64(0xFFFF)
    return ((part * np.uint64(choices)) >> np.uint64(16)).astype(np.int64)


def _windows(padded: np.ndarray, size: tuple[int, ...], reach: tuple[int, int], bits: np.ndarray) -> np.ndarray:
    """Each sample's own ``size`` window of ``padded``: one strided gather, no loop over samples."""
    windows = sliding_window_view(padded, size, axis=(2, 3))
    top, left = _offsets(bits, 48, 2 * reach[0] + 1), _offsets(bits, 32, 2 * reach[1] + 1)
    return windows[np.arange(len(padded)), :, top, left]


def _reflect(clean: np.ndarray, reach: tuple[int, int]) -> np.ndarray:
    rows, columns = (_mirrored(n, r) for n, r in zip(clean.shape[2:], reach, strict=True))
    return clean.take(rows, axis=2).take(columns, axis=3)


def _mirrored(length: int, reach: int) -> np.ndarray:
    """Indices of an axis padded by reflection that does not repeat the edge."""
    index = np.abs(np.arange(-reach, length + reach))
    return np.minimum(index, 2 * (length - 1) - index)


def _mirror(images: np.ndarray, bits: np.ndarray) -> np.ndarray:
    flip = (bits & np.uint64(1)).astype(bool)
    images[flip] = images[flip][..., ::-1]
    return images
