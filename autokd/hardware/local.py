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
from pathlib import Path
from typing import IO, Any

from autokd.errors import StageFailure
from autokd.hardware.device import DeviceFacts
from autokd.hardware.profile import HardwareProfile, check_here, pinned_cores
from autokd.trial import Stage

AGENT = Path(__file__).with_name("agent")
"""Python starts a folder that has a ``__main__.py``."""
START_TIMEOUT_S = 120.0
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Before the agent imports numpy: its thread pool would only be in the way."""


class LocalDevice:
    """This host: a child process pinned to the profile's cores.

    Args:
        profile: Says on which cores it runs.

    Raises:
        HardwareError: This host cannot stand for the profile.
    """

    def __init__(self, profile: HardwareProfile) -> None:
        check_here(profile)
        self._facts: DeviceFacts | None = None
        self._replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()  # b"" once the pipe is closed
        self._complaints: deque[str] = deque(maxlen=20)
        self.process = subprocess.Popen(
            [sys.executable, str(AGENT), "--cores", ",".join(map(str, pinned_cores(profile)))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,  # Ctrl-C in the terminal is for the driver, which then closes our stdin; not on Windows
        )
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self._stdin: IO[bytes] = self.process.stdin
        self._readers = [
            threading.Thread(target=self._read_replies, args=(self.process.stdout,), daemon=True),
            threading.Thread(target=self._read_complaints, args=(self.process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def facts(self) -> DeviceFacts:
        """What the process greeted with; it is waited for the first time.

        Raises:
            StageFailure: It does not start, or it is gone.
        """
        if self._facts is None:
            greeting = self._reply(START_TIMEOUT_S, "start")
            self._facts = DeviceFacts(
                greeting["id"],
                greeting["host"],
                greeting["cpu"],
                greeting["cores"],
                f"onnxruntime {greeting['onnxruntime']}",
                greeting["resets_peak"],
            )
        elif self.process.poll() is not None:
            raise self._lost("be asked")
        return self._facts

    def ask(self, request: Mapping[str, Any], file: Path | None, timeout_s: float) -> dict[str, Any]:
        """The process's reply. It sees this host's files, so it is told the path.

        Raises:
            StageFailure: ``timeout`` or ``lost_worker``.
        """
        what = f"time {file or 'the beat'}"
        if file is not None:
            request = {"id": request.get("id"), "path": str(file), **request}
        if self._facts is None:
            self.facts()
        try:
            self._stdin.write(json.dumps(request).encode() + b"\n")
            self._stdin.flush()
        except (OSError, ValueError):  # the pipe is broken, or closed by us
            raise self._lost(what) from None
        return self._reply(timeout_s, what)

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
