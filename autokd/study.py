"""A study: create or open it, search, and take its results home; a facade over one Optuna study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autokd import __version__, registry
from autokd.config.plan import Plan
from autokd.errors import StorageError, StudyError
from autokd.files import read_json
from autokd.hardware.profile import check_host
from autokd.progress import Silent, Watcher
from autokd.storage import results
from autokd.storage.folders import drop_rest, home_beside, home_of, keep_within, writable
from autokd.storage.heartbeat import driving, is_live
from autokd.storage.ledger import CONFIG_KEY, STATE_KEY, Ledger, record_of, storage_url
from autokd.storage.lineage import Lineage
from autokd.storage.results import CONFIRMED_KEY, REFERENCE_KEY, Member
from autokd.trial import RUNG_KEY, Measurement, Outcome, Rung

if TYPE_CHECKING:
    import optuna
    import pandas as pd
    import plotly.graph_objects as go

FACTS_KEY = "autokd:facts"
HOME_KEY = "autokd:home"


class Study:
    """One study in a ledger, and its folder."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.plan = Plan.from_json(ledger.attr(CONFIG_KEY))

    # -------------------------------------------------------------------------------------------- open, create

    @classmethod
    def open(cls, name: str, storage: str | None = None) -> Study:
        """An existing study by name.

        Raises:
            StudyError: No such study.
            StorageError: The ledger cannot be reached.
        """
        return cls(Ledger.open(storage_url(storage), name))

    @classmethod
    def create(cls, plan: Plan, storage: str | None = None, more: Mapping[str, Any] | None = None) -> Study:
        """Put a new study and its whole configuration into the ledger, with ``more`` attributes.

        Raises:
            StudyError: The name is taken.
            StorageError: The ledger or the folder cannot be written.
        """
        url = storage_url(storage or plan.config.storage.url)
        home = home_of(plan, url)
        if Ledger.exists(url, plan.config.name):
            raise StudyError("a study's name must be free", repr(plan.config.name), "`autokd resume` goes on with it.")
        attrs = {CONFIG_KEY: plan.to_json(), HOME_KEY: str(home), "autokd:version": __version__, STATE_KEY: "created"}
        names = [o.name for o in plan.objectives]
        return cls(Ledger.create(url, plan.config.name, plan.directions, names, attrs | dict(more or {})))

    @property
    def name(self) -> str:
        return self.ledger.name

    @property
    def home(self) -> Path:
        """The study's folder; found again beside the ledger when both were moved."""
        stated = Path(self.ledger.attr(HOME_KEY))
        moved = home_beside(self.ledger.url, self.name)
        return moved if not stated.exists() and moved is not None and moved.exists() else stated

    @property
    def root(self) -> Path:
        """The folder that the studies of a ledger share."""
        return self.home.parent.parent

    @property
    def optuna_study(self) -> optuna.Study:
        """The Optuna study behind it."""
        return self.ledger.study

    # ----------------------------------------------------------------------------------------------- search

    def search(self, watcher: Watcher | None = None, ray_address: str | None = None) -> str:
        """Run, or go on, until the budget is spent. Returns why it ended.

        Raises:
            UserError: Data, teacher or device cannot serve; another driver is at work.
        """
        watcher = watcher or Silent()
        with driving(self.ledger, self.home):
            text = self.plan.to_json()
            if text != self.ledger.attr(CONFIG_KEY):
                self.ledger.set_attr(CONFIG_KEY, text)
            try:
                reason = self._search(watcher, ray_address)
            except BaseException as error:
                ended = "interrupted" if isinstance(error, KeyboardInterrupt) else "stopped"
                with suppress(StorageError):
                    self.ledger.set_attr(STATE_KEY, ended)
                raise
            self.ledger.set_attr(STATE_KEY, f"finished: {reason}")
            return reason

    def _search(self, watcher: Watcher, ray_address: str | None) -> str:
        from autokd import origin, warm_start
        from autokd.evaluation.prepare import prepare
        from autokd.evaluation.threads import torch_threads
        from autokd.strategies.driver import Driver

        only, received = origin.only_retimes(self.ledger), origin.received(self.ledger)
        if only and received:
            watcher.tell("note: every file of the other study is timed", None)
            return received
        if str(self.ledger.attr(STATE_KEY)).startswith("finished") and not only:
            reason = Driver(self.ledger, self.plan, self.home).finished()
            if reason:
                more = "until=null" if self.plan.config.budget.stop and "gain <" in reason else "trials=+10"
                watcher.tell(f"this study is finished: `autokd resume --set budget.{more}` would go on", None)
                return reason
        for profile in self.plan.profiles:
            check_host(profile)
        self.ledger.set_attr(STATE_KEY, "preparing")
        with writable(self.home), torch_threads(self.plan.config.resources.cpus_per_trial):
            prepared = prepare(self.plan, self.root, self.home, watcher.tell)
        self.ledger.set_attr(FACTS_KEY, prepared.facts)
        if self.ledger.attr(REFERENCE_KEY) is None:  # fixed once: the hypervolume must not move
            self.ledger.set_attr(REFERENCE_KEY, list(prepared.reference_point))
        self.ledger.set_attr(STATE_KEY, "searching")
        if only or self.plan.config.search.from_:
            received = warm_start.receive(self, watcher)
            if only:
                return received
            watcher.tell(f"note: {received}", None)
        driver = Driver(self.ledger, self.plan, self.home)
        if self.plan.config.sampler.startswith("nni:"):
            text = "optimises one number: the objectives are scalarised (augmented Chebyshev, weights sweep the front)"
            watcher.tell(f"note: {self.plan.config.sampler} {text}", None)
        watcher.begin(driver, self)
        driver.on_begin = watcher.begun
        driver.on_finish = lambda number, record: self._after_trial(watcher, number, record)
        runner = registry.load("runners", self.plan.config.runner)()
        if ray_address is not None:
            runner.address = ray_address
        try:
            if not driver.finished():
                runner.run(driver, self.home, self.plan.concurrency)
        finally:
            watcher.end()
        return driver.finished() or "no more candidates"

    def update(self, overrides: list[str]) -> None:
        """Apply ``--set`` to budget, runner, resources or storage of an existing study; the next search writes it down.

        Raises:
            ConfigError: Anything else; it would change what finished trials mean.
            StudyError: A budget for a study that only times another's students.
        """
        from autokd.origin import only_retimes

        if overrides:
            plan = self.plan.with_overrides(overrides)
            if plan.config.budget != self.plan.config.budget and only_retimes(self.ledger):
                mend = f"A search goes on from it: `autokd search STUDY.yaml --from {self.name}`."
                raise StudyError("a study that only times another's students has no budget", ", ".join(overrides), mend)
            self.plan = plan

    @property
    def state(self) -> str:
        """``preparing``, ``searching``, ``finished: ...``, ``stopped`` or ``interrupted``, by whatever it was."""
        stated = str(self.ledger.attr(STATE_KEY))
        return "interrupted" if stated in ("created", "preparing", "searching") and not is_live(self.ledger) else stated

    def _after_trial(self, watcher: Watcher, number: int, record: Any) -> None:
        """Show a finished trial, and keep the study's folder within its bound."""
        watcher.trial(number, record)
        keep_within(self.home, self.plan.config.storage.max_gb * 1e9, self._fronts)

    # ---------------------------------------------------------------------------------------------- results

    @property
    def reference_point(self) -> list[float] | None:
        point = self.ledger.attr(REFERENCE_KEY)
        return list(point) if point is not None else None

    def members(self, profile: str | None = None) -> list[Member]:
        """All measured, feasible students."""
        return results.members(self.ledger, self.plan, profile)

    def front(self, profile: str | None = None) -> list[Member]:
        """The students that no other dominates, cheapest first.

        Args:
            profile: Judge latency on this profile instead of the objectives'.
        """
        return results.front(self.members(profile), results.objectives_on(self.plan, profile))

    def hypervolume(self) -> float | None:
        """Area (volume) dominated over the reference point, costs in natural logarithm; ``None`` before the teacher."""
        return results.volume(self.members(), self.plan.objectives, self.reference_point)

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
            known = dict(self.ledger.attr(CONFIRMED_KEY, {}))
            for member, values in confirm(self.plan, self.home, waiting, tell):
                known[str(member.number)] = values
                self.ledger.set_attr(CONFIRMED_KEY, known)  # one by one: none is read twice when a later one fails
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

    def lineage(self) -> Lineage:
        """Which trial's weights each trial goes on from: the ladders, and what :meth:`finish` added."""
        records = {t.number: record_of(t) for t in self.ledger.trials()}
        return Lineage.of_records({n: r for n, r in records.items() if r is not None})

    def running(self) -> list[dict[str, Any]]:
        """What runs now: trial number, stage, samples; on a ladder ``rung``, e.g. ``narrow of 9``."""
        found: list[dict[str, Any]] = []
        if not is_live(self.ledger):
            return found
        lineage = self.lineage()
        for trial in self.ledger.trials():
            if trial.state.name == "RUNNING":
                progress = read_json(self.home / "trials" / f"{trial.number:05d}" / "progress.json", {})
                if stated := trial.user_attrs.get(RUNG_KEY):
                    progress = {**progress, "rung": lineage.named(Rung(**stated))}
                found.append({"number": trial.number, **progress})
        return found

    def status(self) -> dict[str, Any]:
        """Plain facts of where the study stands, what more search is expected to bring, and how well the proxy ranks."""
        trials = self.ledger.trials()
        records = [record_of(t) for t in trials]
        outcomes = {o.value: sum(r is not None and r.outcome == o for r in records) for o in Outcome}
        from autokd.strategies.job import counts
        from autokd.strategies.monitors import gate_trials, watch_trials

        gain = watch_trials(self.plan.objectives, self.reference_point, trials)[0].expected()
        proxy = gate_trials(self.plan.objectives, trials)
        return {
            "study": self.name,
            "state": self.state,
            "budget": self.plan.config.budget.model_dump(exclude_none=True),
            "counted": sum(r is not None and counts(r) for r in records),
            "outcomes": outcomes,
            "retimed": sum(r is not None and r.retimed is not None for r in records),
            "running": self.running(),
            "cpu_s": sum(r.cpu_s for r in records if r is not None),
            "wall_s": self.ledger.attr("autokd:wall_s", 0.0),
            "front": len(self.front()),
            "hypervolume": self.hypervolume(),
            "expected_gain": gain.to_dict() | {"text": str(gain)},
            "proxy": proxy.to_dict() | {"text": str(proxy)},
            **self._ladders(),
            "teacher": (self.ledger.attr(FACTS_KEY) or {}).get("teacher"),
            "home": str(self.home),
        }

    def _ladders(self) -> dict[str, Any]:
        """On a ladder, what each root and its descendants brought, in order; nothing for other studies."""
        from autokd.strategies.ladder.nodes import worth_of

        if self.plan.config.search.strategy != "ladder":
            return {}
        ended = sorted((t.datetime_complete, t.number, t) for t in self.ledger.trials() if t.datetime_complete)
        records = {number: r for _, number, t in ended if (r := record_of(t)) is not None}
        found = worth_of(self.plan.objectives, self.reference_point, records)
        return {"ladders": [asdict(worth) | {"gain_per_cpu_s": worth.rate} for worth in found]}

    def trial(self, number: int) -> dict[str, Any]:
        """Everything about one trial, as plain values.

        Raises:
            StudyError: No such trial.
        """
        trials = self.ledger.trials()
        if not 0 <= number < len(trials):
            raise StudyError("the trial must be in the study", number, f"It has {len(trials)} trials, from 0.")
        record = record_of(trials[number])
        confirmed = self.ledger.attr(CONFIRMED_KEY, {}).get(str(number))
        known: dict[str, Any] = {"number": number, "state": trials[number].state.name, "confirmed": confirmed}
        if descent := self.lineage().to_dict(number):
            known["lineage"] = descent
        if record is None:
            return known | {
                "outcome": trials[number].state.name.lower(),
                "params": trials[number].params,
                "measurements": [],
                "violations": [],
                "stages": [],
            }
        return asdict(record) | known

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
        from autokd.evaluation.confirm import confirm
        from autokd.evaluation.finish import finish, finish_stopped
        from autokd.evaluation.parts import Parts
        from autokd.evaluation.stages import TrialDir
        from autokd.evaluation.threads import torch_threads

        with driving(self.ledger, self.home):
            trials = self.ledger.trials()
            found = record_of(trials[number]) if 0 <= number < len(trials) else None
            stopped = found if found is not None and found.outcome == Outcome.STOPPED else None
            if (stopped is None) == (samples is None):
                law = "`samples` must say how long a measured student is trained on, and a stopped trial takes none"
                value = (
                    f"{samples or 'none'} for trial {number}, {found.outcome.value if found else 'not in the study'}"
                )
                raise StudyError(law, value, "`autokd status` counts stopped trials; the dashboard lists them.")
            member = None if stopped else self.best(trial=number).member
            child = len(trials)
            parts = Parts.open(self.home)
            try:
                tell("training on", None)
                trial = TrialDir(self.home / "trials" / f"{child:05d}", parts.store)
                with torch_threads(self.plan.config.resources.cpus_per_trial):
                    if stopped is not None:
                        record = finish_stopped(number, stopped, parts, trial)
                    else:
                        assert member is not None and samples is not None
                        record = finish(member, samples, parts, trial)
            finally:
                parts.close()
            child = self.ledger.add(record, self.plan)
            known = dict(self.ledger.attr(CONFIRMED_KEY, {}))
            made = Member(child, record.params, {}, None, record.artifact, record)
            for _, values in confirm(self.plan, self.home, [made], tell):
                known[str(child)] = values
            self.ledger.set_attr(CONFIRMED_KEY, known)
            return child

    def retime(
        self,
        profiles: Sequence[str],
        name: str | None = None,
        *,
        front: bool = False,
        requantize: bool = True,
        watcher: Watcher | None = None,
    ) -> Study:
        """A new study of this one's students on other hardware, nothing trained; see :func:`autokd.warm_start.retime`."""
        from autokd import warm_start

        return warm_start.retime(self, profiles, name, front=front, requantize=requantize, watcher=watcher)[0]

    def _fronts(self) -> list[Member]:
        """The front by the objectives and by every profile: what is never dropped."""
        return [m for profile in (None, *(p.name for p in self.plan.profiles)) for m in self.front(profile)]

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
            return drop_rest(self.home, self._fronts(), resting)


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

    def export(self, path: str | Path) -> Path:
        """Write the ONNX file and its receipt beside it; returns the file's path.

        Raises:
            StudyError: The file is gone (``autokd gc``) or does not have the measured hash.
            StorageError: The place cannot be written.
        """
        from autokd.handover import hand_over

        return hand_over(self.study, self.member, Path(path))
