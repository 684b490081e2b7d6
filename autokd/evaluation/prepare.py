"""What must be there before the first trial: data, teacher, check-up, the teacher's outputs, the reference point."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autokd import registry
from autokd.config.checks import asked_methods, readings
from autokd.config.plan import Plan
from autokd.config.study_file import OWN_STUDENTS
from autokd.data.augment import SeededViews
from autokd.data.dataset import load_dataset, majority_accuracy
from autokd.data.dataset_store import save_dataset
from autokd.errors import HardwareError, StageFailure
from autokd.evaluation.costs import file_costs
from autokd.evaluation.parts import CLOCKS, SETUP, Setup
from autokd.evaluation.recipe import make_method, make_recipe
from autokd.evaluation.root_survey import Surveyed, dearest, survey
from autokd.evaluation.stages.measure import ALWAYS, qualities
from autokd.evaluation.teacher import obtain_teacher
from autokd.files import digest, save_array, write_json
from autokd.hardware.meter import LatencyMeter
from autokd.hardware.profile import LOCAL, describe_host
from autokd.hardware.turnstile import Quiet
from autokd.protocols import Dataset, Recipe, Teacher
from autokd.teachers.bank import LOGITS, TeacherBank
from autokd.teachers.checkup import check_up
from autokd.trial import Measurement, Stage

Tell = Callable[[str, float | None], None]
"""Progress for people: a line, and the share done of it (``None``: unknown)."""


@dataclass(frozen=True)
class Prepared:
    """What preparation found out; goes into the ledger.

    Args:
        facts: Teacher check-up, its measurements, splits, data: plain values.
        reference_point: One value per objective.
    """

    facts: Mapping[str, Any]
    reference_point: tuple[float, ...]


def device_of(plan: Plan) -> str:
    """``resources.device`` resolved against this host.

    Raises:
        HardwareError: CUDA was asked for and is not there.
    """
    wanted = plan.config.resources.device
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise HardwareError(
            "`resources.device: cuda` needs a CUDA device", "none is visible to torch", "Use auto or cpu."
        )
    return "cpu"


def load_data(plan: Plan, root: Path, tell: Tell) -> Dataset:
    """The study's data, split."""
    data = plan.config.data
    return load_dataset(
        data.source,
        data.path,
        data.options,
        seed=plan.config.seed,
        cache_dir=root / "data",
        progress=lambda text: tell(text, None),
    )


def prepare(plan: Plan, root: Path, home: Path, tell: Tell, dataset: Dataset | None = None) -> Prepared:
    """Do all of it, or find it done; leaves ``setup.json`` in the study's folder.

    Args:
        plan: The plan.
        root: Folder shared by the studies of a ledger: data, teachers and banks are kept there under their content.
        home: The study's own folder.
        tell: Shows progress.
        dataset: The data, where they were just loaded.

    Raises:
        UserError: Data, teacher or device cannot serve.
    """
    device = device_of(plan)
    tell("data", None)
    if dataset is None:
        dataset = load_data(plan, root, tell)
    folder = save_dataset(dataset, root / "datasets")
    quiet = Quiet()
    with LatencyMeter(plan.profiles, quiet, root / CLOCKS) as meter:
        roots: list[Surveyed] = []
        if not plan.config.teacher.given or registry.load("strategies", plan.config.search.strategy).ladders:
            tell("the roots timed", None)
            roots = survey(plan, dataset, meter, quiet)
        if plan.config.teacher.given:
            told, measured, taught = _taught(plan, dataset, root, device, meter, quiet, tell)
        else:
            told, measured, taught = _untaught(plan, roots, tell)
    reference = reference_point(plan, dataset, measured)
    write_json(home / SETUP, asdict(Setup(plan.to_json(), str(folder), device, **taught)))
    splits = {n: len(getattr(dataset.splits, n)) for n in ("train", "validation", "calibration", "test")}
    facts = {
        **told,
        "roots": [found.to_dict() for found in roots],
        "data": {
            "fingerprint": dataset.fingerprint,
            "classes": list(dataset.classes),
            "splits": splits,
            "folder": str(folder),
            "input": dataset.spec.to_dict(),
        },
        "device": device,
        "host": describe_host(),
        "code": code_of(plan),
    }
    return Prepared(facts, reference)


Measured = dict[str, Measurement]


def _taught(
    plan: Plan, dataset: Dataset, root: Path, device: str, meter: LatencyMeter, quiet: Quiet, tell: Tell
) -> tuple[dict[str, Any], Measured, dict[str, Any]]:
    """The study's teacher, checked up, timed and asked: its facts, its measurements, and what workers find of it."""
    teacher = obtain_teacher(plan, dataset, root / "teachers", device, quiet.working, tell)
    inputs, targets = _validation(dataset)
    tell("teacher check-up", None)
    outputs = teacher.logits(inputs)
    check = check_up(teacher, inputs, targets, len(dataset.classes), majority_accuracy(dataset), logits=outputs)
    for warning in check.warnings:
        tell(f"warning: {warning}", None)
    banks = _fill_banks(plan, dataset, teacher, root / "banks", quiet, tell)
    saved = root / "banks" / f"validation-{digest([teacher.fingerprint, dataset.fingerprint])[:32]}.npy"
    save_array(saved, outputs.astype(np.float32))
    costs = _teacher_costs(plan, teacher, meter, tell)
    quality = qualities([*ALWAYS, *_quality_goals(plan)], outputs, targets, outputs)
    measured = {m.name: m for m in [*quality, *costs]}
    tell(f"note: {_portrait(teacher, measured, check.accuracy, check.ece)}", None)
    told = {
        "name": teacher.name,
        "fingerprint": teacher.fingerprint,
        "check_up": asdict(check),
        "measurements": [asdict(m) for m in measured.values()],
        "onnx": str(teacher.onnx_file() or ""),
    }
    return {"teacher": told}, measured, {"teacher": teacher.fingerprint, "banks": banks, "validation": str(saved)}


def _untaught(plan: Plan, roots: list[Surveyed], tell: Tell) -> tuple[dict[str, Any], Measured, dict[str, Any]]:
    """The same without a teacher: costs are held against the dearest root."""
    found = dearest(plan, roots)
    measured = {m.name: m for m in found.measurements}
    who = "taught by the best students so far" if plan.config.teacher.kind == OWN_STUDENTS else "they learn from labels"
    costs = ", ".join(f"{m.value:.3g} ms on {m.profile}" for m in found.measurements if m.metric == "latency_ms")
    name = f"dearest {found.name}"
    tell(f"note: no teacher, {who}; costs are held against the {name}: {costs}", None)
    told = {"name": name, "params": dict(found.params), "measurements": [asdict(m) for m in found.measurements]}
    return {"teacher": None, "yardstick": told}, measured, {}


def _portrait(teacher: Teacher, measured: Mapping[str, Measurement], accuracy: float, ece: float) -> str:
    """The check-up in one line."""
    parts = [f"teacher {teacher.name}: accuracy {accuracy:.1%}, calibration error {ece:.1%} on the validation split"]
    parts += [f"{m.value:.3g} ms on {m.profile}" for m in measured.values() if m.metric == "latency_ms"]
    if "size_bytes" in measured:
        parts.append(f"{measured['size_bytes'].value / 1e3:.0f} kB")
    return ", ".join(parts)


def _validation(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    index = dataset.splits.validation
    return np.asarray(dataset.inputs[index]), np.asarray(dataset.targets[index])


def recipes(plan: Plan, size: int) -> list[Recipe]:
    """One recipe for every augmentation that candidates may use, long enough for the longest training."""
    found = []
    searched = {p.name: p for p in plan.space.parameters if p.stage == "distill"}
    longest: dict[str, Any] = {}
    for key in ("samples", "epochs", "views"):
        if key in searched:
            p = searched[key]
            longest[key] = max(p.choices, key=float) if p.choices else p.high
    fixed = plan.space.of_stage(Stage.DISTILL, plan.space.fixed)
    stated = str(fixed.get("augment", plan.config.training.augment))
    augments = searched["augment"].choices if "augment" in searched else (stated,)
    for augment in augments:
        found.append(make_recipe(plan.config.training, {**fixed, **longest, "augment": augment}, size))
    return found


def taps_of(plan: Plan) -> frozenset[str]:
    """What the teacher is asked for: its logits, and whatever a method that candidates may use reads beside them."""
    asked = asked_methods(plan.config, readings(plan.space))
    return frozenset({LOGITS}).union(*(make_method(name, arguments).teacher for name, arguments, _ in asked))


def code_of(plan: Plan) -> dict[str, str]:
    """What every registered name of the plan stands for, by content: whoever goes on with a study later sees what was edited."""
    config, searched = plan.config, {p.name: p.choices for p in plan.space.parameters}

    def values(name: str, usual: str) -> set[str]:
        return {usual, str(plan.space.fixed.get(name, usual)), *map(str, searched.get(name, ()))}

    named = {("families", plan.space.family), ("data", config.data.source), ("samplers", config.sampler)}
    named |= {("methods", name) for name in values("method", config.distillation.method)}
    named |= {("schemes", name) for name in values("scheme", config.distillation.scheme)}
    named |= {("pruners", name) for name in values("importance", "l1")}
    goals = [o.metric for o in plan.objectives] + [c.metric for c in plan.constraints]
    named |= {("devices", p.device) for p in plan.profiles if p.device != LOCAL}
    named |= {("metrics", metric) for metric in goals if ":" in metric}
    return {f"{kind} {name}": registry.identity(kind, name) for kind, name in sorted(named)}


def check_augmentations(plan: Plan, dataset: Dataset) -> None:
    """Refuse an augmentation that does not fit the data, before a teacher is trained.

    Raises:
        ConfigError: Unknown, or for another kind of data.
    """
    named = [r.augment for r in recipes(plan, len(dataset.splits.train))]
    if plan.config.teacher.kind == "family":
        named.append(plan.config.teacher.training.augment)
    for augment in named:
        SeededViews(dataset, augment, plan.config.seed, 1)


def _fill_banks(
    plan: Plan, dataset: Dataset, teacher: Teacher, folder: Path, quiet: Quiet, tell: Tell
) -> dict[str, str]:
    """The teacher's outputs on every view that some candidate will train on."""
    filled: dict[str, str] = {}
    taps = taps_of(plan)
    for recipe in recipes(plan, len(dataset.splits.train)):
        views = SeededViews(dataset, recipe.augment, plan.config.seed, recipe.cached_views)
        whole = max(1, views.size // recipe.batch_size) * min(recipe.batch_size, views.size)
        used = min(views.count, max(1, math.ceil(recipe.samples / whole)))
        place = TeacherBank.place(folder, teacher, views)
        TeacherBank.fill(
            teacher,
            views,
            place,
            count=used,
            pace=quiet.working,
            taps=taps,
            progress=partial(tell, f"teacher outputs ({recipe.augment})"),
        )
        filled[recipe.augment] = str(place)
    return filled


def _teacher_costs(plan: Plan, teacher: Teacher, meter: LatencyMeter, tell: Tell) -> list[Measurement]:
    file = teacher.onnx_file()
    if file is None:
        return []
    tell("teacher timed", None)
    found: list[Measurement] = []
    for profile in plan.profiles:
        try:
            costs = file_costs(file, [profile], meter)
        except StageFailure as error:
            tell(f"warning: the teacher could not be timed on {profile.name}: {error.detail}", None)
            continue
        found += [m for m in costs if m.name not in {known.name for known in found}]
    return found


def _quality_goals(plan: Plan) -> list[str]:
    return [o.metric for o in plan.objectives if o.scale != "log" and o.metric not in ALWAYS]


def reference_point(plan: Plan, dataset: Dataset, teacher: Mapping[str, Measurement]) -> tuple[float, ...]:
    """Where the hypervolume is measured from: what the person said, else the majority guess and the teacher's costs.

    Quality: the metric of constant scores (the log frequencies of the classes). Costs: the teacher's, or without one the
    dearest root's (:func:`autokd.evaluation.root_survey.dearest`); where the teacher cannot be timed as a file, ten times 1 ms,
    1 MB or 100 million operations stand in.
    """
    _, targets = _validation(dataset)
    counts = np.bincount(targets, minlength=len(dataset.classes)) + 1e-9
    prior = np.tile(np.log(counts / counts.sum()), (len(targets), 1)).astype(np.float32)
    point = []
    for objective in plan.objectives:
        stated = plan.config.reference_point.get(objective.name)
        if stated is not None:
            point.append(float(stated))
        elif objective.scale == "log":
            known = teacher.get(objective.name)
            point.append(known.value if known and known.value > 0 else _STAND_IN[objective.metric])
        elif objective.metric == "ece":
            point.append(0.5)  # constant scores are calibrated: they would leave no room
        else:
            point.append(qualities([objective.metric], prior, targets, prior)[0].value)
    return tuple(point)


_STAND_IN = {"latency_ms": 10.0, "size_bytes": 1e7, "macs": 1e9, "params": 1e7, "peak_memory_bytes": 1e9}
