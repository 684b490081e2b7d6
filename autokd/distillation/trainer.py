"""Trains a student on seeded views from the teacher's cached outputs; the same seed gives the same weights.

It keeps order, pace, precision, clipping, finite checks, curves, checkpoints and rests, and knows no method: what is compared is
a knowledge's affair, who is updated when a scheme's.
"""

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
from autokd.distillation.contexts import memory_errors_named, seeded
from autokd.distillation.learners import Learners
from autokd.distillation.lesson import Lesson, Session
from autokd.distillation.schemes.scheme import STUDENT, Ask
from autokd.distillation.taps import Batch
from autokd.errors import ConfigError, StageFailure
from autokd.protocols import CurvePoint

SAVE_EVERY_S = 10.0  # longest work at risk inside an epoch
SAVE_GAP_S = 0.5  # epochs shorter than this share a checkpoint
CHECK_EVERY = 20  # steps between looks at the loss


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


def fit(model: nn.Module, lesson: Lesson, session: Session | None = None) -> FitResult:
    """Trains ``model`` in place for ``recipe.samples`` samples; leaves it in eval mode, on the CPU, contiguous.

    With ``session.until`` it rests at the first point of the learning curve that is not before that share of the training; a
    later call goes on from the checkpoint as if there had been no rest.

    Epoch e goes through view ``e % views.count`` in a seeded order; the teacher's output of a sample is that of the
    same view, so it belongs to the very pixels. All randomness is seeded and the caller's random state is left alone.

    Args:
        model: Reads raw input ``(B, *shape)`` in the source's dtype, returns logits ``(B, classes)``.
        lesson: What is learnt.
        session: How it runs.

    Raises:
        StageFailure: ``distill`` / ``diverged`` or ``out_of_memory``.
        ConfigError: A knowledge without the teacher or the taps that it needs, an impossible recipe.
        StorageError: The disk does not take a checkpoint.
    """
    session = session or Session()
    lesson.check()
    session.check()
    tensor = _loader(session.device, lesson.to_input)
    with seeded(lesson.seed, session.device), memory_errors_named():

        def first() -> torch.Tensor:
            return tensor(lesson.views.batch(np.arange(min(2, lesson.views.size)), 0))

        with Learners.ready(model, lesson, session.device, first) as learners:
            return _Training(lesson, session, learners, tensor).run()


class _Training:
    """One call of :func:`fit`."""

    def __init__(
        self, lesson: Lesson, session: Session, learners: Learners, tensor: Callable[[np.ndarray], torch.Tensor]
    ) -> None:
        self.lesson, self.session, self.learners, self.tensor = lesson, session, learners, tensor
        views, recipe = lesson.views, lesson.recipe
        self.batch = max(1, min(recipe.batch_size, views.size))
        self.steps = max(1, round(recipe.samples / self.batch))
        self.per_epoch = max(1, views.size // self.batch)  # the short rest of an epoch is dropped
        self.marks = checks.marks(self.steps, self.per_epoch)
        self.held_out = checks.subset(*lesson.validation, samples=recipe.samples, seed=lesson.seed)
        self.labels = torch.from_numpy(np.ascontiguousarray(lesson.targets, dtype=np.int64))
        self.weights = None if lesson.weights is None else _plain(np.asarray(lesson.weights, dtype=np.float32))
        self.before = round(lesson.seen / self.batch)
        self.key = _key(lesson, learners, self.before)
        self.now = _Progress(torch.zeros((), dtype=torch.float64, device=session.device))
        self.order = np.empty(0, dtype=np.int64)

    def run(self) -> FitResult:
        session, now = self.session, self.now
        if session.checkpoint is not None:
            self._resume(session.checkpoint)
        whole = self.steps * self.batch
        rest = whole if session.until is None else session.until * whole - 1e-6
        if now.rests(rest, self.steps):  # another training went on to here, or further
            return self._result()
        self.learners.forget()
        saved = time.monotonic()
        while now.step < self.steps:
            epoch, within = divmod(self.before + now.step, self.per_epoch)
            if within == 0 or not len(self.order):
                seed = [self.lesson.seed, 0, epoch]
                self.order = np.random.default_rng(seed).permutation(self.lesson.views.size)
            rate = optim.one_cycle(now.step, self.steps, self.lesson.recipe.lr)
            at = self.order[within * self.batch : (within + 1) * self.batch]
            with session.pace():
                self._step(at, epoch % self.lesson.views.count, rate)
            waited = time.monotonic() - saved
            save = session.checkpoint is not None and waited > (
                SAVE_GAP_S if within + 1 == self.per_epoch else SAVE_EVERY_S
            )
            if now.step in self.marks or now.step % CHECK_EVERY == 0 or save:
                self._check_finite(rate)
            if now.step in self.marks:
                self._look()
                if session.checkpoint is not None and now.rests(rest, self.steps):
                    self._save(session.checkpoint)
                    return self._result()
            if save and session.checkpoint is not None:
                self._save(session.checkpoint)
                saved = time.monotonic()
        return self._result()

    def _step(self, at: np.ndarray, view: int, rate: float) -> None:
        """The training samples at positions ``at`` (``(B,) int64``), under a view."""
        lesson, now, device = self.lesson, self.now, self.session.device
        index = torch.from_numpy(at)
        given = {}
        if lesson.cached is not None:
            said = lesson.cached.taps(at, view, lesson.knowledge.teacher)
            given = {name: _plain(value).to(device, non_blocking=True) for name, value in said.items()}
        inputs = self.tensor(lesson.views.batch(at, view))
        labels = self.labels[index].to(device, non_blocking=True)
        weights = None if self.weights is None else self.weights[index].to(device, non_blocking=True)
        batch = Batch(inputs, labels, index, given, weights)
        for name, loss in lesson.scheme.step(
            self.learners.tapped, self.learners.knowledge, batch, lesson.ask or _nobody(lesson)
        ):
            self.learners.update(name, loss, rate)
            now.total += loss.detach() if name == STUDENT else 0 * loss.detach()  # whatever is not finite stays
            now.counted += name == STUDENT
        now.step += 1

    def _look(self) -> None:
        """A point of the learning curve."""
        now = self.now
        score = checks.accuracy(self.learners.nets[STUDENT], *self.held_out, self.session.pace, self.tensor)
        loss = now.total.item() / max(1, now.counted)
        now.curve.append(CurvePoint(now.step * self.batch, loss, score, now.cpu_s()))
        now.total.zero_()
        now.counted = 0
        if self.session.report is not None:
            self.session.report(now.curve[-1])

    def _result(self) -> FitResult:
        now = self.now
        return FitResult(tuple(now.curve), now.step * self.batch, now.cpu_s(), self.steps * self.batch)

    def _check_finite(self, rate: float) -> None:
        what = ""
        if not bool(torch.isfinite(self.now.total)):
            what = "the loss"
        elif self.now.step == self.steps and not self.learners.finite():
            what = "a weight or running statistic"
        if what:
            detail = f"{what} was not finite by step {self.now.step} of {self.steps}, at a rate of {rate:.4g}"
            raise StageFailure("distill", "diverged", detail)

    def _save(self, path: Path) -> None:
        now = self.now
        curve = [asdict(point) for point in now.curve]
        scalars = {"step": now.step, "counted": now.counted, "cpu_s": now.cpu_s(), "curve": curve}
        disk.save(path, self.key, self.learners.modules, self.learners.optimizers, scalars, total=now.total)

    def _resume(self, path: Path) -> None:
        found, now = disk.load(path, self.key), self.now
        if found is None:
            return
        disk.restore(found, self.learners.modules, self.learners.optimizers)
        now.total.copy_(found.tensors["more.total"])
        now.step, now.counted = found.scalars["step"], found.scalars["counted"]
        now.cpu_before = found.scalars["cpu_s"]
        now.curve.extend(CurvePoint(**point) for point in found.scalars["curve"])


def _nobody(lesson: Lesson) -> Ask:
    def ask(inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        raise ConfigError(f"{type(lesson.scheme).__name__} must be `live` to ask the teacher", "it is not")

    return ask


def _key(lesson: Lesson, learners: Learners, before: int) -> str:
    """What a checkpoint must have been made with to be gone on from."""
    views = lesson.views
    weights = () if lesson.weights is None else (hashlib.sha256(lesson.weights.tobytes()).hexdigest(),)
    what = (
        [(n, k, tuple(v.shape)) for n, net in learners.modules.items() for k, v in net.state_dict().items()],
        views.fingerprint,
        views.size,
        views.count,
        sorted(asdict(lesson.recipe).items()),
        [(type(x).__name__, x.revision) for x in (lesson.knowledge, lesson.scheme)],
        lesson.seed,
        before,
        *weights,
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
