"""The check-up: figures computed by hand, warnings where they belong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from autokd.errors import TeacherError
from autokd.teachers.checkup import check_up, expected_calibration_error


@dataclass
class Fixed:
    """A teacher that answers with the logits it was made with."""

    answer: np.ndarray
    name: str = "fixed"
    fingerprint: str = "fixed"

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        return self.answer

    def onnx_file(self) -> None:
        return None


def run(answer: np.ndarray, targets: np.ndarray, classes: int, majority: float = 0.3) -> Any:
    return check_up(Fixed(answer.astype(np.float32)), np.zeros((len(targets), 1)), targets, classes, majority)


def test_calibration_error_by_hand() -> None:
    """Bin (.6, .667]: two of .65, one right: gap .15; bin (.933, 1]: two of .95 and 1, both right: gap .025."""
    confidence, correct = np.array([0.65, 0.65, 0.95, 1.0]), np.array([True, False, True, True])
    assert expected_calibration_error(confidence, correct) == pytest.approx((2 * 0.15 + 2 * 0.025) / 4)


def test_calibration_error_knows_its_edges() -> None:
    """A confidence on an edge belongs to the bin below: .2 and .19 share one of five bins and cancel out."""
    assert expected_calibration_error(np.array([0.2, 0.18]), np.array([False, True]), 5) == pytest.approx(0.31)
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0.0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_real_classifier(digits: Any) -> None:
    model = LogisticRegression(max_iter=15).fit(digits.flat[:-400], digits.targets[:-400])
    inputs, targets = digits.held_out
    answer = model.predict_log_proba(inputs.reshape(400, -1)).clip(-15)
    found = run(answer, targets, 10, majority=0.1)
    assert found.accuracy == pytest.approx(model.score(inputs.reshape(400, -1), targets))
    probabilities = np.exp(answer) / np.exp(answer).sum(1, keepdims=True)
    assert found.log_loss == pytest.approx(log_loss(targets, probabilities), rel=1e-4)
    assert 0 <= found.ece < 0.15 and found.majority == 0.1 and found.warnings == ()


def test_known_logits_are_not_asked_for_again(digits: Any) -> None:
    teacher = Fixed(np.full((4, 3), np.nan))
    logits = np.eye(4, 3, dtype=np.float32) * 9
    found = check_up(teacher, np.zeros((4, 1)), np.array([0, 1, 2, 0]), 3, 0.3, logits=logits)
    assert found.accuracy == 1.0


def test_guessing_is_warned_of() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 10, 500)
    found = run(rng.normal(size=(500, 10)) / 10, targets, 10, majority=0.12)
    assert any("no better than a majority guess" in w for w in found.warnings)


def test_another_order_of_classes_is_warned_of() -> None:
    targets = np.arange(300) % 5
    answer = 4 * np.eye(5)[(targets + 2) % 5] + np.random.default_rng(0).normal(size=(300, 5)) / 10
    found = run(answer, targets, 5, majority=0.2)
    assert any("another order" in w for w in found.warnings)
    right = run(np.roll(answer, -2, axis=1), targets, 5, majority=0.2)
    assert right.accuracy == 1.0 and not any("another order" in w for w in right.warnings)


def test_over_confidence_is_warned_of() -> None:
    targets = np.arange(400) % 2
    answer = 20 * np.eye(2)[np.where(np.arange(400) % 10 < 7, targets, 1 - targets)]
    found = run(answer + np.random.default_rng(0).normal(size=(400, 2)) / 100, targets, 2, majority=0.5)
    assert found.ece == pytest.approx(0.3, abs=0.01)
    assert any("poorly calibrated" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (np.full((6, 3), np.nan), "finite, but got NaN or infinity for 6 of 6"),
        (np.where(np.eye(6, 3) > 0, np.inf, 0.0), "3 of 6"),
        (np.tile([1.0, 2.0, 3.0], (6, 1)), "same for every sample"),
        (np.zeros((6, 4)), r"\(N, 3\)"),
        (np.zeros((5, 3)), r"\(5, 3\)"),
    ],
    ids=["nan", "infinite", "constant", "classes", "samples"],
)
def test_outputs_that_cannot_teach_are_refused(answer: np.ndarray, says: str) -> None:
    with pytest.raises(TeacherError, match=says):
        run(answer, np.array([0, 1, 2, 0, 1, 2]), 3)
