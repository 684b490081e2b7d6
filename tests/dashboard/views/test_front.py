"""The front: what is drawn, what limits pick, and what is handed out."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from autokd.dashboard.analysis import selection
from autokd.dashboard.commands import hand_over
from autokd.errors import StudyError
from autokd.files import file_sha256
from autokd.storage.attributes import CONFIRMED_KEY, DRIVER_KEY, HOME_KEY, STATE_KEY
from autokd.storage.folders import OWNER
from autokd.trial import Measurement, Outcome, TrialRecord
from tests.dashboard.conftest import EVIL, Make, Open, add, figures, write_student


def words(app) -> str:
    return " ".join(str(e.value) for kind in (app.markdown, app.caption, app.info) for e in kind).replace("\\", "")


def downloads(app) -> list[object]:
    return list(app.get("download_button"))


def test_a_study_with_a_front(make: Make, open_page: Open) -> None:
    make()
    app = open_page()
    assert not app.error
    assert app.title[0].value == "digits"
    assert "finished (12 trials) · 7 trials finished · 5 students · 4 on the front" in words(app)
    table = app.dataframe[0].value
    assert table["trial"].tolist() == [0, 1, 2, 3]
    assert table["latency (µs, cpu_1_thread)"].tolist() == pytest.approx([10, 20, 30, 40])
    assert table["accuracy (%)"].tolist() == pytest.approx([80, 83, 86, 89])
    assert table["latency ± (µs, cpu_1_thread)"].tolist() == pytest.approx([0.04, 0.08, 0.12, 0.16])
    assert len(downloads(app)) == 2


def test_a_limit_picks_the_best_student_inside_it(make: Make, open_page: Open) -> None:
    make()
    app = open_page()
    app.select_slider(key="limit digits latency_ms@cpu_1_thread").set_value(0.027).run()
    assert not app.exception and "Trial 1: 83.0% ± 1.0%, 20.0 µs ± 0.4% on cpu_1_thread." in words(app).replace(
        "**", ""
    )
    assert "10.0 µs more buys 3 points (trial 2)" in words(app)
    assert "10.0 µs less costs 3 points (trial 0)" in words(app)
    app.slider(key="limit digits accuracy").set_value(88.0).run()
    assert "No student is inside these limits" in words(app)
    app.select_slider(key="limit digits latency_ms@cpu_1_thread").set_value(0.051).run()
    assert "Trial 3: 89.0% ± 1.0%, 40.0 µs ± 0.4% on cpu_1_thread." in words(app).replace("**", "")


def test_the_size_limit_counts_too(make: Make, open_page: Open) -> None:
    study = make()
    sizes = sorted(m.record.value("size_bytes") for m in study.members())
    app = open_page()
    slider = app.select_slider(key="limit digits size_bytes")
    limit = selection.grid(pd.Series(sizes))[1]
    slider.set_value(limit).run()
    assert "Trial 0" in words(app) and sizes[0] <= limit < sizes[1]


def test_the_chosen_student_is_the_measured_file_and_runs(make: Make, open_page: Open, tmp_path: Path) -> None:
    study = make()
    app = open_page()
    app.select_slider(key="limit digits latency_ms@cpu_1_thread").set_value(0.03).run()
    member = next(m for m in study.members() if m.number == 2)
    found = hand_over.download(study, member)
    assert found.name == "digits-2.onnx" and found.receipt_name == "digits-2.receipt.json"
    assert found.model == Path(str(member.artifact)).read_bytes()
    receipt = json.loads(found.receipt)
    assert receipt["trial"] == 2 and receipt["file"]["sha256"] == member.record.artifact_sha256
    (tmp_path / found.name).write_bytes(found.model)
    code = app.code[0].value
    assert code == hand_over.snippet(found)
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    session = onnxruntime.InferenceSession(found.model, providers=["CPUExecutionProvider"])
    scores = session.run(None, {"input": np.zeros((1, 1, 8, 8), np.float32)})[0]
    assert ran.stdout.strip() == f"['{scores.argmax()}']"


def test_a_changed_file_is_not_handed_out(make: Make, open_page: Open) -> None:
    study = make(students=1)
    file = Path(str(study.members()[0].artifact))
    file.write_bytes(file.read_bytes() + b" ")
    app = open_page()
    assert "was changed" in app.error[0].value and not downloads(app)


def test_a_file_that_is_gone_is_said_in_words(make: Make, open_page: Open) -> None:
    study = make(students=1)
    Path(str(study.members()[0].artifact)).unlink()
    app = open_page()
    assert "must be there" in app.error[0].value and not downloads(app)
    assert app.dataframe[0].value["trial"].tolist() == [0]


def test_a_ledger_cannot_make_a_foreign_folder_its_own(make: Make, open_page: Open, tmp_path: Path) -> None:
    study = make()
    home = tmp_path / "elsewhere" / "studies" / study.name  # as another study's, with files of its own
    shutil.copytree(study.home, home)
    (home / OWNER).write_text('{"ledger": "/somebody/else.db"}')
    study.ledger.set_attr(HOME_KEY, str(home))
    for member in study.members():
        member = dataclasses.replace(member, artifact=str(home / "trials" / f"{member.number:05d}" / "student.onnx"))
        with pytest.raises(StudyError, match="must be a file of its study"):
            hand_over.download(study, member)


def test_a_file_outside_the_study_is_not_handed_out(make: Make, open_page: Open, tmp_path: Path) -> None:
    study = make(students=1)
    elsewhere = tmp_path / "other.onnx"
    write_student(elsewhere, 4)
    record = study.members()[0].record
    better = dataclasses.replace(record.measurements[0], value=0.99)
    foreign = dataclasses.replace(
        record, artifact=str(elsewhere), artifact_sha256=file_sha256(elsewhere), measurements=(better, *record.measurements[1:])
    )  # fmt: skip
    study.ledger.finish(study.optuna_study.ask(), foreign, [0.99, 0.01])
    app = open_page()
    assert "must be a file of its study" in app.error[0].value.replace("\\", "") and not downloads(app)


@pytest.mark.parametrize(
    ("state", "expected", "live"),
    [
        ("preparing", "being prepared", True),
        ("searching", "being trained", True),
        ("interrupted", "Why and Trials", False),
    ],
)
def test_a_study_without_a_measured_student(make: Make, open_page: Open, state: str, expected: str, live: bool) -> None:
    study = make(students=0, state=state)
    if live:
        study.ledger.set_attr(DRIVER_KEY, {"beat": time.time()})
    app = open_page()
    assert expected in words(app) and state in words(app)
    assert not app.error and not app.warning and not app.dataframe


def test_another_device_has_another_front(make: Make, open_page: Open) -> None:
    make(hardware=("cpu_1_thread", "cpu_2_threads"))
    app = open_page()
    assert app.dataframe[0].value["trial"].tolist() == [0, 1, 2, 3]
    app.selectbox(key="profile digits").set_value("cpu_2_threads").run()
    table = app.dataframe[0].value
    assert not app.exception and table["trial"].tolist() == [4, 3]
    assert "latency (µs, cpu_2_threads)" in table.columns


def test_any_two_measurements_make_a_front(make: Make, open_page: Open) -> None:
    make()
    app = open_page()
    x = app.selectbox(key="x digits ")
    assert "size (bytes)" in x.options and "params" in x.options
    x.set_value("size (bytes)").run()
    assert not app.exception
    figure = json.loads(figures(app)[0])
    assert figure["layout"]["xaxis"]["title"]["text"].startswith("size (bytes, lower")
    assert app.dataframe[0].value["trial"].tolist() == [0, 1, 2, 3]


def test_rejected_trials_can_be_shown(make: Make, open_page: Open) -> None:
    study = make()
    record = TrialRecord(
        Outcome.INFEASIBLE,
        measurements=(study.members()[0].record.measurements[1],),
        violations=study.ledger.trials() and (),
    )
    study.ledger.finish(study.optuna_study.ask(), record, None)
    app = open_page()
    names = [t["name"] for t in json.loads(figures(app)[0])["data"]]
    assert "infeasible" not in names
    app.toggle(key="rejected digits").set_value(True).run()
    traces = {t["name"]: t for t in json.loads(figures(app)[0])["data"]}
    assert not app.exception and "infeasible" in traces


def test_text_of_a_ledger_is_text(make: Make, open_page: Open) -> None:
    make(evil=True)
    app = open_page()
    app.selectbox(key="colour digits").set_value("method").run()
    assert not app.exception
    figure = figures(app)[0]
    assert "\\u003cb\\u003ekd" not in figure and "<b>kd" not in figure and "lt;b" in figure
    assert EVIL in app.dataframe[0].value["method"].tolist()  # shown as it is, in a table that reads no markup
    found = [e.value for kind in (app.markdown, app.caption, app.title, app.subheader, app.info) for e in kind]
    assert not [t for t in found if "<b>" in str(t)]


def test_what_was_confirmed_is_shown_with_its_place(make: Make, open_page: Open) -> None:
    study = make()
    best = study.front()[0].number
    found = {"accuracy": 0.77, "accuracy_se": 0.02, "latency_ms@cpu_1_thread": 0.0123}
    study.ledger.set_attr(CONFIRMED_KEY, {str(best): found})
    table = open_page().dataframe[0].value
    assert table["accuracy (%, test split)"].iloc[0] == pytest.approx(77)
    assert table["latency (µs, cpu_1_thread, again)"].iloc[0] == pytest.approx(12.3)


def test_a_live_study_shows_a_new_student_by_itself(make: Make, open_page: Open) -> None:
    study = make(students=2, state="searching", live=True)
    app = open_page()
    assert app.dataframe[0].value["trial"].tolist() == [0, 1]
    add(study, 3, 9, False, ("cpu_1_thread",))
    app.run()
    assert not app.exception and len(app.dataframe[0].value) == 3
    study.ledger.set_attr(STATE_KEY, "finished: enough")
    app.run()
    assert "finished (enough)" in words(app)


def test_a_limit_that_nobody_set_follows_a_growing_study(make: Make, open_page: Open) -> None:
    study = make(students=2, state="searching", live=True)
    app = open_page()
    add(study, 8, 20, False, ("cpu_1_thread",))  # 90 microseconds, the most accurate
    app.run()
    app.slider(key="limit digits accuracy").set_value(85.0).run()
    assert not app.exception and "90.0 µs" in words(app)


def test_a_cost_of_nothing_breaks_no_page(make: Make, open_page: Open) -> None:
    study = make(students=2)
    record = study.members()[0].record
    none = Measurement("peak_memory_bytes", 0.0, "bytes", "cpu_1_thread")
    better = dataclasses.replace(record.measurements[0], value=0.99)
    changed = dataclasses.replace(record, measurements=(better, *record.measurements[1:], none))
    study.ledger.finish(study.optuna_study.ask(), changed, [0.99, 0.01])
    app = open_page()
    app.selectbox(key="x digits ").set_value("peak memory (bytes, cpu_1_thread)").run()
    assert not app.exception and not app.error
