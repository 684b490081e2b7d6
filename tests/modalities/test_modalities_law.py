"""Whoever must know a kind of input asks its modality: nobody else compares kinds, an unknown one is never taken for a table."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from autokd import registry
from autokd.data.augment import names
from autokd.data.check import checked
from autokd.errors import ConfigError, DataError
from autokd.protocols import InputSpec, RawData
from autokd.students.raw_input import RawInput, flat_features
from autokd.teachers.inputs import InputRule

ROOT = Path(__file__).parents[2]
TOLD = frozenset(registry.names("modalities"))


def compared(text: str) -> list[int]:
    """Lines that compare, match or look up the name of a modality."""
    found = []
    for node in ast.walk(ast.parse(text)):
        parts: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Dict):
            parts = [key for key in node.keys if key is not None]
        inner = [
            p for part in parts for p in (part.elts if isinstance(part, ast.Tuple | ast.List | ast.Set) else [part])
        ]
        found += [node.lineno for p in inner if isinstance(p, ast.Constant) and p.value in TOLD]
    return found


def test_nobody_else_compares_kinds_of_input() -> None:
    files = [f for folder in ("autokd", "dashboard", "tools") for f in (ROOT / folder).rglob("*.py")]
    files = [f for f in files if f.parent != ROOT / "autokd" / "modalities"]
    assert len(files) > 150
    found = {str(f.relative_to(ROOT)): lines for f in files if (lines := compared(f.read_text(encoding="utf-8")))}
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        'kind == "image"',
        '"tabular" != spec.kind',
        'spec.kind in ("image", "x")',
        'DIMENSIONS = {"image": 4}',
        'match kind:\n    case "tabular":\n        pass',
    ],
)
def test_every_way_to_compare_is_seen(text: str) -> None:
    assert compared(text)


def test_stating_a_kind_is_no_comparison() -> None:
    assert compared('RawData(x, y, names, kind="image")\nkinds = frozenset({"tabular", "image"})') == []


PLAIN = RawData(np.zeros((4, 2), np.float32), np.arange(4) % 2, ("a", "b"), "tabular")
UNKNOWN = InputSpec("tabula", (2,), "float32", (0.0, 0.0), (1.0, 1.0))


def test_unknown_kinds_are_refused_everywhere_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"registered modality, but got 'tabula'\. Did you mean 'tabular'\?"):
        checked(replace(PLAIN, kind="tabula"), "mine")
    for ask in (
        lambda: names("tabula"),
        lambda: RawInput(nn.Linear(2, 2), UNKNOWN),
        lambda: flat_features(UNKNOWN),
        lambda: InputRule.parse({"layout": "NF"}, UNKNOWN),
    ):
        with pytest.raises(ConfigError, match=r"Did you mean 'tabular'\?"):
            ask()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"facts": {"cardinality": (0, 0)}}, "Did you mean 'cardinalities'"),
        ({"facts": {"cardinalities": (0,)}}, "one entry for each of the 2 features"),
        ({"facts": {"features": ("x", "x")}}, "'x' twice"),
        ({"facts": {"cardinalities": (0, 2), "categories": ((), ("a",))}}, "as many words as codes"),
        ({"low": 1.0, "high": 0.0}, "low < high"),
        ({"kind": "image"}, r"image inputs must have the shape \(N, C, H, W\)"),
        ({"inputs": np.full((4, 2), np.inf, np.float32)}, "finite or NaN"),
        ({"inputs": np.zeros((4, 2), np.int64)}, "float32 or uint8"),
        ({"inputs": [[1.0]]}, "numpy array"),
        ({"inputs": np.full((4, 1, 2, 2), 9, np.float32), "kind": "image", "high": 5.0}, r"source's range 0 \.\. 5"),
        ({"inputs": np.full((4, 1, 2, 2), np.nan, np.float32), "kind": "image"}, "must be finite"),
        ({"inputs": np.zeros((4, 1, 2, 2), np.uint8), "kind": "image", "facts": {"features": ("x",)}}, "must be known"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        checked(replace(PLAIN, **change), "mine")  # type: ignore[arg-type]


def test_a_range_that_was_left_open_is_filled_in() -> None:
    inputs = np.arange(16, dtype=np.float32).reshape(4, 1, 2, 2) - 3
    found = checked(replace(PLAIN, inputs=inputs, kind="image"), "mine")
    assert (found.low, found.high) == (-3.0, 12.0)
    whole = checked(replace(PLAIN, inputs=inputs.astype(np.uint8), kind="image"), "mine")
    assert (whole.low, whole.high) == (0.0, 255.0)
    table = checked(PLAIN, "mine")
    assert table.facts == {"cardinalities": (0, 0), "features": ("feature_0", "feature_1"), "categories": ((), ())}


def test_checks_and_pictures_load_no_torch() -> None:
    import subprocess
    import sys

    script = (
        "import sys, numpy as np\nfrom autokd import registry\nfrom autokd.protocols import RawData\n"
        "for kind, shape in (('image', (4, 1, 2, 2)), ('tabular', (4, 2))):\n"
        "    m, raw = registry.load('modalities', kind)(), RawData(np.ones(shape, 'uint8'), np.arange(4), ('a', 'b'), kind)\n"
        "    raw = m.check(raw)\n"
        "    m.show(raw.inputs, m.describe(raw, np.arange(4)), np.arange(2), 8)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr


def test_the_module_of_the_graph_is_named_and_one_class() -> None:
    image = registry.load("modalities", "image")()
    spec = InputSpec("image", (1, 2, 2), "float32", (2.0,), (4.0,))
    one, two = image.prepare(spec), image.prepare(spec)
    assert type(one) is type(two) and type(one).__name__ == "NormaliseImage"
    assert one(torch.full((1, 1, 2, 2), 10.0)).unique().item() == 2.0
