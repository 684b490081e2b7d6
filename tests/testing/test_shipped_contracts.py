"""The shipped contracts of sources, importances and teachers catch what does not hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autokd.compression.importance import L1
from autokd.data.digits import load as digits
from autokd.errors import DataError
from autokd.protocols import DataOptions, InputSpec, RawData, TeacherOptions
from autokd.testing.importance import check_importance
from autokd.testing.sources import check_source
from autokd.testing.teachers import check_teacher

SAMPLE = np.arange(12, dtype=np.float32).reshape(4, 3)
OPTIONS = TeacherOptions({}, InputSpec("tabular", (3,), "float32", (0.0,) * 3, (1.0,) * 3), 2, SAMPLE, "cpu", Path())


def random_rows(options: DataOptions) -> RawData:
    return replace(digits(options), inputs=np.random.default_rng().random((1797, 1, 8, 8)).astype(np.float32))


def test_a_source_that_draws_anew_is_caught() -> None:
    with pytest.raises(AssertionError, match="the same inputs"):
        check_source(random_rows)


def test_a_source_with_a_class_that_never_occurs_is_caught() -> None:
    with pytest.raises(AssertionError, match="every class must occur"):
        check_source(lambda options: replace(digits(options), classes=tuple("0123456789x")))


def test_a_source_of_something_else_is_refused_as_in_a_study() -> None:
    with pytest.raises(DataError, match="RawData"):
        check_source(lambda options: [1, 2])  # type: ignore[arg-type,return-value]


def test_a_source_that_needs_a_path_says_so() -> None:
    def load(options: DataOptions) -> RawData:
        return digits(options)

    vars(load)["path"] = "required"
    with pytest.raises(AssertionError, match="needs a path"):
        check_source(load)
    assert len(check_source(load, Path("here")).classes) == 10


class Upside(L1):
    """What matters least comes first."""

    def scorer(self) -> Any:
        found = super().scorer()
        return lambda group: -found(group)  # type: ignore[operator]


class Whole(L1):
    """One number for all channels."""

    def scorer(self) -> Any:
        return lambda group: torch.ones(())


class Dice(L1):
    """Another answer every time."""

    def scorer(self) -> Any:
        return lambda group: torch.rand(8)


@pytest.mark.parametrize(("wrong", "law"), [(Upside, "matter least"), (Whole, "one score"), (Dice, "equal scores")])
def test_an_importance_that_cannot_be_used_is_caught(wrong: type[L1], law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_importance(wrong)


class Linear:
    """A teacher of two classes."""

    name, fingerprint = "linear", "0" * 64

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        return np.stack([inputs.sum(1), -inputs.sum(1)], 1).astype(np.float32)

    def onnx_file(self) -> Path | None:
        return None


class Centred(Linear):
    def logits(self, inputs: np.ndarray) -> np.ndarray:
        return super().logits(inputs - inputs.mean(0))


class Double(Linear):
    def logits(self, inputs: np.ndarray) -> np.ndarray:
        return super().logits(inputs).astype(np.float64)


def test_a_good_teacher_passes() -> None:
    assert check_teacher(lambda options: Linear(), OPTIONS).name == "linear"


@pytest.mark.parametrize(("wrong", "law"), [(Centred, "depend on the batch"), (Double, "float32")])
def test_a_teacher_that_cannot_teach_is_caught(wrong: type[Linear], law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_teacher(lambda options: wrong(), OPTIONS)
