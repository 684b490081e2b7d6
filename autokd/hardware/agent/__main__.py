"""Times ONNX files: one JSON request a line on stdin, one JSON reply a line on stdout; or one file, by hand.

This folder needs Python 3.9, numpy and onnxruntime, nothing else: copy it to a board and run::

    python agent student.onnx --threads 1 --batch 1

``python -m zipapp agent`` makes one file of it, ``agent.pyz``, which is started in the same way.

The first line on stdout greets: ``id`` and names of the machine, cores, onnxruntime's version. Then comes a reply for each
request. A request's keys are ``path``, ``id``, which comes back, and those of ``timing.DEFAULTS``; or ``beat_s`` alone. A reply
that tells an error has ``error`` and ``kind``.

How a number comes about
- One fresh ``InferenceSession`` a file: sequential execution, one inter-op thread, the asked-for intra-op threads. With
  one thread spinning is off, because there is nobody to spin for; with more, each thread has a core of its own.
- One call is a plain ``session.run(output_names, {input: array})``, what a Python program would write: about 5 µs of
  Python are in every number, the same for each file, and on a GPU the copies there and back are too. IO binding would
  hide both.
- Warm-up first. Then blocks of calls, until a minimum count AND a minimum duration are met (as MLPerf's LoadGen does),
  and until the three fastest block medians agree within 1 % (``agree``) or a maximum duration is reached.
- On a shared host interference only ever adds time, so the fastest blocks are the honest ones: ``p50_ms`` is the median
  of all calls in the three fastest blocks and ``spread`` the relative half-range of their medians. ``p90_ms`` is over
  every call. A spread says how well one timing agrees with itself.
- A request with ``above_ms`` asks only whether the file is slower than that: once the fastest of a few blocks is above, it ends.
- After every block a few beats: three products of 48 x 48 float32 matrices, about 10 µs, always the same work. A core's clock
  rate drifts by a percent or two over minutes, and the beat drifts with it; ``beat_us``, taken like ``p50_ms``, is what makes
  timings minutes apart comparable. The latencies in the reply are as they were timed.
- ``peak_memory_bytes`` is the resident peak while loading and warming up, above the state before. Linux can reset the
  peak; elsewhere it is exact only for a process's first file, and the greeting says so (``resets_peak``). A request
  without ``memory`` skips all of this: the file is then loaded once instead of twice.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import select
import signal
import sys
import time
import types
from pathlib import Path

if not __package__:  # started as a folder, or as a zip file of it: be a package wherever it was copied to (PEP 366)
    _package = types.ModuleType("autokd_agent")
    _package.__path__ = [str(Path(__file__).resolve().parent)]
    sys.modules[_package.__name__] = _package
    __package__ = _package.__name__
    del sys.path[0]  # what lies in the folder must hide nothing of the standard library

from .cores import core_count, pin
from .machine import cpu_model, device_id
from .memory import resets_peak
from .timing import DEFAULTS, Refused, measure, one_line, usual_beat

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before numpy: its thread pool would only be in the way

PARENT_CHECK_S = 15.0  # how long an orphan may live


def answer(request: dict) -> dict:
    """The reply to one request; never raises for what a file does."""
    reply, began = {"id": request.get("id")}, time.process_time()
    seconds = int(request.get("timeout_s") or 0)
    if seconds and hasattr(signal, "alarm"):
        signal.alarm(seconds + 5)  # ends even a call stuck in C code, should nobody be left to kill this process
    try:
        reply.update(usual_beat(request) if "beat_s" in request else measure(request))
    except Refused as error:
        reply.update(error=str(error), kind=error.kind)
    except MemoryError as error:
        reply.update(error=one_line(error), kind="run")
    except (KeyError, TypeError, ValueError, OSError) as error:
        reply.update(error=f"{type(error).__name__}: {one_line(error)}", kind="request")
    finally:
        if seconds and hasattr(signal, "alarm"):
            signal.alarm(0)
    reply["cpu_s"] = time.process_time() - began
    return reply


def lines():  # type: ignore[no-untyped-def]
    """Request lines until stdin closes or the parent is gone (a sibling of ours may still hold the pipe open)."""
    if os.name == "nt":
        yield from iter(sys.stdin.buffer.readline, b"")
        return
    parent, waiting = os.getppid(), b""
    while True:
        if select.select([0], [], [], PARENT_CHECK_S)[0]:
            piece = os.read(0, 1 << 16)
            if not piece:
                return
            *whole, waiting = (waiting + piece).split(b"\n")
            yield from whole
        elif os.getppid() != parent:
            return


def serve(out) -> None:  # type: ignore[no-untyped-def]
    """Answer requests; Ctrl-C is the driver's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import numpy  # noqa: F401  the imports' cost must not fall on the first request
    import onnxruntime

    def send(message: dict) -> None:
        out.write(json.dumps(message).encode() + b"\n")
        out.flush()

    try:
        send(
            {
                "ready": True,
                "id": device_id(),
                "host": platform.node(),
                "cpu": cpu_model(),
                "onnxruntime": onnxruntime.__version__,
                "cores": core_count(),
                "resets_peak": resets_peak(),
            }
        )
        gc.collect()
        gc.freeze()  # the imports' objects stay: a collection before a timing need not look at them again
        for line in lines():
            if line.strip():
                send(answer(json.loads(line)))
    except BrokenPipeError:
        pass  # the parent is gone


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description="Time ONNX files. Without FILE: JSON requests on stdin.")
    parser.add_argument("path", nargs="?", metavar="FILE")
    parser.add_argument("--cores", default="", help="comma-separated cores to run on; default: all")
    for name, default in DEFAULTS.items():
        parser.add_argument(
            "--" + name.replace("_", "-"), type=type(default), default=default, help=f"default {default}"
        )
    arguments = vars(parser.parse_args())
    pin([int(core) for core in arguments["cores"].split(",") if core])
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to stderr: stdout is the protocol's
    if arguments["path"] is None:
        serve(out)
        return 0
    reply = answer({**arguments, "id": arguments["path"]})
    out.write(json.dumps(reply).encode() + b"\n")
    out.flush()
    return 1 if "error" in reply else 0


if __name__ == "__main__":
    sys.exit(main())
