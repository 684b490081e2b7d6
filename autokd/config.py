"""Everything a person may write in a study file: strict, with errors that name file, line, law, value and mend."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from autokd import registry, yaml_file
from autokd.errors import ConfigError, nearest
from autokd.until import Until

TEACHER_OPTIONS = ("params", "training", "weights", "args", "input", "output", "scores", "name")
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
    epochs: float | None = Field(None, gt=0, description="the same, in passes over the train split")
    batch_size: int = Field(128, ge=1, description="samples a step")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="sgd (Nesterov) or adamw")
    lr: float = Field(0.2, gt=0, description="peak rate of the one-cycle schedule")
    weight_decay: float = Field(5e-4, ge=0, description="not applied to biases and norms")
    augment: str = Field("auto", description="seeded augmentation: auto, none, shift, shift_flip, crop_flip, noise")
    views: int = Field(4, ge=1, le=64, description="seeded views of the train split; the teacher scores each once")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="of the cross-entropy term")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16 is faster where the device computes in it (AVX512-BF16, AMX, recent GPUs)"
    )
    tune_samples: int | None = Field(None, ge=0, description="samples after pruning (default: 30 % of samples)")
    tune_lr: float | None = Field(None, gt=0, description="peak rate after pruning (default: half of lr)")

    @model_validator(mode="after")
    def _one_length(self) -> TrainingConfig:
        if self.samples is not None and self.epochs is not None:
            raise ValueError("`samples` and `epochs` say the same thing: give one")
        return self

    def total_samples(self, size: int) -> int:
        """Samples seen in all, for a train split of ``size``."""
        if self.samples is not None:
            return self.samples
        return round((self.epochs or 20) * size)


class TeacherInput(_Block):
    """``teacher.input:`` how the teacher wants the raw input, if not as it is."""

    scale: float | str | None = None
    mean: float | list[float] | None = None
    std: float | list[float] | None = None
    layout: Literal["NCHW", "NHWC", "NHW", "NF"] | None = None
    size: int | list[int] | None = None


class TeacherConfig(BaseModel):
    """``teacher:`` exactly one of ``family``, ``torch``, ``onnx`` (or a plug-in's kind), and its options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    params: dict[str, Any] = Field(default_factory=dict)
    training: TrainingConfig = TrainingConfig()
    weights: str | None = None
    args: dict[str, Any] = Field(default_factory=dict)
    input: TeacherInput | None = None
    output: str | None = None
    scores: Literal["logits", "probabilities"] | None = None
    name: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> TeacherConfig:
        kinds = registry.names("teachers")
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

    def options(self) -> dict[str, Any]:
        """What a teacher loader reads."""
        return self.model_dump(exclude_none=True)


class DistillationConfig(BaseModel):
    """``distillation:`` the method where the space does not search it, and its keyword arguments."""

    model_config = ConfigDict(extra="allow", frozen=True)
    method: str = "kd"

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class SearchConfig(_Block):
    """``search:`` how trained students are used, and what a search begins with."""

    model_config = ConfigDict(serialize_by_alias=True)
    from_: str | None = Field(
        None, alias="from", min_length=1, description="a study of this ledger whose students come first, timed anew"
    )
    strategy: Literal["independent", "ladder"] = Field(
        "independent", description="train each candidate from nothing, or walk down from trained ones"
    )
    keep: float = Field(0.8, gt=0.3, lt=1, description="share of the cost that a step down a ladder keeps")
    step_training: float = Field(0.4, gt=0, le=1, description="training of a step, as a share of a root's")
    steps: bool = Field(True, description="make the front's students smaller; without, each descends from itself alone")
    refine: bool = Field(True, description="train on with the front's students while the budget lasts")
    roots: Literal["auto", "sampler"] = Field("auto", description="begin with the family's own shapes, or not")
    stop_early: Literal["none", "halving"] = Field(
        "none", description="halving: end a training early when others of its cost are better"
    )
    first_rung: float | Literal["auto"] = Field(
        "auto", description="share of the training before a student may be stopped; auto: a third, then learned"
    )
    reduction_factor: float = Field(3.0, gt=1, description="of the students at a rung one in so many goes on, at least")
    seed: int | None = Field(
        None,
        ge=0,
        le=2**31 - 1,
        description="of proposals, students' first weights and the order of their samples (default: the study's seed)",
    )

    @field_validator("first_rung")
    @classmethod
    def _a_share(cls, value: float | str) -> float | str:
        if isinstance(value, int | float) and not 0 < value < 1:
            raise ValueError("must be a share between 0 and 1, or auto")
        return value


class BudgetConfig(_Block):
    """``budget:`` when to stop; the first that is reached ends the search."""

    trials: int | None = Field(
        30, ge=1, description="trials that began training (no limit where `until` is given alone)"
    )
    wall_s: float | None = Field(None, gt=0, description="seconds on the clock")
    cpu_s: float | None = Field(None, gt=0, description="CPU seconds spent in trials")
    until: str | None = Field(None, description='"gain < 0.5%", "gain < 0.5% in 20 min": expected gain of hypervolume')
    trial_s: float = Field(1800.0, gt=0, description="longest time of one trial; then it failed with `timeout`")
    failures_in_a_row: int = Field(5, ge=1, description="the same failure so many times in a row stops the study")

    @model_validator(mode="before")
    @classmethod
    def _until_alone(cls, given: Any) -> Any:
        """Whoever names a gain to search until does not mean the default of 30 trials."""
        if isinstance(given, Mapping) and given.get("until") is not None and "trials" not in given:
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
    runner: str = "ray"
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


def from_yaml(path: Path, overrides: Sequence[str] = ()) -> StudyConfig:
    """A study file with ``--set`` applied.

    Raises:
        ConfigError: Names file, line, law, value and mend.
    """
    raw, lines = yaml_file.read(path)
    if not isinstance(raw, Mapping):
        raise ConfigError(
            "a study file must be a mapping", type(raw).__name__, "`autokd init` writes one.", str(path), 1
        )
    return from_dict(raw, overrides, file=str(path), lines=lines, base=path.parent)


def from_dict(
    raw: Mapping[str, Any],
    overrides: Sequence[str] = (),
    file: str | None = None,
    lines: yaml_file.Lines | None = None,
    base: Path | None = None,
) -> StudyConfig:
    """A configuration from plain values; paths are made absolute (against the current folder, then ``base``)."""
    values = copy.deepcopy(dict(raw))
    for text in sorted(overrides, key=lambda text: not _names_teacher(text)):  # it drops what belongs to another
        apply_override(values, text)
    try:
        config = StudyConfig.model_validate(values)
    except ValidationError as error:
        raise _readable(error, file, lines or {}) from None
    return _absolute(config, base)


def apply_override(values: dict[str, Any], text: str) -> None:
    """Apply one ``dotted.key=value`` in place; the value is YAML.

    Setting one kind of teacher replaces the other, and setting ``samples`` replaces ``epochs``. ``budget.trials=+10``
    raises a budget by 10.
    """
    key, equals, value_text = text.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError("--set must be key=value", repr(text), "E.g. --set budget.trials=50.")
    value = yaml_file.scalar(value_text)
    if _names_teacher(text):
        before = values.get("teacher")
        if not isinstance(before, Mapping) or path[1] not in before:
            values["teacher"] = {}
    here = values
    for part in path[:-1]:
        below = here.get(part)
        if below is None:
            below = here[part] = {}
        if not isinstance(below, dict):
            raise ConfigError(f"--set {key} must name a key of a mapping", f"{part} = {below!r}")
        here = below
    if path[-1] in ("samples", "epochs"):
        here.pop("samples", None)
        here.pop("epochs", None)
    if path[0] == "budget" and len(path) == 2 and value_text.strip().startswith("+") and isinstance(value, int | float):
        default = BudgetConfig.model_fields[path[1]].default if path[1] in BudgetConfig.model_fields else None
        limit = here.get(path[-1]) or default or 0
        if not isinstance(limit, int | float):
            raise ConfigError(f"--set {key}=+N must raise a number", repr(limit), f"Give it anew: --set {key}=...")
        value += limit
    here[path[-1]] = value


def _names_teacher(text: str) -> bool:
    """Whether an override says which kind of teacher to use."""
    parent, _, kind = text.partition("=")[0].strip().partition(".")
    return parent == "teacher" and kind in registry.names("teachers")


def _absolute(config: StudyConfig, base: Path | None) -> StudyConfig:
    def absolute(text: str | None) -> str | None:
        if text is None or Path(text).is_absolute():
            return text
        for folder in (Path.cwd(), base):
            if folder is not None and (folder / text).exists():
                return str((folder / text).resolve())
        return str(Path.cwd() / text)

    update: dict[str, Any] = {}
    if config.data.path:
        update["data"] = config.data.model_copy(update={"path": absolute(config.data.path)})
    teacher: dict[str, Any] = {}
    if config.teacher.weights:
        teacher["weights"] = absolute(config.teacher.weights)
    if config.teacher.kind == "onnx":
        teacher["onnx"] = absolute(config.teacher.target)
    if teacher:
        dumped = config.teacher.model_dump() | teacher
        update["teacher"] = TeacherConfig.model_validate(dumped)
    hardware = [str(absolute(h)) if h.endswith((".yaml", ".yml")) else h for h in config.hardware]
    if isinstance(config.space, str) and config.space.endswith((".yaml", ".yml")):
        update["space"] = absolute(config.space)
    return config.model_copy(update=update | {"hardware": hardware})


_BRANCH = re.compile(r"(dict|list|literal)\[|(int|float|str)$")
"""What pydantic puts into a path to say which type of several it tried."""


def _readable(error: ValidationError, file: str | None, lines: yaml_file.Lines) -> ConfigError:
    """The first validation error as one message with law, value and mend."""
    first = error.errors()[0]
    loc, unknown = first["loc"], first["type"] == "extra_forbidden"  # of an unknown key the last part is the key itself
    path = tuple(p for i, p in enumerate(loc) if not _BRANCH.match(str(p)) or (unknown and i == len(loc) - 1))
    where = ".".join(str(p) for p in path)
    line = yaml_file.line_of(path, lines)
    kind, given = first["type"], first.get("input")
    if kind == "extra_forbidden":
        return ConfigError("unknown key", repr(where), nearest(str(path[-1]), _keys(path[:-1])), file, line)
    if kind == "missing":
        return ConfigError(f"{where!r} must be given", "nothing", "`autokd init` shows every key.", file, line)
    if path == ("objectives",) and kind == "too_short":
        return ConfigError(
            "a study needs two or three objectives",
            given,
            "With a single goal, name the other as well, or put it into `constraints`.",
            file,
            line,
        )
    if path == ("hardware",) and kind == "too_short":
        mend = "Name a profile, e.g. [cpu_1_thread]; `autokd list profiles` shows them."
        return ConfigError("`hardware` must name at least one profile", given, mend, file, line)
    message = first["msg"].removeprefix("Value error, ")
    law = f"{where}: {message}" if where else message
    return ConfigError(
        law, None if kind == "value_error" and isinstance(given, Mapping) else repr(given), None, file, line
    )


def _keys(path: tuple[Any, ...]) -> list[str]:
    model: Any = StudyConfig
    for part in path:
        field = model.model_fields.get(part)
        annotation = field.annotation if field is not None else None
        annotation = next((a for a in get_args(annotation) if a is not type(None)), annotation)  # X of X | None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return [field.alias or name for name, field in model.model_fields.items()]
