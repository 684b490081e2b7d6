"""Trains a student on seeded views from the teacher's cached outputs; the same seed gives the same weights."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from autokd.distillation import checkpoint as disk
from autokd.distillation import optim
from autokd.distillation import validation as checks
from autokd.distillation.contexts import channels_last, computing_in, memory_errors_named, seeded
from autokd.errors import ConfigError, StageFailure
from autokd.protocols import CurvePoint, DistillationMethod, Pace, Recipe, TeacherOutputs, Views

SAVE_EVERY_S = 10.0  # longest work at risk inside an epoch
SAVE_GAP_S = 0.5  # epochs shorter than this share a checkpoint
CHECK_EVERY = 20  # steps between looks at the loss
MAX_NORM = 5.0  # of the gradient


@dataclass(frozen=True)
class FitResult:
    """What a training did: its learning curve, samples seen of how many, CPU seconds (over all resumes)."""

    curve: tuple[CurvePoint, ...]
    samples: int
    cpu_s: float
    total: int

    @property
    def done(self) -> bool:
        """It came to its end; else it rests."""
        return self.samples == self.total


@dataclass
class _Progress:
    """Where a training stands; what a checkpoint keeps beside weights and optimizer."""

    total: torch.Tensor  # sum of the losses since the last point of the curve; a NaN in any of them stays
    step: int = 0
    counted: int = 0
    cpu_before: float = 0.0
    curve: list[CurvePoint] = field(default_factory=list)
    started: float = field(default_factory=time.process_time)

    def cpu_s(self) -> float:
        return self.cpu_before + time.process_time() - self.started

    def rests(self, samples: float, steps: int) -> bool:
        """Whether the learning curve has a point at so many samples or later, and the training is not at its end."""
        return self.step < steps and bool(self.curve) and self.curve[-1].samples >= samples


def fit(
    model: nn.Module,
    views: Views,
    targets: np.ndarray,
    recipe: Recipe,
    method: DistillationMethod,
    *,
    teacher: TeacherOutputs | None,
    validation: tuple[np.ndarray, np.ndarray],
    seed: int,
    pace: Pace,
    device: str = "cpu",
    checkpoint: Path | None = None,
    until: float | None = None,
    report: Callable[[CurvePoint], None] | None = None,
    to_input: Callable[[torch.Tensor], torch.Tensor] | None = None,
    seen: int = 0,
) -> FitResult:
    """Trains ``model`` in place for ``recipe.samples`` samples; leaves it in eval mode, on the CPU, contiguous.

    With ``until`` it rests at the first point of the learning curve that is not before that share of the training; a later
    call goes on from the checkpoint as if there had been no rest.

    Epoch e goes through view ``e % views.count`` in a seeded order; the teacher's output of a sample is that of the
    same view, so it belongs to the very pixels. All randomness is seeded and the caller's random state is left alone.

    Args:
        model: Reads raw input ``(B, *shape)`` in the source's dtype, returns logits ``(B, classes)``.
        views: Seeded views of the train split.
        targets: ``(views.size,) int64``, aligned with the views' positions.
        recipe: How to train; ``recipe.label_smoothing`` and ``recipe.augment`` are already in ``method`` and ``views``.
        method: The loss.
        teacher: Cached outputs, needed when ``method.needs`` names ``"logits"``.
        validation: Raw inputs and targets; see :func:`autokd.distillation.validation.subset`.
        seed: Of order and dropout.
        pace: Entered around every batch, training and validation alike.
        device: ``"cpu"`` or ``"cuda"``.
        checkpoint: File that keeps an interrupted training; ``fit`` goes on from it bit for bit. The caller removes it.
        until: Share of the training in (0, 1) at which to rest; needs a checkpoint.
        report: Called with every new point of the learning curve; an exception it raises ends the training.
        to_input: Turns the raw batch into what the model reads, if that is not the raw batch.
        seen: Samples the weights were trained with before: the order goes on where that training ended, so that several
            short trainings in a row see the whole split, not its beginning again and again.

    Raises:
        StageFailure: ``distill`` / ``diverged`` or ``out_of_memory``.
        ConfigError: A method without the teacher it needs, an impossible recipe.
        StorageError: The disk does not take a checkpoint.
    """
    if len(targets) != views.size:
        raise ValueError(
            f"targets and views must be aligned, but got {len(targets)} targets and {views.size} positions"
        )
    if until is not None and checkpoint is None:
        raise ValueError("a training that rests must keep a checkpoint, but got none")
    _check_teacher(method, teacher)
    batch = max(1, min(recipe.batch_size, views.size))
    steps = max(1, round(recipe.samples / batch))
    per_epoch = max(1, views.size // batch)  # the short rest of an epoch is dropped
    marks = checks.marks(steps, per_epoch)
    held_out = checks.subset(*validation, samples=recipe.samples, seed=seed)
    labels = torch.from_numpy(np.ascontiguousarray(targets, dtype=np.int64))
    tensor = _loader(device, to_input)
    before = round(seen / batch)
    key = _key(model, views, recipe, method, seed, before)

    with (
        seeded(seed, device), memory_errors_named(), channels_last(model, device),
        computing_in(recipe.precision, model, device) as cast,
    ):  # fmt: skip
        model.train()
        optimizer = optim.build(model, recipe)
        weights = [p for p in model.parameters() if p.requires_grad]
        now = _Progress(torch.zeros((), dtype=torch.float64, device=device))
        if checkpoint is not None:
            _resume(checkpoint, key, model, optimizer, now)
        saved, order = time.monotonic(), np.empty(0, dtype=np.int64)
        rest = steps * batch if until is None else until * steps * batch - 1e-6
        if now.rests(rest, steps):  # another training went on to here, or further
            return FitResult(tuple(now.curve), now.step * batch, now.cpu_s(), steps * batch)
        while now.step < steps:
            epoch, within = divmod(before + now.step, per_epoch)
            if within == 0 or not len(order):
                order = np.random.default_rng([seed, 0, epoch]).permutation(views.size)
            at, view = order[within * batch : (within + 1) * batch], epoch % views.count
            rate = optim.one_cycle(now.step, steps, recipe.lr)
            with pace():
                truth = labels[torch.from_numpy(at)].to(device, non_blocking=True)
                given = (
                    {}
                    if teacher is None
                    else {"logits": _plain(teacher.logits(at, view)).to(device, non_blocking=True)}
                )
                optim.set_rate(optimizer, rate)
                optimizer.zero_grad(set_to_none=True)
                with cast():
                    logits = model(tensor(views.batch(at, view)))
                loss = method.loss({"logits": logits.float()}, given, truth)
                loss.backward()
                nn.utils.clip_grad_norm_(weights, MAX_NORM)
                optimizer.step()
                now.total += loss.detach()
            now.step += 1
            now.counted += 1
            waited = time.monotonic() - saved
            save = checkpoint is not None and waited > (SAVE_GAP_S if within + 1 == per_epoch else SAVE_EVERY_S)
            if now.step in marks or now.step % CHECK_EVERY == 0 or save:
                _check_finite(now, steps, rate)
            if now.step == steps and not all(bool(torch.isfinite(v).all()) for v in model.state_dict().values()):
                raise _diverged(now.step, steps, rate, "a weight or running statistic")
            if now.step in marks:
                score = checks.accuracy(model, *held_out, pace, tensor)
                now.curve.append(CurvePoint(now.step * batch, now.total.item() / now.counted, score, now.cpu_s()))
                now.total.zero_()
                now.counted = 0
                if report is not None:
                    report(now.curve[-1])
                if checkpoint is not None and now.rests(rest, steps):
                    _save(checkpoint, key, model, optimizer, now)
                    return FitResult(tuple(now.curve), now.step * batch, now.cpu_s(), steps * batch)
            if save and checkpoint is not None:
                _save(checkpoint, key, model, optimizer, now)
                saved = time.monotonic()
        return FitResult(tuple(now.curve), steps * batch, now.cpu_s(), steps * batch)


def _check_teacher(method: DistillationMethod, teacher: TeacherOutputs | None) -> None:
    name = type(method).__name__
    if unknown := sorted(method.needs - {"logits"}):
        raise ConfigError(f"A method may need the teacher's logits only; {name} needs more", ", ".join(unknown))
    if method.needs and teacher is None:
        raise ConfigError(f"{name} must have a teacher", "none", "Use the method 'none' to train without one.")


def _key(model: nn.Module, views: Views, recipe: Recipe, method: DistillationMethod, seed: int, before: int) -> str:
    """What a checkpoint must have been made with to be gone on from."""
    shapes = [(name, tuple(value.shape)) for name, value in model.state_dict().items()]
    what = (
        shapes,
        views.fingerprint,
        views.size,
        views.count,
        sorted(asdict(recipe).items()),
        type(method).__name__,
        seed,
        before,
    )
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _plain(array: np.ndarray) -> torch.Tensor:
    """A tensor over ``array``; read-only memory (a mapped file) is copied first, which torch asks for."""
    return torch.from_numpy(array if array.flags.writeable and array.flags.c_contiguous else array.copy())


def _loader(
    device: str, to_input: Callable[[torch.Tensor], torch.Tensor] | None
) -> Callable[[np.ndarray], torch.Tensor]:
    def tensor(raw: np.ndarray) -> torch.Tensor:
        x = _plain(raw)
        x = x.pin_memory().to(device, non_blocking=True) if device == "cuda" else x
        x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
        return x if to_input is None else to_input(x)

    return tensor


def _check_finite(now: _Progress, steps: int, rate: float) -> None:
    if not bool(torch.isfinite(now.total)):
        raise _diverged(now.step, steps, rate, "the loss")


def _diverged(step: int, steps: int, rate: float, what: str) -> StageFailure:
    return StageFailure(
        "distill", "diverged", f"{what} was not finite by step {step} of {steps}, at a rate of {rate:.4g}"
    )


def _save(path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer, now: _Progress) -> None:
    scalars = {
        "step": now.step,
        "counted": now.counted,
        "cpu_s": now.cpu_s(),
        "curve": [asdict(point) for point in now.curve],
    }
    disk.save(path, key, model, optimizer, scalars, total=now.total)


def _resume(path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer, now: _Progress) -> None:
    found = disk.load(path, key)
    if found is None:
        return
    disk.restore(found, model, optimizer)
    now.total.copy_(found.tensors["more.total"])
    now.step, now.counted = found.scalars["step"], found.scalars["counted"]
    now.cpu_before = found.scalars["cpu_s"]
    now.curve.extend(CurvePoint(**point) for point in found.scalars["curve"])
