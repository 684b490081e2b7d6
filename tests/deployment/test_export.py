"""Exported files: run alone, say what the model says, carry no leftovers, and come out the same byte by byte."""

from __future__ import annotations

import hashlib
import json
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autokd.deployment.export import export
from autokd.errors import StageFailure, StorageError
from autokd.protocols import InputSpec
from autokd.version import __version__

KINDS = ["image", "resized", "rgb", "table"]
LEFTOVERS = {"Identity", "Constant", "Shape", "Slice", "Concat", "Gather", "Unsqueeze", "BatchNormalization", "Dropout"}


def run(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert ([i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()]) == (["input"], ["scores"])
    return session.run(["scores"], {"input": np.asarray(x)})[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 3, 7])
def test_file_computes_what_the_model_computes(make_model, sample, tmp_path, kind, batch):
    model, spec, classes = make_model(kind)
    file = export(model, spec, classes, tmp_path / "m.onnx", name="m")
    x = sample(spec, batch)
    with torch.no_grad():
        wanted = model.eval()(x).numpy()
    found = run(file.path, x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_graph_is_tidy(make_model, tmp_path, kind):
    model, spec, classes = make_model(kind)
    file = export(model, spec, classes, tmp_path / "m.onnx", name="m")
    graph = onnx.load(file.path)
    onnx.checker.check_model(graph, full_check=True)
    assert not LEFTOVERS.intersection(n.op_type for n in graph.graph.node)
    assert [d.dim_param or d.dim_value for d in graph.graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        *spec.shape,
    ]
    assert [d.dim_param or d.dim_value for d in graph.graph.output[0].type.tensor_type.shape.dim] == [
        "batch",
        len(classes),
    ]
    used = {name for n in graph.graph.node for name in n.input}
    assert {i.name for i in graph.graph.initializer} <= used
    assert not any(n.doc_string or n.name or n.metadata_props for n in graph.graph.node)


@pytest.mark.parametrize("kind", KINDS)
def test_metadata(make_model, tmp_path, kind):
    model, spec, classes = make_model(kind)
    file = export(model, spec, classes, tmp_path / "m.onnx", name="student")
    graph = onnx.load(file.path)
    metadata = {p.key: p.value for p in graph.metadata_props}
    assert json.loads(metadata["classes"]) == classes
    assert InputSpec.from_dict(json.loads(metadata["input_spec"])) == spec
    assert (metadata["autokd"], metadata["scores"], graph.graph.name) == (__version__, "logits", "student")
    assert file.opset == 17 == graph.opset_import[0].version
    assert file.size_bytes == file.path.stat().st_size
    assert file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", KINDS)
def test_equal_weights_give_equal_bytes(make_model, sample, tmp_path, kind):
    hashes = []
    for attempt in range(3):
        model, spec, classes = make_model(kind)
        other = make_model(kind, seed=1)[0]
        other.load_state_dict(model.state_dict())  # another object, other counters in the exporter
        if attempt == 2:
            other = other.to(memory_format=torch.channels_last)
        hashes.append(export(other, spec, classes, tmp_path / f"{attempt}.onnx", name="m").sha256)
    changed = export(make_model(kind, seed=1)[0], spec, classes, tmp_path / "other.onnx", name="m").sha256
    assert len(set(hashes)) == 1
    assert changed not in hashes


@pytest.mark.parametrize("bias", [True, False], ids=["gemm", "matmul"])
def test_batch_norm_after_a_linear_layer_is_folded(bias, sample, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5, bias=bias), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).eval()
    nn.init.uniform_(model[1].running_mean, -1, 1)
    nn.init.uniform_(model[1].running_var, 0.5, 2)
    spec = InputSpec("tabular", (6,), "float32", (0.0,) * 6, (1.0,) * 6)
    file = export(model, spec, ["a", "b", "c"], tmp_path / "m.onnx", name="m")
    assert [n.op_type for n in onnx.load(file.path).graph.node] == ["Gemm", "Relu", "Gemm"]
    x = sample(spec, 9)
    np.testing.assert_allclose(run(file.path, x), model(x).detach().numpy(), atol=1e-6)


def test_batch_norm_over_another_axis_is_left_alone(sample, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(9, 3)).eval()
    nn.init.uniform_(model[1].running_var, 0.5, 2)
    spec = InputSpec("image", (3, 4), "float32", (0.0,), (1.0,))  # channels first: the product's columns come last
    file = export(model, spec, ["a", "b", "c"], tmp_path / "m.onnx", name="m")
    assert "BatchNormalization" in {n.op_type for n in onnx.load(file.path).graph.node}
    x = sample(spec, 2)
    np.testing.assert_allclose(run(file.path, x), model(x).detach().numpy(), atol=1e-6)


def test_modes_are_restored(make_model, tmp_path):
    model, spec, classes = make_model("image")
    model.train()
    model.block.eval()
    export(model, spec, classes, tmp_path / "m.onnx", name="m")
    assert model.training and model.stem.training and not model.block[0].training


class Shapes(nn.Module):
    """Shapes computed in Python: each would leave a chain of Shape, Slice and Concat behind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * 49, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(self.conv(x.float()), scale_factor=2, mode="nearest")
        x = F.interpolate(F.pad(x, (1, 1, 1, 1)), size=(7, 7), mode="bilinear", align_corners=False)
        n, c, h, w = x.shape
        return self.head(x.permute(0, 2, 3, 1).reshape(n, h * w, c).reshape(n, -1))


def test_computed_shapes_are_frozen(sample, tmp_path):
    model, spec = Shapes().eval(), InputSpec("image", (1, 8, 8), "uint8", (0.0,), (1.0,), 0, 16)
    file = export(model, spec, ["a", "b", "c"], tmp_path / "m.onnx", name="m")
    ops = {n.op_type for n in onnx.load(file.path).graph.node}
    assert not ops & {"Shape", "Slice", "Concat", "Gather", "ConstantOfShape", "Unsqueeze"}
    for batch in (1, 4):
        x = sample(spec, batch)
        np.testing.assert_allclose(run(file.path, x), model(x).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("size", [5, 7, 9, 13, 20, 24, 28, 31])
def test_every_resolution_is_met(size, tmp_path):
    class Resized(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False).flatten(1)

    spec = InputSpec("image", (1, 28, 28), "float32", (0.0,), (1.0,))
    file = export(Resized(), spec, [str(i) for i in range(size * size)], tmp_path / "m.onnx", name="m")
    x = torch.rand(2, 1, 28, 28)
    np.testing.assert_allclose(run(file.path, x), Resized()(x).numpy(), atol=1e-5)


class Smooth(nn.Module):
    """Antialiased resizing, which the TorchScript exporter does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(x.float(), size=(5, 5), mode="bilinear", antialias=True)
        return self.head(F.adaptive_avg_pool2d(self.conv(x), 1).flatten(1))


def test_falls_back_to_the_other_exporter(sample, tmp_path, capfd):
    model, spec = Smooth().eval(), InputSpec("image", (1, 8, 8), "uint8", (0.0,), (1.0,), 0, 16)
    file = export(model, spec, ["a", "b", "c"], tmp_path / "m.onnx", name="m")
    assert capfd.readouterr().out == ""  # stdout is for results
    assert file.opset >= 18
    for batch in (1, 4):
        x = sample(spec, batch)
        np.testing.assert_allclose(run(file.path, x), model(x).detach().numpy(), atol=1e-5)


def test_passes_run_on_the_folded_graph(make_model, tmp_path):
    seen = []

    def look(graph: onnx.ModelProto) -> int:
        seen.extend(n.op_type for n in graph.graph.node)
        return 0

    model, spec, classes = make_model("table")
    export(model, spec, classes, tmp_path / "m.onnx", name="m", passes=[look])
    assert seen == ["Gemm", "Relu", "Gemm"] or seen == ["Reshape", "Gemm", "Relu", "Gemm"]


def test_is_quiet(make_model, tmp_path, capfd):
    model, spec, classes = make_model("resized")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export(model, spec, classes, tmp_path / "m.onnx", name="m")
    assert capfd.readouterr() == ("", "")


class Untraceable(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError("this model never runs")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Untraceable(), "this model never runs"),
        (nn.Flatten(), r"must return logits \(N, 10\)"),
        (nn.Identity(), "logits"),
    ],
    ids=["raises", "wrong_width", "wrong_rank"],
)
def test_refusals(model, words, tmp_path):
    spec = InputSpec("image", (1, 8, 8), "float32", (0.0,), (1.0,))
    with pytest.raises(StageFailure, match=words) as caught:
        export(model, spec, [str(i) for i in range(10)], tmp_path / "m.onnx", name="m")
    assert (caught.value.stage, caught.value.cause) == ("export", "error")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_place(make_model, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    model, spec, classes = make_model("table")
    with pytest.raises(StorageError, match="must be writable"):
        export(model, spec, classes, tmp_path / "file" / "m.onnx", name="m")
