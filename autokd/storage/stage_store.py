"""The stage store: results under the hash of everything they depend on, so that equal work is never done twice."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autokd.files import folder_bytes, publish, read_json, write_json
from autokd.hardware.turnstile import OnWait, locked, never_mind

RESULT = "result.json"
CHECKPOINT = "checkpoint"
"""What a stage that was interrupted, or rests, goes on from."""


class StageStore:
    """A folder of finished stages, ``<stage>-<key>/``, each with its files and a ``result.json``.

    An entry appears by one rename, so a reader never sees half of one. Work in progress lives in ``<stage>-<key>.work``
    and survives a crash: a stage that keeps a checkpoint there goes on from it. ``on_wait`` is called with ``True`` while
    another trial works on the same result, and with ``False`` afterwards.
    """

    def __init__(self, folder: Path, on_wait: OnWait = never_mind) -> None:
        self.folder, self.on_wait = folder, on_wait

    def path(self, stage: str, key: str) -> Path:
        return self.folder / f"{stage}-{key[:40]}"

    def work(self, stage: str, key: str) -> Path:
        """Where work on an entry is done, or rests."""
        return Path(f"{self.path(stage, key)}.work")

    def resting(self, stage: str, key: str) -> bool:
        """Whether work on an entry can be gone on with: its checkpoint is there, or another trial has finished it."""
        return (self.work(stage, key) / CHECKPOINT).exists() or self.find(stage, key) is not None

    def find(self, stage: str, key: str) -> dict[str, Any] | None:
        """The result of a finished stage, or ``None``; a hit makes the entry young for :meth:`shrink`."""
        folder = self.path(stage, key)
        result = read_json(folder / RESULT)
        if result is not None:
            with contextlib.suppress(FileNotFoundError):  # shrunk away this very moment: the next stage will miss it
                os.utime(folder)
        return result

    @contextmanager
    def working(self, stage: str, key: str) -> Iterator[Path]:
        """The folder to work in, under a lock that other trials after the same result wait for."""
        final = self.path(stage, key)
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(Path(f"{final}.lock"), self.on_wait):
            work = self.work(stage, key)
            work.mkdir(exist_ok=True)
            yield work

    def commit(self, stage: str, key: str, result: dict[str, Any]) -> Path:
        """Make the work folder of a key its entry."""
        final = self.path(stage, key)
        work = self.work(stage, key)
        made = any(work.iterdir())
        write_json(work / RESULT, result, lasting=False)
        publish(work, final, lasting=made)  # numbers alone, if the power takes them, are found out again
        return final

    def entries(self) -> list[Path]:
        if not self.folder.exists():
            return []
        return [p for p in self.folder.iterdir() if p.is_dir()]

    def drop(self, keep: Iterable[Path] = ()) -> int:
        """Remove every entry but ``keep``; returns the bytes freed."""
        kept = {p.resolve() for p in keep}
        freed = 0
        for entry in self.entries():
            if entry.resolve() not in kept:
                freed += folder_bytes(entry)
                shutil.rmtree(entry, ignore_errors=True)
                Path(f"{entry}.lock").unlink(missing_ok=True)
        return freed

    def shrink(self, surplus_bytes: float, keep: Iterable[Path] = (), young_s: float = 600.0) -> int:
        """Drop the entries that were not used for longest, until ``surplus_bytes`` are freed.

        Never one of ``keep``, nor one used in the last ``young_s`` seconds: a running trial may be at it. Returns the
        bytes of the entries dropped; files that a trial's folder shares stay on the disk until that is lightened too.
        """
        kept = {p.resolve() for p in keep}
        ages = sorted((p.stat().st_mtime, folder_bytes(p), p) for p in self.entries() if p.resolve() not in kept)
        freed = 0
        for used, size, entry in ages:
            if freed >= surplus_bytes or time.time() - used < young_s:
                break
            shutil.rmtree(entry, ignore_errors=True)
            freed += size
        return freed
