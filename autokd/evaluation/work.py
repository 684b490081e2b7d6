"""What each stage does: functions from a folder and a parent to plain values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from autokd import registry
from autokd.compression.fold import fold_residuals
from autokd.compression.pruning import default_groups, shrink_to
from autokd.compression.pruning import prune as prune_channels
from autokd.compression.quantization import quantize as quantize_file
from autokd.config.objectives import METRICS
from autokd.config.plan import Plan
from autokd.deployment.export import export as export_file
from autokd.deployment.verify import scores as file_scores
from autokd.deployment.verify import verify as compare
from autokd.distillation.trainer import FitResult, fit
from autokd.errors import Paused, StageFailure
from autokd.evaluation.costs import file_costs
from autokd.evaluation.metrics import quality
from autokd.evaluation.parts import Parts
from autokd.evaluation.recipe import Teaching, make_method
from autokd.evaluation.trial_dir import Stored, TrialDir
from autokd.files import digest, read_json, write_json
from autokd.hardware.comparison import compare as compare_times
from autokd.protocols import CurvePoint
from autokd.storage.stage_store import CHECKPOINT
from autokd.students.build import prune_groups
from autokd.trial import Measurement, ParamValue

Params = Mapping[str, ParamValue]
ALWAYS = ("accuracy", "log_loss")
"""Quality metrics that every trial reports, whatever the objectives are."""
COMPARED = 2048
"""Samples on which a rung's file is compared with its model: a wrong graph shows on the first, and the model is slower than the
file. A ladder makes dozens; ``finish`` compares the chosen one's on all."""
SAVES = 0.97
"""An int8 file is taken for faster below this share of the float file's time: two timings differ by a percent or two."""


def build_key(parts: Parts, shape: Params) -> str:
    """Key of an untrained student."""
    return digest(["build", parts.family_key, dict(shape), parts.plan.config.search_seed])


def ratios(pruning: Params) -> dict[str, float]:
    """Pruning ratio by group: ``prune_1: 0.25`` gives ``{"1": 0.25}``."""
    return {name.removeprefix("prune_"): float(v) for name, v in pruning.items() if name.startswith("prune_")}


# ---------------------------------------------------------------------------------------------------- screen


def by_name(value: Mapping[str, Any]) -> dict[str, float]:
    """Values of a stage's measurements by ``metric`` or ``metric@profile``."""
    return {m.name: m.value for m in (Measurement(**raw) for raw in value["measurements"])}


def clock_profile(plan: Plan) -> str:
    """The profile of the first latency objective: what int8 must be fast on."""
    names = [o.profile for o in plan.objectives if o.metric == "latency_ms"]
    return names[0] if names and names[0] else plan.profiles[0].name


def comparison(parts: Parts) -> Callable[[Sequence[Path], Sequence[Path]], list[float]]:
    """Times files against each other on that profile."""
    return functools.partial(compare_times, parts.meter, profile=clock_profile(parts.plan))


# --------------------------------------------------------------------------------------------- distill, prune


def distill_reads(parts: Parts, teaching: Teaching) -> dict[str, Any]:
    """What a trained student depends on."""
    needs_teacher = bool(make_method(teaching.method, teaching.options).needs)
    return {
        "recipe": asdict(teaching.recipe),
        "method": teaching.method,
        "options": dict(teaching.options),
        "data": parts.dataset.fingerprint,
        "teacher": parts.setup.teacher if needs_teacher else None,
        "seed": parts.plan.config.search_seed,
    }


def distill(
    folder: Path,
    parts: Parts,
    student: nn.Module,
    teaching: Teaching,
    trial: TrialDir,
    seen: int = 0,
    until: float | None = None,
) -> dict[str, Any]:
    """Train the student with the teacher's cached outputs; goes on from its checkpoint after a crash, or after a rest.

    ``seen`` samples its weights were trained with before, as it or as a larger student.

    Raises:
        Paused: The share ``until`` of the training is done; the curve so far is in the trial's folder.
    """
    charged_file = folder / "charged.json"  # a later trial, or another's, that goes on from here pays the rest only
    charged = float(read_json(charged_file, {}).get("cpu_s", 0.0))
    result = _fit(folder, parts, student, teaching, trial, seen, until)
    curve = [asdict(p) for p in result.curve]
    if not result.done:
        write_json(trial.folder / "curve.json", curve)
        write_json(charged_file, {"cpu_s": result.cpu_s})
        raise Paused(result.samples / result.total, max(0.0, result.cpu_s - charged))
    charged_file.unlink(missing_ok=True)
    save_file(_tensors(student), folder / "weights.safetensors")
    write_json(folder / "curve.json", curve)
    return {"samples": result.samples, "cpu_s": result.cpu_s, "charged_cpu_s": charged, "seen": seen + result.samples}


def prune(
    folder: Path,
    parts: Parts,
    shape: Params,
    trained: Stored,
    pruning: Params,
    teaching: Teaching,
    trial: TrialDir,
) -> dict[str, Any]:
    """Inherit the parent's weights, cut channels, then tune with the teacher."""
    student = parts.build(parts.plan.space.family, shape)
    student.load_state_dict(load_file(trained.folder / "weights.safetensors"))
    with parts.pace():
        _cut(student, parts, pruning, trained=True)
    result = None
    if teaching.recipe.samples > 0:
        result = _fit(folder, parts, student, teaching, trial)
        write_json(folder / "tuning_curve.json", [asdict(p) for p in result.curve])
    save_file(_tensors(student), folder / "weights.safetensors")
    return {"samples": result.samples if result else 0, "cpu_s": result.cpu_s if result else 0.0}


def _fit(
    folder: Path,
    parts: Parts,
    student: nn.Module,
    teaching: Teaching,
    trial: TrialDir,
    seen: int = 0,
    until: float | None = None,
) -> FitResult:
    recipe = teaching.recipe
    smoothing = {"label_smoothing": recipe.label_smoothing} if recipe.label_smoothing else {}
    made = make_method(teaching.method, smoothing | dict(teaching.options))
    checkpoint = folder / CHECKPOINT
    if made.needs:  # a longer training than was planned goes through the cached views again
        recipe = replace(recipe, views=min(recipe.views, parts.bank_views(recipe.augment)))

    def report(point: CurvePoint) -> None:
        trial.note(samples=point.samples, of=recipe.samples, accuracy=point.validation_accuracy, began_training=True)

    result = fit(
        student,
        parts.views(recipe),
        parts.train_targets,
        recipe,
        made,
        teacher=parts.bank(recipe.augment) if made.needs else None,
        validation=parts.validation,
        seed=parts.plan.config.search_seed,
        device=parts.device,
        pace=parts.pace,
        checkpoint=checkpoint,
        until=until,
        report=report,
        seen=seen,
    )
    if not result.done:
        return result
    for left_over in folder.glob(f"{CHECKPOINT}*"):
        left_over.unlink()
    student.to("cpu")
    return result


def _cut(student: nn.Module, parts: Parts, pruning: Params, trained: bool) -> None:
    """Remove channels in place. An untrained student is cut by L1: which channels go does not change its shape."""
    importance = registry.load("pruners", str(pruning.get("importance", "l1")) if trained else "l1")()
    groups = prune_groups(student) or default_groups(student)
    example = torch.from_numpy(np.ascontiguousarray(parts.calibration[:2]))

    def gradients(model: nn.Module) -> None:
        inputs = torch.from_numpy(np.ascontiguousarray(parts.calibration))
        index = parts.dataset.splits.calibration
        targets = torch.from_numpy(np.asarray(parts.dataset.targets[index])).long()
        nn.functional.cross_entropy(model(inputs), targets).backward()

    prune_channels(student, example, groups, ratios(pruning), importance, gradients=gradients)


def restore(parts: Parts, shape: Params, stored: Stored) -> nn.Module:
    """The trained (and perhaps pruned) student of a stage, from its safetensors."""
    student = parts.build(parts.plan.space.family, shape)
    shrink_to(student, load_file(stored.folder / "weights.safetensors"))
    return student.eval()


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    # clones, because safetensors refuses tensors that share memory
    return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in model.state_dict().items()}


# ------------------------------------------------------------------------------------------- export, quantize


def export(folder: Path, parts: Parts, shape: Params, parent: Stored) -> dict[str, Any]:
    """Torch to ONNX: raw input, normalisation inside, residual additions folded where that is exact."""
    with parts.pace():
        done = _export(restore(parts, shape, parent), parts, folder / "student.onnx")
    return {"file": "student.onnx", "sha256": done.sha256, "size_bytes": done.size_bytes, "opset": done.opset}


def _export(student: nn.Module, parts: Parts, path: Path) -> Any:
    name, data = parts.plan.space.family, parts.dataset
    return export_file(student.eval(), data.spec, data.classes, path, name=name, passes=(fold_residuals,))


def quantize(
    folder: Path, parts: Parts, package: Stored, plan: str | None = None, against: bool = False
) -> dict[str, Any]:
    """Static int8, calibrated on the calibration split; the fastest of a few operator plans by the clock, or the stated one.

    With ``against`` the float file is timed beside, in ``float_ms``.
    """
    source = package.folder / package.value["file"]
    target, beside = folder / "student.onnx", [source] if against else []
    done = quantize_file(source, parts.calibration, target, comparison(parts), plan, beside)
    return {
        "file": "student.onnx",
        "sha256": done.sha256,
        "size_bytes": done.size_bytes,
        "opset": package.value["opset"],
        "plan": done.plan,
        "timings_ms": dict(done.timings_ms),
    } | ({"float_ms": done.beside_ms[0]} if against else {})


def worth_quantizing(parts: Parts, package: Stored, small: Stored) -> bool:
    """Whether the int8 file is cheaper than the float one in the first cost among the objectives."""
    cost = next((o.metric for o in parts.plan.objectives if o.scale == "log"), "size_bytes")
    if cost == "latency_ms":
        return bool(small.value["timings_ms"][small.value["plan"]] < SAVES * small.value["float_ms"])
    return cost == "size_bytes" and bool(small.value["size_bytes"] < package.value["size_bytes"])


# -------------------------------------------------------------------------------------------- verify, measure


def verify(
    folder: Path, parts: Parts, shape: Params, parent: Stored, package: Stored, bits: int, compared: int | None = None
) -> dict[str, Any]:
    """Does the file say what the model says, on the validation split or its first ``compared`` samples? The file's scores of
    all are kept.
    """
    inputs, targets = parts.validation
    reference = model_logits(restore(parts, shape, parent), inputs[:compared], parts)
    with parts.pace():
        scores = file_scores(package.folder / package.value["file"], inputs)
    agreement = compare(scores[:compared], reference, targets[:compared], bits=bits)
    if not np.isfinite(scores).all():
        raise StageFailure("verify", "verify_mismatch", "the file's scores are not finite")
    np.save(folder / "scores.npy", scores, allow_pickle=False)
    return {"agreement": asdict(agreement)}


def model_logits(model: nn.Module, inputs: np.ndarray, parts: Parts, batch: int = 256) -> np.ndarray:
    """Logits ``(N, classes) float32`` of a torch model on raw inputs."""
    found = []
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.inference_mode():
        for start in range(0, len(inputs), batch):
            with parts.pace():
                found.append(model(torch.from_numpy(np.ascontiguousarray(inputs[start : start + batch]))).numpy())
    return np.concatenate(found).astype(np.float32)


def wanted_metrics(parts: Parts) -> list[str]:
    """Quality metrics of the objectives and constraints, and those that every trial reports."""
    goals = [o.metric for o in parts.plan.objectives] + [c.metric for c in parts.plan.constraints]
    named = [m for m in goals if m not in METRICS or METRICS[m].needs_training]
    usual = [*ALWAYS, "agreement"] if parts.teacher_validation is not None else list(ALWAYS)
    return list(dict.fromkeys([*usual, *named]))


def measure_reads(parts: Parts) -> dict[str, Any]:
    return {
        "profiles": [asdict(p) for p in parts.plan.profiles],
        "metrics": wanted_metrics(parts),
        "teacher": parts.setup.teacher,
    }


def measure(folder: Path, parts: Parts, package: Stored, checked: Stored) -> dict[str, Any]:
    """Quality on the validation split, and costs, of the very file that would ship."""
    scores = np.load(checked.folder / "scores.npy", allow_pickle=False)
    measurements = qualities(wanted_metrics(parts), scores, parts.validation[1], parts.teacher_validation)
    measurements += file_costs(package.folder / package.value["file"], parts.plan.profiles, parts.meter)
    return {"measurements": [asdict(m) for m in measurements]}


def qualities(
    metrics: list[str], scores: np.ndarray, targets: np.ndarray, teacher: np.ndarray | None
) -> list[Measurement]:
    """Quality metrics of scores, each with its standard error."""
    found = []
    for metric in metrics:
        value, error = quality(metric, scores, targets, teacher)
        unit = METRICS[metric].unit if metric in METRICS else ""
        found.append(Measurement(metric, float(value), unit, spread=error))
    return found
