"""What the driver hands out and keeps count of: jobs, and where a search stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from autokd.config.plan import Plan
from autokd.storage.attributes import RUNG_KEY
from autokd.trial import Candidate, Origin, Outcome, ParamValue, Rung, TrialRecord, Tutor


@dataclass(frozen=True)
class Job:
    """One candidate to evaluate."""

    number: int
    candidate: Candidate
    folder: Path
    origin: Origin | None = None
    """The trained weights that the candidate's rung goes on from."""
    shares: tuple[float, ...] = ()
    """Checkpoint shares of the training, where it rests and halving is asked; see :func:`autokd.runners.evaluator.going_on`."""
    continues: int | None = None
    """The stopped trial whose training it goes on with."""
    tutor: Tutor | None = None
    """The student that teaches it, where the study has no teacher."""

    def to_dict(self) -> dict[str, Any]:
        """What a worker needs, in plain values."""
        rung = self.candidate.rung
        return {
            "number": self.number,
            "params": dict(self.candidate.params),
            "folder": str(self.folder),
            "rung": asdict(rung) if rung else None,
            "tutor": asdict(self.tutor) if self.tutor else None,
            "origin": list(astuple(self.origin)) if self.origin else None,
            "shares": list(self.shares),
            "until": self.shares[0] if self.shares else None,
        }


@dataclass(frozen=True)
class Tally:
    """Where a search stands."""

    counted: int
    measured: int
    rejected: int
    failed: int
    stopped: int
    running: int
    cpu_s: float
    wall_s: float


def counts(record: TrialRecord) -> bool:
    """Whether a trial counts towards ``budget.trials``: it began training, or found its training in the store.

    The child that ``autokd finish`` adds does not: no search asked for it. Nor does one that goes on with a stopped trial:
    its candidate was counted when it was stopped.
    """
    return (
        record.began_training
        and (record.parent is None or record.rung is not None)
        and record.retimed is None
        and record.continues is None
        and record.outcome in (Outcome.MEASURED, Outcome.STOPPED, Outcome.FAILED)
        and not record.notes.get("retried")
    )


def rung_of(attrs: Mapping[str, Any]) -> Rung | None:
    stated = attrs.get(RUNG_KEY)
    return Rung(**stated) if stated else None


def searched(params: Mapping[str, ParamValue], plan: Plan) -> dict[str, ParamValue]:
    names = {p.name for p in plan.space.parameters}
    return {k: v for k, v in params.items() if k in names}
