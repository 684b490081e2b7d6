"""A kind of input from another package, one file and one entry point: it is checked, split, augmented, searched and exported."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support import run_here, write_study

from autokd import registry
from autokd.data.augment import SeededViews, names
from autokd.data.dataset import load_dataset
from autokd.data.dataset_store import open_dataset, save_dataset
from autokd.data.fingerprint import data_fingerprint
from autokd.deployment.verify import scores
from autokd.errors import ConfigError
from autokd.files import source_sha256
from autokd.protocols import Dataset, RawData
from autokd.teachers.inputs import InputRule
from autokd.testing.families import check_family
from autokd.testing.modalities import check_modality

FILES = {
    "__init__.py": '"""Signals, of which autokd knows nothing."""\n',
    "signal.py": '''
import numpy as np
import torch
from torch import nn

from autokd.modalities import Modality, Shown


class Standardise(nn.Module):
    """Every channel by its own mean and deviation."""

    def __init__(self, spec):
        super().__init__()
        self.register_buffer("mean", torch.tensor(spec.mean)[:, None], persistent=False)
        self.register_buffer("std", torch.tensor(spec.std)[:, None], persistent=False)

    def forward(self, raw):
        return (raw - self.mean) / self.std


def later(clean, positions, bits):
    steps = (bits(positions) >> np.uint64(32)).astype(np.int64) % clean.shape[2]
    index = (np.arange(clean.shape[2]) + steps[:, None]) % clean.shape[2]
    return np.take_along_axis(clean, index[:, None], axis=2)


class Signal(Modality):
    """Steps of a few channels (C, L), standardised per channel."""

    axes = "CL"
    dtypes = ("float32",)
    facts = ("rate_hz",)
    augmentations = ("later",)
    auto = "later"

    def prepare(self, spec):
        return Standardise(spec)

    def augment(self, name, spec):
        return later

    def show(self, examples, spec, index, side):
        return Shown(columns={f"channel {c}": [examples[i][c].tolist() for i in index] for c in range(spec.shape[0])})
''',
    "source.py": '''
import numpy as np

from autokd.protocols import RawData


def tones(options):
    """Two channels of a slow or a fast tone in noise."""
    rng = np.random.default_rng(0)
    targets = np.arange(300) % 2
    phase = rng.uniform(0, 6.28, (300, 2, 1)) + np.arange(32) * np.where(targets, 1.2, 0.4)[:, None, None]
    values = 50 + 5 * np.sin(phase) + rng.normal(0, 1, (300, 2, 32))
    return RawData(values.astype(np.float32), targets, ("slow", "fast"), "signal", low=0, high=100, facts={"rate_hz": 32})
''',
    "nets.py": '''
from torch import nn


class Net(nn.Module):
    def __init__(self, channels, width, classes):
        super().__init__()
        self.first = nn.Conv1d(channels, width, 5, stride=2)
        self.second = nn.Conv1d(width, 2 * width, 5, stride=2)
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, x):
        return self.classifier(self.second(self.first(x).relu()).relu().mean(2))

    def prune_groups(self):
        return {"first": [self.first]}


class Convs:
    """Two convolutions along time."""

    kinds = frozenset({"signal"})
    defaults = {"width": 8}

    def build(self, params, spec, classes):
        return Net(spec.shape[0], int({**self.defaults, **params}["width"]), classes)
''',
}
POINTS = """
[autokd.modalities]
signal = listens.signal:Signal
[autokd.data]
tones = listens.source:tones
[autokd.families]
convs_1d = listens.nets:Convs
"""
SPACE = {
    "family": "convs_1d",
    "parameters": {
        "width": {"choice": [6, 8], "stage": "build"},
        "prune_first": {"choice": [0.5], "stage": "prune"},
        "bits": {"choice": [8], "stage": "quantize"},
    },
}
STUDY: dict[str, Any] = {
    "name": "signals",
    "data": {"source": "tones"},
    "teacher": {"family": "convs_1d", "params": {"width": 16}, "training": {"epochs": 6, "batch_size": 32, "lr": 0.05}},
    "space": SPACE,
    "hardware": ["cpu_1_thread"],
    "objectives": ["maximize accuracy", "minimize size_bytes"],
    "sampler": "optuna:random",
    "runner": "inline",
    "budget": {"trials": 1},
    "training": {"epochs": 6, "batch_size": 32, "lr": 0.05, "views": 2},
    "resources": {"device": "cpu"},
}


def forget() -> None:
    """What was read of the packages is read again."""
    registry._points.cache_clear()
    source_sha256.cache_clear()
    for name in [m for m in sys.modules if m.partition(".")[0] == "listens"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def listens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package and its ``dist-info`` in a folder on the path, of worker processes too."""
    folder = tmp_path_factory.mktemp("listens")
    (folder / "listens").mkdir()
    for name, text in FILES.items():
        (folder / "listens" / name).write_text(text)
    info = folder / "listens-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: listens\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))
        forget()
        yield folder
    forget()


@pytest.fixture
def tones(listens: Path, tmp_path: Path) -> Dataset:
    return load_dataset("tones", None, {}, seed=0, cache_dir=tmp_path / "cache")


def test_it_is_checked_described_split_and_kept(tones: Dataset, tmp_path: Path) -> None:
    spec, train = tones.spec, np.asarray(tones.inputs[tones.splits.train])
    assert (spec.kind, spec.shape, spec.dtype, dict(spec.facts)) == ("signal", (2, 32), "float32", {"rate_hz": 32})
    np.testing.assert_allclose(spec.mean, train.mean((0, 2)), rtol=1e-5)
    np.testing.assert_allclose(spec.std, train.std((0, 2)), rtol=1e-5)
    again = open_dataset(save_dataset(tones, tmp_path))
    assert again.spec == spec and np.array_equal(again.inputs[np.array([7])], tones.inputs[np.array([7])])
    raw = RawData(train, tones.targets, tones.classes, "signal", facts={"rate_hz": 32})
    other = RawData(train, tones.targets, tones.classes, "signal", facts={"rate_hz": 64})
    assert data_fingerprint(raw, tones.splits) != data_fingerprint(other, tones.splits)


def test_it_has_views_of_its_own(tones: Dataset) -> None:
    assert names("signal") == ("auto", "none", "later")
    views, every = SeededViews(tones, "auto", 0, 2), np.arange(8)
    clean, moved = np.asarray(tones.inputs[tones.splits.train[:8]]), views.batch(every, 0)
    assert np.array_equal(np.sort(clean, axis=2), np.sort(moved, axis=2)) and not np.array_equal(clean, moved)
    with pytest.raises(ConfigError, match="for signal data"):
        SeededViews(tones, "shift", 0, 2)


def test_it_keeps_the_contracts(tones: Dataset) -> None:
    raw = registry.load("data", "tones")(None)
    assert check_modality(registry.load("modalities", "signal"), raw).kind == "signal"
    check_family(registry.load("families", "convs_1d"), tones.spec, classes=2)


def test_teachers_read_it_by_its_axes(tones: Dataset) -> None:
    assert InputRule.parse({"mean": [50, 49], "layout": "NF"}, tones.spec).mean == (50.0, 49.0)
    for block, said in (
        ({"mean": [1, 2, 3]}, "one per channel"),
        ({"size": 8}, "images only"),
        ({"layout": "NHWC"}, "NF"),
    ):
        with pytest.raises(ConfigError, match=said):
            InputRule.parse(block, tones.spec)


def test_families_of_other_kinds_refuse_it(tones: Dataset) -> None:
    with pytest.raises(ConfigError, match="must be image or tabular, but got signal data"):
        registry.load("families", "mlp")().build({}, tones.spec, 2)


def test_a_search_trains_prunes_quantizes_and_exports_it(listens: Path, tmp_path: Path) -> None:
    write_study(tmp_path, STUDY)
    ran = run_here("search", "study.yaml", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.stderr
    (member,) = json.loads(ran.stdout)["members"]
    shown = json.loads(run_here("show", "signals", str(member["number"]), "--json", cwd=tmp_path).stdout)
    measured = {m["metric"]: m["value"] for m in shown["measurements"]}
    assert measured["accuracy"] > 0.9
    assert {"prune", "export", "quantize", "verify"} <= {stage["stage"] for stage in shown["stages"]}
    exported = run_here("export", "signals", "-o", "student.onnx", cwd=tmp_path)
    assert exported.code == 0, exported.stderr
    (read,) = onnx.load(tmp_path / "student.onnx").graph.input
    assert [d.dim_param or d.dim_value for d in read.type.tensor_type.shape.dim] == ["batch", 2, 32]
    data = open_dataset(next((tmp_path / ".autokd" / "datasets").iterdir()))
    found = scores(tmp_path / "student.onnx", np.asarray(data.inputs[data.splits.test]))
    assert (found.argmax(1) == data.targets[data.splits.test]).mean() > 0.9
