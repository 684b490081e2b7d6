"""The shell around the pages: which study opens, and what is said when there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import streamlit

from autokd.storage.attributes import CONFIG_KEY, DRIVER_KEY
from tests.dashboard.conftest import APP, Make, Open

PAGES = ("front", "watch", "student", "compare", "devices", "why", "trials", "studies", "start")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("students", [5, 0])
def test_every_page_opens(make: Make, open_page: Open, page: str, students: int) -> None:
    make(students=students, state="finished: 12 trials" if students else "preparing")
    app = open_page(page)
    assert not app.error, app.error[0].value


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_a_running_study(make: Make, open_page: Open, page: str) -> None:
    make(students=3, state="searching", live=True)
    app = open_page(page)
    assert not app.error, app.error[0].value


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_a_foreign_study(make: Make, open_page: Open, page: str) -> None:
    make(students=3, evil=True, hardware=("cpu_1_thread", "cpu_2_threads"))
    app = open_page(page)
    assert not app.error, app.error[0].value
    shown = [e.value for kind in (app.markdown, app.caption, app.title, app.subheader, app.info) for e in kind]
    assert not [t for t in shown if "<b>" in str(t)]


def test_no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_page: Open) -> None:
    monkeypatch.setenv("AUTOKD_DASHBOARD_STORAGE", f"sqlite:///{tmp_path / 'none.db'}")
    app = open_page()
    assert "No study yet" in app.info[0].value and "autokd search" in app.code[0].value
    assert not (tmp_path / "none.db").exists()


def test_a_ledger_without_a_study_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_page: Open) -> None:
    import optuna

    url = f"sqlite:///{tmp_path / 'other.db'}"
    optuna.create_study(storage=url, study_name="a stranger's")
    monkeypatch.setenv("AUTOKD_DASHBOARD_STORAGE", url)
    assert "No study yet" in open_page().info[0].value


@pytest.mark.parametrize(
    "url", ["sqlite:///{file}", "postgresql://nobody:secret@127.0.0.1:1/x", "what://is/this", "://"]
)
def test_a_storage_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, open_page: Open
) -> None:
    file = tmp_path / "autokd.db"
    file.write_text("this is no database, but long enough to be looked at " * 20)
    monkeypatch.setenv("AUTOKD_DASHBOARD_STORAGE", url.format(file=file))
    app = open_page()
    assert len(app.error) == 1 and "secret" not in app.error[0].value


def test_it_opens_the_newest_study_that_has_a_front(make: Make, open_page: Open) -> None:
    make("old", students=2)
    make("new", students=2)
    make("begun", students=0, state="preparing")
    app = open_page()
    assert app.selectbox(key="study").options == ["begun", "new", "old"]
    assert app.title[0].value == "new"
    app.selectbox(key="study").set_value("old").run()
    assert app.title[0].value == "old" and not app.exception


def test_the_named_study_is_opened(make: Make, open_page: Open) -> None:
    make("old", students=2)
    make("new", students=2)
    assert open_page(study="old").title[0].value == "old"
    app = open_page(study="<b>none</b>")
    assert app.title[0].value == "new" and r"\<b\>" in app.warning[0].value


def test_a_damaged_plan_is_a_sentence(make: Make, open_page: Open) -> None:
    make().ledger.set_attr(CONFIG_KEY, "{}")
    assert "could not be shown" in open_page().error[0].value


def test_a_study_deleted_meanwhile_is_left(make: Make, open_page: Open) -> None:
    import optuna

    study = make("new", students=2)
    make("old", students=2)
    app = open_page(study="new")
    assert app.title[0].value == "new"
    optuna.delete_study(study_name="new", storage=study.ledger.url)
    app.run()
    assert not app.exception and app.title[0].value == "old"


def test_a_study_made_anew_under_its_name_is_read_anew(make: Make, open_page: Open) -> None:
    import optuna

    study = make(students=2)
    assert len(open_page().dataframe[0].value) == 2
    optuna.delete_study(study_name="digits", storage=study.ledger.url)
    make(students=3)
    assert len(open_page().dataframe[0].value) == 2  # the third of three is dominated
    assert "3 students" in open_page().caption[0].value


def test_a_killed_driver_is_noticed(make: Make, open_page: Open) -> None:
    study = make(students=0, state="searching")
    study.ledger.set_attr(DRIVER_KEY, {"beat": 1.0})
    app = open_page()
    assert "nothing was heard" in app.warning[0].value
    assert app.code[0].value == f"autokd resume digits --storage {study.ledger.url}"


@pytest.mark.parametrize(("live", "seconds"), [(True, 3.0), (False, None)])
def test_only_a_live_study_is_drawn_again_by_itself(
    make: Make, open_page: Open, monkeypatch: pytest.MonkeyPatch, live: bool, seconds: float | None
) -> None:
    make(students=1, state="searching" if live else "finished: x", live=live)
    asked: list[object] = []
    real = streamlit.fragment

    def spy(func: object = None, *, run_every: float | None = None) -> object:
        asked.append(run_every)
        return real(func, run_every=run_every)

    monkeypatch.setattr(streamlit, "fragment", spy)
    open_page()
    assert asked == [seconds]


def test_pages_load_neither_torch_nor_ray(make: Make) -> None:
    make()
    code = (
        "import os, sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"for page in {PAGES!r}:\n"
        "    os.environ['AUTOKD_DASHBOARD_PAGE'] = page\n"
        f"    app = AppTest.from_file({str(APP)!r}, default_timeout=120).run()\n"
        "    assert not app.exception, page\n"
        "print([m for m in ('torch', 'ray', 'nni') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert found.stdout.strip() == "[]"
