"""Train, validation, calibration and test: stratified, seeded and disjoint."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autokd.errors import DataError
from autokd.protocols import Splits

CALIBRATION_SHARE = 0.05
"""Of the train split: what calibration may take, unless the classes are many and the samples few."""


def make_splits(
    n: int,
    targets: np.ndarray,
    seed: int,
    *,
    test: np.ndarray | None = None,
    validation: np.ndarray | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float = 0.15,
    calibration: int = 256,
    classes: Sequence[str] = (),
) -> Splits:
    """Disjoint sorted index arrays in which every class keeps its share.

    A class always keeps a sample in train; then validation is served, then test, then calibration. Fractions are of the
    samples outside the official splits. Calibration (used only to calibrate int8) takes at most ``calibration`` and
    about 5 % of the train samples, every class once where that is possible.

    Args:
        n: Number of samples.
        targets: ``(n,) int64`` class indices.
        seed: The same seed gives the same splits.
        test: Official test indices; taken as they are, no test samples are cut.
        validation: Official validation indices, likewise.
        validation_fraction: In (0, 1).
        test_fraction: In (0, 1).
        calibration: Largest number of calibration samples.
        classes: Names for messages; the indices where it is empty.

    Raises:
        DataError: A class is empty or too small, a split would be empty, or the official indices cannot be used.
    """
    names = list(classes) or [str(c) for c in range(int(targets.max(initial=-1)) + 1)]
    official = {"test": _official("test", test, n), "validation": _official("validation", validation, n)}
    _check_overlap(official["test"], official["validation"])
    free = np.ones(n, dtype=bool)
    for index in official.values():
        if index is not None:
            free[index] = False
    pool = np.flatnonzero(free)
    counts = np.bincount(targets[pool], minlength=len(names))
    cut_validation, cut_test = validation is None, test is None
    _check_counts(np.bincount(targets, minlength=len(names)), counts, names, 2 if cut_validation else 1)

    take_validation = _share(counts, validation_fraction, keep=1) if cut_validation else np.zeros_like(counts)
    take_test = np.zeros_like(counts)
    if cut_test:
        # Validation is served first, so a class of two samples has one to learn from and one to be selected on.
        take_test = np.minimum(_share(counts, test_fraction, keep=1), counts - take_validation - 1)
    left = counts - take_validation - take_test
    take_calibration = allocate(left, _calibration_size(left, calibration), keep=1)

    ordered, rank = _ranked(pool, targets, seed)
    label = targets[ordered]
    ends = np.cumsum([take_validation, take_test, take_calibration], axis=0)
    part = (rank[None, :] >= ends[:, label]).sum(axis=0)
    cut = [np.sort(ordered[part == k]) for k in range(4)]
    splits = Splits(
        train=cut[3],
        validation=cut[0] if official["validation"] is None else official["validation"],
        calibration=cut[2],
        test=cut[1] if official["test"] is None else official["test"],
    )
    for name in ("train", "validation", "calibration", "test"):
        if len(getattr(splits, name)) == 0:
            raise DataError(
                "train, validation, calibration and test must each have a sample",
                f"none for {name} out of {n} samples in {len(names)} classes",
                "Give more samples, or raise the `calibration` option if it is 0.",
            )
    return splits


def limit_train(train: np.ndarray, targets: np.ndarray, limit: int, seed: int, classes: Sequence[str]) -> np.ndarray:
    """A stratified seeded subset of ``limit`` training samples, sorted; at least one of every class.

    Raises:
        DataError: ``limit`` is below the number of classes.
    """
    if limit < len(classes):
        raise DataError(
            "`limit` must leave at least one training sample for each class",
            f"limit {limit} for {len(classes)} classes",
            f"Use {len(classes)} or more.",
        )
    if limit >= len(train):
        return train
    counts = np.bincount(targets[train], minlength=len(classes))
    take = allocate(counts, limit, keep=0)
    ordered, rank = _ranked(train, targets, seed)
    return np.sort(ordered[rank < take[targets[ordered]]])


def allocate(counts: np.ndarray, total: int, keep: int) -> np.ndarray:
    """How many of each class make up ``total`` in proportion: at least one each if ``total`` allows, largest remainder.

    Args:
        counts: ``(classes,) int64`` samples there are.
        total: Samples wanted; fewer are given where ``keep`` does not leave that many.
        keep: Samples of each class that must remain.
    """
    room = np.maximum(counts - keep, 0)
    total = min(int(total), int(room.sum()))
    if total <= 0:
        return np.zeros_like(room)
    quota = total * room / room.sum()
    take = np.minimum(np.floor(quota).astype(np.int64), room)
    if total >= np.count_nonzero(room):
        take = np.maximum(take, np.minimum(room, 1))
    while (missing := total - int(take.sum())) > 0:
        open_classes = np.flatnonzero(take < room)
        best = open_classes[np.argsort((take - quota)[open_classes], kind="stable")][:missing]
        take[best] += 1
    while take.sum() > total:  # the ones given to tiny classes come from those furthest above their quota
        take[np.argmax(np.where(take > 1, take - quota, -np.inf))] -= 1
    return take


def _share(counts: np.ndarray, fraction: float, keep: int) -> np.ndarray:
    """A fraction of every class, rounded, at least one, leaving ``keep``."""
    wanted = np.maximum(np.floor(counts * fraction + 0.5).astype(np.int64), 1)
    return np.maximum(np.minimum(wanted, counts - keep), 0)


def _calibration_size(left: np.ndarray, most: int) -> int:
    total = int(left.sum())
    # One of each class is worth more than 5 %, but a tenth of a small train split is the limit.
    wanted = max(round(CALIBRATION_SHARE * total), min(len(left), total // 10), 1)
    return min(most, wanted)


def _ranked(pool: np.ndarray, targets: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The pool grouped by class in seeded order, and each sample's place within its class."""
    mixed = np.random.default_rng(seed & (2**64 - 1)).permutation(pool)
    ordered = mixed[np.argsort(targets[mixed], kind="stable")]
    _, first, size = np.unique(targets[ordered], return_index=True, return_counts=True)
    return ordered, np.arange(len(ordered)) - np.repeat(first, size)


def _official(name: str, index: np.ndarray | None, n: int) -> np.ndarray | None:
    if index is None:
        return None
    index = np.asarray(index)
    law = f"the source's {name} split must be distinct integer indices below {n}"
    if index.ndim != 1 or index.dtype.kind not in "iu" or len(index) == 0:
        raise DataError(law, f"an array of shape {index.shape} and type {index.dtype}", "Return None to have one cut.")
    if index.min() < 0 or index.max() >= n:
        raise DataError(law, f"indices from {index.min()} to {index.max()}", "Check the source.")
    unique = np.unique(index).astype(np.int64)
    if len(unique) != len(index):
        raise DataError(law, f"{len(index) - len(unique)} repeated indices", "Check the source.")
    return unique


def _check_overlap(test: np.ndarray | None, validation: np.ndarray | None) -> None:
    if test is None or validation is None:
        return
    both = np.intersect1d(test, validation)
    if len(both):
        raise DataError("test and validation must be disjoint", f"{len(both)} samples in both", "Check the source.")


def _check_counts(everywhere: np.ndarray, counts: np.ndarray, names: Sequence[str], least: int) -> None:
    for name, total, count in zip(names, everywhere.tolist(), counts.tolist(), strict=True):
        if total == 0:
            raise DataError(
                "every class must have samples", f"class {name!r} with 0", "Add samples or remove the class."
            )
        if count < least:
            reason = "one to train on, one to validate" if least == 2 else "to train on"
            wanted = f"at least {least} sample{'s' * (least > 1)} outside the official splits ({reason})"
            raise DataError(
                f"every class must have {wanted}",
                f"class {name!r} with {count}",
                "Add samples of it or remove the class.",
            )
