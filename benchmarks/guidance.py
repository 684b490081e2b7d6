"""What it is worth to tell the ``frontier`` sampler what needs no training: searches of digits with and without.

    python benchmarks/guidance.py [--seeds 3] [--trials 30] [--folder DIR] [--write]

Each search trains its students for real, one at a time; teacher, data, space and recipe are the same. The hypervolume is the
study's own: accuracy over the majority guess, log latency below the teacher's. ``--write`` puts the table into the docs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from common import machine, write_section

from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.storage.results import volume
from autokd.strategies.guidance import Guidance
from autokd.study.study import Study

AT = (10, 15, 20, 25, 30)
SEARCHES = {
    "`frontier`, told nothing": ("frontier", False),
    "`frontier`": ("frontier", True),
    "`optuna:tpe`": ("optuna:tpe", True),
}
CONFIG: dict[str, Any] = {
    "data": {"source": "digits"},
    "teacher": {
        "family": "mobilenet",
        "params": {"stem_width": 32, "stem_stride": 1, "stages": 2, "width_1": 64, "width_2": 96}
        | {"depth_1": 2, "depth_2": 2},
        "training": {"epochs": 20, "lr": 0.2},
    },
    "space": "digits",
    "hardware": ["cpu_1_thread"],
    "objectives": ["maximize accuracy", "minimize latency_ms@cpu_1_thread"],
    "runner": "inline",
    "concurrency": 1,
    "training": {"epochs": 6, "batch_size": 64, "augment": "shift", "views": 4},
    "distillation": {"method": "kd", "alpha": 0.9, "temperature": 4.0},
}


def search(folder: Path, sampler: str, told: bool, seed: int, trials: int) -> list[float]:
    """Hypervolumes after ``AT`` trials of one search."""
    name = f"{sampler.replace(':', '_')}{'' if told else '_plain'}_{seed}"
    config = CONFIG | {"name": name, "sampler": sampler, "seed": seed, "budget": {"trials": trials, "trial_s": 600}}
    study = Study.create(make_plan(from_dict(config)), f"sqlite:///{folder}/guidance.db")
    if told:
        study.search()
    else:
        with mock.patch.object(Guidance, "inform"):
            study.search()
    members = study.members()
    found = []
    for count in AT:
        volumes = volume([m for m in members if m.number < count], study.plan.objectives, study.reference_point)
        found.append(float(volumes or 0.0))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=AT[-1])
    parser.add_argument("--folder", type=Path, help="where ledger and files go; by default a temporary one")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autokd-guidance-") as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        rows: dict[str, list[list[float]]] = {title: [] for title in SEARCHES}
        for seed in range(options.seeds):
            for title, (sampler, told) in SEARCHES.items():
                began = time.monotonic()
                rows[title].append(search(folder, sampler, told, seed, options.trials))
                numbers = " ".join(f"{v:.3f}" for v in rows[title][-1])
                print(f"{title} {seed}: {numbers} {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    text = report(rows, options.seeds)
    print(text)
    if options.write:
        write_section(text, "guidance")
    return 0


def report(rows: dict[str, list[list[float]]], seeds: int) -> str:
    """The section: one row a search, mean and range over seeds."""
    lines = [f"| sampler | {' | '.join(f'at {n}' for n in AT)} |", "|---" * (len(AT) + 1) + "|"]
    for title, found in rows.items():
        table = np.array(found)
        cells = [f"{c.mean():.2f} ({c.min():.2f}-{c.max():.2f})" for c in table.T]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    head = f"Command: `python benchmarks/guidance.py`. {machine(time.time())}"
    law = f"Hypervolume of the study after so many trials, mean over {seeds} seeds, lowest to highest in brackets."
    return "\n".join([head, "", law, "", *lines])


if __name__ == "__main__":
    raise SystemExit(main())
