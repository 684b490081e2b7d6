"""A worker must not outlive the one who started it, whatever its candidate does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import environment, tiny

from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.evaluation.prepare import load_data
from autokd.evaluation.screening.preflight import set_up_untaught

FAMILY = """
import re, time

def factory(params, spec, classes):
    if params["how"] == "sleeps":
        time.sleep(600)
    re.match("(a+)+$", "a" * 60 + "b")  # for ever, with Python's lock held
"""


@pytest.mark.parametrize(("how", "alarm_s"), [("sleeps", 0), ("holds_the_lock", 2)])
def test_worker_ends_with_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, alarm_s: float) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"hanging_{how}.py").write_text(FAMILY)
    space: dict[str, Any] = {
        "family": f"hanging_{how}:factory",
        "parameters": {"how": {"choice": [how], "stage": "build"}},
    }
    plan = make_plan(from_dict(tiny(space=space)))
    home = tmp_path / "studies" / "tiny"
    set_up_untaught(plan, load_data(plan, tmp_path, lambda text, share: None), tmp_path, home)
    command = [sys.executable, "-m", "autokd.runners.worker", str(home), "--alarm-s", str(alarm_s)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, env=environment(tmp_path), **pipes) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        try:
            assert "ready" in json.loads(worker.stdout.readline())
            worker.stdin.write(json.dumps({"screen": {"how": how}}) + "\n")
            worker.stdin.close()  # what a dead parent's pipe looks like
            worker.wait(timeout=120)
        finally:
            worker.kill()
