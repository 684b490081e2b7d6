"""Files handed to people are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

from autokd.errors import StorageError
from autokd.files import write_atomic


def write_atomically(path: Path, data: bytes) -> None:
    """Writes ``data`` so that a reader, or a crash, never sees half of it.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        write_atomic(path, data)
    except OSError as error:
        raise StorageError(
            f"{path} must be writable", error.strerror or str(error), "Free space or name another folder."
        ) from error
