"""Where a study stands, and all that is on record of a trial, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from autokd.errors import StudyError
from autokd.files import read_json
from autokd.storage.attributes import CONFIRMED_KEY, FACTS_KEY, RUNG_KEY, WALL_KEY
from autokd.storage.heartbeat import is_live
from autokd.storage.ledger import record_of
from autokd.storage.results import Member, objectives_on
from autokd.study.by_class import by_class, classes_of, of_trial, splits_dict
from autokd.study.opened import OpenStudy
from autokd.study.spent import spent_before
from autokd.trial import Outcome, Rung


def status(study: OpenStudy) -> dict[str, Any]:
    """Plain facts of where the study stands, what more search is expected to bring, and how well the proxy ranks."""
    trials = study.ledger.trials()
    records = [record_of(t) for t in trials]
    outcomes = {o.value: sum(r is not None and r.outcome == o for r in records) for o in Outcome}
    from autokd.strategies.job import counts
    from autokd.strategies.monitors import gate_trials, watch_trials

    gain = watch_trials(study.plan.objectives, study.reference_point, trials)[0].expected()
    proxy = gate_trials(study.plan.objectives, trials)
    facts = study.ledger.attr(FACTS_KEY) or {}
    return {
        "study": study.name,
        "state": study.state,
        "budget": study.plan.config.budget.model_dump(exclude_none=True),
        "counted": sum(r is not None and counts(r) for r in records),
        "outcomes": outcomes,
        "retimed": sum(r is not None and r.retimed is not None for r in records),
        "running": running(study),
        "cpu_s": sum(r.cpu_s for r in records if r is not None),
        "spent_cpu_s": spent_before(study, records),
        "wall_s": study.ledger.attr(WALL_KEY, 0.0),
        "front": len(study.front()),
        "hypervolume": study.hypervolume(),
        "expected_gain": gain.to_dict() | {"text": str(gain)},
        "proxy": proxy.to_dict() | {"text": str(proxy)},
        **_ladders(study),
        "teacher": facts.get("teacher"),
        "yardstick": facts.get("yardstick"),
        "home": str(study.home),
    }


def running(study: OpenStudy) -> list[dict[str, Any]]:
    """What runs now: trial number, stage, samples; on a ladder ``rung``, e.g. ``narrow of 9``."""
    found: list[dict[str, Any]] = []
    if not is_live(study.ledger):
        return found
    lineage = study.lineage()
    for trial in study.ledger.trials():
        if trial.state.name == "RUNNING":
            progress = read_json(study.home / "trials" / f"{trial.number:05d}" / "progress.json", {})
            if stated := trial.user_attrs.get(RUNG_KEY):
                progress = {**progress, "rung": lineage.named(Rung(**stated))}
            found.append({"number": trial.number, **progress})
    return found


def _ladders(study: OpenStudy) -> dict[str, Any]:
    """On a ladder, what each root and its descendants brought, in order; nothing for other studies."""
    from autokd.strategies import has_ladders
    from autokd.strategies.ladder.nodes import worth_of

    if not has_ladders(study.plan.config.search.strategy):
        return {}
    ended = sorted((t.datetime_complete, t.number, t) for t in study.ledger.trials() if t.datetime_complete)
    records = {number: r for _, number, t in ended if (r := record_of(t)) is not None}
    found = worth_of(study.plan.objectives, study.reference_point, records)
    return {"ladders": [asdict(worth) | {"gain_per_cpu_s": worth.rate} for worth in found]}


def front(study: OpenStudy, found: Sequence[Member], profile: str | None = None) -> dict[str, Any]:
    """A front as plain values; members that are rungs of a ladder, or descend from another trial, have a ``lineage``, and all
    that this version measured what they had right ``by_class``.

    Args:
        found: The front's members on ``profile``.
    """
    objectives, lineage = objectives_on(study.plan, profile), study.lineage()

    def descent(number: int) -> dict[str, Any]:
        told = lineage.to_dict(number)
        return {"lineage": told} if told else {}

    splits = by_class(study, found)
    return {
        "study": study.name,
        "objectives": [str(o) for o in objectives],
        "hypervolume": study.hypervolume() if objectives == study.plan.objectives else None,
        "reference_point": study.reference_point,
        "classes": list(classes_of(study)),
        "members": [m.to_dict() | descent(m.number) | splits_dict(splits[m.number]) for m in found],
    }


def trial(study: OpenStudy, number: int) -> dict[str, Any]:
    """Everything about one trial, as plain values.

    Raises:
        StudyError: No such trial.
    """
    trials = study.ledger.trials()
    if not 0 <= number < len(trials):
        raise StudyError("the trial must be in the study", number, f"It has {len(trials)} trials, from 0.")
    record = record_of(trials[number])
    confirmed = study.ledger.attr(CONFIRMED_KEY, {}).get(str(number))
    known: dict[str, Any] = {"number": number, "state": trials[number].state.name, "confirmed": confirmed}
    if descent := study.lineage().to_dict(number):
        known["lineage"] = descent
    if record is None:
        return known | {
            "outcome": trials[number].state.name.lower(),
            "params": trials[number].params,
            "measurements": [],
            "violations": [],
            "stages": [],
        }
    return asdict(record) | known | of_trial(study, number, dict(record.notes))
