"""What a study is refused for before anything is spent: names nobody registered, and values of the space no stage takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from autokd import registry
from autokd.config.objectives import Constraint, Objective
from autokd.config.space import Parameter, SearchSpace, holds
from autokd.config.study_file import AUTO, StudyConfig, TrainingConfig
from autokd.errors import ConfigError
from autokd.trial import ParamValue, Stage

if TYPE_CHECKING:
    from autokd.distillation.knowledge import Knowledge

RECIPE_KEYS = (
    "samples", "epochs", "batch_size", "optimizer", "lr", "weight_decay", "augment", "views", "label_smoothing",
    "precision",
)  # fmt: skip
DISTILL_KEYS = (*RECIPE_KEYS, "init")
"""What the distill stage reads beside method, scheme and the method's arguments: the recipe, and what a training begins with."""
PRUNE_KEYS = ("importance", "tune_samples", "tune_lr")
TRAINING_KEYS = {Stage.DISTILL: DISTILL_KEYS, Stage.PRUNE: PRUNE_KEYS[1:]}
"""Keys of `training:` that a stage reads from the space instead."""
BITS = (8, 32)


@dataclass(frozen=True)
class Reading:
    """A name that a stage reads, and values it can have: every choice, or the two ends of a range."""

    name: str
    stage: Stage
    values: tuple[ParamValue, ...]
    searched: Parameter | None = None


def readings(space: SearchSpace) -> list[Reading]:
    """All names of a space, searched ones first."""
    found = [Reading(p.name, p.stage, tuple(_ends(p)), p) for p in space.parameters]
    return found + [Reading(n, space.fixed_stages[n], (v,)) for n, v in space.fixed.items()]


def _ends(p: Parameter) -> Iterator[ParamValue]:
    if p.kind == "choice":
        yield from p.choices
    elif p.name == "bits":  # every value counts: between 8 and 32 lies 16
        yield from range(int(p.low), int(p.high) + 1, int(p.step or 1))
    else:
        yield from (int(v) if p.kind == "int" else v for v in (p.low, p.high))


def check_plan(config: StudyConfig, space: SearchSpace, goals: Sequence[Objective | Constraint]) -> None:
    """Names and values that only the registered implementations can judge; loads them, torch included.

    Raises:
        ConfigError: The first that will not do, with the nearest name.
    """
    registry.load("families", space.family)
    registry.load("samplers", config.sampler)
    if config.runner != AUTO and not callable(getattr(registry.load("runners", config.runner), "run", None)):
        raise ConfigError("a runner must be a class with run(driver, home, concurrency)", repr(config.runner))
    registry.load("data", config.data.source)
    if config.teacher.kind == "family":
        registry.load("families", config.teacher.target)
    for goal in goals:
        if ":" in goal.metric:
            registry.load("metrics", goal.metric)
    known = readings(space)
    for reading in known:
        if reading.name in TRAINING_KEYS.get(reading.stage, ()):
            _check_training(config.training, reading)
        elif (reading.stage, reading.name) == (Stage.PRUNE, "importance"):
            for value in reading.values:
                registry.load("pruners", str(value))
    _check_methods(config, known)
    schemes = [str(v) for r in known if r.name == "scheme" and r.stage == Stage.DISTILL for v in r.values]
    for name in dict.fromkeys([config.distillation.scheme, *schemes]):
        _check_scheme(name)


def check_search(config: StudyConfig, objectives: Sequence[Objective]) -> None:
    """The strategy says what it needs; halving compares trainings from nothing.

    Raises:
        ConfigError: No such strategy, or one that cannot work with these objectives.
    """
    name = config.search.strategy
    strategy = registry.load("strategies", name)
    missing = [fact for fact in ("sampled", "ladders", "check") if not hasattr(strategy, fact)]
    if missing:
        law = "a strategy must be a class that says what it is (autokd.strategies.Strategy)"
        raise ConfigError(law, repr(name), f"Give it `{missing[0]}`.")
    strategy.check(config.search, objectives)
    if config.search.stop_early != "none" and not strategy.sampled:
        raise ConfigError(
            "`search.stop_early` is for `strategy: independent`", f"{config.search.stop_early} with {name}"
        )


def check_stages(space: SearchSpace) -> None:
    """Stages `prune` and `quantize` read fixed names; a typo there would silently search nothing.

    Raises:
        ConfigError: A name that the stage does not read, or a value that it cannot take.
    """
    for r in readings(space):
        if r.stage == Stage.QUANTIZE and r.name != "bits":
            raise ConfigError("the quantize stage reads only `bits`", repr(r.name))
        if r.name == "bits" and (r.stage != Stage.QUANTIZE or not set(r.values) <= set(BITS)):
            raise ConfigError("`bits` must be 32 or 8, with `stage: quantize`", f"{list(r.values)}, stage {r.stage}")
        if r.stage == Stage.PRUNE and r.name not in PRUNE_KEYS:
            if not r.name.startswith("prune_"):
                mend = "Known: prune_<group>, " + ", ".join(PRUNE_KEYS) + "."
                raise ConfigError("the prune stage reads prune_<group> and a few names", repr(r.name), mend)
            for value in r.values:
                if isinstance(value, str) or not 0 <= value < 1:
                    raise ConfigError(f"`{r.name}` is the share of channels to cut: 0 <= ratio < 1", repr(value))


def _check_training(training: TrainingConfig, reading: Reading) -> None:
    base = training.model_dump()
    if reading.name in ("samples", "epochs"):
        base["samples"] = base["epochs"] = None
    for value in reading.values:
        try:
            TrainingConfig.model_validate(base | {reading.name: value})
        except ValidationError as error:
            law = f"the space's `{reading.name}` must be what `training.{reading.name}` may be"
            raise ConfigError(law, repr(value), error.errors()[0]["msg"] + ".") from None


def asked_methods(
    config: StudyConfig, known: Sequence[Reading]
) -> Iterator[tuple[str, dict[str, Any], Literal["distillation", "space"]]]:
    """Every method that may be asked for, with each value of each argument that candidates would give; and who asks."""
    chosen = next((r for r in known if r.name == "method" and r.stage == Stage.DISTILL), None)
    names = [str(v) for v in chosen.values] if chosen else [config.distillation.method]
    arguments = [r for r in known if r.stage == Stage.DISTILL and r.name not in (*DISTILL_KEYS, "method", "scheme")]
    for name in dict.fromkeys([config.distillation.method, *names]):
        given = dict(config.distillation.options) if name == config.distillation.method else {}
        yield name, given, "distillation"
        if name not in names:
            continue
        mine = [r for r in arguments if _goes_with(r, name)]
        first = given | {r.name: r.values[0] for r in mine}
        yield name, first, "space"
        for r in mine:
            for value in r.values[1:]:
                yield name, first | {r.name: value}, "space"


def _check_methods(config: StudyConfig, known: Sequence[Reading]) -> None:
    """Every method that may be asked for must take the arguments that candidates with it would give, and heed class weights."""
    from autokd.distillation.lesson import check_weighted

    for name, arguments, where in asked_methods(config, known):
        knowledge = _try(name, arguments, where)
        if config.training.class_weights is not None:
            check_weighted(knowledge, name)


def _check_scheme(name: str) -> None:
    from autokd.distillation.schemes.scheme import as_scheme

    if as_scheme(registry.load("schemes", name)(), name).live:
        law = "a search's scheme must be taught by the teacher's cached outputs"
        raise ConfigError(law, f"{name!r}, which asks the teacher itself", "Use a scheme that is not `live`.")


def _goes_with(reading: Reading, method: str) -> bool:
    when = reading.searched.when if reading.searched else {}
    return "method" not in when or holds(method, when["method"])


def _try(name: str, arguments: dict[str, object], where: str) -> Knowledge:
    from autokd.distillation.knowledge.classic import as_knowledge

    factory = registry.load("methods", name)
    try:
        return as_knowledge(factory(**arguments), name)
    except TypeError as error:
        mend = f"A parameter for one method only needs e.g. when: {{method: {name}}}." if where == "space" else None
        raise ConfigError(f"`{where}` must give the method {name!r} arguments it takes", str(error), mend) from None
