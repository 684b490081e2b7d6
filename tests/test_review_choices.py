"""What numbers a person is shown and which student a limit picks, on members made up for the purpose."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autokd.config.load import from_dict
from autokd.config.objectives import METRICS, Objective, error_of, relative_spread, spread_of
from autokd.errors import ConfigError, StudyError
from autokd.files import disk_bytes
from autokd.formatting import number
from autokd.hardware.profile import load_profile
from autokd.storage.results import Member, choose
from autokd.study.export import _shown_config
from autokd.trial import Measurement, Outcome, TrialRecord

GOALS = (Objective("maximize", "f1_macro"), Objective("minimize", "size_bytes"))


def member(number: int, f1: float, size: float, accuracy: float, latency: float) -> Member:
    measured = (
        Measurement("f1_macro", f1, "ratio"),
        Measurement("size_bytes", size, "bytes"),
        Measurement("accuracy", accuracy, "ratio"),
        Measurement("latency_ms", latency, "ms", "a"),
    )
    whole = TrialRecord(Outcome.MEASURED, measurements=measured)
    return Member(number, {}, {"f1_macro": f1, "size_bytes": size}, None, None, whole)


@pytest.fixture
def found() -> list[Member]:
    """Trial 1 is dominated in f1 and size, and yet the fastest and the most accurate."""
    return [member(0, 0.9, 10.0, 0.80, 4.0), member(1, 0.8, 20.0, 0.85, 1.0), member(2, 0.8, 5.0, 0.70, 2.0)]


@pytest.mark.parametrize(
    ("limits", "number"),
    [
        ({"max_latency_ms": 1.5}, 1),
        ({"max_latency_ms": 3.0}, 1),  # as good as trial 2, and faster
        ({"max_latency_ms": 5.0}, 0),
        ({"min_accuracy": 0.75}, 1),
        ({"min_accuracy": 0.82}, 1),
        ({"min_accuracy": 0.82, "max_latency_ms": 5.0}, 1),
    ],
)
def test_a_limit_need_not_be_on_an_objective(found: list[Member], limits: dict[str, float], number: int) -> None:
    assert choose(found, GOALS, profile="a", **limits).number == number  # type: ignore[arg-type]


def test_an_unmet_limit_names_the_fastest_of_all(found: list[Member]) -> None:
    with pytest.raises(StudyError, match="fastest: 1 ms"):
        choose(found, GOALS, profile="a", max_latency_ms=0.5)


@pytest.mark.parametrize("limit", [{"max_latency_ms": 9.0}, {"min_accuracy": 0.1}])
def test_a_trial_and_a_limit_exclude_each_other(found: list[Member], limit: dict[str, float]) -> None:
    with pytest.raises(StudyError, match="by its trial or by limits"):
        choose(found, GOALS, trial=0, **limit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "unit", "spread", "text"),
    [
        (0.5, "ratio", 0.01, "50.0% ± 1.0%"),
        (0.0214, "ms", 0.0002, "21.4 µs ± 0.200 µs"),
        (2.5e6, "bytes", 1e4, "2.50 MB ± 10.0 kB"),
        (0.44921, "nats", 0.0512, "0.4492 ± 0.051 nats"),
        (0.66667, "", 0.0831, "0.6667 ± 0.083"),
        (1034.0, "", None, "1.0 k"),
        (0.44921, "nats", None, "0.4492 nats"),
    ],
)
def test_every_number_has_its_unit_and_its_spread(value: float, unit: str, spread: float | None, text: str) -> None:
    assert number(value, unit, spread) == text


def test_a_spread_is_relative_because_its_metric_says_so() -> None:
    assert [name for name in METRICS if relative_spread(name)] == ["latency_ms"]
    assert not relative_spread("own.module:time_ms") and error_of("own.module:time_ms", 8.0, 0.5) == 0.5
    assert error_of("latency_ms", 8.0, 0.5) == 4.0 and error_of("latency_ms", 8.0, None) is None
    assert spread_of("latency_ms", 8.0, 4.0) == 0.5 and spread_of("accuracy", 0.5, 0.1) == 0.1
    assert spread_of("latency_ms", 0.0, 4.0) == 4.0 and spread_of("latency_ms", 8.0, None) is None
    assert number(0.0214, "ms", 0.004, relative=True) == "21.4 µs ± 0.4%"
    assert number(8.0, "", 0.0004, relative=True) == "8 ± 0.04%"


def test_a_profile_that_names_itself_is_told_where_its_name_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "board.yaml"
    file.write_text("threads: 1\nname: my board\n")
    with pytest.raises(ConfigError, match=r"board\.yaml:2: .*'my board'.* board\. Remove"):
        load_profile(str(file))


def test_disk_bytes_counts_a_file_of_two_names_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_bytes(b"x" * 100)
    os.link(tmp_path / "a", tmp_path / "sub" / "b")
    (tmp_path / "c").write_bytes(b"x" * 10)
    assert disk_bytes(tmp_path) == 110
    (tmp_path / "a").unlink()
    assert disk_bytes(tmp_path) == 110


def test_a_receipt_does_not_carry_the_ledgers_password(tiny_config: Any) -> None:
    config = from_dict(tiny_config(storage__url="postgresql://me:secret@host/db"))
    shown = _shown_config(SimpleNamespace(plan=SimpleNamespace(config=config)))  # type: ignore[arg-type]
    assert "secret" not in json.dumps(shown)
    assert shown["storage"]["url"].startswith("postgresql://me:")
