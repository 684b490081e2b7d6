"""One candidate's way from parameters to measurements: the whole of it on one page."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autokd.errors import Infeasible, StageFailure, StorageError
from autokd.evaluation import work
from autokd.evaluation.parts import Parts
from autokd.evaluation.recipe import make_recipe, method_of, tuning_recipe
from autokd.evaluation.stages import Stored, TrialDir, disk_error
from autokd.files import link, write_atomic, write_json
from autokd.trial import Candidate, Measurement, Outcome, ParamValue, Stage, StageRecord, TrialRecord, Violation


def evaluate(candidate: Candidate, parts: Parts, trial: TrialDir) -> TrialRecord:
    """Take one candidate from parameters to measurements.

    Never raises for what a candidate did: infeasible and failed are outcomes.

    Raises:
        StorageError: The disk is full or read-only; the study must stop.
    """
    run = Evaluation(parts, candidate, trial)
    try:
        return run.run()
    except Infeasible as end:
        return run.record(Outcome.INFEASIBLE, violations=end.violations)
    except StorageError:
        raise
    except Exception as end:
        if full := disk_error(end):
            raise full from end
        text = getattr(end, "traceback", "") or traceback.format_exc()
        write_atomic(trial.folder / "error.txt", text)
        stage, cause = (end.stage, end.cause) if isinstance(end, StageFailure) else (trial.current, "error")
        detail = end.detail if isinstance(end, StageFailure) else f"{type(end).__name__}: {end}"
        return run.record(Outcome.FAILED, failed_stage=stage, cause=cause, detail=detail)


class Evaluation:
    """The stages of one candidate, and what is known of it so far."""

    def __init__(self, parts: Parts, candidate: Candidate, trial: TrialDir) -> None:
        self.parts, self.candidate, self.trial = parts, candidate, trial
        self.measured: dict[str, Measurement] = {}
        self.began_training = False
        self.artifact: Path | None = None
        self.artifact_sha256: str | None = None
        self.notes: dict[str, Any] = {}

    def run(self) -> TrialRecord:
        parts, trial, params = self.parts, self.trial, self.candidate.params
        space, config = parts.plan.space, parts.plan.config
        shape = space.of_stage(Stage.BUILD, params)
        training = space.of_stage(Stage.DISTILL, params)
        pruning = space.of_stage(Stage.PRUNE, params)
        bits = self.bits
        recipe = make_recipe(config.training, training, len(parts.train_targets))
        method, options = method_of(config.distillation, training)

        # build is cheap and deterministic: only its key matters to what follows
        root = Stored(Stage.BUILD, work.build_key(parts, shape), trial.folder, {})
        with trial.guard(Stage.BUILD):
            began = time.monotonic()
            student = parts.build(space.family, shape)
            self._describe(student)
        trial.records.append(StageRecord(Stage.BUILD.value, root.key, time.monotonic() - began))

        screened = trial.stage(
            Stage.SCREEN,
            lambda folder: work.screen(folder, parts, shape, pruning, bits),
            work.screen_reads(parts, pruning, bits),
            root,
        )
        self._learn(screened)
        self._refuse_what_cannot_fit()

        self.began_training = True
        trial.note(began_training=True)
        trained = trial.stage(
            Stage.DISTILL,
            lambda folder: work.distill(folder, parts, student, recipe, method, options, trial),
            work.distill_reads(parts, recipe, method, options),
            root,
        )
        self._copy(trained, "curve.json")
        parent = trained
        if any(work.ratios(pruning).values()):
            tuning = tuning_recipe(config.training, pruning, recipe)
            parent = trial.stage(
                Stage.PRUNE,
                lambda folder: work.prune(folder, parts, shape, trained, pruning, tuning, method, options, trial),
                {"prune": pruning, "recipe": asdict(tuning)},
                trained,
            )
            self._copy(parent, "tuning_curve.json")
        self.ship(parent, shape, bits)
        return self.record(Outcome.MEASURED, violations=self.violations(trained=True))

    @property
    def bits(self) -> int:
        return int(self.parts.plan.space.of_stage(Stage.QUANTIZE, self.candidate.params).get("bits", 32))

    def ship(self, parent: Stored, shape: Mapping[str, ParamValue], bits: int) -> None:
        """From a trained student to a verified, measured file."""
        parts, trial = self.parts, self.trial
        package = trial.stage(Stage.EXPORT, lambda folder: work.export(folder, parts, shape, parent), {}, parent)
        if bits == 8:
            exported = package
            package = trial.stage(
                Stage.QUANTIZE, lambda folder: work.quantize(folder, parts, exported), {"bits": bits}, exported
            )
            self.notes |= {"quantization_plan": package.value["plan"], "plan_timings_ms": package.value["timings_ms"]}
        checked = trial.stage(
            Stage.VERIFY,
            lambda folder: work.verify(folder, parts, shape, parent, package, bits),
            {"bits": bits},
            package,
        )
        self.notes["verify"] = checked.value["agreement"]
        final = trial.stage(
            Stage.MEASURE,
            lambda folder: work.measure(folder, parts, package, checked),
            work.measure_reads(parts),
            checked,
        )
        self._learn(final)
        self._keep(package, checked)

    def record(self, outcome: Outcome, **facts: Any) -> TrialRecord:
        """The ledger's record of how it ended; also left in the trial's folder for people."""
        record = TrialRecord(
            outcome=outcome,
            params=dict(self.candidate.params),
            measurements=tuple(self.measured.values()),
            stages=tuple(self.trial.records),
            began_training=self.began_training,
            artifact=str(self.artifact) if self.artifact else None,
            artifact_sha256=self.artifact_sha256,
            folder=str(self.trial.folder),
            notes=self.notes,
            **facts,
        )
        write_atomic(self.trial.folder / "record.json", record.to_json())
        return record

    def _describe(self, student: Any) -> None:
        inner = getattr(student, "model", student)
        blocks = inner.blocks() if callable(getattr(inner, "blocks", None)) else []
        write_json(self.trial.folder / "blocks.json", [dict(b) for b in blocks])

    def _learn(self, stored: Stored) -> None:
        for raw in stored.value["measurements"]:
            measurement = Measurement(**raw)
            self.measured[measurement.name] = measurement

    def violations(self, trained: bool) -> tuple[Violation, ...]:
        found = []
        for constraint in self.parts.plan.constraints:
            if constraint.needs_training and not trained:
                continue
            measurement = self.measured.get(constraint.name)
            if measurement is not None and not constraint.holds(measurement.value):
                amount = constraint.violation(measurement.value)
                found.append(Violation(str(constraint), measurement.value, amount))
        return tuple(found)

    def _refuse_what_cannot_fit(self) -> None:
        violations = self.violations(trained=False)
        if violations:
            raise Infeasible(violations)

    def _copy(self, stored: Stored, name: str) -> None:
        source = stored.folder / name
        if source.exists():
            shutil.copyfile(source, self.trial.folder / name)

    def _keep(self, package: Stored, checked: Stored) -> None:
        """The shipped bytes and the file's validation scores, where people and commands look for them."""
        self.artifact = self.trial.folder / "student.onnx"
        link(package.folder / package.value["file"], self.artifact)
        self.artifact_sha256 = package.value["sha256"]
        link(checked.folder / "scores.npy", self.trial.folder / "validation_scores.npy")
