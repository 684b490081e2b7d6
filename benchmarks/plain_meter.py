"""Times all files of a data set's runs with one meter, in turns, so that both sides meet the same minutes of the machine."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from common import LATENCY
from plain_runs import Row
from plain_tables import Run

from autokd.evaluation.parts import CLOCKS
from autokd.files import digest, file_sha256, read_json, write_json
from autokd.hardware.meter import LatencyMeter
from autokd.hardware.profile import describe_host, load_profile
from autokd.hardware.turnstile import Quiet

ROUNDS = 3
"""Timings of every file, each in a round of all; the median counts."""


def timed(runs: Sequence[Run], folder: Path, tell: Callable[[str, float | None], None]) -> list[Run]:
    """The runs with the latency of every file; timed anew, all of them, where any was not there the last time.

    Args:
        runs: Of one data set.
        folder: The data set's; keeps the timings.
        tell: Shows progress.
    """
    files = {(r.side, r.budget_s, r.seed, f.name): _file(folder, r, f.name) for r in runs for f in r.files}
    key = digest([str(describe_host().get("cpu")), sorted({file_sha256(f) for f in files.values()})])
    kept = read_json(folder / "timings.json")
    if kept is None or kept["key"] != key:
        kept = {"key": key, "ms": _rounds(sorted(set(files.values())), folder, tell)}
        write_json(folder / "timings.json", kept)
    ms = {name: median(kept["ms"][_name(folder, file)]) for name, file in files.items()}

    def with_ms(run: Run) -> Run:
        found = (replace(f, ms=ms[run.side, run.budget_s, run.seed, f.name]) for f in run.files)
        return replace(run, files=tuple(found))

    return [with_ms(run) for run in runs]


def _rounds(files: Sequence[Path], folder: Path, tell: Callable[[str, float | None], None]) -> dict[str, list[float]]:
    """Milliseconds of every file, one a round; the order is another one in every round."""
    found: dict[str, list[float]] = {_name(folder, file): [] for file in files}
    profile, order, done = load_profile(LATENCY.split("@")[1]), random.Random(0), 0
    with LatencyMeter([profile], Quiet(), folder / CLOCKS) as meter:
        for _ in range(ROUNDS):
            for file in order.sample(files, len(files)):
                found[_name(folder, file)].append(meter.measure(file, profile.name).p50_ms)
                done += 1
                tell(f"timing {len(files)} files", done / (ROUNDS * len(files)))
    return found


def _file(folder: Path, run: Run, name: str) -> Path:
    return Row(run.side, run.budget_s, run.seed).place(folder) / name


def _name(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()
