"""What the page shows of a study, as plain frames, texts and bytes; knows nothing of Streamlit."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from autokd.figures import error_of, label
from autokd.ledger import CONFIG_KEY, list_studies, sqlite_file, storage_errors
from autokd.live import BEAT_S, DRIVER_KEY
from autokd.objectives import Objective, metric_of
from autokd.plan import Plan
from autokd.results import Member
from autokd.study import FACTS_KEY, Study
from autokd.tables import number

LIVE = ("preparing", "searching")
UNITS = {"ratio": (100.0, "%"), "bytes": (1e-3, "kB"), "ms": (1.0, "ms")}
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


def studies(url: str) -> dict[str, str]:
    """Every study of autokd's in the ledger, newest first, and when its first trial began (empty: none yet).

    Raises:
        StorageError: The ledger cannot be read.
    """
    return {row["name"]: row["begun"] or "" for row in reversed(list_studies(url))}


def newest_with_front(url: str, names: Sequence[str]) -> str:
    """The first of ``names`` that has a front, else the first."""
    for name in names:
        if Study.open(name, url).front():
            return name
    return names[0]


def identity(url: str, begun: str) -> str:
    """Another text for another study: the file was replaced, or the study deleted and made anew (ids are used again)."""
    file = sqlite_file(url)
    facts = file.stat() if file is not None else None
    return f"{url} {begun}" + (f" {facts.st_dev} {facts.st_ino}" if facts else "")


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
        for metric, where, value, error in confirmed_facts(member):
            row |= _cells(metric, where, value, error)
        rows.append(row | dict(member.params))
    return pd.DataFrame(rows)


def _cells(metric: str, where: str | None, value: float, error: float | None) -> dict[str, float]:
    unit = metric_of(metric).unit
    factor, shown = UNITS.get(unit, (1.0, unit))
    tail = ", ".join(n for n in (shown, where) if n)
    tail = f" ({tail})" if tail else ""
    cells = {title(metric) + tail: factor * value}
    if error is not None:
        cells[f"{title(metric)} ±{tail}"] = factor * error
    return cells


def title(metric: str) -> str:
    """A metric's name for people, without its unit."""
    if metric == "params":
        return "parameters"
    return metric.removesuffix(f"_{metric_of(metric).unit}").replace("_", " ") if ":" not in metric else metric


def facts_table(member: Member) -> pd.DataFrame:
    """Every measurement of a student with unit, spread, and where it was taken."""
    rows = []
    for m in member.record.measurements:
        where = m.profile or ("validation split" if metric_of(m.metric).needs_training else "the file")
        rows.append({"measurement": title(m.metric), "value": number(m.value, m.unit, m.spread), "of": where})
    for metric, where, value, error in confirmed_facts(member):
        text = number(value, metric_of(metric).unit, error)
        rows.append({"measurement": title(metric), "value": text, "of": where})
    return pd.DataFrame(rows)


def confirmed_facts(member: Member) -> Iterator[tuple[str, str, float, float | None]]:
    """What ``autokd confirm`` found: metric, where, value, standard error. Quality of the test split; latency again."""
    confirmed = member.confirmed or {}
    for name, value in confirmed.items():
        metric, at, profile = name.partition("@")
        if at:
            yield metric, f"{profile}, again", value, None
        elif not name.endswith("_se"):
            yield name, "test split", value, confirmed.get(f"{name}_se")


def params_table(params: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {"parameter": list(params), "value": [f"{v:.4g}" if isinstance(v, float) else str(v) for v in params.values()]}
    )


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


def download_identity(study: Study, member: Member) -> tuple[object, ...]:
    """Differs when another student, another file or another confirmation would be downloaded."""
    file = Path(member.artifact or "")
    facts = file.stat() if member.artifact and file.is_file() else None
    seen = (facts.st_size, facts.st_mtime_ns) if facts else None
    confirmed = json.dumps(dict(member.confirmed or {}), sort_keys=True)
    return (study.ledger.url, study.name, member.number, member.record.artifact_sha256, seen, confirmed)


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
