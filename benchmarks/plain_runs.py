"""One run of a side of ``plain_script.py``: in its own processes, all of them charged, scored on the test split, and kept."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from charged import run_charged
from common import HERE, LATENCY
from plain_sets import PlainSet
from plain_tables import SCRIPT, File, Run

from autokd.config.load import from_yaml
from autokd.config.plan import make_plan
from autokd.data.dataset_store import open_dataset
from autokd.deployment.verify import scores
from autokd.errors import StudyError
from autokd.evaluation.prepare import load_data
from autokd.files import read_json, write_json
from autokd.protocols import Dataset
from autokd.storage.attributes import FACTS_KEY
from autokd.storage.results import checked_file
from autokd.study.study import Study

PEER = HERE / "peers" / "plain_script.py"
COMMAND = [sys.executable, "-m", "autokd.cli"]
NAME = "plain"
"""Of every study."""
Commands = list[list[str]]


@dataclass(frozen=True)
class Row:
    """What is run: a side, its CPU seconds and its seed."""

    side: str
    budget_s: float
    seed: int

    def place(self, folder: Path) -> Path:
        return folder / f"{self.budget_s:g}_s" / f"seed_{self.seed}" / self.side


class SetRuns:
    """The runs on one data set, in one folder.

    Args:
        plain: The data set.
        shared: Folder of the shared data.
        folder: The data set's own.

    Raises:
        DataError: The files it is made of are not there.
    """

    def __init__(self, plain: PlainSet, shared: Path, folder: Path) -> None:
        self.plain, self.folder = plain, folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = plain.prepared(shared, folder)
        self._datasets: dict[int, Dataset] = {}

    def kept(self, row: Row) -> Run | None:
        """A finished run, or ``None``. Its files have no latency yet."""
        return read_run(row.place(self.folder) / "run.json")

    def run(self, row: Row) -> Run:
        """Run it, anew from the beginning, and keep it.

        Raises:
            StudyError: A command failed, or autokd's split is not the one that the script was given.
        """
        place = row.place(self.folder)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        dataset = self.dataset(row.seed)
        commands = self._script(row, dataset) if row.side == SCRIPT else self._autokd(row)
        cpu_s = wall_s = 0.0
        for command in commands:
            found = run_charged(command, place, place / "output.txt", place / "charged.json")
            if found.code:
                mend = f"Its output: {place / 'output.txt'}."
                raise StudyError(f"the {row.side}'s run must end well", f"exit code {found.code}", mend)
            cpu_s, wall_s = cpu_s + found.cpu_s, wall_s + found.wall_s
        chosen = _nets(place) if row.side == SCRIPT else _front(place, dataset)
        index = dataset.splits.test
        inputs, targets = np.asarray(dataset.inputs[index]), np.asarray(dataset.targets[index])
        files = [File(n, v, float((scores(place / n, inputs).argmax(1) == targets).mean())) for n, v in chosen.items()]
        run = Run(row.side, row.budget_s, row.seed, cpu_s, wall_s, len(targets), tuple(files))
        write_json(place / "run.json", asdict(run))
        return run

    def dataset(self, seed: int) -> Dataset:
        """As autokd splits it for a seed; read once more beside the runs, charged to neither."""
        if seed not in self._datasets:
            file = self.folder / "study.yaml"
            file.unlink(missing_ok=True)
            report = self.folder / "charged.json"
            made = run_charged(self._init, self.folder, self.folder / "output.txt", report)
            if made.code:
                raise StudyError("`autokd init` must write a study file", f"exit code {made.code}")
            plan = make_plan(from_yaml(file, [f"name={NAME}", f"seed={seed}"]))
            self._datasets = {seed: load_data(plan, self.folder / "reading", lambda text, share: None)}
        return self._datasets[seed]

    @property
    def _init(self) -> list[str]:
        """How a newcomer makes a study file."""
        return [*COMMAND, "init", "--data", self.data, "study.yaml"]

    def _autokd(self, row: Row) -> Commands:
        overrides = [f"name={NAME}", f"budget.cpu_s={row.budget_s:g}", f"seed={row.seed}"]
        words = [word for text in overrides for word in ("--set", text)]
        return [self._init, [*COMMAND, "search", "study.yaml", *words]]

    def _script(self, row: Row, dataset: Dataset) -> Commands:
        words = [sys.executable, str(PEER), self.data, ".", "--cpu-s", f"{row.budget_s:g}", "--seed", str(row.seed)]
        if not Path(self.data).is_dir():
            split = row.place(self.folder) / "split.npz"
            parts = dataset.splits
            train = np.sort(np.concatenate([parts.train, parts.calibration]))
            np.savez(split, train=train, validation=parts.validation)
            words += ["--split", split.name]
        return [words]


def read_run(file: Path) -> Run | None:
    """A kept run, or ``None`` where there is none."""
    found: dict[str, Any] | None = read_json(file)
    return None if found is None else Run(**found | {"files": tuple(File(**f) for f in found["files"])})


def _nets(place: Path) -> dict[str, float]:
    """The script's files, and its own accuracy on the validation split."""
    return {net["file"]: net["validation_accuracy"] for net in read_json(place / "nets.json")["nets"]}


def _front(place: Path, dataset: Dataset) -> dict[str, float]:
    """The files of the front, copied beside the run, and their accuracy on the validation split; the rest is dropped.

    Raises:
        StudyError: The study was split otherwise than ``dataset``.
    """
    study = Study.open(NAME, f"sqlite:///{place / 'autokd.db'}")
    own = open_dataset(Path(study.ledger.attr(FACTS_KEY)["data"]["folder"]))
    for part in ("test", "validation"):
        if not np.array_equal(getattr(own.splits, part), getattr(dataset.splits, part)):
            law = f"both sides must have the same {part} split"
            raise StudyError(law, f"another one in {place}", "Another autokd wrote the study file: remove the folder.")
    found = {}
    for member in study.front():
        name = f"trial_{member.number}.onnx"
        shutil.copyfile(checked_file(member), place / name)
        found[name] = member.values["accuracy"]
        if LATENCY not in member.values:
            raise StudyError(f"a study must be judged by {LATENCY}", ", ".join(member.values))
    shutil.rmtree(place / ".autokd", ignore_errors=True)
    return found
