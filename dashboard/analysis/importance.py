"""Why a study came out as it did: what parameters matter, and whether a teacher helps; columns in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from autokd.config.objectives import Objective
from autokd.storage.lineage import INHERITS
from autokd.trial import Outcome

FEWEST = 20
"""Trials below which a forest's importances are noise."""
MOST = 3000
"""Trials that a forest or a bootstrap reads; of more a sample."""
LEAST_R2 = 0.1
"""A forest that explains less than this of unseen trials has nothing to say about parameters."""
FOLDS, TREES, A_TREE, HELD_OUT = 5, 60, 1000, 200
"""Of a forest: folds, trees, trials that a tree reads, and trials of a fold that are shuffled."""
DRAWS = 1000
FEWEST_A_SIDE, FEWEST_IN_BAND = 5, 3
NO_TEACHER = "none"


# ------------------------------------------------------------------------------------------------ importance


@dataclass(frozen=True)
class Importance:
    """What a random forest reads out of the parameters about one objective.

    Args:
        objective: Which; a cost is taken in its logarithm.
        trials: Measured trials with a value of it.
        used: How many of them the forest read.
        r2: Share of the variance of unseen trials that it explains; ``None`` when there were too few.
        table: One row a parameter, most important first: ``parameter``; ``importance``, the share of the variance that
            hangs on it, alone or together with others; ``error``, its standard deviation over the folds.
        constant: Parameters that are the same in every trial.
        refusal: Why there is no table; empty when there is one.
    """

    objective: Objective
    trials: int
    used: int
    r2: float | None = None
    table: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["parameter", "importance", "error"]))
    constant: tuple[str, ...] = ()
    refusal: str = ""


def free_choices(frame: pd.DataFrame) -> pd.DataFrame:
    """The trials whose parameters were chosen: a ladder's rungs below its roots follow from their parents.

    Their shapes were cut, which parameters do not say, and they had the training of all their ancestors.
    """
    if "rung" not in frame.columns:
        return frame
    below = frame["rung"].isin(INHERITS)
    return frame[~below] if below.any() else frame


def measured_on(frame: pd.DataFrame, objective: Objective) -> pd.DataFrame:
    """Trials that were measured to the end with a usable value, also those outside a constraint: they teach as much."""
    if objective.name not in frame.columns:
        return frame.iloc[:0]
    values = frame[objective.name].to_numpy(dtype=float)
    keep = np.isfinite(values) & (frame["outcome"] == Outcome.MEASURED).to_numpy(dtype=bool)
    if objective.scale == "log":
        keep &= np.nan_to_num(values) > 0
    return frame[keep]


def parameters_of(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The names of the parameters that differ between trials, and of those that do not; absent is a value of its own."""
    known = [str(c) for c in frame.columns if str(c).startswith("params_") and frame[c].notna().any()]
    varied = [c for c in known if frame[c].nunique(dropna=False) > 1]
    return [c.removeprefix("params_") for c in varied], [c.removeprefix("params_") for c in known if c not in varied]


def encoded(column: pd.Series) -> np.ndarray:
    """A parameter as numbers ``(n,) float``: names in alphabetical order, an absent one below all others.

    The order of names is arbitrary, but a tree cuts an ordered axis as often as it needs.
    """
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(dtype=float, na_value=np.nan)
        known = values[np.isfinite(values)]
        below = known.min() - max(1.0, float(np.ptp(known))) if len(known) else 0.0
        return np.where(np.isfinite(values), values, below)
    texts = column.map(str, na_action="ignore")
    codes, _ = pd.factorize(texts, sort=True, use_na_sentinel=True)
    return codes.astype(float)


def importance(frame: pd.DataFrame, objective: Objective, seed: int = 0) -> Importance:
    """Permutation importance of the parameters in a random forest, on trials that the forest has not seen.

    Leo Breiman: "Random Forests", Machine Learning 45, 2001, https://doi.org/10.1023/A:1010933404324 (section 10).
    In each of five folds a forest is fitted to the others; the importance of a parameter is half of that by which its
    squared error on the fold grows when that parameter's values are shuffled there, over the variance of all trials.
    The half makes it a share: with independent parameters shuffling adds twice the variance that hangs on one of them
    (B. Gregorutti, B. Michel, P. Saint-Pierre: "Correlation and variable importance in random forests", Statistics and
    Computing 27, 2017, https://arxiv.org/abs/1310.5726). Parameters that go together share what they have in common.

    Args:
        frame: Columns of :attr:`autokd.storage.reader.TrialReader.frame`.
        objective: What is explained.
        seed: Of the sample, the folds, the trees and the shuffles.
    """
    rows = measured_on(frame, objective)
    total = len(rows)
    if total < FEWEST:
        why = f"{total} of the at least {FEWEST} measured trials that this needs are there"
        return Importance(objective, total, total, refusal=why)
    rng = np.random.default_rng(seed)
    if total > MOST:
        rows = rows.iloc[np.sort(rng.choice(total, MOST, replace=False))]
    names, constant = parameters_of(rows)
    y = rows[objective.name].to_numpy(dtype=float)
    y = np.log(y) if objective.scale == "log" else y
    if not names or float(np.var(y)) == 0:
        why = "no parameter differs between the trials" if not names else "every trial has the same value"
        return Importance(objective, total, len(rows), constant=tuple(constant), refusal=why)
    x = np.stack([encoded(rows[f"params_{n}"]) for n in names], axis=1)
    r2, by_fold = _shuffled(x, y, rng)
    if r2 < LEAST_R2:
        why = (
            f"a forest that knows the parameters explains {max(0.0, r2):.0%} of the variation in trials that it has not "
            "seen: which of them it looks at means nothing"
        )
        return Importance(objective, total, len(rows), r2, constant=tuple(constant), refusal=why)
    table = pd.DataFrame({"parameter": names, "importance": by_fold.mean(axis=0), "error": by_fold.std(axis=0, ddof=1)})
    table = table.sort_values("importance", ascending=False, ignore_index=True, kind="stable")
    return Importance(objective, total, len(rows), r2, table, tuple(constant))


def _shuffled(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """R2 on held-out rows, and the importances ``(folds, parameters)`` of ``x (n, parameters)`` for ``y (n,)``."""
    from sklearn.ensemble import RandomForestRegressor  # half a second that only this needs

    n, width = x.shape
    place = rng.permutation(n) % FOLDS
    predicted, found = np.empty(n), np.zeros((FOLDS, width))
    for fold in range(FOLDS):
        seen, held = place != fold, np.flatnonzero(place == fold)
        forest = RandomForestRegressor(
            TREES, min_samples_leaf=2, max_features=0.5, max_samples=min(A_TREE, int(seen.sum())),
            random_state=int(rng.integers(2**31)), n_jobs=1,
        )  # fmt: skip
        forest.fit(x[seen], y[seen])
        predicted[held] = forest.predict(x[held])
        some = held[:HELD_OUT] if len(held) <= HELD_OUT else rng.choice(held, HELD_OUT, replace=False)
        times = max(3, math.ceil(HELD_OUT / len(some)))  # few rows are shuffled more often
        blocks = np.tile(x[some], (width, times, 1, 1))  # (parameters, times, rows, parameters)
        for j in range(width):
            for k in range(times):
                blocks[j, k, :, j] = rng.permutation(x[some, j])
        shuffled = forest.predict(blocks.reshape(-1, width)).reshape(width, times, len(some))
        worse = (shuffled - y[some]) ** 2 - (predicted[some] - y[some]) ** 2
        found[fold] = worse.mean(axis=(1, 2)) / (2 * np.var(y))
    return 1.0 - float(np.mean((predicted - y) ** 2) / np.var(y)), found


def association(frame: pd.DataFrame, names: Sequence[str], objective: Objective, bins: int = 8) -> pd.Series:
    """How much of an objective each parameter alone goes along with: epsilon squared, by name, greatest first.

    The share of the variance between groups of equal values (``bins`` groups of a continuous one), less what as many
    groups would explain by chance. T. L. Kelley: "An unbiased correlation ratio measure", PNAS 21, 1935.
    """
    rows = measured_on(frame, objective)
    y = rows[objective.name].to_numpy(dtype=float)
    y = np.log(y) if objective.scale == "log" else y
    found = {}
    for name in names:
        codes = encoded(rows[f"params_{name}"])
        if len(np.unique(codes)) > bins:
            codes = np.searchsorted(np.unique(np.quantile(codes, np.linspace(0, 1, bins + 1)[1:-1])), codes)
        _, group = np.unique(codes, return_inverse=True)
        counts = np.bincount(group)
        between = float((counts * (np.bincount(group, weights=y) / counts - y.mean()) ** 2).sum())
        whole, free = float(((y - y.mean()) ** 2).sum()), len(y) - len(counts)
        chance = (len(counts) - 1) * (whole - between) / free if free > 0 else whole
        found[name] = (between - chance) / whole if whole > 0 else 0.0
    return pd.Series(found, dtype=float).sort_values(ascending=False, kind="stable")


# --------------------------------------------------------------------------------------------------- teacher


@dataclass(frozen=True)
class TeacherEffect:
    """Students with a teacher against students without one, of about the same cost.

    Args:
        rows: One row a student: ``number``, ``method``, ``teacher`` (bool), ``band`` (from 0), the quality's and the
            cost's columns.
        bands: One row a band of the cost: ``low`` and ``high`` (cost's unit), ``with``, ``without`` (counts),
            ``median_with``, ``median_without``, ``difference`` (quality's unit; NaN where a side is too small).
        difference: Mean over the bands of the differences of medians, with minus without, in the quality's unit; a
            band weighs as much as its two counts tell. NaN when no band can be compared.
        low, high: Bootstrap 95 % interval of it.
        counts: Students with and without a teacher in the bands that were compared.
    """

    rows: pd.DataFrame
    bands: pd.DataFrame
    difference: float
    low: float
    high: float
    counts: tuple[int, int]

    @property
    def told(self) -> bool:
        """Whether this study tells a difference."""
        return min(self.counts) >= FEWEST_A_SIDE and (self.low > 0 or self.high < 0)


def teacher_effect(rows: pd.DataFrame, quality: Objective, cost: Objective | None, seed: int = 0) -> TeacherEffect:
    """Compare students of ``params_method`` other than ``none`` with those of ``none``, within bands of the cost.

    The bands are quartiles of the cost; fewer than 40 students make fewer bands.

    Args:
        rows: Measured students with ``number``, ``params_method`` and the columns of both objectives.
        quality: What is compared.
        cost: What must be about equal; ``None`` for one band.
        seed: Of the bootstrap (stratified: within each band and side; B. Efron, R. J. Tibshirani: "An Introduction to
            the Bootstrap", 1993) and of the sample of at most 3,000 students.
    """
    rng = np.random.default_rng(seed)
    rows = rows[rows["params_method"].notna()]
    if len(rows) > MOST:
        rows = rows.iloc[np.sort(rng.choice(len(rows), MOST, replace=False))]
    columns = ["number", quality.name, *([cost.name] if cost is not None else [])]
    found = rows[columns].assign(method=rows["params_method"].astype(str))
    found["teacher"] = found["method"] != NO_TEACHER
    price = found[cost.name].to_numpy(dtype=float) if cost is not None else np.zeros(len(found))
    wanted = max(1, min(4, len(found) // 10))
    edges = np.unique(np.quantile(price, np.linspace(0, 1, wanted + 1))) if len(found) else np.zeros(1)
    found["band"] = np.searchsorted(edges[1:-1], price, side="left") if len(edges) > 2 else 0
    taught = found["teacher"].to_numpy(dtype=bool)
    lines, draws, weights = [], [], []
    counts = np.zeros(2, dtype=int)
    for band in sorted(found["band"].unique()):
        here = (found["band"] == band).to_numpy()
        one, other = (found[quality.name].to_numpy(dtype=float)[here & side] for side in (taught, ~taught))
        middles = [float(np.median(side)) if len(side) else math.nan for side in (one, other)]
        compared = min(len(one), len(other)) >= FEWEST_IN_BAND
        lines.append(
            {
                "low": price[here].min(), "high": price[here].max(), "with": len(one), "without": len(other),
                "median_with": middles[0], "median_without": middles[1],
                "difference": middles[0] - middles[1] if compared else math.nan,
            }
        )  # fmt: skip
        if compared:
            weights.append(len(one) * len(other) / (len(one) + len(other)))
            draws.append(_medians(one, rng) - _medians(other, rng))
            counts += (len(one), len(other))
    names = ["low", "high", "with", "without", "median_with", "median_without", "difference"]
    bands = pd.DataFrame(lines, columns=names)
    if not draws:
        return TeacherEffect(found, bands, math.nan, math.nan, math.nan, (int(taught.sum()), int((~taught).sum())))
    mean = float(np.average(bands["difference"].dropna(), weights=weights))
    low, high = np.quantile(np.average(np.stack(draws), axis=0, weights=weights), [0.025, 0.975])
    return TeacherEffect(found, bands, mean, float(low), float(high), (int(counts[0]), int(counts[1])))


def _medians(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Medians of resamples of ``values (n,)``: ``(DRAWS,)``."""
    return np.median(values[rng.integers(len(values), size=(DRAWS, len(values)))], axis=1)
