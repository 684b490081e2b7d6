"""The test split, read once for the students of the front, after the search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from autokd.config.plan import Plan
from autokd.deployment.verify import scores as file_scores
from autokd.evaluation.parts import Parts
from autokd.evaluation.stages.measure import qualities
from autokd.evaluation.teacher import obtain_teacher
from autokd.files import digest, save_array
from autokd.storage.by_class import ByClass
from autokd.storage.results import Member, checked_file


def confirm(
    plan: Plan, home: Path, waiting: Sequence[Member], tell: Callable[[str, float | None], None]
) -> Iterator[tuple[Member, dict[str, float], ByClass]]:
    """Quality of each member's file on the test split, with standard errors as ``<metric>_se``, its latency again, and
    how many samples of each class it had right.

    Raises:
        StudyError: A file is gone or was changed since it was measured.
    """
    parts = Parts.open(home)
    try:
        index = parts.dataset.splits.test
        inputs, targets = np.asarray(parts.dataset.inputs[index]), np.asarray(parts.dataset.targets[index])
        metrics = list(dict.fromkeys([*parts.wanted, "recall_min"]))
        teacher = _teacher_test(parts, inputs, tell) if "agreement" in metrics else None
        for place, member in enumerate(waiting):
            tell("confirm on the test split", place / len(waiting))
            with parts.pace():
                scores = file_scores(checked_file(member), inputs)
            found = {}
            for m in qualities(metrics, scores, targets, teacher):
                found[m.metric] = m.value
                found[f"{m.metric}_se"] = float(m.spread or 0.0)
            for profile in parts.plan.profiles:  # once more, one after the other: what the hours between trials did
                found[f"latency_ms@{profile.name}"] = parts.meter.measure(checked_file(member), profile.name).p50_ms
            yield member, found, ByClass.count(scores, targets)
    finally:
        parts.close()


def _teacher_test(parts: Parts, inputs: np.ndarray, tell: Callable[[str, float | None], None]) -> np.ndarray:
    """The teacher's logits on the test split, computed once."""
    root = parts.root
    place = root / "banks" / f"test-{digest([parts.setup.teacher, parts.dataset.fingerprint])[:32]}.npy"
    if not place.exists():
        teacher = obtain_teacher(parts.plan, parts.dataset, root / "teachers", parts.device, parts.pace, tell)
        save_array(place, teacher.logits(inputs).astype(np.float32))
    found: np.ndarray = np.load(place, allow_pickle=False)
    return found
