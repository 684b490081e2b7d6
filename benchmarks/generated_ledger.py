"""A ledger of many trials, written straight into Optuna's tables: what a long search leaves, in seconds."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import optuna

from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.storage.attributes import FACTS_KEY, RECORD_KEY, REFERENCE_KEY, STATE_KEY
from autokd.study.study import Study
from autokd.trial import Measurement, Outcome, ParamValue, StageRecord, TrialRecord, Violation

PROFILE = "cpu_1_thread"
DRAWN = 2000
"""Different candidates; a larger study repeats them."""


def generate(folder: Path, trials: int, name: str = "generated", seed: int = 0) -> str:
    """A finished study of ``trials`` trials (8 of 10 measured); returns the ledger's URL."""
    url = f"sqlite:///{folder / f'{name}.db'}"
    raw = {
        "name": name,
        "data": {"source": "digits"},
        "teacher": {"family": "mobilenet"},
        "space": "mobilenet_28",
        "hardware": [PROFILE],
        "objectives": ["maximize accuracy", f"minimize latency_ms@{PROFILE}"],
        "budget": {"trials": trials},
    }
    study = Study.create(make_plan(from_dict(raw)), url)
    teacher = [Measurement("accuracy", 0.93, "ratio"), Measurement("latency_ms", 0.164, "ms", PROFILE, 0.01)]
    facts = {"name": "resnet", "fingerprint": "t", "measurements": [asdict(m) for m in teacher]}
    study.ledger.set_attr(FACTS_KEY, {"teacher": facts, "data": {"fingerprint": "d"}})
    study.ledger.set_attr(REFERENCE_KEY, [0.1, 0.164])
    study.ledger.set_attr(STATE_KEY, f"finished: {trials} trials")
    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = [study.plan.space.suggest(asked.ask()) for _ in range(min(trials, DRAWN))]
    rng = np.random.default_rng(seed)
    began = datetime(2026, 1, 1)
    with sqlite3.connect(folder / f"{name}.db") as database:
        (study_id,) = database.execute("SELECT study_id FROM studies WHERE study_name = ?", (name,)).fetchone()
        for number in range(trials):
            params = drawn[number % len(drawn)]
            record = _record(study.home, number, params, rng)
            state = {Outcome.MEASURED: "COMPLETE", Outcome.INFEASIBLE: "PRUNED"}.get(record.outcome, "FAIL")
            start = began + timedelta(seconds=10 * number)
            row = (number, study_id, state, str(start), str(start + timedelta(seconds=9)))
            sql = (
                "INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete) VALUES (?, ?, ?, ?, ?)"
            )
            trial_id = database.execute(sql, row).lastrowid
            database.execute(
                "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)",
                (trial_id, RECORD_KEY, json.dumps(record.to_json())),
            )
            if state == "COMPLETE":
                values = [record.value("accuracy"), record.value(f"latency_ms@{PROFILE}")]
                database.executemany(
                    "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, ?, ?, 'FINITE')",
                    [(trial_id, k, v) for k, v in enumerate(values)],
                )
    return url


def _record(home: Path, number: int, params: dict[str, ParamValue], rng: np.random.Generator) -> TrialRecord:
    kind = rng.random()
    size = float(np.exp(rng.normal(10.5, 0.8)))
    latency = 0.006 * float(np.exp(rng.gamma(2.0, 0.5)))
    costs = (
        Measurement("size_bytes", round(size), "bytes"),
        Measurement("macs", round(size * 40), ""),
        Measurement("params", round(size / 4), ""),
        Measurement("latency_ms", latency, "ms", PROFILE, 0.004, {"p90_ms": latency * 1.02, "count": 4000, "batch": 1}),
        Measurement("peak_memory_bytes", 2e5, "bytes", PROFILE),
    )
    stages = [StageRecord("build", f"b{number}", 0.01), StageRecord("screen", f"s{number}", 0.2, 0.1)]
    folder = str(home / "trials" / f"{number:05d}")
    if kind < 0.12:
        violation = Violation("size_bytes <= 100000", size, max(1.0, size - 1e5))
        return TrialRecord(Outcome.INFEASIBLE, params, costs, (violation,), tuple(stages), folder=folder)
    stages += [StageRecord("distill", f"d{number}", 8.0, 7.5), StageRecord("prune", f"p{number}", 2.0, 1.9)]
    if kind < 0.16:
        return TrialRecord(
            Outcome.FAILED, params, costs, (), tuple(stages), True, "distill", "diverged", "the loss was not finite",
            folder=folder,
        )  # fmt: skip
    accuracy = float(np.clip(0.93 - 0.1 * np.exp(-latency / 0.01) - abs(rng.normal(0, 0.03)), 0.1, 0.95))
    quality = (
        Measurement("accuracy", accuracy, "ratio", spread=0.003),
        Measurement("log_loss", 1 - accuracy, "nats", spread=0.01),
        Measurement("agreement", accuracy - 0.01, "ratio", spread=0.003),
    )
    stages += [StageRecord(s, f"{s}{number}", 0.3, 0.2) for s in ("export", "verify", "measure")]
    return TrialRecord(
        Outcome.MEASURED, params, costs + quality, (), tuple(stages), True, artifact=f"{folder}/student.onnx",
        artifact_sha256="0" * 64, folder=folder, notes={"verify": {"n": 10000, "prediction_mismatches": 0}},
    )  # fmt: skip
