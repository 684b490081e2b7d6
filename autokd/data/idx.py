"""The IDX format of MNIST and its relatives, plain or gzip.

Two zero bytes, a type code, the number of dimensions, the dimensions as big-endian uint32, then the values in C order
(Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits").
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from autokd.errors import DataError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_MEND = "The file is damaged or not IDX: fetch it again."


def open_plain(path: Path) -> IO[bytes]:
    """A file's bytes, unpacked when it is gzip (by content, not by name)."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return cast(IO[bytes], gzip.open(path, "rb")) if packed else path.open("rb")


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file, in native byte order.

    Raises:
        DataError: The file is missing, unreadable, not IDX, or shorter or longer than its header says.
    """
    try:
        with open_plain(path) as file:
            return _parse(file, path)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} must be a readable IDX file", str(error) or type(error).__name__, _MEND) from error


def _parse(file: IO[bytes], path: Path) -> np.ndarray:
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in TYPES or start[3] == 0:
        raise DataError(f"{path} must start with an IDX header", f"the bytes {start.hex(' ') or '(none)'}", _MEND)
    raw = file.read(4 * start[3])
    if len(raw) < 4 * start[3]:
        raise DataError(f"{path} must hold its {start[3]} dimensions", "the end of the file", _MEND)
    shape = struct.unpack(f">{start[3]}I", raw)
    dtype = np.dtype(TYPES[start[2]])
    size = math.prod(shape) * dtype.itemsize
    body = file.read(size)
    if len(body) < size or file.read(1):
        found = f"{len(body)}" if len(body) < size else "more"
        raise DataError(f"{path} must hold {size} bytes of values for its shape {shape}", found, _MEND)
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="))
