"""The README's blocks do what they say: commands and Python run in an empty folder, YAML is accepted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autokd.config.space import load_space
from autokd.config.study_file import TeacherConfig
from autokd.config.yaml_file import parse

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [
        body for found, body in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")) if found == language
    ]


@pytest.mark.slow
def test_commands_and_python_run_in_an_empty_folder(tmp_path: Path) -> None:
    scripts = str(Path(sys.executable).parent)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AUTOKD_")}
    environment["PATH"] = scripts + os.pathsep + environment["PATH"]
    steps = [["bash", "-euo", "pipefail", "-c", body] for body in blocks("bash")]
    steps += [[sys.executable, "-c", body] for body in blocks("python")]
    assert len(steps) >= 3
    for step in steps:
        done = subprocess.run(step, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{step[-1]}\n{done.stdout}\n{done.stderr}"
    for name in ("student.onnx", "student.receipt.json", "best.onnx"):
        assert (tmp_path / name).is_file(), name


@pytest.mark.parametrize("body", blocks("yaml"))
def test_yaml_is_accepted(body: str) -> None:
    found, _ = parse(body, "README.md")
    if "teacher" in found:
        assert TeacherConfig.model_validate(found["teacher"]).kind in ("family", "torch", "onnx")
    else:
        assert load_space(found).parameters


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert target.startswith("http") or (ROOT / target).exists(), target
