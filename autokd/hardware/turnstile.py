"""A host-wide turnstile: batches of work run side by side, and all of them stand still while a clock runs.

Two lock files, the gate and the floor. A batch passes the gate and stays on the floor; a timing closes the gate, waits until the
floor is empty, and keeps both. One lock would not do: ``flock`` is not fair, and batches that overlap would keep a timing out for
ever. The operating system drops the locks of a process that dies, however it dies.
"""

from __future__ import annotations

import getpass
import os
import stat
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from autokd.errors import StorageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


OnWait = Callable[[bool], None]


def never_mind(waiting: bool) -> None:
    """Nobody wants to know about waits."""


class _Hold:
    """One thread's descriptors on the lock files of one folder, and what it holds. Never shared between threads."""

    def __init__(self, folder: Path) -> None:
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self.gate = os.open(folder / "gate.lock", flags, 0o600)
            self.floor = os.open(folder / "floor.lock", flags, 0o600)
        except OSError as error:
            raise StorageError("The turnstile's folder must be writable", f"{folder}: {error.strerror}") from error
        self.working = self.measuring = self.closed = False
        _holds.add(self)

    def take(self, descriptor: int, operation: int, on_wait: OnWait) -> None:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait(True)
            try:
                fcntl.flock(descriptor, operation)
            finally:
                on_wait(False)

    def enter_floor(self, on_wait: OnWait) -> None:
        self.take(self.gate, fcntl.LOCK_SH, on_wait)
        try:
            self.take(self.floor, fcntl.LOCK_SH, on_wait)
        finally:
            fcntl.flock(self.gate, fcntl.LOCK_UN)

    def leave(self, *descriptors: int) -> None:
        if not self.closed:
            for descriptor in descriptors:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self.gate)
            os.close(self.floor)

    def __del__(self) -> None:  # when its thread ends
        if hasattr(self, "closed"):
            self.close()


_mine = threading.local()
"""``.holds: dict[Path, _Hold]``, by folder, so that two Quiets on one folder cannot lock each other out; ``.measuring: set[Path]``
without ``fcntl``."""
_holds: weakref.WeakSet[_Hold] = weakref.WeakSet()


def _after_fork() -> None:
    """A forked child shares its parent's locks: let go of them without unlocking, so that they die with the parent."""
    for hold in list(_holds):
        hold.close()
    _mine.__dict__.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Quiet:
    """The turnstile of this host, one per user. Cheap to make, to pickle and to share between threads.

    Args:
        folder: Where the two lock files are; default ``<temporary folder>/autokd-<user id>``. It must be on a local disk.
        on_wait: Called with ``True`` when somebody else is in the way, and with ``False`` when the wait is over.

    Raises:
        StorageError: The folder belongs to somebody else, or cannot be made.
    """

    def __init__(self, folder: Path | None = None, on_wait: OnWait = never_mind) -> None:
        self.on_wait = on_wait
        self.folder = _default_folder() if folder is None else Path(folder).resolve()
        _make_private(self.folder)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Enter around every batch of work; blocks while a latency is being timed. Costs a few µs; nested, nothing."""
        hold = self._hold()
        if hold is None or hold.working or hold.measuring:
            yield
            return
        try:
            hold.enter_floor(self.on_wait)
            hold.working = True
            yield
        finally:
            hold.working = False
            hold.leave(hold.floor)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Enter around a timing: waits for the batches in flight, keeps new ones and other timings out.

        Inside ``working()`` of the same thread the thread's own place on the floor is given up and taken back afterwards.
        """
        hold = self._hold()
        if hold is None:
            yield from self._portable()
            return
        if hold.measuring:
            yield
            return
        try:
            if hold.working:
                hold.leave(hold.floor)
            hold.take(hold.gate, fcntl.LOCK_EX, self.on_wait)
            hold.take(hold.floor, fcntl.LOCK_EX, self.on_wait)
            hold.measuring = True
            yield
        finally:
            hold.measuring = False
            hold.leave(hold.floor, hold.gate)
            if hold.working and not hold.closed:
                hold.enter_floor(self.on_wait)

    def _hold(self) -> _Hold | None:
        if fcntl is None:
            return None
        try:
            holds: dict[Path, _Hold] = _mine.holds
        except AttributeError:
            holds = _mine.holds = {}
        hold = holds.get(self.folder)
        if hold is None:
            hold = holds[self.folder] = _Hold(self.folder)
        return hold

    def _portable(self) -> Iterator[None]:
        """Without ``fcntl`` timings still exclude each other, but batches are not paused."""
        measuring: set[Path] = _mine.__dict__.setdefault("measuring", set())
        if self.folder in measuring:
            yield
            return
        with locked(self.folder / "measuring.lock", self.on_wait):
            measuring.add(self.folder)
            try:
                yield
            finally:
                measuring.discard(self.folder)


@contextmanager
def locked(file: Path, on_wait: OnWait) -> Iterator[None]:
    """A lock file that others wait for; ``on_wait`` hears when somebody else has it."""
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait(True)
        try:
            lock.acquire()
        finally:
            on_wait(False)
    try:
        yield
    finally:
        lock.release()


def _default_folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    return Path(tempfile.gettempdir()).resolve() / f"autokd-{user}"


def _make_private(folder: Path) -> None:
    """Make the folder, mode 0700, or see that the one that is there is ours: /tmp is open to everybody."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise StorageError(
            "The turnstile's folder must be writable", f"{folder}: {error.strerror}", "Set TMPDIR to a folder of yours."
        ) from error
    found = folder.lstat()
    mine = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    if not stat.S_ISDIR(found.st_mode) or not mine:
        raise StorageError(
            "The turnstile's folder must be a folder of yours",
            f"{folder}, which belongs to user {found.st_uid}" if not mine else f"{folder}, which is no folder",
            "Remove it, or set TMPDIR to a folder of yours.",
        )
    if os.name != "nt" and stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)
