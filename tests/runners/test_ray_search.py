"""One whole search under real Ray Tune, and what Ray does meanwhile to this machine."""

from __future__ import annotations

import ipaddress
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import psutil
import pytest

import autokd
from autokd.files import file_sha256
from autokd.storage.ledger import record_of
from autokd.study.watcher import Silent
from autokd.trial import Outcome, TrialRecord

TRIALS = 4


def study_file(folder: Path) -> dict[str, Any]:
    return {
        "name": "under ray",
        "data": {"source": "digits"},
        "teacher": {
            "family": "mobilenet",
            "params": {"stem_width": 8, "stem_stride": 2, "stages": 1, "width_1": 16, "depth_1": 1, "block_1": "plain"},
            "training": {"samples": 4000, "batch_size": 64, "views": 1},
        },
        "space": {
            "family": "mobilenet",
            "parameters": {
                "width_1": {"int": [4, 32], "step": 4, "stage": "build"},
                "lr": {"float": [0.1, 0.4], "log": True, "stage": "distill"},
                "bits": {"choice": [32, 8], "stage": "quantize"},
            },
            "fixed": {"stem_width": 8, "stem_stride": 2, "stages": 1, "depth_1": 1, "block_1": "plain"},
        },
        "hardware": ["cpu_1_thread"],
        "objectives": ["maximize accuracy", "minimize latency_ms"],
        "sampler": "optuna:tpe",
        "runner": "ray",
        "concurrency": 2,
        "budget": {"trials": TRIALS, "trial_s": 120},
        "training": {"samples": 4000, "batch_size": 64, "views": 1},
        "resources": {"device": "cpu"},
        "storage": {"url": f"sqlite:///{folder}/autokd.db"},
    }


class Spy(Silent):
    """Notes the sockets and the processes of this process's family while a search runs."""

    def __init__(self) -> None:
        self.listening: dict[tuple[str, int], str] = {}
        self.seen: set[str] = set()
        self.told: list[tuple[int, TrialRecord]] = []
        self.most_at_once = 0
        self.driver: Any = None
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def begin(self, driver: Any, study: Any) -> None:
        self.driver = driver
        self.thread.start()

    def trial(self, number: int, record: TrialRecord) -> None:
        self.told.append((number, record))

    def end(self) -> None:
        self.done.set()

    def _watch(self) -> None:
        while not self.done.wait(0.25):
            self.most_at_once = max(self.most_at_once, self.driver.tally().running)
            for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                try:
                    self.seen.add(process.name())
                    for c in process.net_connections(kind="inet"):
                        if c.status == psutil.CONN_LISTEN:
                            self.listening[c.laddr.ip, c.laddr.port] = " ".join(process.cmdline())[:120]
                except psutil.Error:
                    continue


def loopback(address: str) -> bool:
    """Whether only this host reaches the address, ``::ffff:127.0.0.1`` among them."""
    ip = ipaddress.ip_address(address)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[autokd.Study, Spy]:
    folder = tmp_path_factory.mktemp("ray")
    spy = Spy()
    study = autokd.search(study_file(folder), watcher=spy)
    return study, spy


def test_every_trial_of_the_budget_is_measured(searched: tuple[autokd.Study, Spy]) -> None:
    study, spy = searched
    records = [r for t in study.ledger.trials() if (r := record_of(t)) is not None]
    measured = [r for r in records if r.outcome == Outcome.MEASURED]
    assert len(measured) == TRIALS, [(r.outcome, r.cause, r.detail) for r in records]
    assert [r.outcome for r in records if r.outcome not in (Outcome.MEASURED, Outcome.DUPLICATE)] == []
    assert all(t.state.is_finished() for t in study.optuna_study.trials)
    assert sum(r.outcome == Outcome.MEASURED for _, r in spy.told) == TRIALS
    assert study.status()["state"] == f"finished: the budget of {TRIALS} trials is spent"


def test_two_trials_ran_at_once_in_actors_that_were_reused(searched: tuple[autokd.Study, Spy]) -> None:
    study, spy = searched
    assert spy.most_at_once == 2
    # an actor keeps one worker process, which keeps one log
    mine = f"worker-{os.getpid()}-"
    logs = [p.name for p in (study.home / "logs").glob("worker-*.log") if not p.name.startswith(mine)]
    assert 1 <= len(logs) <= 2


def test_the_study_can_be_read_afterwards(searched: tuple[autokd.Study, Spy], tmp_path: Path) -> None:
    study, _ = searched
    again = autokd.open_study("under ray", study.ledger.url)
    assert [m.number for m in again.front()] == [m.number for m in study.front()]
    assert again.front()
    best = again.best()
    path = best.export(tmp_path / "student.onnx")
    assert file_sha256(path) == best.member.record.artifact_sha256
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.run(None, {"input": np.zeros((3, 1, 8, 8), np.float32)})[0].shape == (3, 10)


def test_nothing_listens_beyond_loopback(searched: tuple[autokd.Study, Spy]) -> None:
    _, spy = searched
    assert {"raylet", "gcs_server"} <= spy.seen, "the watch missed Ray"
    assert spy.listening, "the watch missed Ray's ports"
    wide = {where: who for where, who in spy.listening.items() if not loopback(where[0])}
    assert not wide


def test_the_clock_ends_a_search(searched: tuple[autokd.Study, Spy]) -> None:
    first, _ = searched
    raw = study_file(first.home.parents[2]) | {"name": "in a hurry"}
    raw["budget"] = {"trials": None, "wall_s": 6, "trial_s": 120}
    raw["training"] = {"samples": 50_000_000, "batch_size": 64, "views": 1}
    study = autokd.search(raw)  # finds the teacher that the first search trained
    assert study.status()["state"] == "finished: the budget of 6 seconds is spent"
    assert study.running() == []
    assert study.status()["outcomes"]["failed"] == 0


def test_ray_is_gone_afterwards(searched: tuple[autokd.Study, Spy]) -> None:
    import ray

    assert not ray.is_initialized()
    deadline = time.monotonic() + 60
    names: list[str] = []
    while time.monotonic() < deadline:
        names = [p.name() for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
        if not [n for n in names if "ray" in n or "gcs" in n]:
            return
        time.sleep(0.2)
    raise AssertionError(names)
