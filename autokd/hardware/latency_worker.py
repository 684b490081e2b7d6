"""Times ONNX files: one JSON request a line on stdin, one JSON reply a line on stdout; or one file, by hand.

This file needs Python 3.9, numpy and onnxruntime, nothing else: copy it to a board and run::

    python latency_worker.py student.onnx --threads 1 --batch 1

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
import select
import signal
import sys
import time
from pathlib import Path

# The folder of a script comes first on sys.path; ours holds a profile.py that would hide the standard library's.
sys.path[:] = [p for p in sys.path if not p or Path(p).resolve() != Path(__file__).resolve().parent]
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before numpy: its thread pool would only be in the way

DEFAULTS = {
    "provider": "CPUExecutionProvider",
    "threads": 1,
    "batch": 1,
    "optimization": "all",
    "warmup": 20,
    "min_count": 30,
    "min_duration_s": 0.1,
    "max_duration_s": 1.0,
    "timeout_s": 0,
    "seed": 0,
    "memory": 1,
    "above_ms": 0.0,
    "agree": 0.01,  # the three fastest block medians lie this close together, relative
}
KEPT = 3  # blocks that make the number
BLOCKS = 10  # blocks that the minimum count and duration are cut into
BEATS = 30  # the least number in a block
BEAT_SIZE = 48
WINDOWS = 20  # in the measurement of the usual beat
PARENT_CHECK_S = 15.0
PRIMED_BELOW_BYTES = 64 << 20

_cores: list[int] = []  # that this process was pinned to, one for each thread of a session


class Refused(Exception):
    """A request that cannot be answered; ``kind`` says why: not_onnx, load, provider, batch, input, run."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)


def load(request: dict):  # type: ignore[no-untyped-def]
    """A session of its own for the requested file."""
    import onnxruntime as ort

    if request["provider"] not in ort.get_available_providers():
        have = ", ".join(ort.get_available_providers())
        raise Refused("provider", f"{request['provider']} is not in this onnxruntime, which has {have}")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = request["threads"] or core_count()
    options.graph_optimization_level = {
        "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
        "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    }[request["optimization"]]
    if options.intra_op_num_threads == 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    elif _cores and len(_cores) == options.intra_op_num_threads:
        # The calling thread has the first core to itself; onnxruntime counts cores from 1.
        places = ";".join(str(core + 1) for core in _cores[1:])
        options.add_session_config_entry("session.intra_op_thread_affinities", places)
    providers = list(dict.fromkeys([request["provider"], "CPUExecutionProvider"]))
    try:
        session = ort.InferenceSession(request["path"], options, providers=providers)
    except Exception as error:  # onnxruntime raises a dozen types that share no base but Exception
        kind = "not_onnx" if type(error).__name__ in ("InvalidProtobuf", "NoSuchFile", "NoModel") else "load"
        raise Refused(kind, one_line(error)) from None
    if session.get_providers()[0] != request["provider"]:  # onnxruntime falls back to the CPU without an error
        raise Refused("provider", f"{request['provider']} could not be started on this host")
    return session


def feeds_of(session, batch: int, seed: int) -> dict:  # type: ignore[no-untyped-def]
    """Random arrays for every input: a dynamic axis 0 becomes the batch, other dynamic axes become 1."""
    import numpy as np

    kinds = {
        "float": np.float32, "double": np.float64, "float16": np.float16, "bool": np.bool_,
        "uint8": np.uint8, "int8": np.int8, "uint16": np.uint16, "int16": np.int16,
        "int32": np.int32, "uint32": np.uint32, "int64": np.int64, "uint64": np.uint64,
    }  # fmt: skip
    random = np.random.default_rng(seed)
    feeds: dict[str, np.ndarray] = {}
    for position, declared in enumerate(session.get_inputs()):
        kind = declared.type[len("tensor(") : -1]
        if not declared.type.startswith("tensor(") or kind not in kinds:
            raise Refused("input", f"input {declared.name!r} has type {declared.type}, which cannot be made up")
        fixed = [n if isinstance(n, int) and n > 0 else None for n in declared.shape]
        if position == 0 and fixed and fixed[0] not in (None, batch):
            raise Refused("batch", f"input {declared.name!r} has a fixed batch of {fixed[0]}, not {batch}")
        shape = [n or (batch if axis == 0 else 1) for axis, n in enumerate(fixed)]
        dtype = kinds[kind]
        if np.issubdtype(dtype, np.floating):
            feeds[declared.name] = random.random(shape).astype(dtype)
        else:  # wider integers are mostly indices, and 0 and 1 are valid in any table
            feeds[declared.name] = random.integers(0, 256 if kind == "uint8" else 2, shape).astype(dtype)
    return feeds


def warm_up(session, feeds: dict, request: dict) -> None:  # type: ignore[no-untyped-def]
    """Call until count and time have passed: caches and clock rates settle, idle thread pools elsewhere stop spinning."""
    names = [output.name for output in session.get_outputs()]
    begun, calls = time.perf_counter(), 0
    while True:
        passed = time.perf_counter() - begun
        if passed > request["max_duration_s"] / 2 or (
            calls >= request["warmup"] and passed > request["min_duration_s"] / 5
        ):
            return
        run_once(session, names, feeds)
        calls += 1


def run_once(session, names, feeds: dict) -> None:  # type: ignore[no-untyped-def]
    try:
        session.run(names, feeds)
    except Exception as error:  # as in load
        raise Refused("run", one_line(error)) from None


def beat():  # type: ignore[no-untyped-def]
    """A function of fixed work: three products of small matrices that stay in the first-level cache."""
    import numpy as np

    a = np.random.default_rng(0).random((BEAT_SIZE, BEAT_SIZE), dtype=np.float32)
    out = np.empty_like(a)
    product = np.dot

    def once() -> None:
        product(a, a, out=out)
        product(a, a, out=out)
        product(a, a, out=out)

    return once


def time_beats(once, duration_ns: float) -> float:  # type: ignore[no-untyped-def]
    """Median duration of the beat in nanoseconds."""
    import numpy as np

    clock = time.perf_counter_ns
    times: list[int] = []
    begun = now = clock()
    while len(times) < BEATS or now - begun < duration_ns:
        start = clock()
        once()
        now = clock()
        times.append(now - start)
    return float(np.median(times))


def usual_beat(request: dict) -> dict:
    """The beat over ``beat_s`` seconds: many times what a timing takes of it, and of those the lower quartile.

    A timing's beat is the mean of its fastest blocks, so this one is made the same way; what disturbed a part of these
    seconds only ever made the beat longer.
    """
    import numpy as np

    once = beat()
    block_ns = 1e9 * request["beat_s"] / (WINDOWS * BLOCKS)
    time_beats(once, 10 * block_ns)
    found = [fastest([time_beats(once, block_ns) for _ in range(BLOCKS)]) for _ in range(WINDOWS)]
    return {"beat_us": float(np.percentile(found, 25)) / 1e3}


def fastest(durations: list) -> float:
    """Mean of the few fastest."""
    kept = sorted(durations)[:KEPT]
    return sum(kept) / len(kept)


def time_calls(session, feeds: dict, request: dict) -> dict:  # type: ignore[no-untyped-def]
    """The timing itself; see the top of the file for the method."""
    import numpy as np

    names = [output.name for output in session.get_outputs()]
    run, clock = session.run, time.perf_counter_ns
    minimum, maximum = request["min_duration_s"] * 1e9, request["max_duration_s"] * 1e9
    calls_a_block = -(-request["min_count"] // BLOCKS)
    blocks: list[list[int]] = []
    medians: list[float] = []
    beats: list[float] = []
    count = 0
    once = beat()
    time_beats(once, 0)
    gc.disable()
    try:
        begun = clock()
        while True:
            times: list[int] = []
            block_begun = now = clock()
            while len(times) < calls_a_block or now - block_begun < minimum / BLOCKS:
                start = clock()
                run(names, feeds)
                now = clock()
                times.append(now - start)
            count += len(times)
            blocks.append(times)
            medians.append(float(np.median(times)))
            beats.append(time_beats(once, minimum / BLOCKS / 2))
            if 0 < request["above_ms"] < min(medians) / 1e6 and len(blocks) >= KEPT:
                break
            if len(blocks) < KEPT or count < request["min_count"] or now - begun < minimum:
                continue
            best = sorted(medians)[:KEPT]
            if best[-1] - best[0] <= request["agree"] * best[0] or now - begun >= maximum:
                break
    except Exception as error:
        raise Refused("run", one_line(error)) from None
    finally:
        gc.enable()
    order = sorted(range(len(blocks)), key=medians.__getitem__)[:KEPT]
    middle = float(np.median(np.concatenate([blocks[i] for i in order])))
    return {
        "p50_ms": middle / 1e6,
        "p90_ms": float(np.percentile(np.concatenate(blocks), 90)) / 1e6,
        "spread": (medians[order[-1]] - medians[order[0]]) / 2 / middle,
        "count": count,
        "blocks": len(blocks),
        "beat_us": fastest(beats) / 1e3,
    }


def measure(request: dict) -> dict:
    """Load and time one file; the reply without its id."""
    request = {**DEFAULTS, **request}
    path = Path(request["path"])
    if not path.is_file() or not path.stat().st_size:
        raise Refused("not_onnx", f"{path} is " + ("empty" if path.is_file() else "not there"))
    memory = bool(request["memory"])
    if memory and resets_peak() and path.stat().st_size < PRIMED_BELOW_BYTES:
        # The first use of a kernel brings its code into memory; that belongs to the process, not to this file.
        session = load(request)
        feeds = feeds_of(session, request["batch"], request["seed"])
        run_once(session, None, feeds)
        del session, feeds
    before = reset_peak() if memory else 0
    begun = time.perf_counter()
    session = load(request)
    session_ms = (time.perf_counter() - begun) * 1e3
    feeds = feeds_of(session, request["batch"], request["seed"])
    warm_up(session, feeds, request)
    peak = (
        max(0, peak_bytes() - before) if memory else None
    )  # read here: the list of times that follows is ours, not the file's
    return {
        **time_calls(session, feeds, request),
        "peak_memory_bytes": peak,
        "session_ms": session_ms,
        "inputs": {name: list(array.shape) for name, array in feeds.items()},
    }


def resets_peak() -> bool:
    """Whether the kernel lets a process reset its own resident peak."""
    return os.access("/proc/self/clear_refs", os.W_OK)


def reset_peak() -> int:
    """Give freed memory back, reset the resident peak, and return what is resident now, in bytes."""
    gc.collect()
    if not resets_peak():
        return peak_bytes()
    try:
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)  # else the heap that an earlier file left would hide this one's
    except (OSError, AttributeError):
        pass  # not glibc
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def peak_bytes() -> int:
    """The resident peak of this process in bytes; 0 where the system does not tell (Windows)."""
    if resets_peak():
        return status_bytes("VmHWM")
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")


def core_count() -> int:
    if _cores:
        return len(_cores)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:600] or type(error).__name__


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
            {"ready": True, "onnxruntime": onnxruntime.__version__, "cores": core_count(), "resets_peak": resets_peak()}
        )
        gc.collect()
        gc.freeze()  # the imports' objects stay: a collection before a timing need not look at them again
        for line in lines():
            if line.strip():
                send(answer(json.loads(line)))
    except BrokenPipeError:
        pass  # the parent is gone


def pin(cores: list[int]) -> None:
    """Run on these cores only, the calling thread on the first; the threads of a session are placed when it is made."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
        import numpy  # noqa: F401  threads that libraries start now inherit all the cores
        import onnxruntime  # noqa: F401

        _cores[:] = cores
        os.sched_setaffinity(0, cores[:1])


def main() -> int:
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
