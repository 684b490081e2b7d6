"""Everything a person may write in a study file: strict, with errors that name file, line, law, value and mend."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from autokd import registry
from autokd.config.class_weights import stated_weights
from autokd.config.until import Until
from autokd.errors import nearest

TEACHER_OPTIONS = ("params", "training", "weights", "args", "input", "output", "scores", "name")
NO_TEACHER, OWN_STUDENTS = "none", "auto"
"""Words in place of a teacher: students learn from the labels alone; or from the best students of the search itself."""
AUTO = "auto"
EDITABLE = ("runner", "concurrency", "budget", "resources", "storage")
"""Blocks that may change between `search` and `resume`: they decide how and how long, never what a trial's result is."""


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(BaseModel):
    """``data:`` which source, where, and the source's own options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    source: str = Field(description="digits, fashion_mnist, image_folder, npz, csv, or package.module:factory")
    path: str | None = Field(None, description="file or folder, for sources that read one")

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class TrainingConfig(_Block):
    """``training:`` how every student is trained; each key may be a searched parameter instead."""

    samples: int | None = Field(None, ge=1, description="training samples seen in all (default: 20 epochs)")
    epochs: float | Literal["auto"] | None = Field(
        None, description="the same, in passes over the train split; auto: by its size, 25 for 5,000, one for 60,000"
    )
    batch_size: int = Field(128, ge=1, description="samples a step")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="sgd (Nesterov) or adamw")
    lr: float = Field(0.2, gt=0, description="peak rate of the one-cycle schedule")
    weight_decay: float = Field(5e-4, ge=0, description="not applied to biases and norms")
    augment: str = Field("auto", description="seeded augmentation: auto, none, shift, shift_flip, crop_flip, noise")
    views: int | Literal["auto"] = Field(
        4,
        description="seeded views of the train split, 1 to 64; the teacher scores each once; auto: without one always new",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="of the cross-entropy term")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16 is faster where the device computes in it (AVX512-BF16, AMX, recent GPUs)"
    )
    class_weights: Literal["auto"] | dict[str, float] | None = Field(
        None, description="none; auto: rare classes count more in the loss; or {class: weight}, others 1; not searched"
    )
    init: Literal["auto", "plain"] = Field(
        "auto", description="students' first weights: auto (a first convolution that whitens), plain (the family's own)"
    )
    tune_samples: int | None = Field(None, ge=0, description="samples after pruning (default: 30 % of samples)")
    tune_lr: float | None = Field(None, gt=0, description="peak rate after pruning (default: half of lr)")

    @field_validator("epochs")
    @classmethod
    def _some_epochs(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, int | float) and value <= 0:
            raise ValueError("Input should be greater than 0, or auto")
        return value

    @field_validator("class_weights", mode="before")
    @classmethod
    def _weights(cls, given: Any) -> Any:
        return stated_weights(given)

    @field_validator("views")
    @classmethod
    def _some_views(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 1 <= value <= 64:
            raise ValueError("Input should be a number from 1 to 64, or auto")
        return value

    @model_validator(mode="after")
    def _one_length(self) -> TrainingConfig:
        if self.samples is not None and self.epochs is not None:
            raise ValueError("`samples` and `epochs` say the same thing: give one")
        return self

    def total_samples(self, size: int) -> int:
        """Samples seen in all, for a train split of ``size``."""
        if self.samples is not None:
            return self.samples
        epochs = usual_epochs(size) if self.epochs == "auto" else float(self.epochs or 20)
        return round(epochs * size)


def usual_epochs(size: int) -> float:
    """Passes over ``size`` training samples of one whole training: a ladder's unit, and all of an independent trial's.

    25 up to 5,000 samples, one from 60,000 on, evenly between in the logarithms of both.
    """
    few, many, most = 5_000, 60_000, 25.0
    share = math.log(max(few, min(many, size)) / few) / math.log(many / few)
    return most ** (1 - share)


class TeacherInput(_Block):
    """``teacher.input:`` how the teacher wants the raw input, if not as it is."""

    scale: float | str | None = None
    mean: float | list[float] | None = None
    std: float | list[float] | None = None
    layout: Literal["NCHW", "NHWC", "NHW", "NF"] | None = None
    size: int | list[int] | None = None


class TeacherConfig(BaseModel):
    """``teacher:`` exactly one of ``family``, ``torch``, ``onnx`` (or a plug-in's kind), and its options; or a word.

    ``none``: students learn from the labels alone. ``auto``: from the labels too, until one of them can teach the others.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    params: dict[str, Any] = Field(default_factory=dict)
    training: TrainingConfig = TrainingConfig()
    weights: str | None = None
    args: dict[str, Any] = Field(default_factory=dict)
    input: TeacherInput | None = None
    output: str | None = None
    scores: Literal["logits", "probabilities"] | None = None
    name: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_word(cls, given: Any) -> Any:
        words = (NO_TEACHER, OWN_STUDENTS)
        if isinstance(given, TeacherConfig):
            return given
        if isinstance(given, str) and given in words:
            return {given: True}
        if not isinstance(given, Mapping):
            mend = nearest(given, (*words, *registry.names("teachers"))) if isinstance(given, str) and given else ""
            raise ValueError(f"a teacher must be none, auto or a block, but got {given!r}. {mend}".strip())
        named = [word for word in words if given.get(word) is not None]
        if named and given[named[0]] is not True:
            raise ValueError(f"write `teacher: {named[0]}`, but got {given[named[0]]!r} for it")
        if named and any(value and key != named[0] and key != "training" for key, value in given.items()):
            raise ValueError(f"`teacher: {named[0]}` takes no other key: `teacher: {named[0]}`")
        return given

    @model_validator(mode="after")
    def _one_kind(self) -> TeacherConfig:
        kinds = (*registry.names("teachers"), NO_TEACHER, OWN_STUDENTS)
        extra = self.model_extra or {}
        for key in extra:
            if key not in kinds:
                raise ValueError(f"unknown key {key!r} in teacher. {nearest(key, (*kinds, *TEACHER_OPTIONS))}")
        if len(extra) != 1:
            raise ValueError(
                f"a teacher must be exactly one of {', '.join(kinds)}, but got {', '.join(extra) or 'none'}"
            )
        return self

    @property
    def kind(self) -> str:
        return next(iter(self.model_extra or {}))

    @property
    def target(self) -> str:
        """The family's name, the factory, or the file."""
        return str((self.model_extra or {})[self.kind])

    @property
    def given(self) -> bool:
        """Whether there is a teacher before the search: one that is loaded, or trained beforehand."""
        return self.kind not in (NO_TEACHER, OWN_STUDENTS)

    def options(self) -> dict[str, Any]:
        """What a teacher loader reads."""
        return self.model_dump(exclude_none=True)


class DistillationConfig(BaseModel):
    """``distillation:`` method and scheme where the space does not search it, and the method's keyword arguments."""

    model_config = ConfigDict(extra="allow", frozen=True)
    method: str = Field("kd", description="what is transferred: `autokd list methods`, or package.module:factory")
    scheme: str = Field("offline", description="who trains with whom: `autokd list schemes`, or package.module:factory")

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class SearchConfig(_Block):
    """``search:`` how trained students are used, and what a search begins with."""

    model_config = ConfigDict(serialize_by_alias=True)
    from_: str | None = Field(
        None, alias="from", min_length=1, description="a study of this ledger whose students come first, timed anew"
    )
    strategy: str = Field(
        "independent", description="independent: train each candidate from nothing; ladder: walk down from trained ones"
    )
    keep: float = Field(0.8, gt=0.3, lt=1, description="share of the cost that a step down a ladder keeps")
    step_training: float = Field(0.4, gt=0, le=1, description="training of a step, as a share of a root's")
    steps: bool = Field(True, description="make the front's students smaller; without, each descends from itself alone")
    refine: bool = Field(True, description="train on with the front's students while the budget lasts")
    roots: Literal["auto", "sampler"] = Field("auto", description="begin with the family's own shapes, or not")
    stop_early: Literal["none", "halving"] = Field(
        "none", description="halving: end a training early when others of its cost are better"
    )
    first_share: float | Literal["auto"] = Field(
        "auto", description="share of the training before a student may be stopped; auto: a third, then learned"
    )
    reduction_factor: float = Field(
        3.0, gt=1, description="of the students that came so far one in so many goes on, at least"
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=2**31 - 1,
        description="of proposals, students' first weights and the order of their samples (default: the study's seed)",
    )

    @model_validator(mode="before")
    @classmethod
    def _first_rung(cls, given: Any) -> Any:
        """The name that ``first_share`` had in the first version: study files and ledgers may have it."""
        if isinstance(given, Mapping) and "first_rung" in given:
            if "first_share" in given:
                raise ValueError("`first_rung` is the old name of `first_share`: give one")
            return {("first_share" if key == "first_rung" else key): value for key, value in given.items()}
        return given

    @field_validator("strategy")
    @classmethod
    def _registered(cls, name: str) -> str:
        known = registry.names("strategies")
        if name not in known and ":" not in name:
            law = "must be a registered strategy or package.module:factory"
            raise PydanticCustomError("unknown_name", law, {"mend": nearest(name, known)})
        return name

    @field_validator("first_share")
    @classmethod
    def _a_share(cls, value: float | str) -> float | str:
        if isinstance(value, int | float) and not 0 < value < 1:
            raise ValueError("must be a share between 0 and 1, or auto")
        return value


class BudgetConfig(_Block):
    """``budget:`` when to stop; the first that is reached ends the search."""

    trials: int | None = Field(
        30, ge=1, description="trials that began training (no limit where another bound is given alone)"
    )
    wall_s: float | None = Field(None, gt=0, description="seconds on the clock")
    cpu_s: float | None = Field(None, gt=0, description="CPU seconds of everything, from the command's start on")
    until: str | None = Field(None, description='"gain < 0.5%", "gain < 0.5% in 20 min": expected gain of hypervolume')
    trial_s: float = Field(1800.0, gt=0, description="longest time of one trial; then it failed with `timeout`")
    failures_in_a_row: int = Field(5, ge=1, description="the same failure so many times in a row stops the study")

    @model_validator(mode="before")
    @classmethod
    def _until_alone(cls, given: Any) -> Any:
        """Whoever names seconds, or a gain to search until, does not mean the default of 30 trials."""
        bounds = ("until", "cpu_s", "wall_s")
        if isinstance(given, Mapping) and any(given.get(b) is not None for b in bounds) and "trials" not in given:
            return {**given, "trials": None}
        return given

    @field_validator("until")
    @classmethod
    def _a_condition(cls, text: str | None) -> str | None:
        if text is not None:
            Until.parse(text)
        return text

    @property
    def stop(self) -> Until | None:
        """``until``, understood."""
        return None if self.until is None else Until.parse(self.until)


class ResourcesConfig(_Block):
    """``resources:`` obeyed by the trials, the teacher and the bank."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    cpus_per_trial: int = Field(1, ge=1)
    gpus_per_trial: float = Field(0.0, ge=0)
    memory_gb: float | None = Field(None, gt=0, description="most memory of one trial (default: its share of 90 %)")


class StorageConfig(_Block):
    """``storage:`` the ledger and the folder of trials, stages, teacher and bank."""

    url: str | None = None
    path: str | None = None
    max_gb: float = Field(5.0, gt=0)


class StudyConfig(_Block):
    """A whole study file."""

    name: str = Field(min_length=1, max_length=100)
    data: DataConfig
    teacher: TeacherConfig
    space: str | dict[str, Any]
    hardware: list[str] = Field(min_length=1)
    objectives: list[str] = Field(min_length=2, max_length=3)
    constraints: list[str] = Field(default_factory=list)
    sampler: str = "optuna:tpe"
    search: SearchConfig = SearchConfig()
    runner: str = AUTO
    concurrency: int | Literal["auto"] = "auto"
    budget: BudgetConfig = BudgetConfig()
    training: TrainingConfig = TrainingConfig()
    distillation: DistillationConfig = DistillationConfig()
    resources: ResourcesConfig = ResourcesConfig()
    reference_point: dict[str, float] = Field(default_factory=dict)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    storage: StorageConfig = StorageConfig()

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[\w][\w .+-]*", name) or name.endswith((".", " ")):
            raise ValueError("a study's name names a folder: letters, digits, space and . + - _ only")
        return name

    @field_validator("concurrency")
    @classmethod
    def _some(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be at least 1, or auto")
        return value

    @property
    def search_seed(self) -> int:
        """The seed of the search itself: two searches that differ in it share data, splits, teacher and its outputs."""
        return self.seed if self.search.seed is None else self.search.seed

    def fingerprint(self) -> str:
        """Canonical text of what decides results; two configurations of one study must agree on it."""
        return json.dumps(self.model_dump(exclude=set(EDITABLE)), sort_keys=True)
