"""The commands as processes of their own: started with a list of words (never a shell), watched, ended; no Streamlit here."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from autokd.dashboard.commands.drivers import is_free
from autokd.errors import StorageError, StudyError
from autokd.storage.ledger import DEFAULT_URL, shown_url

COMMAND = (sys.executable, "-m", "autokd.cli")
GRACE_S = 15.0
"""Seconds that a cancelled pre-flight has to end by itself."""


@dataclass
class Job:
    """A command that runs beside the dashboard.

    Args:
        process: It.
        name: The study it is about.
        log: Its standard error, and standard output where that is no answer.
        answer: File of its standard output, or ``None`` when that goes to the log.
        about: The study file's text, to tell whether it was changed since.
        wrote: The study file, if it was made for this command: gone again when no study came of it.
    """

    process: subprocess.Popen[bytes]
    name: str
    log: Path
    answer: Path | None = None
    about: str = ""
    begun: float = field(default_factory=time.time)
    ended: float | None = None
    cancelled: bool = False
    said: str = ""
    answered: str = ""
    folder: TemporaryDirectory[str] | None = None
    url: str = ""
    wrote: Path | None = None

    @property
    def running(self) -> bool:
        return self.ended is None

    @property
    def code(self) -> int | None:
        """Its exit status; ``None`` while it runs."""
        return self.process.returncode if self.ended is not None else None

    @property
    def seconds(self) -> float:
        """How long it ran, or runs."""
        return (self.ended or time.time()) - self.begun

    def told(self) -> str:
        """What it wrote for people, up to now."""
        return self.said if self.ended is not None else _read(self.log)

    def last(self) -> str:
        """Its last line."""
        lines = [line.strip() for line in self.told().splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def error(self) -> str:
        """Why it failed: the command's own sentence, else its last line."""
        _, *found = re.split(r"^error: ", self.told(), flags=re.MULTILINE)
        text = " ".join(found[-1].split()) if found else self.last()
        return text or f"the command ended with exit code {self.code}"

    def result(self) -> dict[str, Any]:
        """Its answer, parsed; empty when it gave none."""
        try:
            found = json.loads(self.answered)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _wait(self) -> None:
        """In a thread: without it an ended search would stay as a zombie, which looks alive."""
        self.process.wait()
        try:
            self.said = _read(self.log)
            self.answered = _read(self.answer) if self.answer else ""
            if self.folder is not None:
                self.folder.cleanup()
            ours = self.wrote is not None and not other_file(self.wrote, self.about)
            if self.wrote is not None and ours and self.process.returncode and is_free(self.url, self.name):
                self.wrote.unlink(missing_ok=True)  # nothing came of it
        finally:
            self.ended = time.time()


def preflight(text: str, name: str, url: str) -> Job:
    """``autokd search FILE --dry-run --json`` of a file that is gone when it ends."""
    folder = TemporaryDirectory(prefix="autokd-preflight-")
    here = Path(folder.name)
    file = here / "study.yaml"
    file.write_text(text, encoding="utf-8")
    words = ["search", str(file), "--dry-run", "--json"]
    return _begin(words, url, name, here / "log", here / "answer", about=text, folder=folder)


def search(text: str, name: str, url: str, folder: Path) -> Job:
    """Write ``<folder>/<name>.yaml`` and search it, in a process that outlives the dashboard.

    Raises:
        StudyError: Another file of that name is there.
        StorageError: The folder cannot be written.
    """
    new = not (folder / f"{name}.yaml").exists()
    file = write_study(text, name, folder)
    words = ["search", str(file)]
    return _begin(words, url, name, log_file(folder, name), about=text, wrote=file if new else None)


def resume(name: str, url: str, folder: Path, overrides: Sequence[str] = ()) -> Job:
    """``autokd resume NAME``, in a process that outlives the dashboard.

    Args:
        name: The study.
        url: Its ledger.
        folder: Where the log goes, below ``.autokd/logs``.
        overrides: ``--set`` texts, e.g. ``budget.trials=+10``.

    Raises:
        StorageError: The folder cannot be written.
    """
    words = ["resume", *(w for o in overrides for w in ("--set", o)), "--", name]
    return _begin(words, url, name, log_file(folder, name))


def write_study(text: str, name: str, folder: Path) -> Path:
    """The study file in a folder; one that is there already must say the same.

    Raises:
        StudyError: It says something else.
        StorageError: The folder cannot be written.
    """
    file = folder / f"{name}.yaml"
    try:
        try:
            with file.open("x", encoding="utf-8") as new:
                new.write(text)
        except FileExistsError:
            if other_file(file, text):
                mend = "Give the study another name, or move that file away."
                raise StudyError("a study file must not overwrite another one", file.name, mend) from None
    except OSError as error:
        mend = "Start the dashboard in a folder that can be written."
        raise StorageError("the study file must have a place", f"{file.name}: {error.strerror}", mend) from None
    return file


def other_file(file: Path, text: str) -> bool:
    """Whether something else than this text is at a path."""
    try:
        return file.read_text(encoding="utf-8", errors="replace") != text
    except FileNotFoundError:
        return False
    except OSError:  # a folder, or not for our eyes
        return True


def log_file(folder: Path, name: str) -> Path:
    """A file of its own for what a command says: ``.autokd/logs/<name>-<time>.log``."""
    safe = re.sub(r"[^\w.+-]+", "-", name).lstrip(".-") or "study"  # a foreign ledger may hold any name
    return (
        folder
        / ".autokd"
        / "logs"
        / f"{safe}-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() // 10**6 % 1000:03d}.log"
    )


def _begin(
    words: Sequence[str],
    url: str,
    name: str,
    log: Path,
    answer: Path | None = None,
    about: str = "",
    folder: TemporaryDirectory[str] | None = None,
    wrote: Path | None = None,
) -> Job:
    """Start a command in a session of its own: Ctrl-C at the dashboard does not reach it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AUTOKD_DASHBOARD_")}
    environment["AUTOKD_STORAGE"] = (
        url  # not among the words: those may be read by everybody, and a URL may hold a password
    )
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out, answer.open("wb") if answer else log.open("ab") as found:
            process = subprocess.Popen(
                [*COMMAND, *words],
                stdin=subprocess.DEVNULL,
                stdout=found,
                stderr=out,
                env=environment,
                start_new_session=True,
            )
    except OSError as error:
        raise StorageError("the command must start", str(error), "Is the disk full, or the folder read-only?") from None
    job = Job(process, name, log, answer, about, folder=folder, url=url, wrote=wrote)
    threading.Thread(target=job._wait, daemon=True, name=f"autokd {words[0]}").start()
    return job


def cancel(job: Job) -> None:
    """End a command of ours: as Ctrl-C would, and when that does not help, for good."""
    if not job.running:
        return
    job.cancelled = True
    if os.name == "nt":  # no Ctrl-C for a process without a console of its own
        job.process.terminate()
        return
    with suppress(ProcessLookupError):
        job.process.send_signal(signal.SIGINT)

    def insist() -> None:
        if job.running:
            with suppress(ProcessLookupError):
                os.killpg(job.process.pid, signal.SIGKILL)  # its session: nobody else is in it

    timer = threading.Timer(GRACE_S, insist)
    timer.daemon = True
    timer.start()


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


# ---------------------------------------------------------------------------------------------------------------- guard


def only_here(address: str | None) -> bool:
    """Whether a server that listens on this address is reached from this machine alone; no address means everywhere."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(str(address)).is_loopback
    except ValueError:
        return False


def for_a_shell(command: str, target: str, url: str) -> str:
    """A command for people to copy, quoted; the ledger's password is hidden."""
    place = [] if url == DEFAULT_URL else ["--storage", shown_url(url)]
    return shlex.join(["autokd", command, target, *place])
