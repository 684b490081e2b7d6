"""A ledger and its folder made by version 0.1.0 (``tests/fixtures/README.md``) open, go on, and give their students away."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from sklearn.datasets import load_digits
from support import Ran, run_here, run_process

import autokd
from autokd.files import file_sha256

FIXTURE = Path(__file__).parents[1] / "fixtures" / "ledger_0_1.tar.xz"
PLACE = "/old/place"
"""Where the fixture's paths say that it lies."""
SAID: dict[str, Any] = {}
"""What version 0.1.0 answered to commands with ``--json``, by command."""

with tarfile.open(FIXTURE) as _packed:
    SAID.update(json.load(_packed.extractfile("said.json")))  # type: ignore[arg-type]


def unpack(folder: Path) -> Path:
    """The fixture in a folder, as if version 0.1.0 had run there."""
    with tarfile.open(FIXTURE) as packed:
        packed.extractall(folder, filter="data")
    (dataset,) = (folder / ".autokd" / "datasets").iterdir()
    np.save(dataset / "inputs.npy", load_digits().images[:, None].astype(np.float32))
    database = sqlite3.connect(folder / "autokd.db")
    for table in ("study_user_attributes", "trial_user_attributes"):
        database.execute(f"UPDATE {table} SET value_json = replace(value_json, ?, ?)", (PLACE, str(folder)))
    database.commit()
    database.close()
    for file in (folder / ".autokd").rglob("*.json"):
        file.write_text(file.read_text().replace(PLACE, str(folder)))
    return folder


@pytest.fixture(scope="module")
def as_it_was(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For reading only."""
    return unpack(tmp_path_factory.mktemp("as_it_was"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """For a test of its own."""
    return unpack(tmp_path)


def command(folder: Path, *words: str) -> Any:
    """What a command answers with ``--json``."""
    return json.loads(done(run_here(*words, "--json", cwd=folder)).stdout)


def done(ran: Ran) -> Ran:
    assert ran.code == 0, ran.stderr
    return ran


def differences(then: Any, now: Any, where: str = "") -> list[str]:
    """Where an answer of then does not hold now; what is new is none."""
    if isinstance(then, dict) and isinstance(now, dict):
        return [d for key in then for d in differences(then[key], now.get(key, "nothing"), f"{where}.{key}")]
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [d for n, (a, b) in enumerate(zip(then, now, strict=True)) for d in differences(a, b, f"{where}[{n}]")]
    return [] if then == now else [f"{where}: {then!r} is {now!r}"]


def rows(folder: Path, study: str) -> list[tuple[Any, ...]]:
    """Every finished trial of a study as the database holds it: number, state, moments, values, record."""
    with sqlite3.connect(folder / "autokd.db") as database:
        found = database.execute(
            "SELECT t.number, t.state, t.datetime_start, t.datetime_complete, a.value_json,"
            " (SELECT group_concat(v.value) FROM trial_values v WHERE v.trial_id = t.trial_id)"
            " FROM trials t JOIN studies s USING (study_id)"
            " JOIN trial_user_attributes a ON a.trial_id = t.trial_id AND a.key = 'autokd:record'"
            " WHERE s.study_name = ? ORDER BY t.number",
            (study,),
        ).fetchall()
    database.close()
    return found


def taught(folder: Path) -> dict[str, int]:
    """Weights of teachers and what they said of the training views, and when each was written."""
    places = (*folder.glob(".autokd/teachers/*/*.safetensors"), *folder.glob(".autokd/banks/**/view-*.npy"))
    return {f"{f.relative_to(folder / '.autokd').parts[1]}/{f.name}": f.stat().st_mtime_ns for f in places}


def trainings(folder: Path, study: str) -> dict[str, int]:
    """Trained weights in a study's store, and when they were written."""
    stages = folder / ".autokd" / "studies" / study / "stages"
    return {f.parent.name: f.stat().st_mtime_ns for f in stages.glob("*/weights.safetensors")}


# ------------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize("asked", SAID)
def test_a_command_answers_as_the_version_before_did(as_it_was: Path, asked: str) -> None:
    then = json.loads(json.dumps(SAID[asked]).replace(PLACE, str(as_it_was)))
    assert differences(then, command(as_it_was, *asked.split())) == []


def test_an_answer_that_differs_is_found() -> None:
    assert differences({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}], "new": 0}) == [".a[1].b: 2 is 3"]
    assert differences({"a": 1, "c": [1]}, {"c": [1, 2]}) == [".a: 1 is 'nothing'", ".c: [1] is [1, 2]"]


@pytest.mark.parametrize("name", ["old", "climbed"])
def test_python_and_optuna_open_it(as_it_was: Path, name: str) -> None:
    url = f"sqlite:///{as_it_was / 'autokd.db'}"
    study = autokd.open_study(name, url)
    said = {m["number"]: m["values"] for m in SAID[f"front {name}"]["members"]}
    assert {m.number: dict(m.values) for m in study.front()} == said
    assert len(study.to_dataframe()) == sum(SAID[f"status {name}"]["outcomes"].values())
    assert study.plot_front().data
    plain = optuna.load_study(study_name=name, storage=url)
    assert {t.number: t.values for t in plain.best_trials} == {n: [*v.values()] for n, v in said.items()}


def test_the_names_a_person_may_have_imported_are_there() -> None:
    for module, names in {
        "autokd": ("search", "open_study", "Study", "Student", "__version__"),
        "autokd.study": ("Study", "Student"),
        "autokd.samplers": ("FrontierSampler",),
        "autokd.runners.ray_scheduler": ("HalvingScheduler",),
        "autokd.protocols": ("DataOptions", "InputSpec", "RawData", "DistillationMethod", "StudentFamily", "Teacher"),
        "autokd.config": ("from_dict", "from_yaml"),
        "autokd.api": ("search", "open_study"),
        "autokd.strategies.proxy": ("ProxyGate",),
        "autokd.testing.simulation": ("simulate",),
        "autokd.testing.samplers": ("check_sampler",),
        "autokd.testing.families": ("check_family",),
    }.items():
        for name in names:
            assert getattr(import_module(module), name), f"{module}.{name}"
    for group in ("families", "data", "teachers", "methods", "pruners", "samplers", "runners", "spaces", "profiles"):
        assert entry_points(group=f"autokd.{group}"), group


def test_the_command_is_a_module_too(as_it_was: Path) -> None:
    ran = done(run_process("front", "old", "--json", cwd=as_it_was))  # python -m autokd.cli
    assert [m["number"] for m in json.loads(ran.stdout)["members"]] == [2, 3]


# --------------------------------------------------------------------------------------------- taking students home


@pytest.mark.parametrize("name", ["old", "climbed"])
def test_every_student_of_the_front_is_exported_and_verified(place: Path, name: str) -> None:
    for member in SAID[f"front {name}"]["members"]:
        file = place / "student.onnx"
        done(run_here("export", name, "--trial", str(member["number"]), "-o", file.name, cwd=place))
        there = place / ".autokd" / "studies" / name / "trials" / f"{member['number']:05d}" / "student.onnx"
        assert file.read_bytes() == there.read_bytes()
        receipt = json.loads((place / "student.receipt.json").read_text())
        assert (receipt["study"], receipt["trial"]) == (name, member["number"])
        assert receipt["file"]["sha256"] == file_sha256(file)
        verdict = command(place, "verify", file.name, "--study", name)
        assert verdict["ok"] and verdict["accuracy"] == member["values"]["accuracy"]


def test_the_front_that_waited_is_confirmed_and_the_confirmed_one_is_not_read_again(place: Path) -> None:
    assert all(m["confirmed"] is None for m in SAID["front climbed"]["members"])
    found = command(place, "confirm", "climbed")
    assert all(0 < m["confirmed"]["accuracy"] < 1 for m in found["members"])
    again = command(place, "confirm", "climbed")
    assert [m["confirmed"] for m in again["members"]] == [m["confirmed"] for m in found["members"]]
    then = [m["confirmed"] for m in SAID["front old"]["members"]]
    assert None not in then and [m["confirmed"] for m in command(place, "confirm", "old")["members"]] == then


def test_what_the_front_does_not_need_is_dropped(place: Path) -> None:
    assert command(place, "gc", "old")["freed_bytes"] > 0
    left = {f.parent.name for f in (place / ".autokd/studies/old/trials").glob("*/student.onnx")}
    assert left == {f"{m['number']:05d}" for m in SAID["front old"]["members"]}
    done(run_here("export", "old", cwd=place))


# -------------------------------------------------------------------------------------------------------- going on


@pytest.mark.parametrize("name", ["old", "climbed"])
def test_a_search_goes_on_and_trains_nothing_again(place: Path, name: str) -> None:
    before, trained = rows(place, name), trainings(place, name)
    teacher = taught(place)
    assert before and trained and len(teacher) == 2
    done(run_here("resume", name, "--set", "budget.trials=+1", "--set", "runner=inline", cwd=place))
    after, now = rows(place, name), trainings(place, name)
    assert after[: len(before)] == before
    status = command(place, "status", name)
    assert status["counted"] == SAID[f"status {name}"]["counted"] + 1 and status["outcomes"]["failed"] == 0
    assert {k: now[k] for k in trained} == trained
    assert len(now) <= len(trained) + 1
    assert taught(place) == teacher


def test_a_student_is_trained_on_from_the_weights_of_then(place: Path) -> None:
    before, (first, *_) = rows(place, "old"), SAID["front old"]["members"]
    facts = command(place, "finish", "old", "--trial", str(first["number"]), "--samples", "256")
    after = rows(place, "old")
    assert after[: len(before)] == before and len(after) == len(before) + 1
    assert (facts["outcome"], facts["parent"]) == ("measured", first["number"])


def test_its_students_are_timed_for_another_device(place: Path) -> None:
    (place / "batch_8.yaml").write_text(
        "summary: 8 samples a call\nbatch: 8\nmin_duration_s: 0.05\nmax_duration_s: 0.1\n"
    )
    trained = trainings(place, "old")
    found = command(place, "retime", "old", "--profile", "batch_8.yaml", "--as-is", "--front")
    assert len(found["members"]) >= 1
    assert {m["values"]["accuracy"] for m in found["members"]} <= {
        m["values"]["accuracy"] for m in SAID["front old"]["members"]
    }
    assert trainings(place, "old") == trained
