"""The teacher's outputs on the seeded views: computed once per study, shared by all trials through mapped files."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
from filelock import FileLock

from autokd.errors import StorageError, TeacherError
from autokd.files import digest, new_file
from autokd.protocols import Pace, TapTeacher, Teacher, Views
from autokd.teachers.batches import batch_size

MANIFEST = "manifest.json"
LOGITS = "logits"
LARGEST = 6e4  # fp16 ends at 65,504


@dataclass(frozen=True)
class BankKey:
    """What a bank's numbers belong to; anything else is another bank."""

    teacher: str
    views: str
    size: int
    classes: int
    format: int = 1


@dataclass
class TeacherBank:
    """Cached outputs by tap, memory-mapped and read-only: processes on one machine share the pages.

    ``folder`` holds ``manifest.json``; a folder a tap with one ``view-0000.npy`` a view, ``(size, ...)`` in fp16 (fp32 where a
    number exceeds 6e4); and ``clean-<name>.npy`` for logits on unaugmented arrays. Files appear by renaming, so each is whole or
    absent. A tap's name is the teacher's affair; a new tap adds files, never a new bank.
    """

    folder: Path
    key: BankKey
    _open: dict[Path, np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def fill(
        cls,
        teacher: Teacher,
        views: Views,
        folder: Path,
        *,
        count: int,
        pace: Pace = nullcontext,
        taps: frozenset[str] = frozenset({LOGITS}),
        progress: Callable[[float], None] = lambda share: None,
    ) -> TeacherBank:
        """Computes what is missing of views 0 .. ``count`` - 1 and returns the bank.

        Views that are there are kept; one that was interrupted is computed again. A second process waits for the first.

        Args:
            teacher: Called with batches of raw samples.
            views: Views of the train split.
            folder: Where the bank lives, or will.
            count: Number of views wanted, at most ``views.count``.
            pace: Entered around every batch.
            taps: What the teacher is asked for.
            progress: Called with the share done of this call, in (0, 1].

        Raises:
            StorageError: The folder holds another bank, or the disk does not take this one.
            TeacherError: Outputs that are not finite, or a teacher without such a tap.
        """
        if not 0 < count <= views.count:
            raise ValueError(f"0 < count <= views.count must hold, but got {count} and {views.count} views")
        first = views.batch(np.arange(1, dtype=np.int64), 0)
        size, found = batch_size(first.shape[1:]), asked(teacher, first, taps | {LOGITS})
        with _locked(folder):
            key = BankKey(teacher.fingerprint, views.fingerprint, views.size, found[LOGITS].shape[1])
            bank = cls._create(folder, key)
            missing = [(tap, v) for tap in sorted(taps) for v in range(count) if not bank._file(tap, v).is_file()]
            total, done = len(missing) * views.size, 0
            for tap, view in missing:

                def batches(tap: str = tap, view: int = view) -> Iterator[np.ndarray]:
                    nonlocal done
                    for start in range(0, views.size, size):
                        positions = np.arange(start, min(start + size, views.size), dtype=np.int64)
                        with pace():
                            values = asked(teacher, views.batch(positions, view), frozenset({tap}))[tap]
                        yield values
                        done = min(total, done + len(positions))  # a view that overflows fp16 is gone through twice
                        progress(done / total)

                file = bank._file(tap, view)
                with _disk(folder):
                    file.parent.mkdir(exist_ok=True)
                _write(file, batches, (views.size, *found[tap].shape[1:]))
        return bank

    @staticmethod
    def place(folder: Path, teacher: Teacher, views: Views) -> Path:
        """Where below ``folder`` a teacher's bank for these views is: by what the teacher is, not by how it was made."""
        return folder / digest([teacher.fingerprint, views.fingerprint])[:32]

    @classmethod
    def open(cls, folder: Path) -> TeacherBank:
        """The bank in ``folder``, for reading.

        Raises:
            StorageError: There is none.
        """
        try:
            key = BankKey(**json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
            _settle(folder)
            return cls(folder, key)
        except (OSError, ValueError, TypeError) as error:
            raise StorageError(
                "The teacher bank must be readable", f"{folder}: {error}", "Resume the study."
            ) from error

    @property
    def names(self) -> frozenset[str]:
        """The taps that were filled."""
        return frozenset(_tap(f.parent.name) for f in self.folder.glob("*/view-*.npy"))

    @property
    def views(self) -> int:
        """How many views the teacher scored."""
        return len(list((self.folder / _folder(LOGITS)).glob("view-*.npy")))

    def taps(self, positions: np.ndarray, view: int, names: frozenset[str]) -> dict[str, np.ndarray]:
        """By tap ``(B, ...) float32`` for the training samples at ``positions`` ``(B,) int64`` under ``view``.

        Raises:
            StorageError: The view was not filled.
        """
        return {name: self._array(self._file(name, view))[positions].astype(np.float32) for name in names}

    def _file(self, tap: str, view: int) -> Path:
        return self.folder / _folder(tap) / f"view-{view:04d}.npy"

    def clean(
        self, name: str, inputs: np.ndarray | None = None, teacher: Teacher | None = None, *, pace: Pace = nullcontext
    ) -> np.ndarray:
        """``(N, classes) float32`` on unaugmented ``inputs`` ``(N, *shape)``, cached by ``name``.

        Args:
            name: Of the array; a bank holds one array a name.
            inputs: Raw samples; needed, like ``teacher``, only when they are not in the bank yet.
            teacher: The bank's teacher.
            pace: Entered around every batch.

        Raises:
            StorageError: Not in the bank, of another length, or the disk does not take it.
        """
        file = f"clean-{name}.npy"
        if not (self.folder / file).is_file() and inputs is not None and teacher is not None:
            if teacher.fingerprint != self.key.teacher:
                raise StorageError("A bank must keep one teacher's outputs", f"teacher {teacher.name} in {self.folder}")
            rows, score, size = inputs, teacher.logits, batch_size(inputs.shape[1:])

            def batches() -> Iterator[np.ndarray]:
                for start in range(0, len(rows), size):
                    with pace():
                        found = score(rows[start : start + size])
                    yield found

            with _locked(self.folder):
                if not (self.folder / file).is_file():
                    _write(self.folder / file, batches, (len(rows), self.key.classes))
        found = self._array(self.folder / file)
        if inputs is not None and len(found) != len(inputs):
            law = f"The bank's outputs on {name!r} must match the data"
            raise StorageError(law, f"{len(found)} of {len(inputs)} samples", f"Remove {self.folder / file}.")
        return found.astype(np.float32)

    def _array(self, path: Path) -> np.ndarray:
        if path not in self._open:
            try:
                self._open[path] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                law = "The teacher bank must hold what is asked of it"
                raise StorageError(law, f"no readable {path}", "Resume the study, which fills it.") from error
        return self._open[path]

    @classmethod
    def _create(cls, folder: Path, key: BankKey) -> TeacherBank:
        if not (folder / MANIFEST).is_file():
            _replace(folder / MANIFEST, [json.dumps(asdict(key), indent=1).encode()])
        bank = cls.open(folder)
        if bank.key != key:
            other = ", ".join(k for k, v in asdict(key).items() if asdict(bank.key)[k] != v)
            law = "A teacher bank must belong to this teacher and this data"
            raise StorageError(law, f"one with another {other} in {folder}", f"Remove {folder} to compute it anew.")
        for part in folder.rglob("*.part"):  # of a process that was killed; the lock is ours
            part.unlink(missing_ok=True)
        return bank

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "key": self.key, "_open": {}}  # mapped files are opened anew elsewhere


def asked(teacher: Teacher, inputs: np.ndarray, names: frozenset[str]) -> Mapping[str, np.ndarray]:
    """The taps ``names`` of a teacher on raw ``inputs`` ``(N, *shape)``: by name ``(N, ...) float32``.

    Raises:
        TeacherError: It has more to say than logits only where it has ``taps(inputs, names)``.
    """
    if names == {LOGITS}:
        return {LOGITS: teacher.logits(inputs)}
    if isinstance(teacher, TapTeacher):
        return teacher.taps(inputs, names)
    others = ", ".join(sorted(names - {LOGITS}))
    raise TeacherError(
        f"Teacher {teacher.name} must have the taps that a method needs", others, "It gives logits alone."
    )


def _settle(folder: Path) -> None:
    """Moves the views of a bank of version 0.1, which knew one tap, to where they lie now; also when another process is at it."""
    for flat in folder.glob("view-*.npy"):
        (folder / _folder(LOGITS)).mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            flat.replace(folder / _folder(LOGITS) / flat.name)


def _folder(tap: str) -> str:
    """The folder of a tap; a module's path may hold what a file system does not take."""
    return quote(tap, safe="")


def _tap(folder: str) -> str:
    return unquote(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with _disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(folder / ".lock"))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _write(path: Path, batches: Callable[[], Iterator[np.ndarray]], shape: tuple[int, ...]) -> None:
    """Streams batches ``(B, ...) float32`` into an ``.npy`` file, in fp16 if every number fits, else in fp32."""
    try:
        _replace(path, _encoded(batches(), shape, np.dtype(np.float16)))
    except _TooLarge:
        _replace(path, _encoded(batches(), shape, np.dtype(np.float32)))


class _TooLarge(Exception):
    """A number that fp16 cannot hold."""


def _encoded(batches: Iterator[np.ndarray], shape: tuple[int, ...], dtype: np.dtype) -> Iterator[bytes]:
    yield _header(shape, dtype)
    rows = 0
    for found in batches:
        if found.shape[1:] != shape[1:]:
            raise TeacherError(f"A teacher must put out (N, {', '.join(map(str, shape[1:]))})", found.shape)
        if not np.isfinite(found).all():
            mend = "Check its weights, and teacher.input (scale, mean, std)."
            raise TeacherError("A teacher's outputs must be finite", f"NaN or infinity near sample {rows}", mend)
        if dtype == np.float16 and found.size and float(np.abs(found).max()) > LARGEST:
            raise _TooLarge
        rows += len(found)
        yield np.ascontiguousarray(found, dtype=dtype).tobytes()
    if rows != shape[0]:
        raise ValueError(f"a teacher must answer for every sample, but got {rows} of {shape[0]}")


def _header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue()


def _replace(path: Path, chunks: Iterator[bytes] | list[bytes]) -> None:
    """Writes beside ``path``, then renames. Written, not mapped: on a full disk a mapped write kills the process."""
    with new_file(path, disk=lambda: _disk(path.parent)) as part:
        with _disk(path.parent):
            file = part.open("wb", buffering=0)  # a buffer would fail once more on closing
        with file:
            for chunk in chunks:  # not under _disk: reading the data may fail too, which is another error
                rest = memoryview(chunk)
                while len(rest):
                    with _disk(path.parent):
                        rest = rest[file.write(rest) :]


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        law = "The disk must take the teacher bank"
        value = f"{folder}: {error.strerror or error}"
        raise StorageError(law, value, "Free some space, or allow writing there.") from error
