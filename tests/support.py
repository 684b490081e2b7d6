"""A configuration that searches in seconds; the commands, in a process of their own or in this one."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

AUTOKD = [sys.executable, "-m", "autokd.cli"]

TINY_SPACE: dict[str, Any] = {
    "family": "mobilenet",
    "parameters": {
        "width_1": {"choice": [8, 12, 16], "stage": "build"},
        "lr": {"float": [0.05, 0.2], "log": True, "stage": "distill"},
    },
    "fixed": {"stem_stride": 2, "stem_width": 8, "stages": 1, "depth_1": 1, "block_1": "plain"},
}


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def errors(self) -> list[str]:
        """The messages that say what went wrong."""
        return [line for line in self.stderr.splitlines() if line.startswith("error:")]


@dataclass
class PlainViews:
    """Samples as they are, without augmentation: satisfies ``Views``."""

    inputs: np.ndarray
    count: int = 1
    fingerprint: str = "digits"

    @property
    def size(self) -> int:
        return len(self.inputs)

    def batch(self, positions: np.ndarray, view: int) -> np.ndarray:
        found: np.ndarray = self.inputs[positions]
        return found


def tiny(**changes: Any) -> dict[str, Any]:
    """A study on digits that takes seconds; ``changes`` replace keys, ``None`` removes one, ``a__b=1`` sets ``a: {b: 1}``."""
    values: dict[str, Any] = {
        "name": "tiny",
        "data": {"source": "digits", "limit": 256},
        "teacher": {
            "family": "mobilenet",
            "params": {"stem_width": 8, "stem_stride": 2, "stages": 1, "width_1": 16, "depth_1": 1, "block_1": "plain"},
            "training": {"epochs": 1, "batch_size": 64},
        },
        "space": TINY_SPACE,
        "hardware": ["cpu_1_thread"],
        "objectives": ["maximize accuracy", "minimize latency_ms@cpu_1_thread"],
        "sampler": "optuna:random",
        "runner": "inline",
        "concurrency": 1,
        "budget": {"trials": 3, "trial_s": 120},
        "training": {"epochs": 1, "batch_size": 64, "augment": "none", "views": 1},
        "resources": {"device": "cpu"},
    }
    for key, value in changes.items():
        *path, last = key.split("__")
        here = values
        for part in path:
            here[part] = dict(here.get(part) or {})
            here = here[part]
        if value is None:
            here.pop(last, None)
        else:
            here[last] = value
    return values


def write_study(folder: Path, values: Mapping[str, Any] | str, name: str = "study.yaml") -> Path:
    """The values as a study file in a folder."""
    file = folder / name
    file.write_text(values if isinstance(values, str) else yaml.safe_dump(dict(values), sort_keys=False))
    return file


def environment(folder: Path, **more: str) -> dict[str, str]:
    """This process's environment; temporary files, and with them the turnstile of timings, are the test's own."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    known = {k: v for k, v in os.environ.items() if not k.startswith("AUTOKD_")}
    return known | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"} | more


def start(*args: str, cwd: Path, **env: str) -> subprocess.Popen[str]:
    """A command in a process of its own, not waited for."""
    return subprocess.Popen(
        [*AUTOKD, *args],
        cwd=cwd,
        env=environment(cwd, **env),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run_process(*args: str, cwd: Path, timeout: float = 300.0, **env: str) -> Ran:
    """A command in a process of its own."""
    with start(*args, cwd=cwd, **env) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:  # the test's own limit too: leaving the block would wait for the process
            process.kill()
            raise
    return Ran(process.returncode, out, err)


def run_here(*args: str, cwd: Path) -> Ran:
    """A command in this process: spares the imports."""
    from autokd.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    before, argv, code = Path.cwd(), sys.argv, 0
    os.chdir(cwd)
    sys.argv = ["autokd", *args]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        os.chdir(before)
        sys.argv = argv
    return Ran(code, out.getvalue(), err.getvalue())
