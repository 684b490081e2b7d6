"""What a study's students had right of each class, on the validation split and, once confirmed, on the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autokd.storage.attributes import CONFIRMED_CLASSES_KEY, FACTS_KEY
from autokd.storage.by_class import BY_CLASS, ByClass
from autokd.storage.results import Member
from autokd.study.opened import OpenStudy

Splits = tuple[ByClass | None, ByClass | None]
"""Of the validation split, and of the test split; ``None`` where nothing is on record."""


def classes_in(facts: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Names of the data's classes, in order, out of a study's facts; none before the data were prepared."""
    return tuple(map(str, ((facts or {}).get("data") or {}).get("classes") or ()))


def splits_of(
    notes: Mapping[str, Any], number: int, tested: Mapping[str, Any] | None, classes: Sequence[str]
) -> Splits:
    """What is on record of one trial.

    Args:
        notes: Of its record.
        number: The trial's.
        tested: What ``autokd confirm`` counted, by the trial's number as text.
        classes: Names of the classes; counts of another number of them are left out.
    """
    here, there = ByClass.read(notes.get(BY_CLASS)), ByClass.read((tested or {}).get(str(number)))
    fits = [None if found is None or len(found.of) != len(classes) else found for found in (here, there)]
    return fits[0], fits[1]


def classes_of(study: OpenStudy) -> tuple[str, ...]:
    """:func:`classes_in` of a study."""
    return classes_in(study.ledger.attr(FACTS_KEY))


def by_class(study: OpenStudy, found: Sequence[Member]) -> dict[int, Splits]:
    """:func:`splits_of` every member, by trial number."""
    tested, classes = study.ledger.attr(CONFIRMED_CLASSES_KEY, {}), classes_of(study)
    return {m.number: splits_of(m.record.notes, m.number, tested, classes) for m in found}


def splits_dict(splits: Splits) -> dict[str, Any]:
    """For ``--json``: ``{"by_class": {"validation": ..., "test": ...}}``; nothing where nothing is on record."""
    here, there = splits
    if here is None and there is None:
        return {}
    return {"by_class": {"validation": here and here.to_dict(), "test": there and there.to_dict()}}


def of_trial(study: OpenStudy, number: int, notes: Mapping[str, Any]) -> dict[str, Any]:
    """Likewise of one trial, whatever became of it, with the classes' names."""
    classes = classes_of(study)
    told = splits_dict(splits_of(notes, number, study.ledger.attr(CONFIRMED_CLASSES_KEY, {}), classes))
    return told | ({"classes": list(classes)} if told else {})
