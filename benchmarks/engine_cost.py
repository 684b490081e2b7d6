"""What the engine costs beside training: a refused candidate part by part, sketch against exported file, a study's overhead.

    python benchmarks/engine_cost.py [--data ../shared/data/fashion_mnist] [--candidates 40] [--trials 8] [--write]

Without Fashion-MNIST files it runs on digits. Needs a quiet machine for its ratios; about ten minutes on two cores. Prints the
tables of ``docs/benchmarks.md``; ``--write`` replaces its section there.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import onnxruntime
import optuna
import torch
from common import write_section

from autokd.compression.fold import fold_residuals
from autokd.compression.int8_sketch import Int8Sketches
from autokd.compression.plans import GAINS, ORDER
from autokd.compression.pruning import L1, prune
from autokd.compression.quantization import quantize
from autokd.config.load import from_dict
from autokd.config.objectives import Constraint
from autokd.config.plan import make_plan
from autokd.deployment.export import export
from autokd.effort import BRIEF, QUICK
from autokd.evaluation.parts import Parts
from autokd.evaluation.pipeline import evaluate
from autokd.evaluation.prepare import load_data
from autokd.evaluation.screening import screen
from autokd.evaluation.screening.preflight import draw, set_up_untaught
from autokd.evaluation.screening.sketching import sketch_costs
from autokd.evaluation.stages.prune import Cutting
from autokd.evaluation.stages.quantize import comparison
from autokd.evaluation.trial_dir import TrialDir
from autokd.hardware.profile import describe_host
from autokd.storage.ledger import record_of
from autokd.students.build import prune_groups
from autokd.study.search import search_plan
from autokd.trial import Candidate, Measurement, Outcome, Stage

PROFILE = "cpu_1_thread"
LATENCY = f"latency_ms@{PROFILE}"
SPACES = ("mobilenet_28", "resnet_28")


def config(data: str, space: str, folder: Path, **changes: Any) -> dict[str, Any]:
    """A study of which only the parts are wanted, unless ``changes`` make it one to run."""
    source = {"source": "fashion_mnist", "path": data} if Path(data).is_dir() else {"source": "digits"}
    return {
        "name": f"cost-{space}",
        "data": source,
        "teacher": {"family": "resnet", "params": {"width": 8, "stages": 2}, "training": {"samples": 20_000}},
        "space": space,
        "hardware": [PROFILE],
        "objectives": ["maximize accuracy", f"minimize {LATENCY}"],
        "sampler": "optuna:random",
        "training": {"samples": 50_000, "batch_size": 128, "augment": "none", "views": 1},
        "resources": {"device": "cpu"},
        "storage": {"url": f"sqlite:///{folder / 'cost.db'}"},
        "seed": 0,
        **changes,
    }


@contextmanager
def opened(data: str, space: str, folder: Path) -> Iterator[Parts]:
    """Parts of an untaught study, its clock calibrated and its worker warm."""
    plan = make_plan(from_dict(config(data, space, folder)))
    root, home = folder / ".autokd", folder / ".autokd" / "studies" / space
    set_up_untaught(plan, load_data(plan, root, lambda text, share: None), root, home)
    with closing(Parts.open(home)) as parts:
        for params in draw(plan.space, 3, 9):
            costs_of(parts, params, bits=8)
        yield parts


def costs_of(parts: Parts, params: Mapping[str, Any], bits: int = 32) -> dict[str, Measurement]:
    """Costs of an unpruned candidate, sketched."""
    plan = parts.plan
    blueprint = parts.blueprint(plan.space.of_stage(Stage.BUILD, params))
    return sketch_costs(parts.bench, plan.space.family, blueprint, {}, bits, plan.profiles)


class Clock:
    """Milliseconds by part."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.times[part].append(1e3 * (time.perf_counter() - began))

    def cell(self, *parts: str) -> str:
        """Median and worst over candidates of the sum of some parts."""
        sums = [sum(row) for row in zip(*(self.times[p] for p in parts), strict=True)] if parts else []
        return f"{statistics.median(sums):.1f} ({max(sums):.0f})" if sums else "–"


def session_ms(file: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def parts_of_a_screen(
    parts: Parts, params: Sequence[Mapping[str, Any]], clocks: Sequence[Clock], folder: Path
) -> list[Any]:
    """Both ways through a float32 screen, and the latencies that they find; rows of (sketch, brief, exported, again)."""
    space, data, short, long = parts.plan.space, parts.dataset, *clocks
    rows = []
    for given in params:
        blueprint = parts.blueprint(space.of_stage(Stage.BUILD, given))
        cutting = Cutting.of(space.of_stage(Stage.PRUNE, given))
        with short("build"):
            outline = blueprint.outline
        with short("cut and graph"):
            drawn = screen.draw(parts.bench, space.family, outline, cutting.ratios)
        with short("write"):
            (folder / "sketch.onnx").write_bytes(drawn.data)
        with short("session"):
            session_ms(folder / "sketch.onnx")
        with short("session and timing"):
            brief = parts.meter.measure(folder / "sketch.onnx", PROFILE, BRIEF)
        with long("build"):
            student = blueprint.build()
        with long("cut"):
            if cutting:
                example = torch.from_numpy(np.ascontiguousarray(parts.calibration[:2]))
                prune(student, example, prune_groups(student) or {}, cutting.ratios, L1())
        with long("graph"):
            file = folder / "exported.onnx"
            export(student.eval(), data.spec, data.classes, file, name=space.family, passes=(fold_residuals,))
        with long("session"):
            session_ms(file)
        with long("session and timing"):
            parts.meter.measure(file, PROFILE, QUICK)
        full = [parts.meter.measure(f, PROFILE) for f in (folder / "sketch.onnx", file, file)]
        rows.append((drawn, brief.p50_ms, *(t.p50_ms for t in full), file.stat().st_size))
    return rows


def int8_of(
    parts: Parts, drawn: Any, brief_ms: float, float_ms: float, clocks: Sequence[Clock], folder: Path
) -> tuple[float, float, float, list[float]]:
    """Fastest plan sketched over fastest plan quantized, sketch's size over file's, float32 over int8 in time, and the fastest
    of float32 and the first plans over the fastest plan."""
    short, long = clocks
    with short("int8 graphs"):
        files = dict(Int8Sketches(drawn.model, drawn.types))
    times = {}
    for plan, content in files.items():
        (folder / "plan.onnx").write_bytes(content)
        with short("int8 timing"):
            times[plan] = parts.meter.measure(folder / "plan.onnx", PROFILE, BRIEF).p50_ms
    short.times["int8 plans"].append(len(files))
    with long("int8 quantize"):
        done = quantize(
            folder / "exported.onnx", parts.calibration[:8], folder / "int8.onnx", comparison(parts.meter, parts.clock)
        )
    final = parts.meter.measure(folder / "int8.onnx", PROFILE).p50_ms
    tried = [brief_ms, *(times[plan] for plan in ORDER if plan in times)]
    open_gains = [min(tried[: k + 1]) / min(times.values()) for k in range(1 + len(GAINS))]
    return min(times.values()) / final, len(files[done.plan]) / done.size_bytes, float_ms / final, open_gains


def screens(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """The first two tables."""
    short, long = Clock(), Clock()
    found: list[Any] = []
    int8: list[tuple[float, float, float, list[float]]] = []
    for space in SPACES:
        with opened(arguments.data, space, folder) as parts:
            params = draw(parts.plan.space, arguments.candidates // len(SPACES), 0)
            for given in params:
                rows = parts_of_a_screen(parts, [given], (short, long), folder)
                found += rows
                if len(int8) < arguments.candidates // 2 or space == SPACES[1]:
                    int8.append(int8_of(parts, rows[0][0], rows[0][1], rows[0][3], (short, long), folder))
    most = ", ".join(f"{max(column):.2f}" for column in zip(*(r[3] for r in int8), strict=True))
    graph = ["cut", "graph"]
    lines = [
        f"{len(found)} candidates of {' and '.join(SPACES)}, half of them pruned; milliseconds, median (worst).",
        "",
        "| way | build | cut | graph | write | session | session and timing | together |",
        "|---|---|---|---|---|---|---|---|",
        f"| sketch, brief timing | {short.cell('build')} | – | {short.cell('cut and graph')} | {short.cell('write')} "
        f"| {short.cell('session')} | {short.cell('session and timing')} "
        f"| {short.cell('build', 'cut and graph', 'write', 'session and timing')} |",
        f"| export, quick timing | {long.cell('build')} | {long.cell('cut')} | {long.cell('graph')} | – "
        f"| {long.cell('session')} | {long.cell('session and timing')} "
        f"| {long.cell('build', *graph, 'session and timing')} |",
        "",
        f"Int8: the graphs of all plans {short.cell('int8 graphs')} ms, {statistics.mean(short.times['int8 plans']):.1f} plans, "
        f"{short.cell('int8 timing')} ms for a brief timing of each; by the long way {long.cell('int8 quantize')} ms.",
        "",
        "| latency | median | 10 % to 90 % | lowest | highest |",
        "|---|---|---|---|---|",
        ratio_row("sketch / exported file", [r[2] / r[3] for r in found]),
        ratio_row("sketch, brief timing / exported file", [r[1] / r[3] for r in found]),
        ratio_row("exported file, timed again / the first time", [r[4] / r[3] for r in found]),
        ratio_row("int8: fastest sketched plan, brief / fastest quantized file", [r[0] for r in int8]),
        ratio_row("float32 file / its fastest int8 file", [r[2] for r in int8]),
        "",
        f"The fastest of float32 and the first plans, none of them, one and so on, over the fastest plan, at most: {most}.",
        "",
        f"Size of the int8 sketch over that of the quantized file: {min(r[1] for r in int8):.3f} to {max(r[1] for r in int8):.3f}.",
        "",
    ]
    return lines


def ratio_row(name: str, values: Sequence[float]) -> str:
    low, middle, high = np.percentile(values, [10, 50, 90])
    return f"| {name} | {middle:.3f} | {low:.3f} to {high:.3f} | {min(values):.3f} | {max(values):.3f} |"


def refusals(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """Whole evaluations of candidates that a limit on latency or size refuses, stages, records and files included."""
    lines = [
        "A whole evaluation that ends in a refusal (stages, store, records on disk), milliseconds:",
        "",
        "| limit | bits | refused | median | 90 % | worst |",
        "|---|---|---|---|---|---|",
    ]
    with opened(arguments.data, SPACES[0], folder) as parts:
        every = draw(parts.plan.space, arguments.candidates, 1)
        costs = [costs_of(parts, p) for p in every]
        usual = statistics.median(c[LATENCY].value for c in costs)
        limits = {
            "size_bytes <= 2 kB": Constraint("size_bytes", "<=", 2000.0),
            "latency <= a twentieth of the median": Constraint("latency_ms", "<=", usual / 20, PROFILE),
            "latency <= half of the median": Constraint("latency_ms", "<=", usual / 2, PROFILE),
        }
        for name, limit in limits.items():
            own = replace(parts, plan=replace(parts.plan, constraints=(limit,)))
            for bits in (32, 8):
                times = []
                for i, params in enumerate(every):
                    trial = folder / "trials" / f"{len(lines)}-{bits}-{i}"
                    began = time.perf_counter()
                    record = evaluate(Candidate({**params, "bits": bits}), Refusing.of(own), TrialDir(trial, own.store))
                    spent = 1e3 * (time.perf_counter() - began)
                    if record.outcome == Outcome.INFEASIBLE:
                        times.append(spent)
                cells = [f"{v:.0f}" for v in (*np.percentile(times, [50, 90]), max(times))] if times else ["–"] * 3
                lines.append(f"| {name} | {bits} | {len(times)} of {len(every)} | {' | '.join(cells)} |")
    return [*lines, ""]


class Refusing(Parts):
    """Parts whose students are never trained: what is not refused fails at once, and is not counted."""

    @classmethod
    def of(cls, parts: Parts) -> Refusing:
        return cls(parts.plan, parts.dataset, parts.home, parts.setup, parts.meter, parts.quiet)

    def build(self, family: str, params: Mapping[str, Any]) -> Any:
        raise RuntimeError("training is not part of this")


def overhead(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """A real search, one trial at a time: what of its wall clock is not training."""
    lines = [
        f"A search of {arguments.trials} trials, one at a time, space {SPACES[0]}, {arguments.samples:,} samples each; seconds "
        "of the wall clock, pauses for a disturbed core included, which the CPU seconds of the last column are without. Teacher "
        "and its outputs are not in it; start is the first worker's, and not in the last columns.",
        "",
        "| runner | start | search | training | each | screen | export | quantize | verify | measure | rest | not training "
        "| of CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for runner in arguments.runners:
        raw = config(arguments.data, SPACES[0], folder, name=f"overhead-{runner}", runner=runner, concurrency=1)
        raw |= {"budget": {"trials": arguments.trials}}
        raw["training"] |= {"samples": arguments.samples, "tune_samples": arguments.samples // 5}
        study, _ = search_plan(make_plan(from_dict(raw)))
        trials = study.ledger.trials()
        times: dict[str, float] = defaultdict(float)
        cpu = every = start = 0.0
        for trial in trials:
            record = record_of(trial)
            if record and not trial.number and trial.duration:
                start = trial.duration.total_seconds() - sum(stage.duration_s for stage in record.stages)
            for stage in record.stages if record else ():
                times[stage.stage] += stage.duration_s
                every += stage.cpu_s
                cpu += stage.cpu_s if stage.stage in ("distill", "prune") else 0.0
        ends = [t.datetime_complete for t in trials if t.datetime_complete]
        wall = (max(ends) - min(t.datetime_start for t in trials if t.datetime_start)).total_seconds() - start
        training = times["distill"] + times["prune"]
        named = [times[s] for s in ("screen", "export", "quantize", "verify", "measure")]
        rest = wall - training - sum(named)
        cells = [f"{v:.1f}" for v in (start, wall, training)] + [f"{cpu / arguments.trials:.1f} CPU-s"]
        cells += [f"{v:.2f}" for v in (*named, rest)] + [f"{1 - training / wall:.1%}", f"{1 - cpu / every:.1%}"]
        lines.append(f"| {runner} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data/fashion_mnist")
    parser.add_argument("--candidates", type=int, default=40)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--samples", type=int, default=50_000, help="of training, for trials of about 10 CPU-seconds")
    parser.add_argument("--runners", nargs="*", default=["ray", "local"])
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    arguments.data = str(Path(arguments.data).absolute())
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(tempfile.mkdtemp(prefix="autokd-cost-"))
    try:
        host, date = describe_host(), datetime.datetime.now(tz=datetime.UTC).date()
        text = "\n".join(
            [
                f"Command: `python benchmarks/engine_cost.py`. Machine: {host.get('cpu')}, {host.get('cores')} cores, {date}.",
                "",
                *(screens(arguments, folder) if arguments.candidates else []),
                *(refusals(arguments, folder) if arguments.candidates else []),
                *(overhead(arguments, folder) if arguments.trials else []),
            ]
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(text)
    if arguments.write:
        write_section(text, "engine_cost")


if __name__ == "__main__":
    main()
