"""The page that starts a search, and the buttons that stop and resume one."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import streamlit
import yaml
from streamlit.testing.v1 import AppTest
from support import tiny

from autokd.config.template import study_template
from autokd.dashboard.commands import drivers, launch
from autokd.dashboard.commands.study_file import Checked, check, free_name, moved_objectives
from autokd.dashboard.components.study_form import TEXT
from autokd.errors import ConfigError, UserError
from autokd.storage.attributes import DRIVER_KEY
from autokd.study.study import Study

Make = Callable[..., Study]
Open = Callable[..., AppTest]


@pytest.fixture
def listen(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Says where the server listens."""
    real = streamlit.get_option

    def at(address: str | None) -> None:
        monkeypatch.setattr(streamlit, "get_option", lambda key: address if key == "server.address" else real(key))

    return at


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: Callable[[str | None], None]) -> Path:
    """The folder and the ledger of the dashboard."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("AUTOKD_DASHBOARD_STORAGE", f"sqlite:///{tmp_path / 'autokd.db'}")
    monkeypatch.setenv("AUTOKD_DASHBOARD_STUDY", "")
    listen("127.0.0.1")
    return tmp_path


def words(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.info, app.success, app.warning, app.error, app.title, app.subheader)
    return " ".join(str(e.value) for kind in kinds for e in kind).replace("\\", "")


def said(app: AppTest) -> dict[str, Any]:
    found = yaml.safe_load(app.text_area(key=TEXT).value)
    assert isinstance(found, dict)
    return found


def until(app: AppTest, done: Callable[[AppTest], object], seconds: float = 240.0) -> AppTest:
    end = time.monotonic() + seconds
    while not done(app):
        assert time.monotonic() < end, words(app)
        time.sleep(0.3)
        app.run()
        assert not app.exception
    return app


# ------------------------------------------------------------------------------------------------------------- the form


def test_the_template_is_valid_and_can_be_started(open_page: Open) -> None:
    app = open_page("start")
    assert not app.error
    assert "The file is valid" in app.success[0].value
    assert not app.button(key="start button").disabled
    assert app.text_area(key=TEXT).value == study_template()


def test_fields_write_the_text_and_leave_its_comments(open_page: Open) -> None:
    app = open_page("start")
    app.number_input(key="start budget.trials").set_value(7).run()
    app.number_input(key="start budget.wall_s").set_value(3.0).run()
    app.text_input(key="start name").set_value("mine").run()
    app.multiselect(key="start hardware").set_value(["cpu_2_threads"]).run()
    app.selectbox(key="start objective 2").set_value("minimize size_bytes").run()
    app.number_input(key="start training.samples").set_value(900).run()
    app.text_area(key="start constraints").set_value("macs <= 1 M\n\nparams <= 50 k\n").run()
    values = said(app)
    assert values["name"] == "mine"
    assert values["budget"] == {"trials": 7, "trial_s": 600, "wall_s": 180, "cpu_s": 300}
    assert values["hardware"] == ["cpu_2_threads"]
    assert values["objectives"] == ["maximize accuracy", "minimize latency_ms@cpu_2_threads", "minimize size_bytes"]
    assert values["training"]["samples"] == 900 and "epochs" not in values["training"]
    assert values["constraints"] == ["macs <= 1 M", "params <= 50 k"]
    assert "# CPU seconds of everything" in app.text_area(key=TEXT).value
    assert not app.exception and not app.error


def test_fields_follow_a_pasted_file(open_page: Open) -> None:
    app = open_page("start")
    mine = tiny(name="pasted", sampler="my_module:make", teacher={"onnx": "teacher.onnx"}, budget__trials=None)
    app.text_area(key=TEXT).set_value(yaml.safe_dump(mine)).run()
    assert app.text_input(key="start name").value == "pasted"
    assert app.selectbox(key="start sampler").value == "my_module:make"
    assert app.radio(key="start teacher").value == "onnx"
    assert app.number_input(key="start budget.trials").value is None
    assert "teacher's file must exist" in words(app)
    app.radio(key="start teacher").set_value("family").run()
    assert said(app)["teacher"] == {"family": "mobilenet"}
    assert not app.error


@pytest.mark.parametrize(
    ("before", "after", "words_"),
    [
        ("  cpu_s: 300", "  cpus_s: 300", ("Line {line}", "unknown key", "budget.cpus_s", "Did you mean 'cpu_s'?")),
        ("space: auto", "space: digitz", ("spaces must be", "Did you mean 'digits'?")),
        ("name: digits ", "name: [digits ", ("must be valid YAML",)),
        ("[cpu_1_thread]", "[cpu_1_thread, raspberry_pi_5]", ("raspberry_pi_5 needs", "Choose another profile")),
        ("name: digits ", "name: ../digits ", ("a study's name names a folder",)),
        ("max_gb: 5", "max_gb: <b>*x*</b>", ("<b>*x*</b>",)),
    ],
)
def test_what_is_wrong_is_said_with_line_law_value_and_mend(
    open_page: Open, before: str, after: str, words_: tuple[str, ...]
) -> None:
    app = open_page("start")
    assert before in study_template()
    app.text_area(key=TEXT).set_value(study_template().replace(before, after, 1)).run()
    assert len(app.error) == 1 and not app.exception
    line = study_template()[: study_template().index(before)].count("\n") + 1
    assert [w for w in words_ if w.format(line=line) not in words(app)] == []
    assert app.button(key="start button").disabled and app.button(key="start preflight button").disabled


@pytest.mark.parametrize(
    ("space", "place"),
    [
        ("family: [mlp\n", "mine.yaml, line 2: the file must be valid YAML"),
        ("parameters: {width: {choice: [8, 16], stage: build}}\n", "mine.yaml: a space must name its family"),
        ("&a [*a]\n", "mine.yaml: the file must not be nested without end"),
    ],
    ids=["a line", "no line", "no line of a loop"],
)
def test_an_error_of_another_file_names_it(open_page: Open, folder: Path, space: str, place: str) -> None:
    (folder / "mine.yaml").write_text(space)
    app = open_page("start")
    app.text_area(key=TEXT).set_value(study_template().replace("space: auto", "space: mine.yaml", 1)).run()
    assert len(app.error) == 1 and not app.exception
    assert place in words(app)


def test_an_error_without_file_and_line_has_no_place() -> None:
    assert Checked(error=UserError("the disk must have room", "0 bytes")).place == ""
    assert Checked(error=ConfigError("the text must be a mapping", "a list")).place == ""
    assert Checked().place == ""


def test_a_taken_name_is_said_and_another_offered(make: Make, open_page: Open, folder: Path) -> None:
    make("digits", students=1)
    (folder / "digits-2.yaml").write_text("name: other\n")
    app = open_page("start")
    assert "has a study 'digits' already" in words(app)
    assert app.button(key="start button").disabled
    app.button(key="start rename").click().run()
    assert said(app)["name"] == "digits-3"
    assert not app.button(key="start button").disabled


def test_a_file_in_the_way_is_not_overwritten(open_page: Open, folder: Path) -> None:
    (folder / "digits.yaml").write_text("name: digits  # mine\n")
    app = open_page("start")
    assert "is not overwritten" in words(app)
    assert app.button(key="start button").disabled
    assert (folder / "digits.yaml").read_text() == "name: digits  # mine\n"


@pytest.mark.parametrize("address", ["0.0.0.0", None])
def test_a_server_that_others_reach_starts_nothing(
    open_page: Open, listen: Callable[[str | None], None], address: str | None
) -> None:
    listen(address)
    app = open_page("start")
    assert "can be reached from other machines" in words(app)
    assert not app.button
    assert any(c.value.startswith("autokd search study.yaml --storage sqlite:") for c in app.code)


def test_pure_helpers(tmp_path: Path) -> None:
    (tmp_path / "a-2.yaml").touch()
    assert free_name("a", {"a"}, tmp_path) == "a-3"
    assert free_name("a-3", {"a-3"}, tmp_path) == "a-4"
    goals = ["maximize accuracy", "minimize latency_ms@old"]
    assert moved_objectives(goals, ["old"], ["folder/new.yaml"]) == ["maximize accuracy", "minimize latency_ms@new"]
    assert moved_objectives(goals, ["old"], []) == goals
    assert check(study_template()).place == ""


# ------------------------------------------------------------------------------------------------------------ real runs


@pytest.mark.slow
def test_a_preflight_says_what_the_search_will_cost(open_page: Open, folder: Path) -> None:
    app = open_page("start")
    app.text_area(key=TEXT).set_value(yaml.safe_dump(tiny(constraints=["params <= 5 k"]))).run()
    app.button(key="start preflight button").click().run()
    assert app.button(key="start preflight button").disabled
    until(app, lambda a: any("Pre" in s.value for s in a.subheader))
    assert not app.error
    shown = {m.label: m.value.replace("\\", "") for m in app.metric}
    assert shown["candidates"] == "endless" and shown["meet the constraints"].endswith("%")
    assert shown["disk"].endswith("B")
    table = app.dataframe[0].value
    assert table["cost"].tolist()[0] == "latency" and table["device"].tolist()[0] == "cpu_1_thread"
    assert not list((folder / "tmp").glob("autokd-preflight-*")) and not (folder / "autokd.db").exists()
    app.number_input(key="start seed").set_value(5).run()
    assert "Of an earlier version" in words(app)


def test_a_search_that_is_refused_says_why(open_page: Open) -> None:
    app = open_page("start")
    app.text_area(key=TEXT).set_value(yaml.safe_dump(tiny(sampler="no_such_module:make"))).run()
    app.button(key="start button").click().run()
    until(app, lambda a: a.error)
    assert "must be importable" in words(app)
    assert not app.button(key="start button").disabled


@pytest.mark.slow
def test_a_search_is_started_and_watched(open_page: Open, folder: Path) -> None:
    app = open_page("start")
    app.text_area(key=TEXT).set_value(yaml.safe_dump(tiny(budget__trials=2))).run()
    app.button(key="start button").click().run()
    assert app.button(key="start button").disabled
    until(app, lambda a: a.title[0].value == "tiny")
    assert (folder / "tiny.yaml").is_file()
    url = os.environ["AUTOKD_DASHBOARD_STORAGE"]
    until(app, lambda a: Study.open("tiny", url).state.startswith("finished"))


# -------------------------------------------------------------------------------------------------------- stop and resume


def _controls() -> None:
    from autokd.dashboard import source
    from autokd.dashboard.components.controls import controls

    controls(source.look(source.summaries()[0]))


def buttons() -> AppTest:
    app = AppTest.from_function(_controls, default_timeout=120).run()
    assert not app.exception
    return app


@pytest.fixture
def live(make: Make) -> Study:
    """A study with a driver on this host: this process."""
    study = make("digits", state="searching")
    study.ledger.set_attr(DRIVER_KEY, {"pid": os.getpid(), "host": socket.gethostname(), "beat": time.time()})
    return study


def test_stop_asks_the_driver_once(live: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(drivers, "stop", lambda driver, home: asked.append(home))
    app = buttons()
    assert [b.label for b in app.button] == ["Stop"]
    app.button(key="stop digits").click().run()
    app.run()
    assert asked == [live.home]
    assert not app.button and "can be resumed" in words(app)


def test_what_is_no_autokd_command_is_not_stopped(live: Study) -> None:
    app = buttons()
    app.button(key="stop digits").click().run()
    assert "only an autokd command can be stopped here" in words(app)


def test_a_search_of_another_host_has_no_stop(live: Study) -> None:
    live.ledger.set_attr(DRIVER_KEY, {"pid": 1, "host": "<b>far</b>", "beat": time.time()})
    app = buttons()
    assert not app.button and "It runs on <b>far</b>" in words(app)


def test_a_finished_study_goes_on_with_a_larger_budget_only(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("digits", state="finished: the budget of 12 trials is spent")
    given: list[tuple[str, list[str]]] = []

    def resume(name: str, url: str, folder: Path, overrides: list[str]) -> None:
        given.append((name, overrides))

    monkeypatch.setattr(launch, "resume", resume)
    app = buttons()
    assert app.button(key="resume digits").disabled
    app.number_input(key="more trials digits").set_value(5).run()
    app.button(key="resume digits").click().run()
    assert given == [("digits", ["budget.trials=+5"])]


def test_an_interrupted_study_is_resumed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("digits", state="interrupted")
    given: list[list[str]] = []
    monkeypatch.setattr(launch, "resume", lambda name, url, folder, overrides: given.append(overrides))
    buttons().button(key="resume digits").click().run()
    assert given == [[]]


def test_an_exhausted_space_has_nothing_to_resume(make: Make) -> None:
    make("digits", state="finished: all 12 candidates of the space were evaluated")
    app = buttons()
    assert not app.button and "nothing is left to search" in words(app)


def test_a_server_that_others_reach_has_no_buttons(
    make: Make, live: Study, listen: Callable[[str | None], None]
) -> None:
    listen("0.0.0.0")
    assert not buttons().button
    live.ledger.set_attr(DRIVER_KEY, {})
    app = buttons()
    assert not app.button and app.code[0].value.startswith("autokd resume digits")


def test_a_resume_that_is_refused_says_why(make: Make) -> None:
    study = make("digits", state="interrupted")
    app = buttons()
    import filelock

    study.home.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(study.home / "driver.lock"):
        app.button(key="resume digits").click().run()
        until(app, lambda a: a.error)
    assert "one live driver" in words(app)
