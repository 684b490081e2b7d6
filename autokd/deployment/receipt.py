"""The receipt beside an exported file: what it is, what it was measured at, and the command that makes it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autokd.errors import UserError
from autokd.files import file_sha256, write_checked

REQUIRED = (
    "autokd",
    "study",
    "trial",
    "parameters",
    "measurements",
    "file",
    "data_sha256",
    "teacher_sha256",
    "host",
    "versions",
    "command",
)
REQUIRED_OF_FILE = ("name", "sha256", "size_bytes", "opset", "input", "output", "classes")


def write_receipt(path: Path, facts: Mapping[str, Any]) -> None:
    """Writes the receipt as sorted, indented JSON; there whole or not at all.

    Raises:
        UserError: A required fact is missing, or a value is not JSON (NaN is not).
        StorageError: The disk refuses.
    """
    _check_keys(facts, str(path))
    try:
        text = json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError("a receipt must hold JSON values only", str(error)) from error
    write_checked(path, (text + "\n").encode())


def read_receipt(path: Path) -> dict[str, Any]:
    """The facts of a receipt.

    Raises:
        UserError: No such file, no JSON, or not a receipt.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError("the receipt must be a readable JSON file", f"{path}: {error}") from error
    if not isinstance(facts, dict):
        raise UserError("a receipt must be a JSON object", f"{type(facts).__name__} in {path}")
    _check_keys(facts, str(path))
    return facts


def check(path_onnx: Path, receipt: Mapping[str, Any]) -> bool:
    """Whether the receipt is this file's: the SHA-256 of the bytes is the one on record."""
    return file_sha256(path_onnx) == receipt["file"]["sha256"]


def _check_keys(facts: Mapping[str, Any], place: str) -> None:
    missing = [key for key in REQUIRED if key not in facts]
    file = facts.get("file")
    if isinstance(file, Mapping):
        missing += [f"file.{key}" for key in REQUIRED_OF_FILE if key not in file]
    elif "file" in facts:
        missing.append("file (an object)")
    if missing:
        raise UserError(
            "a receipt must name " + ", ".join(missing), f"none of it in {place}", "Write it with autokd export."
        )
