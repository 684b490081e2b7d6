"""Runs the documented script and measures what it found as autokd measures its own: by the same worker, on the test split."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import HERE, LATENCY
from curves import Run, Student
from tasks import Facts

from autokd.config.study_file import TrainingConfig
from autokd.data.dataset_store import open_dataset
from autokd.deployment.verify import scores
from autokd.errors import StudyError
from autokd.evaluation.recipe import make_recipe, tuning_recipe
from autokd.files import read_json, write_atomic, write_json
from autokd.hardware.meter import LatencyMeter

SCRIPT = HERE / "peers" / "ray_optuna.py"
RECIPE = ("samples", "batch_size", "lr", "weight_decay")


def script_run(study: dict[str, Any], facts: Facts, folder: Path, budget: float, seed: int, meter: LatencyMeter) -> Run:
    """One search of the script, run or found finished in its folder.

    ``measured.jsonl`` in the folder is the script's ``trials.jsonl`` with ``test_accuracy`` of each file, and
    ``worker_ms`` and ``again_ms``: its latency by autokd's worker, twice, the second time after all others.

    Args:
        study: The task's study: teacher, space and training are taken from it.
        facts: Where data and teacher are.
        folder: The run's own.
        budget: CPU seconds.
        seed: Of Optuna's sampler.
        meter: Times files on the study's profile.

    Raises:
        StudyError: The script failed.
    """
    done = script_done(folder, budget)
    if done is None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        began = time.time()
        _run(study, facts, folder, budget, seed)
        wall_s = time.time() - began
        _measure(facts, folder, meter)
        done = {"cpu_s": budget, "wall_s": wall_s}
        write_json(folder / "done.json", done)
    rows = [json.loads(line) for line in (folder / "measured.jsonl").read_text(encoding="utf-8").splitlines()]
    students = (Student(r["cpu_s"], r["accuracy"], r["worker_ms"], r["test_accuracy"], r["again_ms"]) for r in rows)
    return Run(tuple(students), budget, done["wall_s"])


def script_done(folder: Path, budget: float) -> dict[str, Any] | None:
    """What is known of the script's run in a folder, if it is finished and spent so many CPU seconds."""
    done: dict[str, Any] | None = read_json(folder / "done.json")
    return done if done is not None and done["cpu_s"] >= budget else None


def _run(study: dict[str, Any], facts: Facts, folder: Path, budget: float, seed: int) -> None:
    training = TrainingConfig.model_validate(study["training"])
    recipe = make_recipe(training, {}, len(open_dataset(Path(facts.dataset)).splits.train))
    stated = {k: getattr(recipe, k) for k in RECIPE} | {"tune_samples": tuning_recipe(training, {}, recipe).samples}
    teacher = {k: study["teacher"][k] for k in ("family", "params")}
    task = {"dataset": facts.dataset, "weights": facts.weights, "teacher": teacher, "space": study["space"]}
    write_json(folder / "task.json", task | {"training": stated})
    command = [sys.executable, str(SCRIPT), str(folder / "task.json"), str(folder)]
    command += ["--cpu-s", str(budget), "--seed", str(seed)]
    with (folder / "output.txt").open("wb") as output:
        environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environment).returncode
    if code or not (folder / "trials.jsonl").exists():
        law = "the documented script must finish trials"
        raise StudyError(law, f"exit code {code}", f"Its output: {folder / 'output.txt'}.")


def _measure(facts: Facts, folder: Path, meter: LatencyMeter) -> None:
    rows = [json.loads(line) for line in (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines()]
    dataset, profile = open_dataset(Path(facts.dataset)), LATENCY.split("@")[1]
    index = dataset.splits.test
    inputs, targets = np.asarray(dataset.inputs[index]), np.asarray(dataset.targets[index])
    for key in ("worker_ms", "again_ms"):
        for row in rows:
            row[key] = meter.measure(Path(row["file"]), profile).p50_ms
    for row in rows:
        row["test_accuracy"] = float((scores(Path(row["file"]), inputs).argmax(axis=1) == targets).mean())
    write_atomic(folder / "measured.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
