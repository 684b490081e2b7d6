"""This host as a device: a child process that times files, and the two threads that read its pipes."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from autokd.errors import StageFailure
from autokd.trial import Stage

AGENT = Path(__file__).with_name("agent")
"""Python starts a folder that has a ``__main__.py``."""


START_TIMEOUT_S = 120.0


ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass
class _Worker:
    """One agent process and the two threads that read its pipes."""

    cores: tuple[int, ...]

    def __post_init__(self) -> None:
        self.resets_peak = True
        self._ready = False
        self._replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()  # b"" once the pipe is closed
        self._complaints: deque[str] = deque(maxlen=20)
        self.process = subprocess.Popen(
            [sys.executable, str(AGENT), "--cores", ",".join(map(str, self.cores))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,  # Ctrl-C in the terminal is for the driver, which then closes our stdin
        )
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self._stdin: IO[bytes] = self.process.stdin
        self._readers = [
            threading.Thread(target=self._read_replies, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._read_complaints, args=(self.process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_replies(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                self._replies.put(line)
        self._replies.put(b"")

    def _read_complaints(self, pipe: IO[bytes]) -> None:
        """A full stderr pipe would stop the worker; the last lines tell why it died."""
        with pipe:
            for line in pipe:
                self._complaints.append(line.decode(errors="replace").rstrip())

    def wait_ready(self) -> None:
        if not self._ready:
            self.resets_peak = bool(self._reply(START_TIMEOUT_S, "start")["resets_peak"])
            self._ready = True

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        what = f"time {request.get('path', 'the beat')}"
        try:
            self._stdin.write(json.dumps(request).encode() + b"\n")
            self._stdin.flush()
        except OSError:
            raise self._lost(what) from None
        return self._reply(timeout_s, what)

    def _reply(self, timeout_s: float, what: str) -> dict[str, Any]:
        try:
            line = self._replies.get(timeout=timeout_s)
        except queue.Empty:
            detail = f"the worker did not {what} within {timeout_s:g} s"
            raise StageFailure(Stage.MEASURE, "timeout", detail, "\n".join(self._complaints)) from None
        if not line:
            raise self._lost(what)
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _lost(self, what: str) -> StageFailure:
        self.close()
        code = self.process.returncode
        ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        last = f": {self._complaints[-1]}" if self._complaints else ""
        return StageFailure(
            Stage.MEASURE,
            "lost_worker",
            f"the worker died ({ended}) before it could {what}{last}",
            "\n".join(self._complaints),
        )

    def close(self) -> None:
        """End the process, answered or not, stopped or not, and join the readers."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
