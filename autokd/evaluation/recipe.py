"""From parameters and defaults to the recipe and the method of one training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from autokd import registry
from autokd.config.checks import DISTILL_KEYS, RECIPE_KEYS
from autokd.config.plan import Plan
from autokd.config.study_file import DistillationConfig, TrainingConfig
from autokd.config.untaught import LABELS
from autokd.data import class_weights
from autokd.distillation.knowledge import Knowledge
from autokd.distillation.knowledge.classic import as_knowledge
from autokd.distillation.schemes.scheme import Scheme, as_scheme
from autokd.errors import ConfigError
from autokd.protocols import Dataset, Recipe
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
    fields["views"] = 0 if merged.views == "auto" else merged.views
    return Recipe(samples=merged.total_samples(size), **fields)


def init_of(training: TrainingConfig, params: Mapping[str, ParamValue]) -> str:
    """What a candidate's training from nothing begins with; arguments as those of :func:`make_recipe`."""
    return str(params.get("init", training.init))


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
    own = {k: v for k, v in params.items() if k not in (*DISTILL_KEYS, "method", "scheme")}
    given = dict(distillation.options) if name == distillation.method else {}
    return name, given | own


def scheme_of(distillation: DistillationConfig, params: Mapping[str, ParamValue]) -> str:
    """Name of a candidate's scheme."""
    return str(params.get("scheme", distillation.scheme))


@dataclass(frozen=True)
class Teaching:
    """How one training goes: the recipe, the method by name with its keyword arguments, the scheme by name, class weights."""

    recipe: Recipe
    method: str
    options: Mapping[str, Any]
    scheme: str = "offline"
    class_weights: class_weights.Stated | None = None

    def identity(self) -> dict[str, Any]:
        """Method and scheme by their content; class weights only where there are some: keys without them are those of before."""
        weights = self.class_weights
        return {
            "recipe": asdict(self.recipe),
            "method": registry.identity("methods", self.method),
            "options": dict(self.options),
            "scheme": registry.identity("schemes", self.scheme),
            **({} if weights is None else {"class_weights": class_weights.key_of(weights)}),
        }

    def knowledge(self) -> Knowledge:
        """The knowledge, made anew: it may be trained with the student.

        Raises:
            ConfigError: Unknown method, or arguments it does not take.
        """
        smoothing = {"label_smoothing": self.recipe.label_smoothing} if self.recipe.label_smoothing else {}
        return make_method(self.method, smoothing | dict(self.options))

    @property
    def asks_teacher(self) -> bool:
        """Whether it depends on the study's teacher."""
        return bool(self.knowledge().teacher) and self.scheme_made().teacher

    def by_labels(self) -> Teaching:
        """The same without a teacher: what is only for learning from one is left out."""
        return replace(self, method=LABELS, options={}, scheme="offline")

    def scheme_made(self) -> Scheme:
        """The scheme."""
        return as_scheme(registry.load("schemes", self.scheme)(), self.scheme)


def make_teaching(
    training: TrainingConfig, distillation: DistillationConfig, params: Mapping[str, ParamValue], size: int
) -> Teaching:
    """The training of a candidate; arguments as those of :func:`make_recipe` and :func:`method_of`."""
    return Teaching(
        make_recipe(training, params, size),
        *method_of(distillation, params),
        scheme_of(distillation, params),
        training.class_weights,
    )


def check_class_weights(plan: Plan, dataset: Dataset) -> None:
    """Refuse weights of classes that the data do not have, before anything is spent.

    Raises:
        ConfigError: An unknown class.
    """
    class_weights.check_classes(plan.config.training.class_weights, dataset.classes)
    if plan.config.teacher.kind == "family":
        stated = plan.config.teacher.training.class_weights
        class_weights.check_classes(stated, dataset.classes, "teacher.training.class_weights")


def make_method(name: str, options: Mapping[str, Any]) -> Knowledge:
    """The knowledge of a method's name.

    Raises:
        ConfigError: Unknown method, or arguments it does not take.
    """
    try:
        return as_knowledge(registry.load("methods", name)(**options), name)
    except TypeError as error:
        raise ConfigError(
            f"parameters read by `distill` must be training keys or arguments of {name!r}", str(error)
        ) from None
