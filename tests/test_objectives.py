"""Objectives and constraints as a person writes them; every refusal names the law, the value and the mend."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from autokd.config.objectives import METRICS, Constraint, Objective, metric_of, parse_constraints, parse_objectives
from autokd.errors import ConfigError

ONE, TWO = ["cpu_1_thread"], ["cpu_1_thread", "raspberry_pi_5"]


def test_an_objective_is_read_named_and_written() -> None:
    objective = Objective.parse(" minimize  latency_ms@cpu_1_thread ")
    assert objective == Objective("minimize", "latency_ms", "cpu_1_thread")
    assert objective.name == "latency_ms@cpu_1_thread" and str(objective) == "minimize latency_ms@cpu_1_thread"
    assert Objective.parse("maximize accuracy").name == "accuracy"


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_an_objective_in_its_direction_and_not_in_the_other(name: str) -> None:
    metric = METRICS[name]
    objective = Objective.parse(f"{metric.direction} {name}").resolve(ONE)
    assert (objective.profile == "cpu_1_thread") == metric.needs_profile
    assert objective.scale == ("log" if metric.log_scale else "linear")
    other = "minimize" if metric.direction == "maximize" else "maximize"
    with pytest.raises(ConfigError, match=f'Write "{metric.direction} {name}"'):
        Objective.parse(f"{other} {name}")


def test_quality_needs_training_and_costs_do_not() -> None:
    untrained = {n for n, m in METRICS.items() if not m.needs_training}
    assert untrained == {"latency_ms", "size_bytes", "macs", "params", "peak_memory_bytes"}
    assert all(METRICS[n].log_scale and METRICS[n].direction == "minimize" for n in untrained)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_metric_of_the_users_states_its_own_direction(direction: str) -> None:
    objective = Objective.parse(f"{direction} my.module:metric").resolve(TWO)
    assert objective == Objective(direction, "my.module:metric", None) and objective.scale == "linear"
    assert metric_of("my.module:metric").needs_training


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("maximise accuracy", "maximize"),
        ("accuracy", "Write e.g."),
        ("maximize the accuracy", "Write e.g."),
        ("maximize acuracy", "'accuracy'"),
        ("minimize latency@cpu_1_thread", "'latency_ms'"),
        ("maximize accuracy@cpu_1_thread", "'accuracy'"),
        ("minimize size_bytes@cpu_1_thread", "'size_bytes'"),
        ("minimize latency_ms@", "latency_ms@cpu_1_thread"),
        ("maximize a:b:c", "Known: accuracy"),
        ({"maximize": "accuracy"}, "Write e.g."),
        (None, "Write e.g."),
    ],
)
def test_bad_objectives_are_refused_with_a_mend(text: object, mend: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Objective.parse(text)
    assert caught.value.law and mend in (caught.value.mend or "")


def test_a_missing_profile_is_filled_in_only_if_there_is_one() -> None:
    latency = Objective.parse("minimize latency_ms")
    assert latency.resolve(ONE).name == "latency_ms@cpu_1_thread"
    with pytest.raises(ConfigError, match="latency_ms@raspberry_pi_5"):
        latency.resolve(TWO)
    with pytest.raises(ConfigError, match="hardware"):
        latency.resolve([])
    with pytest.raises(ConfigError, match="Did you mean 'raspberry_pi_5'"):
        Objective.parse("minimize latency_ms@rasberry_pi_5").resolve(TWO)


@pytest.mark.parametrize(
    ("text", "op", "limit"),
    [
        ("size_bytes <= 40000", "<=", 40_000),
        ("size_bytes<=40_000", "<=", 40_000),
        ("size_bytes <= 40 kB", "<=", 40_000),
        ("size_bytes < 1.5MiB", "<", 1.5 * 2**20),
        ("latency_ms@cpu_1_thread <= 250 us", "<=", 0.25),
        ("latency_ms < 2e-1", "<", 0.2),
        ("accuracy >= 90 %", ">=", 0.9),
        ("accuracy > .5", ">", 0.5),
        ("macs <= 3M", "<=", 3e6),
        ("my.module:metric >= -2", ">=", -2),
    ],
)
def test_a_constraint_is_read(text: str, op: str, limit: float) -> None:
    constraint = Constraint.parse(text)
    assert constraint.op == op and constraint.limit == limit
    assert Constraint.parse(str(constraint)) == constraint


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("size_bytes 40000", "Write e.g."),
        ("size_bytes =< 40000", "<="),
        ("size_bytes == 40000", "<= or >="),
        ("size_bytes <= many", "Write e.g."),
        ("size_bytes <= nan", "Write e.g."),
        ("size_bytes <= 1e999", "Write e.g."),
        ("size_bytes <= 40 kb", "'kB'"),
        ("size_bytes <= 3 ms", "Known"),
        ("sizebytes <= 3", "'size_bytes'"),
        ("accuracy >= 90", "90 %"),
        ("accuracy > 1", "0.9"),
        ("size_bytes <= -1", "at least 0"),
        ("latency_ms < 0", "at least 0"),
        (40000, "Write e.g."),
    ],
)
def test_bad_constraints_are_refused_with_a_mend(text: object, mend: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Constraint.parse(text)
    assert mend in (caught.value.mend or "")


@pytest.mark.parametrize(
    ("text", "inside", "limit_holds", "outside"),
    [
        ("size_bytes <= 40000", 39_000, True, 41_000),
        ("size_bytes < 40000", 39_000, False, 41_000),
        ("accuracy >= 0.5", 0.75, True, 0.25),
        ("accuracy > 0.5", 0.75, False, 0.25),
        ("my.module:metric > 0", 0.1, False, -0.1),
    ],
)
def test_violation_is_the_amount_outside(text: str, inside: float, limit_holds: bool, outside: float) -> None:
    constraint = Constraint.parse(text)
    assert constraint.violation(inside) <= 0 and constraint.holds(inside)
    assert constraint.holds(constraint.limit) is limit_holds
    assert constraint.violation(outside) == pytest.approx(abs(outside - constraint.limit))
    with pytest.raises(ValueError, match="NaN"):
        constraint.violation(math.nan)


def test_a_constraint_knows_whether_it_can_be_checked_before_training() -> None:
    assert Constraint.parse("accuracy >= 0.5").needs_training
    assert not Constraint.parse("size_bytes <= 5").needs_training


def test_a_study_has_two_or_three_different_objectives() -> None:
    texts = ["maximize accuracy", "minimize latency_ms"]
    assert [o.name for o in parse_objectives(texts, ONE)] == ["accuracy", "latency_ms@cpu_1_thread"]
    with pytest.raises(ConfigError, match="constraints"):
        parse_objectives(texts[:1], ONE)
    with pytest.raises(ConfigError, match="got 4"):
        parse_objectives([*texts, "minimize macs", "minimize params"], ONE)
    with pytest.raises(ConfigError, match="twice"):
        parse_objectives([*texts, "minimize latency_ms@cpu_1_thread"], ONE)


def test_constraints_are_resolved_and_repetitions_dropped() -> None:
    found = parse_constraints(["latency_ms <= 5", "latency_ms@cpu_1_thread <= 5 ms"], ONE)
    assert [str(c) for c in found] == ["latency_ms@cpu_1_thread <= 5"]


def test_objectives_need_the_standard_library_only() -> None:
    code = "import sys, autokd.config.objectives; print({'numpy', 'torch', 'ray', 'optuna'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
