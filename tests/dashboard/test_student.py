"""The page of one student, and what it is computed from."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from autokd.config.objectives import Objective
from autokd.config.space import load_space
from autokd.dashboard.analysis import ablation, evidence, students
from autokd.dashboard.views.student import origin
from autokd.data.dataset_store import save_dataset
from autokd.errors import StudyError
from autokd.figures import (
    Training,
    blocks_figure,
    canvas,
    confusion_figure,
    curves_figure,
    read_blocks,
    stages_figure,
)
from autokd.files import read_json
from autokd.modalities.image import Image
from autokd.protocols import CurvePoint, Dataset, InputSpec, Splits
from autokd.storage.attributes import CONFIRMED_KEY, FACTS_KEY
from autokd.study.study import Study
from autokd.trial import RETIMED, StageRecord
from tests.dashboard.conftest import EVIL, Make, Open, figures

CLASSES = tuple(str(i) for i in range(10))
GOALS = (Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "cpu_1_thread"))


def dataset(classes: tuple[str, ...] = CLASSES, kind: str = "image") -> Dataset:
    """60 samples, of which the last 40 are the validation split; sample k is of class k % classes."""
    rng = np.random.default_rng(0)
    if kind == "image":
        inputs = rng.integers(0, 17, (60, 1, 8, 8)).astype(np.float32)
        spec = InputSpec("image", (1, 8, 8), "float32", (8.0,), (4.0,), 0.0, 16.0)
    else:
        inputs = np.stack([rng.normal(size=60), rng.integers(0, 3, 60)], axis=1).astype(np.float32)
        spec = InputSpec(
            "tabular", (2,), "float32", (0.0, 0.0), (1.0, 1.0),
            facts={"cardinalities": (0, 2), "features": ("age", "job"), "categories": ((), ("cook", "judge"))},
        )  # fmt: skip
    index = np.arange(60)
    splits = Splits(index[:10], index[20:], index[10:15], index[15:20])
    return Dataset("tiny", inputs, index % len(classes), classes, spec, splits, "d")


def give_data(study: Study, data: Dataset) -> Path:
    """Put the data where the study says; trial n's scores then have all but 3 samples right."""
    folder = save_dataset(data, study.root / "datasets")
    facts = dict(study.ledger.attr(FACTS_KEY))
    study.ledger.set_attr(FACTS_KEY, facts | {"data": {"fingerprint": data.fingerprint, "folder": str(folder)}})
    for number in range(5):
        np.save(study.home / "trials" / f"{number:05d}" / "validation_scores.npy", scores_of(data))
    return folder


def scores_of(data: Dataset) -> np.ndarray:
    """Right but for samples 0, 1 and 2, which are said to be of the next class, with 2 the surest."""
    targets = data.targets[data.splits.validation]
    scores = np.zeros((len(targets), len(data.classes)), np.float32)
    scores[np.arange(len(targets)), targets] = 5.0
    for k in (0, 1, 2):
        scores[k] = 0.0
        scores[k, (targets[k] + 1) % len(data.classes)] = 3.0 + k
    return scores


def words(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.info, app.warning)
    return " ".join(str(e.value) for kind in kinds for e in kind).replace("\\", "")


def trials_of(app: AppTest) -> Mapping[str, Any]:
    """The key of the student's selectbox, and its options."""
    box = next(b for b in app.selectbox if b.label == "Student")
    return {"key": box.key, "value": box.value, "options": box.options}


# ------------------------------------------------------------------------------------------------------ the page


def test_it_begins_with_the_knee_and_lists_the_front_first(make: Make, open_page: Open) -> None:
    study = make()
    app = open_page("student")
    assert not app.error
    box = trials_of(app)
    assert [text.split(":")[0] for text in box["options"]] == [f"trial {n}" for n in (0, 1, 2, 3, 4)]
    assert "not on the front" in box["options"][-1] and "not on the front" not in box["options"][0]
    from autokd.storage.results import choose

    assert "is no student" not in words(app)
    assert box["value"] == choose(study.members(), study.plan.objectives).number


def test_what_it_shows_is_the_chosen_student_s(make: Make, open_page: Open) -> None:
    study = make()
    give_data(study, dataset())
    app = open_page("student")
    app.selectbox(key=trials_of(app)["key"]).set_value(2).run()
    assert not app.exception and not app.error
    assert app.session_state["student digits"] == 2
    shown = [m.value.replace("\\", "") for m in app.metric]
    assert "86.0%" in shown and "30.0 µs" in shown
    tables = [d.value for d in app.dataframe]
    facts = next(t for t in tables if "measurement" in t.columns)
    assert facts[facts["measurement"] == "latency"].iloc[0].to_dict() == {
        "measurement": "latency", "value": "30.0 µs ± 0.4%", "of": "cpu_1_thread",
    }  # fmt: skip
    params = next(t for t in tables if "parameter" in t.columns)
    assert dict(zip(params["parameter"], params["value"], strict=True))["prune_1"] == "0.5"
    assert len(figures(app)) == 4  # blocks, curve, stages, confusion
    assert len(app.get("download_button")) == 2
    assert "digits-2.onnx" in app.code[-1].value


def test_where_the_file_errs_is_read_from_its_own_scores(make: Make, open_page: Open) -> None:
    study = make()
    give_data(study, dataset())
    app = open_page("student")
    assert "40 samples of the validation split, of which the file has 92.50% right and 3 wrong" in words(app)
    assert [c.replace("\\", "") for image in app.image for c in image.captions] == [
        "is 2, said 3 (94 %)", "is 1, said 2 (86 %)", "is 0, said 1 (69 %)",
    ]  # fmt: skip
    assert "the scores in the trial's folder are not those it measured" in words(app)  # the ledger says 80 % and more


def test_a_table_s_mistakes_are_rows(make: Make, open_page: Open) -> None:
    give_data(make(), dataset(("no", "yes"), "tabular"))
    app = open_page("student")
    assert not app.error
    table = next(d.value for d in app.dataframe if "sure (%)" in d.value.columns)
    assert list(table.columns) == ["is", "said", "sure (%)", "age", "job"]
    assert set(table["job"]) <= {"cook", "judge", "unknown"} and len(table) == 3


def test_many_classes_are_tables(make: Make, open_page: Open) -> None:
    names = tuple(f"class {k}" for k in range(35))
    give_data(make(), dataset(names))
    app = open_page("student")
    assert not app.error and len(figures(app)) == 3
    table = next(d.value for d in app.dataframe if "of the class (%)" in d.value.columns)
    assert len(table) == 3 and set(table["samples"]) == {1}


@pytest.mark.parametrize(
    ("remove", "said"),
    [
        ("validation_scores.npy", "the scores of trial"),
        ("curve.json", "no learning curve"),
        ("blocks.json", "does not say what this student is made of"),
    ],
)
def test_what_is_gone_is_said_in_words(make: Make, open_page: Open, remove: str, said: str) -> None:
    study = make()
    give_data(study, dataset())
    for file in (study.home / "trials").glob(f"*/{remove}"):
        file.unlink()
    app = open_page("student")
    assert not app.error and said in words(app)
    assert len(app.get("download_button")) == 2


def test_a_study_that_does_not_say_where_its_data_are(make: Make, open_page: Open) -> None:
    make()
    app = open_page("student")
    assert not app.error and "must say where its data are" in words(app)


@pytest.mark.parametrize("damage", ["gone", "changed", "elsewhere"])
def test_only_the_measured_file_of_this_study_is_handed_out(make: Make, open_page: Open, damage: str) -> None:
    study = make(students=1)
    file = study.home / "trials" / "00000" / "student.onnx"
    if damage == "gone":
        file.unlink()
    elif damage == "changed":
        file.write_bytes(file.read_bytes() + b" ")
    else:  # the same bytes, outside the study's folder
        other = study.home.parent.parent.parent / "other.onnx"
        other.write_bytes(file.read_bytes())
        file.unlink()
        file.symlink_to(other)
    app = open_page("student")
    assert len(app.error) == 1 and not app.get("download_button")
    assert app.metric  # the rest of the page is there


def test_a_choice_that_is_no_student_is_said_and_kept(make: Make, open_page: Open) -> None:
    make()
    app = open_page("student")
    app.session_state["student digits"] = 5
    app.run()
    assert "Trial 5 is no student" in words(app) and not app.exception
    assert app.session_state["student digits"] == 5


def test_no_student_yet(make: Make, open_page: Open) -> None:
    make(students=0, state="preparing")
    assert "No measured student yet" in words(open_page("student"))


def test_text_of_a_ledger_is_text(make: Make, open_page: Open) -> None:
    study = make(evil=True)
    give_data(study, dataset(tuple(f"{EVIL}{k}" for k in range(10))))
    blocks = read_json(study.home / "trials" / "00002" / "blocks.json")
    for folder in (study.home / "trials").glob("0*"):
        (folder / "blocks.json").write_text(json.dumps([b | {"name": EVIL, "kind": EVIL} for b in blocks]))
    app = open_page("student")
    assert not app.error and not app.exception
    for figure in figures(app):
        assert "<b>kd" not in figure and "\\u003cb\\u003ekd" not in figure
    texts = [str(e.value) for kind in (app.markdown, app.caption, app.info) for e in kind]
    texts += [c for image in app.image for c in image.captions]
    assert not [t for t in texts if "<b>kd" in t]


def test_what_was_confirmed_stands_beside_validation(make: Make, open_page: Open) -> None:
    study = make()
    study.ledger.set_attr(CONFIRMED_KEY, {"0": {"accuracy": 0.77, "accuracy_se": 0.02}})
    app = open_page("student")
    app.selectbox(key=trials_of(app)["key"]).set_value(0).run()
    facts = next(d.value for d in app.dataframe if "measurement" in d.value.columns)
    accuracy = facts[facts["measurement"] == "accuracy"]
    assert accuracy[["value", "of"]].values.tolist() == [
        ["80.0% ± 1.0%", "validation split"], ["77.0% ± 2.0%", "test split"],
    ]  # fmt: skip


@pytest.mark.parametrize("same", [True, False], ids=["the same file", "other int8 operators"])
def test_a_student_that_was_taken_over_says_from_where(make: Make, open_page: Open, same: bool) -> None:
    study = make()
    assert origin(study.members()[2]) == ""
    record = study.members()[2].record
    notes = {RETIMED: {"study": "older", "trial": 17, "sha256": record.artifact_sha256 if same else "0" * 64}}
    trial = study.optuna_study.ask()
    study.ledger.finish(trial, replace(record, notes=notes), [0.86, 0.03])
    app = open_page("student")
    app.selectbox(key=trials_of(app)["key"]).set_value(trial.number).run()
    assert not app.exception and not app.error
    said = [c.value.replace("\\", "") for c in app.caption if "older" in c.value]
    assert len(said) == 1 and "Taken over from the study older, trial 17, and timed here" in said[0]
    assert ("other operators for int8" in said[0]) is not same


# ------------------------------------------------------------------------------------------------------ evidence


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
    (shown,) = Image().show(data.inputs, data.spec, np.array([0]), evidence.SIDE).pictures
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


# ------------------------------------------------------------------------------------------------------ figures


def test_blocks_are_boxes_on_the_canvas() -> None:
    raw = [
        {"name": "stem", "kind": "plain", "in": 1, "out": 16, "kernel": 3, "stride": 2, "size": [14, 14]},
        {"name": "1.1", "kind": "inverted", "in": 16, "out": 16, "hidden": 64, "kernel": 5, "stride": 1,
         "residual": True, "size": [14, 14]},
        {"name": "2.1", "kind": "mine", "in": 16, "out": 64, "stride": [2, 1], "size": [7, 14]},
        {"name": "head", "kind": "linear", "in": 64, "out": 10},
    ]  # fmt: skip
    net = read_blocks([*raw, {"kind": "no width"}, 7])
    assert [b.name for b in net] == ["stem", "1.1", "2.1", "head"]
    figure = blocks_figure(net)
    bars = {t.name: t for t in figure.data if isinstance(t, go.Bar)}
    assert list(bars) == ["plain", "inverted", "mine", "linear"]
    assert bars["mine"].width[0] == pytest.approx(2 * bars["plain"].width[0])  # four times the channels
    assert bars["plain"].y[0] == 14 and bars["mine"].y[0] == pytest.approx(98**0.5)
    assert "in 16 → hidden 64 → out 16" in bars["inverted"].customdata[0]
    assert "kernel 5×5" in bars["inverted"].customdata[0] and "adds its input" in bars["inverted"].customdata[0]
    strides, labels = (t for t in figure.data if getattr(t, "mode", "") == "text")
    assert list(strides.text) == ["÷2", "÷2×1"]
    assert list(labels.text) == ["stem<br>16<br>14×14", "1.1<br>16<br>14×14", "2.1<br>64<br>7×14", "head<br>10<br>"]
    assert [t.name for t in figure.data if getattr(t, "mode", "") == "lines"] == ["shortcut: adds its input"]
    assert len({t.marker.color for t in bars.values()}) == 4


def test_pictures_that_are_compared_share_their_scale_and_colours() -> None:
    small = read_blocks([{"name": "a", "kind": "x", "out": 4, "size": [4, 4]}])
    large = read_blocks([{"name": str(k), "kind": "y", "out": 64, "size": [28, 28]} for k in range(30)])
    shared = canvas([small, large])
    one, two = blocks_figure(small, shared), blocks_figure(large, shared)
    assert one.layout.xaxis.range == two.layout.xaxis.range and one.layout.yaxis.range == two.layout.yaxis.range
    assert one.data[0].marker.color != two.data[0].marker.color
    ends = [x + w / 2 for x, w in zip(two.data[0].x, two.data[0].width, strict=True)]
    assert ends[-1] <= two.layout.xaxis.range[1]


def test_tuning_goes_on_where_training_ended() -> None:
    points = [CurvePoint(100 * i, 1 / i, 0.2 * i, float(i)) for i in (1, 2)]
    figure = curves_figure([Training("trial 3", points, points[:1], 0.5, 0.01)], teacher=0.9)
    found = {(t.name, t.yaxis): list(t.x) for t in figure.data}
    assert found[("training", "y")] == [100, 200] and found[("tuning after pruning", "y")] == [300]
    assert found[("the exported file, whole split", "y")] == [300]
    assert found[("training", "y2")] == [100, 200]  # the loss
    assert figure.layout.shapes[0].y0 == 0.9


def test_a_stage_from_the_store_takes_no_time() -> None:
    figure = stages_figure([StageRecord("distill", "a", 9.0, 8.0), StageRecord("prune", "b", 0.5, 0.0, cached=True)])
    assert list(figure.data[0].x) == [9.0, 0.0]
    assert list(figure.data[1].text) == [" 9 s", " found in the store"]


def test_the_confusion_figure_tells_right_from_wrong() -> None:
    figure = confusion_figure(np.array([[8, 2, 0], [0, 5, 0], [0, 0, 0]]), ["<b>a</b>", "b", "never"])
    right, wrong, bars = figure.data
    assert right.z[0][0] == 1.0 and np.isnan(right.z[0][1]) and np.isnan(right.z[2][2])
    assert wrong.z[0][1] == pytest.approx(0.2) and np.isnan(wrong.z[1][0])
    assert list(bars.x) == pytest.approx([0.8, 1.0, float("nan")], nan_ok=True)  # of no samples nothing is known
    assert [list(row) for row in wrong.text] == [["", "2", ""], ["", "", ""], ["", "", ""]]
    assert "<b>" not in figure.to_json().replace("\\u003c", "<")


# ------------------------------------------------------------------------------------------------------ the lift sheet

SPACE = load_space(
    {
        "family": "mobilenet",
        "parameters": {
            "width": {"choice": [8, 16], "stage": "build"},
            "method": {"choice": ["kd", "none"], "stage": "distill"},
            "alpha": {"float": [0.5, 1.0], "stage": "distill", "when": {"method": "kd"}},
            "prune_1": {"choice": [0.0, 0.25, 0.5], "stage": "prune"},
            "bits": {"choice": [32, 8], "stage": "quantize"},
        },
    }
)


def trials(*rows: tuple[int, str, float | None, float, int, float, float]) -> pd.DataFrame:
    """Columns: width, method, alpha, prune_1, bits, accuracy, latency."""
    names = ["width", "method", "alpha", "prune_1", "bits"]
    frame = pd.DataFrame([r[:5] for r in rows], columns=[f"params_{n}" for n in names])
    frame["number"] = range(len(frame))
    frame["accuracy"], frame["latency_ms@cpu_1_thread"] = [r[5] for r in rows], [r[6] for r in rows]
    frame["accuracy_error"] = 0.003
    return frame


def test_neighbours_differ_in_one_part_alone() -> None:
    rows = trials(
        (8, "kd", 0.9, 0.5, 8, 0.90, 0.02),
        (8, "kd", 0.9, 0.5, 32, 0.91, 0.03),  # bits
        (8, "kd", 0.9, 0.25, 8, 0.92, 0.02),  # pruning, less
        (8, "kd", 0.9, 0.0, 8, 0.94, 0.04),  # pruning, none
        (8, "none", None, 0.5, 8, 0.88, 0.02),  # teacher: alpha is gone with it
        (16, "kd", 0.9, 0.5, 32, 0.95, 0.05),  # two parts at once: no neighbour
    )
    found = ablation.pairs(rows, SPACE, 0)
    assert [(p.part, p.trial, p.against, p.own) for p in found] == [
        ("architecture", 5, 1, False),  # elsewhere
        ("pruning", 0, 3, True),
        ("pruning", 0, 2, True),
        ("bits", 0, 1, True),
        ("teacher and recipe", 0, 4, True),
    ]
    assert found[-1].differs == {"method": ("kd", "none"), "alpha": (0.9, None)}
    table = ablation.lift_table(rows, found[3:4], GOALS).iloc[0]
    assert table["differing in"] == "bits 32 → 8"
    assert table["accuracy"] == "91.0% → 90.0% (-1.0 ± 0.4 points)"
    assert table["latency (cpu_1_thread)"] == "30.0 µs → 20.0 µs (-33%)"
    assert ablation.without(found, SPACE, rows) == []


def test_without_a_neighbour_there_are_words() -> None:
    rows = trials((8, "kd", 0.9, 0.5, 8, 0.9, 0.02), (16, "none", None, 0.0, 8, 0.8, 0.01))
    found = ablation.pairs(rows, SPACE, 0)
    assert not found
    assert ablation.without(found, SPACE, rows) == [
        "No neighbour in this study differs in architecture alone.",
        "No neighbour in this study differs in pruning alone.",
        "All students of this study have the same bits.",
        "No neighbour in this study differs in teacher and recipe alone.",
    ]


def test_a_student_that_was_trained_on_is_no_neighbour_of_one_that_was_not() -> None:
    rows = trials((8, "kd", 0.9, 0.5, 8, 0.9, 0.02), (8, "kd", 0.9, 0.5, 32, 0.8, 0.01))
    assert ablation.pairs(rows, SPACE, 0)
    rows["parent"] = [None, 7]
    assert not ablation.pairs(rows, SPACE, 0)


def test_the_lift_sheet_of_many_trials_compares_no_two_by_two() -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    frame = pd.DataFrame(
        {"number": np.arange(n), "params_width": rng.choice([8, 16], n), "params_bits": rng.choice([8, 32], n)}
    )
    frame["params_alpha"], frame["params_method"] = rng.random(n), "kd"
    frame["params_prune_1"] = rng.choice([0.0, 0.5], n)
    frame.loc[1, "params_alpha"] = frame.loc[0, "params_alpha"]
    frame.loc[[0, 1], "params_width"], frame.loc[0, "params_bits"], frame.loc[1, "params_bits"] = 8, 32, 8
    frame.loc[[0, 1], "params_prune_1"] = 0.5
    began = time.process_time()
    found = ablation.pairs(frame, SPACE, 0)
    assert time.process_time() - began < 3, "0.03 s, unless the work grows with the square of the trials"
    # all other recipes differ from its own, and no other two are the same
    assert {(p.part, p.trial, p.against) for p in found if p.part != "teacher and recipe"} == {("bits", 1, 0)}


def test_the_page_has_a_lift_sheet(make: Make, open_page: Open) -> None:
    make()
    app = open_page("student")
    text = words(app)
    assert "All students of this study have the same teacher and recipe." in text


# ------------------------------------------------------------------------------------------------------ the list


def test_the_list_of_a_large_study_is_bounded() -> None:
    n = 5_000
    rows = pd.DataFrame({"number": np.arange(n), "accuracy": np.linspace(0, 1, n), "latency_ms@cpu_1_thread": 1.0})
    front = rows.iloc[[10, 4999]]
    numbers = students.offered(rows, front, [3])
    assert numbers[:3] == [10, 4999, 4998] and numbers[-1] == 3 and len(numbers) == students.MOST + 3
    shown = students.lines(rows, front, numbers, GOALS)
    assert shown[10] == "trial 10: 0.2%, 1.00 ms" and shown[3].endswith("(not on the front)")
