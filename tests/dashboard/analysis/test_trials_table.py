"""The trials as a table: headings, units, filters, order, CSV."""

from __future__ import annotations

import csv
import io
import time

import numpy as np
import pandas as pd
import pytest

from autokd.config.objectives import Objective
from autokd.dashboard.analysis import trials_table as tables
from autokd.dashboard.analysis.trials_table import Filters
from tests.dashboard.conftest import EVIL

GOALS = (Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "cpu_1_thread"))


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "number": [0, 1, 2, 3],
            "outcome": ["measured", "measured", "infeasible", None],
            "feasible": [True, True, False, False],
            "accuracy": [0.812345678901234, 0.9, np.nan, np.nan],
            "accuracy_error": [0.01, 0.02, np.nan, np.nan],
            "latency_ms@cpu_1_thread": [0.02, 0.05, 0.01, np.nan],
            "size_bytes": [12345.0, 2000.0, 1000.0, np.nan],
            "params_bits": [8.0, 32.0, 8.0, np.nan],
            "params_lr": [0.1, 0.25, 0.1, np.nan],
            "params_method": ["kd", "dkd", EVIL, None],
            "params_trial": ["=1+1", "-0.5", "@x", None],
            "cpu_s": [1.5, 2.0, 0.1, 0.0],
            "begun": [0.0, 1.0, 2.0, 3.0],
            "stage_distill_s": [2.0, np.nan, np.nan, np.nan],
        }
    )


def test_headings_have_unit_and_device_and_do_not_collide(frame: pd.DataFrame) -> None:
    names = {c.source: c.shown for c in tables.columns(frame, GOALS)}
    assert names["accuracy_error"] == "accuracy ± (%)" and names["size_bytes"] == "size (kB)"
    assert names["params_trial"] == "trial (parameter)" and names["stage_distill_s"] == "distill (s)"
    assert list(names)[:3] == ["number", "outcome", "accuracy"] and "feasible" not in names
    assert tables.measurement("of_another_version").shown == "of_another_version"


def test_values_are_in_the_unit_of_their_heading(frame: pd.DataFrame) -> None:
    table = tables.for_people(frame, tables.columns(frame, GOALS))
    assert table["size (kB)"].tolist()[:2] == pytest.approx([12.345, 2.0])
    assert table["bits"].tolist()[:3] == [8, 32, 8] and str(table["bits"].dtype) == "Int64"
    assert table["lr"].tolist()[:2] == [0.1, 0.25]
    assert str(table["begun"].dtype).startswith("datetime64")


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, np.nan], "Int64"), ([1.5, 2.0], "float64"), ([1e300, 2.0], "float64"), ([True, False], "bool")],
)
def test_whole_numbers(values: list[float], expected: str) -> None:
    assert str(tables.whole(pd.Series(values)).dtype) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("bits=8", [0, 2]), ("bits=8.0", [0, 2]), ("BITS=8", [0, 2]), ("bits!=8", [1]), ("lr>0.1", [1]), ("lr>=0.1", [0, 1, 2]),
        ("lr<.2", [0, 2]), ("method=kd", [0]), ("method!=kd", [1, 2]), ("dkd", [1]), ("<b>kd</b>", [2]),
    ],
)  # fmt: skip
def test_words_find_parameters(frame: pd.DataFrame, word: str, expected: list[int]) -> None:
    rows, unknown = tables.keep(frame, Filters(words=word))
    assert rows["number"].tolist() == expected and not unknown


@pytest.mark.parametrize("word", ["none=3", "method>3x", "bits<many"])
def test_words_that_ask_for_nothing(frame: pd.DataFrame, word: str) -> None:
    assert tables.keep(frame, Filters(words=f"bits=8 {word}"))[1] == [word]


def test_all_words_must_fit(frame: pd.DataFrame) -> None:
    assert tables.keep(frame, Filters(words="bits=8 method=kd"))[0]["number"].tolist() == [0]


def test_choices_and_ranges(frame: pd.DataFrame) -> None:
    options = tables.choices(frame)
    assert options["params_bits"] == [8.0, 32.0, None] and "pruned" not in options
    assert tables.outcome_choices(frame) == ["measured", "infeasible", None]
    assert tables.keep(frame, Filters({"params_bits": [8.0, None]}))[0]["number"].tolist() == [0, 2, 3]
    assert tables.keep(frame, Filters({"outcome": [None]}))[0]["number"].tolist() == [3]
    assert len(tables.keep(frame, Filters({"params_bits": []}))[0]) == 4
    at_least = Filters(ranges={"accuracy": (0.85, None), "latency_ms@cpu_1_thread": (None, 0.05)})
    assert tables.keep(frame, at_least)[0]["number"].tolist() == [1]


def test_bounds_hold_every_value() -> None:
    values = pd.Series(np.random.default_rng(0).lognormal(size=1000) * 0.01)
    low, high = tables.bounds(values) or (1, 0)
    assert low <= values.min() < low * 1.5 + 1e-3 and values.max() <= high < values.max() * 1.02
    assert tables.bounds(pd.Series([0.5, 0.5, np.nan])) is None and tables.bounds(pd.Series([np.nan])) is None
    assert tables.bounds(pd.Series([80.0, 89.0])) == (80.0, 89.0)


def test_steps_of_a_cost_are_equal_ratios_around_every_value() -> None:
    steps = tables.steps(pd.Series([0.01234, 2.718, np.nan, 0.0]))
    assert steps[0] == 0.0123 and steps[-1] == 2.72 and len(steps) == 101
    assert np.ptp(np.diff(np.log(steps))) < 0.02
    assert tables.steps(pd.Series([3.0, 3.0])) == [] and tables.steps(pd.Series([np.nan])) == []


def test_the_order_puts_missing_values_last(frame: pd.DataFrame) -> None:
    ways = tables.orders(GOALS)
    assert tables.in_order(frame, *ways["best accuracy (%)"])["number"].tolist() == [1, 0, 2, 3]
    assert tables.in_order(frame, *ways["best latency (ms, cpu_1_thread)"])["number"].tolist() == [2, 0, 1, 3]


def test_a_csv_has_full_precision_and_no_formulas(frame: pd.DataFrame) -> None:
    rows = list(csv.DictReader(io.StringIO(tables.csv(frame).decode())))
    assert list(rows[0]) == list(frame.columns)
    assert float(rows[0]["accuracy"]) == frame["accuracy"][0]
    assert [r["params_trial"] for r in rows] == ["'=1+1", "-0.5", "'@x", ""]
    assert [r["params_bits"] for r in rows] == ["8", "32", "8", ""]
    assert rows[2]["params_method"] == EVIL


@pytest.mark.parametrize("text", ["+cmd|' /C calc'!A0", "-2+3", "\t=1", "\r=1"])
def test_formulas_are_text(text: str) -> None:
    assert tables.defused(pd.Series([text, None, "fine"])).tolist()[0] == "'" + text


def test_a_csv_of_mixed_values_reads_back() -> None:
    mixed = pd.DataFrame({"params_x": [1, "=a", True, None, 2.5]}, dtype=object)
    rows = list(csv.reader(io.StringIO(tables.csv(mixed).decode())))
    assert [r[0] if r else "" for r in rows[1:]] == ["1", "'=a", "True", "", "2.5"]


def test_a_large_table_is_no_work_for_every_pair_of_rows(frame: pd.DataFrame) -> None:
    many = pd.concat([frame.iloc[:3]] * 33_000, ignore_index=True)
    many["params_lr"] = np.linspace(0.01, 0.5, len(many))
    began = time.process_time()
    rows, _ = tables.keep(many, Filters({"params_bits": [8.0]}, {"accuracy": (0.5, None)}, "kd lr<0.3 method!=dkd"))
    assert time.process_time() - began < 10.0, "0.4 s, unless the work grows with the square of the rows"
    assert len(rows)
