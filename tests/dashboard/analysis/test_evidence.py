"""What a trial's folder tells of its student: mistakes, blocks, curves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autokd.dashboard.analysis import evidence
from autokd.data.dataset_store import save_dataset
from autokd.errors import StudyError
from autokd.protocols import InputSpec
from tests.dashboard.made_data import dataset, scores_of


def test_the_confusion_matrix_and_the_surest_mistakes(tmp_path: Path) -> None:
    data = dataset()
    folder = save_dataset(data, tmp_path)
    np.save(tmp_path / "scores.npy", scores_of(data))
    found = evidence.judge(tmp_path / "scores.npy", folder, "d")
    assert (found.samples, found.wrong, found.accuracy) == (40, 3, 37 / 40)
    assert found.matrix[0].tolist() == [3, 1] + [0] * 8 and found.matrix.sum() == 40
    assert [(m.truth, m.said) for m in found.mistakes] == [("2", "3"), ("1", "2"), ("0", "1")]
    assert found.mistakes[0].confidence == pytest.approx(np.exp(5) / (np.exp(5) + 9))
    raw = data.inputs[22, 0] / 16 * 255
    assert found.pictures[0].shape == (112, 112)
    assert np.array_equal(found.pictures[0][::14, ::14], np.rint(raw).astype(np.uint8))
    assert evidence.confusions(found)["of the class (%)"].tolist() == [25.0] * 3
    assert evidence.class_table(found)["accuracy (%)"].tolist() == [75.0] * 3 + [100.0] * 7


@pytest.mark.parametrize("shape", [(39, 10), (40, 9)])
def test_scores_of_something_else_are_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    folder = save_dataset(dataset(), tmp_path)
    np.save(tmp_path / "scores.npy", np.zeros(shape, np.float32))
    with pytest.raises(StudyError, match="40 validation samples and 10 classes"):
        evidence.judge(tmp_path / "scores.npy", folder)


def test_other_data_are_refused(tmp_path: Path) -> None:
    folder = save_dataset(dataset(), tmp_path)
    np.save(tmp_path / "scores.npy", scores_of(dataset()))
    with pytest.raises(StudyError, match="another data set"):
        evidence.judge(tmp_path / "scores.npy", folder, "e")


def test_a_colour_photograph_is_made_smaller_and_keeps_its_channels(tmp_path: Path) -> None:
    spec = InputSpec("image", (3, 600, 400), "uint8", (0.0,) * 3, (1.0,) * 3, 0.0, 255.0)
    data = replace(dataset(), inputs=np.full((60, 3, 600, 400), 7, np.uint8), spec=spec)
    shown = evidence.picture(data, 0)
    assert shown.shape == (200, 134, 3) and set(np.unique(shown)) == {7}


def test_data_that_moved_with_the_ledger_are_found(tmp_path: Path) -> None:
    folder = save_dataset(dataset(), tmp_path / "datasets")
    facts = {"data": {"folder": f"/gone/datasets/{folder.name}"}}
    assert evidence.data_folder(facts, tmp_path) == folder
    with pytest.raises(StudyError, match="must be there"):
        evidence.data_folder(facts, tmp_path / "nowhere")


def test_a_damaged_curve_keeps_its_good_points(tmp_path: Path) -> None:
    good = {"samples": 10, "loss": 1.0, "validation_accuracy": 0.5, "cpu_s": 0.1}
    (tmp_path / "curve.json").write_text(json.dumps([good, {"samples": 20}, None]))
    assert [p.samples for p in evidence.curve(tmp_path)] == [10]
    (tmp_path / "curve.json").write_text("{")
    assert evidence.curve(tmp_path) == ()
