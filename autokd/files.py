"""Small file helpers: atomic writes, content hashes, folder sizes, and the source of a person's own code by its content."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from functools import cache
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


@cache
def source_sha256(module: str) -> str:
    """SHA-256 of a loaded module's source and of the modules beside it that it imports, directly or not.

    Beside it means: in the same package, or, of a module that is in none, in the same folder. What was installed from elsewhere is
    not looked at. The first answer stays: it was given when the module was loaded.

    Args:
        module: Its dotted name; it must have been imported.
    """
    found: dict[str, bytes] = {}
    _collect(module, module.partition(".")[0], found)
    whole = hashlib.sha256()
    for name in sorted(found):
        whole.update(f"{name}\0{len(found[name])}\0".encode() + found[name])
    return whole.hexdigest()


def _collect(module: str, top: str, found: dict[str, bytes]) -> None:
    file = getattr(sys.modules.get(module), "__file__", None)
    if module in found or file is None:
        return
    path = Path(file)
    found[module] = path.read_bytes()
    if path.suffix != ".py":
        return
    root = Path(str(getattr(sys.modules[top], "__file__", file))).parent
    for name in _imports(found[module], module, path.name == "__init__.py"):
        other = getattr(sys.modules.get(name), "__file__", None)
        inside = name.partition(".")[0] == top
        # a package's modules, or the neighbours of a lone file; a folder of installed packages is nobody's own
        beside = (
            "." not in module and "site-packages" not in root.parts and root in Path(other).parents if other else False
        )
        if other and (inside or beside):
            _collect(name, top, found)


def _imports(text: bytes, module: str, package: bool) -> set[str]:
    """Names of all modules that a source may import; of ``from a import b`` both ``a`` and ``a.b``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")
            above = above[: len(above) - node.level + package] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names & set(sys.modules)
