"""The tables of ``search_cost.py``: methods at checkpoints, and which goals were reached; figures in, Markdown out (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from curves import Box, Run, marks

EARLY, MIDDLE = 60.0, 200.0
"""CPU seconds at which goals look at the test split, beside the end."""

Results = Mapping[str, Sequence[Run]]
"""The runs of every method, one a seed."""


@dataclass(frozen=True)
class Goal:
    """One figure of a run that should be at least so high.

    Args:
        text: What it is, for people.
        wanted: Its least value, or ``None`` where the yardstick was not run.
        figure: Reads it off a run; ``None``: the run does not tell.
        percent: Shown as a percentage.
    """

    text: str
    wanted: float | None
    figure: Callable[[Run], float | None]
    percent: bool = False

    def cell(self, runs: Sequence[Run]) -> str:
        """The mean over the seeds and whether that is enough."""
        found = _all([self.figure(run) for run in runs])
        if found is None:
            return "–"
        value = mean(found)
        text = f"{value:.2%}" if self.percent else f"{value:.3f}"
        if self.wanted is None:
            return text
        return f"**{text} reached**" if value >= self.wanted else f"{text} not reached"


def goals(box: Box, ratio: float | None, script: Sequence[Run]) -> list[Goal]:
    """The goals of the project; those in microseconds or hypervolume hold for Fashion-MNIST and are scaled by ``ratio``.

    Args:
        box: Of the hypervolumes.
        ratio: This machine's latencies over those of the machine the goals were set on; ``None``: another data set, to
            which only the comparison with the documented script applies.
        script: Runs of the documented script; may be none.
    """
    found = []
    if ratio is not None:
        fast_ms = 0.020 * ratio
        found = [
            Goal(f"test hypervolume .70 in {MIDDLE:.0f} CPU s", 0.70, lambda r: r.test(box, MIDDLE)),
            Goal(f"the same, moonshot: .76 in {MIDDLE:.0f} CPU s", 0.76, lambda r: r.test(box, MIDDLE)),
            Goal("validation hypervolume .60 in 30 CPU s", 0.60, lambda r: r.validation(box, 30.0)),
            Goal(f"92.5 % test accuracy at {fast_ms * 1e3:.3g} µs", 0.925, lambda r: r.best_test(fast_ms), True),
        ]
    spent = f"{max((r.budget_cpu_s for r in script), default=0.0) / 60:.3g} CPU minutes"
    validation = _all([r.validation(box, r.budget_cpu_s) for r in script])
    test = _all([r.test(box, r.budget_cpu_s) for r in script])
    if validation is not None:
        law = f"the script's validation hypervolume of {spent} ({mean(validation):.3f}) in 1"
        found.append(Goal(law, mean(validation), lambda r: r.validation(box, EARLY)))
    if test is not None:
        law = f"the script's test hypervolume of {spent} ({mean(test):.3f}) in 1"
        found.append(Goal(law, mean(test), lambda r: r.test(box, EARLY)))
    return found


def volume_table(results: Results, box: Box, budget_cpu_s: float, level: float = 0.60) -> list[str]:
    """One row a method: validation hypervolume at the checkpoints, validation and test at its own end, what it took.

    Args:
        results: The runs.
        box: Of the hypervolumes.
        budget_cpu_s: The last checkpoint.
        level: Validation hypervolume whose price in CPU seconds is told.
    """
    at = marks(budget_cpu_s)
    heads = ["method", "seeds", *(f"at {m:g}" for m in at), "its end (CPU s)", "at its end", "test at its end"]
    heads += [f"CPU s to {level:.2f}", "trials", "wall s"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, runs in results.items():
        end = runs[0].budget_cpu_s
        cells = [str(len(runs)), *(_spread([r.validation(box, m) for r in runs]) for m in at)]
        cells += [
            f"{end:g}",
            _spread([r.validation(box, end) for r in runs]),
            _spread([r.test(box, end) for r in runs]),
        ]
        cells += [_price([r.reaches(box, level) for r in runs])]
        cells += [f"{mean(len(r.within(end)) for r in runs):.0f}", f"{mean(r.wall_s for r in runs):.0f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def goal_table(results: Results, chosen: Sequence[Goal]) -> list[str]:
    """One row a goal, one column a method: the mean over its seeds, and whether that is enough."""
    if not chosen:
        return ["No goal applies: the script was not run."]
    lines = [f"| goal | {' | '.join(results)} |", "|---" * (len(results) + 1) + "|"]
    for goal in chosen:
        lines.append(f"| {goal.text} | {' | '.join(goal.cell(runs) for runs in results.values())} |")
    return lines


def _all(values: Sequence[float | None]) -> list[float] | None:
    """The values where every one is known: a mean over some of the seeds would compare unlike things."""
    known = [v for v in values if v is not None]
    return known if known and len(known) == len(values) else None


def _spread(values: Sequence[float | None]) -> str:
    """Mean, lowest to highest in brackets."""
    known = _all(values)
    if known is None:
        return "–"
    return f"{mean(known):.3f}" + (f" ({min(known):.3f}–{max(known):.3f})" if len(known) > 1 else "")


def _price(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    if len(known) < len(values):
        return "not reached" if not known else f"{mean(known):.0f} ({len(known)} of {len(values)} seeds)"
    return f"{mean(known):.0f}"
