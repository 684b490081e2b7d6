"""What evaluation left of a student in its trial's folder, read for a page: curves, blocks, and where its file errs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autokd import registry
from autokd.data.dataset_store import open_dataset
from autokd.errors import StudyError
from autokd.evaluation.metrics import confusion
from autokd.figures import Block, read_blocks
from autokd.files import read_json
from autokd.protocols import CurvePoint

SHOWN = 12
"""Mistakes that are shown."""
SIDE = 112
"""Pixels of a thumbnail, about."""


@dataclass(frozen=True)
class Mistake:
    """A sample that the file takes for another class: ``confidence`` is the probability it gives to ``said``."""

    truth: str
    said: str
    confidence: float


@dataclass(frozen=True, eq=False)
class Judged:
    """A file's answers on the validation split.

    Args:
        classes: Names, in order.
        matrix: ``(classes, classes) int64``: row = true class, column = predicted class.
        mistakes: The most confident wrong answers, worst first.
        pictures: Of these mistakes, ``(H, W) uint8`` or ``(H, W, 3) uint8`` each; empty of data that are shown as rows.
        rows: Of these mistakes, the raw features; ``None`` of pictures.
    """

    classes: tuple[str, ...]
    matrix: np.ndarray
    mistakes: tuple[Mistake, ...]
    pictures: tuple[np.ndarray, ...] = ()
    rows: pd.DataFrame | None = None

    @property
    def samples(self) -> int:
        return int(self.matrix.sum())

    @property
    def wrong(self) -> int:
        return self.samples - int(np.trace(self.matrix))

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.matrix)) / self.samples


# ------------------------------------------------------------------------------------------------ small files


def curve(folder: Path, name: str = "curve.json") -> tuple[CurvePoint, ...]:
    """A learning curve; empty where there is none, damaged points are left out."""
    found = []
    raw = read_json(folder / name)
    for row in raw if isinstance(raw, list) else ():
        try:
            point = CurvePoint(
                int(row["samples"]), float(row["loss"]), float(row["validation_accuracy"]), float(row["cpu_s"])
            )
        except (KeyError, TypeError, ValueError):
            continue
        found.append(point)
    return tuple(found)


def blocks(folder: Path) -> tuple[Block, ...]:
    """What the student is made of; empty where its family does not say."""
    return read_blocks(read_json(folder / "blocks.json"))


def scores_file(folder: Path) -> Path:
    """The file's scores on the validation split.

    Raises:
        StudyError: They are gone.
    """
    found = folder / "validation_scores.npy"
    if not found.is_file():
        mend = "Scores of students that are not on the front are removed when a search ends, and by `autokd gc`."
        raise StudyError(f"the scores of trial {int(folder.name)} must be in its folder", "none", mend)
    return found


def traceback_of(folder: Path) -> str | None:
    """What a trial's process said at its end; ``None`` when it left nothing."""
    try:
        return (folder / "error.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def data_folder(facts: Mapping[str, Any], root: Path) -> Path:
    """The study's copy of the data, below ``root``, what the studies of its ledger share.

    Raises:
        StudyError: The study does not name it, or it is gone.
    """
    stated = (facts.get("data") or {}).get("folder")
    if not isinstance(stated, str) or not stated:
        raise StudyError("the study must say where its data are", "nothing", "`autokd resume` prepares them again.")
    folder = (
        root / "datasets" / Path(stated).name
    )  # wherever the ledger says that it is: a foreign one may name any folder
    if (folder / "dataset.json").is_file():
        return folder
    raise StudyError("the study's copy of the data must be there", "none", "`autokd resume` writes it again.")


def stamp(*files: Path) -> tuple[tuple[str, int, int], ...]:
    """Differs when a file was written again."""
    return tuple((str(f), s.st_size, s.st_mtime_ns) for f in files if (s := f.stat()))


# ------------------------------------------------------------------------------------------------ where it errs


def judge(scores_at: Path, data_at: Path, fingerprint: str | None = None) -> Judged:
    """Compare a file's scores with the validation split.

    Args:
        scores_at: ``(N, classes) float32`` logits, one row a validation sample.
        data_at: Folder of the data set.
        fingerprint: The data that the study was run on; ``None`` if not known.

    Raises:
        ConfigError: The data's modality is not installed here.
        StudyError: Scores and data do not belong together.
        StorageError: The data are not whole.
    """
    data = open_dataset(data_at)
    if fingerprint is not None and data.fingerprint != fingerprint:
        raise StudyError("the copy of the data must be the study's", "another data set", "Was the folder used again?")
    index = data.splits.validation
    targets = np.asarray(data.targets)[index].astype(np.int64)
    try:
        scores = np.load(scores_at, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StudyError(
            "the scores must be readable", type(error).__name__, "The trial's folder is damaged."
        ) from None
    if scores.shape != (len(targets), len(data.classes)) or not len(targets):
        law = f"the scores must be of {len(targets):,} validation samples and {len(data.classes)} classes"
        raise StudyError(law, f"an array of shape {scores.shape}", "The trial's folder was changed.")
    said, sure = answers(scores)
    wrong = np.flatnonzero(said != targets)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:SHOWN]
    mistakes = tuple(Mistake(data.classes[targets[i]], data.classes[said[i]], float(sure[i])) for i in worst)
    matrix = confusion(scores, targets, len(data.classes))
    where = np.asarray(index[worst])
    shown = registry.load("modalities", data.spec.kind)().show(data.inputs, data.spec, where, SIDE)
    rows = None if shown.columns is None else pd.DataFrame(shown.columns)
    return Judged(data.classes, matrix, mistakes, shown.pictures, rows)


def answers(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class ``(N,) int64`` that logits ``(N, classes)`` say, and the probability ``(N,)`` that they give it."""
    said = np.asarray(scores.argmax(axis=1), dtype=np.int64)
    top = np.take_along_axis(scores, said[:, None], axis=1)
    return said, 1.0 / np.exp(np.asarray(scores, dtype=np.float64) - top).sum(axis=1)


def confusions(judged: Judged, most: int = 20) -> pd.DataFrame:
    """The most frequent confusions, one a row: ``is``, ``said``, ``samples``, ``of the class (%)``."""
    counts = judged.matrix.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    true, said = np.unravel_index(order, counts.shape)
    keep = counts[true, said] > 0
    true, said = true[keep], said[keep]
    totals = np.maximum(judged.matrix.sum(axis=1), 1)
    return pd.DataFrame(
        {
            "is": [judged.classes[i] for i in true],
            "said": [judged.classes[j] for j in said],
            "samples": counts[true, said],
            "of the class (%)": 100.0 * counts[true, said] / totals[true],
        }
    )


def class_table(judged: Judged) -> pd.DataFrame:
    """One row a class, the least accurate first: ``class``, ``accuracy (%)``, ``samples``."""
    totals = judged.matrix.sum(axis=1)
    share = 100.0 * np.diag(judged.matrix) / np.maximum(totals, 1)
    frame = pd.DataFrame({"class": list(judged.classes), "accuracy (%)": share, "samples": totals})
    return frame[totals > 0].sort_values("accuracy (%)", kind="stable").reset_index(drop=True)
