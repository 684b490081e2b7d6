"""Small file helpers: atomic writes, content hashes, folder sizes, and the source of a person's own code by its content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autokd.errors import StorageError

if TYPE_CHECKING:
    import numpy as np

Guard = Callable[[], AbstractContextManager[Any]]


def part_of(final: Path) -> Path:
    """Where this thread writes a file or a folder before it gets its name; a killed process leaves it behind."""
    return final.with_name(f"{final.name}.{os.getpid()}-{threading.get_ident()}.part")


@contextmanager
def new_file(
    final: Path, *, lasting: bool = True, replace: bool = True, disk: Guard = contextlib.nullcontext
) -> Iterator[Path]:
    """A file beside ``final`` to be written; it becomes ``final``, whole, when the block ends well, and is gone otherwise.

    Args:
        final: Its name; the folder is made.
        lasting: Whole also when the power goes. Without, only for those who read while this computer runs.
        replace: Take the place of a file that is there; otherwise that one stays.
        disk: Entered around what is done on the disk here, to name what it refuses.
    """
    part = part_of(final)
    try:
        with disk():
            final.parent.mkdir(parents=True, exist_ok=True)
            part.open("wb").close()
        yield part
        with disk():
            if lasting:
                _sync(part)
            if replace:
                os.replace(part, final)
            else:
                _name_first(part, final)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _name_first(part: Path, final: Path) -> None:
    try:
        os.link(part, final)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links: of two at once the last one's is kept
        os.replace(part, final)


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A folder beside ``final`` to be filled; it becomes ``final`` when the block ends well, and is gone otherwise.

    Where another process was first, its folder stays.
    """
    part = part_of(final)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if not final.exists():
            publish(part, final)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def publish(work: Path, final: Path, *, lasting: bool = True) -> None:
    """Give a finished folder its name: whoever finds ``final`` finds all that is in it; ``lasting``: also when the power goes."""
    for base, _, names in os.walk(work) if lasting else ():
        for name in names:
            _sync(Path(base, name))
    os.replace(work, final)


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes | str, *, lasting: bool = True) -> None:
    """Write a whole file or nothing; ``lasting`` as in :func:`new_file`."""
    with new_file(path, lasting=lasting) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


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


def write_json(path: Path, value: Any, *, lasting: bool = True) -> None:
    """:func:`write_atomic` of indented JSON."""
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True) + "\n", lasting=lasting)


def save_array(path: Path, array: np.ndarray) -> None:
    """An ``.npy`` file, whole or not there."""
    import numpy as np

    with new_file(path) as part, part.open("wb") as file:
        np.save(file, array, allow_pickle=False)


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

    Beside it means: in the same package, or, of a module that is in none, in the same folder. Of an installed package all sources
    count, followed or not. The first answer stays: it was given when the module was loaded.

    Args:
        module: Its dotted name; it must have been imported.
    """
    found: dict[str, bytes] = {}
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is not None:
        top = module.partition(".")[0]
        first = getattr(sys.modules.get(top), "__file__", None) or file
        package = "." in module or Path(first).name == "__init__.py"
        above = Path(file).parents[module.count(".") + (Path(file).name == "__init__.py")]
        if "site-packages" not in above.parts:
            _collect(module, Path(file), above, top if package else "", found)
        else:  # installed: whole packages are too large to follow, and a lone file has no neighbours of its own
            sources = sorted((above / top).rglob("*.py")) if package else [Path(file)]
            found |= {str(s.relative_to(above)): s.read_bytes() for s in sources}
    whole = hashlib.sha256()
    for name in sorted(found):
        whole.update(f"{name}\0{len(found[name])}\0".encode() + found[name])
    return whole.hexdigest()


def _collect(module: str, path: Path, folder: Path, package: str, found: dict[str, bytes]) -> None:
    if module in found:
        return
    found[module] = path.read_bytes()
    if path.suffix != ".py":
        return
    for name in _imports(found[module], module, path.name == "__init__.py"):
        if package and name.partition(".")[0] != package:
            continue
        place = folder.joinpath(*name.split("."))  # loaded or not: functions import late
        source = next((f for f in (place / "__init__.py", place.with_name(f"{place.name}.py")) if f.is_file()), None)
        if source is not None:
            _collect(name, source, folder, package, found)


def _imports(text: bytes, module: str, package: bool) -> set[str]:
    """Names of all modules that a source may import; of ``from a import b`` both ``a`` and ``a.b``."""
    import ast

    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")
            above = above[: len(above) - node.level + package] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names - {""}
