"""What a study found: members of the front, selection, the hypervolume. Reads only; loads neither torch nor ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autokd.config.objectives import Objective
from autokd.config.plan import Plan
from autokd.errors import StudyError
from autokd.files import file_sha256
from autokd.pareto import hypervolume, knee, non_dominated
from autokd.storage.attributes import CONFIRMED_CLASSES_KEY, CONFIRMED_KEY
from autokd.storage.by_class import ByClass
from autokd.storage.ledger import Ledger, record_of
from autokd.trial import Outcome, ParamValue, TrialRecord

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Member:
    """A measured, feasible student.

    Args:
        number: Trial number.
        params: Its parameters.
        values: Value by objective, on the validation split and the profiles.
        confirmed: Quality on the test split, or ``None``.
        artifact: Path of the ONNX file.
        record: The trial's whole record.
    """

    number: int
    params: Mapping[str, ParamValue]
    values: Mapping[str, float]
    confirmed: Mapping[str, float] | None
    artifact: str | None
    record: TrialRecord

    def to_dict(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "params": dict(self.params),
            "values": dict(self.values),
            "confirmed": dict(self.confirmed) if self.confirmed else None,
            "artifact": self.artifact,
        }


def compared_with(facts: Mapping[str, Any]) -> tuple[str, Mapping[str, Any] | None]:
    """What a study holds its students against: ``"teacher"``, or without one ``"yardstick"``, the dearest root; and its facts.

    Args:
        facts: What preparation found; empty before.
    """
    teacher = facts.get("teacher")
    return ("teacher", teacher) if teacher or not facts.get("yardstick") else ("yardstick", facts["yardstick"])


def objectives_on(plan: Plan, profile: str | None) -> tuple[Objective, ...]:
    """The plan's objectives, those of a device moved to ``profile``.

    Raises:
        StudyError: The study was not measured on that profile.
    """
    if profile is None:
        return plan.objectives
    names = [p.name for p in plan.profiles]
    if profile not in names:
        mend = f"Measured: {', '.join(names)}. `autokd measure FILE --profile {profile}` times one file."
        raise StudyError("the study must have been measured on the profile", repr(profile), mend)
    moved = [replace(o, profile=profile) if o.profile else o for o in plan.objectives]
    return tuple(dict.fromkeys(moved))


def members(ledger: Ledger, plan: Plan, profile: str | None = None) -> list[Member]:
    """All measured, feasible students, in trial order."""
    confirmed = ledger.attr(CONFIRMED_KEY, {})
    objectives = objectives_on(plan, profile)
    found = []
    for trial in ledger.trials():
        record = record_of(trial)
        if record is None or record.outcome != Outcome.MEASURED or record.violations:
            continue
        values = {o.name: record.value(o.name) for o in objectives}
        whole = {name: value for name, value in values.items() if value is not None}
        if len(whole) == len(values):
            found.append(
                Member(trial.number, record.params, whole, confirmed.get(str(trial.number)), record.artifact, record)
            )
    return found


def keep_confirmed(ledger: Ledger, number: int, values: Mapping[str, float], by_class: ByClass) -> None:
    """Write down what the test split said of a trial's student: none is read twice."""
    kept = ((CONFIRMED_CLASSES_KEY, by_class.to_notes()), (CONFIRMED_KEY, dict(values)))
    for key, said in kept:  # the values last: who has them is confirmed
        ledger.set_attr(key, {**ledger.attr(key, {}), str(number): said})


def front(found: Sequence[Member], objectives: Sequence[Objective]) -> list[Member]:
    """The members that no other dominates, cheapest first; of equal ones the earliest."""
    if not found:
        return []
    values = _matrix(found, objectives)
    chosen = [
        m for m, keep in zip(found, non_dominated(values, [o.direction for o in objectives]), strict=True) if keep
    ]
    distinct: dict[tuple[float, ...], Member] = {}
    for member in chosen:
        distinct.setdefault(tuple(member.values.values()), member)
    cost = next((o.name for o in objectives if o.scale == "log"), objectives[-1].name)
    return sorted(distinct.values(), key=lambda m: m.values[cost])


def volume(found: Sequence[Member], objectives: Sequence[Objective], reference: Sequence[float] | None) -> float | None:
    """Hypervolume of the members over the reference point; ``None`` before there is one."""
    if reference is None or len(reference) != len(objectives):
        return None
    if not found:
        return 0.0
    return hypervolume(
        _matrix(found, objectives), reference, [o.direction for o in objectives], [o.scale for o in objectives]
    )


def checked_file(member: Member) -> Path:
    """The member's ONNX file, provided that it is the one that was measured.

    Raises:
        StudyError: It is gone or was changed.
    """
    path = Path(member.artifact or "")
    if not member.artifact or not path.is_file():
        mend = "Was it removed by `autokd gc`? The front's files are kept."
        raise StudyError(f"the file of trial {member.number} must be there", str(path), mend)
    if file_sha256(path) != member.record.artifact_sha256:
        raise StudyError(f"the file of trial {member.number} must be the measured one", f"{path} was changed")
    return path


def _matrix(found: Sequence[Member], objectives: Sequence[Objective]) -> np.ndarray:
    return np.array([[m.values[o.name] for o in objectives] for m in found], dtype=float)


def knee_row(front: pd.DataFrame, objectives: Sequence[Objective]) -> int:
    """The position of the best compromise among rows that have a column for each objective."""
    values = front[[o.name for o in objectives]].to_numpy(dtype=float)
    return knee(values, [o.direction for o in objectives], [o.scale for o in objectives])


def choose(
    found: Sequence[Member],
    objectives: Sequence[Objective],
    *,
    trial: int | None = None,
    max_latency_ms: float | None = None,
    min_accuracy: float | None = None,
    profile: str | None = None,
) -> Member:
    """One student: by number, the most accurate under a latency, the fastest above an accuracy, else the knee.

    Limits look at all students, not at the front alone: what is limited need not be an objective.

    Args:
        found: Measured, feasible students.
        objectives: The study's.
        trial: This one, whatever its values.
        max_latency_ms: At most this slow.
        min_accuracy: At least this accurate, ratio.
        profile: Where latency counts when it is no objective; every student is timed on every profile.

    Raises:
        StudyError: None qualifies; says which comes closest. Or ``trial`` and a limit at once.
    """
    if trial is not None and (max_latency_ms is not None or min_accuracy is not None):
        raise StudyError("a student is chosen by its trial or by limits", "both", "Give --trial, or the limits.")
    if trial is not None:
        for member in found:
            if member.number == trial:
                return member
        known = ", ".join(str(m.number) for m in front(found, objectives)) or "none yet"
        raise StudyError("the trial must be measured and feasible", trial, f"On the front: {known}.")
    best = front(found, objectives)
    if not best:
        raise StudyError("the study must have a measured student", "none", "`autokd status` says what happened.")
    latency = next((o.name for o in objectives if o.metric == "latency_ms"), None)
    latency = latency or (f"latency_ms@{profile}" if profile else None)
    if max_latency_ms is None and min_accuracy is None:
        return best[knee(_matrix(best, objectives), [o.direction for o in objectives], [o.scale for o in objectives])]
    cost = latency or next((o.name for o in objectives if o.scale == "log"), objectives[-1].name)
    pool = list(found)
    if max_latency_ms is not None:
        if latency is None:
            raise StudyError("--max-latency-ms needs a latency objective", [o.name for o in objectives])
        pool = [m for m in pool if _value(m, latency) <= max_latency_ms]
        if not pool:
            fastest = min(_value(m, latency) for m in found)
            raise StudyError(
                f"no student is that fast on {latency}", f"{max_latency_ms} ms", f"The fastest: {fastest:.4g} ms."
            )
    if min_accuracy is not None:
        accurate = [m for m in pool if (m.record.value("accuracy") or 0.0) >= min_accuracy]
        if not accurate:
            top = max(m.record.value("accuracy") or 0.0 for m in pool)
            raise StudyError("no student is that accurate", min_accuracy, f"The most accurate: {top:.4f}.")
        if max_latency_ms is None:
            return min(accurate, key=lambda m: (_value(m, cost), -_value(m, "accuracy")))
        pool = accurate
    quality = next((o for o in objectives if o.scale == "linear"), objectives[0])
    sign = 1.0 if quality.direction == "maximize" else -1.0
    return max(pool, key=lambda m: (sign * m.values[quality.name], -_value(m, cost)))


def _value(member: Member, name: str) -> float:
    """A measurement of a member, an objective or not; infinite where it was not measured."""
    value = member.values.get(name, member.record.value(name))
    return float("inf") if value is None else value
