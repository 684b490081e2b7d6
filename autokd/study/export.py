"""A chosen student leaves the house: the measured bytes, and a receipt beside them."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from autokd.deployment.inspect import inspect
from autokd.deployment.receipt import write_receipt
from autokd.errors import StorageError, StudyError
from autokd.files import write_atomic
from autokd.hardware.profile import describe_host
from autokd.storage.attributes import FACTS_KEY
from autokd.storage.by_class import BY_CLASS, ByClass
from autokd.storage.ledger import shown_url
from autokd.storage.results import Member, checked_file
from autokd.study.by_class import classes_in, classes_of
from autokd.study.decision import check_positive, decision
from autokd.study.opened import OpenStudy
from autokd.trial import Measurement
from autokd.version import __version__


@dataclass(frozen=True)
class Exported:
    """A file that left the house.

    Args:
        file: Where it is.
        receipt: Where its receipt is.
        trial: Its trial's number.
        objectives: What it was measured at, by objective; ``None`` where it was not.
        differ: How many predictions differ from the trained model's, of how many; ``None`` where that was not looked at.
    """

    file: Path
    receipt: Path
    trial: int
    objectives: Mapping[str, Measurement | None]
    differ: tuple[int, int] | None


VERSIONS = ("numpy", "onnx", "onnxruntime", "optuna", "torch")


def hand_over(study: OpenStudy, member: Member, path: Path, positive: str | None = None) -> Path:
    """Write a member's ONNX file to ``path`` and its receipt to ``<path>.receipt.json``.

    Args:
        positive: Of two classes the one that the receipt's thresholds find; by default the rarer one.

    Raises:
        StudyError: The file is gone or is not the measured one; a positive class that cannot be one.
        StorageError: The place cannot be written.
    """
    if path.suffix != ".onnx":
        raise StudyError("an exported file's name must end in .onnx", str(path))
    check_positive(classes_of(study), positive)
    source = checked_file(member)
    try:
        write_atomic(path, source.read_bytes())
        write_receipt(receipt_path(path), receipt(study, member, path, positive))
    except OSError as error:
        raise StorageError("the export must have a place that can be written", f"{path}: {error.strerror}") from None
    return path


def receipt_path(path: Path) -> Path:
    """``student.onnx`` has its receipt in ``student.receipt.json``."""
    return path.with_suffix(".receipt.json")


def exported(study: OpenStudy, member: Member, file: Path) -> Exported:
    """What is said of a student that was just written to ``file``."""
    measured = {m.name: m for m in member.record.measurements}
    verdict = member.record.notes.get("verify") or {}
    return Exported(
        file=file,
        receipt=receipt_path(file),
        trial=member.number,
        objectives={o.name: measured.get(o.name) for o in study.plan.objectives},
        differ=(verdict["prediction_mismatches"], verdict["n"]) if verdict else None,
    )


def receipt(study: OpenStudy, member: Member, path: Path, positive: str | None = None) -> dict[str, Any]:
    """Everything that says what the file is, what it was measured at, and how to make it again."""
    facts = study.ledger.attr(FACTS_KEY) or {}
    data, teacher = facts.get("data", {}), facts.get("teacher") or {}
    file = inspect(path)
    words = ["autokd", "export", study.name, "--trial", str(member.number), "-o", path.name]
    words += ["--positive", positive] if positive is not None else []
    words += ["--storage", shown_url(study.ledger.url)]
    return {
        "autokd": __version__,
        "study": study.name,
        "trial": member.number,
        "parent": member.record.parent,
        "parameters": dict(member.params),
        "measurements": [asdict(m) for m in member.record.measurements],
        "confirmed_on_test": dict(member.confirmed) if member.confirmed else None,
        "recall_by_class": _recalls(member, classes_in(facts)),
        "decision": decision(study, member, positive),
        "trained_on": member.record.notes.get("trained_on"),
        "file": {
            "name": path.name,
            "sha256": file.sha256,
            "size_bytes": file.size_bytes,
            "opset": max(o.version for o in onnx.load(path).opset_import if o.domain in ("", "ai.onnx")),
            "input": {"name": "input", "dtype": file.input_dtype, "shape": list(file.input_shape)},
            "output": {"name": "scores", "dtype": "float32", "meaning": "logits, one a class"},
            "classes": list(file.classes),
        },
        "data_sha256": data.get("fingerprint"),
        "teacher_sha256": teacher.get("fingerprint"),
        "host": facts.get("host") or describe_host(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS}
        | {"python": platform.python_version()},
        "command": shlex.join(words),
        "search": {"config": _shown_config(study), "space": dict(study.plan.space_source)},
    }


def _recalls(member: Member, classes: Sequence[str]) -> dict[str, Any] | None:
    """Of the validation split: ``{class: {"recall": ratio, "right": samples, "of": samples}}``; ``None`` of older trials."""
    found = ByClass.read(member.record.notes.get(BY_CLASS))
    if found is None or len(found.of) != len(classes):
        return None
    return {n: {"recall": found.recall(i), "right": found.right[i], "of": found.of[i]} for i, n in enumerate(classes)}


def _shown_config(study: OpenStudy) -> dict[str, Any]:
    """The configuration without the ledger's password: a receipt travels with the file."""
    config: dict[str, Any] = study.plan.config.model_dump(mode="json")
    if config["storage"]["url"]:
        config["storage"]["url"] = shown_url(config["storage"]["url"])
    return config
