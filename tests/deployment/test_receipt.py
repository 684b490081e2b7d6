"""Receipts: complete, readable, and of exactly one file."""

from __future__ import annotations

import json

import pytest

from autokd.deployment.export import export
from autokd.deployment.receipt import REQUIRED, REQUIRED_OF_FILE, check, read_receipt, write_receipt
from autokd.errors import UserError


@pytest.fixture
def exported(make_model, tmp_path):
    model, spec, classes = make_model("table")
    return export(model, spec, classes, tmp_path / "m.onnx", name="m")


@pytest.fixture
def facts(exported):
    return {
        "autokd": "0.1.0",
        "study": "demo",
        "trial": 3,
        "parameters": {"depth": 2},
        "measurements": [{"metric": "latency_ms", "value": 0.1, "unit": "ms", "profile": "cpu", "spread": 0.01}],
        "file": {
            "name": "m.onnx",
            "sha256": exported.sha256,
            "size_bytes": exported.size_bytes,
            "opset": exported.opset,
            "input": {"shape": [6], "dtype": "float32"},
            "output": {"name": "scores", "kind": "logits"},
            "classes": ["Käfer", "鳥"],
        },
        "data_sha256": "0" * 64,
        "teacher_sha256": "1" * 64,
        "host": {"cpu": "some"},
        "versions": {"onnx": "1"},
        "command": "autokd export demo --trial 3",
    }


def test_round_trip(facts, tmp_path):
    write_receipt(tmp_path / "r.json", facts)
    assert read_receipt(tmp_path / "r.json") == facts
    text = (tmp_path / "r.json").read_text(encoding="utf-8")
    assert text == json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert "鳥" in text


def test_belongs_to_one_file(facts, exported):
    assert check(exported.path, facts)
    exported.path.write_bytes(exported.path.read_bytes() + b"\\0")
    assert not check(exported.path, facts)


@pytest.mark.parametrize("key", [*REQUIRED, *(f"file.{k}" for k in REQUIRED_OF_FILE)])
def test_every_fact_is_required(facts, tmp_path, key):
    holder = facts["file"] if key.startswith("file.") else facts
    del holder[key.removeprefix("file.")]
    with pytest.raises(UserError, match=key):
        write_receipt(tmp_path / "r.json", facts)
    assert not (tmp_path / "r.json").exists()
    (tmp_path / "r.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match=key):
        read_receipt(tmp_path / "r.json")


@pytest.mark.parametrize("value", [float("nan"), object()], ids=["nan", "object"])
def test_json_values_only(facts, tmp_path, value):
    facts["parameters"] = {"lr": value}
    with pytest.raises(UserError, match="JSON values only"):
        write_receipt(tmp_path / "r.json", facts)


@pytest.mark.parametrize("text", [None, "{", "[]", "\\ud800"], ids=["missing", "cut", "list", "other"])
def test_refuses_other_files(text, tmp_path):
    if text is not None:
        (tmp_path / "r.json").write_text(text)
    with pytest.raises(UserError, match="receipt must be"):
        read_receipt(tmp_path / "r.json")
