"""Data, teacher, its cached outputs and the yardstick of a benchmark, once in a folder; what they cost, apart."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from common import LATENCY, teacher_cpu_s
from tasks import Facts, Task

from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.data.dataset import majority_accuracy
from autokd.data.dataset_store import open_dataset
from autokd.deployment.export import export
from autokd.errors import HardwareError
from autokd.evaluation.parts import CLOCKS
from autokd.evaluation.prepare import load_data, prepare
from autokd.evaluation.teacher import obtain_teacher
from autokd.files import read_json, write_json
from autokd.hardware.meter import LatencyMeter
from autokd.hardware.profile import describe_host
from autokd.hardware.turnstile import Quiet
from autokd.protocols import Dataset
from autokd.runners.threads import torch_threads
from autokd.students.build import build_module

TIMINGS = 7
"""Timings of the yardstick; the median counts."""


def shared_root(folder: Path) -> Path:
    """Where the studies of a benchmark's ledger share data, teacher, outputs and clock."""
    return folder / ".autokd"


def prepared(task: Task, data: str, folder: Path, tell: Callable[[str, float | None], None]) -> Facts:
    """What a benchmark needs before its first search, made or found in its folder.

    Args:
        task: The data set.
        data: Folder of its files.
        folder: The benchmark's.
        tell: Shows progress.

    Raises:
        HardwareError: The folder's figures were taken on another processor.
        UserError: Data, teacher or device cannot serve.
    """
    file, root, cpu = folder / "facts.json", shared_root(folder), str(describe_host().get("cpu"))
    known = read_json(file)
    if known is not None:
        facts = Facts(**known)
        if facts.cpu != cpu:
            mend = "Give another --folder: latencies of two machines do not mix."
            raise HardwareError(f"{folder} must have been measured on this processor", facts.cpu, mend)
        return facts
    plan = make_plan(from_dict(task.study(data) | {"name": "preparation"}))
    fresh = not (root / "banks").exists()
    with torch_threads(1):
        obtain_teacher(plan, load_data(plan, root, tell), root / "teachers", "cpu", Quiet().working, tell)
        began = time.process_time()
        found: Any = prepare(plan, root, root / "preparation", tell).facts
        spent = time.process_time() - began
    dataset = open_dataset(Path(found["data"]["folder"]))
    measured = {(m["metric"], m["profile"]): m["value"] for m in found["teacher"]["measurements"]}
    metric, profile = LATENCY.split("@")
    facts = Facts(
        dataset=found["data"]["folder"],
        weights=str(Path(found["teacher"]["onnx"]).parent / "weights.safetensors"),
        teacher_cpu_s=teacher_cpu_s(root),
        bank_cpu_s=spent if fresh else None,
        majority=majority_accuracy(dataset),
        teacher_accuracy=found["teacher"]["check_up"]["accuracy"],
        teacher_ms=measured[metric, profile],
        yardstick_ms=_time_yardstick(task, dataset, root, LatencyMeter(plan.profiles, Quiet(), root / CLOCKS)),
        cpu=cpu,
    )
    write_json(file, asdict(facts))
    return facts


def _time_yardstick(task: Task, dataset: Dataset, root: Path, meter: LatencyMeter) -> float:
    """Milliseconds of the task's yardstick, exported as a student would be; weights do not matter to the clock."""
    family, params = task.yardstick
    file = root / "yardstick.onnx"
    export(
        build_module(family, params, dataset.spec, len(dataset.classes), 0).eval(),
        dataset.spec,
        dataset.classes,
        file,
        name=family,
    )
    with meter:
        return median(meter.measure(file, LATENCY.split("@")[1]).p50_ms for _ in range(TIMINGS))
