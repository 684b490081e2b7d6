"""The page of one student."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from autokd.dashboard.views.student import origin
from autokd.files import read_json
from autokd.storage.attributes import CONFIRMED_CLASSES_KEY, CONFIRMED_KEY, FACTS_KEY
from autokd.storage.by_class import BY_CLASS, ByClass
from autokd.trial import RETIMED
from tests.dashboard.conftest import EVIL, Make, Open, figures
from tests.dashboard.made_data import dataset, give_data


def words(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.info, app.warning)
    return " ".join(str(e.value) for kind in kinds for e in kind).replace("\\", "")


def trials_of(app: AppTest) -> Mapping[str, Any]:
    """The key of the student's selectbox, and its options."""
    box = next(b for b in app.selectbox if b.label == "Student")
    return {"key": box.key, "value": box.value, "options": box.options}


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


def test_the_recall_of_every_class_is_shown(make: Make, open_page: Open) -> None:
    study = make()
    names = [f"kind {c}" for c in range(10)]
    facts = study.ledger.attr(FACTS_KEY)
    study.ledger.set_attr(FACTS_KEY, facts | {"data": facts["data"] | {"classes": names}})
    here = ByClass((9, 2, *(8,) * 8), (10,) * 10)
    record = replace(study.members()[1].record, notes={BY_CLASS: here.to_notes()})
    trial = study.optuna_study.ask()
    study.ledger.finish(trial, record, [0.87, 0.03])
    app = open_page("student")
    assert "The ledger does not say how many of each class" in words(app), "of an earlier version"
    app.selectbox(key=trials_of(app)["key"]).set_value(trial.number).run()
    assert not app.exception and not app.error
    assert "Of the worst class it finds: 20.0% ± " in words(app)
    assert "of 10 samples of kind 1 on the validation split." in words(app)
    table = next(d.value for d in app.dataframe if "class" in d.value.columns)
    assert list(table.columns) == ["class", "recall (%, validation split)", "samples (validation split)"]
    assert table.iloc[0].tolist() == ["kind 1", 20.0, 10] and len(table) == 10
    study.ledger.set_attr(CONFIRMED_CLASSES_KEY, {str(trial.number): ByClass((5,) * 10, (9,) * 10).to_notes()})
    app.run()
    assert "of 9 samples of kind 0 on the test split" in words(app)


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


def test_the_page_has_a_lift_sheet(make: Make, open_page: Open) -> None:
    make()
    app = open_page("student")
    text = words(app)
    assert "All students of this study have the same teacher and recipe." in text
