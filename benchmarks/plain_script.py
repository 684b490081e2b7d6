"""A newcomer's plain script against autokd with untouched defaults, every CPU second of both charged.

    python benchmarks/plain_script.py [--sets digits,adult,...] [--budgets 60,180,600] [--seeds 3] [--sides script,autokd]
        [--finished] [--data FOLDER] [--folder FOLDER] [--write]

The script is ``peers/plain_script.py``: four fixed widths of a plain net, labels only. autokd is ``autokd init --data DATA`` and
``autokd search`` with a budget. Both run in processes of their own, counted from their start with all that they start; both are
given the same training and validation samples. What counts is what a person takes home: the script's four files, autokd's front
by validation. The files of a data set are timed together, in turns, by autokd's meter, and scored on the test split.

Every finished run is kept in ``--folder`` and not repeated; ``--finished`` shows what is there, ``--write`` replaces the section
of ``docs/benchmarks.md``, after every data set. On two cores the default takes about seven hours. Linux only.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import HERE, machine, shown_arguments, write_section
from plain_meter import timed
from plain_runs import Row, SetRuns
from plain_sets import SETS
from plain_tables import SCRIPT, SIDES, Run, box_line, set_table

from autokd.cli.progress import Bar
from autokd.errors import AutokdError
from autokd.formatting import clock

SECTION = "plain_script"


@dataclass
class Eta:
    """How long the rest will take, by what the runs so far took for each CPU second of their budgets."""

    left_s: float
    spent_s: float = 0.0
    wall_s: float = 0.0

    def done(self, budget_s: float, wall_s: float | None) -> None:
        """One run is there; ``None``: it was there before."""
        self.left_s -= budget_s
        if wall_s is not None:
            self.spent_s, self.wall_s = self.spent_s + budget_s, self.wall_s + wall_s

    def __str__(self) -> str:
        return clock(self.left_s * (self.wall_s / self.spent_s if self.spent_s else 1.0))


def rows_of(budgets: Sequence[float], seeds: int, sides: Sequence[str]) -> Iterator[Row]:
    """In the order in which they are run: short ones first, both sides of a seed in turn."""
    for budget in sorted(budgets):
        for seed in range(seeds):
            yield from (Row(side, budget, seed) for side in sides)


def all_runs(runs: SetRuns, rows: Sequence[Row], finished: bool, eta: Eta, tell: Callable[[str], None]) -> list[Run]:
    """Every run of a data set, made or found; one that fails is told and left out, and tried again the next time."""
    found = []
    for row in rows:
        run, began = runs.kept(row), None
        if run is None and not finished:
            tell(f"{runs.plain.title}: {row.side}, {row.budget_s:g} CPU s, seed {row.seed}; about {eta} to go")
            began = time.monotonic()
            try:
                run = runs.run(row)
            except (AutokdError, RuntimeError) as error:
                tell(f"   failed: {' '.join(str(error).split())}")
        eta.done(row.budget_s, time.monotonic() - began if began else None)
        if run is not None:
            found.append(run)
            tests = [f"{f.test:.1%}" for f in run.files]
            if began:
                tell(f"   {run.cpu_s:.0f} CPU s in {run.wall_s:.0f} s; on test: {', '.join(tests) or 'no file'}")
    return found


def section(tables: dict[str, list[str]], began: float) -> str:
    """The section of the document."""
    head = f"Command: `python benchmarks/plain_script.py {shown_arguments()}`. {machine(began)}"
    how = (
        "CPU seconds used are those of all processes from the start of the command. Hypervolume on the test split, log latency x "
        "accuracy, normalised to 1, mean over the seeds ± standard error. Ahead: by more than two standard errors of the "
        "difference, or both within .01 of the set's best. At net 1 to 4: test accuracy of the script's net and of the student "
        "that a person takes from autokd's front at no more than its latency, the best on validation; behind: by more than two "
        "standard errors, each no smaller than the test split's size makes it."
    )
    lines = [head, "", how]
    for title, table in tables.items():
        lines += ["", f"**{title}**", "", *table]
    return "\n".join(lines) + "\n"


def chosen(text: str, known: Sequence[str], what: str) -> list[str]:
    """Names of a comma-separated list, in the order of ``known``; all where it is empty.

    Raises:
        SystemExit: An unknown name.
    """
    wanted = text.split(",") if text else list(known)
    for name in wanted:
        if name not in known:
            sys.exit(f"error: {what} must be of {', '.join(known)}, but got {name!r}")
    return [name for name in known if name in wanted]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="", help=f"of {', '.join(SETS)}; default: all")
    parser.add_argument("--budgets", default="60,180,600", help="CPU seconds of a run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sides", default="", help=f"of {', '.join(SIDES)}; default: both")
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data", help="the shared data")
    parser.add_argument("--folder", type=Path, default=Path(".autokd") / "plain_script")
    parser.add_argument("--finished", action="store_true", help="run nothing: show what is finished in --folder")
    parser.add_argument("--write", action="store_true", help="replace the section of docs/benchmarks.md")
    options = parser.parse_args()
    options.sets = chosen(options.sets, list(SETS), "a set")
    options.sides = chosen(options.sides, SIDES, "a side")
    try:
        options.budgets = [float(b) for b in options.budgets.split(",")]
    except ValueError:
        parser.error(f"--budgets must be numbers of CPU seconds, but got {options.budgets!r}")
    return options


def main() -> int:
    options, began = parsed(), time.time()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    rows = list(rows_of(options.budgets, options.seeds, options.sides))
    eta, bar = Eta(sum(row.budget_s for row in rows) * len(options.sets)), Bar()
    tables: dict[str, list[str]] = {}
    for name in options.sets:
        plain, folder = SETS[name], (options.folder / name).absolute()
        try:
            runs = SetRuns(plain, options.data, folder)
        except AutokdError as error:
            print(f"skipped: {error}", file=sys.stderr, flush=True)
            continue
        found = all_runs(runs, rows, options.finished, eta, lambda text: print(text, file=sys.stderr, flush=True))
        if not any(run.side == SCRIPT for run in found):
            print(f"no table of {plain.title}: the script was not run", file=sys.stderr, flush=True)
            continue
        found = timed(found, folder, bar.tell)
        bar.end()
        tables[f"{plain.title[0].upper()}{plain.title[1:]}"] = [*set_table(found), "", box_line(found)]
        print("\n".join(["", plain.title, "", *set_table(found), "", box_line(found)]), flush=True)
        if options.write:
            write_section(section(tables, began), SECTION)
    return 0 if tables else 1


if __name__ == "__main__":
    raise SystemExit(main())
