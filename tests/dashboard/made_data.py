"""Data whose mistakes are known, and a study that was searched on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autokd.data.dataset_store import save_dataset
from autokd.protocols import Dataset, InputSpec, Splits
from autokd.storage.attributes import FACTS_KEY
from autokd.study.study import Study

CLASSES = tuple(str(i) for i in range(10))


def dataset(classes: tuple[str, ...] = CLASSES, kind: str = "image") -> Dataset:
    """60 samples, of which the last 40 are the validation split; sample k is of class k % classes."""
    rng = np.random.default_rng(0)
    if kind == "image":
        inputs = rng.integers(0, 17, (60, 1, 8, 8)).astype(np.float32)
        spec = InputSpec("image", (1, 8, 8), "float32", (8.0,), (4.0,), 0.0, 16.0)
    else:
        inputs = np.stack([rng.normal(size=60), rng.integers(0, 3, 60)], axis=1).astype(np.float32)
        spec = InputSpec(
            "tabular", (2,), "float32", (0.0, 0.0), (1.0, 1.0),
            facts={"cardinalities": (0, 2), "features": ("age", "job"), "categories": ((), ("cook", "judge"))},
        )  # fmt: skip
    index = np.arange(60)
    splits = Splits(index[:10], index[20:], index[10:15], index[15:20])
    return Dataset("tiny", inputs, index % len(classes), classes, spec, splits, "d")


def give_data(study: Study, data: Dataset) -> Path:
    """Put the data where the study says; trial n's scores then have all but 3 samples right."""
    folder = save_dataset(data, study.root / "datasets")
    facts = dict(study.ledger.attr(FACTS_KEY))
    study.ledger.set_attr(FACTS_KEY, facts | {"data": {"fingerprint": data.fingerprint, "folder": str(folder)}})
    for number in range(5):
        np.save(study.home / "trials" / f"{number:05d}" / "validation_scores.npy", scores_of(data))
    return folder


def scores_of(data: Dataset) -> np.ndarray:
    """Right but for samples 0, 1 and 2, which are said to be of the next class, with 2 the surest."""
    targets = data.targets[data.splits.validation]
    scores = np.zeros((len(targets), len(data.classes)), np.float32)
    scores[np.arange(len(targets)), targets] = 5.0
    for k in (0, 1, 2):
        scores[k] = 0.0
        scores[k, (targets[k] + 1) % len(data.classes)] = 3.0 + k
    return scores
