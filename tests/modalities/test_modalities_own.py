"""A kind of input without an entry point, ``module:Class``: several inputs and ragged rows are kept, seen and exported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autokd import registry
from autokd.data.augment import SeededViews
from autokd.data.check import checked
from autokd.data.dataset_store import open_dataset, save_dataset
from autokd.data.fingerprint import data_fingerprint
from autokd.deployment.export import export
from autokd.deployment.verify import scores
from autokd.errors import DataError
from autokd.files import source_sha256
from autokd.modalities.examples import Named, Ragged
from autokd.protocols import Dataset, RawData, Splits
from autokd.students.build import family_key
from autokd.students.raw_input import RawInput


def forget() -> None:
    """The module is read again."""
    source_sha256.cache_clear()
    sys.modules.pop("own_kind", None)


OWN = '''
from autokd.modalities import Modality
from autokd.modalities.examples import Named, Ragged
from autokd.protocols import InputSpec
from torch import nn


class Add(nn.Module):
    def forward(self, raw, *more):
        return sum((x.float() for x in more), raw.float())


class Pair(Modality):
    """Two vectors of every sample."""

    axes = ""

    def check(self, raw):
        return raw

    def describe(self, raw, train):
        inputs = {name: (a.shape[1:], a.dtype.name) for name, a in raw.inputs.arrays.items()}
        return InputSpec(raw.kind, (), "", facts={"inputs": inputs})

    def prepare(self, spec):
        return Add()

    def examples(self, arrays, spec):
        return Named(arrays)


class Words(Pair):
    """Rows of codes, of different length."""

    def describe(self, raw, train):
        return InputSpec(raw.kind, (raw.inputs.length,), "int64")

    def examples(self, arrays, spec):
        return Ragged(arrays["values"], arrays["offsets"], spec.shape[0])
'''


@pytest.fixture
def own_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module beside the study file."""
    (tmp_path / "own_kind.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield tmp_path
    forget()


def made(raw: RawData) -> Dataset:
    modality = registry.load("modalities", raw.kind)()
    index = np.arange(len(raw.inputs))
    splits = Splits(index[:4], index[4:6], index[6:8], index[8:])
    spec = modality.describe(modality.check(raw), splits.train)
    return Dataset("own", raw.inputs, raw.targets, raw.classes, spec, splits, data_fingerprint(raw, splits))


def test_several_inputs_are_kept_seen_and_exported(own_kind: Path) -> None:
    rng = np.random.default_rng(0)
    inputs = Named({"left": rng.random((10, 3), np.float32), "right": rng.integers(0, 9, (10, 3)).astype(np.uint8)})
    raw = RawData(inputs, np.arange(10) % 2, ("a", "b"), "own_kind:Pair")
    data = made(raw)
    folder = save_dataset(data, own_kind / "store")
    again = open_dataset(folder)
    assert sorted(f.name for f in folder.glob("inputs*")) == ["inputs.left.npy", "inputs.right.npy"]
    assert again.spec == data.spec
    batch = SeededViews(again, "none", 0, 2).batch(np.array([2, 1]), 0)
    assert {n: a.dtype.name for n, a in batch.items()} == {"left": "float32", "right": "uint8"}  # type: ignore[attr-defined]
    model = RawInput(nn.Linear(3, 2), data.spec)
    export(model, data.spec, ("a", "b"), own_kind / "pair.onnx", name="pair")
    whole = inputs[np.arange(10)]
    wanted = model.model(model.prepare(*_tensors(whole))).detach().numpy()
    np.testing.assert_allclose(scores(own_kind / "pair.onnx", whole), wanted, atol=1e-5)
    other = Named({**inputs.arrays, "right": inputs.arrays["right"] + np.uint8(1)})
    assert made(RawData(other, raw.targets, raw.classes, raw.kind)).fingerprint != data.fingerprint


def test_ragged_rows_are_kept_and_handed_out_as_one_array(own_kind: Path) -> None:
    lengths = np.arange(10) % 4
    words = Ragged(np.arange(lengths.sum()), np.concatenate([[0], lengths.cumsum()]), 3)
    data = made(RawData(words, np.arange(10) % 2, ("a", "b"), "own_kind:Words"))
    again = open_dataset(save_dataset(data, own_kind / "store"))
    assert again.inputs[np.array([3, 2, 0])].tolist() == [[3, 4, 5], [1, 2, 0], [0, 0, 0]]
    assert SeededViews(again, "none", 0, 1).batch(np.array([3]), 0).tolist() == [[3, 4, 5]]


def test_an_edited_modality_is_another_one(own_kind: Path) -> None:
    spec = made(_words()).spec
    before = family_key("mlp", spec, 2)
    (own_kind / "own_kind.py").write_text(OWN.replace("sum(", "1 + sum("))
    forget()
    assert family_key("mlp", spec, 2) != before


def test_a_fact_must_be_plain_and_have_a_name_of_its_own(own_kind: Path) -> None:
    for facts, said in (({"shape": 3}, "named like a field"), ({"odd": {1, 2}}, "plain JSON")):
        with pytest.raises(DataError, match=said):
            checked(replace(_words(), facts=facts), "mine")


def _words() -> RawData:
    return RawData(Ragged(np.arange(10), np.arange(11), 2), np.arange(10) % 2, ("a", "b"), "own_kind:Words")


def _tensors(batch: dict[str, np.ndarray]) -> list[Any]:
    return [torch.from_numpy(a) for a in batch.values()]
