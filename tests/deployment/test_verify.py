"""The file against the model: agreement passes, a changed weight does not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from autokd.deployment.export import export
from autokd.deployment.verify import scores, verify
from autokd.errors import StageFailure


@pytest.fixture
def exported(make_model, sample, tmp_path):
    """(path, inputs, reference logits, targets) of a picture model."""
    model, spec, classes = make_model("image")
    x = sample(spec, 50)
    with torch.no_grad():
        reference = model.eval()(x).numpy()
    file = export(model, spec, classes, tmp_path / "m.onnx", name="m")
    targets = reference.argmax(1)
    targets[:10] = (targets[:10] + 1) % 10  # accuracy 0.8
    return file.path, x.numpy(), reference, targets


def spoil(path, value):
    model = onnx.load(path)
    weight = next(i for i in model.graph.initializer if len(i.dims) == 2)
    array = numpy_helper.to_array(weight).copy()
    array[0, 0] += value
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(model, path)


def test_agrees(exported):
    path, x, reference, targets = exported
    found = verify(scores(path, x), reference, targets, bits=32)
    assert found.n == 50
    assert found.max_abs_error < 1e-5
    assert (found.prediction_mismatches, found.accuracy_file, found.accuracy_model) == (0, 0.8, 0.8)


@pytest.mark.parametrize("value", [0.05, -3.0, np.nan])
def test_a_changed_weight_is_found(exported, value):
    path, x, reference, targets = exported
    spoil(path, value)
    with pytest.raises(StageFailure) as caught:
        verify(scores(path, x), reference, targets, bits=32)
    assert (caught.value.stage, caught.value.cause) == ("verify", "verify_mismatch")


def test_eight_bits_are_reported_only(exported):
    path, x, reference, targets = exported
    spoil(path, 3000.0)
    found = verify(scores(path, x), reference, targets, bits=8)
    assert found.max_abs_error > 1
    assert found.prediction_mismatches > 0
    assert found.accuracy_model == 0.8 and found.accuracy_file < 0.8


def test_another_prediction_is_found(exported):
    path, x, reference, targets = exported
    reference[3] = np.roll(reference[3], 1)
    with pytest.raises(StageFailure, match="1 of 50 samples outside the tolerance, 1 predictions differ"):
        verify(scores(path, x), reference, targets, bits=32)


def test_tie_within_the_tolerance(exported, tmp_path):
    path, x, _, targets = exported
    model = onnx.load(path)
    gemm = next(n for n in model.graph.node if n.op_type == "Gemm")
    for i in model.graph.initializer:
        if i.name in gemm.input[1:]:
            array = numpy_helper.to_array(i).copy()
            array[1] = array[0]
            if array.ndim == 1:
                array[:2] += 100.0  # classes 0 and 1 win everywhere, by the same score
            i.CopyFrom(numpy_helper.from_array(array, i.name))
    onnx.save(model, tmp_path / "tie.onnx")
    reference = scores(tmp_path / "tie.onnx", x)
    reference[:, 1] += 1e-4
    found = verify(scores(tmp_path / "tie.onnx", x), reference, targets, bits=32)
    assert found.prediction_mismatches == 50


def test_scores_do_not_depend_on_the_batch(exported):
    path, x, _, _ = exported
    np.testing.assert_allclose(scores(path, x, batch=7), scores(path, x), atol=1e-6)


def test_shapes_must_agree(exported):
    path, x, reference, targets = exported
    with pytest.raises(StageFailure, match="the model"):
        verify(scores(path, x), reference[:, :9], targets, bits=32)


def test_a_broken_file_is_a_failure(exported, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(StageFailure, match=r"cannot run broken\.onnx"):
        scores(tmp_path / "broken.onnx", exported[1])
