"""A student's file, its receipt and lines that run it, as they leave the house; knows nothing of Streamlit."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from autokd.errors import StudyError
from autokd.storage.folders import owned_home
from autokd.storage.results import Member
from autokd.study.study import Study


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


def file_name(study: str) -> str:
    """A study's name as part of a file's."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", study)


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
