"""What a receipt says of how to decide by a file's scores: thresholds for two classes, chosen on the validation split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autokd.data.dataset_store import open_dataset
from autokd.deployment.thresholds import thresholds
from autokd.errors import StudyError, UserError, nearest
from autokd.protocols import Dataset
from autokd.storage.attributes import FACTS_KEY
from autokd.storage.results import Member
from autokd.study.by_class import classes_in
from autokd.study.opened import OpenStudy

TWO = 2
RULE = (
    "positive where scores[positive] - scores[negative] >= score_difference (nats); "
    "the same as softmax(scores)[positive] >= probability (in [0, 1]), which may be rounded"
)


def check_positive(classes: Sequence[str], positive: str | None) -> None:
    """Refuse a positive class that cannot be one.

    Raises:
        StudyError: An unknown class, or more than two classes.
    """
    if positive is None:
        return
    if positive not in classes:
        raise StudyError("the positive class must be one of the data's", repr(positive), nearest(positive, classes))
    if len(classes) != TWO:
        law = "a positive class is for data of two classes"
        raise StudyError(law, f"{len(classes)} classes", "Leave --positive out: the largest score decides.")


def decision(study: OpenStudy, member: Member, positive: str | None = None) -> dict[str, Any]:
    """The receipt's ``decision``: the rule, the split, and for two classes thresholds with what they reach.

    With more classes the largest score decides: thresholds of one class against the rest would leave samples with several classes
    or none. Nothing is taken from the test split.

    Args:
        study: The study.
        member: The student.
        positive: Name of the positive class; by default the rarer one of the train split.
    """
    facts = study.ledger.attr(FACTS_KEY) or {}
    classes = list(classes_in(facts))
    said: dict[str, Any] = {"split": "validation", "rule": "the class with the largest score", "thresholds": None}
    if len(classes) != TWO:
        return said | {"why": f"thresholds are for two classes; the data have {len(classes)}"}
    try:
        data = _data(study, facts)
        scores = _scores(study, member, data)
        targets = np.asarray(data.targets, dtype=np.int64)
        counts = np.bincount(targets[data.splits.train], minlength=TWO)
        chosen = int(counts.argmin()) if positive is None else classes.index(positive)
        found = thresholds(scores, targets[data.splits.validation], chosen)
    except (UserError, ValueError, OSError) as error:
        return said | {"why": f"they could not be chosen: {error}"}
    return {
        "split": "validation",
        "samples": len(scores),
        "positive": classes[chosen],
        "negative": classes[1 - chosen],
        "positive_because": "the rarer class of the train split" if positive is None else "it was asked for",
        "rule": RULE,
        "thresholds": [t.to_dict() for t in found],
        "note": "chosen on the split that they are judged on: expect a little less of other samples",
    }


def _data(study: OpenStudy, facts: dict[str, Any]) -> Dataset:
    """The study's copy of the data.

    Raises:
        StudyError: It is another data set.
        UserError: It is not there.
    """
    stated = facts.get("data") or {}
    data = open_dataset(study.root / "datasets" / Path(str(stated.get("folder") or "none")).name)
    if data.fingerprint != stated.get("fingerprint"):
        raise StudyError("the copy of the data must be the study's", "another data set")
    return data


def _scores(study: OpenStudy, member: Member, data: Dataset) -> np.ndarray:
    """The file's scores ``(N, 2)`` on the validation split.

    Raises:
        StudyError: They are gone, or of other data.
    """
    file = study.home / "trials" / f"{member.number:05d}" / "validation_scores.npy"
    if not file.is_file():
        raise StudyError("the scores of the student must be in its trial's folder", "none")
    scores: np.ndarray = np.load(file, allow_pickle=False)
    if scores.shape != (len(data.splits.validation), len(data.classes)):
        raise StudyError("the scores must be of the validation split", f"an array of shape {scores.shape}")
    return scores
