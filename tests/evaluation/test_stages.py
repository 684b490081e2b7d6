"""Stages: their fields are their key, and nothing else is visible to their work."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from house import House

from autokd import trial
from autokd.config.objectives import Constraint, Objective
from autokd.deployment.verify import Agreement
from autokd.evaluation.recipe import Teaching
from autokd.evaluation.stages.build import Build
from autokd.evaluation.stages.distill import Distill, DistillWhitened, TrainOn, distilled
from autokd.evaluation.stages.export import Export
from autokd.evaluation.stages.measure import Answers, Measure, Quality
from autokd.evaluation.stages.narrow import Narrow
from autokd.evaluation.stages.prune import Cutting, Prune
from autokd.evaluation.stages.quantize import Quantize
from autokd.evaluation.stages.remeasure import KnownFile, Remeasure
from autokd.evaluation.stages.results import Checked, Costs, Package, Result, Trained
from autokd.evaluation.stages.screen import Screen
from autokd.evaluation.stages.stage import Stage, Stored, key_of, plain
from autokd.evaluation.stages.training import Banks, Training
from autokd.evaluation.stages.verify import Verify
from autokd.hardware.profile import load_profile
from autokd.protocols import Dataset, InputSpec, Recipe, Splits
from autokd.students.blueprint import Blueprint
from autokd.trial import Cut, Measurement

SPEC = InputSpec("image", (1, 8, 8), "uint8", (0.5,), (0.2,))
NONE = np.empty(0, dtype=np.int64)
DATA = Dataset("some", NONE, NONE, ("a", "b"), SPEC, Splits(NONE, NONE, NONE, NONE), "abc")
ROOT = Stored(trial.Stage.BUILD, "root", Path("anywhere"), Trained())
BLUEPRINT = Blueprint("mobilenet", {"width_1": 8}, SPEC, 2, 0)
TRAINING = Training(Teaching(Recipe(), "kd", {"alpha": 0.5}), DATA, Banks("wise", {"none": "/a"}), 0, 0)
CLOCK, OTHER = load_profile("cpu_1_thread"), load_profile("cpu_1_thread_batch_32")
COST = Objective("latency_ms", "minimize", "cpu_1_thread")
LIMIT = Constraint("size_bytes", "<=", 1000.0)
STAGES: list[Any] = [
    Build(BLUEPRINT),
    Screen(BLUEPRINT, Cutting({"1": 0.5}), 32, DATA, (CLOCK,), CLOCK),
    Distill(BLUEPRINT, TRAINING),
    DistillWhitened(BLUEPRINT, TRAINING),
    TrainOn(BLUEPRINT, TRAINING),
    Prune(BLUEPRINT, Cutting({"1": 0.5}), TRAINING),
    Narrow(BLUEPRINT, TRAINING, 0.8, COST, (CLOCK,), CLOCK),
    Export(BLUEPRINT, ("a", "b")),
    Quantize(DATA, CLOCK),
    Verify(BLUEPRINT, DATA, ROOT, 32),
    Measure(DATA, ROOT, (CLOCK,), (Quality("accuracy"),), Answers("wise", "/a")),
    Remeasure(KnownFile("abc", Path("/a")), ("accuracy",), DATA, (CLOCK,), (Quality("accuracy"),), None),
]
OTHERS: dict[str, Any] = {
    "blueprint": replace(BLUEPRINT, shape={"width_1": 12}),
    "training": replace(TRAINING, seed=1),
    "tuning": replace(TRAINING, teacher=None),
    "cutting": Cutting({"1": 0.25}),
    "bits": 8,
    "data": replace(DATA, fingerprint="abd"),
    "profiles": (OTHER,),
    "clock": OTHER,
    "limits": (LIMIT,),
    "remembered": frozenset({("peak_memory_bytes", "cpu_1_thread")}),
    "whole": True,
    "bounds": (6.0,),
    "keep": 0.7,
    "cost": replace(COST, metric="macs"),
    "plan": "all",
    "against": True,
    "classes": ("b", "a"),
    "weights": replace(ROOT, key="other"),
    "samples": 10,
    "package": replace(ROOT, key="other"),
    "qualities": (Quality("auroc"),),
    "teacher": Answers("other", "/a"),
    "file": KnownFile("abd", Path("/a")),
    "known": (),
}


@pytest.mark.parametrize("stage", STAGES, ids=lambda s: type(s).__name__)
def test_every_field_is_in_the_key_and_nothing_else(stage: Any) -> None:
    before = key_of(stage, ROOT)
    assert key_of(replace(stage), ROOT) == before
    for field in fields(stage):
        changed = replace(stage, **{field.name: OTHERS[field.name]})
        assert key_of(changed, ROOT) != before, field.name
    assert key_of(stage, replace(ROOT, key="other")) != before, "what it goes on from"


def test_a_key_is_by_content_not_by_place() -> None:
    moved = replace(TRAINING, teacher=Banks("wise", {"none": "/elsewhere"}))
    assert key_of(Distill(BLUEPRINT, moved), ROOT) == key_of(Distill(BLUEPRINT, TRAINING), ROOT)
    lain = Remeasure(KnownFile("abc", Path("/b")), (), DATA, (), (), None)
    assert key_of(lain, None) == key_of(replace(lain, file=KnownFile("abc", Path("/c"))), None)


def weighted(stated: Any) -> Training:
    return replace(TRAINING, teaching=replace(TRAINING.teaching, class_weights=stated))


@pytest.mark.parametrize("of", [Distill, TrainOn])
def test_class_weights_are_in_the_key_and_none_leaves_it_as_it_was(of: Any) -> None:
    assert set(TRAINING.teaching.identity()) == {"recipe", "method", "options", "scheme"}, "keys of before hold these"
    stated = [None, "auto", {"a": 2.0}, {"a": 3.0}]
    keys = [key_of(of(BLUEPRINT, weighted(weights)), ROOT) for weights in stated]
    assert keys[0] == key_of(of(BLUEPRINT, TRAINING), ROOT)
    assert len(set(keys)) == len(stated)


def test_first_weights_are_in_the_key_where_they_differ() -> None:
    plain, auto = (distilled(BLUEPRINT, TRAINING, init) for init in ("plain", "auto"))
    assert key_of(plain, ROOT) == key_of(Distill(BLUEPRINT, TRAINING), ROOT), "of versions that knew no other"
    assert key_of(auto, ROOT) != key_of(plain, ROOT)
    table = replace(BLUEPRINT, family="mlp", shape={})
    assert distilled(table, TRAINING, "auto") == distilled(table, TRAINING, "plain"), "no convolution: the same work"


def test_a_revision_makes_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(STAGES[2], ROOT)
    monkeypatch.setattr(Distill, "revision", Distill.revision + 1)
    assert key_of(STAGES[2], ROOT) != before


@pytest.mark.parametrize("value", [np.zeros(3), Path("/a"), object(), {"a": np.zeros(1)}], ids=repr)
def test_what_has_no_content_cannot_be_a_field(value: Any) -> None:
    @dataclass(frozen=True)
    class Wrong:
        kind: ClassVar[trial.Stage] = trial.Stage.EXPORT
        revision: ClassVar[int] = 1
        field: Any

        def read(self, raw: Mapping[str, Any]) -> Result:
            return Result.read(raw)

        def work(self, folder: Path, tools: Any, parent: Any) -> Result:
            return Result()

    wrong: Stage[Result] = Wrong(value)
    with pytest.raises(TypeError, match="must be plain or have an identity"):
        key_of(wrong, None)


RESULTS: list[Result] = [
    Costs((Measurement("macs", 5.0, ""), Measurement("latency_ms", 1.0, "ms", "here", 0.1, {"count": 3})), "sketch"),
    Trained(9, 1.5, seen=20, shape={"a": 1}, cuts=(Cut("channels", "1", 1.0, 0.5),), cost_before=2.0, cost_after=1.0),
    Package("student.onnx", "abc", 9, 17, "all", {"all": 0.1}, 0.2),
    Checked(Agreement(0.1, 1, 9, 0.5, 0.6)),
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda r: type(r).__name__)
def test_results_survive_the_store(result: Result) -> None:
    kept = json.loads(json.dumps(result.to_dict()))
    assert type(result).read(kept) == result
    assert type(result).read({**kept, "of a later version": 1}) == result


def test_what_version_0_1_kept_of_a_step_is_read() -> None:
    kept = {"samples": 5, "cpu_s": 1.0, "history": ["prune_1 0.5", "depth_2 1"], "shape": {"depth_2": 1}}
    found = Trained.read(kept)
    assert found.seen_in_all == 5
    assert [c.name for c in found.history] == kept["history"]


def test_plain_values_are_told_apart() -> None:
    assert plain({"b": (1, 2.0, None), "a": frozenset({("x", None), ("a", "b")})}) == {
        "b": [1, 2.0, None],
        "a": [["a", "b"], ["x", None]],
    }


def test_work_sees_neither_the_study_nor_the_trial() -> None:
    house = House(Path(__file__).parents[2])
    hidden = {"autokd.evaluation.parts", "autokd.evaluation.trial_dir", "autokd.evaluation.steps"}
    inside = [m for m in house.files if m.startswith("autokd.evaluation.stages.")]
    assert len(inside) > 10
    assert {m: house.edges[m] & hidden for m in inside if house.edges[m] & hidden} == {}


def test_an_importance_of_ones_own_counts_by_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "stage_importance.py").write_text("class Mine:\n    needs_gradients = False\n")
    stage = Prune(BLUEPRINT, Cutting({"1": 0.5}, "stage_importance:Mine"), TRAINING)
    before = key_of(stage, ROOT)
    from autokd.files import source_sha256

    (tmp_path / "stage_importance.py").write_text("class Mine:\n    needs_gradients = True\n")
    del sys.modules["stage_importance"]
    source_sha256.cache_clear()
    assert key_of(stage, ROOT) != before
