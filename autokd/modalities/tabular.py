"""Rows of numbers and categories ``(F,)``; a missing number is NaN, a code outside the known ones an unknown category."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from autokd.errors import DataError
from autokd.modalities.arrays import Moments, chunks, refuse
from autokd.modalities.modality import Bits, Change, Modality, Shown
from autokd.protocols import Examples, InputSpec, RawData

if TYPE_CHECKING:
    from torch import Tensor, nn

NOISE = 0.1
"""Standard deviation of ``noise``, in standard deviations of the feature."""


class Tabular(Modality):
    """Rows of features (F,): numbers standardised, categories one-hot.

    Facts, one entry a feature:

    - ``cardinalities``: 0 for a number, k > 0 for a category coded 0 .. k-1 (any other code means "unknown").
    - ``features``: their names.
    - ``categories``: the words behind each feature's codes, empty for numbers.

    Augmentation ``noise``: Gaussian, a tenth of each numeric feature's standard deviation; categories are left alone. It makes rows
    of counts and sums that cannot occur, so ``auto`` stands for none.
    """

    axes: ClassVar[str] = "F"
    facts: ClassVar[tuple[str, ...]] = ("cardinalities", "features", "categories")
    augmentations: ClassVar[tuple[str, ...]] = ("noise",)

    def space(self, spec: InputSpec) -> str | None:
        """One for tables of any width."""
        return "tabular"

    def words(self, spec: InputSpec) -> str:
        """How many features, and how many of them are categories."""
        words = sum(count > 0 for count in spec.facts.get("cardinalities", ()))
        return f"{spec.shape[0]} features, {words} of them categories"

    def check(self, raw: RawData) -> RawData:
        """The same rows, with every feature's name, cardinality and words.

        Raises:
            DataError: Not one array of rows, an infinite value, or facts that do not fit the features or each other.
        """
        inputs = self.array(raw)
        for start, part in chunks(inputs):
            if part.dtype != np.uint8:
                refuse(np.isinf(part), start, "finite or NaN (missing)")
        return replace(raw, low=float(raw.low), high=float(raw.high), facts=_columns(raw, inputs.shape[1]))

    def moments(self, raw: RawData, train: np.ndarray) -> Moments:
        """Per feature; NaN is ignored, a feature without any number has mean 0, categories have mean 0 and std 1."""
        mean, std = super().moments(raw, train)
        kinds = raw.facts.get("cardinalities") or (0,) * len(mean)
        return (
            tuple(0.0 if k else v for v, k in zip(mean, kinds, strict=True)),
            tuple(1.0 if k else v for v, k in zip(std, kinds, strict=True)),
        )

    def prepare(self, spec: InputSpec) -> nn.Module:
        """``(N, F)`` raw features to ``(N, D)``: numbers standardised, missing ones at the mean; then categories one-hot.

        A category code outside 0 .. k-1, NaN included, becomes zeros only.
        """
        return _encoder()(spec)

    def prepared_shape(self, spec: InputSpec) -> tuple[int, ...]:
        """``(D,)``: one-hot columns included."""
        return (sum(max(1, k) for k in _cardinalities(spec)),)

    def augment(self, name: str, spec: InputSpec) -> Change:
        """Gaussian noise on the numbers."""
        numeric = [k == 0 for k in _cardinalities(spec)]
        return partial(_noise, scale=np.where(numeric, NOISE * np.asarray(spec.std), 0.0).astype(np.float32))

    def sample(self, spec: InputSpec, count: int, seed: int) -> np.ndarray:
        """Rows about the mean, with unknown codes and, of floats, missing values among them."""
        rng = np.random.default_rng(seed)
        values = rng.normal(spec.mean, spec.std, (count, *spec.shape))
        for feature, k in enumerate(_cardinalities(spec)):
            if k:
                values[:, feature] = rng.integers(-1, k + 1, count)
        if spec.dtype == "float32":
            values[rng.random(values.shape) < 0.1] = np.nan
        return values.astype(spec.dtype)

    def show(self, examples: Examples, spec: InputSpec, index: np.ndarray, side: int) -> Shown:
        """Raw rows by feature, categories in words."""
        rows = np.asarray(examples[index])
        names, words = (tuple(spec.facts.get(name, ())) for name in ("features", "categories"))
        columns: dict[str, list[Any]] = {}
        for k in range(rows.shape[1]):
            known = words[k] if k < len(words) else ()
            columns[names[k] if k < len(names) else f"feature {k}"] = [
                (known[int(v)] if 0 <= v < len(known) else "unknown") if known else float(v) for v in rows[:, k]
            ]
        return Shown(columns=columns)


def _cardinalities(spec: InputSpec) -> tuple[int, ...]:
    return tuple(spec.facts.get("cardinalities") or (0,) * spec.shape[0])


def _columns(raw: RawData, count: int) -> dict[str, tuple[Any, ...]]:
    """The facts of all features, whatever the source left out."""
    given = {name: tuple(raw.facts.get(name, ())) for name in Tabular.facts}
    cardinalities = tuple(int(k) for k in given["cardinalities"]) or (0,) * count
    features = given["features"] or tuple(f"feature_{i}" for i in range(count))
    categories = tuple(tuple(words) for words in given["categories"]) or tuple(
        tuple(map(str, range(k))) for k in cardinalities
    )
    facts = {"cardinalities": cardinalities, "features": features, "categories": categories}
    for name, found in facts.items():
        if len(found) != count:
            raise DataError(f"{name} must have one entry for each of the {count} features", len(found))
    if len(set(features)) != count:
        twice = next(f for f in features if features.count(f) > 1)
        raise DataError("feature names must be different", f"{twice!r} twice", "Rename one.")
    for name, k, words in zip(features, cardinalities, categories, strict=True):
        if k < 0 or len(words) != k:
            raise DataError(f"feature {name!r} must have as many words as codes", f"{len(words)} words, {k} codes")
    return facts


@cache
def _encoder() -> Callable[[InputSpec], nn.Module]:
    """The class of the module, made when it is asked for: who checks or shows tables loads no torch."""
    import torch
    from torch import nn

    class EncodeTable(nn.Module):
        """``(N, F)`` to ``(N, D)``."""

        numbers: Tensor
        mean: Tensor
        scale: Tensor
        columns: Tensor
        codes: Tensor

        def __init__(self, spec: InputSpec) -> None:
            super().__init__()
            width, kinds = spec.shape[0], _cardinalities(spec)
            numbers = [i for i, k in enumerate(kinds) if k == 0]
            columns = [i for i, k in enumerate(kinds) for _ in range(k)]
            self.all_numbers, self.any_numbers, self.any_codes = len(numbers) == width, bool(numbers), bool(columns)
            mean, std = (torch.tensor(v, dtype=torch.float32).expand(width).clone() for v in (spec.mean, spec.std))
            chosen = torch.tensor(numbers, dtype=torch.int64)
            self.register_buffer("numbers", chosen, persistent=False)
            self.register_buffer("mean", mean[chosen], persistent=False)
            self.register_buffer("scale", 1.0 / std[chosen], persistent=False)
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

    return EncodeTable


def _noise(clean: np.ndarray, positions: np.ndarray, bits: Bits, *, scale: np.ndarray) -> np.ndarray:
    columns = np.flatnonzero(scale)
    if not len(columns):
        return clean
    # Every (position, feature) has its own counter; NaN stays NaN.
    counter = np.asarray(positions, np.uint64)[:, None] * np.uint64(scale.size) + columns.astype(np.uint64)
    out = clean.copy()
    moved = clean[:, columns] + scale[columns] * _normal(bits(counter))
    if clean.dtype == np.uint8:
        moved = np.clip(np.rint(moved), 0, 255)
    out[:, columns] = moved.astype(clean.dtype)
    return out


def _normal(bits: np.ndarray) -> np.ndarray:
    """Standard normal ``float32`` from 64 random bits each, by the transform of Box and Muller (1958)."""
    radius = ((bits >> np.uint64(32)).astype(np.float64) + 0.5) * 2.0**-32
    angle = (bits & np.uint64(0xFFFFFFFF)).astype(np.float64) * (2 * np.pi * 2.0**-32)
    return (np.sqrt(-2.0 * np.log(radius)) * np.cos(angle)).astype(np.float32)
