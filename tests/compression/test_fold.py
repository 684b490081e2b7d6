"""Residuals folded away: exactly, and only where that is allowed."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from autokd.compression.fold import fold_residuals
from autokd.deployment.export import export
from autokd.protocols import InputSpec

SPEC = InputSpec("image", (8, 8, 8), "float32", (0.0,), (1.0,))
NAMES = [str(i) for i in range(8)]


class Around(nn.Module):
    """relu(layer(x) + x), optionally with another reader of the layer's output."""

    def __init__(self, layer: nn.Module, swap: bool = False, reuse: bool = False) -> None:
        super().__init__()
        self.layer, self.swap, self.reuse = layer, swap, reuse

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        z = torch.relu(x + y if self.swap else y + x)
        return z * y if self.reuse else z


def outputs(path, x):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"input": x})[0]


def adds(path):
    return sum(n.op_type == "Add" for n in onnx.load(path).graph.node)


def both(block, tmp_path, spec=SPEC):
    flat = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if len(spec.shape) == 3 else []
    model = nn.Sequential(block, *flat)
    plain = export(model, spec, NAMES, tmp_path / "plain.onnx", name="n")
    folded = export(model, spec, NAMES, tmp_path / "folded.onnx", name="n", passes=[fold_residuals])
    return plain.path, folded.path


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 8, 5, padding=2, bias=False),
        nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)),
    ],
    ids=["3x3", "5x5", "1x1", "dilated", "depthwise", "grouped", "batch_norm"],
)
def test_convolution_takes_the_identity_in(layer, swap, tmp_path):
    plain, folded = both(Around(layer, swap), tmp_path)
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 8)).astype(np.float32)
    assert (adds(plain), adds(folded)) == (1, 0)
    np.testing.assert_allclose(outputs(folded, x), outputs(plain, x), atol=1e-6)


def test_gemm_takes_the_identity_in(tmp_path):
    plain, folded = both(Around(nn.Linear(8, 8)), tmp_path, InputSpec("tabular", (8,), "float32", (0.0,), (1.0,)))
    x = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    assert (adds(plain), adds(folded)) == (1, 0)
    np.testing.assert_allclose(outputs(folded, x), outputs(plain, x), atol=1e-6)


def test_a_whole_network(make_net, digits_spec, raw, tmp_path):
    model = raw(make_net("residual"))
    names = [str(i) for i in range(10)]
    plain = export(model, digits_spec, names, tmp_path / "plain.onnx", name="n").path
    folded = export(model, digits_spec, names, tmp_path / "folded.onnx", name="n", passes=[fold_residuals]).path
    x = np.random.default_rng(0).integers(0, 17, (16, 1, 8, 8), np.uint8)
    assert (adds(plain), adds(folded)) == (2, 0)
    np.testing.assert_allclose(outputs(folded, x), outputs(plain, x), atol=1e-5)


class Other(nn.Module):
    """layer(x) + relu(x): the shortcut is not what the layer reads."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + torch.relu(x)


@pytest.mark.parametrize(
    "block",
    [Other(), Around(nn.Conv2d(8, 8, 3, padding=1), reuse=True), Around(nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU()))],
    ids=["other_shortcut", "output_read_twice", "activation_between"],
)
def test_leaves_alone_what_it_must(block, tmp_path):
    plain, folded = both(block, tmp_path)
    assert adds(plain) == adds(folded) == 1


def test_leaves_broadcast_shapes_alone(tmp_path):
    plain, folded = both(Around(nn.Conv2d(8, 8, 8)), tmp_path)  # no padding: (N, 8, 1, 1) is broadcast
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 8)).astype(np.float32)
    assert adds(folded) == 1
    np.testing.assert_array_equal(outputs(folded, x), outputs(plain, x))
