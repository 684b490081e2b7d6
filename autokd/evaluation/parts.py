"""What every evaluation of a study shares: plan, data, teacher outputs, meter, store."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from autokd.config.plan import Plan
from autokd.data.dataset_store import open_dataset
from autokd.errors import StudyError
from autokd.evaluation.recipe import Teaching
from autokd.evaluation.screening.bench import Bench
from autokd.evaluation.screening.verdict import remembered
from autokd.evaluation.stages.measure import Answers, wanted_qualities
from autokd.evaluation.stages.quantize import clock_of
from autokd.evaluation.stages.results import Trained
from autokd.evaluation.stages.stage import Stored, Tools
from autokd.evaluation.stages.training import Banks, Training
from autokd.files import read_json
from autokd.hardware.meter import LatencyMeter
from autokd.hardware.profile import HardwareProfile
from autokd.hardware.turnstile import OnWait, Quiet, never_mind
from autokd.protocols import Dataset
from autokd.storage.stage_store import StageStore
from autokd.students.blueprint import Blueprint
from autokd.students.build import family_key
from autokd.trial import ParamValue, Stage

SETUP = "setup.json"


@dataclass(frozen=True)
class Setup:
    """What the driver prepared, in plain values that a worker on another host can read.

    Args:
        plan: The plan's JSON.
        dataset: Folder of the split data.
        device: ``"cpu"`` or ``"cuda"``.
        teacher: Fingerprint of the teacher, or ``None``.
        banks: Folder of the teacher's outputs, by augmentation.
        validation: File of the teacher's logits on the validation split, or ``None``.
        folder: Where the driver was started: a person's own modules lie there.
    """

    plan: str
    dataset: str
    device: str
    teacher: str | None = None
    banks: Mapping[str, str] = field(default_factory=dict)
    validation: str | None = None
    folder: str = field(default_factory=lambda: str(Path.cwd()))


CLOCKS = "clocks"
"""Folder beside the studies' that keeps the usual clock of every host that timed for them."""


@dataclass
class Parts:
    """One study's shared parts, opened once in each worker.

    Args:
        plan: The plan.
        dataset: Data and splits, memory-mapped.
        home: The study's folder.
        setup: Where the teacher's outputs are.
        meter: Times files on the profiles.
        quiet: Keeps work and timing on this host apart.
    """

    plan: Plan
    dataset: Dataset
    home: Path
    setup: Setup
    meter: LatencyMeter
    quiet: Quiet

    @classmethod
    def open(cls, home: Path, on_wait: OnWait = never_mind) -> Parts:
        """The parts of a prepared study.

        ``on_wait`` hears when an evaluation must wait for another one, which is not its own doing.

        Raises:
            StudyError: The folder holds no prepared study.
        """
        raw = read_json(home / SETUP)
        if raw is None:
            raise StudyError(
                "the study must be prepared before its trials run", str(home / SETUP), "Run `autokd resume`."
            )
        setup = Setup(**raw)
        plan = Plan.from_json(setup.plan)
        quiet = Quiet(on_wait=on_wait)
        meter = LatencyMeter(plan.profiles, quiet, home.parent.parent / CLOCKS)
        return cls(plan, open_dataset(Path(setup.dataset)), home, setup, meter, quiet)

    @cached_property
    def store(self) -> StageStore:
        return StageStore(self.home / "stages", self.quiet.on_wait)

    @property
    def device(self) -> str:
        return self.setup.device

    def pace(self) -> AbstractContextManager[None]:
        return self.quiet.working()

    @cached_property
    def train_size(self) -> int:
        """Samples of the train split."""
        return len(self.dataset.splits.train)

    @cached_property
    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """Raw inputs and targets of the validation split."""
        index = self.dataset.splits.validation
        return np.asarray(self.dataset.inputs[index]), np.asarray(self.dataset.targets[index])

    @cached_property
    def validation_targets(self) -> np.ndarray:
        """``(N,)`` class indices of the validation split."""
        return np.asarray(self.dataset.targets[self.dataset.splits.validation])

    @cached_property
    def calibration(self) -> np.ndarray:
        return np.asarray(self.dataset.inputs[self.dataset.splits.calibration])

    @cached_property
    def answers(self) -> Answers | None:
        """The teacher's logits on the validation split, by content."""
        teacher, file = self.setup.teacher, self.setup.validation
        return None if teacher is None or file is None else Answers(teacher, file)

    @cached_property
    def banks(self) -> Banks | None:
        """The teacher's cached outputs on the training views."""
        return None if self.setup.teacher is None else Banks(self.setup.teacher, self.setup.banks)

    @cached_property
    def clock(self) -> HardwareProfile:
        """The profile that int8 must be fast on."""
        return clock_of(self.plan)

    @cached_property
    def bench(self) -> Bench:
        """What sketches are drawn for and timed with."""
        return Bench(self.dataset, self.clock, remembered(self.plan, False), self.meter, self.pace)

    @cached_property
    def wanted(self) -> list[str]:
        """Names of the quality metrics that a trial reports."""
        return wanted_qualities(self.plan, self.answers is not None)

    def tools(self, **more: Any) -> Tools:
        """What stages work with."""
        return Tools(self.pace, self.meter, self.device, **more)

    @property
    def root(self) -> Path:
        """The folder that the studies of a ledger share."""
        return self.home.parent.parent

    def trained(self, stage: str, key: str) -> Stored[Trained] | None:
        """The stage that holds trained weights; ``None`` once they were dropped from the store."""
        value = self.store.find(stage, key)
        return None if value is None else Stored(Stage(stage), key, self.store.path(stage, key), Trained.read(value))

    def training(self, teaching: Teaching, lessons: Banks | None = None) -> Training:
        """A training of a student of this study; ``lessons`` are another teacher's than the study's."""
        teacher = (lessons or self.banks) if teaching.asks_teacher else None
        config = self.plan.config
        return Training(teaching, self.dataset, teacher, config.search_seed, config.seed)

    @cached_property
    def family_key(self) -> str:
        """What the study's family and input stand for in keys."""
        return family_key(self.plan.space.family, self.dataset.spec, len(self.dataset.classes))

    def blueprint(self, shape: Mapping[str, ParamValue]) -> Blueprint:
        """A student of the study's family."""
        return blueprint_of(self.plan, self.dataset, shape, self.family_key)

    def close(self) -> None:
        self.meter.close()


def blueprint_of(plan: Plan, data: Dataset, shape: Mapping[str, ParamValue], known: str = "") -> Blueprint:
    """A student of a plan's family for its data; ``known`` is the family's key, where many are asked for."""
    return Blueprint(plan.space.family, shape, data.spec, len(data.classes), plan.config.search_seed, known)
