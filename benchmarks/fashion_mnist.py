"""Fashion-MNIST end to end: a front with test accuracy, and samplers at equal CPU seconds.

    python benchmarks/fashion_mnist.py [--data ../shared/data/fashion_mnist] [--cpu-s 240] [--seeds 2] [--write]

Prints the tables of ``docs/benchmarks.md``; ``--write`` replaces its section there. At most 40 minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from common import (
    FASHION_BOX,
    LATENCY,
    TrialsAlone,
    fashion_mnist_study,
    machine,
    share_modules,
    teacher_cpu_s,
    write_section,
)

from autokd.cli.progress import Bar
from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.formatting import number, summary
from autokd.pareto import non_dominated
from autokd.storage.results import Member
from autokd.study.search import search_plan
from autokd.study.study import Study

SAMPLERS = ("tpe", "evolution", "random")


def config(data: str, name: str, sampler: str, cpu_s: float, seed: int, folder: Path) -> dict[str, Any]:
    """One study: everything but the sampler is the same."""
    return fashion_mnist_study(data) | {
        "name": name,
        "sampler": f"seeded_samplers:{sampler}_{seed}",
        "budget": {"trials": None, "cpu_s": cpu_s},
        "storage": {"url": f"sqlite:///{folder / 'fashion_mnist.db'}"},
    }


def points(study: Study, until_cpu_s: float | None = None) -> list[tuple[float, float]]:
    """(validation accuracy, latency) of the measured students, up to a CPU budget."""
    spent, found = 0.0, []
    frame = study.to_dataframe()
    for row in frame.itertuples():
        spent += row.cpu_s if row.cpu_s == row.cpu_s else 0.0
        if until_cpu_s is not None and spent > until_cpu_s:
            break
        if row.outcome == "measured":
            found.append((row.accuracy, frame.loc[row.Index, LATENCY]))
    return found


def run(arguments: argparse.Namespace) -> str:
    began = time.time()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    studies: dict[tuple[str, int], Study] = {}
    for seed in range(arguments.seeds):
        for sampler in SAMPLERS:
            plan = make_plan(
                from_dict(config(arguments.data, f"{sampler}-{seed}", sampler, arguments.cpu_s, seed, folder))
            )
            bar = Bar()
            print(f"== {sampler}, seed {seed}", file=sys.stderr, flush=True)
            done, reason = search_plan(plan, bar, spent=TrialsAlone())
            studies[sampler, seed] = Study(done.ledger)
            print(f"   {reason}", file=sys.stderr, flush=True)
    text = [*head(arguments, began), *samplers_table(studies, arguments), *front_table(studies, arguments)]
    text.append(f"\nThe whole benchmark took {(time.time() - began) / 60:.0f} minutes.\n")
    return "\n".join(text)


def head(arguments: argparse.Namespace, began: float) -> list[str]:
    return [
        f"Command: `python benchmarks/fashion_mnist.py --cpu-s {arguments.cpu_s:g} --seeds {arguments.seeds}`. "
        f"{machine(began)}",
        "",
    ]


def samplers_table(studies: dict[tuple[str, int], Study], arguments: argparse.Namespace) -> list[str]:
    marks = [arguments.cpu_s / 3, 2 * arguments.cpu_s / 3, arguments.cpu_s]
    lines = [
        "Hypervolume on the validation split in the box log latency 6 to 150 µs x accuracy .80 to .94, normalised to 1; "
        f"mean over {arguments.seeds} seeds, lowest to highest in brackets.",
        "",
        "| sampler | " + " | ".join(f"at {m:.0f} CPU s" for m in marks) + " | trained | refused or known |",
        "|---|" + "---|" * (len(marks) + 2),
    ]
    for sampler in SAMPLERS:
        mine = [study for (name, _), study in studies.items() if name == sampler]
        cells = []
        for m in marks:
            volumes = [FASHION_BOX.volume(points(s, m)) for s in mine]
            cells.append(f"{mean(volumes):.3f} ({min(volumes):.3f}-{max(volumes):.3f})")
        statuses = [s.status() for s in mine]
        counted = mean(s["counted"] for s in statuses)
        other = mean(s["outcomes"]["infeasible"] + s["outcomes"]["duplicate"] for s in statuses)
        name = {"tpe": "optuna:tpe", "random": "optuna:random", "evolution": "nni:evolution"}[sampler]
        lines.append(f"| `{name}` | " + " | ".join(cells) + f" | {counted:.0f} | {other:.0f} |")
    return lines


def front_table(studies: dict[tuple[str, int], Study], arguments: argparse.Namespace) -> list[str]:
    """The front of all studies together, some of it trained on, with test accuracy and the gain over the teacher."""
    found = list(studies.values())
    chosen = together(found)
    for study, member in spread_out(chosen, arguments.finish):
        if any(m.record.parent == member.number for m in study.members()):
            continue  # trained on in an earlier run
        print(f"== {study.name}: finish trial {member.number}", file=sys.stderr, flush=True)
        study.finish(member.number, arguments.finish_samples)
    for study in found:
        study.confirm()
    front = together(found)
    teacher = found[0].status()["teacher"]
    measured = {(m["metric"], m["profile"]): m["value"] for m in teacher["measurements"]}
    latency, size = measured["latency_ms", "cpu_1_thread"], measured["size_bytes", None]
    lines = [
        "",
        f"The front of all {len(found)} studies together, {arguments.finish} of its students trained on by "
        f"{arguments.finish_samples} samples with `autokd finish`. Teacher: validation accuracy "
        f"{teacher['check_up']['accuracy']:.1%}, {number(latency, 'ms')}, {number(size, 'bytes')} in the same runtime; its "
        f'training took {teacher_cpu_s(found[0].root):.0f} CPU s, once for all studies. "Again" is a second timing, by '
        "`autokd confirm`.",
        "",
        "| study, trial | latency | again | times faster | size | times smaller | validation | test | student |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for study, m in front:
        ms, own = m.values[LATENCY], m.record.value("size_bytes") or 0.0
        test = m.confirmed or {}
        mark = " (trained on)" if m.record.parent is not None else ""
        lines.append(
            f"| {study.name}, {m.number}{mark} | {number(ms, 'ms')} | {number(test.get(LATENCY), 'ms')} | {latency / ms:.1f} | "
            f"{number(own, 'bytes')} | {size / own:.0f} | {m.values['accuracy']:.1%} | "
            f"{test['accuracy']:.1%} ± {test['accuracy_se']:.1%} | {summary(m.params)} |"
        )
    tests = [((m.confirmed or {})["accuracy"], m.values[LATENCY]) for _, m in front]
    lines.append(f"\nTest hypervolume of this front in the same box: {FASHION_BOX.volume(tests):.3f}.")
    return lines


def together(studies: Sequence[Study]) -> list[tuple[Study, Member]]:
    """The front of several studies over the same data and teacher, fastest first."""
    found = [(study, m) for study in studies for m in study.front()]
    values = [(m.values["accuracy"], m.values[LATENCY]) for _, m in found]
    kept = [f for f, keep in zip(found, non_dominated(values, ["maximize", "minimize"]), strict=True) if keep]
    return sorted(kept, key=lambda f: f[1].values[LATENCY])


def spread_out(front: list[tuple[Study, Member]], count: int) -> list[tuple[Study, Member]]:
    """Some members of the front, from the slowest down, evenly."""
    parents = [f for f in front if f[1].record.parent is None]
    step = max(1, len(parents) // max(1, count))
    return parents[::-1][::step][:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data/fashion_mnist")
    parser.add_argument("--folder", type=Path, default=Path(".autokd") / "benchmark")
    parser.add_argument("--cpu-s", type=float, default=240.0)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--finish", type=int, default=2, help="front members to train on")
    parser.add_argument("--finish-samples", type=int, default=200_000)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if not Path(arguments.data).is_dir():
        sys.exit(f"skipped: no Fashion-MNIST files in {arguments.data}; give --data FOLDER")
    share_modules()
    text = run(arguments)
    print(text)
    if arguments.write:
        write_section(text, "fashion_mnist")


if __name__ == "__main__":
    main()
