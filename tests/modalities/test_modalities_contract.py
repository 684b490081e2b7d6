"""Everything registered as a modality keeps the shipped contract; what does not is caught by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

from autokd import registry
from autokd.errors import DataError
from autokd.modalities import Modality, Shown
from autokd.modalities.examples import Named, Ragged
from autokd.modalities.image import Image
from autokd.modalities.tabular import Tabular
from autokd.protocols import Examples, InputSpec, RawData
from autokd.testing.modalities import check_modality


def raw(kind: str, inputs: Any, **more: Any) -> RawData:
    return RawData(inputs, np.arange(len(inputs)) % 2, ("a", "b"), kind, **more)


def table() -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    rows[:, 1] = np.arange(12) % 4 - 1
    rows[3, 0] = np.nan
    return rows


RNG = np.random.default_rng(0)
EXAMPLES = {
    "image": (
        raw("image", RNG.integers(0, 256, (12, 3, 9, 8)).astype(np.uint8), high=255.0),
        raw("image", RNG.uniform(-2, 5, (12, 1, 8, 8)).astype(np.float32)),
    ),
    "tabular": (
        raw("tabular", table()),
        raw("tabular", table(), facts={"cardinalities": (0, 3, 0)}),
        raw("tabular", RNG.integers(0, 9, (12, 4)).astype(np.uint8)),
    ),
}
"""Data of every registered kind."""


@pytest.mark.parametrize("kind", registry.names("modalities"))
def test_every_registered_modality_keeps_the_contract(kind: str) -> None:
    for data in EXAMPLES[kind]:
        assert check_modality(registry.load("modalities", kind), data).kind == kind


class Scaled(nn.Module):
    """``(x - low) / (high - low)`` in float32."""

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.low, self.span = spec.low, spec.high - spec.low

    def forward(self, *raw: Any) -> Any:
        return sum((x.float() - self.low) / self.span for x in raw)


class Words(Modality):
    """Rows of codes, of different length."""

    axes = "L"
    facts = ("length",)

    def check(self, raw: RawData) -> RawData:
        if not isinstance(raw.inputs, Ragged) or not len(raw.inputs) or set(raw.facts) - {"length"}:
            raise DataError("words must be ragged rows")
        return raw

    def describe(self, raw: RawData, train: np.ndarray) -> InputSpec:
        assert isinstance(raw.inputs, Ragged)
        return InputSpec(raw.kind, (raw.inputs.length,), "int64", low=raw.low, high=raw.high, facts=raw.facts)

    def prepare(self, spec: InputSpec) -> nn.Module:
        return Scaled(spec)

    def examples(self, arrays: Any, spec: InputSpec) -> Examples:
        return Ragged(arrays["values"], arrays["offsets"], spec.shape[0])


class Pair(Modality):
    """Two vectors of every sample."""

    axes = ""

    def check(self, raw: RawData) -> RawData:
        if not isinstance(raw.inputs, Named) or not len(raw.inputs) or raw.facts:
            raise DataError("a pair must be two named arrays")
        return raw

    def describe(self, raw: RawData, train: np.ndarray) -> InputSpec:
        assert isinstance(raw.inputs, Named)
        inputs = {name: (a.shape[1:], a.dtype.name) for name, a in raw.inputs.arrays.items()}
        return InputSpec(raw.kind, (), "", facts={"inputs": inputs})

    def prepare(self, spec: InputSpec) -> nn.Module:
        return Scaled(spec)

    def prepared_shape(self, spec: InputSpec) -> tuple[int, ...]:
        return spec.inputs["left"][0]

    def sample(self, spec: InputSpec, count: int, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        return {name: rng.random((count, *shape)).astype(dtype) for name, (shape, dtype) in spec.inputs.items()}

    def examples(self, arrays: Any, spec: InputSpec) -> Examples:
        return Named({name: arrays[name] for name in spec.inputs})


def test_ragged_rows_and_several_inputs_keep_it_too() -> None:
    lengths = np.arange(12) % 5
    words = Ragged(np.arange(lengths.sum()), np.concatenate([[0], lengths.cumsum()]), 3)
    assert words[np.array([4, 2, 0])].tolist() == [[6, 7, 8], [1, 2, 0], [0, 0, 0]]  # cut, padded, empty
    assert check_modality(Words, raw("words", words, high=40.0, facts={"length": 3})).shape == (3,)
    pair = Named(
        {"left": RNG.random((12, 4)).astype(np.float32), "right": RNG.integers(0, 9, (12, 4)).astype(np.uint8)}
    )
    assert list(check_modality(Pair, raw("pair", pair)).inputs) == ["left", "right"]


class Lax(Image):
    def check(self, raw: RawData) -> RawData:
        return raw


class Together(Image):
    def prepare(self, spec: InputSpec) -> nn.Module:
        class Centred(nn.Module):
            def forward(self, x: Any) -> Any:
                return x - x.mean()

        return Centred()


class Learning(Image):
    def prepare(self, spec: InputSpec) -> nn.Module:
        return nn.Sequential(super().prepare(spec), nn.Conv2d(1, 1, 1))


class Jumpy(Image):
    def augment(self, name: str, spec: InputSpec) -> Any:
        return lambda clean, positions, bits: clean[np.random.default_rng().permutation(len(clean))]


class Blind(Tabular):
    def show(self, *_: Any) -> Shown:
        return Shown()


class Listed(Tabular):
    def describe(self, raw: RawData, train: np.ndarray) -> InputSpec:
        spec = super().describe(raw, train)
        return InputSpec(spec.kind, spec.shape, spec.dtype, facts={"features": list(spec.facts["features"])})


@pytest.mark.parametrize(
    ("make", "kind", "law"),
    [
        (Lax, "image", "must refuse inputs"),
        (Together, "image", "must not depend on its batch"),
        (Learning, "image", "out of its state dict"),
        (Jumpy, "image", "a sample must not depend on its batch"),
        (Blind, "tabular", "one picture each"),
        (Listed, "tabular", "written as JSON"),
    ],
)
def test_what_breaks_the_contract_is_caught(make: type[Modality], kind: str, law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_modality(make, EXAMPLES[kind][1 if kind == "image" else 0])
