"""From parameters and defaults to the recipe and the method of one training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autokd import registry
from autokd.config.checks import RECIPE_KEYS
from autokd.config.study_file import DistillationConfig, TrainingConfig
from autokd.errors import ConfigError
from autokd.protocols import DistillationMethod, Recipe
from autokd.trial import ParamValue


def make_recipe(training: TrainingConfig, params: Mapping[str, ParamValue], size: int) -> Recipe:
    """The recipe of a candidate: its own parameters before the study's defaults.

    Args:
        training: The ``training:`` block.
        params: The parameters that the distill stage reads.
        size: Samples in the train split.
    """
    own: dict[str, Any] = {k: v for k, v in params.items() if k in RECIPE_KEYS}
    values = training.model_dump(include=set(RECIPE_KEYS))
    if "samples" in own or "epochs" in own:
        values["samples"] = values["epochs"] = None
    merged = TrainingConfig.model_validate(values | own)
    fields = {k: getattr(merged, k) for k in RECIPE_KEYS if k not in ("samples", "epochs")}
    return Recipe(samples=merged.total_samples(size), **fields)


def tuning_recipe(training: TrainingConfig, params: Mapping[str, ParamValue], base: Recipe) -> Recipe:
    """The shorter, gentler recipe after pruning."""
    samples = params.get("tune_samples", training.tune_samples)
    lr = params.get("tune_lr", training.tune_lr)
    return replace(
        base,
        samples=int(samples) if samples is not None else max(1, round(0.3 * base.samples)),
        lr=float(lr) if lr is not None else base.lr / 2,
    )


def method_of(distillation: DistillationConfig, params: Mapping[str, ParamValue]) -> tuple[str, dict[str, Any]]:
    """Name and keyword arguments of a candidate's method."""
    name = str(params.get("method", distillation.method))
    own = {k: v for k, v in params.items() if k not in RECIPE_KEYS and k != "method"}
    given = dict(distillation.options) if name == distillation.method else {}
    return name, given | own


@dataclass(frozen=True)
class Teaching:
    """How one training goes: the recipe, and the method by name with its keyword arguments."""

    recipe: Recipe
    method: str
    options: Mapping[str, Any]


def make_teaching(
    training: TrainingConfig, distillation: DistillationConfig, params: Mapping[str, ParamValue], size: int
) -> Teaching:
    """The training of a candidate; arguments as those of :func:`make_recipe` and :func:`method_of`."""
    return Teaching(make_recipe(training, params, size), *method_of(distillation, params))


def make_method(name: str, options: Mapping[str, Any]) -> DistillationMethod:
    """The distillation method of a name.

    Raises:
        ConfigError: Unknown method, or arguments it does not take.
    """
    try:
        return registry.load("methods", name)(**options)
    except TypeError as error:
        raise ConfigError(
            f"parameters read by `distill` must be training keys or arguments of {name!r}", str(error)
        ) from None
