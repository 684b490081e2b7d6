"""NAS-Bench-201 on six real devices: which sampler finds the front of (latency, accuracy) in how many evaluations.

    python benchmarks/nas_bench_201.py [--data ../shared/data/nas_bench_201] [--seeds 5] [--trials 300]
        [--samplers frontier,frontier:latency,...] [--devices raspi4,...] [--folder FOLDER] [--write]

Every accuracy is looked up in the published table of all 15,625 cells, so nothing is trained. Each sampler runs in an
ordinary Optuna study through its public interface. Objective 0 is the latency on one device, objective 1 the accuracy on
CIFAR-100. The hypervolume is taken on linear scales over the reference point (1.1 x the largest latency on the true front
above 60 %, 60 %) and divided by the true front's. A study that is finished in ``--folder`` is read, not repeated: remove the
folder after a change of a sampler. ``--write`` puts the tables into ``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from common import machine, shown_arguments, write_section
from optuna.samplers import BaseSampler

from autokd import registry
from autokd.files import write_atomic
from autokd.pareto import hypervolume, non_dominated
from autokd.samplers import FrontierSampler

ROOT = Path(__file__).parent.parent
DIRECTIONS: tuple[Literal["minimize"], Literal["maximize"]] = ("minimize", "maximize")
FLOOR = 60.0
"""Accuracy of the reference point, in percent."""
AT = (50, 100, 300)
OPERATIONS = ("none", "skip", "conv1x1", "conv3x3", "pool3x3")
DEVICES = ("gold_6226", "raspi4", "fpga", "eyeriss", "titan_rtx_1", "samsung_s7")


class Bench:
    """The table: a cell's row by its six operations, and its columns."""

    def __init__(self, file: Path) -> None:
        with np.load(file) as columns:
            self.columns = {name: columns[name] for name in columns.files}
        self.row = {code.decode(): i for i, code in enumerate(self.columns["code"])}

    def at(self, params: dict[str, Any]) -> int:
        """The row of a candidate."""
        return self.row["".join(str(OPERATIONS.index(params[f"edge_{i}"])) for i in range(6))]

    def latency(self, device: str) -> np.ndarray:
        """``(15625,)`` milliseconds."""
        return self.columns[f"lat_ms_{device}"].astype(float)

    def accuracy(self, searched: str) -> np.ndarray:
        """``(15625,)`` percent: of the 200-epoch ``"test"``, or the 12-epoch ``"validation"`` a search would see."""
        return self.columns["acc200_test_cifar100" if searched == "test" else "acc12_val_cifar100"].astype(float)

    def ratio(self, device: str, rows: Sequence[int]) -> float:
        """Hypervolume of some cells, by 200-epoch test accuracy, over that of the true front."""
        values = np.column_stack([self.latency(device), self.accuracy("test")])
        good = values[values[:, 1] > FLOOR]
        front = good[non_dominated(good, DIRECTIONS)]
        reference = [1.1 * front[:, 0].max(), FLOOR]
        return hypervolume(values[list(rows)], reference, DIRECTIONS) / hypervolume(front, reference, DIRECTIONS)


Make = Callable[[Bench, str, int], BaseSampler]


def frontier(features: bool = True, known: bool = True, reference: bool = True) -> Make:
    """The frontier sampler with its free facts, with the latency alone, or with nothing known."""

    def make(bench: Bench, device: str, seed: int) -> BaseSampler:
        latency = bench.latency(device)
        scores = [bench.columns[f"{n}_cifar100"] for n in ("params_M", "zc_naswot", "zc_logsynflow")]
        return FrontierSampler(
            {0: lambda p: latency[bench.at(p)]} if known else None,
            features=(lambda p: [score[bench.at(p)] for score in scores]) if features else None,
            reference_point=[None, FLOOR] if reference else None,
            seed=seed,
        )

    return make


def registered(name: str) -> Make:
    """A sampler of autokd's registry."""
    return lambda bench, device, seed: registry.load("samplers", name)(seed, {})


SAMPLERS: dict[str, tuple[str, Make]] = {
    "frontier": ("`frontier`, latency and zero-cost scores", frontier()),
    "frontier:inferred": ("`frontier`, the same, reference point inferred", frontier(reference=False)),
    "frontier:latency": ("`frontier`, latency alone", frontier(features=False)),
    "frontier:nothing": ("`frontier`, nothing known", frontier(features=False, known=False)),
    "optuna:tpe": ("`optuna:tpe`, multivariate", registered("optuna:tpe")),
    "optuna:nsga2": ("`optuna:nsga2`", registered("optuna:nsga2")),
    "optuna:random": ("`optuna:random`", registered("optuna:random")),
    "nni:evolution": ("`nni:evolution`", registered("nni:evolution")),
}
DEFAULT = [name for name in SAMPLERS if name != "nni:evolution"]  # 300 trials of it take as long as all the others


@dataclass(frozen=True)
class Run:
    """One study: the rows it evaluated in order, and the CPU seconds of its last 100 proposals, or of all if it has fewer."""

    rows: list[int]
    seconds_per_100: float


def kept(folder: Path, bench: Bench, name: str, device: str, seed: int, trials: int, searched: str) -> Run:
    """The study as it lies in the folder; if it does not, it is run and laid there."""
    file = folder / f"{name.replace(':', '-')}_{device}_{seed}_{trials}_{searched}.json"
    if not file.is_file():
        done = run(bench, SAMPLERS[name][1], device, seed, trials, searched)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(asdict(done)))
    return Run(**json.loads(file.read_text(encoding="utf-8")))


def run(bench: Bench, make: Make, device: str, seed: int, trials: int, searched: str = "test") -> Run:
    """One study of so many trials."""
    latency, accuracy = bench.latency(device), bench.accuracy(searched)
    study = optuna.create_study(directions=DIRECTIONS, sampler=make(bench, device, seed))
    rows: list[int] = []
    late = 0.0
    for number in range(trials):
        start = time.process_time()
        trial = study.ask()
        row = bench.at({f"edge_{i}": trial.suggest_categorical(f"edge_{i}", OPERATIONS) for i in range(6)})
        late += (time.process_time() - start) * (number >= trials - 100)
        rows.append(row)
        study.tell(trial, [latency[row], accuracy[row]])
    return Run(rows, late * 100 / min(trials, 100))


def table(
    folder: Path, bench: Bench, names: Sequence[str], devices: Sequence[str], seeds: int, trials: int, searched: str
) -> str:
    """One row a sampler: means over devices and seeds with the standard deviation between seeds, then each device."""
    at = [n for n in AT if n <= trials]
    heads = [*(f"at {n}" for n in at), *(f"{d} at {at[-1]}" for d in devices), f"CPU s per 100 proposals at {trials}"]
    lines = [f"| sampler | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name in names:
        title = SAMPLERS[name][0]
        found = np.empty((len(devices), seeds, len(at)))
        seconds = []
        for i, device in enumerate(devices):
            for seed in range(seeds):
                done = kept(folder, bench, name, device, seed, trials, searched)
                found[i, seed] = [bench.ratio(device, done.rows[:n]) for n in at]
                seconds.append(done.seconds_per_100)
            print(f"  {name} on {device}: {found[i].mean(axis=0).round(3).tolist()}", file=sys.stderr, flush=True)
        means = found.mean(axis=0)
        cells = [f"{m.mean():.3f}" + (f" ± {m.std():.3f}" if seeds > 1 else "") for m in means.T]
        cells += [f"{found[i, :, -1].mean():.3f}" for i in range(len(devices))] + [f"{np.median(seconds):.1f}"]
        lines.append(f"| {title} | {' | '.join(cells)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "nas_bench_201")
    parser.add_argument("--samplers", default=",".join(DEFAULT), help=", ".join(SAMPLERS))
    parser.add_argument("--devices", default=",".join(DEVICES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=AT[-1])
    parser.add_argument("--folder", type=Path, default=Path(".autokd") / "nas_bench_201", help="of finished studies")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    file = options.data / "nas_bench_201.npz"
    if not file.is_file():
        print(f"skipped: {file} is not there; name its folder with --data")
        return 0
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    bench, names, devices = Bench(file), options.samplers.split(","), options.devices.split(",")
    sizes = (devices, options.seeds, options.trials)
    direct = table(options.folder, bench, names, *sizes, "test")
    honest = table(
        options.folder,
        bench,
        [n for n in names if n in ("frontier", "optuna:random")] or names[:1],
        *sizes,
        "validation",
    )
    head = f"Command: `python benchmarks/nas_bench_201.py {shown_arguments()}`. {machine(time.time())} One thread."
    measure = "Hypervolume ratio to the true front of (latency, CIFAR-100 test accuracy after 200 epochs), mean over"
    spread = f"{len(devices)} devices and {options.seeds} seeds ± standard deviation between seeds."
    spread = spread if options.seeds > 1 else f"{len(devices)} devices; one seed."
    protocol = (
        "The honest protocol: the search sees the validation accuracy after 12 epochs; all it evaluated is judged by"
    )
    text = f"{head}\n\n{measure} {spread}\n\n{direct}\n\n{protocol} the test accuracy after 200.\n\n{honest}"
    print(text)
    if options.write:
        write_section(text, "nas_bench_201")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
