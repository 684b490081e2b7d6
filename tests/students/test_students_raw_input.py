"""Raw values in, logits out: normalisation, missing values and unknown codes, in torch and in the ONNX file."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from autokd.protocols import InputSpec
from autokd.students.raw_input import RawInput, flat_features
from autokd.students.resize import Resize, resized
from autokd.testing.families import example_specs, onnx_bytes, onnx_session, raw_samples

torch.set_num_threads(1)
SPECS = example_specs()


class Echo(nn.Module):
    """Returns what a student would read, flattened."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def expected(spec: InputSpec, raw: np.ndarray) -> np.ndarray:
    """The same normalisation written out in float64, one value at a time."""
    if spec.kind == "image":
        mean, std = (np.array(v).reshape(1, -1, 1, 1) for v in (spec.mean, spec.std))
        return ((raw.astype(np.float64) - mean) / std).reshape(len(raw), -1)
    kinds = spec.facts.get("cardinalities") or (0,) * spec.shape[0]
    rows = []
    for sample in raw.astype(np.float64):
        numbers = [
            0.0 if np.isnan(v) else (v - m) / s
            for v, m, s, k in zip(sample, spec.mean, spec.std, kinds, strict=True)
            if k == 0
        ]
        codes = [float(v == code) for v, k in zip(sample, kinds, strict=True) for code in range(k)]
        rows.append(numbers + codes)
    return np.array(rows)


@pytest.mark.parametrize("key", SPECS)
def test_normalises_alike_in_torch_and_in_the_file(key: str) -> None:
    spec = SPECS[key]
    model = RawInput(Echo(), spec).eval()
    raw = raw_samples(spec, 50)
    wanted = expected(spec, raw)
    assert wanted.shape == (50, flat_features(spec))
    np.testing.assert_allclose(model(torch.from_numpy(raw)).numpy(), wanted, rtol=1e-4, atol=1e-4)
    (got,) = onnx_session(model, spec).run(None, {"input": raw})
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_unknown_codes_and_missing_values_by_hand() -> None:
    spec = InputSpec("tabular", (2,), "float32", (10.0, 0.0), (2.0, 1.0), facts={"cardinalities": (0, 3)})
    raw = np.array([[14, 2], [np.nan, 3], [8, -1], [10, np.nan], [10, 1.5]], np.float32)
    wanted = [[2, 0, 0, 1], [0, 0, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    model = RawInput(Echo(), spec)
    np.testing.assert_array_equal(model(torch.from_numpy(raw)).numpy(), wanted)
    np.testing.assert_array_equal(onnx_session(model, spec).run(None, {"input": raw})[0], wanted)


@pytest.mark.parametrize("kinds", [(2, 3), (0, 0), (0, 1)], ids=str)
def test_uint8_tables(kinds: tuple[int, ...]) -> None:
    spec = InputSpec("tabular", (2,), "uint8", (3.0, 1.0), (1.0, 2.0), facts={"cardinalities": kinds})
    raw = np.array([[0, 1], [1, 2], [5, 0]], np.uint8)
    model = RawInput(Echo(), spec)
    np.testing.assert_allclose(model(torch.from_numpy(raw)).numpy(), expected(spec, raw))
    np.testing.assert_allclose(onnx_session(model, spec).run(None, {"input": raw})[0], expected(spec, raw))


def test_a_year_keeps_its_digits() -> None:
    """A feature whose mean is huge beside its spread must not drown in rounding."""
    spec = InputSpec("tabular", (1,), "float32", (2.0**23,), (1.0,))
    raw = torch.tensor([[2.0**23 + 1], [2.0**23 - 3]])
    assert RawInput(Echo(), spec)(raw).flatten().tolist() == [1.0, -3.0]


def test_only_weights_are_state() -> None:
    assert set(RawInput(nn.Linear(5, 2), SPECS["table"]).state_dict()) == {"model.weight", "model.bias"}


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("grey8", ["BatchNormalization"]),
        ("grey28", ["Cast", "BatchNormalization"]),
        ("table", ["Sub", "Mul", "IsNaN", "Where"]),
        ("mixed_table", ["Gather", "Sub", "Mul", "IsNaN", "Where", "Gather", "Equal", "Cast", "Concat"]),
    ],
)
def test_few_nodes_normalise(key: str, wanted: list[str]) -> None:
    """Node count is latency: these nets run in microseconds."""
    graph = onnx.load_from_string(onnx_bytes(RawInput(Echo(), SPECS[key]), SPECS[key])).graph
    idle = ("Constant", "Identity", "Flatten")
    assert [node.op_type for node in graph.node if node.op_type not in idle] == wanted


def test_every_size_is_met_exactly() -> None:
    """No rounding of the factor may leave a row out, here or in the runtime."""
    for old in (8, 17, 28, 32, 47, 96, 224):
        for new in range(4, old + 9, 3 if old < 50 else 17):
            out = Resize((old, old + 1), size := (new, max(4, new - 1)))(torch.zeros(1, 1, old, old + 1))
            assert tuple(out.shape[2:]) == size


@pytest.mark.parametrize(
    ("raw", "resolution", "size"), [((28, 28), 20, (20, 20)), ((24, 40), 12, (12, 20)), ((9, 3), 4, (12, 4))]
)
def test_resolution_is_the_shorter_side(raw: tuple[int, int], resolution: int, size: tuple[int, int]) -> None:
    assert resized(raw, resolution) == size


@pytest.mark.parametrize("side", [5, 9, 13, 14, 20, 27, 31])
def test_resize_agrees_in_the_file(side: int) -> None:
    spec = InputSpec("image", (2, 28, 30), "float32", (0.0, 0.0), (1.0, 1.0))
    model = RawInput(nn.Sequential(Resize((28, 30), (side, side + 2)), nn.Flatten()), spec)
    raw = raw_samples(spec, 3)
    (got,) = onnx_session(model, spec).run(None, {"input": raw})
    np.testing.assert_allclose(got, model(torch.from_numpy(raw)).numpy(), atol=1e-5)


def test_resize_keeps_brightness_and_sees_every_pixel() -> None:
    """Shrinking a 32-pixel picture to 4 averages: one bright pixel anywhere counts the same."""
    shrink = Resize((32, 32), (4, 4))
    x = torch.zeros(2, 1, 32, 32)
    x[0, 0, 3, 3] = x[1, 0, 16, 31] = 1
    assert torch.allclose(shrink(x).sum((1, 2, 3)), torch.full((2,), 1 / 64))
