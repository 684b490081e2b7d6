"""A rung of a ladder: train a root, train on, or make a trained student smaller and tune it."""

from __future__ import annotations

from dataclasses import asdict, replace

from autokd.errors import StageFailure
from autokd.evaluation.parts import Parts
from autokd.evaluation.recipe import Teaching, make_teaching
from autokd.evaluation.stages.build import restore, shaped_as
from autokd.evaluation.stages.distill import TrainOn
from autokd.evaluation.stages.narrow import Narrow
from autokd.evaluation.stages.prune import Cutting
from autokd.evaluation.stages.results import Trained
from autokd.evaluation.stages.stage import Stored
from autokd.evaluation.steps import Evaluation
from autokd.students.blueprint import Blueprint
from autokd.trial import Origin, Outcome, Rung, Stage, TrialRecord

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
    distilling = space.of_stage(Stage.DISTILL, params)
    whole = make_teaching(config.training, config.distillation, distilling, parts.train_size)
    recipe = replace(whole.recipe, samples=max(1, round(rung.share * whole.recipe.samples)))
    blueprint = parts.blueprint(space.of_stage(Stage.BUILD, params))
    if rung.parent is None:
        trained = run.teach(run.begin(blueprint, Cutting({}), 32), blueprint, replace(whole, recipe=recipe))
        run.notes["shape"] = dict(blueprint.shape)
    else:
        parent = weights_of(parts, origin)
        blueprint = shaped_as(parent, blueprint)
        run.train_began()
        usual = recipe.lr * (STEP_LR if rung.kind == "narrow" else 1.0)
        lr = usual if config.training.tune_lr is None else config.training.tune_lr
        teaching = replace(whole, recipe=replace(recipe, lr=lr))
        if rung.kind == "train":
            trained = train_on(run, parent, blueprint, teaching)
        else:
            trained = _step_down(run, rung, parent, blueprint, teaching, origin.plan if origin else "")
            blueprint = shaped_as(trained, blueprint)
            run.notes["cuts"] = [asdict(c) for c in trained.value.cuts]
            run.notes |= {"cost_before": trained.value.cost_before, "cost_after": trained.value.cost_after}
            run.notes["shape"] = dict(blueprint.shape)
            with trial.guard(Stage.BUILD):
                run.describe(restore(blueprint, trained))
        if trained.value.history:
            run.notes["history"] = [asdict(c) for c in trained.value.history]
    run.copy_curve(trained)
    run.params |= {name: value for name, value in blueprint.shape.items() if name in run.params}
    run.ship_cheapest(trained, blueprint, origin.plan if origin else None)
    return run.record(Outcome.MEASURED, violations=run.violations(trained=True))


def train_on(run: Evaluation, parent: Stored[Trained], blueprint: Blueprint, teaching: Teaching) -> Stored[Trained]:
    """Go on training a stage's weights."""
    with run.trial.guard(Stage.BUILD):
        run.describe(restore(blueprint, parent))
    return run.do(TrainOn(blueprint, run.training(teaching)), parent)


def _step_down(
    run: Evaluation, rung: Rung, parent: Stored[Trained], blueprint: Blueprint, teaching: Teaching, plan: str
) -> Stored[Trained]:
    parts = run.parts
    cost = next(o for o in parts.plan.objectives if o.scale == "log")
    profiles = tuple(p for p in parts.plan.profiles if p.name == cost.profile)
    stage = Narrow(blueprint, run.training(teaching), rung.keep, cost, profiles, parts.clock, plan)
    return run.do(stage, parent)


def weights_of(parts: Parts, origin: Origin | None) -> Stored[Trained]:
    """The stage that holds the parent's weights.

    Raises:
        StageFailure: They were dropped from the store.
    """
    found = parts.trained(origin.stage, origin.key) if origin is not None else None
    if found is None:
        detail = "the parent's weights are no longer in the stage store (storage.max_gb, autokd gc)"
        raise StageFailure("build", "error", detail)
    return found
