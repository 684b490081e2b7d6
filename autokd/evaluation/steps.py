"""One candidate's evaluation, step by step: what is known of it so far, and what each outcome is made of."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from autokd.compression.plans import GAINS, INT8_GAIN
from autokd.config.space import allowed_bits
from autokd.errors import Infeasible
from autokd.evaluation.parts import Parts
from autokd.evaluation.recipe import Teaching, init_of, make_teaching, tuning_recipe
from autokd.evaluation.screening import verdict
from autokd.evaluation.stages.build import Build
from autokd.evaluation.stages.distill import distilled
from autokd.evaluation.stages.export import Export
from autokd.evaluation.stages.measure import Measure, Quality
from autokd.evaluation.stages.prune import Cutting, Prune
from autokd.evaluation.stages.quantize import Quantize, worth_quantizing
from autokd.evaluation.stages.results import Checked, Costs, Package, Result, Trained
from autokd.evaluation.stages.screen import Screen
from autokd.evaluation.stages.stage import R, Stored
from autokd.evaluation.stages.stage import Stage as Work
from autokd.evaluation.stages.training import Training
from autokd.evaluation.stages.verify import SOME, Verify
from autokd.evaluation.trial_dir import TrialDir
from autokd.evaluation.tutor import ask
from autokd.files import link, read_json, write_atomic, write_json
from autokd.storage.by_class import BY_CLASS, ByClass
from autokd.students.blueprint import Blueprint
from autokd.trial import (
    BY_LABELS,
    TAUGHT_BY,
    Candidate,
    Measurement,
    Outcome,
    ParamValue,
    Stage,
    StageRecord,
    TrialRecord,
    Tutor,
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
        tutor: Tutor | None = None,
    ) -> None:
        self.parts, self.candidate, self.trial = parts, candidate, trial
        self.until, self.before, self.tutor = until, before, tutor
        self.stops_early = parts.plan.config.search.stop_early != "none"
        self.params: dict[str, ParamValue] = dict(candidate.params)
        self.measured: dict[str, Measurement] = {}
        self.began_training = False
        self.artifact: Path | None = None
        self.artifact_sha256: str | None = None
        self.notes: dict[str, Any] = {}

    def run(self) -> TrialRecord:
        parts, params = self.parts, self.candidate.params
        space, config = parts.plan.space, parts.plan.config
        blueprint = parts.blueprint(space.of_stage(Stage.BUILD, params))
        pruning = space.of_stage(Stage.PRUNE, params)
        cutting = Cutting.of(pruning)
        distilling = space.of_stage(Stage.DISTILL, params)
        teaching = make_teaching(config.training, config.distillation, distilling, parts.train_size)

        parent = self.teach(self.begin(blueprint, cutting, self.bits), blueprint, teaching)
        self.copy_curve(parent)
        if self.stops_early:
            self.note_curve()
        if cutting:
            tuning = replace(teaching, recipe=tuning_recipe(config.training, pruning, teaching.recipe))
            parent = self.do(Prune(blueprint, cutting, self.training(tuning)), parent)
            self._copy(parent, "tuning_curve.json")
        self.ship(parent, blueprint, self.bits)
        return self.record(Outcome.MEASURED, violations=self.violations(trained=True))

    def do(self, stage: Work[R], parent: Stored[Any] | None, until: float | None = None) -> Stored[R]:
        """Run a stage, or find its result; a training rests after the share ``until`` of it."""
        return self.trial.run(stage, parent, self.parts.tools(until=until))

    def begin(self, blueprint: Blueprint, cutting: Cutting, bits: int) -> Stored[Result]:
        """Build an outline and screen it, before any training; the key that training goes on from.

        Raises:
            Infeasible: It cannot fit.
        """
        parts, trial, plan = self.parts, self.trial, self.parts.plan
        root = Build(blueprint).stored(trial.folder)
        with trial.guard(Stage.BUILD):
            began = time.monotonic()
            self.describe(blueprint.outline)
        trial.records.append(StageRecord(Stage.BUILD.value, root.key, time.monotonic() - began))
        limits = tuple(verdict.known_limits(plan))
        screen = Screen(
            blueprint,
            cutting,
            bits,
            parts.dataset,
            tuple(verdict.limited_profiles(plan)),
            parts.clock,
            limits,
            verdict.remembered(plan, self.stops_early),
            self.stops_early,
            (INT8_GAIN, *GAINS) if bits == 8 and limits else (),
        )
        self._learn(self.do(screen, root))
        if self.stops_early:
            names = {o.name for o in plan.objectives}
            self.notes["screened"] = {name: m.value for name, m in self.measured.items() if name in names}
        self._refuse_what_cannot_fit()
        self.train_began()
        return root

    def teach(self, root: Stored[Result], blueprint: Blueprint, teaching: Teaching) -> Stored[Trained]:
        """Train a student from nothing."""
        plan = self.parts.plan
        init = init_of(plan.config.training, plan.space.of_stage(Stage.DISTILL, self.candidate.params))
        return self.do(distilled(blueprint, self.training(teaching), init), root, self.until)

    def training(self, teaching: Teaching) -> Training:
        """A training of this student: by the study's teacher, or by another student of the search, or else by labels alone."""
        parts = self.parts
        if not teaching.asks_teacher or parts.banks is not None:
            return parts.training(teaching)
        lessons = ask(self.tutor, parts, self.trial, teaching.recipe) if self.tutor is not None else None
        if self.tutor is None or lessons is None:
            self.notes[BY_LABELS] = True  # the parameters stay what was asked for: they are the candidate's name
            return parts.training(teaching.by_labels())
        self.notes[TAUGHT_BY] = self.tutor.number
        return parts.training(teaching, lessons)

    def train_began(self) -> None:
        """From here on the trial counts."""
        self.began_training = True
        self.trial.note(began_training=True)

    @property
    def bits(self) -> int:
        return int(self.parts.plan.space.of_stage(Stage.QUANTIZE, self.candidate.params).get("bits", 32))

    def ship(self, parent: Stored[Trained], blueprint: Blueprint, bits: int) -> None:
        """From a trained student to a verified, measured file."""
        package = self._export(parent, blueprint)
        if bits == 8:
            package = self.do(Quantize(self.parts.dataset, self.parts.clock), package)
        self._measure(package, self._verify(parent, blueprint, package, bits), bits)

    def ship_cheapest(self, parent: Stored[Trained], blueprint: Blueprint, plan: str | None = None) -> None:
        """From a trained student to the cheaper of its float and its int8 file, where the space allows both.

        An int8 file that loses too much accuracy, or saves too little, is not shipped.

        Args:
            parent: The student.
            blueprint: Its shape.
            plan: How the student that it descends from shipped: its int8 plan is the only one tried, and for "", which is a
                float file, none; neither more training nor fewer channels make another one the fastest. ``None``: all are.
        """
        parts = self.parts
        package = self._export(parent, blueprint)
        allowed = allowed_bits(parts.plan.space)
        if 8 in allowed and (plan != "" or 32 not in allowed):
            small = self.do(Quantize(parts.dataset, parts.clock, plan or None, against=True), package)
            self.notes["float_timing_ms"] = small.value.float_ms
            if 32 not in allowed or worth_quantizing(parts.plan, package.value, small.value):
                checked = self._verify(parent, blueprint, small, 8)
                agreement = checked.value.agreement
                lost = agreement.accuracy_model - agreement.accuracy_file
                if 32 not in allowed or lost <= INT8_LOSS:
                    self._measure(small, checked, 8)
                    return
        self._measure(package, self._verify(parent, blueprint, package, 32), 32)

    def _export(self, parent: Stored[Trained], blueprint: Blueprint) -> Stored[Package]:
        return self.do(Export(blueprint, self.parts.dataset.classes), parent)

    def _verify(
        self, parent: Stored[Trained], blueprint: Blueprint, package: Stored[Package], bits: int
    ) -> Stored[Checked]:
        some = SOME if self.candidate.rung else None
        return self.do(Verify(blueprint, self.parts.dataset, parent, bits, some), package)

    def _measure(self, package: Stored[Package], checked: Stored[Checked], bits: int) -> None:
        """Measure the verified file, and keep it for people."""
        parts = self.parts
        if bits == 8:
            self.notes |= {
                "quantization_plan": package.value.plan,
                "plan_timings_ms": dict(package.value.timings_ms),
            }
        if "bits" in self.params:
            self.params["bits"] = bits
        self.notes["verify"] = asdict(checked.value.agreement)
        wanted = tuple(Quality(name) for name in parts.wanted)
        self._learn(self.do(Measure(parts.dataset, package, parts.plan.profiles, wanted, parts.answers), checked))
        scores = np.load(checked.folder / "scores.npy", allow_pickle=False)
        self.notes[BY_CLASS] = ByClass.count(scores, parts.validation_targets).to_notes()
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
        write_atomic(self.trial.folder / "record.json", record.to_json(), lasting=False)  # the ledger keeps it
        return record

    def describe(self, student: Any) -> None:
        inner = getattr(student, "model", student)
        blocks = inner.blocks() if callable(getattr(inner, "blocks", None)) else []
        write_json(self.trial.folder / "blocks.json", [dict(b) for b in blocks], lasting=False)

    def _learn(self, stored: Stored[Costs]) -> None:
        self.measured |= {m.name: m for m in stored.value.measurements}

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

    def copy_curve(self, stored: Stored[Trained]) -> None:
        """The learning curve, where people look for it."""
        self._copy(stored, "curve.json")

    def _copy(self, stored: Stored[Trained], name: str) -> None:
        source = stored.folder / name
        if source.exists():
            shutil.copyfile(source, self.trial.folder / name)

    def _keep(self, package: Stored[Package], checked: Stored[Checked]) -> None:
        """The shipped bytes and the file's validation scores, where people and commands look for them."""
        self.artifact = self.trial.folder / "student.onnx"
        link(package.folder / package.value.file, self.artifact)
        self.artifact_sha256 = package.value.sha256
        link(checked.folder / "scores.npy", self.trial.folder / "validation_scores.npy")
