"""Real ledgers with real ONNX files for the dashboard's pages."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from streamlit.testing.v1 import AppTest

import autokd.dashboard
from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.files import file_sha256, write_json
from autokd.storage.attributes import DRIVER_KEY, FACTS_KEY, REFERENCE_KEY, RUNG_KEY, STATE_KEY
from autokd.storage.ledger import connect
from autokd.study.study import Study
from autokd.trial import Measurement, Outcome, Rung, StageRecord, TrialRecord, Violation

APP = Path(str(autokd.dashboard.__file__)).parent / "app.py"
EVIL = "<b>kd</b> [x](javascript:alert(1)) :red[$y$]"
Make = Callable[..., Study]
Open = Callable[..., AppTest]


LADDER: tuple[tuple[Rung, tuple[str, ...]], ...] = (
    (Rung("root", 1 / 3), ()),
    (Rung("root", 1 / 3), ()),
    (Rung("train", 2 / 3, 0), ()),
    (Rung("narrow", 0.4, 2, 0.8), ("prune_1 0.5",)),
    (Rung("narrow", 0.4, 3, 0.8), ("prune_1 0.5", "prune_stem 0.25")),
    (Rung("train", 0.6, 3), ()),
)
"""What the students of ``make(ladder=True)`` did, and their cuts; with six of them the last one is dominated."""


def config(name: str, hardware: list[str], ladder: bool = False) -> dict[str, object]:
    return {
        "search": {"strategy": "ladder" if ladder else "independent"},
        "name": name,
        "data": {"source": "digits"},
        "teacher": {"family": "mobilenet"},
        "space": "digits",
        "hardware": hardware,
        "objectives": ["maximize accuracy", "minimize latency_ms@cpu_1_thread"],
        "runner": "local",
        "budget": {"trials": 12},
    }


def write_student(path: Path, width: int) -> None:
    """A real little net: raw digits (N, 1, 8, 8) to 10 scores."""
    rng = np.random.default_rng(width)
    shapes = {"w1": (64, width), "w2": (width, 10)}
    weights = [onnx.numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in shapes.items()]
    node = onnx.helper.make_node
    nodes = [
        node("Flatten", ["input"], ["x"]), node("MatMul", ["x", "w1"], ["h"]),
        node("Relu", ["h"], ["r"]), node("MatMul", ["r", "w2"], ["scores"]),
    ]  # fmt: skip
    tensor = onnx.helper.make_tensor_value_info
    source = tensor("input", onnx.TensorProto.FLOAT, ["N", 1, 8, 8])
    scores = tensor("scores", onnx.TensorProto.FLOAT, ["N", 10])
    graph = onnx.helper.make_graph(nodes, "student", [source], [scores], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, {"classes": json.dumps([str(i) for i in range(10)])})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Making the tables takes a second; copying them does not."""
    file = tmp_path_factory.mktemp("ledger") / "autokd.db"
    connect(f"sqlite:///{file}", create=True).engine.dispose()
    return file


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_ledger: Path) -> Make:
    """A factory of studies in one ledger; ``students`` are measured ones, a rejected and a failed trial come with them.

    Trial k of ``students`` has accuracy .80 + .03 k (the last of three or more: .5, dominated) and .01 (k + 1) ms; on a second
    device the order of speeds is reversed. ``live=True`` gives it a driver's heartbeat and a trial that is running. With
    ``ladder=True`` the students, at most six, are the rungs of two ladders.
    """
    shutil.copy(empty_ledger, tmp_path / "autokd.db")
    url = f"sqlite:///{tmp_path / 'autokd.db'}"
    monkeypatch.setenv("AUTOKD_DASHBOARD_STORAGE", url)
    monkeypatch.setenv("AUTOKD_DASHBOARD_STUDY", "")

    def build(name: str = "digits", students: int = 5, state: str = "finished: 12 trials", evil: bool = False,
              hardware: tuple[str, ...] = ("cpu_1_thread",), live: bool = False, ladder: bool = False) -> Study:  # fmt: skip
        study = Study.create(make_plan(from_dict(config(name, list(hardware), ladder))), url)
        study.ledger.set_attr(STATE_KEY, state)
        teacher = [Measurement("accuracy", 0.98, "ratio"), Measurement("latency_ms", 0.4, "ms", "cpu_1_thread", 0.01)]
        facts = {"name": "mobilenet", "fingerprint": "t", "measurements": [vars(m) for m in teacher]}
        if students or state == "searching":
            study.ledger.set_attr(FACTS_KEY, {"teacher": facts, "data": {"fingerprint": "d"}})
            study.ledger.set_attr(REFERENCE_KEY, [0.1, 0.4])
        for k in range(students):
            more: dict[str, Any] = {}
            if ladder:
                rung, cuts = LADDER[k]
                more = {"rung": rung, "parent": rung.parent, "notes": {"cuts": list(cuts)} if cuts else {}}
            add(study, k, students, evil, hardware, **more)
        if students:
            violation = Violation("latency_ms@cpu_1_thread <= 1", 2.0, 1.0)
            for record in (
                TrialRecord(Outcome.INFEASIBLE, violations=(violation,)),
                TrialRecord(
                    Outcome.FAILED, began_training=True, failed_stage="distill", cause="diverged",
                    detail="the loss was not finite by step 20", params={"bits": 32, "method": "kd"},
                ),
            ):  # fmt: skip
                study.ledger.finish(study.optuna_study.ask(), record, None)
        if live:
            study.ledger.set_attr(DRIVER_KEY, {"beat": time.time()})
            if ladder:
                study.ledger.enqueue({"bits": 8}, **{RUNG_KEY: asdict(Rung("narrow", 0.4, 5, 0.8))})
            running = study.optuna_study.ask()
            folder = study.home / "trials" / f"{running.number:05d}"
            folder.mkdir(parents=True)
            write_json(folder / "progress.json", {"stage": "distill", "samples": 1000, "of": 4000, "time": time.time()})
        return study

    return build


def add(study: Study, k: int, students: int, evil: bool, hardware: tuple[str, ...], **more: Any) -> None:
    trial = study.optuna_study.ask()
    folder = study.home / "trials" / f"{trial.number:05d}"
    file = folder / "student.onnx"
    write_student(file, 4 + 8 * k)
    accuracy = 0.80 + 0.03 * k if k != students - 1 or students < 3 else 0.5  # the last one is dominated
    measurements = [Measurement("accuracy", accuracy, "ratio", spread=0.01)]
    for place, profile in enumerate(hardware):
        # the second device likes the students the other way round: there only the best one is on the front
        value = 0.01 * (k + 1) if place == 0 else 0.01 * (students + 1 - k)
        measurements.append(Measurement("latency_ms", value, "ms", profile, 0.004))
    measurements += [
        Measurement("size_bytes", float(file.stat().st_size), "bytes"),
        Measurement("params", 64.0 * k + 74, ""),
    ]
    params = {"bits": 8 if k % 2 else 32, "lr": 0.2, "method": EVIL if evil else "kd", "prune_1": 0.25 * (k % 3)}
    stages = (
        StageRecord("build", f"b{k}", 0.01), StageRecord("distill", f"d{k // 2}", 2.0, 1.5, cached=k % 2 == 1),
        StageRecord("measure", f"m{k}", 0.3, 0.1),
    )  # fmt: skip
    record = TrialRecord(
        Outcome.MEASURED, params, tuple(measurements), began_training=True, artifact=str(file), stages=stages,
        artifact_sha256=file_sha256(file), folder=str(folder),
    )  # fmt: skip
    curve = [{"samples": 100 * i, "loss": 2.0 / i, "validation_accuracy": 0.2 * i, "cpu_s": 0.1 * i} for i in (1, 2, 3)]
    write_json(folder / "curve.json", curve)
    blocks = [
        {"name": "stem", "kind": "plain", "in": 1, "out": 8, "kernel": 3, "stride": 2, "residual": False, "size": [4, 4]},
        {"name": "1.1", "kind": "inverted", "in": 8, "out": 8, "hidden": 16, "kernel": 3, "stride": 1, "residual": True,
         "size": [4, 4]},
        {"name": "head", "kind": "linear", "in": 8, "out": 10},
    ]  # fmt: skip
    write_json(folder / "blocks.json", blocks)
    np.save(folder / "validation_scores.npy", np.random.default_rng(k).normal(size=(40, 10)).astype(np.float32))
    study.ledger.finish(trial, replace(record, **more), [accuracy, 0.01 * (k + 1)])


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a page by its path; fails on an exception. ``app.error`` is for the test to look at."""

    def opened(path: str = "front", study: str = "") -> AppTest:
        monkeypatch.setenv("AUTOKD_DASHBOARD_PAGE", path)
        if study:
            monkeypatch.setenv("AUTOKD_DASHBOARD_STUDY", study)
        app = AppTest.from_file(str(APP), default_timeout=120).run()
        assert not app.exception
        return app

    return opened


def go(app: AppTest, page: str) -> AppTest:
    """Another page of the same session: AppTest's own switch knows pages in files only."""
    app._page_hash = next(h for h, info in app._registered_pages.items() if info["url_pathname"] == page)
    return app.run()


def figures(app: AppTest) -> list[str]:
    """Plotly's JSON of every figure of the page, those that keep their zoom first."""
    drawn = [json.loads(c.proto.json)["figure"] for c in app.get("bidi_component")]
    return drawn + [str(c.proto.spec) for c in app.get("plotly_chart")]
