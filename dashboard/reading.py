"""What the page shows of a study, as plain frames, texts and bytes; knows nothing of Streamlit."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from autokd.figures import error_of, label, members_frame
from autokd.ledger import connect, sqlite_file, storage_errors
from autokd.objectives import Objective, metric_of
from autokd.plan import Plan
from autokd.results import Member
from autokd.study import BEAT_S, CONFIG_KEY, DRIVER_KEY, FACTS_KEY, Study, list_studies

LIVE = ("preparing", "searching")
FACTORS = {"ratio": (100.0, "%"), "bytes": (1e-3, "kB"), "ms": (1.0, "ms")}
MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~:$&^=@/])")


@dataclass(frozen=True)
class Download:
    """A student's file and its receipt, checked.

    Args:
        name: File name, ``<study>-<trial>.onnx``.
        model: The measured bytes.
        receipt: JSON text.
    """

    name: str
    model: bytes
    receipt: str

    @property
    def receipt_name(self) -> str:
        return self.name.removesuffix(".onnx") + ".receipt.json"


def plain(value: object) -> str:
    """Text for a place that reads Markdown: shown as it is, on one line."""
    return MARKDOWN.sub(r"\\\1", " ".join(str(value).split()))


def ledger_there(url: str) -> bool:
    """False where a SQLite file was not written yet.

    Raises:
        StorageError: The URL is none.
    """
    with storage_errors(url):
        file = sqlite_file(url)
    return file is None or file.exists()


def study_names(url: str) -> list[str]:
    """Every study of autokd's in the ledger, newest first.

    Raises:
        StorageError: The ledger cannot be read.
    """
    connect(url)
    return [row["name"] for row in reversed(list_studies(url))]


def newest_with_front(url: str, names: Sequence[str]) -> str:
    """The first of ``names`` that has a front, else the first."""
    for name in names:
        if Study.open(name, url).front():
            return name
    return names[0]


def identity(url: str) -> str:
    """Another text when another file was put in the ledger's place."""
    file = sqlite_file(url)
    if file is None:
        return url
    facts = file.stat()
    return f"{file} {facts.st_dev} {facts.st_ino}"


def refresh(study: Study) -> None:
    """Read the plan again: ``autokd resume --set budget.trials=..`` may have changed it."""
    study.plan = Plan.from_json(study.ledger.attr(CONFIG_KEY))


def is_live(study: Study) -> bool:
    return str(study.ledger.attr("autokd:state")) in LIVE


def driver_silent(study: Study) -> bool:
    """The state says that it runs, but nobody has said so lately: it was killed."""
    beat = (study.ledger.attr(DRIVER_KEY) or {}).get("beat", 0)
    return is_live(study) and time.time() - float(beat) > 6 * BEAT_S


def teacher_of(study: Study) -> tuple[str, dict[str, float]]:
    """The teacher's name and its measurements by name; empty before the check-up."""
    teacher = (study.ledger.attr(FACTS_KEY) or {}).get("teacher") or {}
    values = {
        (f"{m['metric']}@{m['profile']}" if m.get("profile") else m["metric"]): float(m["value"])
        for m in teacher.get("measurements", ())
    }
    return str(teacher.get("name", "")), values


def colours(frame: pd.DataFrame, objectives: Sequence[Objective]) -> dict[str, str | None]:
    """What points may be coloured by: a name for people to a column of the frame."""
    found: dict[str, str | None] = {"nothing": None}
    for shown, column in (("bits", "params_bits"), ("pruned", "pruned"), ("method", "params_method")):
        if column in frame.columns:
            found[shown] = column
    if len(objectives) > 2:
        found |= {label(o): o.name for o in objectives if o.name in frame.columns}
    return found


def front_table(front: Sequence[Member], objectives: Sequence[Objective]) -> pd.DataFrame:
    """The front, one row a student: trial, objectives with spread, size, test quality, parameters; units in the names."""
    goals = list(objectives)
    goals += [Objective("minimize", m) for m in ("size_bytes", "params") if m not in {o.metric for o in objectives}]
    rows = []
    for member in front:
        row: dict[str, Any] = {"trial": member.number}
        measured = {m.name: m for m in member.record.measurements}
        for goal in goals:
            if goal.name in measured:
                m = measured[goal.name]
                row |= _cells(goal.metric, goal.profile, m.value, error_of(m))
        for key, value in (member.confirmed or {}).items():
            if not key.endswith("_se"):
                row |= _cells(key, "test split", value, (member.confirmed or {}).get(f"{key}_se"))
        rows.append(row | dict(member.params))
    return pd.DataFrame(rows)


def _cells(metric: str, where: str | None, value: float, error: float | None) -> dict[str, float]:
    unit = metric_of(metric).unit
    factor, shown = FACTORS.get(unit, (1.0, unit))
    name = metric.removesuffix(f"_{unit}") if unit else metric
    notes = ", ".join(n for n in (shown, where) if n)
    tail = f" ({notes})" if notes else ""
    title = "parameters" if name == "params" else name.replace("_", " ")
    cells = {title + tail: factor * value}
    if error is not None:
        cells[f"{title} ±{tail}"] = factor * error
    return cells


def facts_table(member: Member) -> pd.DataFrame:
    """Every measurement of a student: value, spread, unit, device."""
    rows = []
    for m in member.record.measurements:
        factor, unit = FACTORS.get(m.unit, (1.0, m.unit))
        error = error_of(m)
        rows.append(
            {
                "measurement": m.metric.removesuffix(f"_{m.unit}") if m.unit else m.metric,
                "value": factor * m.value,
                "±": None if error is None else factor * error,
                "unit": unit,
                "device": m.profile or "",
                "split": "validation" if metric_of(m.metric).needs_training else "",
            }
        )
    for key, value in (member.confirmed or {}).items():
        if not key.endswith("_se"):
            factor, unit = FACTORS.get(metric_of(key).unit, (1.0, metric_of(key).unit))
            error = (member.confirmed or {}).get(f"{key}_se")
            spread = None if error is None else factor * error
            rows.append(
                {"measurement": key, "value": factor * value, "±": spread, "unit": unit, "device": "", "split": "test"}
            )
    return pd.DataFrame(rows)


def params_table(params: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({"parameter": list(params), "value": [f"{v:.4g}" if isinstance(v, float) else str(v) for v in params.values()]})


def download(study: Study, member: Member) -> Download:
    """A student's file and receipt, exactly as ``autokd export`` writes them.

    Raises:
        StudyError: The file is gone, or is not the measured one.
        UserError: It is no ONNX model, or the disk refuses.
    """
    from autokd.handover import hand_over, receipt_path

    name = f"{re.sub(r'[^A-Za-z0-9_.+-]+', '-', study.name)}-{member.number}.onnx"
    with tempfile.TemporaryDirectory(prefix="autokd-dashboard-") as folder:
        path = hand_over(study, member, Path(folder) / name)
        return Download(name, path.read_bytes(), receipt_path(path).read_text(encoding="utf-8"))


def snippet(found: Download) -> str:
    """A few lines that run the file with onnxruntime and numpy alone."""
    file = json.loads(found.receipt)["file"]
    shape = (1, *(n or 1 for n in file["input"]["shape"]))
    named = bool(file["classes"])
    lines = [
        *(["import json", ""] if named else []),
        "import numpy as np",
        "import onnxruntime as ort",
        "",
        f'session = ort.InferenceSession("{found.name}", providers=["CPUExecutionProvider"])',
        f"x = np.zeros({shape}, dtype=np.{file['input']['dtype']})  # put your raw values here, any number of samples",
        "scores = session.run(None, {session.get_inputs()[0].name: x})[0]  # (N, classes) float32",
    ]
    if named:
        lines += [
            'classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])',
            "print([classes[i] for i in scores.argmax(axis=1)])",
        ]
    else:
        lines.append("print(scores.argmax(axis=1))")
    return "\n".join(lines)
