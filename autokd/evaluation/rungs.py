"""A rung of a ladder: train a root, train on, or make a trained student smaller and tune it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autokd.errors import StageFailure
from autokd.evaluation import work
from autokd.evaluation.narrow import Narrower
from autokd.evaluation.parts import Parts
from autokd.evaluation.recipe import Teaching, make_teaching
from autokd.evaluation.trial_dir import Stored
from autokd.trial import Origin, Outcome, ParamValue, Rung, Stage, TrialRecord

if TYPE_CHECKING:
    from autokd.evaluation.steps import Evaluation

STEP_LR = 0.5
"""A student that was made smaller goes on at half the peak rate: enough to move, not enough to forget. One that is trained on as
it is does better at the whole rate, once that takes as long as its training before (a warm restart): .898 against .895."""


def climb(run: Evaluation, rung: Rung, origin: Origin | None) -> TrialRecord:
    """Evaluate a rung.

    Args:
        run: The evaluation; its candidate's parameters are the root's.
        rung: What to do.
        origin: The parent's trained weights, and how they shipped.

    Raises:
        StageFailure: A stage failed, or the parent's weights are gone.
        Infeasible: The root cannot fit, or nothing can be cut that saves anything.
    """
    parts, trial, params = run.parts, run.trial, run.candidate.params
    space, config = parts.plan.space, parts.plan.config
    whole = make_teaching(
        config.training, config.distillation, space.of_stage(Stage.DISTILL, params), len(parts.train_targets)
    )
    recipe = replace(whole.recipe, samples=max(1, round(rung.share * whole.recipe.samples)))
    shape: Mapping[str, ParamValue] = space.of_stage(Stage.BUILD, params)
    if rung.parent is None:
        trained = run.teach(run.begin(shape, {}, 32), shape, replace(whole, recipe=recipe))
        run.notes["shape"] = dict(shape)
    else:
        parent = weights_of(parts, origin)
        shape = shape_of(parent, shape)
        run.train_began()
        usual = recipe.lr * (STEP_LR if rung.kind == "narrow" else 1.0)
        lr = usual if config.training.tune_lr is None else config.training.tune_lr
        teaching = replace(whole, recipe=replace(recipe, lr=lr))
        if rung.kind == "train":
            trained = train_on(run, parent, shape, teaching)
        else:
            trained = _step_down(run, rung, parent, shape, teaching, origin.plan if origin else "")
            shape = shape_of(trained, shape)
            run.notes |= {name: trained.value[name] for name in ("cuts", "cost_before", "cost_after")}
            run.notes["shape"] = dict(shape)
            with trial.guard(Stage.BUILD):
                run.describe(work.restore(parts, shape, trained))
        if trained.value["history"]:
            run.notes["history"] = trained.value["history"]
    run.copy_curve(trained)
    run.params |= {name: value for name, value in shape.items() if name in run.params}
    run.ship_cheapest(trained, shape, origin.plan if origin else None)
    return run.record(Outcome.MEASURED, violations=run.violations(trained=True))


def train_on(run: Evaluation, parent: Stored, shape: Mapping[str, ParamValue], teaching: Teaching) -> Stored:
    """Go on training a stage's weights."""
    parts, trial = run.parts, run.trial
    inherited = {"shape": dict(shape), "history": parent.value.get("history", [])}
    with trial.guard(Stage.BUILD):
        student = work.restore(parts, shape, parent)
        run.describe(student)
    return trial.stage(
        Stage.DISTILL,
        lambda folder: work.distill(folder, parts, student, teaching, trial, seen(parent)) | inherited,
        work.distill_reads(parts, teaching) | {"goes_on": True},
        parent,
    )


def _step_down(
    run: Evaluation, rung: Rung, parent: Stored, shape: Mapping[str, ParamValue], teaching: Teaching, plan: str
) -> Stored:
    parts, trial = run.parts, run.trial
    cost = next(o for o in parts.plan.objectives if o.scale == "log")

    def compute(folder: Path) -> dict[str, Any]:
        began = time.process_time()
        cut, cuts, before = Narrower(parts, cost, plan).narrow(work.restore(parts, shape, parent), shape, rung.keep)
        looked_s = time.process_time() - began
        trial.note(samples=0, of=teaching.recipe.samples, began_training=True)
        done = work.distill(folder, parts, cut.model, teaching, trial, seen(parent))
        done |= {"cpu_s": done["cpu_s"] + looked_s, "looked_s": looked_s}
        told = [asdict(c) for c in cuts]
        history = [*parent.value.get("history", []), *told]
        return done | {
            "shape": cut.shape,
            "cuts": told,
            "cost_before": before,
            "cost_after": cut.cost,
            "history": history,
        }

    profiles = [asdict(p) for p in parts.plan.profiles if p.name == cost.profile]
    reads = {"keep": rung.keep, "cost": cost.name, "profiles": profiles, "plan": plan}
    return trial.stage(Stage.PRUNE, compute, reads | work.distill_reads(parts, teaching), parent)


def weights_of(parts: Parts, origin: Origin | None) -> Stored:
    """The stage that holds the parent's weights.

    Raises:
        StageFailure: They were dropped from the store.
    """
    value = parts.store.find(origin.stage, origin.key) if origin else None
    if origin is None or value is None:
        detail = "the parent's weights are no longer in the stage store (storage.max_gb, autokd gc)"
        raise StageFailure("build", "error", detail)
    return Stored(Stage(origin.stage), origin.key, parts.store.path(origin.stage, origin.key), value)


def seen(stored: Stored) -> int:
    """Samples that a stage's weights were trained with, as themselves or as a larger student's."""
    return int(stored.value.get("seen", stored.value.get("samples", 0)))


def shape_of(stored: Stored, shape: Mapping[str, ParamValue]) -> Mapping[str, ParamValue]:
    """Build parameters of a stage's weights: those of its own step, else what it was asked for."""
    own: Mapping[str, ParamValue] | None = stored.value.get("shape")
    return own if own is not None else shape
