"""With ``--json`` standard output is one JSON document and nothing else, with the documented keys and never NaN."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Ran, tiny, write_study

from autokd import api
from autokd.cli import app

LATENCY = "latency_ms@cpu_1_thread"


def refuse(word: str) -> float:
    raise AssertionError(f"{word} is not JSON")


def document(ran: Ran, code: int = 0) -> Any:
    """The one document on standard output."""
    assert ran.code == code, ran.stderr
    return json.loads(ran.stdout, parse_constant=refuse)


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for below in value.values() if isinstance(value, dict) else value:
            yield from numbers(below)
    elif isinstance(value, float):
        yield value


@pytest.fixture
def ask(finished: Path, run_cli: Callable[..., Ran]) -> Callable[..., Any]:
    def run(*args: str, code: int = 0) -> Any:
        found = document(run_cli(*args, "--json", cwd=finished), code)
        assert all(math.isfinite(n) for n in numbers(found))
        return found

    return run


def test_front_has_the_documented_keys(ask: Callable[..., Any]) -> None:
    found = ask("front", "tiny")
    assert set(found) == {"study", "objectives", "hypervolume", "reference_point", "classes", "members"}
    assert found["study"] == "tiny"
    assert found["objectives"] == ["maximize accuracy", f"minimize {LATENCY}"]
    assert len(found["reference_point"]) == 2 and found["hypervolume"] >= 0
    assert found["members"]
    for member in found["members"]:
        assert set(member) == {"number", "params", "values", "confirmed", "artifact", "by_class"}
        assert set(member["values"]) == {"accuracy", LATENCY}
        assert member["confirmed"] is None and member["by_class"]["test"] is None
        assert len(member["by_class"]["validation"]["recall"]) == len(found["classes"]) == 10
        assert Path(member["artifact"]).is_file()
    latencies = [m["values"][LATENCY] for m in found["members"]]
    assert latencies == sorted(latencies)


def test_status(ask: Callable[..., Any]) -> None:
    found = ask("status", "tiny")
    assert found["state"] == "finished: the budget of 3 trials is spent"
    assert found["counted"] == found["outcomes"]["measured"] == 3
    assert found["running"] == [] and found["budget"]["trials"] == 3
    assert found["front"] == len(ask("front", "tiny")["members"])
    gain, proxy = found["expected_gain"], found["proxy"]
    assert gain["gain"] is gain["low"] is gain["high"] is None and gain["window_s"] == 600
    assert gain["text"] == "next 10 minutes: known after 10 measured students (3 so far)"
    assert proxy["students"] == 3 and proxy["informative"] is False and proxy["rank_correlation"] is None


@pytest.mark.parametrize("number", range(3))
def test_show(ask: Callable[..., Any], number: int) -> None:
    found = ask("show", "tiny", str(number))
    assert (found["number"], found["outcome"], found["state"]) == (number, "measured", "COMPLETE")
    by_name = {m["metric"]: m for m in found["measurements"]}
    latency = by_name["latency_ms"]
    assert (latency["unit"], latency["profile"]) == ("ms", "cpu_1_thread") and latency["spread"] >= 0
    assert [s["stage"] for s in found["stages"]] == ["build", "screen", "distill", "export", "verify", "measure"]


@pytest.mark.parametrize("kind", api.SHOWN)
def test_list(ask: Callable[..., Any], kind: str) -> None:
    rows = ask("list", kind)
    assert rows
    for row in rows:
        assert set(row) == {"name", "kind", "summary", "source"} and row["kind"] == kind
        assert row["name"] and row["source"]
    if kind == "studies":
        assert [r["name"] for r in rows] == ["tiny"] and rows[0]["summary"].startswith("finished")
    else:
        assert all(row["summary"] for row in rows), "everything registered says what it is"


def test_doctor(ask: Callable[..., Any]) -> None:
    found = ask("doctor")
    assert {"cpu", "machine", "cores", "python", "onnxruntime"} <= set(found["host"])
    checks = {c["name"]: c for c in found["checks"]}
    assert len(checks) == len(found["checks"])
    assert all(set(c) == {"name", "ok", "detail"} and c["detail"] for c in found["checks"])
    assert checks["profile cpu_1_thread"]["detail"] == "this machine can stand for it"
    assert checks["profile raspberry_pi_5"]["ok"] and "not this machine" in checks["profile raspberry_pi_5"]["detail"]
    assert "µs ±" in checks["A/A timing"]["detail"]
    assert "1 studies" in checks["ledger"]["detail"]
    assert {"python", "torch", "ray.tune", "samplers nni:*", "torch device", "folder"} <= set(checks)


def test_doctor_reports_what_does_not_work(
    finished: Path, run_cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOKD_STORAGE", "sqlite:///nowhere/autokd.db")
    found = document(run_cli("doctor", "--json", cwd=finished), code=1)
    assert [c["name"] for c in found["checks"] if not c["ok"]] == ["ledger"]


def test_export_and_measure(ask: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "student.onnx"
    found = ask("export", "tiny", "-o", str(file))
    assert found["file"] == str(file) and file.is_file()
    assert {"number", "params", "values"} <= set(found)
    receipt = json.loads((tmp_path / "student.receipt.json").read_text(), parse_constant=refuse)
    assert receipt["trial"] == found["number"]

    measured = ask("measure", str(file), "--profile", "cpu_1_thread")
    by_name = {m["metric"]: m for m in measured["measurements"]}
    assert by_name["size_bytes"]["value"] == file.stat().st_size
    assert by_name["latency_ms"]["value"] > 0 and by_name["latency_ms"]["spread"] is not None
    assert ask("verify", str(file), "--study", "tiny")["trial"] == found["number"]


NOISY = """
print("a person's module says hello")
from autokd.students.mobilenet import MobileNet

class Noisy(MobileNet):
    def build(self, params, spec, classes):
        print("building")
        return super().build(params, spec, classes)
"""


@pytest.mark.parametrize("options", [("--dry-run",), ()], ids=["dry run", "search"])
def test_search_with_a_family_that_prints(
    tmp_path: Path, run_cli: Callable[..., Ran], options: tuple[str, ...]
) -> None:
    name = f"noisy_{len(options)}"
    (tmp_path / f"{name}.py").write_text(NOISY)
    write_study(tmp_path, tiny(space__family=f"{name}:Noisy", teacher__family=f"{name}:Noisy", budget__trials=1))
    ran = run_cli("search", "study.yaml", *options, "--json", cwd=tmp_path)
    found = document(ran)
    assert "hello" in ran.stderr and "building" in ran.stderr
    if options:
        assert found["ranges"][LATENCY][0] > 0 and found["space_size"] is None and found["train_s"] > 0
        assert not (tmp_path / "autokd.db").exists() and not (tmp_path / ".autokd").exists()
    else:
        assert len(found["members"]) == 1


def test_nothing_on_standard_output_when_refused(finished: Path, run_cli: Callable[..., Ran]) -> None:
    ran = run_cli("front", "nobody", "--json", cwd=finished)
    assert (ran.code, ran.stdout) == (2, "") and len(ran.errors) == 1


def test_give_writes_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    app.give({"a": float("nan"), "b": [1.5, float("inf")], "c": (float("-inf"),), "d": Path("x")})
    assert json.loads(capsys.readouterr().out, parse_constant=refuse) == {
        "a": None,
        "b": [1.5, None],
        "c": [None],
        "d": "x",
    }
