"""What a front costs: hypervolume against CPU seconds, for the documented script, samplers and strategies.

    python benchmarks/search_cost.py [--dataset fashion_mnist] [--methods script,optuna:tpe,...] [--seeds 3]
        [--cpu-s 400] [--script-cpu-s 1560] [--script-seeds 3] [--ablate] [--finished]
        [--data FOLDER] [--folder FOLDER] [--write]

All methods get the same space, training recipe, teacher and cached outputs; the script of ``peers/`` has the teacher in
its loop and trains in float32. Teacher and outputs are made once in ``--folder`` and not charged. A search that is finished
there is read, not repeated. Prints the tables of ``docs/benchmarks.md``; ``--write`` replaces their section there.

On two cores the default takes about three hours: 18 searches of 400 CPU seconds and 3 of 1,560, two trials at a time.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import time
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from common import HERE, LATENCY, TrialsAlone, machine, share_modules, shown_arguments, write_section
from cost_tables import EARLY, MIDDLE, goal_table, goals, volume_table
from curves import Run, Student
from peer_runs import script_done, script_run
from preparation import prepared, shared_root
from tasks import TASKS, Facts, Task

from autokd import registry
from autokd.cli.progress import Bar
from autokd.config import yaml_file
from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.errors import AutokdError
from autokd.evaluation.confirm import confirm
from autokd.evaluation.parts import CLOCKS
from autokd.hardware.meter import LatencyMeter
from autokd.hardware.profile import load_profile
from autokd.hardware.turnstile import Quiet
from autokd.storage.attributes import CONFIRMED_KEY, WALL_KEY
from autokd.storage.ledger import record_of
from autokd.storage.results import keep_confirmed
from autokd.storage.summaries import overview
from autokd.study.search import search_plan
from autokd.study.study import Study
from autokd.trial import Outcome

SCRIPT = "script"
METHODS: dict[str, Mapping[str, Any]] = {
    "optuna:tpe": {"sampler": "optuna:tpe"},
    "optuna:nsga2": {"sampler": "optuna:nsga2"},
    "nni:evolution": {"sampler": "nni:evolution"},
    "optuna:random": {"sampler": "optuna:random"},
    "frontier": {"sampler": "autokd.samplers.frontier:frontier"},
    "ladder": {"search": {"strategy": "ladder"}, "sampler": "optuna:tpe"},
}
"""Method to what it changes in the study. Its seed is ``search.seed``: data, splits, teacher and cached outputs stay the same."""
ABLATIONS: dict[str, Mapping[str, Any]] = {
    "ladder without steps": {"search": {"strategy": "ladder", "steps": False}, "sampler": "optuna:tpe"},
    "ladder with sampled roots": {"search": {"strategy": "ladder", "roots": "sampler"}, "sampler": "optuna:tpe"},
    "ladder in float32": {"search": {"strategy": "ladder"}, "sampler": "optuna:tpe", "bits": 32},
    "ladder without training on": {"search": {"strategy": "ladder", "refine": False}, "sampler": "optuna:tpe"},
    "optuna:tpe with halving": {"search": {"stop_early": "halving"}, "sampler": "optuna:tpe"},
    "frontier with halving": {"search": {"stop_early": "halving"}, "sampler": "autokd.samplers.frontier:frontier"},
}
"""The ladder with one thing off: no student descends from a larger one; the family's roots are not known; nothing is quantized;
the front's students are not trained on. ``bits`` stands for the space's parameter. And two samplers with what is off by default:
early ends."""
LONG = "ladder for the script's time"
"""Not among the methods unless it is named: the strategy at the script's budget, so that their ends compare."""
LEDGER = "search_cost.db"
TITLES = {SCRIPT: "script (Ray Tune + OptunaSearch)"}


class Benchmark:
    """One data set, one folder.

    Args:
        task: The data set.
        options: The command line.
    """

    def __init__(self, task: Task, options: argparse.Namespace) -> None:
        self.task, self.options = task, options
        self.folder = (options.folder / task.name).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = str(options.data)
        self.facts: Facts = prepared(task, self.data, self.folder, Bar().tell)
        self.box = task.box(self.facts)
        self.ratio = task.ratio(self.facts)
        self.results: dict[str, list[Run]] = {}
        self.missing: dict[str, str] = {}

    def run(self, methods: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Every method under every seed; one that cannot run is noted with its reason and left out."""
        for seed in range(self.options.seeds):
            for name, overrides in methods.items():
                if name in self.missing or (overrides is None and seed >= self.options.script_seeds):
                    continue
                if self.options.finished and not self._finished(name, overrides, seed):
                    continue
                print(f"== {self.task.title}: {name}, seed {seed}", file=sys.stderr, flush=True)
                try:
                    run = self._script(seed) if overrides is None else self._search(name, overrides, seed)
                except AutokdError as error:
                    self.missing[name] = " ".join(str(error).split())
                    self.results.pop(name, None)
                    print(f"   not available: {self.missing[name]}", file=sys.stderr, flush=True)
                    continue
                self.results.setdefault(name, []).append(run)
                end = run.budget_cpu_s
                figures = f"validation {run.validation(self.box, end):.3f}, test {run.test(self.box, end)}"
                print(f"   {len(run.students)} trials, {figures}", file=sys.stderr, flush=True)

    @property
    def _url(self) -> str:
        return f"sqlite:///{self.folder / LEDGER}"

    def _finished(self, name: str, overrides: Mapping[str, Any] | None, seed: int) -> bool:
        if overrides is None:
            return script_done(self._place(seed), self.options.script_cpu_s) is not None
        there = (self.folder / LEDGER).exists()
        done = {s.name: s for s in overview(self._url)} if there else {}
        found = done.get(study_name(name, seed))
        return (
            found is not None
            and found.state == "finished"
            and found.plan["config"]["budget"]["cpu_s"] == self._budget(name)
        )

    def _budget(self, name: str) -> float:
        """CPU seconds of a search that is not the script's."""
        return float(self.options.script_cpu_s if name == LONG else self.options.cpu_s)

    def _place(self, seed: int) -> Path:
        """Of the script's run."""
        return self.folder / "script" / str(seed)

    def _script(self, seed: int) -> Run:
        profile = load_profile(LATENCY.split("@")[1])
        with LatencyMeter([profile], Quiet(), shared_root(self.folder) / CLOCKS) as meter:
            study = self.task.study(self.data)
            return script_run(study, self.facts, self._place(seed), self.options.script_cpu_s, seed, meter)

    def _search(self, name: str, overrides: Mapping[str, Any], seed: int) -> Run:
        budget = self._budget(name)
        study = self.task.study(self.data) | {
            "name": study_name(name, seed),
            "budget": {"trials": None, "cpu_s": budget},
            "runner": "ray",
            "concurrency": len(os.sched_getaffinity(0)),
            "storage": {"url": self._url},
        }
        plan = make_plan(from_dict(study_of(study, overrides, seed)))
        opened, reason = search_plan(plan, Bar(), spent=TrialsAlone())
        done = Study(opened.ledger)
        print(f"   {reason}", file=sys.stderr, flush=True)
        confirm_fronts(done, budget)
        return run_of(done, budget)

    def text(self) -> str:
        """The section of the document."""
        shown, ablated = self._shown(ABLATIONS, False), self._shown(ABLATIONS, True)
        lines = [*self._head(), "", *volume_table(shown, self.box, self.options.cpu_s, self.task.level), ""]
        lines += goal_table(shown, goals(self.box, self.ratio, self.results.get(SCRIPT, ())))
        if ablated:
            whole = {name: runs for name, runs in shown.items() if name in ("`ladder`", "`optuna:tpe`", "`frontier`")}
            table = volume_table(whole | ablated, self.box, self.options.cpu_s, self.task.level)
            lines += ["", "With one thing off, or early ends on:", "", *table]
        if self.missing:
            lines += ["", *(f"- {name}: not available ({reason})" for name, reason in self.missing.items())]
        return "\n".join(lines) + "\n"

    def _shown(self, names: Container[str], among: bool) -> dict[str, list[Run]]:
        """Titles to runs, of the methods that are among some names or are not."""
        found = {name: runs for name, runs in self.results.items() if (name in names) is among}
        return {TITLES.get(name, f"`{name}`"): runs for name, runs in found.items()}

    def _head(self) -> list[str]:
        facts = self.facts
        took = f"{facts.teacher_cpu_s:.0f} CPU s to train"
        if facts.bank_cpu_s is not None:
            took += f" and {facts.bank_cpu_s:.0f} for its check-up and cached outputs"
        timed = f"The smallest candidate of the space takes {facts.yardstick_ms * 1e3:.3g} µs"
        if self.ratio is not None:
            was = facts.yardstick_ms / self.ratio * 1e3
            timed = (
                f"The hand-made root takes {facts.yardstick_ms * 1e3:.3g} µs here and {was:.3g} where the goals were set: "
                f"box and goals are scaled by {self.ratio:.3f}"
            )
        return [
            f"{self.task.title}. Command: `python benchmarks/search_cost.py {shown_arguments()}`. {machine(time.time())}",
            "",
            f"Hypervolume in the box {self.box}, normalised to 1, on the validation split unless it says test; mean over "
            f"the seeds, lowest to highest in brackets. {timed}. The teacher (validation accuracy "
            f"{facts.teacher_accuracy:.1%}, {facts.teacher_ms * 1e3:.0f} µs) took {took}; not charged to any search.",
        ]


def study_name(method: str, seed: int) -> str:
    """In the ledger."""
    return "".join(c if c.isalnum() else "-" for c in method) + f"-{seed}"


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``overrides``, mapping by mapping."""
    found = copy.deepcopy(dict(base))
    for key, value in overrides.items():
        below = found.get(key)
        found[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return found


def study_of(study: Mapping[str, Any], overrides: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """A method's study: the overrides, the seed of the search, and the bits, if there are to be no others."""
    changed = {key: value for key, value in overrides.items() if key != "bits"}
    found = merged(merged(study, changed), {"search": {"seed": seed}})
    if "bits" in overrides:
        space, _ = yaml_file.read(registry.yaml_file("spaces", found["space"]))
        only = {"choice": [overrides["bits"]], "stage": "quantize"}
        found["space"] = {**space, "parameters": {**space["parameters"], "bits": only}}
    return found


def run_of(study: Study, budget: float) -> Run:
    """A study's finished trials with what each cost, and the test figures of those that were confirmed."""
    confirmed = study.ledger.attr(CONFIRMED_KEY, {})
    known = [(t, record_of(t)) for t in study.ledger.trials() if t.state.is_finished()]
    found = []
    for trial, record in sorted(known, key=lambda pair: (pair[0].datetime_complete, pair[0].number)):
        if record is None:
            continue
        student = Student(record.cpu_s)
        if record.outcome == Outcome.MEASURED and not record.violations:
            test = confirmed.get(str(trial.number), {})
            accuracy, latency = record.value("accuracy"), record.value(LATENCY)
            student = Student(record.cpu_s, accuracy, latency, test.get("accuracy"), test.get(LATENCY), trial.number)
        found.append(student)
    return Run(tuple(found), budget, float(study.ledger.attr(WALL_KEY, 0.0)))


def confirm_fronts(study: Study, budget: float) -> None:
    """Read the test split for the members of the fronts at the moments that goals look at, once each."""
    run, known = run_of(study, budget), dict(study.ledger.attr(CONFIRMED_KEY, {}))
    numbers = {s.number for at in (EARLY, MIDDLE, budget) if at <= budget for s in run.front(at)}
    waiting = [m for m in study.members() if m.number in numbers and str(m.number) not in known]
    if waiting:
        for member, values, by_class in confirm(study.plan, study.home, waiting, Bar().tell):
            keep_confirmed(study.ledger, member.number, values, by_class)


def chosen_methods(names: str, ablate: bool) -> dict[str, Mapping[str, Any] | None]:
    """Method to overrides; the script has none. ``--ablate`` adds the ablations.

    Raises:
        SystemExit: An unknown name.
    """
    known: dict[str, Mapping[str, Any] | None] = {SCRIPT: None, **METHODS, **ABLATIONS, LONG: METHODS["ladder"]}
    wanted = names.split(",") if names else [SCRIPT, *METHODS]
    for name in wanted:
        if name not in known:
            sys.exit(f"error: a method must be one of {', '.join(known)}, but got {name!r}")
    return {name: known[name] for name in [*wanted, *(ABLATIONS if ablate else ())]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=list(TASKS), default="fashion_mnist")
    parser.add_argument(
        "--methods",
        default="",
        help=f"of {', '.join([SCRIPT, *METHODS, *ABLATIONS, LONG])}; default: the script and the {len(METHODS)} after it",
    )
    parser.add_argument(
        "--ablate", action="store_true", help="also the ladder with one thing off at a time, and early ends"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--script-seeds", type=int, default=3, help="at most so many of them for the script")
    parser.add_argument("--cpu-s", type=float, default=400.0, help="CPU seconds of a search")
    parser.add_argument("--script-cpu-s", type=float, default=1560.0, help="CPU seconds of a search of the script")
    parser.add_argument("--data", type=Path, help="folder of the data set's files")
    parser.add_argument("--folder", type=Path, default=Path(".autokd") / "search_cost")
    parser.add_argument("--finished", action="store_true", help="search nothing: show what is finished in --folder")
    parser.add_argument("--write", action="store_true", help="replace the section of docs/benchmarks.md")
    options = parser.parse_args()
    task = TASKS[options.dataset]
    methods = chosen_methods(options.methods, options.ablate)
    options.data = options.data or HERE.parent.parent / "shared" / "data" / task.data
    if not options.data.is_dir():
        print(f"skipped: no files of {task.title} in {options.data}; give --data FOLDER")
        return 0
    share_modules()
    try:
        benchmark = Benchmark(task, options)
    except AutokdError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    benchmark.run(methods)
    text = benchmark.text()
    print(text)
    if options.write:
        write_section(text, "search_cost" if task.name == "fashion_mnist" else f"search_cost_{task.name}")
    return 0 if benchmark.results else 1


if __name__ == "__main__":
    raise SystemExit(main())
