"""Scikit-learn classifiers, converted with skl2onnx as people convert them, simply work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from autokd.errors import TeacherError
from autokd.protocols import Teacher, TeacherOptions
from autokd.teachers.labels import column_order
from autokd.teachers.onnx_file import load

skl2onnx = pytest.importorskip("skl2onnx")
pytestmark = pytest.mark.filterwarnings("ignore", "ignore::sklearn.exceptions.ConvergenceWarning")

MODELS: dict[str, Callable[[], ClassifierMixin]] = {
    "logistic": lambda: LogisticRegression(max_iter=12),
    "forest": lambda: RandomForestClassifier(10, random_state=0),
    "mlp": lambda: MLPClassifier((32,), max_iter=40, random_state=0),
    "pipeline": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=12)),
}
LABELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "numbers": lambda y: y,
    "words": lambda y: np.array([f"digit {i}" for i in y]),
    "from seven": lambda y: y + 7,
}


@pytest.fixture(scope="module")
def fitted(digits: Any) -> Callable[[str, str], ClassifierMixin]:
    """Fits a model once, on labels of one kind."""
    made: dict[tuple[str, str], ClassifierMixin] = {}

    def get(model: str, labels: str) -> ClassifierMixin:
        if (model, labels) not in made:
            made[model, labels] = MODELS[model]().fit(digits.flat[:-400], LABELS[labels](digits.targets[:-400]))
        return made[model, labels]

    return get


def convert(model: ClassifierMixin, path: Path, zipmap: object = "default") -> Path:
    options = None if zipmap == "default" else {id(model): {"zipmap": zipmap}}
    file = skl2onnx.to_onnx(model, np.zeros((1, model.n_features_in_), dtype=np.float32), options=options)
    path.write_bytes(file.SerializeToString())
    return path


def probabilities(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("zipmap", ["default", False, "columns"], ids=str)
@pytest.mark.parametrize("labels", sorted(LABELS))
@pytest.mark.parametrize("name", sorted(MODELS))
def test_classifiers_give_their_probabilities(
    digits: Any,
    options: Callable[..., TeacherOptions],
    fitted: Callable[[str, str], ClassifierMixin],
    tmp_path: Path,
    name: str,
    labels: str,
    zipmap: object,
) -> None:
    model = fitted(name, labels)
    teacher = load(options(onnx=str(convert(model, tmp_path / "m.onnx", zipmap))))
    inputs, targets = digits.held_out
    logits = teacher.logits(inputs)
    assert isinstance(teacher, Teacher)
    assert logits.shape == (400, 10) and logits.dtype == np.float32 and np.isfinite(logits).all()
    np.testing.assert_allclose(probabilities(logits), model.predict_proba(inputs.reshape(400, -1)), atol=2e-4)
    assert (logits.argmax(1) == targets).mean() > 0.8
    assert teacher.onnx_file() == tmp_path / "m.onnx"


@pytest.mark.parametrize(
    ("model", "zipmap"),
    [(LogisticRegression(), "default"), (LogisticRegression(), False), (LinearSVC(), "default")],
    ids=["logistic, maps", "logistic, tensor", "support vectors"],
)
def test_two_classes(
    digits: Any, options: Callable[..., TeacherOptions], tmp_path: Path, model: ClassifierMixin, zipmap: object
) -> None:
    rows = digits.targets < 2
    x, y = digits.flat[rows], digits.targets[rows]
    model.fit(x, y)
    teacher = load(options(onnx=str(convert(model, tmp_path / "m.onnx", zipmap)), classes=2))
    assert (teacher.logits(digits.inputs[rows]).argmax(1) == model.predict(x)).all()


def test_decision_scores_stay_as_they_are(digits: Any, options: Callable[..., TeacherOptions], tmp_path: Path) -> None:
    model = LinearSVC(max_iter=100).fit(digits.flat[:-400], digits.targets[:-400])
    teacher = load(options(onnx=str(convert(model, tmp_path / "m.onnx"))))
    inputs, _ = digits.held_out
    np.testing.assert_allclose(
        teacher.logits(inputs), model.decision_function(inputs.reshape(400, -1)), rtol=1e-3, atol=1e-3
    )


def test_tables(options: Callable[..., TeacherOptions], digits: Any, tmp_path: Path) -> None:
    model = RandomForestClassifier(10, random_state=0).fit(digits.flat, digits.targets)
    path = convert(model, tmp_path / "m.onnx")
    teacher = load(options(onnx=str(path), sample=digits.flat[:8]))
    assert (teacher.logits(digits.flat).argmax(1) == digits.targets).mean() > 0.98


def test_wrong_number_of_classes_is_refused(
    options: Callable[..., TeacherOptions], fitted: Callable[[str, str], ClassifierMixin], tmp_path: Path
) -> None:
    path = convert(fitted("logistic", "numbers"), tmp_path / "m.onnx", False)
    with pytest.raises(TeacherError, match=r"\(N, 7\)"):
        load(options(onnx=str(path), classes=7))


def test_wrong_number_of_features_is_refused(
    options: Callable[..., TeacherOptions], fitted: Callable[[str, str], ClassifierMixin], tmp_path: Path
) -> None:
    path = convert(fitted("logistic", "numbers"), tmp_path / "m.onnx")
    with pytest.raises(TeacherError, match=r"\(N, 64\), but got \(N, 3, 8, 8\)"):
        load(options(onnx=str(path), sample=np.zeros((4, 3, 8, 8), np.float32)))


def test_one_input_a_column_is_refused(digits: Any, options: Callable[..., TeacherOptions], tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(digits.flat[:200, 20:23], columns=["a", "b", "c"])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, digits.targets[:200])
    (tmp_path / "m.onnx").write_bytes(skl2onnx.to_onnx(model, frame[:1]).SerializeToString())
    with pytest.raises(TeacherError, match=r"one input, but got 3: a "):
        load(options(onnx=str(tmp_path / "m.onnx"), sample=digits.flat[:8, 20:23]))


@pytest.mark.parametrize(
    ("labels", "classes", "order"),
    [
        ([0, 1, 2], (), [0, 1, 2]),
        ([2, 0, 1], (), [1, 2, 0]),
        (["1", "10", "2"], (), [0, 2, 1]),
        (["1", "10", "2"], ("10", "2", "1"), [1, 2, 0]),
        (["cat", "ant", "bee"], (), [1, 2, 0]),
        (["cat", "ant", "bee"], ("cat", "bee", "ant"), [0, 2, 1]),
        ([0, 1], ("no", "yes"), [0, 1]),
    ],
    ids=str,
)
def test_order_of_classes(labels: list[str | int], classes: tuple[str, ...], order: list[int]) -> None:
    assert column_order(labels, classes) == order
