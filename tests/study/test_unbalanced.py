"""A study of two unequal classes, with class weights: what the commands and the receipt say of each class."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from support import Ran, run_here, tiny, write_study

from autokd.deployment.receipt import read_receipt
from autokd.storage.by_class import ByClass
from autokd.study.study import Study

COMMON, RARE = "common", "rare"


@pytest.fixture(scope="module")
def unbalanced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study of 300 and 60 digits, one of its students on the front."""
    folder = tmp_path_factory.mktemp("unbalanced")
    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target
    common, rare = np.flatnonzero(labels < 5)[:300], np.flatnonzero(labels >= 8)[:60]
    names = np.array([COMMON] * len(common) + [RARE] * len(rare))
    np.savez(folder / "two.npz", x=images[np.concatenate([common, rare])], y=names)
    values = tiny(
        data={"source": "npz", "path": "two.npz"},
        training={"epochs": 40, "batch_size": 32, "augment": "none", "views": 1, "class_weights": "auto"},
        teacher__training={"epochs": 40, "batch_size": 32, "class_weights": {RARE: 3}},
        objectives=["maximize recall_min", "minimize latency_ms@cpu_1_thread"],
        budget={"trials": 2, "trial_s": 120},
    )
    write_study(folder, values)
    ran = run_here("search", "study.yaml", cwd=folder)
    assert ran.code == 0, ran.stderr
    return folder


@pytest.fixture
def ask(unbalanced: Path, run_cli: Callable[..., Ran]) -> Callable[..., Any]:
    def run(*args: str) -> Any:
        ran = run_cli(*args, cwd=unbalanced)
        assert ran.code == 0, ran.stderr
        return json.loads(ran.stdout) if "--json" in args else ran.stdout

    return run


def test_every_student_s_recalls_are_kept(ask: Callable[..., Any]) -> None:
    found = ask("show", "tiny", "0", "--json")
    counts = ByClass.read(found["by_class"]["validation"])
    assert counts is not None and found["classes"] == [COMMON, RARE] and found["by_class"]["test"] is None
    by_name = {m["metric"]: m for m in found["measurements"]}
    assert by_name["recall_min"]["value"] == pytest.approx(counts.recall(counts.worst))
    assert by_name["accuracy"]["value"] == pytest.approx(sum(counts.right) / sum(counts.of))


def test_the_front_shows_the_worst_class_where_classes_are_unequal(ask: Callable[..., Any]) -> None:
    told = ask("front", "tiny", "--json")
    assert told["classes"] == [COMMON, RARE]
    for member in told["members"]:
        counts = member["by_class"]["validation"]
        assert counts["recall"][counts["worst"]] == member["values"]["recall_min"]
    shown = ask("front", "tiny")
    assert "worst class" in shown and "--by-class shows the recall of each" in shown
    worst = told["classes"][told["members"][0]["by_class"]["validation"]["worst"]]
    assert worst in shown and "Recall of each class" not in shown
    assert "Recall of each class on the validation split (%)" in ask("front", "tiny", "--by-class")


def test_balanced_classes_need_no_column(finished: Path, run_cli: Callable[..., Ran]) -> None:
    assert "worst class" not in run_cli("front", "tiny", cwd=finished).stdout
    table = run_cli("front", "tiny", "--by-class", cwd=finished).stdout
    assert "Recall of each class on the validation split (%)" in table
    assert "recall by class" in run_cli("show", "tiny", "0", cwd=finished).stdout


def test_confirm_tells_the_test_split_s(ask: Callable[..., Any], unbalanced: Path) -> None:
    found = ask("confirm", "tiny", "--json")
    for member in found["members"]:
        counts = ByClass.read(member["by_class"]["test"])
        assert counts is not None
        assert member["confirmed"]["recall_min"] == pytest.approx(counts.recall(counts.worst))
        assert member["confirmed"]["accuracy"] == pytest.approx(sum(counts.right) / sum(counts.of))
    shown = ask("confirm", "tiny", "--by-class")
    assert "Recall of each class on the test split (%)" in shown and "on test" in shown
    number = str(found["members"][0]["number"])
    assert "on the test split" in ask("show", "tiny", number)


def chosen(unbalanced: Path) -> tuple[Study, int, np.ndarray, np.ndarray]:
    """The study, a student, and its scores and targets on the validation split."""
    study = Study.open("tiny", f"sqlite:///{unbalanced}/autokd.db")
    number = study.front()[0].number
    data = next((unbalanced / ".autokd" / "datasets").glob("*"))
    targets = np.load(data / "targets.npy")[np.load(data / "validation.npy")]
    return study, number, np.load(study.home / "trials" / f"{number:05d}" / "validation_scores.npy"), targets


def test_the_receipt_has_thresholds_of_the_rarer_class(unbalanced: Path, tmp_path: Path) -> None:
    study, number, scores, targets = chosen(unbalanced)
    file = study.best(trial=number).export(tmp_path / "a.onnx")
    receipt = read_receipt(file.with_suffix(".receipt.json"))
    found = receipt["decision"]
    assert (found["split"], found["samples"], found["positive"]) == ("validation", len(targets), RARE)
    assert "nats" in found["rule"] and "rarer" in found["positive_because"]
    assert [t["goal"] for t in found["thresholds"]] == ["largest_score", "f1", "balanced_accuracy"]
    for one in found["thresholds"]:
        said = scores[:, 1].astype(float) - scores[:, 0] >= one["score_difference"]
        assert one["true_positives"] == (said & (targets == 1)).sum()
        assert one["false_positives"] == (said & (targets == 0)).sum()
    recalls = receipt["recall_by_class"]
    assert recalls[RARE]["of"] == (targets == 1).sum() and 0 <= recalls[COMMON]["recall"] <= 1


def test_another_positive_class_may_be_asked_for(unbalanced: Path, run_cli: Callable[..., Ran]) -> None:
    ran = run_cli("export", "tiny", "--positive", COMMON, "-o", "b.onnx", cwd=unbalanced)
    assert ran.code == 0, ran.stderr
    receipt = read_receipt(unbalanced / "b.receipt.json")
    assert receipt["decision"]["positive"] == COMMON and f"--positive {COMMON}" in receipt["command"]


@pytest.mark.parametrize(
    ("place", "name", "said"),
    [("unbalanced", "rar", "Did you mean 'rare'?"), ("finished", "3", "for data of two classes")],
)
def test_a_positive_class_that_cannot_be(
    place: str, name: str, said: str, request: pytest.FixtureRequest, run_cli: Callable[..., Ran]
) -> None:
    folder = request.getfixturevalue(place)
    ran = run_cli("export", "tiny", "--positive", name, "-o", "c.onnx", cwd=folder)
    assert ran.code == 2 and said in ran.stderr and not (folder / "c.onnx").exists()


def test_more_classes_have_no_threshold(finished: Path, tmp_path: Path) -> None:
    file = Study.open("tiny", f"sqlite:///{finished}/autokd.db").best().export(tmp_path / "d.onnx")
    found = read_receipt(file.with_suffix(".receipt.json"))["decision"]
    assert found["thresholds"] is None and "two classes; the data have 10" in found["why"]


def test_without_the_scores_the_receipt_says_why(unbalanced: Path, tmp_path: Path) -> None:
    shutil.copytree(unbalanced, tmp_path / "copy")
    study = Study.open("tiny", f"sqlite:///{tmp_path}/copy/autokd.db")
    for member in study.front():
        (study.home / "trials" / f"{member.number:05d}" / "validation_scores.npy").unlink()
    copied = tmp_path / "copy" / ".autokd" / "studies" / "tiny"
    shutil.rmtree(copied / "stages", ignore_errors=True)
    for file in (copied / "trials").glob("*/validation_scores.npy"):
        file.unlink()
    found = read_receipt(study.best().export(tmp_path / "e.onnx").with_suffix(".receipt.json"))["decision"]
    assert found["thresholds"] is None and "scores of the student" in found["why"]
