"""A student that another study trained, timed on this study's devices: its file, its scores and its weights are used again."""

from __future__ import annotations

import math
import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autokd.errors import StageFailure, StudyError
from autokd.evaluation.finish import trained_stage
from autokd.evaluation.parts import Parts
from autokd.evaluation.stages.build import shaped_as
from autokd.evaluation.stages.measure import Quality
from autokd.evaluation.stages.remeasure import KnownFile, Remeasure
from autokd.evaluation.steps import Evaluation
from autokd.evaluation.trial_dir import TrialDir
from autokd.files import link, new_folder, write_atomic
from autokd.storage.by_class import BY_CLASS
from autokd.storage.results import Member, checked_file
from autokd.storage.stage_store import RESULT, StageStore
from autokd.trial import RETIMED, TRAINING, Candidate, Outcome, Stage, StageRecord, TrialRecord

EVIDENCE = ("blocks.json", "curve.json", "tuning_curve.json")
"""What a trial's folder tells of its student, whoever trained it."""
KEPT = ("verify", "quantization_plan", "trained_on", BY_CLASS)
"""Notes of a record that hold on every device, while the file is the same."""
UNTIMED = (*TRAINING, Stage.EXPORT)
"""Stages whose results hold on every device."""
TIMED = (Stage.QUANTIZE, Stage.VERIFY)
"""Stages whose results hold where int8 operators are chosen by the same device's clock."""


@dataclass(frozen=True)
class Source:
    """A student of another study.

    Args:
        study: The study's name.
        member: The student there; ``artifact`` is where its file lies now.
        folder: Its trial's folder.
    """

    study: str
    member: Member
    folder: Path


def retime(source: Source, parts: Parts, trial: TrialDir, requantize: bool = True) -> TrialRecord:
    """Time a student on the profiles of ``parts``; nothing is trained.

    A float32 file is taken as it is: what is on record of the same bytes (quality, size) is taken over, and only what depends on
    the device is measured. An int8 file's operators were chosen by the clock of another device: while the weights are there they
    are chosen anew by this one's, which may give another file, and that one is verified and measured whole.

    Args:
        source: The student.
        parts: Of the study that receives it; data, teacher and space are those of the source.
        trial: Its new folder.
        requantize: ``False`` takes int8 files as they are, too.

    Returns:
        Measured; or infeasible, where a constraint that a search checks before training does not hold here; or failed.

    Raises:
        StudyError: The file is gone, or was changed since it was measured.
        StorageError: The disk is full or read-only.
    """
    checked_file(source.member)
    record = source.member.record
    run = Evaluation(parts, Candidate(source.member.params), trial)
    origin = {"study": source.study, "trial": source.member.number, "sha256": record.artifact_sha256}
    run.notes |= {k: v for k, v in record.notes.items() if k in KEPT}
    run.notes[RETIMED] = origin
    for name in EVIDENCE:
        if (source.folder / name).exists():
            shutil.copyfile(source.folder / name, trial.folder / name)
    try:
        if not (requantize and run.bits == 8 and _quantize_again(run, source)):
            _as_it_is(run, source)
        _whole(run)
    except StageFailure as end:
        write_atomic(trial.folder / "error.txt", end.traceback or str(end))
        return run.record(Outcome.FAILED, failed_stage=end.stage, cause=end.cause, detail=end.detail)
    refused = bool(run.violations(trained=False))
    return run.record(Outcome.INFEASIBLE if refused else Outcome.MEASURED, violations=run.violations(trained=True))


def _quantize_again(run: Evaluation, source: Source) -> bool:
    """Ship the int8 file that is fastest here; whether that was possible."""
    try:
        trained = trained_stage(source.member, run.parts)
    except StudyError:  # the weights are gone, the file is not
        return False
    run.trial.records = _lineage(source, run.parts.store, TRAINING)
    asked = run.parts.blueprint(run.parts.plan.space.of_stage(Stage.BUILD, source.member.params))
    before = dict(run.notes)
    try:
        run.ship(trained, shaped_as(trained, asked), run.bits)
    except StageFailure as end:  # another choice of operators may not verify; the file that did is still there
        run.notes = before | {"not_quantized_again": str(end)}
        return False
    return True


def _as_it_is(run: Evaluation, source: Source) -> None:
    """The very file: its quality and size from the record, its latency and memory from the clock."""
    record, parts, trial = source.member.record, run.parts, run.trial
    file = Path(str(source.member.artifact))
    trial.records = _lineage(source, parts.store, tuple(Stage))
    known = [m for m in record.measurements if m.profile is None]
    again = Remeasure(
        KnownFile(str(record.artifact_sha256), file),
        tuple(sorted(m.name for m in known)),
        parts.dataset,
        parts.plan.profiles,
        tuple(Quality(name) for name in parts.wanted),
        parts.answers,
    )
    stored = trial.run(again, None, parts.tools())
    run.measured = {m.name: m for m in [*known, *stored.value.measurements]}
    run.artifact, run.artifact_sha256 = trial.folder / "student.onnx", record.artifact_sha256
    link(file, run.artifact)
    with suppress(FileNotFoundError):  # the scores may be gone before the file is
        link(source.folder / "validation_scores.npy", trial.folder / "validation_scores.npy")


def _whole(run: Evaluation) -> None:
    """Refuse a student without a number for some objective: the ledger could not hold it."""
    for objective in run.parts.plan.objectives:
        found = run.measured.get(objective.name)
        if found is None or not math.isfinite(found.value):
            what = "was not measured" if found is None else f"is {found.value}"
            raise StageFailure(Stage.MEASURE, "error", f"{objective.name} {what}")


def _lineage(source: Source, store: StageStore, stages: Collection[Stage]) -> list[StageRecord]:
    """The stages that the student came from and that lie in the new study's store as well."""
    return [
        StageRecord(s.stage, s.key, 0.0, 0.0, cached=True)
        for s in source.member.record.stages
        if s.stage in stages and s.stage != Stage.MEASURE and store.find(s.stage, s.key) is not None
    ]


def link_stages(source: StageStore, target: StageStore, stages: Collection[str]) -> int:
    """Give a store the finished results of another, as hard links: dropping one's entry leaves the other's alone.

    Args:
        source: Has the results; may be in use.
        target: Is given them.
        stages: Which stages' results.

    Returns:
        How many it was given.
    """
    given = 0
    target.folder.mkdir(parents=True, exist_ok=True)
    for entry in source.entries():
        final = target.folder / entry.name
        stage, _, key = entry.name.partition("-")
        if stage not in stages or "." in key or not (entry / RESULT).exists() or final.exists():
            continue
        try:
            with new_folder(final) as folder:
                for file in entry.iterdir():
                    link(file, folder / file.name)
            given += 1
        except FileNotFoundError:  # the other study dropped it this very moment
            continue
    return given
