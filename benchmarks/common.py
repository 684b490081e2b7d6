"""What several benchmarks need: the Fashion-MNIST study, its box, the machine's line, and the sections of the document."""

from __future__ import annotations

import datetime
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curves import Box

from autokd.hardware.profile import describe_host
from autokd.study.opened import OpenStudy
from autokd.study.spent import Spent

HERE = Path(__file__).parent.absolute()
LATENCY = "latency_ms@cpu_1_thread"
FASHION_BOX = Box(poor=0.80, good=0.94, slow_ms=0.150, fast_ms=0.006)
"""The box of the project's cost measurements: accuracy .80 to .94, log latency 150 to 6 microseconds, normalised to 1."""


def fashion_mnist_study(data: str) -> dict[str, Any]:
    """The study that Fashion-MNIST benchmarks share; name, sampler, budget and storage are the caller's."""
    return {
        "data": {"source": "fashion_mnist", "path": data, "validation_fraction": 0.1667},
        "teacher": {
            "family": "resnet",
            "params": {"width": 24, "stages": 3, "depth_1": 2, "depth_2": 2, "depth_3": 2, "stem_stride": 2},
            "training": {"epochs": 10, "lr": 0.15, "batch_size": 128, "augment": "shift_flip", "views": 12},
        },
        "space": "mobilenet_28",
        "hardware": ["cpu_1_thread"],
        "objectives": ["maximize accuracy", f"minimize {LATENCY}"],
        "training": {
            "samples": 50_000,
            "batch_size": 128,
            "lr": 0.3,
            "augment": "none",
            "views": 1,
            "tune_samples": 20_000,
        },
        "resources": {"device": "cpu"},
        "seed": 0,
    }


def machine(began: float) -> str:
    """The machine and the date, for the head of a table."""
    host = describe_host()
    date = datetime.datetime.fromtimestamp(began, tz=datetime.UTC).date()
    return f"Machine: {host.get('cpu')}, {host.get('cores')} cores, shared with other work; {date}."


class TrialsAlone(Spent):
    """Charges a search for its trials: what comes before them, a teacher and the start of workers, is the same for all methods."""

    def of(self, study: OpenStudy) -> Callable[[], float]:
        return lambda: 0.0


def teacher_cpu_s(root: Path) -> float:
    """CPU seconds of the training of the teacher under a folder of studies."""
    curves = [json.loads(file.read_text()) for file in (root / "teachers").glob("*/curve.json")]
    return max((curve[-1]["cpu_s"] for curve in curves if curve), default=0.0)


def share_modules() -> None:
    """Let this process and the workers it starts import what lies beside the benchmarks."""
    sys.path.insert(0, str(HERE))
    os.environ["PYTHONPATH"] = os.pathsep.join(p for p in (str(HERE), os.environ.get("PYTHONPATH", "")) if p)


def shown_arguments() -> str:
    """The command line without paths of this machine."""
    words, hidden = [], False
    for word in sys.argv[1:]:
        if not hidden and word not in ("--data", "--folder") and not word.startswith(("--data=", "--folder=")):
            words.append(word)
        hidden = word in ("--data", "--folder")
    return shlex.join(words)


def write_section(text: str, name: str) -> None:
    """Replace a benchmark's section of ``docs/benchmarks.md``."""
    file = HERE.parent / "docs" / "benchmarks.md"
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, rest = file.read_text(encoding="utf-8").split(start)
    after = rest.split(end)[1]
    file.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")
