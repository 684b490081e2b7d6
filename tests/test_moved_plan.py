"""A plan on other hardware: what is renamed, what is dropped, and what is open and therefore refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import TINY_SPACE, tiny

from autokd.config.load import from_dict
from autokd.config.plan import Plan, make_plan
from autokd.config.retarget import moved_plan, other_matter
from autokd.errors import ConfigError

SPACE: dict[str, Any] = TINY_SPACE | {"parameters": {"width_1": {"choice": [8, 12], "stage": "build"}}}


def plan(**changes: Any) -> Plan:
    return make_plan(from_dict(tiny(space=SPACE, **changes)))


def two(**changes: Any) -> Plan:
    """A plan on two profiles, the first in the objective and the second in a constraint."""
    goals = {"constraints": ["latency_ms@cpu_1_thread_batch_32 <= 3"]}
    return plan(hardware=["cpu_1_thread", "cpu_1_thread_batch_32"], **(goals | changes))


def goals(moved: Plan) -> list[str]:
    return [str(g) for g in (*moved.objectives, *moved.constraints)]


def test_the_one_profile_becomes_the_new_one() -> None:
    moved = moved_plan(plan(constraints=["latency_ms <= 2", "size_bytes <= 60 kB"]), ["cpu_2_threads"])
    assert moved.config.name == "tiny-cpu_2_threads"
    assert [p.name for p in moved.profiles] == moved.config.hardware == ["cpu_2_threads"]
    assert goals(moved) == [
        "maximize accuracy",
        "minimize latency_ms@cpu_2_threads",
        "latency_ms@cpu_2_threads <= 2",
        "size_bytes <= 60000",
    ]
    assert Plan.from_json(moved.to_json()) == moved


def test_everything_else_stays(tmp_path: Path) -> None:
    old = plan(training__lr=0.1, seed=3, budget__trials=7)
    moved = moved_plan(old, ["cpu_2_threads"], "other")
    assert moved.config.name == "other"
    assert moved.config.model_copy(update={"name": "tiny", "hardware": old.config.hardware}).fingerprint() == (
        old.config.model_copy(update={"objectives": moved.config.objectives}).fingerprint()
    )
    assert moved.space == old.space and moved.space_source == old.space_source


def test_what_was_stated_for_the_old_device_is_not_stated_for_the_new_one() -> None:
    stated = {"accuracy": 0.2, "latency_ms@cpu_1_thread": 1.0}
    assert moved_plan(plan(reference_point=stated), ["cpu_2_threads"]).config.reference_point == {"accuracy": 0.2}


def test_limits_are_the_new_profiles(tmp_path: Path) -> None:
    for name, limit in (("first", 9000), ("second", 7000)):
        (tmp_path / f"{name}.yaml").write_text(f"limits: {{size_bytes: {limit}}}\n")
    old = plan(hardware=[str(tmp_path / "first.yaml")], objectives=["maximize accuracy", "minimize latency_ms"])
    assert goals(old)[2:] == ["size_bytes <= 9000"]
    moved = moved_plan(old, [str(tmp_path / "second.yaml")])
    assert goals(moved) == ["maximize accuracy", "minimize latency_ms@second", "size_bytes <= 7000"]
    assert moved.config.hardware == [str(tmp_path / "second.yaml")]


def test_a_profile_that_stays_keeps_its_goals() -> None:
    moved = moved_plan(two(), ["cpu_1_thread_batch_32", "cpu_2_threads"])
    assert goals(moved)[1:] == ["minimize latency_ms@cpu_2_threads", "latency_ms@cpu_1_thread_batch_32 <= 3"]


def test_goals_that_name_no_profile_are_open_to_any() -> None:
    old = plan(objectives=["maximize accuracy", "minimize size_bytes"])
    moved = moved_plan(old, ["cpu_2_threads", "cpu_1_thread_batch_32"])
    assert goals(moved) == goals(old)
    assert moved.config.name == "tiny-cpu_2_threads-cpu_1_thread_batch_32"


@pytest.mark.parametrize(
    ("old", "given", "words"),
    [
        (two, ["cpu_2_threads"], "cpu_1_thread, cpu_1_thread_batch_32 and the new cpu_2_threads"),
        (plan, ["cpu_2_threads", "cpu_4_threads"], "cpu_1_thread and the new cpu_2_threads, cpu_4_threads"),
        (two, ["cpu_1_thread"], "cpu_1_thread_batch_32 and the new none"),
    ],
    ids=["two for one", "one for two", "one is left"],
)
def test_what_is_open_is_refused(old: Any, given: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match="must be clear which new profile") as caught:
        moved_plan(old(), given)
    assert words in str(caught.value) and "=NEW" in str(caught.value)


def test_what_was_open_can_be_said() -> None:
    moved = moved_plan(plan(), ["cpu_1_thread=cpu_4_threads", "cpu_2_threads"])
    assert goals(moved)[1] == "minimize latency_ms@cpu_4_threads"
    assert [p.name for p in moved.profiles] == ["cpu_4_threads", "cpu_2_threads"]
    crossed = moved_plan(two(), ["cpu_1_thread_batch_32=cpu_1_thread", "cpu_1_thread=cpu_2_threads"])
    assert goals(crossed)[1:] == ["minimize latency_ms@cpu_2_threads", "latency_ms@cpu_1_thread <= 3"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "at least one profile"),
        (["cpu_2_thread"], "cpu_2_threads"),
        (["cpu_1_threads=cpu_2_threads"], "Did you mean 'cpu_1_thread'"),
        (["cpu_2_threads", "else/cpu_2_threads.yaml"], "different names"),
    ],
    ids=["none", "unknown", "unknown old one", "twice"],
)
def test_profiles_that_do_not_fit_are_refused(
    given: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "cpu_2_threads.yaml").write_text("threads: 2\n")
    with pytest.raises(ConfigError, match=words):
        moved_plan(plan(), given)


def test_two_objectives_do_not_become_one() -> None:
    both = ["minimize latency_ms@cpu_1_thread", "minimize latency_ms@cpu_1_thread_batch_32"]
    old = two(objectives=["maximize accuracy", *both], constraints=[])
    given = ["cpu_1_thread=cpu_2_threads", "cpu_1_thread_batch_32=cpu_2_threads"]
    with pytest.raises(ConfigError, match="objectives must differ"):
        moved_plan(old, given)


# ------------------------------------------------------------------------------------------ are they comparable?


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other", "hardware": ["cpu_2_threads"], "objectives": ["maximize accuracy", "minimize macs"]},
        {"sampler": "optuna:tpe", "runner": "local", "budget__trials": 9, "search": {"from": "tiny"}},
        {"constraints": ["size_bytes <= 9000"], "reference_point": {"accuracy": 0.3}},
        {"space": SPACE | {"description": "in other words"}},
    ],
)
def test_what_may_differ(changes: dict[str, Any]) -> None:
    assert other_matter(plan(), make_plan(from_dict(tiny(**({"space": SPACE} | changes))))) == ""


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"data__limit": 200}, "data.limit"),
        ({"teacher__training": {"epochs": 2}}, "teacher.training"),
        ({"training__lr": 0.1}, "training.lr"),
        ({"distillation": {"method": "none"}}, "distillation.method"),
        ({"seed": 1}, "seed"),
        ({"space": SPACE | {"parameters": {"width_1": {"choice": [8, 16], "stage": "build"}}}}, "space.parameters"),
    ],
)
def test_what_must_not_differ(changes: dict[str, Any], named: str) -> None:
    assert named in other_matter(plan(), make_plan(from_dict(tiny(**({"space": SPACE} | changes)))))
