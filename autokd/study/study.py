"""A study as a person holds it: search, look, choose, take home; a facade over one Optuna study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autokd.errors import StudyError
from autokd.storage import results
from autokd.storage.attributes import FACTS_KEY
from autokd.storage.folders import drop_rest
from autokd.storage.heartbeat import driving
from autokd.storage.ledger import record_of
from autokd.storage.results import Member, keep_confirmed
from autokd.study import search, status
from autokd.study.opened import OpenStudy
from autokd.study.watcher import Watcher
from autokd.trial import Measurement

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


class Study(OpenStudy):
    """One study in a ledger, and its folder.

    ``autokd.search("study.yaml")`` makes one and searches, ``autokd.open_study("digits")`` opens one. Here three students are
    put into its ledger by hand, as a search does when it has measured them:

    >>> import tempfile
    >>> from autokd.config.load import from_dict
    >>> from autokd.config.plan import make_plan
    >>> from autokd.trial import Measurement, Outcome, TrialRecord
    >>> plan = make_plan(from_dict({
    ...     "name": "digits", "data": {"source": "digits"}, "teacher": {"family": "resnet"}, "space": "digits",
    ...     "hardware": ["cpu_1_thread"], "objectives": ["maximize accuracy", "minimize latency_ms"],
    ... }))
    >>> folder = tempfile.TemporaryDirectory()
    >>> study = Study.create(plan, f"sqlite:///{folder.name}/autokd.db")
    >>> for width, accuracy, ms in ((12, 0.91, 0.02), (14, 0.95, 0.04), (16, 0.94, 0.05)):
    ...     found = Measurement("accuracy", accuracy, "ratio"), Measurement("latency_ms", ms, "ms", "cpu_1_thread")
    ...     number = study.ledger.add(TrialRecord(Outcome.MEASURED, {"width_1": width}, found), plan)
    >>> [(member.number, member.values["accuracy"]) for member in study.front()]
    [(0, 0.91), (1, 0.95)]
    >>> study.best(max_latency_ms=0.03).number
    0
    >>> list(study.to_dataframe()["accuracy"])
    [0.91, 0.95, 0.94]
    >>> len(study.optuna_study.best_trials)  # it is an ordinary Optuna study
    2
    >>> folder.cleanup()
    """

    def search(self, watcher: Watcher | None = None, ray_address: str | None = None) -> str:
        """Run, or go on, until the budget is spent. Returns why it ended.

        Raises:
            UserError: Data, teacher or device cannot serve; another driver is at work.
        """
        return search.run(self, watcher, ray_address)

    def update(self, overrides: list[str]) -> None:
        """Apply ``--set`` to budget, runner, resources or storage of an existing study; the next search writes it down.

        Raises:
            ConfigError: Anything else; it would change what finished trials mean.
            StudyError: A budget for a study that only times another's students.
        """
        from autokd.study.provenance import only_retimes

        if overrides:
            plan = self.plan.with_overrides(overrides)
            if plan.config.budget != self.plan.config.budget and only_retimes(self.ledger):
                mend = f"A search goes on from it: `autokd search STUDY.yaml --from {self.name}`."
                raise StudyError("a study that only times another's students has no budget", ", ".join(overrides), mend)
            self.plan = plan

    def best(
        self,
        max_latency_ms: float | None = None,
        min_accuracy: float | None = None,
        profile: str | None = None,
        trial: int | None = None,
    ) -> Student:
        """One student; see :func:`autokd.storage.results.choose`."""
        objectives = results.objectives_on(self.plan, profile)
        chosen = results.choose(
            self.members(profile),
            objectives,
            trial=trial,
            max_latency_ms=max_latency_ms,
            min_accuracy=min_accuracy,
            profile=profile or self.plan.profiles[0].name,
        )
        return Student(self, chosen)

    def confirm(self, tell: Callable[[str, float | None], None] = lambda text, share: None) -> list[Member]:
        """Read the test split for the front's members that were not confirmed yet; returns the front."""
        from autokd.evaluation.confirm import confirm

        waiting = [m for m in self.front() if m.confirmed is None]
        if waiting:
            for member, values, by_class in confirm(self.plan, self.home, waiting, tell):
                keep_confirmed(self.ledger, member.number, values, by_class)  # one by one: a later one may fail
        return self.front()

    def to_dataframe(self) -> pd.DataFrame:
        """One row a trial: number, outcome, parameters as ``params_*``, every measurement under its name."""
        import pandas as pd

        rows = []
        for trial in self.ledger.trials():
            record = record_of(trial)
            row: dict[str, Any] = {"number": trial.number, "state": trial.state.name}
            if record is not None:
                row["outcome"] = record.outcome.value
                row |= {f"params_{k}": v for k, v in record.params.items()}
                row |= {m.name: m.value for m in record.measurements}
                row |= {"cpu_s": record.cpu_s, "cause": record.cause, "artifact": record.artifact}
            rows.append(row)
        return pd.DataFrame(rows)

    def plot_front(self, profile: str | None = None, colour: str | None = None) -> go.Figure:
        """The dashboard's figure of all students and their front.

        Args:
            profile: Judge latency on this profile instead of the objectives'.
            colour: Colour by a column, e.g. ``"params_bits"`` or ``"pruned"``.

        Raises:
            StudyError: The study was not measured on that profile.
            ValueError: No such column.
        """
        from autokd.figures import front_figure
        from autokd.storage.reader import TrialReader

        objectives = results.objectives_on(self.plan, profile)
        reader = TrialReader(self.ledger.url, self.name)
        reader.close()
        frame = reader.frame
        teacher = (self.ledger.attr(FACTS_KEY) or {}).get("teacher") or {}
        values = {Measurement(**m).name: float(m["value"]) for m in teacher.get("measurements", ())}
        own = objectives == self.plan.objectives
        feasible = frame[frame["feasible"].astype(bool)]
        return front_figure(feasible, objectives, self.reference_point if own else None, values, colour)

    def running(self) -> list[dict[str, Any]]:
        """What runs now: trial number, stage, samples; on a ladder ``rung``, e.g. ``narrow of 9``."""
        return status.running(self)

    def status(self) -> dict[str, Any]:
        """Plain facts of where the study stands, what more search is expected to bring, and how well the proxy ranks."""
        return status.status(self)

    def trial(self, number: int) -> dict[str, Any]:
        """Everything about one trial, as plain values.

        Raises:
            StudyError: No such trial.
        """
        return status.trial(self, number)

    def finish(
        self,
        number: int,
        samples: int | None = None,
        tell: Callable[[str, float | None], None] = lambda text, share: None,
    ) -> int:
        """Train a student on with the teacher; a trial of its own, measured and confirmed.

        Args:
            number: Its trial.
            samples: Samples to add to a measured student. A trial that halving stopped goes on from its checkpoint to the
                end of its training, and takes no number.
            tell: Is told the steps.

        Returns:
            The new trial's number.

        Raises:
            StudyError: The student is neither measured nor stopped, its weights are gone, or ``samples`` does not fit.
            StageFailure: Its training or export failed.
        """
        from autokd.study.finish import finish_student

        return finish_student(self, number, samples, tell)

    def retime(
        self,
        profiles: Sequence[str],
        name: str | None = None,
        *,
        front: bool = False,
        requantize: bool = True,
        watcher: Watcher | None = None,
    ) -> Study:
        """A new study of this one's students on other hardware, nothing trained; see :func:`autokd.study.retime.retime`."""
        from autokd.study.retime import retime

        made, _ = retime(self, profiles, name, front=front, requantize=requantize, watcher=watcher)
        return Study(made.ledger)

    def gc(self) -> int:
        """Drop every file but those of the front, on every profile, the checkpoints of stopped trials, and the ledger.

        Returns:
            The bytes freed.

        Raises:
            StudyError: A live driver is at work in the study's folder.
        """
        from autokd.storage.stage_store import StageStore
        from autokd.strategies.early_stopping import resting_folders

        with driving(self.ledger, self.home):
            resting = resting_folders(self.ledger.trials(), StageStore(self.home / "stages"))
            return drop_rest(self.home, self.fronts(), resting)


class Student:
    """A chosen student of a study."""

    def __init__(self, study: Study, member: Member) -> None:
        self.study, self.member = study, member

    @property
    def number(self) -> int:
        return self.member.number

    @property
    def values(self) -> dict[str, float]:
        return dict(self.member.values)

    def export(self, path: str | Path, positive: str | None = None) -> Path:
        """Write the ONNX file and its receipt beside it; returns the file's path.

        Args:
            path: Ends in ``.onnx``.
            positive: Of two classes the one that the receipt's decision thresholds find; by default the rarer one.

        Raises:
            StudyError: The file is gone (``autokd gc``) or does not have the measured hash; no such class.
            StorageError: The place cannot be written.
        """
        from autokd.study.export import hand_over

        return hand_over(self.study, self.member, Path(path), positive)
