"""One file from the web: whole and with the right SHA-256, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from collections.abc import Callable
from pathlib import Path

from autokd.errors import DataError
from autokd.files import file_sha256, new_file

TIMEOUT_S = 30.0
"""Longest silence of the server."""

_CHUNK = 1 << 18


def fetch(url: str, file: Path, sha256: str, progress: Callable[[str], None], mend: str) -> Path:
    """``file``, downloaded unless it is already there with this checksum; written beside it, then renamed.

    Args:
        url: Where from.
        file: Where to; its folder is made.
        sha256: Of the file, in hexadecimal.
        progress: Told every tenth of the way.
        mend: What to do when this machine is offline.

    Raises:
        DataError: The server cannot be reached, stops or sends something else; the folder cannot be written.
    """
    try:
        if file.is_file() and file_sha256(file) == sha256:
            return file
        with new_file(file) as part:
            found = _stream(url, part, progress, mend)
            if found != sha256:
                raise DataError(
                    f"{url} must have the SHA-256 {sha256}", found, f"A proxy may have answered instead. {mend}"
                )
    except OSError as error:
        raise DataError(f"{file.parent} must be a writable folder", error.strerror or error) from error
    return file


def _stream(url: str, part: Path, progress: Callable[[str], None], mend: str) -> str:
    """The SHA-256 of what was written to ``part``."""
    sha, name = hashlib.sha256(), url.rpartition("/")[2]
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as reply, part.open("wb") as out:
            size = int(reply.headers.get("Content-Length") or 0)
            done = told = 0
            while block := reply.read(_CHUNK):
                out.write(block)
                sha.update(block)
                done += len(block)
                if size and done * 10 // size > told:
                    told = done * 10 // size
                    progress(f"{name}: {done / 1e6:.1f} of {size / 1e6:.1f} MB")
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        raise DataError(f"{url} must be downloadable", getattr(error, "reason", None) or error, mend) from error
    return sha.hexdigest()
