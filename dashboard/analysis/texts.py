"""What the page shows of a study, as plain frames, texts and bytes; knows nothing of Streamlit."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from autokd.config.objectives import Objective, metric_of, relative_spread
from autokd.errors import StudyError
from autokd.formatting import number
from autokd.storage.folders import owned_home
from autokd.storage.lineage import Lineage, left_words
from autokd.storage.results import Member
from autokd.study.study import Study
from autokd.trial import ERROR

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


def file_name(study: str) -> str:
    """A study's name as part of a file's."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", study)


def front_table(
    rows: pd.DataFrame,
    objectives: Sequence[Objective],
    confirmed: Mapping[str, Mapping[str, float]],
    lineage: Lineage | None = None,
) -> pd.DataFrame:
    """Students, one row each: trial, objectives with spread, size, test quality, parameters; units in the names.

    Args:
        rows: Of a reader's frame.
        objectives: Whose columns come first.
        confirmed: What ``autokd confirm`` found, by the trial's number as text.
        lineage: Who descends from whom: says where a student comes from, and what a ladder's cuts left of its channels.
    """
    goals = list(objectives)
    goals += [Objective("minimize", m) for m in ("size_bytes", "params") if m not in {o.metric for o in objectives}]
    params = [str(c) for c in rows.columns if str(c).startswith("params_") and rows[c].notna().any()]
    found = []
    for row in rows.to_dict("records"):
        shown: dict[str, Any] = {"trial": int(row["number"])}
        if lineage:
            shown["lineage"] = lineage.origin(shown["trial"])
        for goal in goals:
            if _known(row.get(goal.name)):
                error = row.get(goal.name + ERROR)
                shown |= _cells(goal.metric, goal.profile, row[goal.name], error if _known(error) else None)
        for metric, where, value, error in confirmed_facts(confirmed.get(str(int(row["number"])))):
            shown |= _cells(metric, where, value, error)
        if lineage:
            shown["channels left, about"] = left_words(lineage.left(shown["trial"]))
        found.append(shown | {c.removeprefix("params_"): row[c] for c in params})
    table = pd.DataFrame(found)
    silent = [c for c in ("lineage", "channels left, about") if c in table.columns and not table[c].any()]
    return small_times(table.drop(columns=silent))


def small_times(table: pd.DataFrame) -> pd.DataFrame:
    """Times in microseconds where all of them are below a millisecond; the unit is in a column's name."""
    times = [c for c in table.columns if re.search(r" \(ms\b", str(c))]
    if not times or not (table[times].max(numeric_only=True) < 1).all():
        return table
    found = table.assign(**{c: 1e3 * table[c] for c in times})
    return found.rename(columns={c: str(c).replace(" (ms", " (µs") for c in times})


def _known(value: Any) -> bool:
    return value is not None and value == value


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
        text = number(m.value, m.unit, m.spread, relative=relative_spread(m.metric))
        rows.append({"measurement": title(m.metric), "value": text, "of": where})
    for metric, where, value, error in confirmed_facts(member.confirmed):
        text = number(value, metric_of(metric).unit, error)
        rows.append({"measurement": title(metric), "value": text, "of": where})
    return pd.DataFrame(rows)


def confirmed_facts(confirmed: Mapping[str, float] | None) -> Iterator[tuple[str, str, float, float | None]]:
    """What ``autokd confirm`` found: metric, where, value, standard error. Quality of the test split; latency again."""
    confirmed = confirmed or {}
    for name, value in confirmed.items():
        metric, at, profile = name.partition("@")
        if at:
            yield metric, f"{profile}, again", value, None
        elif not name.endswith("_se"):
            yield name, "test split", value, confirmed.get(f"{name}_se")


def clock_words(extra: Mapping[str, Any]) -> str:
    """What was done to a latency for the clock's drift: it stands for the host's usual clock."""
    factor = extra.get("clock_factor")
    if factor is None:
        return "; as it was timed, not brought to the host's usual clock"
    return f"; times {float(factor):.3f}, for the host's usual clock"


def formats(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Column configuration of a table: four significant digits of a value, two of a spread."""
    columns = [str(c) for c in frame.select_dtypes("float").columns]
    return {c: {"type_config": {"type": "number", "format": "%.2g" if "±" in c else "%.4g"}} for c in columns}


def params_table(params: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {"parameter": list(params), "value": [f"{v:.4g}" if isinstance(v, float) else str(v) for v in params.values()]}
    )


def download(study: Study, member: Member) -> Download:
    """A student's file and receipt, exactly as ``autokd export`` writes them.

    Raises:
        StudyError: The file is gone, is not the measured one, or is none of this study's.
        UserError: It is no ONNX model, or the disk refuses.
    """
    from autokd.study.export import hand_over, receipt_path

    moved = study.home / "trials" / f"{member.number:05d}" / "student.onnx"
    if (
        not Path(member.artifact or "").exists() and moved.exists()
    ):  # the folder is elsewhere now; its hash is still checked
        member = replace(member, artifact=str(moved))
    inside = Path(member.artifact or "").resolve().is_relative_to((study.home / "trials").resolve())
    if member.artifact and not (inside and owned_home(study.home, study.ledger.url, study.name)):
        # a foreign ledger may name any file of this host, and any folder as its own
        raise StudyError("a download must be a file of its study", f"{member.artifact}, outside {study.home}")

    name = f"{file_name(study.name)}-{member.number}.onnx"
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
