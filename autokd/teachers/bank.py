"""The teacher's outputs on the seeded views: computed once per study, shared by all trials through mapped files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from filelock import FileLock

from autokd.errors import StorageError, TeacherError
from autokd.files import new_file
from autokd.protocols import Pace, Teacher, Views
from autokd.teachers.batches import batch_size

MANIFEST = "manifest.json"
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
    """Cached logits, memory-mapped and read-only: processes on one machine share the pages.

    ``folder`` holds ``manifest.json``, one ``view-0000.npy`` a view, ``(size, classes)`` in fp16 (fp32 where a logit
    exceeds 6e4), and ``clean-<name>.npy`` for outputs on unaugmented arrays. Files appear by renaming, so each is whole
    or absent.
    """

    folder: Path
    key: BankKey
    _open: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def fill(
        cls,
        teacher: Teacher,
        views: Views,
        folder: Path,
        *,
        count: int,
        pace: Pace = nullcontext,
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
            progress: Called with the share done of this call, in (0, 1].

        Raises:
            StorageError: The folder holds another bank, or the disk does not take this one.
            TeacherError: Outputs that are not finite.
        """
        if not 0 < count <= views.count:
            raise ValueError(f"0 < count <= views.count must hold, but got {count} and {views.count} views")
        first = views.batch(np.arange(1, dtype=np.int64), 0)
        size, classes = batch_size(first.shape[1:]), teacher.logits(first).shape[1]
        with _locked(folder):
            bank = cls._create(folder, BankKey(teacher.fingerprint, views.fingerprint, views.size, classes))
            missing = [v for v in range(count) if not (folder / _view(v)).is_file()]
            total, done = len(missing) * views.size, 0
            for view in missing:

                def batches(view: int = view) -> Iterator[np.ndarray]:
                    nonlocal done
                    for start in range(0, views.size, size):
                        positions = np.arange(start, min(start + size, views.size), dtype=np.int64)
                        with pace():
                            found = teacher.logits(views.batch(positions, view))
                        yield found
                        done = min(total, done + len(positions))  # a view that overflows fp16 is gone through twice
                        progress(done / total)

                _write(folder / _view(view), batches, (views.size, classes))
        return bank

    @classmethod
    def open(cls, folder: Path) -> TeacherBank:
        """The bank in ``folder``, for reading.

        Raises:
            StorageError: There is none.
        """
        try:
            return cls(folder, BankKey(**json.loads((folder / MANIFEST).read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError) as error:
            raise StorageError(
                "The teacher bank must be readable", f"{folder}: {error}", "Resume the study."
            ) from error

    def logits(self, positions: np.ndarray, view: int) -> np.ndarray:
        """``(B, classes) float32`` for the training samples at ``positions`` ``(B,) int64`` under ``view``.

        Raises:
            StorageError: The view was not filled.
        """
        return self._array(_view(view))[positions].astype(np.float32)

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
        found = self._array(file)
        if inputs is not None and len(found) != len(inputs):
            law = f"The bank's outputs on {name!r} must match the data"
            raise StorageError(law, f"{len(found)} of {len(inputs)} samples", f"Remove {self.folder / file}.")
        return found.astype(np.float32)

    def _array(self, file: str) -> np.ndarray:
        if file not in self._open:
            path = self.folder / file
            try:
                self._open[file] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                law = "The teacher bank must hold what is asked of it"
                raise StorageError(law, f"no readable {path}", "Resume the study, which fills it.") from error
        return self._open[file]

    @classmethod
    def _create(cls, folder: Path, key: BankKey) -> TeacherBank:
        if not (folder / MANIFEST).is_file():
            _replace(folder / MANIFEST, [json.dumps(asdict(key), indent=1).encode()])
        bank = cls.open(folder)
        if bank.key != key:
            other = ", ".join(k for k, v in asdict(key).items() if asdict(bank.key)[k] != v)
            law = "A teacher bank must belong to this teacher and this data"
            raise StorageError(law, f"one with another {other} in {folder}", f"Remove {folder} to compute it anew.")
        for part in folder.glob("*.part"):  # of a process that was killed; the lock is ours
            part.unlink(missing_ok=True)
        return bank

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "key": self.key, "_open": {}}  # mapped files are opened anew elsewhere


def _view(view: int) -> str:
    return f"view-{view:04d}.npy"


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


def _write(path: Path, batches: Callable[[], Iterator[np.ndarray]], shape: tuple[int, int]) -> None:
    """Streams batches ``(B, classes) float32`` into an ``.npy`` file, in fp16 if every number fits, else in fp32."""
    try:
        _replace(path, _encoded(batches(), shape, np.dtype(np.float16)))
    except _TooLarge:
        _replace(path, _encoded(batches(), shape, np.dtype(np.float32)))


class _TooLarge(Exception):
    """A logit that fp16 cannot hold."""


def _encoded(batches: Iterator[np.ndarray], shape: tuple[int, int], dtype: np.dtype) -> Iterator[bytes]:
    yield _header(shape, dtype)
    rows = 0
    for found in batches:
        if found.ndim != 2 or found.shape[1] != shape[1]:
            raise TeacherError(f"A teacher must put out (N, {shape[1]})", found.shape)
        if not np.isfinite(found).all():
            mend = "Check its weights, and teacher.input (scale, mean, std)."
            raise TeacherError("A teacher's outputs must be finite", f"NaN or infinity near sample {rows}", mend)
        if dtype == np.float16 and found.size and float(np.abs(found).max()) > LARGEST:
            raise _TooLarge
        rows += len(found)
        yield np.ascontiguousarray(found, dtype=dtype).tobytes()
    if rows != shape[0]:
        raise ValueError(f"a teacher must answer for every sample, but got {rows} of {shape[0]}")


def _header(shape: tuple[int, int], dtype: np.dtype) -> bytes:
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
