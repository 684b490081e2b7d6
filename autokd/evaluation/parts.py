"""What every evaluation of a study shares: plan, data, teacher outputs, meter, store."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autokd.config.plan import Plan
from autokd.data.augment import SeededViews
from autokd.data.dataset_store import open_dataset
from autokd.errors import StudyError
from autokd.files import read_json
from autokd.hardware.meter import LatencyMeter
from autokd.hardware.turnstile import OnWait, Quiet, never_mind
from autokd.protocols import Dataset, Recipe
from autokd.storage.stage_store import StageStore
from autokd.students.build import build_module, family_key, outline_module
from autokd.students.raw_input import RawInput
from autokd.teachers.bank import TeacherBank
from autokd.trial import ParamValue

if TYPE_CHECKING:
    pass

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
    def train_targets(self) -> np.ndarray:
        return np.asarray(self.dataset.targets[self.dataset.splits.train])

    @cached_property
    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """Raw inputs and targets of the validation split."""
        index = self.dataset.splits.validation
        return np.asarray(self.dataset.inputs[index]), np.asarray(self.dataset.targets[index])

    @cached_property
    def calibration(self) -> np.ndarray:
        return np.asarray(self.dataset.inputs[self.dataset.splits.calibration])

    @cached_property
    def teacher_validation(self) -> np.ndarray | None:
        """The teacher's logits on the validation split."""
        if self.setup.validation is None:
            return None
        return np.load(self.setup.validation, allow_pickle=False)

    def views(self, recipe: Recipe) -> SeededViews:
        return SeededViews(self.dataset, recipe.augment, self.plan.config.seed, recipe.views)

    def bank(self, augment: str) -> TeacherBank:
        """The teacher's cached outputs under an augmentation."""
        return TeacherBank.open(Path(self.setup.banks[augment]))

    def bank_views(self, augment: str) -> int:
        """How many views the teacher scored."""
        return len(list(Path(self.setup.banks[augment]).glob("view-*.npy")))

    def build(self, family: str, params: Mapping[str, ParamValue]) -> RawInput:
        """An untrained module that reads raw input; the same seed gives the same weights."""
        return build_module(family, params, self.dataset, self.plan.config.search_seed)

    def outline(self, family: str, params: Mapping[str, ParamValue]) -> RawInput:
        """The same module without weights: shapes only, in a tenth of the time."""
        return outline_module(family, params, self.dataset)

    @cached_property
    def family_key(self) -> str:
        return family_key(self.plan.space.family, self.dataset)

    def close(self) -> None:
        self.meter.close()
