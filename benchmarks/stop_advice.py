"""Is the stop advice honest? What it expected of the next stretch of a search, against what came.

    python benchmarks/stop_advice.py [--data ../shared/data/nas_bench_201] [--ledger sqlite:///autokd.db ...] [--seeds 5] [--write]

Searches: simulated ones (random draws, evolution, ladders; see :func:`simulated`), real samplers on the table of NAS-Bench-201
(accuracies and latencies measured by others; a trial takes about 10 s), and the studies of recorded ledgers, which are only
read. At several moments of each the advice sees the past alone. ``--write`` puts the tables into ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import datetime
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from common import write_section
from pydantic import ValidationError

from autokd.config.objectives import Objective
from autokd.hardware.profile import describe_host
from autokd.storage.ledger import list_studies
from autokd.storage.reader import TrialReader
from autokd.strategies.expected_gain import LEAST_TO_STOP, LEVEL, GainWatch
from autokd.strategies.search_clock import search_clock
from autokd.study.study import Study

ROOT = Path(__file__).parent.parent
GOALS = (Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "cpu_1_thread"))
TRIAL_S = 10.0
AT = (10, 15, 20, 30, 45, 65, 100, 150)
"""Measured students at which the advice is asked."""
RATIOS = (0.25, 0.5, 1.0)
"""Length of the stretch ahead over the length so far."""
LIMITS = (0.05, 0.02, 0.01)
"""Shares of the hypervolume by which a search is ended."""
SAMPLED = ("optuna:random", "optuna:nsga2", "optuna:tpe")
"""Samplers of ``benchmarks/nas_bench_201.py``. The last one had no part in choosing the estimator and its interval."""
STOP_STUDENTS = 40
"""Students that a condition of the second table looks ahead, about."""


@dataclass(frozen=True)
class Search:
    """One search: ``(n,)`` seconds and ``(n, 2)`` accuracy and latency, in the order in which students ended."""

    kind: str
    times: np.ndarray
    values: np.ndarray
    reference: Sequence[float]
    goals: tuple[Objective, ...] = GOALS

    def volumes(self) -> np.ndarray:
        """The hypervolume after each student ``(n,)``."""
        watch, found = GainWatch(self.goals, self.reference), []
        for moment, row in zip(self.times, self.values, strict=True):
            watch.extend([moment], row[None])
            found.append(watch.volume or 0.0)
        return np.array(found)


# ------------------------------------------------------------------------------------------------------ searches


def clock(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.cumsum(TRIAL_S * np.exp(0.4 * rng.normal(size=n)))


def truth(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Accuracy and latency of candidates ``(n, 6)`` in [0, 1]: size decides both, the rest costs accuracy."""
    size = x[:, :2].mean(axis=1)
    latency = 0.01 * np.exp(3.2 * size + 0.5 * np.abs(x[:, 2] - 0.3))
    accuracy = 0.93 - 0.25 * np.exp(-4 * size) - 0.12 * ((x[:, 3:] - 0.6) ** 2).sum(axis=1)
    return np.column_stack([accuracy + 0.004 * rng.normal(size=len(x)), latency])


def simulated(kind: str, seed: int, n: int = 300) -> Search:
    """Students drawn at random, children of the front (after 10 random ones), or ladders that descend from random roots."""
    rng = np.random.default_rng(seed)
    reference = [0.1, 0.3]
    if kind == "random":
        return Search("simulated: random", clock(n, rng), truth(rng.random((n, 6)), rng), reference)
    if kind == "evolution":
        x, values = rng.random((10, 6)), np.empty((0, 2))
        values = truth(x, rng)
        while len(x) < n:
            parent = x[rng.choice(np.flatnonzero(front_rows(values)))]
            child = np.clip(parent + 0.15 * rng.normal(size=6) * (rng.random(6) < 0.4), 0, 1)
            x, values = np.vstack([x, child]), np.vstack([values, truth(child[None], rng)])
        return Search("simulated: evolution", clock(n, rng), values, reference)
    rows: list[np.ndarray] = []
    while len(rows) < n:  # a root, then steps of x.8 in size, each a little off its parent
        x = rng.random(6)
        x[:2] = 0.7 + 0.3 * rng.random(2)
        for _ in range(12):
            rows.append(truth(x[None], rng)[0])
            x = np.clip(x + 0.05 * rng.normal(size=6), 0, 1)
            x[:2] *= 0.85
    return Search("simulated: ladders", clock(n, rng), np.array(rows[:n]), reference)


def front_rows(values: np.ndarray) -> np.ndarray:
    """Which of ``(n, 2)`` accuracy and latency no other dominates."""
    worse = (values[None, :, 0] >= values[:, None, 0]) & (values[None, :, 1] <= values[:, None, 1])
    return np.asarray(worse.sum(axis=1) == 1)


def tabular(folder: Path, seeds: int, n: int = 160) -> Iterator[Search]:
    """Real samplers on the table of NAS-Bench-201."""
    from nas_bench_201 import SAMPLERS, Bench, run

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    bench = Bench(folder / "nas_bench_201.npz")
    for name in SAMPLED:
        for device in ("raspi4", "gold_6226"):
            for seed in range(seeds):
                rows = run(bench, SAMPLERS[name][1], device, seed, n).rows
                latency = bench.latency(device)
                values = np.column_stack([bench.accuracy("test")[rows] / 100, latency[rows]])
                times = clock(n, np.random.default_rng(seed))
                yield Search(f"NAS-Bench-201: {name}", times, values, [0.01, 1.1 * latency.max()])


def recorded(url: str) -> Iterator[Search]:
    """The studies of a ledger with at least as many measured students as the advice needs and some to judge it by."""
    for row in list_studies(url):
        try:
            study, reader = Study.open(row["name"], url), TrialReader(url, row["name"])
        except ValidationError:
            print(f"{row['name']} was written by another version", file=sys.stderr)
            continue
        reader.close()
        frame, goals, reference = reader.frame, study.plan.objectives, study.reference_point
        if reference is None or any(o.name not in frame for o in goals):
            continue
        told = (frame["outcome"] != "interrupted").to_numpy()
        times = search_clock(frame["begun"].to_numpy(float), frame["ended"].to_numpy(float), told)
        values = frame[[o.name for o in goals]].to_numpy(float, copy=True)
        values[~frame["feasible"].eq(True).to_numpy()] = math.nan
        rows = np.flatnonzero(frame["outcome"].eq("measured").to_numpy() & frame["parent"].isna().to_numpy())
        rows = rows[np.argsort(times[rows], kind="stable")]
        if len(rows) >= AT[0] + 3:
            yield Search("recorded", times[rows], values[rows], reference, goals)


# ----------------------------------------------------------------------------------------------------- judgement


@dataclass(frozen=True)
class Answer:
    """One advice and what came: shares of the hypervolume at that moment."""

    kind: str
    n: int
    ratio: float
    expected: float
    low: float
    high: float
    came: float


def answers(search: Search) -> Iterator[Answer]:
    volumes = search.volumes()
    for n in AT:
        watch = GainWatch(search.goals, search.reference)
        watch.extend(search.times[:n], search.values[:n])
        if n >= len(search.times) or not volumes[n - 1]:
            continue
        for ratio in RATIOS:
            window = ratio * search.times[n - 1]
            until = int(np.searchsorted(search.times, search.times[n - 1] + window, side="right"))
            if search.times[-1] < search.times[n - 1] + window:
                continue
            told = watch.expected(window)
            assert told.gain is not None and told.low is not None and told.high is not None, told.missing
            came = volumes[until - 1] / volumes[n - 1] - 1
            yield Answer(search.kind, n, ratio, told.gain, told.low, told.high, came)


def calibration(found: Sequence[Answer]) -> str:
    """Sum of the expected over sum of what came, median of the ratio, coverage of the interval, rank correlation."""
    expected, came = np.array([a.expected for a in found]), np.array([a.came for a in found])
    inside = np.mean([a.low - 1e-12 <= a.came <= a.high + 1e-12 for a in found])
    above = np.mean([a.came > a.high + 1e-12 for a in found])
    some = came > 0
    ratio = float(np.median(expected[some] / came[some])) if some.any() else math.nan
    error = float(np.mean(np.abs(np.log((expected + 0.002) / (came + 0.002)))))
    return (
        f"{len(found)} | {100 * came.mean():.2g} % | {100 * expected.mean():.2g} % | {ratio:.2f} | {inside:.0%} | {above:.0%} "
        f"| {math.exp(error):.2f}"
    )


def calibration_table(found: Sequence[Answer]) -> list[str]:
    heads = ("searches", "answers", "came, mean", "expected, mean", "expected / came, median", f"in the {LEVEL:.0%} interval",
             "above it", "typical factor off")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    kinds = list(dict.fromkeys(a.kind for a in found))
    for kind in kinds:
        lines.append(f"| {kind} | {calibration([a for a in found if a.kind == kind])} |")
    groups = {"all, 10 to 20 students so far": lambda a: a.n <= 20, "all, 30 and more": lambda a: a.n >= 30}
    for name, chosen in groups.items():
        some = [a for a in found if chosen(a)]
        if some:
            lines.append(f"| {name} | {calibration(some)} |")
    return [*lines, f"| all | {calibration(found)} |"]


def stops(search: Search, limit: float) -> tuple[int, float] | None:
    """At how many students a condition ends the search, and what the same window would have brought; ``None``: it never does."""
    volumes, window = search.volumes(), STOP_STUDENTS * float(np.median(np.diff(search.times)))
    watch = GainWatch(search.goals, search.reference)
    for n, (moment, row) in enumerate(zip(search.times, search.values, strict=True), 1):
        watch.extend([moment], row[None])
        if moment + window > search.times[-1]:
            return None
        if n >= LEAST_TO_STOP and (told := watch.expected(window)).cautious is not None and told.cautious < limit:
            until = int(np.searchsorted(search.times, moment + window, side="right"))
            return n, float(volumes[until - 1] / volumes[n - 1] - 1)
    return None


def stop_table(searches: Sequence[Search]) -> list[str]:
    heads = ("condition", "searches ended", "at students, median", "missed gain, median", "missed gain, 90 % below",
             "missed more than the limit",
             "more than twice the limit")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    long = [s for s in searches if len(s.times) >= LEAST_TO_STOP + STOP_STUDENTS]
    for limit in LIMITS:
        ended = [e for s in long if (e := stops(s, limit)) is not None]
        if not ended:
            continue
        at, missed = np.array([e[0] for e in ended]), np.array([e[1] for e in ended])
        lines.append(
            f"| gain < {100 * limit:g} % | {len(ended)} of {len(long)} | {np.median(at):.0f} | {100 * np.median(missed):.2g} % "
            f"| {100 * np.quantile(missed, 0.9):.2g} % | {np.mean(missed > limit):.0%} | {np.mean(missed > 2 * limit):.0%} |"
        )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "nas_bench_201")
    parser.add_argument("--ledger", action="append", default=[], help="URL of a ledger to read; repeatable")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    began = time.time()
    searches = [simulated(k, seed) for k in ("random", "evolution", "ladders") for seed in range(2 * options.seeds)]
    if (options.data / "nas_bench_201.npz").is_file():
        searches += tabular(options.data, options.seeds)
    else:
        print(f"without NAS-Bench-201: {options.data} is not there; name its folder with --data", file=sys.stderr)
    for url in options.ledger:
        searches += recorded(url)
    text = [
        f"Command: `python benchmarks/stop_advice.py --seeds {options.seeds}"
        + " --ledger ..." * len(options.ledger)
        + "`. "
        f"Machine: {describe_host().get('cpu')}, shared with other work; {datetime.date.today()}.",
        "",
    ]
    text += [*calibration_table([a for s in searches for a in answers(s)]), "", *stop_table(searches)]
    print(f"{time.time() - began:.0f} s", file=sys.stderr)
    print("\n".join(text))
    if options.write:
        write_section("\n".join(text), "stop_advice")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
