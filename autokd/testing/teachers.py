"""The contract of a teacher: ``check_teacher(load, options)`` raises AssertionError with what is wrong, or returns the teacher."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime as ort

from autokd.protocols import Teacher, TeacherOptions


def check_teacher(load: Callable[[TeacherOptions], Teacher], options: TeacherOptions) -> Teacher:
    """Hold a loaded teacher to its contract; returns it.

    Finite logits ``(N, classes) float32`` of raw samples, the same in any batch; a fingerprint that a second load repeats;
    an ONNX file, where there is one, that reads raw samples at any batch size.

    Args:
        load: The loader.
        options: What it is given; ``options.sample`` are the raw samples that are scored.

    Raises:
        AssertionError: The first clause that does not hold.
    """
    teacher, again = load(options), load(options)
    assert isinstance(teacher, Teacher), f"a teacher must offer logits and onnx_file, but got {type(teacher).__name__}"
    assert teacher.name, "a teacher must have a name for people"
    assert len(teacher.fingerprint) == 64, "the fingerprint must be a SHA-256 of what determines the outputs"
    assert teacher.fingerprint == again.fingerprint, "the same teacher must have the same fingerprint"
    raw = np.array(options.sample)
    before, together = raw.copy(), teacher.logits(raw)
    shape = (len(raw), options.classes)
    assert together.shape == shape, f"logits must be {shape}, but got {together.shape}"
    assert together.dtype == np.float32, f"logits must be float32, but got {together.dtype}"
    assert np.isfinite(together).all(), "logits must be finite"
    assert np.array_equal(raw, before, equal_nan=raw.dtype.kind == "f"), "the samples must stay as they were"
    alone = np.concatenate([teacher.logits(raw[i : i + 1]) for i in range(len(raw))])
    error = float(np.abs(alone - together).max())
    assert error <= 1e-4 * max(1.0, float(np.abs(together).max())), f"logits must not depend on the batch: {error:.3g}"
    file = teacher.onnx_file()
    if file is not None:
        session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        for count in (1, len(raw)):
            (scores,) = session.run(None, {session.get_inputs()[0].name: raw[:count]})
            assert len(scores) == count, f"the ONNX file must read any batch size, but not {count}"
    return teacher
