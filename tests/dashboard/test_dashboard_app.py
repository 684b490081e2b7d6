"""The page over real ledgers with real ONNX files, run by Streamlit's own test harness."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import streamlit
from streamlit.testing.v1 import AppTest

import autokd.dashboard
from autokd.config import from_dict
from autokd.dashboard import reading
from autokd.files import file_sha256
from autokd.ledger import STATE_KEY, connect
from autokd.live import DRIVER_KEY
from autokd.plan import make_plan
from autokd.study import FACTS_KEY, Study
from autokd.trial import Measurement, Outcome, TrialRecord, Violation

APP = Path(str(autokd.dashboard.__file__)).parent / "app.py"
EVIL = "<b>kd</b> [x](javascript:alert(1)) :red[$y$]"
Make = Callable[..., Study]


def config(name: str, hardware: list[str]) -> dict[str, object]:
    return {
        "name": name,
        "data": {"source": "digits"},
        "teacher": {"family": "mobilenet"},
        "space": "digits",
        "hardware": hardware,
        "objectives": ["maximize accuracy", "minimize latency_ms@cpu_1_thread"],
        "runner": "local",
        "budget": {"trials": 12},
    }


def write_student(path: Path, width: int) -> None:
    """A real little net: raw digits (N, 1, 8, 8) to 10 scores."""
    rng = np.random.default_rng(width)
    shapes = {"w1": (64, width), "w2": (width, 10)}
    weights = [onnx.numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in shapes.items()]
    node = onnx.helper.make_node
    nodes = [
        node("Flatten", ["input"], ["x"]), node("MatMul", ["x", "w1"], ["h"]),
        node("Relu", ["h"], ["r"]), node("MatMul", ["r", "w2"], ["scores"]),
    ]  # fmt: skip
    tensor = onnx.helper.make_tensor_value_info
    source = tensor("input", onnx.TensorProto.FLOAT, ["N", 1, 8, 8])
    scores = tensor("scores", onnx.TensorProto.FLOAT, ["N", 10])
    graph = onnx.helper.make_graph(nodes, "student", [source], [scores], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, {"classes": json.dumps([str(i) for i in range(10)])})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Making the tables takes a second; copying them does not."""
    file = tmp_path_factory.mktemp("ledger") / "autokd.db"
    connect(f"sqlite:///{file}", create=True).engine.dispose()
    return file


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_ledger: Path) -> Make:
    """A factory of studies in one ledger; ``students`` are measured ones, a rejected and a failed trial come with them."""
    shutil.copy(empty_ledger, tmp_path / "autokd.db")
    url = f"sqlite:///{tmp_path / 'autokd.db'}"
    monkeypatch.setenv("AUTOKD_DASHBOARD_STORAGE", url)
    monkeypatch.setenv("AUTOKD_DASHBOARD_STUDY", "")

    def build(name: str = "digits", students: int = 5, state: str = "finished: 12 trials", evil: bool = False,
              hardware: tuple[str, ...] = ("cpu_1_thread",)) -> Study:  # fmt: skip
        study = Study.create(make_plan(from_dict(config(name, list(hardware)))), url)
        study.ledger.set_attr(STATE_KEY, state)
        teacher = [Measurement("accuracy", 0.98, "ratio"), Measurement("latency_ms", 0.4, "ms", "cpu_1_thread", 0.01)]
        facts = {"name": "mobilenet", "fingerprint": "t", "measurements": [vars(m) for m in teacher]}
        if students or state == "searching":
            study.ledger.set_attr(FACTS_KEY, {"teacher": facts, "data": {"fingerprint": "d"}})
            study.ledger.set_attr("autokd:reference_point", [0.1, 0.4])
        for k in range(students):
            add(study, k, students, evil, hardware)
        if students:
            violation = Violation("latency_ms@cpu_1_thread <= 1", 2.0, 1.0)
            for record in (
                TrialRecord(Outcome.INFEASIBLE, violations=(violation,)),
                TrialRecord(Outcome.FAILED, began_training=True, failed_stage="distill", cause="diverged"),
            ):
                study.ledger.finish(study.optuna_study.ask(), record, None)
        return study

    return build


def add(study: Study, k: int, students: int, evil: bool, hardware: tuple[str, ...]) -> None:
    trial = study.optuna_study.ask()
    file = study.home / "trials" / f"{trial.number:05d}" / "student.onnx"
    write_student(file, 4 + 8 * k)
    accuracy = 0.80 + 0.03 * k if k != students - 1 or students < 3 else 0.5  # the last one is dominated
    measurements = [Measurement("accuracy", accuracy, "ratio", spread=0.01)]
    for place, profile in enumerate(hardware):
        # the second device likes the students the other way round: there only the best one is on the front
        value = 0.01 * (k + 1) if place == 0 else 0.01 * (students + 1 - k)
        measurements.append(Measurement("latency_ms", value, "ms", profile, 0.004))
    measurements += [
        Measurement("size_bytes", float(file.stat().st_size), "bytes"),
        Measurement("params", 64.0 * k + 74, ""),
    ]
    params = {"bits": 8 if k % 2 else 32, "lr": 0.2, "method": EVIL if evil else "kd", "prune_1": 0.25 * (k % 3)}
    record = TrialRecord(
        Outcome.MEASURED, params, tuple(measurements), began_training=True, artifact=str(file),
        artifact_sha256=file_sha256(file),
    )  # fmt: skip
    study.ledger.finish(trial, record, [accuracy, 0.01 * (k + 1)])


def page() -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=20).run()
    assert not app.exception
    return app


def metric(app: AppTest, label: str) -> str:
    return next(str(m.value) for m in app.metric if m.label == label).replace("\\", "")


def downloads(app: AppTest) -> list[object]:
    return list(app.get("download_button"))


def test_a_study_with_a_front(make: Make) -> None:
    study = make()
    app = page()
    assert app.title[0].value == "digits"
    assert metric(app, "State") == "finished"
    assert metric(app, "Trials trained") == "6 of 12"
    assert metric(app, "On the front") == "4 of 5"
    assert float(metric(app, "Hypervolume")) == pytest.approx(study.hypervolume(), abs=1e-3)
    table = app.dataframe[0].value
    assert table["trial"].tolist() == [0, 1, 2, 3]
    assert table["latency (ms, cpu_1_thread)"].tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04])
    assert table["accuracy (%)"].tolist() == pytest.approx([80, 83, 86, 89])
    assert table["latency ± (ms, cpu_1_thread)"].tolist() == pytest.approx([4e-5, 8e-5, 12e-5, 16e-5])
    assert not app.error and len(downloads(app)) == 2


def test_the_chosen_student_is_the_measured_file_and_runs(make: Make, tmp_path: Path) -> None:
    study = make()
    app = page()
    app.selectbox(key="student digits").set_value(2).run()
    assert not app.exception
    member = next(m for m in study.members() if m.number == 2)
    found = reading.download(study, member)
    assert found.name == "digits-2.onnx" and found.receipt_name == "digits-2.receipt.json"
    assert found.model == Path(str(member.artifact)).read_bytes()
    receipt = json.loads(found.receipt)
    assert receipt["trial"] == 2 and receipt["file"]["sha256"] == member.record.artifact_sha256
    (tmp_path / found.name).write_bytes(found.model)
    code = app.code[0].value
    assert code == reading.snippet(found)
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    session = onnxruntime.InferenceSession(found.model, providers=["CPUExecutionProvider"])
    scores = session.run(None, {"input": np.zeros((1, 1, 8, 8), np.float32)})[0]
    assert ran.stdout.strip() == f"['{scores.argmax()}']"


def test_a_changed_file_is_not_handed_out(make: Make) -> None:
    study = make()
    file = Path(str(study.members()[0].artifact))
    file.write_bytes(file.read_bytes() + b" ")
    app = page()
    app.selectbox(key="student digits").set_value(0).run()
    assert "was changed" in app.error[0].value and not downloads(app)


def test_a_file_that_is_gone_is_said_in_words(make: Make) -> None:
    study = make(students=1)
    Path(str(study.members()[0].artifact)).unlink()
    app = page()
    assert "must be there" in app.error[0].value and not app.exception and not downloads(app)
    assert app.dataframe[0].value["trial"].tolist() == [0]


@pytest.mark.parametrize(
    ("state", "words"),
    [("preparing", "being prepared"), ("searching", "being trained"), ("interrupted", "autokd status")],
)
def test_a_study_without_a_measured_student(make: Make, state: str, words: str) -> None:
    study = make(students=0, state=state)
    study.ledger.set_attr(DRIVER_KEY, {"beat": time.time()})
    app = page()
    assert metric(app, "State") == state
    assert words in app.info[0].value
    assert not app.error and not app.warning and not app.dataframe


def test_a_killed_driver_is_noticed(make: Make) -> None:
    study = make(students=0, state="searching")
    study.ledger.set_attr(DRIVER_KEY, {"beat": time.time() - 1000})
    app = page()
    assert "nothing was heard" in app.warning[0].value
    assert app.code[0].value == "autokd resume digits"


def test_no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOKD_DASHBOARD_STORAGE", f"sqlite:///{tmp_path / 'none.db'}")
    app = page()
    assert "No study yet" in app.info[0].value and "autokd search" in app.code[0].value
    assert not (tmp_path / "none.db").exists()


def test_a_ledger_without_a_study_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna

    url = f"sqlite:///{tmp_path / 'other.db'}"
    optuna.create_study(storage=url, study_name="a stranger's")
    monkeypatch.setenv("AUTOKD_DASHBOARD_STORAGE", url)
    assert "No study yet" in page().info[0].value


@pytest.mark.parametrize(
    "url", ["sqlite:///{file}", "postgresql://nobody:secret@127.0.0.1:1/x", "what://is/this", "://"]
)
def test_a_storage_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    file = tmp_path / "autokd.db"
    file.write_text("this is no database, but long enough to be looked at " * 20)
    monkeypatch.setenv("AUTOKD_DASHBOARD_STORAGE", url.format(file=file))
    app = page()
    assert len(app.error) == 1 and "secret" not in app.error[0].value


def test_it_opens_the_newest_study_that_has_a_front(make: Make) -> None:
    make("old", students=2)
    make("new", students=2)
    make("begun", students=0, state="preparing")
    app = page()
    assert app.selectbox(key="study").options == ["begun", "new", "old"]
    assert app.title[0].value == "new"
    app.selectbox(key="study").set_value("old").run()
    assert app.title[0].value == "old" and not app.exception


def test_the_named_study_is_opened(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("old", students=2)
    make("new", students=2)
    monkeypatch.setenv("AUTOKD_DASHBOARD_STUDY", "old")
    assert page().title[0].value == "old"
    monkeypatch.setenv("AUTOKD_DASHBOARD_STUDY", "<b>none</b>")
    app = page()
    assert app.title[0].value == "new"
    assert "There is no study" in app.warning[0].value and "\\<b\\>" in app.warning[0].value


def test_another_device_has_another_front(make: Make) -> None:
    make(hardware=("cpu_1_thread", "cpu_2_threads"))
    app = page()
    assert app.dataframe[0].value["trial"].tolist() == [0, 1, 2, 3]
    app.selectbox(key="profile digits").set_value("cpu_2_threads").run()
    table = app.dataframe[0].value
    assert not app.exception
    assert table["trial"].tolist() == [4, 3]
    assert "latency (ms, cpu_2_threads)" in table.columns


def test_text_of_a_ledger_is_text(make: Make) -> None:
    make(evil=True)
    app = page()
    app.selectbox(key="colour digits").set_value("method").run()
    assert not app.exception
    figure = app.get("plotly_chart")[0].proto.spec
    assert "\\u003cb\\u003ekd" not in figure and "<b>kd" not in figure and "lt;b" in figure
    texts = [e.value for kind in (app.markdown, app.caption, app.title, app.subheader, app.info) for e in kind]
    assert not [t for t in texts if "<b>" in str(t)]
    assert EVIL in app.dataframe[2].value["value"].tolist()  # shown as it is, in a table that reads no markup


def test_markdown_is_escaped() -> None:
    assert reading.plain(":red[x] <b>\n$y$ `z`") == r"\:red\[x\] \<b\> \$y\$ \`z\`"


def test_a_damaged_plan_is_a_sentence(make: Make) -> None:
    make().ledger.set_attr("autokd:plan", "{}")
    app = page()
    assert "could not be shown" in app.error[0].value


def test_a_study_made_anew_under_its_name_is_read_anew(make: Make) -> None:
    import optuna

    study = make(students=2)
    assert metric(page(), "On the front") == "2 of 2"
    optuna.delete_study(study_name="digits", storage=study.ledger.url)
    make(students=3)
    assert metric(page(), "On the front") == "2 of 3"


@pytest.mark.parametrize(("state", "seconds"), [("searching", 3.0), ("finished: x", None)])
def test_only_a_live_study_is_drawn_again_by_itself(
    make: Make, monkeypatch: pytest.MonkeyPatch, state: str, seconds: float | None
) -> None:
    make(students=1, state=state)
    asked = []
    real = streamlit.fragment

    def spy(func: Callable[..., object], run_every: float | None = None) -> object:
        asked.append(run_every)
        return real(func, run_every=run_every)

    monkeypatch.setattr(streamlit, "fragment", spy)
    page()
    assert asked == [seconds]


def test_the_page_s_imports_load_neither_torch_nor_ray() -> None:
    code = (
        "import sys, runpy, os\n"
        f"runpy.run_path({str(APP)!r}, run_name='page')\n"
        "print([m for m in ('torch', 'ray', 'nni') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert found.stdout.strip() == "[]"


def test_what_was_confirmed_is_shown_with_its_place(make: Make) -> None:
    study = make()
    best = study.front()[0].number
    found = {"accuracy": 0.77, "accuracy_se": 0.02, "latency_ms@cpu_1_thread": 0.0123}
    study.ledger.set_attr("autokd:confirmed", {str(best): found})
    page = AppTest.from_file(str(APP), default_timeout=60).run()
    assert not page.exception
    assert not page.error
    shown = " ".join(str(table.value.to_dict()) for table in page.dataframe)
    assert "test split" in shown
    assert "cpu_1_thread, again" in shown


def test_a_whole_page_loads_neither_torch_nor_ray(make: Make) -> None:
    make()
    code = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file({str(APP)!r}, default_timeout=60).run()\n"
        "assert len(app.get('download_button')) == 2\n"
        "print([m for m in ('torch', 'ray', 'nni') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert found.stdout.strip() == "[]"
