"""The tables of ``plain_script.py``: box, hypervolumes, who is ahead; runs in, Markdown out (pure)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, variance

from curves import Box

from autokd.formatting import digits

SIDES = SCRIPT, AUTOKD = "script", "autokd"
POINT = 0.01
"""Of accuracy, and of the hypervolume of a box of 1."""


@dataclass(frozen=True)
class File:
    """One ONNX file that a run offers.

    Args:
        name: In the run's folder.
        validation, test: Accuracy as its side told it, and on the test split.
        ms: Latency; 0 until the files of the set were timed.
    """

    name: str
    validation: float
    test: float
    ms: float = 0.0


@dataclass(frozen=True)
class Run:
    """One run of one side.

    Args:
        side: ``script`` or ``autokd``.
        budget_s: CPU seconds it was given.
        seed: Its seed.
        cpu_s, wall_s: What it took, all processes from the start.
        tests: Samples in the test split.
        files: What it offers; may be none.
    """

    side: str
    budget_s: float
    seed: int
    cpu_s: float
    wall_s: float
    tests: int
    files: tuple[File, ...]

    def volume(self, box: Box) -> float:
        """Hypervolume on the test split."""
        return box.volume([(f.test, f.ms) for f in self.files])

    def best_at(self, slowest_ms: float) -> File | None:
        """The file that a person takes who has so many milliseconds: the best on validation; ``None``: all are slower."""
        fast = [f for f in self.files if f.ms <= slowest_ms]
        return max(fast, key=lambda f: (f.validation, -f.ms), default=None)


def box_of(runs: Sequence[Run]) -> Box:
    """A set's box: latency from the script's fastest to 1.5 times its slowest, accuracy from its worst less two points to the
    best of either side and a point more.

    Raises:
        ValueError: No run of the script.
    """
    script = [f for r in runs if r.side == SCRIPT for f in r.files]
    if not script:
        raise ValueError("a box needs a run of the script")
    good = max(f.test for r in runs for f in r.files) + POINT
    poor = min(f.test for f in script) - 2 * POINT
    return Box(poor, good, 1.5 * max(f.ms for f in script), min(f.ms for f in script))


def standard_error(values: Sequence[float], least: float = 0.0) -> float:
    """Of the mean of one value a seed; a single value's error is taken to be no smaller than ``least``. NaN: not known."""
    if len(values) < 2:
        return least or math.nan
    return math.sqrt(max(variance(values), least**2) / len(values))


def ahead(ours: Sequence[float], script: Sequence[float], best: float) -> bool | None:
    """Whether hypervolumes of some seeds are ahead of the script's; ``None``: one seed does not tell.

    Either their mean exceeds the script's by more than two standard errors of the difference, or both means are within a point
    of the set's best: then there is nothing left to win.

    Args:
        ours, script: One value a seed.
        best: The best mean of the set, of either side and any budget.
    """
    if min(mean(ours), mean(script)) >= best - POINT:
        return True
    error = math.hypot(standard_error(ours), standard_error(script))
    return None if math.isnan(error) else mean(ours) - mean(script) > 2 * error


@dataclass(frozen=True)
class AtLatency:
    """Both sides at the latency of one of the script's nets.

    Args:
        ms: The net's latency, mean over the seeds.
        script, ours: Test accuracy, mean over the seeds; ``None``: in some seed no student is as fast.
        error: Standard error of the difference, no smaller than the test split's size makes it.
    """

    ms: float
    script: float
    ours: float | None
    error: float

    @property
    def behind(self) -> bool:
        """By more than the noise, two standard errors."""
        return self.ours is None or self.ours - self.script < -2 * self.error


def at_latencies(pairs: Sequence[tuple[Run, Run]]) -> list[AtLatency]:
    """One entry for each of the script's nets, in its order.

    Args:
        pairs: Of each seed the script's run and autokd's.
    """
    found = []
    for k in range(min(len(script.files) for script, _ in pairs)):
        nets = [script.files[k] for script, _ in pairs]
        taken = [ours.best_at(net.ms) for net, (_, ours) in zip(nets, pairs, strict=True)]
        known = [f.test for f in taken if f is not None]
        theirs = [net.test for net in nets]
        errors = [
            standard_error(values, binomial(mean(values), pairs[0][0].tests)) for values in (theirs, known) if values
        ]
        ours = mean(known) if len(known) == len(pairs) else None
        found.append(AtLatency(mean(net.ms for net in nets), mean(theirs), ours, math.hypot(*errors)))
    return found


def binomial(accuracy: float, samples: int) -> float:
    """Standard error of an accuracy that was measured on so many samples."""
    return math.sqrt(max(accuracy * (1 - accuracy), 0.0) / samples)


def set_table(runs: Sequence[Run]) -> list[str]:
    """One row a budget; runs that one side does not have for a seed are left out of its row."""
    box, budgets = box_of(runs), sorted({r.budget_s for r in runs})
    by = {(r.side, r.budget_s, r.seed): r for r in runs}
    volumes = {
        (side, budget): [r.volume(box) for r in runs if (r.side, r.budget_s) == (side, budget)]
        for side in (SCRIPT, AUTOKD)
        for budget in budgets
    }
    best = max(mean(found) for found in volumes.values() if found)
    count = max(len(r.files) for r in runs if r.side == SCRIPT)
    heads = ["budget (CPU s)", "seeds", "used: script", "autokd", "hypervolume: script", "autokd", "ahead"]
    heads += [f"at net {k + 1}: script / autokd" for k in range(count)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for budget in budgets:
        seeds = sorted({r.seed for r in runs if r.budget_s == budget})
        pairs = [(by[SCRIPT, budget, s], by[AUTOKD, budget, s]) for s in seeds if _both(by, budget, s)]
        script, ours = volumes[SCRIPT, budget], volumes[AUTOKD, budget]
        used = [_used([r.cpu_s for r in runs if (r.side, r.budget_s) == (s, budget)]) for s in (SCRIPT, AUTOKD)]
        verdict = ahead(ours, script, best) if ours and script else None
        words = {True: "**yes**", False: "no", None: "–"}[verdict]
        cells = [f"{budget:g}", str(len(pairs) or len(seeds)), *used, _spread(script), _spread(ours), words]
        cells += [_cell(at) for at in at_latencies(pairs)] if pairs else ["–"] * count
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def box_line(runs: Sequence[Run]) -> str:
    """What stands below a table: the box."""
    tests = max(r.tests for r in runs)
    return f"Box: {box_of(runs)}; {tests:,} test samples."


def _both(by: dict[tuple[str, float, int], Run], budget: float, seed: int) -> bool:
    return (SCRIPT, budget, seed) in by and (AUTOKD, budget, seed) in by


def _used(values: Sequence[float]) -> str:
    return f"{mean(values):.0f}" if values else "–"


def _spread(values: Sequence[float]) -> str:
    """Mean and standard error."""
    if not values:
        return "–"
    error = standard_error(values)
    return f"{mean(values):.3f}" + ("" if math.isnan(error) else f" ± {error:.3f}")


def _cell(at: AtLatency) -> str:
    ours = "none" if at.ours is None else f"{at.ours:.1%}"
    mark = " behind" if at.behind else ""
    return f"{at.script:.1%} / {ours}{mark} ({digits(at.ms * 1e3)} µs)"
