"""ONNX teachers of every shape: layouts, fixed batches, input types, odd outputs, and files that cannot serve."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from autokd.errors import ConfigError, TeacherError
from autokd.protocols import InputSpec, TeacherOptions
from autokd.teachers.inputs import InputRule
from autokd.teachers.onnx_file import load

Options = Callable[..., TeacherOptions]
WEIGHT = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32) / 8


def linear(
    path: Path,
    shape: list[int | str | None],
    *,
    dtype: int = TensorProto.FLOAT,
    before: list[onnx.NodeProto] | None = None,
    after: list[onnx.NodeProto] | None = None,
    outputs: list[onnx.ValueInfoProto] | None = None,
    weight: np.ndarray = WEIGHT,
) -> str:
    """Writes ``x -> [before] -> flatten -> @ weight -> z -> [after]`` with the declared input ``shape``."""
    start = "laid" if before else "x"
    nodes = [
        *(before or []),
        helper.make_node("Cast", [start], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["real"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "w"], ["z"]),
        *(after or []),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("x", dtype, shape)],
        outputs or [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return str(path)


def value(name: str, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, None)


@pytest.mark.parametrize(
    "shape",
    [["N", 64], ["N", 1, 8, 8], ["N", None, None, None], ["N", 8, 8], [1, 64], [3, 1, 8, 8], [500, 64]],
    ids=str,
)
def test_declared_shapes(digits: Any, options: Options, tmp_path: Path, shape: list[int | str | None]) -> None:
    teacher = load(options(onnx=linear(tmp_path / "m.onnx", shape)))
    inputs = digits.inputs[:41]
    np.testing.assert_allclose(teacher.logits(inputs), inputs.reshape(41, -1) @ WEIGHT, rtol=1e-4, atol=1e-4)


def test_channels_last_by_static_shape(options: Options, tmp_path: Path) -> None:
    """The file moves channels first again, so a wrong layout changes the numbers."""
    pictures = np.random.default_rng(1).uniform(0, 255, size=(9, 3, 4, 6)).astype(np.uint8)
    weight = np.random.default_rng(2).normal(size=(72, 5)).astype(np.float32)
    back = helper.make_node("Transpose", ["x"], ["laid"], perm=[0, 3, 1, 2])
    path = linear(tmp_path / "m.onnx", ["N", 4, 6, 3], before=[back], weight=weight)
    teacher = load(options(onnx=path, sample=pictures[:4], classes=5))
    np.testing.assert_allclose(teacher.logits(pictures), pictures.reshape(9, -1) @ weight, rtol=1e-3)


def test_stated_input_is_applied(digits: Any, options: Options, tmp_path: Path) -> None:
    block = {"scale": "1/16", "mean": [0.5], "std": 0.25, "layout": "NCHW"}
    teacher = load(options(onnx=linear(tmp_path / "m.onnx", ["N", 1, 8, 8]), input=block))
    inputs = digits.inputs[:5]
    want = ((inputs / 16 - 0.5) / 0.25).reshape(5, -1) @ WEIGHT
    np.testing.assert_allclose(teacher.logits(inputs), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "dtype",
    [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8, TensorProto.INT64],
    ids=TensorProto.DataType.Name,
)
def test_input_types_are_cast(digits: Any, options: Options, tmp_path: Path, dtype: int) -> None:
    teacher = load(options(onnx=linear(tmp_path / "m.onnx", ["N", 64], dtype=dtype)))
    inputs = digits.inputs[:5]
    np.testing.assert_allclose(teacher.logits(inputs), inputs.reshape(5, -1) @ WEIGHT, rtol=1e-2, atol=1e-2)


def test_probabilities_are_recognised_or_declared(digits: Any, options: Options, tmp_path: Path) -> None:
    soft = helper.make_node("Softmax", ["z"], ["p"], axis=1)
    path = linear(tmp_path / "m.onnx", ["N", 64], after=[soft], outputs=[value("p")])
    inputs = digits.inputs[:20]
    z = inputs.reshape(20, -1) @ WEIGHT
    want = z - np.log(np.exp(z).sum(1, keepdims=True))
    np.testing.assert_allclose(load(options(onnx=path)).logits(inputs), want.clip(np.log(1e-7)), atol=1e-3)
    as_they_are = load(options(onnx=path, scores="logits")).logits(inputs)
    np.testing.assert_allclose(as_they_are, np.exp(want), atol=1e-5)


@pytest.mark.parametrize("sigmoid", [True, False])
@pytest.mark.parametrize("squeeze", [True, False])
def test_one_column_for_two_classes(
    digits: Any, options: Options, tmp_path: Path, sigmoid: bool, squeeze: bool
) -> None:
    nodes, last = [], "z"
    if sigmoid:
        nodes, last = [helper.make_node("Sigmoid", ["z"], ["p"])], "p"
    if squeeze:
        nodes.append(helper.make_node("Flatten", [last], ["f"], axis=0))
        nodes.append(helper.make_node("Squeeze", ["f", "axis"], ["s"]))
        nodes.insert(0, helper.make_node("Constant", [], ["axis"], value_ints=[0]))
        last = "s"
    weight = WEIGHT[:, :1]
    path = linear(tmp_path / "m.onnx", ["N", 64], after=nodes, outputs=[value(last)], weight=weight)
    logits = load(options(onnx=path, classes=2)).logits(digits.inputs[:30])
    z = (digits.inputs[:30].reshape(30, -1) @ weight)[:, 0]
    z, got = (v.clip(-8, 8) for v in (z, logits[:, 1] - logits[:, 0]))  # beyond, a float32 probability is too coarse
    np.testing.assert_allclose(got, z, rtol=2e-3, atol=2e-3)


def test_output_is_chosen_by_name(digits: Any, options: Options, tmp_path: Path) -> None:
    more = helper.make_node("Neg", ["z"], ["minus"])
    path = linear(tmp_path / "m.onnx", ["N", 64], after=[more], outputs=[value("minus"), value("z")])
    first, named = load(options(onnx=path)), load(options(onnx=path, output="z"))
    np.testing.assert_array_equal(first.logits(digits.inputs[:5]), -named.logits(digits.inputs[:5]))
    assert first.fingerprint != named.fingerprint
    with pytest.raises(ConfigError, match="Did you mean 'minus'"):
        load(options(onnx=path, output="minsu"))


def test_label_alone_is_refused(options: Options, tmp_path: Path) -> None:
    label = helper.make_node("ArgMax", ["z"], ["label"], axis=1)
    path = linear(tmp_path / "m.onnx", ["N", 64], after=[label], outputs=[value("label", TensorProto.INT64)])
    with pytest.raises(TeacherError, match="not its label only"):
        load(options(onnx=path))


@pytest.mark.parametrize(
    "shape", [["N", 63], ["N", 3, 8, 8], ["N", 1, 28, 28], ["N", 1, 1, 8, 8], ["N", 1, 64, 1]], ids=str
)
def test_data_that_do_not_fit_are_refused(options: Options, tmp_path: Path, shape: list[int | str | None]) -> None:
    weight = np.zeros((int(np.prod([s for s in shape[1:] if isinstance(s, int)])), 10), np.float32)
    with pytest.raises(TeacherError, match=r"\(N, 1, 8, 8\)\. State teacher.input"):
        load(options(onnx=linear(tmp_path / "m.onnx", shape, weight=weight)))


def test_not_finite_outputs_are_refused(options: Options, tmp_path: Path) -> None:
    broken = np.full_like(WEIGHT, np.nan)
    with pytest.raises(TeacherError, match="finite"):
        load(options(onnx=linear(tmp_path / "m.onnx", ["N", 64], weight=broken)))


@pytest.mark.parametrize("content", [b"", b"not a model", b"half"], ids=["empty", "text", "truncated"])
def test_corrupt_files_are_refused(options: Options, tmp_path: Path, content: bytes) -> None:
    path = Path(linear(tmp_path / "m.onnx", ["N", 64]))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content == b"half" else content)
    with pytest.raises(TeacherError, match="valid ONNX file"):
        load(options(onnx=str(path)))


@pytest.mark.parametrize(("onnx_key", "error"), [("nowhere.onnx", TeacherError), (None, ConfigError), (3, ConfigError)])
def test_missing_files_are_refused(options: Options, onnx_key: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"teacher\.onnx"):
        load(options(onnx=onnx_key))


def test_fingerprint_is_of_what_determines_the_outputs(options: Options, tmp_path: Path) -> None:
    a = load(options(onnx=linear(tmp_path / "a.onnx", ["N", 64]))).fingerprint
    copy = load(options(onnx=linear(tmp_path / "b.onnx", ["N", 64]))).fingerprint
    other = load(options(onnx=linear(tmp_path / "c.onnx", ["N", 64], weight=WEIGHT * 2))).fingerprint
    scaled = load(options(onnx=str(tmp_path / "a.onnx"), input={"scale": 0.5})).fingerprint
    assert a == copy
    assert len({a, other, scaled}) == 3


def test_weights_beside_the_file_count(options: Options, digits: Any, tmp_path: Path) -> None:
    path, found = tmp_path / "m.onnx", []
    for factor in (1, 2):
        model = onnx.load(linear(path, ["N", 64], weight=WEIGHT * factor))
        (tmp_path / "w.bin").unlink(missing_ok=True)
        onnx.save(model, str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
        teacher = load(options(onnx=str(path)))
        np.testing.assert_allclose(
            teacher.logits(digits.inputs[:3]), factor * digits.flat[:3] @ WEIGHT, rtol=1e-4, atol=1e-4
        )
        found.append(teacher.fingerprint)
    assert found[0] != found[1]


def test_a_torch_export_of_another_size_is_resized(digits: Any, options: Options, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (torch.zeros(1, 3, 16, 16),), str(tmp_path / "m.onnx"), dynamo=False, input_names=["x"],
            dynamic_axes={"x": {0: "N"}},
        )  # fmt: skip
    block = {"size": 16, "scale": 1 / 16, "mean": [0.1, 0.2, 0.3], "std": [0.9, 1.0, 1.1]}
    teacher = load(options(onnx=str(tmp_path / "m.onnx"), input=block))
    x = nn.functional.interpolate(torch.from_numpy(digits.inputs[:6]), size=(16, 16), mode="bilinear") / 16
    x = (x - torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)) / torch.tensor([0.9, 1.0, 1.1]).view(1, 3, 1, 1)
    with torch.no_grad():
        want = net(x).numpy()
    np.testing.assert_allclose(teacher.logits(digits.inputs[:6]), want, rtol=1e-4, atol=1e-5)


IMAGE = InputSpec("image", (3, 8, 8), "uint8", (0.0,) * 3, (1.0,) * 3)
TABLE = InputSpec("tabular", (5,), "float32", (0.0,) * 5, (1.0,) * 5)


@pytest.mark.parametrize(
    ("block", "spec", "says"),
    [
        ({"sacle": 2}, IMAGE, "Did you mean 'scale'"),
        ({"scale": "many"}, IMAGE, "1/255"),
        ({"scale": 0}, IMAGE, "must not be 0"),
        ({"mean": [1, 2]}, IMAGE, r"one per channel \(3\)"),
        ({"mean": [1, 2]}, TABLE, r"one per feature \(5\)"),
        ({"std": [1, 0, 1]}, IMAGE, "above 0"),
        ({"layout": "CHWN"}, IMAGE, "NCHW"),
        ({"layout": "NHWC"}, TABLE, "NF"),
        ({"layout": "NHW"}, IMAGE, "one channel"),
        ({"size": 0}, IMAGE, "height"),
        ({"size": [1, 2, 3]}, IMAGE, "height"),
        ({"size": 8}, TABLE, "images only"),
        ("raw", IMAGE, "mapping"),
    ],
    ids=str,
)
def test_wrong_input_blocks_are_refused(block: object, spec: InputSpec, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        InputRule.parse(block, spec)


@pytest.mark.parametrize("block", [None, {}], ids=str)
def test_no_input_block_is_the_raw_input(block: object) -> None:
    raw = torch.arange(2 * 3 * 4).reshape(2, 3, 2, 2).to(torch.uint8)
    assert torch.equal(InputRule.parse(block, IMAGE).apply(raw), raw.float())


def test_layouts_lay_out() -> None:
    raw = torch.rand(2, 3, 4, 5)
    assert InputRule(layout="NHWC").apply(raw).shape == (2, 4, 5, 3)
    assert InputRule(layout="NF").apply(raw).shape == (2, 60)
    assert InputRule(layout="NHW").apply(raw[:, :1]).shape == (2, 4, 5)
    assert InputRule(size=(2, 2)).apply(raw).shape == (2, 3, 2, 2)
