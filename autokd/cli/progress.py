"""Progress for people: a bar with an ETA on a terminal, plain lines elsewhere. Always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from autokd.formatting import clock, span_words
from autokd.trial import Outcome, TrialRecord

if TYPE_CHECKING:
    from autokd.strategies.driver import Driver


MOST_DOING = 3
"""Trials of ladders that the progress line names."""


class Bar:
    """A progress bar on a terminal; lines in a log, a few seconds apart."""

    LINE_S = 5.0

    def __init__(self) -> None:
        self.console = Console(stderr=True, soft_wrap=not sys.stderr.isatty())
        self.live = sys.stderr.isatty()
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.step = ""
        self.printed = 0.0
        self.began = 0.0
        self.driver: Driver | None = None
        self.measure: Callable[[], float | None] = lambda: None
        self.volume: float | None = None

    # -- preparation

    def tell(self, text: str, share: float | None) -> None:
        kind, _, rest = text.partition(": ")
        if kind in ("warning", "note"):
            self.console.print(
                text if kind == "warning" else rest,
                style="yellow" if kind == "warning" else None,
                markup=False,
                highlight=False,
            )
            return
        name = text.split(",")[0]
        if not self.live:
            if name != self.step:
                self.began = time.monotonic()
            if name != self.step or time.monotonic() - self.printed > self.LINE_S:
                done = "" if share is None else f" {share:.0%}"
                left = (time.monotonic() - self.began) * (1 - share) / share if share else 0.0
                self._line(f"{text}{done}{_eta(left) if left > self.LINE_S else ''}")
            self.step = name
            return
        bar = self._bar()
        if name != self.step:
            if self.task is not None:
                bar.update(self.task, completed=100, total=100)
            self.task = bar.add_task(text, total=None if share is None else 100)
            self.step = name
        assert self.task is not None
        percent = None if share is None else round(100 * share)
        bar.update(self.task, description=text, completed=percent, total=None if share is None else 100)

    # -- search

    def begin(self, driver: Driver, volume: Callable[[], float | None]) -> None:
        self.driver, self.measure = driver, volume
        self.volume = volume()
        if self.live:
            bar = self._bar()
            if self.task is not None:
                bar.update(self.task, completed=100, total=100)
            self.task = bar.add_task("search", total=self._goal(), completed=int(self._done()))
        else:
            self._line(f"search: {self._story()}")

    def begun(self, number: int) -> None:
        if self.driver is not None and self.driver.doing():
            self._show()  # on a ladder: what the trial does

    def trial(self, number: int, record: TrialRecord) -> None:
        if self.driver is None:
            return
        if record.outcome == Outcome.MEASURED:
            self.volume = self.measure()
        if record.outcome == Outcome.FAILED:
            text = f"trial {number} failed in {record.failed_stage}: {record.cause} ({record.detail})"
            self.console.print(text, style="yellow", markup=False, highlight=False)
        self._show()

    def _show(self) -> None:
        """Say where the search stands; in a log not more often than every few seconds."""
        if self.live and self.task is not None:
            self._bar().update(
                self.task, description=f"search, {self._story()}", completed=self._done(), total=self._goal()
            )
        elif time.monotonic() - self.printed > self.LINE_S:
            self._line(f"search: {self._story()}{self._eta()}")

    def end(self) -> None:
        if self.bar is not None:
            if self.driver is None and self.task is not None:  # the last step of something that was no search
                self.bar.update(self.task, completed=100, total=100)
            self.bar.stop()
            self.bar = None
        elif self.driver is not None:
            self._line(f"search: {self._story()}")
        self.driver, self.task, self.step = None, None, ""

    def _bar(self) -> Progress:
        if self.bar is None:
            self.bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self.bar.start()
        return self.bar

    def _goal(self) -> float | None:
        assert self.driver is not None
        budget = self.driver.plan.config.budget
        if budget.trials is not None:
            return budget.trials
        return round(budget.wall_s or budget.cpu_s or 0) or None

    def _done(self) -> float:
        assert self.driver is not None
        budget, tally = self.driver.plan.config.budget, self.driver.tally()
        if budget.trials is not None:
            return tally.counted
        return round(tally.wall_s if budget.wall_s else tally.cpu_s)

    def _eta(self) -> str:
        assert self.driver is not None
        goal, done, tally = self._goal(), self._done(), self.driver.tally()
        if not goal or not done:
            return ""
        return _eta(tally.wall_s / done * max(0.0, goal - done))

    def _story(self) -> str:
        assert self.driver is not None
        tally = self.driver.tally()
        goal = self.driver.plan.config.budget.trials
        parts = [f"{tally.counted}/{goal} trials" if goal else f"{tally.counted} trials"]
        if tally.rejected:
            parts.append(f"{tally.rejected} rejected")
        if tally.stopped:
            parts.append(f"{tally.stopped} stopped early")
        if tally.failed:
            parts.append(f"{tally.failed} failed")
        if self.volume is not None:
            parts.append(f"hypervolume {self.volume:.3f}")
            gain = self.driver.expected_gain()
            if gain.short:
                parts.append(f"next {span_words(gain.window_s)} about {gain.short}")
        if doing := self.driver.doing():
            parts.append(f"now {', '.join(doing[:MOST_DOING])}{', ...' if len(doing) > MOST_DOING else ''}")
        return ", ".join(parts)

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)
        self.printed = time.monotonic()


def _eta(left_s: float) -> str:
    return f", ETA {clock(left_s)}"
