"""``budget.until``: what may be written, and the driver that ends a search by it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import tiny

from autokd.cli.progress import Bar
from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.config.study_file import EDITABLE, BudgetConfig
from autokd.config.until import Until
from autokd.errors import ConfigError
from autokd.storage.attributes import REFERENCE_KEY
from autokd.strategies import driver as driver_module
from autokd.strategies.driver import Driver
from autokd.strategies.expected_gain import LEAST_OUTSIDE, LEAST_TO_STOP
from autokd.study.study import Study
from autokd.trial import Measurement, Outcome, TrialRecord, Violation

TRIAL_S = 30.0

# ---------------------------------------------------------------------------------------------------- what it reads


@pytest.mark.parametrize(
    ("text", "gain", "window_s"),
    [
        ("gain < 0.5%", 0.005, 600),
        ("gain<2 %", 0.02, 600),
        (" gain < .25% in 20 min ", 0.0025, 1200),
        ("gain < 1% in 90 s", 0.01, 90),
        ("gain < 10% in 1.5h", 0.1, 5400),
    ],
)
def test_a_condition_is_read_and_written_again(text: str, gain: float, window_s: float) -> None:
    found = Until.parse(text)
    assert found.gain == pytest.approx(gain) and found.window_s == window_s
    assert Until.parse(str(found)) == found
    assert BudgetConfig(until=text).stop == found


WRONG: list[object] = [
    "gain < 0%", "gain < 0.5", "gain > 0.5%", "gain <= 0.5%", "0.5%", "", "hypervolume < 1%", "gain < -1%", "gain < 1e-3%",
    "gain < 1% in 0 min", "gain < 1% in min", "gain < 1% in 5 days", "gain < 1% in 5 min or so", 0.5, ["gain < 1%"], True,
]  # fmt: skip


@pytest.mark.parametrize("given", WRONG, ids=repr)
def test_anything_else_is_refused_with_the_law(given: object) -> None:
    with pytest.raises(ConfigError, match=r"budget\.until") as caught:
        from_dict(tiny(budget={"until": given}))
    if isinstance(given, str):
        assert repr(given) in str(caught.value) and 'must read "gain < X%"' in str(caught.value)


def test_from_the_command_line(run_cli: Any, study_in: Any, tmp_path: Path) -> None:
    study_in(tmp_path)
    ran = run_cli("search", "study.yaml", "--set", "budget.until=gain", cwd=tmp_path)
    assert ran.code == 2 and len(ran.errors) == 1
    for part in ("budget.until", 'must read "gain < X%"', "'gain'", 'e.g. "gain < 0.5%"'):
        assert part in ran.errors[0]
    assert not (tmp_path / "autokd.db").exists()


def test_a_condition_alone_has_no_limit_of_trials() -> None:
    assert from_dict(tiny(budget={"until": "gain < 1%"})).budget.trials is None
    assert from_dict(tiny(budget={"until": "gain < 1%", "trials": 9})).budget.trials == 9
    assert from_dict(tiny(budget={"until": None})).budget.trials == 30
    assert from_dict(tiny(budget={})).budget.trials == 30


def test_it_may_change_later() -> None:
    assert "budget" in EDITABLE
    plan = make_plan(from_dict(tiny(budget={"until": "gain < 1%", "trials": 99})))
    assert plan.with_overrides(["budget.until=gain < 0.1% in 1 h"]).config.budget.stop == Until(0.001, 3600)
    assert plan.with_overrides(["budget.until=null"]).config.budget.stop is None
    assert type(plan).from_json(plan.to_json()).config.budget.stop == Until(0.01)
    with pytest.raises(ConfigError, match=r"must raise a number, but got 'gain < 1%'"):
        plan.with_overrides(["budget.until=+5"])


# ------------------------------------------------------------------------------------------------- the driver


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(driver_module.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def new_study(folder: Path, until: str = "gain < 1%", **changes: Any) -> Study:
    url = f"sqlite:///{folder / 'autokd.db'}"
    known = {"budget": {"until": until, "trials": 200}, "constraints": ["size_bytes <= 1 MB"]}
    study = Study.create(make_plan(from_dict(tiny(storage={"url": url}, **(known | changes)))), url)
    study.ledger.set_attr(REFERENCE_KEY, [0.1, 1.0])
    return study


def drive(study: Study) -> Driver:
    return Driver(study.ledger, study.plan, study.home)


def feed(driver: Driver, clock: Clock, accuracy: float, latency_ms: float, violated: bool = False) -> None:
    """The next trial, measured after ``TRIAL_S``."""
    job = driver.next()
    assert job is not None
    clock.now += TRIAL_S
    values = {"accuracy": accuracy, "size_bytes": 1000.0, "latency_ms": latency_ms}
    found = [Measurement(m, v, "", "cpu_1_thread" if m == "latency_ms" else None) for m, v in values.items()]
    broken = (Violation("accuracy >= 0.9", accuracy, 0.9 - accuracy),) if violated else ()
    driver.complete(job, TrialRecord(Outcome.MEASURED, job.candidate.params, tuple(found), broken, began_training=True))


def climb(driver: Driver, clock: Clock, begin: int, end: int) -> None:
    """Students each of which is better than all before it."""
    for k in range(begin, end):
        feed(driver, clock, 0.3 + 0.01 * k, 0.5 * 0.95**k)


def rest(driver: Driver, clock: Clock, most: int = 200) -> int:
    """Students that add nothing, until the search ends; how many."""
    for done in range(most):
        if driver.finished():
            return done
        feed(driver, clock, 0.2, 0.9)
    raise AssertionError("it never ended")


def as_the_clock_says(folder: Path) -> None:
    """The ledger's dates are the system's: give them the pace of the simulated clock."""
    with closing(sqlite3.connect(folder / "autokd.db")) as database:
        for (number,) in database.execute("SELECT number FROM trials").fetchall():
            dates = [str(datetime(2026, 1, 1) + timedelta(seconds=TRIAL_S * (number + k))) for k in (0, 1)]
            database.execute(
                "UPDATE trials SET datetime_start = ?, datetime_complete = ? WHERE number = ?", (*dates, number)
            )
        database.commit()


def test_it_ends_when_nothing_more_is_expected(tmp_path: Path, clock: Clock) -> None:
    driver = drive(new_study(tmp_path))
    climb(driver, clock, 0, 25)
    assert driver.finished() is None, "each student moved the front"
    told = driver.expected_gain()
    assert told.students == pytest.approx(600 / TRIAL_S) and told.gain is not None and told.gain > 0.01
    assert 10 < rest(driver, clock) < 60
    reason = driver.finished()
    assert reason is not None and reason.startswith('the budget "gain < 1%" is reached; next 10 minutes: about +')
    assert driver.next() is None


def test_not_before_there_are_enough_students(tmp_path: Path, clock: Clock) -> None:
    driver = drive(new_study(tmp_path, "gain < 1% in 30 s"))
    for _ in range(5):
        feed(driver, clock, 0.9, 0.01)
    assert rest(driver, clock) == LEAST_TO_STOP - 5
    assert driver.tally().measured == LEAST_TO_STOP


def test_a_stroke_of_luck_does_not_keep_it_going_for_ever(tmp_path: Path, clock: Clock) -> None:
    driver = drive(new_study(tmp_path))
    feed(driver, clock, 0.9, 0.01)
    ahead = 600 / TRIAL_S
    assert rest(driver, clock) == 4 * ahead - 1, "the newest half is two windows long then"


def test_without_a_condition_it_goes_on(tmp_path: Path, clock: Clock) -> None:
    driver = drive(new_study(tmp_path, budget={"trials": 45}))
    feed(driver, clock, 0.9, 0.01)
    assert rest(driver, clock) == 44 and driver.finished() == "the budget of 45 trials is spent"


def test_without_a_reference_point_it_goes_on(tmp_path: Path, clock: Clock) -> None:
    study = new_study(tmp_path, budget={"trials": 45, "until": "gain < 1%"})
    study.ledger.set_attr(REFERENCE_KEY, None)
    driver = drive(study)
    assert rest(driver, clock) == 45 and driver.expected_gain().missing == "known once the teacher was measured"


def test_a_smaller_gain_goes_on_longer(tmp_path: Path, clock: Clock) -> None:
    ended = []
    for place, until in enumerate(("gain < 30%", "gain < 30% in 1 h", "gain < 0.1%")):
        folder = tmp_path / str(place)
        folder.mkdir()
        driver = drive(new_study(folder, until))
        climb(driver, clock, 0, 18)
        ended.append(driver.tally().measured + rest(driver, clock))
    assert ended == sorted(ended) and len(set(ended)) == 3


def test_students_outside_a_constraint_or_the_reference_add_nothing(tmp_path: Path, clock: Clock) -> None:
    driver = drive(new_study(tmp_path))
    for k in range(LEAST_OUTSIDE):
        assert driver.finished() is None
        feed(driver, clock, *((0.9, 0.001) if k % 2 else (0.05, 0.5)), violated=bool(k % 2))
    assert driver.expected_gain().volume == 0
    assert driver.finished() == (
        f'the budget "gain < 1%" is reached; none of {LEAST_OUTSIDE} students is better than the reference point in every '
        "objective"
    )


def test_a_resumed_search_knows_what_it_knew(tmp_path: Path, clock: Clock) -> None:
    study = new_study(tmp_path, budget={"trials": 200, "until": "gain < 0.1%"})
    driver = drive(study)
    climb(driver, clock, 0, 12)
    running = driver.next()
    driver.interrupt_all()
    again = drive(Study.open("tiny", study.ledger.url))
    assert running is not None and again.finished() is None
    assert again.gain.measured == driver.gain.measured == 12
    assert again.gain.volume == pytest.approx(driver.gain.volume) == pytest.approx(study.hypervolume())
    rest(again, clock)
    as_the_clock_says(tmp_path)
    ended = Study.open("tiny", study.ledger.url)
    assert str(drive(ended).finished()).startswith('the budget "gain < 0.1%"'), "it is not searched on by chance"
    ended.update(["budget.until=null"])
    assert drive(ended).finished() is None


def test_asking_again_costs_nothing(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runners ask many times a second whether the search is finished: neither ledger nor estimate is touched then."""
    driver = drive(new_study(tmp_path))
    climb(driver, clock, 0, 22)
    assert driver.finished() is None
    monkeypatch.setattr(driver.ledger, "trials", lambda: pytest.fail("read the ledger"))
    monkeypatch.setattr(driver.gain, "_expected", lambda window_s: pytest.fail("estimated anew"))
    for _ in range(100):
        assert driver.finished() is None


def test_the_progress_line_says_it(tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    study = new_study(tmp_path)
    driver = drive(study)
    bar = Bar()
    bar.begin(driver, study.hypervolume)
    assert "next 10 minutes" not in capsys.readouterr().err
    climb(driver, clock, 0, 12)
    bar.volume = study.hypervolume()
    bar.end()
    told = driver.expected_gain()
    assert told.short and f"next 10 minutes about {told.short}" in capsys.readouterr().err
