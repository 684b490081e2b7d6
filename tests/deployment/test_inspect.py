"""Facts of a file against numbers worked out by hand."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from autokd.deployment.export import export
from autokd.deployment.inspect import inspect
from autokd.errors import UserError
from autokd.protocols import InputSpec


def test_picture(make_model, tmp_path):
    model, spec, classes = make_model("image")
    file = export(model, spec, classes, tmp_path / "m.onnx", name="m")
    facts = inspect(file.path)
    assert facts.macs == 4 * 4 * 8 * 9 + 4 * 4 * 8 * 8 * 9 + 8 * 10
    assert (
        facts.params == 8 * 9 + 8 + 8 * 8 * 9 + 8 + 8 * 10 + 10
    )  # folded batch norms leave a bias; mean and std do not count
    assert facts.ops["Conv"] == 2 and facts.ops["Gemm"] == 1
    assert (facts.input_dtype, facts.input_shape, facts.classes) == ("uint8", (1, 8, 8), tuple(classes))
    assert facts.sha256 == file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()
    assert facts.size_bytes == file.size_bytes


def test_resizing_changes_macs_only(make_model, tmp_path):
    small, spec, classes = make_model("resized")
    facts = inspect(export(small, spec, classes, tmp_path / "m.onnx", name="m").path)
    assert facts.macs == 6 * 4 * 8 * 9 + 6 * 4 * 8 * 8 * 9 + 8 * 10
    assert facts.params == 8 * 9 + 8 + 8 * 8 * 9 + 8 + 8 * 10 + 10


@pytest.mark.parametrize(
    ("layers", "macs", "params"),
    [
        ([nn.Conv2d(3, 6, 3, padding=1, groups=3, bias=False)], 6 * 100 * 9, 6 * 9),
        ([nn.Conv2d(3, 3, 5, stride=2)], 3 * 3 * 3 * 3 * 25, 3 * 3 * 25 + 3),
        ([nn.ConvTranspose2d(3, 4, 2, stride=2)], 100 * 3 * 4 * 4, 3 * 4 * 4 + 4),
    ],
    ids=["depthwise", "strided", "transposed"],
)
def test_layers(layers, macs, params, tmp_path):
    spec = InputSpec("image", (3, 10, 10), "float32", (0.0,) * 3, (1.0,) * 3)
    body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classes = [str(i) for i in range(body(torch.zeros(1, 3, 10, 10)).shape[1])]
    facts = inspect(export(body, spec, classes, tmp_path / "m.onnx", name="m").path)
    assert (facts.macs, facts.params) == (macs, params)


def test_int8_file_counts_like_its_float_file(tmp_path):
    weights = {
        "w": np.ones((4, 2, 3, 3), np.int8),
        "w_scale": np.ones(4, np.float32),
        "w_zero": np.zeros(4, np.int8),
        "b": np.zeros(4, np.int32),
        "x_scale": np.float32(0.5),
        "x_zero": np.uint8(3),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "x_scale", "x_zero"], ["dq"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wf"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "w_scale"], ["bf"], axis=0),
        helper.make_node("Conv", ["dq", "wf", "bf"], ["y"], pads=[1, 1, 1, 1]),
    ]
    facts = inspect(_file(nodes, weights, (2, 5, 5), tmp_path))
    assert (facts.params, facts.macs) == (4 * 2 * 9 + 4, 4 * 25 * 2 * 9)


def test_integer_operators(tmp_path):
    weights = {
        "w": np.ones((4, 2, 1, 1), np.int8),
        "s": np.float32(1),
        "z": np.uint8(0),
        "wz": np.int8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "s", "wz", "s", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"]),
    ]
    facts = inspect(_file(nodes, weights, (2, 5, 5), tmp_path))
    assert (facts.params, facts.macs) == (8, 25 * 8)


def test_matrix_product_and_open_shapes(tmp_path):
    weights = {"w": np.ones((6, 3), np.float32), "b": np.ones(3, np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])]
    facts = inspect(_file(nodes, weights, (6,), tmp_path))
    assert (facts.params, facts.macs, facts.classes) == (21, 18, ())
    open_shape = inspect(_file(nodes, weights, ("features",), tmp_path))
    assert (open_shape.params, open_shape.input_shape) == (21, (None,))


def _file(nodes, weights, shape, tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", *shape))
    y = helper.make_empty_tensor_value_info("y")
    y.type.tensor_type.elem_type = TensorProto.FLOAT
    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], tensors), opset_imports=[helper.make_opsetid("", 17)]
    )
    path = tmp_path / "g.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("content", [b"", b"this is no model", None], ids=["empty", "text", "missing"])
def test_refuses_other_files(content, tmp_path):
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match="must be an ONNX model"):
        inspect(path)
