"""Small file helpers: atomic writes, content hashes, folder sizes ."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autokd.errors import StorageError

if TYPE_CHECKING:
    import numpy as np


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file or nothing, also when the power goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = data.encode() if isinstance(data, str) else data
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_checked(path: Path, data: bytes) -> None:
    """:func:`write_atomic` of a file that a person named.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        write_atomic(path, data)
    except OSError as error:
        raise StorageError(
            f"{path} must be writable", error.strerror or str(error), "Free space or name another folder."
        ) from error


def write_json(path: Path, value: Any) -> None:
    """:func:`write_atomic` of indented JSON."""
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def read_json(path: Path, default: Any = None) -> Any:
    """The JSON of a file, or ``default`` when it is not there or not (yet) whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default


def digest(value: Any) -> str:
    """SHA-256 of plain values in canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


CHUNK_BYTES = 1 << 24


def rows_per_chunk(array: np.ndarray) -> int:
    """Rows of an array that make up about 16 MiB, so that memory-mapped ones stay on disk."""
    return max(1, CHUNK_BYTES // max(1, array[:1].nbytes))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def disk_bytes(folder: Path) -> int:
    """Bytes of all files below a folder, one with several names counted once."""
    sizes: dict[tuple[int, int], int] = {}
    for base, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                facts = os.lstat(os.path.join(base, name))
                sizes[facts.st_dev, facts.st_ino] = facts.st_size
    return sum(sizes.values())


def link(source: Path, target: Path) -> None:
    """A hard link where the file system allows it, so that both names share the bytes; else a copy."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; files that vanish meanwhile count 0."""
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(base, name)).st_size
            except OSError:
                continue
    return total
