"""Candidates all the way from parameters to measured files, on digits, in this process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import optuna
import pytest
import torch
from filelock import FileLock

from autokd.api import verify_file
from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.data.dataset_store import open_dataset
from autokd.deployment.inspect import inspect
from autokd.deployment.receipt import check, read_receipt
from autokd.errors import AutokdError, StudyError
from autokd.evaluation import confirm
from autokd.evaluation import teacher as teaching
from autokd.evaluation.stages import training
from autokd.files import file_sha256
from autokd.storage.attributes import CONFIRMED_CLASSES_KEY, CONFIRMED_KEY, FACTS_KEY, RECORD_KEY
from autokd.storage.by_class import ByClass
from autokd.storage.ledger import record_of
from autokd.storage.stage_store import StageStore
from autokd.study.search import after_trial
from autokd.study.study import Study
from autokd.study.watcher import Silent
from autokd.teachers.module import ModuleTeacher
from autokd.trial import Outcome, TrialRecord

SPACE: dict[str, Any] = {
    "family": "mobilenet",
    "parameters": {
        "width_1": {"choice": [8, 96, 192], "stage": "build"},
        "lr": {"choice": [0.2, 1e-6, 1e9], "stage": "distill"},
        "method": {"choice": ["kd", "none"], "stage": "distill"},
        "prune_1": {"choice": [0.0, 0.5], "stage": "prune"},
        "bits": {"choice": [32, 8], "stage": "quantize"},
    },
    "fixed": {"stem_width": 8, "stem_stride": 1, "stages": 1, "depth_1": 1, "block_1": "plain"},
}
BASE: dict[str, Any] = {"width_1": 8, "lr": 0.2, "method": "kd", "prune_1": 0.0, "bits": 32}
CANDIDATES: dict[str, dict[str, Any]] = {
    "base": BASE,
    "int8": BASE | {"bits": 8},
    "pruned": BASE | {"prune_1": 0.5},
    "untaught": BASE | {"method": "none"},
    "dominated": BASE | {"width_1": 96, "lr": 1e-6},
    "too big": BASE | {"width_1": 192},
    "diverging": BASE | {"lr": 1e9},
}
STUDY: dict[str, Any] = {
    "name": "a",
    "data": {"source": "digits"},
    "teacher": {
        "family": "mobilenet",
        "params": {"stem_width": 8, "stem_stride": 1, "stages": 1, "width_1": 24, "depth_1": 1, "block_1": "plain"},
        "training": {"samples": 16000, "batch_size": 64, "views": 2},
    },
    "space": SPACE,
    "hardware": ["cpu_1_thread"],
    "objectives": ["maximize accuracy", "minimize latency_ms"],
    "constraints": ["params <= 10000"],
    "sampler": "optuna:random",
    "runner": "inline",
    "training": {"samples": 9000, "batch_size": 64, "views": 2, "augment": "shift"},
    "resources": {"device": "cpu"},
    "seed": 3,
}


@dataclass
class Watched(Silent):
    """A study that was searched, and what was called meanwhile, before and after its first trial."""

    study: Study
    numbers: dict[str, int]
    calls: Counter[str] = field(default_factory=Counter)
    phase: str = "preparing"
    reason: str = ""

    def begin(self, driver: Any, volume: Callable[[], float | None]) -> None:
        self.phase = "searching"

    def count(self, name: str, times: int = 1) -> None:
        self.calls[f"{name} while {self.phase}"] += times

    def record(self, name: str) -> TrialRecord:
        found = record_of(self.study.ledger.trials()[self.numbers[name]])
        assert found is not None
        return found

    def stages(self, name: str) -> dict[str, Any]:
        return {s.stage: s for s in self.record(name).stages}

    def search(self) -> Watched:
        """Search with the calls counted that cost something."""
        counted: list[tuple[Any, str, str, Callable[..., int]]] = [
            (teaching, "fit", "teacher training", lambda *a: 1),
            (training, "fit", "student training", lambda *a: 1),
            (ModuleTeacher, "logits", "samples scored by the teacher", lambda teacher, inputs: len(inputs)),
        ]
        with pytest.MonkeyPatch.context() as patch:
            for owner, name, label, weigh in counted:
                real = getattr(owner, name)

                def watch(*a: Any, real: Any = real, label: str = label, weigh: Any = weigh, **k: Any) -> Any:
                    self.count(label, weigh(*a))
                    return real(*a, **k)

                patch.setattr(owner, name, watch)
            self.reason = self.study.search(self)
        return self


def make_study(folder: Path, candidates: Mapping[str, Mapping[str, Any]], **changes: Any) -> Watched:
    """A study whose queue holds exactly these candidates, searched."""
    free = sum(name == "too big" for name in candidates)
    raw = STUDY | {"budget": {"trials": len(candidates) - free}} | changes
    study = Study.create(make_plan(from_dict(raw)), f"sqlite:///{folder}/autokd.db")
    for params in candidates.values():
        study.ledger.enqueue(params)
    return Watched(study, {name: i for i, name in enumerate(candidates)}).search()


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="module")
def a(root: Path) -> Watched:
    """All the candidates; only read by the tests."""
    return make_study(root, CANDIDATES)


@pytest.fixture(scope="module")
def b(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Some of the same once more, somewhere else; :func:`test_gc_keeps_the_front_and_drops_the_rest` spoils it."""
    wanted = {name: CANDIDATES[name] for name in ("base", "int8", "untaught", "dominated")}
    return make_study(tmp_path_factory.mktemp("again"), wanted)


@pytest.fixture(scope="module")
def other_teacher(root: Path) -> Watched:
    """Two of the candidates under a teacher that learned less."""
    teacher = STUDY["teacher"] | {"training": {"samples": 6000, "batch_size": 64, "views": 2}}
    wanted = {name: CANDIDATES[name] for name in ("base", "untaught")}
    return make_study(root, wanted, name="other", teacher=teacher)


def split(study: Study, name: str = "validation") -> tuple[np.ndarray, np.ndarray]:
    """Raw inputs and targets of a split."""
    dataset = open_dataset(Path(study.ledger.attr(FACTS_KEY)["data"]["folder"]))
    index = getattr(dataset.splits, name)
    return np.asarray(dataset.inputs[index]), np.asarray(dataset.targets[index])


# --------------------------------------------------------------------------------------------- the way through


def test_a_candidate_goes_through_all_stages(a: Watched) -> None:
    assert [s.stage for s in a.record("base").stages] == ["build", "screen", "distill", "export", "verify", "measure"]
    assert [s.stage for s in a.record("int8").stages] == [
        "build", "screen", "distill", "export", "quantize", "verify", "measure",
    ]  # fmt: skip
    assert [s.stage for s in a.record("pruned").stages] == [
        "build", "screen", "distill", "prune", "export", "verify", "measure",
    ]  # fmt: skip
    for name in ("base", "int8", "pruned", "untaught"):
        record = a.record(name)
        assert record.outcome == Outcome.MEASURED
        assert record.value("accuracy") > 0.3  # of ten classes, after seconds of training
        assert record.value("latency_ms@cpu_1_thread") > 0
        assert all(s.duration_s >= 0 and len(s.key) == 64 for s in record.stages)


def test_every_measurement_has_unit_and_spread(a: Watched) -> None:
    found = {m.name: m for m in a.record("base").measurements}
    assert found["latency_ms@cpu_1_thread"].unit == "ms"
    assert found["latency_ms@cpu_1_thread"].spread is not None
    assert found["latency_ms@cpu_1_thread"].extra["p90_ms"] >= found["latency_ms@cpu_1_thread"].value
    assert 0 < (found["accuracy"].spread or 0) < 0.1
    assert found["size_bytes"].unit == "bytes"
    assert {"params", "macs", "log_loss", "agreement"} <= set(found)


def test_a_stage_pays_for_its_timings(a: Watched) -> None:
    timed = {m.name: m for m in a.record("base").measurements}["latency_ms@cpu_1_thread"]
    assert a.stages("base")["measure"].cpu_s > timed.extra["count"] * timed.value / 2e3


def test_the_trial_folder_has_what_people_look_at(a: Watched) -> None:
    folder = Path(a.record("pruned").folder or "")
    curve = json.loads((folder / "curve.json").read_text())
    assert curve[-1]["samples"] >= 9000 - 64
    assert (folder / "tuning_curve.json").exists()
    assert json.loads((folder / "blocks.json").read_text())[0]["out"] == 8
    assert TrialRecord.from_json((folder / "record.json").read_text()) == a.record("pruned")


@pytest.mark.parametrize("name", ["base", "int8", "pruned"])
def test_the_measured_bytes_are_the_exported_bytes(a: Watched, tmp_path: Path, name: str) -> None:
    record = a.record(name)
    path = a.study.best(trial=a.numbers[name]).export(tmp_path / "student.onnx")
    receipt = read_receipt(tmp_path / "student.receipt.json")
    assert file_sha256(path) == record.artifact_sha256 == receipt["file"]["sha256"]
    assert path.stat().st_size == record.value("size_bytes") == receipt["file"]["size_bytes"]
    assert check(path, receipt)
    assert receipt["parameters"] == dict(record.params)
    assert receipt["data_sha256"] == a.study.ledger.attr(FACTS_KEY)["data"]["fingerprint"]
    assert {m["metric"] for m in receipt["measurements"]} >= {"accuracy", "latency_ms"}


def test_accuracy_is_that_of_the_file(a: Watched) -> None:
    inputs, targets = split(a.study)
    for name in ("base", "int8", "pruned", "untaught"):
        record = a.record(name)
        session = onnxruntime.InferenceSession(record.artifact, providers=["CPUExecutionProvider"])
        scores = session.run(None, {"input": inputs})[0]
        assert record.value("accuracy") == pytest.approx((scores.argmax(1) == targets).mean())
        kept = np.load(Path(record.folder or "") / "validation_scores.npy", allow_pickle=False)
        np.testing.assert_allclose(kept, scores, rtol=1e-3, atol=1e-3)


ALONE = """
import json, sys
import numpy as np, onnxruntime
x = np.load(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
(source,), output = session.get_inputs(), session.get_outputs()[0]
whole = session.run([output.name], {source.name: x})[0]
for batch in (1, 7):
    part = session.run([output.name], {source.name: x[:batch]})[0]
    assert part.shape == (batch, whole.shape[1]) and part.dtype == np.float32
    assert np.abs(part - whole[:batch]).max() < 1e-2 * np.abs(whole).max()
facts = session.get_modelmeta().custom_metadata_map
assert not {"torch", "autokd", "onnx"} & set(sys.modules)
print(json.dumps({"type": source.type, "classes": json.loads(facts["classes"]), "found": whole.argmax(1).tolist()}))
"""


def run_alone(file: Path, inputs: np.ndarray, folder: Path) -> dict[str, Any]:
    """What a process that knows only numpy and onnxruntime finds."""
    np.save(folder / "x.npy", inputs)
    command = [sys.executable, "-c", ALONE, str(file), str(folder / "x.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["base", "int8"])
def test_the_file_runs_with_onnxruntime_alone(a: Watched, tmp_path: Path, name: str) -> None:
    inputs, targets = split(a.study)
    path = a.study.best(trial=a.numbers[name]).export(tmp_path / "student.onnx")
    found = run_alone(path, inputs, tmp_path)
    assert found["type"] == "tensor(float)"
    assert found["classes"] == [str(d) for d in range(10)]
    assert (np.array(found["found"]) == targets).mean() == pytest.approx(a.record(name).value("accuracy"))


# -------------------------------------------------------------------------------- equal work is done only once


def test_other_bits_train_nothing(a: Watched) -> None:
    base, int8 = a.stages("base"), a.stages("int8")
    assert int8["distill"].cached
    assert int8["export"].cached
    assert not int8["quantize"].cached
    assert int8["distill"].key == base["distill"].key
    assert int8["distill"].cpu_s == 0 < base["distill"].cpu_s
    assert a.record("int8").notes["quantization_plan"]


def test_other_pruning_reuses_the_trained_parent(a: Watched) -> None:
    base, pruned = a.stages("base"), a.stages("pruned")
    assert pruned["distill"].cached
    assert pruned["distill"].key == base["distill"].key
    assert not pruned["prune"].cached
    assert a.record("pruned").value("params") < a.record("base").value("params")


def test_nothing_is_trained_twice(a: Watched) -> None:
    # base, pruned (tuning), untaught, dominated, diverging; not int8 and not the one that is too big
    assert a.calls["student training while searching"] == 5
    assert a.calls["student training while preparing"] == 0


def test_the_teacher_is_trained_and_asked_only_before_the_trials(a: Watched) -> None:
    splits = a.study.ledger.attr(FACTS_KEY)["data"]["splits"]
    assert a.calls["teacher training while preparing"] == 1
    assert a.calls["teacher training while searching"] == 0
    assert a.calls["samples scored by the teacher while searching"] == 0
    views = 2 * splits["train"] + splits["validation"]
    assert views <= a.calls["samples scored by the teacher while preparing"] <= views + splits["validation"] + 200


def test_a_finished_study_says_so_and_computes_nothing(a: Watched) -> None:
    again = Watched(a.study, a.numbers).search()
    assert again.reason == a.reason == "the budget of 6 trials is spent"
    assert not [name for name in again.calls if "training" in name]
    assert again.calls["samples scored by the teacher while preparing"] < 1000  # views are found, not scored again
    assert len(a.study.ledger.trials()) == len(CANDIDATES)


def test_the_same_seed_gives_the_same_students(a: Watched, b: Watched) -> None:
    for name in b.numbers:
        assert b.stages(name)["distill"].key == a.stages(name)["distill"].key
        assert weights(b, name) == weights(a, name)
        # the clock chooses what of an int8 student is quantized: two plans of nearly one latency may change places
        if b.record(name).notes.get("quantization_plan") == a.record(name).notes.get("quantization_plan"):
            assert b.record(name).value("accuracy") == a.record(name).value("accuracy")
            assert b.record(name).value("log_loss") == pytest.approx(a.record(name).value("log_loss"), rel=1e-6)
    assert b.record("base").artifact_sha256 == a.record("base").artifact_sha256


def weights(watched: Watched, name: str) -> str:
    """Digest of a student's trained weights."""
    stages = StageStore(watched.study.home / "stages")
    return file_sha256(stages.path("distill", watched.stages(name)["distill"].key) / "weights.safetensors")


def test_an_untaught_student_does_not_depend_on_the_teacher(a: Watched, other_teacher: Watched) -> None:
    assert other_teacher.study.ledger.attr(FACTS_KEY)["teacher"] != a.study.ledger.attr(FACTS_KEY)["teacher"]
    mine, theirs = a.record("untaught"), other_teacher.record("untaught")
    assert a.stages("untaught")["distill"].key == other_teacher.stages("untaught")["distill"].key
    assert mine.artifact_sha256 == theirs.artifact_sha256
    assert mine.value("log_loss") == theirs.value("log_loss")
    assert a.stages("base")["distill"].key != other_teacher.stages("base")["distill"].key
    assert a.record("base").artifact_sha256 != other_teacher.record("base").artifact_sha256


# --------------------------------------------------------------------------------------- infeasible and failed


def test_what_cannot_fit_costs_no_training(a: Watched) -> None:
    record = a.record("too big")
    assert record.outcome == Outcome.INFEASIBLE
    assert not record.began_training
    assert [s.stage for s in record.stages] == ["build", "screen"]
    (violation,) = record.violations
    assert violation.constraint == "params <= 10000"
    assert violation.amount == violation.value - 10000 > 0
    assert record.value("macs") > 0  # what is known is kept
    assert record.value("latency_ms@cpu_1_thread") is None  # nothing had to be timed
    assert record.artifact is None


def test_what_diverges_has_failed_with_its_cause(a: Watched) -> None:
    record = a.record("diverging")
    assert (record.outcome, record.failed_stage, record.cause) == (Outcome.FAILED, "distill", "diverged")
    assert record.began_training
    assert "diverged" in (Path(record.folder or "") / "error.txt").read_text()


# --------------------------------------------------------------------------------------------------- the ledger


def test_optuna_opens_the_ledger(a: Watched) -> None:
    study = optuna.load_study(study_name="a", storage=a.study.ledger.url)
    states = {name: study.trials[i].state.name for name, i in a.numbers.items()}
    assert states == dict.fromkeys(("base", "int8", "pruned", "untaught", "dominated"), "COMPLETE") | {
        "too big": "PRUNED",
        "diverging": "FAIL",
    }
    assert study.metric_names == ["accuracy", "latency_ms@cpu_1_thread"]
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    base = study.trials[a.numbers["base"]]
    assert base.params == BASE
    assert base.values == [a.record("base").value("accuracy"), a.record("base").value("latency_ms@cpu_1_thread")]
    assert base.constraints["params <= 10000"] < 0
    assert study.trials[a.numbers["too big"]].constraints["params <= 10000"] > 0
    assert json.loads(base.user_attrs[RECORD_KEY])["outcome"] == "measured"


def test_the_front_holds_what_nothing_beats(a: Watched) -> None:
    front = [m.number for m in a.study.front()]
    assert a.numbers["dominated"] not in front
    assert a.numbers["too big"] not in front
    assert front
    volume = a.study.hypervolume()
    assert volume is not None
    assert volume >= 0


def test_the_data_frame_has_a_row_a_trial(a: Watched) -> None:
    frame = a.study.to_dataframe()
    assert list(frame["number"]) == list(range(len(CANDIDATES)))
    assert dict(frame["outcome"].value_counts()) == {"measured": 5, "infeasible": 1, "failed": 1}
    row = frame.iloc[a.numbers["int8"]]
    assert row["params_bits"] == 8
    assert row["accuracy"] == a.record("int8").value("accuracy")
    assert row["latency_ms@cpu_1_thread"] == a.record("int8").value("latency_ms@cpu_1_thread")


def test_status_counts(a: Watched) -> None:
    facts = a.study.status()
    assert facts["counted"] == 6
    assert facts["outcomes"]["measured"] == 5
    assert facts["running"] == []
    assert facts["front"] == len(a.study.front())
    assert facts["cpu_s"] > 0


def test_the_reference_point_is_the_majority_guess_and_the_teachers_cost(a: Watched) -> None:
    _, targets = split(a.study)
    accuracy, latency = a.study.reference_point or []
    assert accuracy == pytest.approx(np.bincount(targets).max() / len(targets))
    teacher = a.study.ledger.attr(FACTS_KEY)["teacher"]["measurements"]
    timed = [m["value"] for m in teacher if m["metric"] == "latency_ms"]
    assert latency == (timed[0] if timed else 10.0)


# --------------------------------------------------------------------------------------------------- afterwards


def test_confirm_reads_the_test_split_once(other_teacher: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    study = other_teacher.study
    read: list[int] = []
    real = confirm.file_scores

    def watch(path: Path, inputs: np.ndarray) -> np.ndarray:
        read.append(len(inputs))
        return real(path, inputs)

    monkeypatch.setattr(confirm, "file_scores", watch)
    members = study.confirm()
    size = study.ledger.attr(FACTS_KEY)["data"]["splits"]["test"]
    assert read == [size] * len(members)
    assert all(m.confirmed and 0 <= m.confirmed["accuracy"] <= 1 and m.confirmed["accuracy_se"] > 0 for m in members)
    again = study.confirm()
    assert read == [size] * len(members)
    assert again == members


def test_finish_makes_a_confirmed_child(other_teacher: Watched, tmp_path: Path) -> None:
    study, number = other_teacher.study, other_teacher.numbers["base"]
    child = study.finish(number, 9000)
    facts = study.trial(child)
    assert (facts["parent"], facts["outcome"], facts["state"]) == (number, "measured", "COMPLETE")
    assert facts["notes"]["trained_on"] == 9000
    inputs, targets = split(study, "test")
    scores = onnxruntime.InferenceSession(facts["artifact"]).run(None, {"input": inputs})[0]
    assert facts["confirmed"]["accuracy"] == pytest.approx((scores.argmax(1) == targets).mean())
    assert facts["params"] == dict(other_teacher.record("base").params)
    assert facts["artifact_sha256"] != other_teacher.record("base").artifact_sha256
    best = study.best(trial=child)
    receipt = read_receipt(best.export(tmp_path / "s.onnx").with_suffix(".receipt.json"))
    assert (receipt["parent"], receipt["trained_on"]) == (number, 9000)
    assert receipt["confirmed_on_test"]["accuracy"] == facts["confirmed"]["accuracy"]
    frozen = optuna.load_study(study_name="other", storage=study.ledger.url).trials[child]
    assert frozen.values == list(best.values.values())
    assert frozen.constraints["params <= 10000"] < 0
    log_loss = {m["metric"]: m["value"] for m in facts["measurements"]}["log_loss"]
    assert log_loss < other_teacher.record("base").value("log_loss")  # it was far from trained


def test_finish_wants_a_measured_student(a: Watched) -> None:
    with pytest.raises(StudyError, match="measured and feasible"):
        a.study.finish(a.numbers["diverging"], 100)


def test_verify_knows_its_own_files(a: Watched, other_teacher: Watched, tmp_path: Path) -> None:
    path = a.study.best(trial=a.numbers["int8"]).export(tmp_path / "mine.onnx")
    found = verify_file(path, "a", a.study.ledger.url)
    assert found["ok"]
    assert found["trial"] == a.numbers["int8"]
    assert found["accuracy"] == pytest.approx(found["recorded_accuracy"])
    foreign = other_teacher.study.best(trial=other_teacher.numbers["base"]).export(tmp_path / "foreign.onnx")
    found = verify_file(foreign, "a", a.study.ledger.url)
    assert not found["ok"]
    assert found["trial"] is None
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(AutokdError, match=r"broken\.onnx"):
        verify_file(tmp_path / "broken.onnx", "a", a.study.ledger.url)


def test_a_changed_file_is_not_exported(b: Watched, tmp_path: Path) -> None:
    member = b.study.best(trial=b.numbers["dominated"])
    artifact = Path(member.member.artifact or "")
    artifact.unlink()  # a hard link into the store: the bytes there stay as they were
    artifact.write_bytes(b"something else")
    with pytest.raises(StudyError, match="was changed"):
        member.export(tmp_path / "s.onnx")
    assert not (tmp_path / "s.onnx").exists()


def test_gc_keeps_the_front_and_drops_the_rest(b: Watched, tmp_path: Path) -> None:
    study = b.study
    before = study.front()
    assert b.numbers["dominated"] not in [m.number for m in before]
    store = StageStore(study.home / "stages")
    many = len(store.entries())
    assert study.gc() > 0
    assert 0 < len(store.entries()) < many
    assert not list((study.home / "stages").glob("*.work"))
    assert study.front() == before
    for member in before:
        assert study.best(trial=member.number).export(tmp_path / f"{member.number}.onnx").exists()
    with pytest.raises(StudyError, match="must be there"):
        study.best(trial=b.numbers["dominated"]).export(tmp_path / "gone.onnx")
    assert len(study.ledger.trials()) == len(b.numbers)
    assert study.gc() == 0
    child = study.finish(before[0].number, 640)  # the front's weights are kept too
    assert study.trial(child)["parent"] == before[0].number


def test_gc_keeps_away_from_a_live_driver(other_teacher: Watched) -> None:
    with FileLock(other_teacher.study.home / "driver.lock"):
        with pytest.raises(StudyError, match="one live driver"):
            other_teacher.study.gc()


def test_what_was_confirmed_stays_so_when_a_later_one_fails(table: Watched) -> None:
    study = table.study
    members = study.front() + [m for m in study.members() if m.number not in {f.number for f in study.front()}]
    good, bad = members[0], members[1]

    by_class = ByClass((1, 2), (2, 4))

    def broken(*a: Any) -> Iterator[tuple[Any, dict[str, float], ByClass]]:
        yield good, {"accuracy": 0.5, "accuracy_se": 0.1}, by_class
        raise StudyError(f"the file of trial {bad.number} must be there", "nothing")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confirm, "confirm", broken)
        with pytest.raises(StudyError):
            study.confirm()
    assert study.ledger.attr(CONFIRMED_KEY) == {str(good.number): {"accuracy": 0.5, "accuracy_se": 0.1}}
    assert study.ledger.attr(CONFIRMED_CLASSES_KEY) == {str(good.number): by_class.to_notes()}
    study.ledger.set_attr(CONFIRMED_KEY, {})


# ----------------------------------------------------------------------------------------------- the stage store


def put(store: StageStore, key: str, size: int, age_s: float) -> Path:
    with store.working("distill", key) as work_folder:
        (work_folder / "weights").write_bytes(b"x" * size)
    import os

    entry = store.commit("distill", key, {"n": size})
    os.utime(entry, (time.time() - age_s,) * 2)
    return entry


def test_shrink_drops_what_was_unused_for_longest(tmp_path: Path) -> None:
    store = StageStore(tmp_path / "stages")
    entries = {k: put(store, k, 1000, age) for k, age in (("a", 4000), ("b", 3000), ("c", 2000), ("d", 10))}
    assert store.find("distill", "a") == {"n": 1000}  # a hit makes it young
    assert store.shrink(1500) > 2000
    assert {k for k, e in entries.items() if e.exists()} == {"a", "d"}
    assert store.shrink(1e9) == 0  # what was used in the last minutes stays
    assert store.shrink(1e9, keep=[entries["d"]], young_s=-1) > 1000
    assert {k for k, e in entries.items() if e.exists()} == {"d"}


def test_a_study_is_bounded_by_max_gb(tmp_path: Path) -> None:
    changed = {"storage": {"max_gb": 1e-6}, "runner": "inline"}
    study = Study.create(make_plan(from_dict(STUDY | changed | {"name": "small"})), f"sqlite:///{tmp_path}/l.db")
    old = put(StageStore(study.home / "stages"), "old", 5000, 4000)
    after_trial(study, Silent(), 19, record_like())
    assert not old.exists()


def record_like() -> TrialRecord:
    return TrialRecord(Outcome.MEASURED)


# ---------------------------------------------------------------------------------------------- other kinds of data


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Colour pictures in bytes, with names of the user's own, from an .npz file."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("pictures")
    bunch = load_digits(n_class=4)
    grey = (bunch.images * 15).astype(np.uint8)
    np.savez(folder / "p.npz", x=np.stack([grey, 255 - grey, grey // 2], axis=3), y=bunch.target)
    data = {"source": "npz", "path": str(folder / "p.npz"), "classes": ["nil", "one", "two", "thrée"]}
    wanted = {"base": BASE, "int8": BASE | {"bits": 8}}
    return make_study(folder, wanted, name="pictures", data=data, objectives=["maximize accuracy", "minimize macs"])


@pytest.mark.parametrize("name", ["base", "int8"])
def test_pictures_in_bytes_end_to_end(pictures: Watched, tmp_path: Path, name: str) -> None:
    record = pictures.record(name)
    assert record.outcome == Outcome.MEASURED, record.detail
    assert record.value("accuracy") > 0.5
    path = pictures.study.best(trial=pictures.numbers[name]).export(tmp_path / "s.onnx")
    inputs, targets = split(pictures.study)
    assert inputs.dtype == np.uint8
    assert inputs.shape[1:] == (3, 8, 8)
    assert (inspect(path).input_dtype, inspect(path).input_shape) == ("uint8", (3, 8, 8))
    found = run_alone(path, inputs, tmp_path)
    assert found["type"] == "tensor(uint8)"
    assert found["classes"] == ["nil", "one", "two", "thrée"]
    assert (np.array(found["found"]) == targets).mean() == pytest.approx(record.value("accuracy"))


TABLE_SPACE = {
    "family": "mlp",
    "parameters": {
        "depth": {"int": [1, 2], "stage": "build"},
        "width_1": {"choice": [16, 32], "stage": "build"},
        "width_2": {"choice": [16], "stage": "build", "when": {"depth": 2}},
        "method": {"choice": ["kd", "none"], "stage": "distill"},
        "prune_1": {"choice": [0.0, 0.5], "stage": "prune"},
        "bits": {"choice": [32, 8], "stage": "quantize"},
    },
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """Numbers and categories, some missing, labels in words."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    colours = np.array(["red", "green", "blue"])
    rows = ["width,colour,weight,kind"]
    for _ in range(900):
        width, weight, colour = rng.normal(5, 2), rng.normal(100, 30), rng.integers(3)
        kind = "large" if width + (colour == 2) * 3 + weight / 60 > 7.5 else "small"
        rows.append(f"{width:.3f},{colours[colour] if rng.random() > 0.05 else ''},{weight:.1f},{kind}")
    (folder / "t.csv").write_text("\n".join(rows) + "\n")
    point = {"depth": 2, "width_1": 32, "width_2": 16, "method": "kd", "prune_1": 0.0, "bits": 32}
    shallow = {"depth": 1, "width_1": 16, "method": "none", "prune_1": 0.0, "bits": 32}
    return make_study(
        folder,
        {"base": point, "cut and int8": point | {"prune_1": 0.5, "bits": 8}, "shallow": shallow},
        name="table",
        data={"source": "csv", "path": str(folder / "t.csv"), "target": "kind"},
        teacher={
            "family": "mlp",
            "params": {"depth": 2, "width_1": 64, "width_2": 32},
            "training": {"epochs": 20, "batch_size": 32, "lr": 0.05},
        },
        space=TABLE_SPACE,
        training={"epochs": 10, "batch_size": 32, "lr": 0.05},
    )


@pytest.mark.parametrize("name", ["base", "cut and int8", "shallow"])
def test_a_table_with_categories_end_to_end(table: Watched, tmp_path: Path, name: str) -> None:
    record = table.record(name)
    assert record.outcome == Outcome.MEASURED, record.detail
    inputs, targets = split(table.study)
    assert record.value("accuracy") > max(0.75, np.bincount(targets).max() / len(targets) + 0.05)
    path = table.study.best(trial=table.numbers[name]).export(tmp_path / "s.onnx")
    assert inputs.shape[1:] == (3,)
    assert (inputs[:, 1] == -1).any()  # a missing word
    found = run_alone(path, inputs, tmp_path)
    assert found["classes"] == ["large", "small"]
    assert (np.array(found["found"]) == targets).mean() == pytest.approx(record.value("accuracy"))
    facts = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert json.loads(facts["input_spec"])["categories"][1] == ["blue", "green", "red"]


def test_a_table_keeps_its_rows_through_pruning(table: Watched) -> None:
    assert table.record("cut and int8").value("params") < table.record("base").value("params")
    assert table.stages("cut and int8")["distill"].cached
