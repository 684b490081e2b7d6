"""One candidate's evaluation, step by step: what is known of it so far, and what each outcome is made of."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from autokd.config.space import allowed_bits
from autokd.errors import Infeasible
from autokd.evaluation import work
from autokd.evaluation.parts import Parts
from autokd.evaluation.recipe import Teaching, make_teaching, tuning_recipe
from autokd.evaluation.screening import screen, verdict
from autokd.evaluation.trial_dir import Stored, TrialDir
from autokd.files import link, read_json, write_atomic, write_json
from autokd.trial import (
    Candidate,
    Measurement,
    Outcome,
    ParamValue,
    Stage,
    StageRecord,
    TrialRecord,
    Violation,
    merged,
)  # fmt: skip

INT8_LOSS = 0.01
"""Most accuracy that a rung's int8 file may lose against its float file."""


class Evaluation:
    """The stages of one candidate, and what is known of it so far."""

    def __init__(
        self,
        parts: Parts,
        candidate: Candidate,
        trial: TrialDir,
        until: float | None = None,
        before: Sequence[StageRecord] = (),
    ) -> None:
        self.parts, self.candidate, self.trial = parts, candidate, trial
        self.until, self.before = until, before
        self.stops_early = parts.plan.config.search.stop_early != "none"
        self.params: dict[str, ParamValue] = dict(candidate.params)
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
        teaching = make_teaching(config.training, config.distillation, training, len(parts.train_targets))

        trained = self.teach(self.begin(shape, pruning, bits), shape, teaching)
        self.copy_curve(trained)
        if self.stops_early:
            self.note_curve()
        parent = trained
        if any(work.ratios(pruning).values()):
            tuning = replace(teaching, recipe=tuning_recipe(config.training, pruning, teaching.recipe))
            parent = trial.stage(
                Stage.PRUNE,
                lambda folder: work.prune(folder, parts, shape, trained, pruning, tuning, trial),
                {"prune": pruning, "recipe": asdict(tuning.recipe)},
                trained,
            )
            self._copy(parent, "tuning_curve.json")
        self.ship(parent, shape, bits)
        return self.record(Outcome.MEASURED, violations=self.violations(trained=True))

    def begin(self, shape: Mapping[str, ParamValue], pruning: Mapping[str, ParamValue], bits: int) -> Stored:
        """Build an outline and screen it, before any training; the key that training goes on from.

        Raises:
            Infeasible: It cannot fit.
        """
        parts, trial = self.parts, self.trial
        # build is cheap and deterministic: only its key matters to what follows
        root = Stored(Stage.BUILD, work.build_key(parts, shape), trial.folder, {})
        with trial.guard(Stage.BUILD):
            began = time.monotonic()
            outline = parts.outline(parts.plan.space.family, shape)
            self.describe(outline)
        trial.records.append(StageRecord(Stage.BUILD.value, root.key, time.monotonic() - began))
        limits, profiles = verdict.known_limits(parts.plan), verdict.limited_profiles(parts.plan)
        screened = trial.stage(
            Stage.SCREEN,
            lambda folder: screen.screen(
                folder, parts, shape, pruning, bits, limits, profiles, outline, self.stops_early
            ),
            screen.screen_reads(parts.plan, pruning, bits, limits, profiles, self.stops_early),
            root,
        )
        self._learn(screened)
        if self.stops_early:
            names = {o.name for o in parts.plan.objectives}
            self.notes["screened"] = {name: m.value for name, m in self.measured.items() if name in names}
        self._refuse_what_cannot_fit()
        self.train_began()
        return root

    def teach(self, root: Stored, shape: Mapping[str, ParamValue], teaching: Teaching) -> Stored:
        """Train a student from nothing."""
        parts, trial = self.parts, self.trial
        return trial.stage(
            Stage.DISTILL,
            lambda folder: work.distill(
                folder, parts, parts.build(parts.plan.space.family, shape), teaching, trial, until=self.until
            ),
            work.distill_reads(parts, teaching),
            root,
        )

    def train_began(self) -> None:
        """From here on the trial counts."""
        self.began_training = True
        self.trial.note(began_training=True)

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
        self._measure(package, self._verify(parent, shape, package, bits), bits)

    def ship_cheapest(self, parent: Stored, shape: Mapping[str, ParamValue], plan: str | None = None) -> None:
        """From a trained student to the cheaper of its float and its int8 file, where the space allows both.

        An int8 file that loses too much accuracy, or saves too little, is not shipped.

        Args:
            parent: The student.
            shape: Its build parameters.
            plan: How the student that it descends from shipped: its int8 plan is the only one tried, and for "", which is a
                float file, none; neither more training nor fewer channels make another one the fastest. ``None``: all are.
        """
        parts, trial = self.parts, self.trial
        package = trial.stage(Stage.EXPORT, lambda folder: work.export(folder, parts, shape, parent), {}, parent)
        allowed = allowed_bits(parts.plan.space)
        checked = None
        if 8 in allowed and (plan != "" or 32 not in allowed):
            exported = package
            small = trial.stage(
                Stage.QUANTIZE,
                lambda folder: work.quantize(folder, parts, exported, plan or None, against=True),
                {"bits": 8, "against": 32, "plan": plan or None},
                exported,
            )
            self.notes["float_timing_ms"] = small.value["float_ms"]
            if 32 not in allowed or work.worth_quantizing(parts, exported, small):
                checked = self._verify(parent, shape, small, 8)
                agreement = checked.value["agreement"]
                lost = agreement["accuracy_model"] - agreement["accuracy_file"]
                if 32 not in allowed or lost <= INT8_LOSS:
                    self._measure(small, checked, 8)
                    return
        self._measure(package, self._verify(parent, shape, package, 32), 32)

    def _verify(self, parent: Stored, shape: Mapping[str, ParamValue], package: Stored, bits: int) -> Stored:
        compared = work.COMPARED if self.candidate.rung else None
        return self.trial.stage(
            Stage.VERIFY,
            lambda folder: work.verify(folder, self.parts, shape, parent, package, bits, compared),
            {"bits": bits, "compared": compared},
            package,
        )

    def _measure(self, package: Stored, checked: Stored, bits: int) -> None:
        """Measure the verified file, and keep it for people."""
        parts, trial = self.parts, self.trial
        if bits == 8:
            self.notes |= {"quantization_plan": package.value["plan"], "plan_timings_ms": package.value["timings_ms"]}
        if "bits" in self.params:
            self.params["bits"] = bits
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
            params=self.params,
            rung=self.candidate.rung,
            parent=facts.pop("parent", self.candidate.rung.parent if self.candidate.rung else None),
            measurements=tuple(self.measured.values()),
            stages=merged(self.before, self.trial.records),
            began_training=self.began_training,
            artifact=str(self.artifact) if self.artifact else None,
            artifact_sha256=self.artifact_sha256,
            folder=str(self.trial.folder),
            notes=self.notes,
            **facts,
        )
        write_atomic(self.trial.folder / "record.json", record.to_json())
        return record

    def describe(self, student: Any) -> None:
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

    def note_curve(self, done: float = 1.0) -> None:
        """The learning curve so far, ``[share of the training, accuracy]`` a point: what halving compares candidates by."""
        curve = read_json(self.trial.folder / "curve.json", [])
        total = curve[-1]["samples"] / done if curve else 1
        self.notes["curve"] = [[p["samples"] / total, p["validation_accuracy"]] for p in curve]

    def copy_curve(self, stored: Stored) -> None:
        """The learning curve, where people look for it."""
        self._copy(stored, "curve.json")

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
