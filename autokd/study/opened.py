"""A study as everything here reads it: its ledger, its plan, its folder, its students and its front."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from autokd.config.plan import Plan
from autokd.errors import StudyError
from autokd.storage import results
from autokd.storage.attributes import CONFIG_KEY, HOME_KEY, REFERENCE_KEY, STATE_KEY, VERSION_KEY
from autokd.storage.folders import home_beside, home_of, keep_within
from autokd.storage.heartbeat import is_live
from autokd.storage.ledger import Ledger, record_of, storage_url
from autokd.storage.lineage import Lineage
from autokd.storage.results import Member
from autokd.version import __version__

if TYPE_CHECKING:
    import optuna


class OpenStudy:
    """One study in a ledger, and its folder. What a person does with it is added by :class:`autokd.study.study.Study`."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.plan = Plan.from_json(ledger.attr(CONFIG_KEY))

    @classmethod
    def open(cls, name: str, storage: str | None = None) -> Self:
        """An existing study by name.

        Raises:
            StudyError: No such study.
            StorageError: The ledger cannot be reached.
        """
        return cls(Ledger.open(storage_url(storage), name))

    @classmethod
    def create(cls, plan: Plan, storage: str | None = None, more: Mapping[str, Any] | None = None) -> Self:
        """Put a new study and its whole configuration into the ledger, with ``more`` attributes.

        Raises:
            StudyError: The name is taken.
            StorageError: The ledger or the folder cannot be written.
        """
        url = storage_url(storage or plan.config.storage.url)
        home = home_of(plan, url)
        if Ledger.exists(url, plan.config.name):
            raise StudyError("a study's name must be free", repr(plan.config.name), "`autokd resume` goes on with it.")
        attrs = {CONFIG_KEY: plan.to_json(), HOME_KEY: str(home), VERSION_KEY: __version__, STATE_KEY: "created"}
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

    @property
    def state(self) -> str:
        """``preparing``, ``searching``, ``finished: ...``, ``stopped`` or ``interrupted``, by whatever it was."""
        stated = str(self.ledger.attr(STATE_KEY))
        return "interrupted" if stated in ("created", "preparing", "searching") and not is_live(self.ledger) else stated

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

    def lineage(self) -> Lineage:
        """Which trial's weights each trial goes on from: the ladders, and what :meth:`finish` added."""
        records = {t.number: record_of(t) for t in self.ledger.trials()}
        return Lineage.of_records({n: r for n, r in records.items() if r is not None})

    def fronts(self) -> list[Member]:
        """The front by the objectives and by every profile: what is never dropped."""
        return [m for profile in (None, *(p.name for p in self.plan.profiles)) for m in self.front(profile)]

    def keep_within(self) -> None:
        """Keep the study's folder within its bound."""
        keep_within(self.home, self.plan.config.storage.max_gb * 1e9, self.fronts)
