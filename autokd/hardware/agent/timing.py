"""Times one ONNX file: calls in blocks, a beat of fixed work between them."""

from __future__ import annotations

import gc
import time
from pathlib import Path

from .cores import core_count, pinned
from .memory import peak_bytes, reset_peak, resets_peak

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
PRIMED_BELOW_BYTES = 64 << 20  # larger files are loaded once: what a kernel's code takes is little beside them


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
    elif len(pinned()) == options.intra_op_num_threads:
        # The calling thread has the first core to itself; onnxruntime counts cores from 1.
        places = ";".join(str(core + 1) for core in pinned()[1:])
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
    """One call; what the file does wrong is refused."""
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
    """The timing itself, as told at the top of ``__main__.py``: its part of the reply, latencies as they were timed."""
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
    )  # now: the list of times that follows is ours, not the file's
    return {
        **time_calls(session, feeds, request),
        "peak_memory_bytes": peak,
        "session_ms": session_ms,
        "inputs": {name: list(array.shape) for name, array in feeds.items()},
    }


def one_line(error: BaseException) -> str:
    """An error's own words, at most 600 characters."""
    return " ".join(str(error).split())[:600] or type(error).__name__
