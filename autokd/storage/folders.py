"""A study's folder: where it is, who owns it, how it is made and kept within bounds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from autokd.config.plan import Plan
from autokd.errors import StorageError, StudyError
from autokd.files import disk_bytes, read_json, write_json
from autokd.storage.ledger import shown_url, sqlite_file
from autokd.storage.results import Member

OWNER = "ledger.json"
"""File in a study's folder that names the ledger it belongs to."""
HEAVY = ("*.onnx", "*.npy")
"""What a trial's folder holds beside a few lines of JSON."""


def home_of(plan: Plan, url: str) -> Path:
    """The folder of a study: ``storage.path``, else ``.autokd`` beside a SQLite ledger, else here."""
    file = sqlite_file(url)
    base = (
        Path(plan.config.storage.path)
        if plan.config.storage.path
        else (file.parent if file else Path.cwd()) / ".autokd"
    )
    return base.absolute() / "studies" / plan.config.name


def home_beside(url: str, name: str) -> Path | None:
    """Where a study's folder is when nobody says otherwise, beside a SQLite ledger; ``None`` of a server."""
    file = sqlite_file(url)
    return file.parent / ".autokd" / "studies" / name if file is not None else None


def owned_home(home: Path, url: str, name: str) -> bool:
    """Whether a folder is that of a study in this ledger, whatever the ledger says: it lies beside it, or names it as its owner."""
    beside = home_beside(url, name)
    if beside is not None and home.resolve() == beside.resolve():
        return True
    return str(read_json(home / OWNER, {}).get("ledger")) == _place(url)


def _place(url: str) -> str:
    """A ledger as ``OWNER`` names it."""
    return str(sqlite_file(url) or shown_url(url))


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """What a disk says, as one clear StorageError."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno is None:
            raise
        mend = "Free some space, or set storage.path to a folder that can be written."
        raise StorageError("the study's folder must be writable", f"{folder}: {error.strerror}", mend) from None


@contextmanager
def driver_lock(home: Path, other: str) -> Iterator[None]:
    """A study's folder, locked against other drivers on this host; the system frees a dead one's lock.

    Raises:
        StudyError: ``other`` holds it.
        StorageError: The folder cannot be written.
    """
    lock = FileLock(home / "driver.lock")
    with writable(home):
        home.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            mend = "Wait for it, or end it with Ctrl-C; `autokd status` watches it."
            raise StudyError("a study must have one live driver", f"another, {other}", mend) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def new_home(home: Path, url: str) -> Iterator[Path]:
    """The folder of a study to be, locked; an error inside leaves nothing of it behind.

    What a study of this name left there whose ledger is gone is cleared away, except the stage store: its results hold
    for whoever asks for the same.

    Raises:
        StudyError: It belongs to a study in another ledger, or another process is making the same study.
        StorageError: The folder cannot be written.
    """
    root, place = home.parent.parent, _place(url)
    made = [folder for folder in (home, *home.parents) if not folder.exists()]
    try:
        with driver_lock(home, "which is about to make it"):
            owner = str(read_json(home / OWNER, {}).get("ledger", place))
            if owner != place and ("://" in owner or Path(owner).exists()):
                mend = "Give this one another `name`, or set storage.path."
                raise StudyError("a study's folder must be its own", f"{home}, which belongs to {owner}", mend)
            for left in ("trials", "preflight"):
                shutil.rmtree(home / left, ignore_errors=True)
            with writable(home):
                write_json(home / OWNER, {"ledger": place})
            yield home
    except BaseException:
        if home in made:
            shutil.rmtree(home, ignore_errors=True)
        if root in made and not (root / "data").exists():  # downloads are kept
            shutil.rmtree(root, ignore_errors=True)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise


def stage_folders(home: Path, members: Sequence[Member]) -> list[Path]:
    """The entries of the stage store that students came from."""
    from autokd.storage.stage_store import StageStore

    store = StageStore(home / "stages")
    return [store.path(s.stage, s.key) for m in members for s in m.record.stages]


def drop_rest(home: Path, keep: Sequence[Member], resting: Sequence[Path] = ()) -> int:
    """Drop every heavy file of a study but those of ``keep`` and the stages that rest; returns the bytes freed."""
    from autokd.storage.stage_store import StageStore

    before = disk_bytes(home)
    for folder in _others(home, keep):
        _lighten(folder)
    StageStore(home / "stages").drop([*stage_folders(home, keep), *resting])
    return before - disk_bytes(home)


def keep_within(home: Path, max_bytes: float, kept: Callable[[], Sequence[Member]]) -> int:
    """Drop what was not used for longest until the study's folder fits; never what the students of ``kept`` came from.

    First stages, which can be computed again; then the files of trials that are not kept, oldest first. What a
    running trial used in the last minutes stays, so the bound may be missed for a while.

    Returns:
        The bytes freed.
    """
    from autokd.storage.stage_store import StageStore

    before = disk_bytes(home)
    if before <= max_bytes:
        return 0
    keep = kept()  # reads the whole ledger: only when something must go
    store = StageStore(home / "stages")
    store.shrink(before - max_bytes, stage_folders(home, keep))
    for folder in sorted(_others(home, keep)):
        if disk_bytes(home) <= max_bytes:
            break
        _lighten(folder)
    return before - disk_bytes(home)


def _others(home: Path, keep: Sequence[Member]) -> list[Path]:
    kept = {f"{m.number:05d}" for m in keep}
    return [folder for folder in (home / "trials").glob("*") if folder.name not in kept]


def _lighten(folder: Path) -> None:
    for pattern in HEAVY:
        for heavy in folder.glob(pattern):
            heavy.unlink(missing_ok=True)
