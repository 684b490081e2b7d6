"""`teacher: none` and `teacher: auto`: no teacher before the search, and what takes its place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import Ran, tiny

from autokd.config.load import from_dict
from autokd.config.plan import Plan, make_plan
from autokd.errors import ConfigError
from autokd.evaluation.parts import Parts
from autokd.evaluation.pipeline import evaluate
from autokd.evaluation.recipe import make_recipe
from autokd.evaluation.trial_dir import TrialDir
from autokd.storage.ledger import record_of
from autokd.storage.results import choose
from autokd.study.against import sentence
from autokd.study.study import Study
from autokd.trial import Candidate, Origin, Outcome, Rung, TrialRecord, Tutor

BOTH: dict[str, Any] = {
    "family": "mobilenet",
    "parameters": {
        "width_1": {"choice": [8, 12, 16], "stage": "build"},
        "method": {"choice": ["kd", "none"], "stage": "distill"},
        "alpha": {"float": [0.5, 1.0], "stage": "distill", "when": {"method": "kd"}},
        "label_smoothing": {"choice": [0.0, 0.1], "stage": "distill", "when": {"method": "none"}},
    },
    "fixed": {"stem_stride": 2, "stem_width": 8, "stages": 1, "depth_1": 1, "block_1": "plain"},
}


TAUGHT: dict[str, Any] = {"distillation": {"method": "kd"}}


def plan(**changes: Any) -> Plan:
    return make_plan(from_dict(tiny(**changes)))


def record(study: Study, number: int) -> TrialRecord:
    found = record_of(study.ledger.trials()[number])
    assert found is not None
    return found


def opened(folder: Path, name: str = "tiny") -> Study:
    return Study.open(name, f"sqlite:///{folder / 'autokd.db'}")


# --------------------------------------------------------------------------------------------------------- what is asked


def test_without_a_teacher_what_needs_one_is_left_out_of_the_space() -> None:
    found = plan(teacher="none", space=BOTH)
    assert [p.name for p in found.space.parameters] == ["width_1", "label_smoothing"]
    assert found.space.fixed["method"] == "none" and found.config.distillation.method == "none"
    assert Plan.from_json(found.to_json()) == found


def test_arguments_of_a_method_that_is_left_out_go_with_it() -> None:
    space = BOTH | {
        "parameters": {"width_1": BOTH["parameters"]["width_1"], "alpha": {"choice": [0.5], "stage": "distill"}}
    }
    found = plan(teacher="none", space=space, distillation={"method": "kd", "temperature": 3.0})
    assert [p.name for p in found.space.parameters] == ["width_1"]


def test_students_that_teach_leave_the_space_as_it_is() -> None:
    found = plan(teacher="auto", space=BOTH)
    assert [p.name for p in found.space.parameters] == ["width_1", "method", "alpha", "label_smoothing"]


@pytest.mark.parametrize(
    ("teacher", "told"),
    [
        ("nobody", "none, auto or a block"),
        ("", "none, auto or a block"),
        (False, "none, auto or a block"),
        (["auto"], "none, auto or a block"),
        ({"auto": False}, "write `teacher: auto`"),
        ({"auto": True, "weights": "w.pt"}, "takes no other key"),
        ({"none": True, "family": "mobilenet"}, "takes no other key"),
    ],
)
def test_words_in_place_of_a_teacher_are_few_and_stand_alone(teacher: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        plan(teacher=teacher)


@pytest.mark.parametrize("word", ["none", "auto"])
def test_agreement_needs_somebody_to_agree_with(word: str) -> None:
    with pytest.raises(ConfigError, match="`agreement` is with a teacher"):
        plan(teacher=word, objectives=["maximize agreement", "minimize latency_ms@cpu_1_thread"])
    with pytest.raises(ConfigError, match="`agreement` is with a teacher"):
        plan(teacher=word, constraints=["agreement >= 0.9"])


def test_by_labels_every_pass_may_see_another_view() -> None:
    recipe = make_recipe(plan(training__views="auto").config.training, {}, 100)
    assert (recipe.cached_views, recipe.fresh_views) == (4, 64)
    stated = make_recipe(plan(training__views=3).config.training, {}, 100)
    assert (stated.cached_views, stated.fresh_views) == (3, 3)


@pytest.mark.parametrize("views", [0, 65, "many"])
def test_views_are_a_few_or_auto(views: Any) -> None:
    with pytest.raises(ConfigError, match=r"training\.views"):
        plan(training__views=views)


# -------------------------------------------------------------------------------------------------------- whole searches


def test_a_study_without_a_teacher_from_search_to_receipt(
    tmp_path: Path, study_in: Callable[..., Path], run_cli: Callable[..., Ran]
) -> None:
    study_in(tmp_path, teacher="none", budget__trials=2)
    ran = run_cli("search", "study.yaml", cwd=tmp_path)
    assert ran.code == 0, ran.stderr
    assert "no teacher, they learn from labels; costs are held against the dearest root of mobilenet" in ran.stderr
    study = opened(tmp_path)
    facts = study.status()
    assert facts["teacher"] is None and facts["yardstick"]["name"] == "dearest root of mobilenet, untrained"
    latency = {m["metric"]: m["value"] for m in facts["yardstick"]["measurements"]}["latency_ms"]
    assert study.reference_point is not None and study.reference_point[1] == latency > 0
    assert not any("taught_by" in record(study, n).notes for n in range(2))
    shown = run_cli("front", "tiny", cwd=tmp_path)
    assert "dearest root of mobilenet, untrained" in shown.stdout and "teacher" not in shown.stdout
    assert run_cli("confirm", "tiny", cwd=tmp_path).code == 0
    assert run_cli("export", "tiny", "-o", "student.onnx", cwd=tmp_path).code == 0
    receipt = json.loads((tmp_path / "student.receipt.json").read_text())
    assert receipt["teacher_sha256"] is None and receipt["search"]["config"]["teacher"]["none"]
    assert run_cli("verify", "student.onnx", "--study", "tiny", cwd=tmp_path).code == 0
    more = run_cli("finish", "tiny", "--trial", str(study.front()[0].number), "--samples", "256", cwd=tmp_path)
    assert more.code == 0, more.stderr


def test_a_student_teaches_another(tmp_path: Path, study_in: Callable[..., Path], run_cli: Callable[..., Ran]) -> None:
    study_in(tmp_path, teacher="auto", search={"strategy": "ladder"}, budget__trials=2, **TAUGHT)
    assert run_cli("search", "study.yaml", cwd=tmp_path).code == 0
    study = opened(tmp_path)
    first, second = record(study, 0), record(study, 1)
    assert "taught_by" not in first.notes and "taught_by" not in second.notes, "roots learn from the labels"
    origin, tutor = (Origin("distill", key_of_training(r), "") for r in (first, second))
    parts = Parts.open(study.home)
    try:
        step = Candidate(first.params, Rung("train", 1.0, 0))
        teacher = Tutor(1, tutor.stage, tutor.key, second.params)
        alone = evaluate(step, parts, TrialDir(tmp_path / "alone", parts.store), origin)
        taught = evaluate(step, parts, TrialDir(tmp_path / "taught", parts.store), origin, tutor=teacher)
        again = evaluate(step, parts, TrialDir(tmp_path / "again", parts.store), origin, tutor=teacher)
        gone = Tutor(1, tutor.stage, "0" * 64, second.params)
        lost = evaluate(step, parts, TrialDir(tmp_path / "lost", parts.store), origin, tutor=gone)
    finally:
        parts.close()
    assert {r.outcome for r in (alone, taught, again, lost)} == {Outcome.MEASURED}
    assert taught.notes["taught_by"] == 1 and any(s.stage == "teach" for s in taught.stages), "the answers are charged"
    assert key_of_training(taught) != key_of_training(alone), "whoever teaches is in the key"
    assert taught.artifact_sha256 != alone.artifact_sha256
    assert all(s.cached for s in again.stages if s.stage == "distill")
    assert "taught_by" not in lost.notes and key_of_training(lost) == key_of_training(alone), "by labels, then"
    assert list((tmp_path / ".autokd" / "banks").glob("*/logits/view-*.npy"))


def key_of_training(found: TrialRecord) -> str:
    return next(s.key for s in found.stages if s.stage == "distill")


def test_independent_trials_are_taught_after_a_fifth_of_the_budget(
    tmp_path: Path, study_in: Callable[..., Path], run_cli: Callable[..., Ran]
) -> None:
    study_in(tmp_path, teacher="auto", space=BOTH, budget__trials=6)
    assert run_cli("search", "study.yaml", cwd=tmp_path).code == 0
    study = opened(tmp_path)
    records = [record(study, n) for n in range(6)]
    records = [r for r in records if r.began_training]
    by_labels = [r for r in records if r.notes.get("by_labels")]
    assert records[0].params["method"] == "none" or records[0] in by_labels, "nobody could teach the first"
    tutors = {r.notes["taught_by"] for r in records if "taught_by" in r.notes}
    assert len(tutors) <= 1, "one teaches all that follow"
    for found in records:
        asked = found.params["method"] == "kd"
        assert asked == ("taught_by" in found.notes or found in by_labels), "the parameters stay what was asked for"
        assert ("alpha" in found.params) == asked


def test_a_resumed_ladder_knows_its_roots_again_and_a_student_is_trained_on(
    tmp_path: Path, study_in: Callable[..., Path], run_cli: Callable[..., Ran]
) -> None:
    more = {"space": "mobilenet_8", "search": {"strategy": "ladder"}, "runner": "local", "training": {"epochs": 1}}
    study_in(tmp_path, teacher="auto", budget={"cpu_s": 14, "trials": None}, **more)
    assert run_cli("search", "study.yaml", cwd=tmp_path, own_process=True).code == 0
    before = len(opened(tmp_path).ledger.trials())
    again = run_cli("search", "study.yaml", cwd=tmp_path, own_process=True)
    assert again.code == 0 and "this study is finished" in again.stderr and "budget.cpu_s=+14" in again.stderr
    assert len(opened(tmp_path).ledger.trials()) == before
    resumed = run_cli("resume", "tiny", "--set", "budget.cpu_s=34", cwd=tmp_path, own_process=True)
    assert resumed.code == 0, resumed.stderr
    study = opened(tmp_path)
    records = [r for t in study.ledger.trials() if (r := record_of(t)) is not None and r.outcome == Outcome.MEASURED]
    roots = [json.dumps(r.params, sort_keys=True) for r in records if r.rung is not None and r.rung.kind == "root"]
    assert len(records) > before and len(roots) == len(set(roots)), "no root comes twice"
    done = run_cli("finish", "tiny", "--trial", str(study.front()[0].number), "--samples", "256", cwd=tmp_path)
    assert done.code == 0, done.stderr


def test_what_nobody_taught_is_timed_on_another_device_too(
    tmp_path: Path, study_in: Callable[..., Path], run_cli: Callable[..., Ran]
) -> None:
    study_in(tmp_path, teacher="none", budget__trials=1)
    assert run_cli("search", "study.yaml", cwd=tmp_path).code == 0
    timed = run_cli("retime", "tiny", "--profile", "cpu_1_thread_batch_32", "--name", "other", cwd=tmp_path)
    assert timed.code == 0, timed.stderr
    study_in(tmp_path, name="second", teacher="none", budget__trials=2, search={"from": "tiny"})
    begun = run_cli("search", "study.yaml", cwd=tmp_path)
    assert begun.code == 0, begun.stderr


def test_two_studies_of_one_recipe_keep_their_tutors_apart(
    tmp_path: Path, study_in: Callable[..., Path], run_cli: Callable[..., Ran]
) -> None:
    for name, threads in (("one", 1), ("two", 2)):
        more = {"name": name, "teacher": "auto", "budget__trials": 4, "resources__cpus_per_trial": threads}
        study_in(tmp_path, space=BOTH | {"fixed": BOTH["fixed"]}, **more)
        ran = run_cli("search", "study.yaml", cwd=tmp_path)
        assert ran.code == 0, ran.stderr


# ------------------------------------------------------------------------------------------------------ what it all cost


def test_every_cpu_second_is_charged(
    tmp_path: Path, study_in: Callable[..., Path], run_cli: Callable[..., Ran]
) -> None:
    study_in(tmp_path, budget={"cpu_s": 12, "trials": None}, runner="local")
    ran = run_cli("search", "study.yaml", cwd=tmp_path, own_process=True)
    assert ran.code == 0 and "the budget of 12 CPU seconds is spent" in ran.stdout + ran.stderr
    facts = opened(tmp_path).status()
    assert facts["spent_cpu_s"] >= 12.0, "imports, teacher and the start of workers count"
    assert facts["cpu_s"] < facts["spent_cpu_s"]
    before = facts["spent_cpu_s"]
    assert run_cli("resume", "tiny", "--set", "budget.cpu_s=+6", cwd=tmp_path, own_process=True).code == 0
    assert opened(tmp_path).status()["spent_cpu_s"] >= before + 5.0, "what a resume costs is added"
    told = run_cli("status", "tiny", cwd=tmp_path)
    assert "CPU s in all" in told.stdout


def test_a_search_ends_with_what_was_won_at_what_loss_and_what_it_cost(finished: Path, tmp_path: Path) -> None:
    study = opened(Path(shutil.copytree(finished, tmp_path / "own")))  # an open ledger leaves files beside it
    told = sentence(study, study.front())
    knee = choose(study.front(), study.plan.objectives)
    facts = study.status()["teacher"]["measurements"]
    teacher = {m["metric"]: m["value"] for m in facts}
    latency, accuracy = knee.record.value("latency_ms@cpu_1_thread"), knee.record.value("accuracy")
    assert latency is not None and accuracy is not None
    faster = teacher["latency_ms"] / latency
    words = f"{faster:.3g} times faster" if faster >= 1 else f"{1 / faster:.3g} times slower"
    assert told.startswith(f"Trial {knee.number}, the knee: {words} and ") and "than the teacher" in told
    assert f"accuracy {100 * (accuracy - teacher['accuracy']):+.1f} points" in told
    assert told.endswith(f"found in {study.status()['spent_cpu_s']:.0f} CPU seconds in all.")
    assert sentence(study, []) == ""
