from __future__ import annotations

import ast
import json
import platform
import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import onnxruntime
import pytest

from autokd.hardware.agent.machine import cpu_model, device_id
from autokd.hardware.local import AGENT

ALONE = """
import runpy, sys
sys.modules |= dict.fromkeys(("autokd", "torch", "onnx", "psutil"))
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SHORT = ["--min-duration-s", "0.005", "--max-duration-s", "0.01"]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The agent as on a board: a folder, no autokd beside it."""
    return Path(shutil.copytree(AGENT, tmp_path / "anywhere"))


def run(worker: Path, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ALONE, str(worker), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=240)


def test_it_imports_nothing_but_numpy_and_onnxruntime() -> None:
    imported = set()
    for file in AGENT.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).split(".")[0])
    assert imported - sys.stdlib_module_names == {"numpy", "onnxruntime"}


def test_its_syntax_is_that_of_python_3_9() -> None:
    for file in AGENT.glob("*.py"):
        ast.parse(file.read_text(), feature_version=(3, 9))


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_it_starts_as_a_folder_and_as_one_file(copied: Path, make_onnx, form: str, tmp_path: Path) -> None:
    if form == "zip":
        zipapp.create_archive(copied, tmp_path / "agent.pyz")
        shutil.rmtree(copied)
    agent = copied if form == "folder" else tmp_path / "agent.pyz"
    done = run(agent, make_onnx(), *SHORT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["count"] >= 30
    greeting = json.loads(run(agent).stdout)
    assert greeting["id"] == device_id() and greeting["host"] == platform.node() and greeting["cores"] >= 1
    assert greeting["cpu"] == cpu_model() and greeting["onnxruntime"] == onnxruntime.__version__


def test_none_of_its_modules_hides_a_standard_one() -> None:
    """Until it is a package its folder comes first in ``sys.path``."""
    names = {file.stem for file in AGENT.glob("*.py")} - {"__main__"}
    assert len(names) >= 4 and not names & sys.stdlib_module_names


def test_by_hand(copied: Path, make_onnx) -> None:
    done = run(copied, make_onnx("uint8"), "--batch", 4, *SHORT)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    assert reply["inputs"] == {"x": [4, 64]}
    assert reply["p50_ms"] > 0 and reply["session_ms"] > 0 and reply["peak_memory_bytes"] >= 0


def test_by_hand_an_error_is_one_line_and_an_exit_code(copied: Path) -> None:
    done = run(copied, "nowhere.onnx")
    assert done.returncode == 1
    assert "nowhere.onnx is not there" in json.loads(done.stdout)["error"]


def test_where_it_lies_its_neighbours_hide_no_standard_module(make_onnx) -> None:
    done = subprocess.run(
        [sys.executable, str(AGENT), str(make_onnx()), *SHORT], capture_output=True, text=True, timeout=60
    )
    assert json.loads(done.stdout)["count"] >= 30


def test_stdout_carries_one_reply_a_request_and_the_end_of_stdin_ends_it(
    copied: Path, make_onnx, tmp_path: Path
) -> None:
    short = {"min_duration_s": 0.005, "max_duration_s": 0.01}
    (bad := tmp_path / "bad.onnx").write_text("no model")
    requests = [
        {"id": 1, "path": str(make_onnx()), **short},
        {"id": 2, "path": str(bad)},
        {"id": 3},
        {"id": 4, "path": str(make_onnx()), "optimization": "wild"},
        {"id": 5, "path": str(make_onnx()), "provider": "AbacusExecutionProvider"},
        {"id": 6, "path": str(make_onnx(op="Teleport", name="odd"))},
        {"id": 7, "path": str(make_onnx()), "threads": 0, "timeout_s": 120, **short},
    ]
    done = run(copied, stdin="\n".join(json.dumps(r) for r in requests) + "\n")
    assert done.returncode == 0, done.stderr
    greeting, *replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert greeting["ready"] is True
    assert [reply["id"] for reply in replies] == [1, 2, 3, 4, 5, 6, 7]
    assert [reply.get("kind") for reply in replies] == [
        None,
        "not_onnx",
        "request",
        "request",
        "provider",
        "load",
        None,
    ]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux resets a peak")
def test_the_peak_is_the_files_own_after_a_large_one(copied: Path, make_onnx) -> None:
    short = {"min_duration_s": 0.005, "max_duration_s": 0.01}
    small, large = make_onnx(name="small"), make_onnx(features=500_000, name="large")
    requests = [{"id": path.stem, "path": str(path), **short} for path in (small, large, small)]
    done = run(copied, stdin="\n".join(json.dumps(r) for r in requests) + "\n")
    first, big, again = [json.loads(line)["peak_memory_bytes"] for line in done.stdout.splitlines()[1:]]
    assert big > 20_000_000
    assert max(first, again) < 2_000_000
