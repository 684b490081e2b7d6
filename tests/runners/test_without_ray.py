"""Where Ray and NNI cannot be installed `runner: local` searches, and asking for them is one clear refusal."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import AUTOKD, environment, tiny

NOT_HERE = """
import sys

class NotHere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "nni"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotHere())
"""
"""Python runs a ``sitecustomize`` in every process, so in the workers too."""


def autokd(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    here = environment(folder)
    (folder / "blocked").mkdir(exist_ok=True)
    (folder / "blocked" / "sitecustomize.py").write_text(NOT_HERE)
    here["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder / "blocked"), here.get("PYTHONPATH")]))
    return subprocess.run([*AUTOKD, *words], cwd=folder, env=here, capture_output=True, text=True, timeout=280)


def write(folder: Path, **changes: Any) -> str:
    (folder / "study.yaml").write_text(yaml.safe_dump(tiny(**changes)))
    return "study.yaml"


@pytest.mark.slow
def test_the_local_runner_needs_neither(tmp_path: Path) -> None:
    done = autokd(tmp_path, "search", write(tmp_path, runner="local", budget={"trials": 2, "trial_s": 120}))
    assert done.returncode == 0, done.stderr
    front = autokd(tmp_path, "front", "tiny", "--json")
    assert json.loads(front.stdout)["members"], front.stderr


@pytest.mark.parametrize(
    ("changes", "package", "mend"),
    [
        ({"runner": "ray"}, "ray", "`pip install ray`, or take one of inline, local."),
        ({"runner": "local", "sampler": "nni:tpe"}, "nni", "elsewhere take optuna:tpe"),
    ],
    ids=["runner", "sampler"],
)
def test_asking_for_what_is_not_here_is_one_refusal(
    tmp_path: Path, changes: dict[str, Any], package: str, mend: str
) -> None:
    done = autokd(tmp_path, "search", write(tmp_path, **changes))
    assert done.returncode == 2
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert f"No module named '{package}'" in error and mend in error
    assert "Traceback" not in done.stderr and not (tmp_path / "autokd.db").exists()


def test_what_only_reads_and_lists_needs_neither(tmp_path: Path) -> None:
    for words in (["--help"], ["list", "runners"], ["list", "samplers"], ["list", "devices"]):
        done = autokd(tmp_path, *words)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    assert "local" in done.stdout
