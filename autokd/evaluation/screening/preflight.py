"""Before the search: how fast and how slow candidates are, whether the constraints can be met, what it will cost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from autokd import registry
from autokd.config.objectives import Constraint
from autokd.config.plan import Plan
from autokd.config.space import SearchSpace
from autokd.data.dataset_store import save_dataset
from autokd.errors import ConfigError, StageFailure, StudyError
from autokd.evaluation.parts import SETUP, Parts, Setup, blueprint_of
from autokd.evaluation.prepare import device_of, recipes
from autokd.evaluation.recipe import make_method
from autokd.evaluation.screening.verdict import remembered
from autokd.evaluation.stages.build import Build
from autokd.evaluation.stages.prune import Cutting
from autokd.evaluation.stages.screen import Screen
from autokd.evaluation.trial_dir import TrialDir
from autokd.files import write_json
from autokd.protocols import Dataset
from autokd.trial import ParamValue, Stage

TRIALS = 24
EXTRA = 150
"""Random candidates that are timed as well before a constraint is called impossible."""
TIMED_STEPS = 12
BESIDE_S = 1.0
"""What a trial does beside training (screen, export, quantize, verify, time) takes about so many seconds, one trial at a time."""


@dataclass(frozen=True)
class Probe:
    """One untrained candidate: its parameters and its costs by name."""

    params: Mapping[str, ParamValue]
    costs: Mapping[str, float]


@dataclass(frozen=True)
class Preflight:
    """What the pre-flight found.

    Args:
        space_size: Number of candidates; infinite with a continuous parameter.
        ranges: Smallest and largest of each cost among the sampled candidates.
        feasible_share: Share of them that meets the constraints known before training.
        refused: For each constraint, the share of them that violates it.
        train_s: CPU seconds of training a middling candidate takes.
        total_s: Seconds the budget will take, teacher not counted; infinite when nothing limits it.
        disk_bytes: What the study will leave on the disk.
        failed: Candidates that could not even be built or exported, with the first reason.
    """

    space_size: float
    ranges: Mapping[str, tuple[float, float]]
    feasible_share: float
    refused: Mapping[str, float]
    train_s: float
    total_s: float
    disk_bytes: float
    failed: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; infinite becomes ``None``."""
        return {k: (None if isinstance(v, float) and math.isinf(v) else v) for k, v in asdict(self).items()}


def corners(space: SearchSpace) -> list[dict[str, ParamValue]]:
    """The candidates with every parameter at its first or its last value: about the smallest and the largest."""
    found = []
    for last in (False, True):
        params: dict[str, ParamValue] = dict(space.fixed)
        for p in space.parameters:
            if not p.active(params):
                continue
            if p.kind == "choice":
                numbers = all(isinstance(c, int | float) and not isinstance(c, bool) for c in p.choices)
                ordered = sorted(p.choices, key=float) if numbers else list(p.choices)
                if p.name.startswith("prune_"):
                    ordered.reverse()  # cutting more is smaller
                params[p.name] = ordered[-1 if last else 0]
            else:
                value = p.high if last else p.low
                params[p.name] = int(value) if p.kind == "int" else value
        found.append(params)
    return found


def draw(space: SearchSpace, count: int, seed: int) -> list[dict[str, ParamValue]]:
    """Random candidates."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [space.suggest(study.ask()) for _ in range(count)]


def set_up_untaught(plan: Plan, dataset: Dataset, root: Path, home: Path) -> None:
    """What parts without a teacher are opened from: enough to build, cut, export and time candidates."""
    folder = save_dataset(dataset, root / "datasets")
    write_json(home / SETUP, asdict(Setup(plan.to_json(), str(folder), device_of(plan))))


def probe(
    plan: Plan,
    screen: Callable[[Mapping[str, ParamValue]], Mapping[str, float]],
    count: int,
    tell: Callable[[str, float | None], None],
) -> tuple[list[Probe], dict[str, int]]:
    """Time untrained candidates: the corners of the space and random ones; more where a constraint still looks impossible.

    Args:
        plan: The plan.
        screen: Gives the costs of one; in a process that may be lost, since a candidate may do anything.
        count: How many.
        tell: Shows progress.
    """
    drawn = corners(plan.space) + draw(plan.space, max(0, count - 2) + EXTRA, plan.config.seed)
    found: list[Probe] = []
    failed: dict[str, int] = {}
    for place, params in enumerate(drawn):
        if place == count:
            if not _unmet(plan, found):
                break
            tell("looking harder for a candidate that meets the constraints", None)
        tell("timing untrained candidates", min(1.0, place / count))
        try:
            found.append(Probe(params, screen(params)))
        except (StageFailure, ConfigError) as error:
            failed[str(error)] = failed.get(str(error), 0) + 1
    return found, failed


def screen_one(plan: Plan, parts: Parts, params: Mapping[str, ParamValue]) -> dict[str, float]:
    """All costs of one candidate, through the stage store."""
    blueprint = parts.blueprint(plan.space.of_stage(Stage.BUILD, params))
    cutting = Cutting.of(plan.space.of_stage(Stage.PRUNE, params))
    bits = int(plan.space.of_stage(Stage.QUANTIZE, params).get("bits", 32))
    trial = TrialDir(parts.home / "preflight", parts.store)
    known = remembered(plan, False)
    screen = Screen(blueprint, cutting, bits, parts.dataset, plan.profiles, parts.clock, remembered=known)
    return trial.run(screen, Build(blueprint).stored(trial.folder), parts.tools()).value.by_name()


def refuse_impossible(plan: Plan, found: list[Probe], failed: Mapping[str, int]) -> None:
    """Stop before anything is spent on constraints that nothing meets.

    Raises:
        ConfigError: Not even the smallest sampled candidate meets a constraint.
        StudyError: No candidate can be built.
    """
    if not found:
        raise StudyError("at least one candidate of the space must build and export", next(iter(failed), "none"))
    for constraint in _unmet(plan, found):
        best = min((p.costs[constraint.name] for p in found), key=constraint.violation)
        law = f"the constraint {constraint} must be possible in this space"
        mend = f"Loosen it, or search a space with smaller students ({len(found)} candidates were tried)."
        raise ConfigError(law, f"{best:.6g} at best", mend)


def refuse_unbuildable(plan: Plan, dataset: Dataset) -> None:
    """The least that can be told without a process that may be lost: of a family of ours, some candidate must build.

    Raises:
        StudyError: None does.
    """
    reason = "none"
    for params in corners(plan.space) + draw(plan.space, 2, plan.config.seed):
        try:
            blueprint_of(plan, dataset, plan.space.of_stage(Stage.BUILD, params)).build()
        except ConfigError as error:
            reason = str(error)
            continue
        return
    raise StudyError("at least one candidate of the space must build and export", reason)


def _unmet(plan: Plan, found: list[Probe]) -> list[Constraint]:
    """The constraints known before training that no sampled candidate meets."""
    known = [c for c in plan.constraints if not c.needs_training]
    return [c for c in known if found and not any(c.holds(p.costs[c.name]) for p in found)]


def preflight(
    plan: Plan,
    parts: Parts,
    screen: Callable[[Mapping[str, ParamValue]], Mapping[str, float]],
    concurrency: int,
    tell: Callable[[str, float | None], None],
) -> Preflight:
    """All of it; a few seconds. See :func:`probe`."""
    found, failed = probe(plan, screen, TRIALS, tell)
    refuse_impossible(plan, found, failed)
    names = sorted({name for p in found for name in p.costs})
    spans = {n: (min(p.costs[n] for p in found), max(p.costs[n] for p in found)) for n in names}
    known = [c for c in plan.constraints if not c.needs_training]
    fits = [p for p in found if all(c.holds(p.costs[c.name]) for c in known if c.name in p.costs)]
    refused = {
        str(c): sum(not c.holds(p.costs[c.name]) for p in found if c.name in p.costs) / len(found) for c in known
    }
    tell("timing a short training", None)
    middle = sorted(fits or found, key=lambda p: p.costs["macs"])[len(fits or found) // 2]
    seconds = train_seconds(plan, parts, middle.params)
    budget = plan.config.budget
    total = min(
        (budget.trials or math.inf) * (seconds / concurrency + BESIDE_S),  # only training runs side by side
        budget.wall_s or math.inf,
        (budget.cpu_s or math.inf) / concurrency,
    )
    return Preflight(
        plan.space.size(),
        spans,
        len(fits) / len(found),
        refused,
        seconds,
        total,
        disk_bytes(plan, parts, found),
        failed,
    )


def train_seconds(plan: Plan, parts: Parts, params: Mapping[str, ParamValue]) -> float:
    """Seconds that training one candidate takes, from a few timed steps."""
    from dataclasses import replace

    from autokd.data.augment import SeededViews
    from autokd.distillation.lesson import Lesson, Session
    from autokd.distillation.trainer import fit

    recipe = recipes(plan, parts.train_size)[0]
    short = replace(recipe, samples=TIMED_STEPS * recipe.batch_size)
    inputs, targets = parts.validation
    times = []
    for _ in range(2):  # the first pays for what is loaded once
        student = parts.blueprint(plan.space.of_stage(Stage.BUILD, params)).build()
        began = time.perf_counter()
        lesson = Lesson(
            SeededViews(parts.dataset, recipe.augment, plan.config.seed, recipe.fresh_views),
            np.asarray(parts.dataset.targets[parts.dataset.splits.train]),
            (inputs[:64], targets[:64]),
            short,
            make_method("none", {}),
            seed=0,
        )
        fit(student, lesson, Session(parts.pace, parts.device))
        times.append(time.perf_counter() - began)
    return times[-1] * recipe.samples / short.samples


def disk_bytes(plan: Plan, parts: Parts, found: list[Probe]) -> float:
    """Copy of the data, the teacher's outputs, and five files' worth a trial (weights, ONNX, scores), bounded."""
    modality = registry.load("modalities", parts.dataset.spec.kind)()
    data = float(sum(array.nbytes for array in modality.arrays(parts.dataset.inputs).values()))
    every = recipes(plan, parts.train_size)
    bank = sum(r.cached_views for r in every) * parts.train_size * len(parts.dataset.classes) * 2.0
    file = sorted(p.costs["params"] for p in found)[len(found) // 2] * 4.0
    scores = len(parts.validation[0]) * len(parts.dataset.classes) * 4.0
    trials = (plan.config.budget.trials or 1000) * (4 * file + scores)
    return data + bank + min(trials, plan.config.storage.max_gb * 1e9)
