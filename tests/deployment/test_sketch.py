"""A sketch is the exported file but for its weights: same operators, shapes, attributes, order, sizes, costs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional as F

from autokd import registry
from autokd.compression import quantization
from autokd.compression.fold import absorbs_identity, fold_residuals
from autokd.compression.int8_sketch import Int8Sketches
from autokd.compression.pruning import L1, default_groups, prune, shares, width_left
from autokd.config.space import load_space
from autokd.deployment.export import export
from autokd.deployment.inspect import inspect
from autokd.deployment.sketch import CannotSketch, Sketch, sketch
from autokd.evaluation.screening.preflight import corners, draw
from autokd.protocols import InputSpec
from autokd.students.build import family_builder, prune_groups
from autokd.students.raw_input import RawInput
from autokd.testing.families import example_specs, raw_samples
from autokd.trial import Stage

torch.set_num_threads(1)
CLASSES = [f"class {i}" for i in range(10)]
LAYERS = ("Conv", "Gemm", "MatMul")
SPECS = example_specs() | {
    "rgb64": InputSpec("image", (3, 64, 64), "uint8", (125.3, 123.0, 113.9), (63.0, 62.1, 66.7), 0.0, 255.0),
    "rgb96": InputSpec("image", (3, 96, 120), "uint8", (125.3, 123.0, 113.9), (63.0, 62.1, 66.7), 0.0, 255.0),
}
SPACES = {
    "mobilenet_28": ("grey28", "rgb32", "rgb24x40"),
    "mobilenet_8": ("grey8",),
    "mobilenet_32": ("rgb32",),
    "mobilenet_64": ("rgb64",),
    "mobilenet_96_plus": ("rgb96",),
    "resnet_28": ("grey28", "rgb32", "rgb24x40"),
    "digits": ("grey8",),
    "tabular": ("table", "mixed_table"),
}
DRAWS = 6

Built = tuple[nn.Module, InputSpec, dict[str, float]]


def candidates() -> dict[str, tuple[str, str, dict[str, Any], dict[str, float]]]:
    """Family, input, build parameters and pruning ratios by test id: every shipped space, and every family by itself."""
    found: dict[str, tuple[str, str, dict[str, Any], dict[str, float]]] = {}
    for name in registry.names("spaces"):
        space = load_space(name)
        for spec in SPACES[name]:
            for i, params in enumerate([*corners(space), *draw(space, DRAWS, seed=len(name))]):
                pruning = space.of_stage(Stage.PRUNE, params)
                ratios = {k.removeprefix("prune_"): float(v) for k, v in pruning.items() if k.startswith("prune_")}
                found[f"{name}-{spec}-{i}"] = (space.family, spec, space.of_stage(Stage.BUILD, params), ratios)
    for family in registry.names("families"):
        kinds = registry.load("families", family).kinds
        for spec, facts in SPECS.items():
            if facts.kind in kinds:
                found[f"{family}-{spec}"] = (family, spec, {}, {})
    found["mlp-image-cut"] = ("mlp", "grey8", {"residual": True, "depth": 3}, {"1": 0.5})
    found["mlp-linear"] = ("mlp", "rgb32", {"depth": 0}, {})
    found["mobilenet-wide-kernels"] = (
        "mobilenet", "rgb32", {"stages": 5, "kernel_3": 5, "block_3": "separable", "stem_stride": 1}, {"3": 0.3, "stem": 0.4},
    )  # fmt: skip
    found["mobilenet-no-residual"] = (
        "mobilenet",
        "grey28",
        {"residual": False, "block_2": "inverted", "depth_2": 3},
        {},
    )
    found["resnet-pooled-stem"] = ("resnet", "rgb24x40", {"stem_stride": 4, "resolution": 20}, {"1": 0.25, "2": 0.6})
    return found


CANDIDATES = candidates()


def trained(model: nn.Module, spec: InputSpec) -> nn.Module:
    """With numbers of its own in every tensor and activations of ordinary size, as after training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.empty_like(parameter).uniform_(-0.02, 0.02, generator=generator))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = 1.0
        model.train()(torch.from_numpy(raw_samples(spec, 32)))
    return model.eval()


def structure(model: onnx.ModelProto) -> dict[str, Any]:
    """Everything but names and the numbers in layers."""
    held = {i.name: i for i in model.graph.initializer}
    ids = {v.name: f"input {i}" for i, v in enumerate(model.graph.input)}
    rows = []
    for position, node in enumerate(model.graph.node):
        reads: list[Any] = []
        for place, name in enumerate(node.input):
            if name in held:
                tensor = held[name]
                whole = node.op_type in LAYERS or node.op_type.endswith("Linear") or len(tensor.raw_data) > 4000
                value = None if whole else numpy_helper.to_array(tensor).tolist()
                reads.append((place, tensor.data_type, tuple(tensor.dims), value))
            else:
                reads.append(ids[name] if name else None)
        for place, name in enumerate(node.output):
            ids[name] = f"{position}.{place}"
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        rows.append((node.op_type, node.domain, reads, attributes))
    ends = [
        (v.name, v.type.tensor_type.elem_type, [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim])
        for v in (*model.graph.input, *model.graph.output)
    ]
    return {
        "rows": rows,
        "ends": ends,
        "scores": ids[model.graph.output[0].name],
        "opsets": [(o.domain, o.version) for o in model.opset_import],
        "ir_version": model.ir_version,
        "metadata": {p.key: p.value for p in model.metadata_props},
        "name": model.graph.name,
        "producer": (model.producer_name, model.producer_version),
    }


def kernels(data: bytes, folder: Path) -> list[Any]:
    """What the runtime makes of a file: the operators that it runs, with their weights' shapes, in its order."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(folder / "optimised.onnx").graph
    shapes = {i.name: (i.data_type, tuple(i.dims)) for i in graph.initializer}
    return [(n.op_type, n.domain, [shapes.get(name) for name in n.input]) for n in graph.node]


def sketched(model: nn.Module, spec: InputSpec, ratios: Mapping[str, float] | None = None) -> Sketch:
    share = shares(prune_groups(model) or default_groups(model), ratios or {})
    return sketch(
        model,
        spec,
        CLASSES,
        name="net",
        left=lambda layers, channels: width_left(share, layers, channels),
        absorbs=absorbs_identity,
    )


def really_exported(model: nn.Module, spec: InputSpec, ratios: Mapping[str, float], path: Path) -> onnx.ModelProto:
    """By way of torch-pruning and PyTorch's exporter."""
    if any(ratios.values()):
        example = torch.from_numpy(raw_samples(spec, 2))
        prune(model, example, prune_groups(model) or default_groups(model), ratios, L1())
    export(trained(model, spec), spec, CLASSES, path, name="net", passes=(fold_residuals,))
    return onnx.load(path)


def outline(family: str, params: Mapping[str, Any], spec: InputSpec) -> nn.Module:
    with torch.device("meta"):
        model = family_builder(family)(dict(params), spec, len(CLASSES))
    return RawInput(model, spec)


@pytest.mark.parametrize("name", CANDIDATES)
def test_the_sketch_is_the_exported_file_but_for_its_weights(tmp_path: Path, name: str) -> None:
    family, kind, params, ratios = CANDIDATES[name]
    spec = SPECS[kind]
    drawn = sketched(outline(family, params, spec), spec, ratios)
    torch.manual_seed(0)
    real = RawInput(family_builder(family)(dict(params), spec, len(CLASSES)), spec)
    file = really_exported(real, spec, ratios, tmp_path / "real.onnx")
    assert structure(drawn.model) == structure(file)
    assert onnx.load_from_string(drawn.data) == drawn.model
    facts = inspect(tmp_path / "real.onnx")
    assert kernels(drawn.data, tmp_path) == kernels(file.SerializeToString(), tmp_path)
    assert (drawn.params, drawn.macs, len(drawn.data)) == (facts.params, facts.macs, facts.size_bytes)
    shapes = {v.name: v.type.tensor_type.shape.dim for v in _inferred(drawn.model)}
    assert drawn.written == sum(math.prod(d.dim_value for d in shapes[n.output[0]][1:]) for n in drawn.model.graph.node)
    # a real module, pruned already, says its widths itself
    again = sketched(real, spec)
    assert structure(again.model) == structure(file)


def _inferred(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    return [*graph.value_info, *graph.output]


def test_the_spaces_and_families_of_this_test_are_all_there_are() -> None:
    assert set(SPACES) == set(registry.names("spaces"))
    assert {c[0] for c in CANDIDATES.values()} == set(registry.names("families"))
    assert sum(any(c[3].values()) for c in CANDIDATES.values()) >= 20
    assert len(CANDIDATES) >= 60


@pytest.mark.parametrize("kind", ["grey8", "rgb24x40", "mixed_table"])
def test_a_sketch_runs_and_its_numbers_are_ordinary(tmp_path: Path, kind: str) -> None:
    """Zeros, infinities and denormals would be timed differently."""
    spec = SPECS[kind]
    family = "mlp" if spec.kind == "tabular" else "resnet"
    drawn = sketched(outline(family, {}, spec), spec)
    onnx.checker.check_model(drawn.model, full_check=True)
    probe = onnx.ModelProto()
    probe.CopyFrom(drawn.model)
    inner = [n.output[0] for n in probe.graph.node if n.op_type in ("Relu", "Conv", "Gemm")]
    probe.graph.output.extend(onnx.ValueInfoProto(name=n) for n in inner if n != "scores")
    session = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    x = raw_samples(spec, 3)
    x = np.nan_to_num(x) if spec.dtype == "float32" else x
    for name, found in zip([o.name for o in session.get_outputs()], session.run(None, {"input": x}), strict=True):
        assert np.isfinite(found).all()
        assert 1e-4 < np.abs(found).max() < 1e4, name
    for tensor in drawn.model.graph.initializer:
        if any(tensor.name in n.input[1:] for n in drawn.model.graph.node if n.op_type in LAYERS):
            assert np.abs(numpy_helper.to_array(tensor)).min() > 1e-6


# ------------------------------------------------------------------------------------------------------- int8

INT8 = [n for n in CANDIDATES if n.endswith(("-1", "-4", "pooled-stem", "residual", "cut"))]


@pytest.mark.parametrize("name", INT8)
def test_int8_sketches_are_the_quantized_files_but_for_their_numbers(tmp_path: Path, name: str) -> None:
    family, kind, params, ratios = CANDIDATES[name]
    spec = SPECS[kind]
    drawn = sketched(outline(family, params, spec), spec, ratios)
    before = drawn.model.SerializeToString(deterministic=True)
    found = Int8Sketches(drawn.model, drawn.types)
    assert drawn.model.SerializeToString(deterministic=True) == before
    torch.manual_seed(0)
    real = RawInput(family_builder(family)(dict(params), spec, len(CLASSES)), spec)
    model = really_exported(real, spec, ratios, tmp_path / "real.onnx")
    with quantization.quietly():
        wanted = quantization._candidates(model, raw_samples(spec, 16), None)
    assert list(found) == list(wanted)
    for plan, data in wanted.items():
        mine, theirs = onnx.load_from_string(found[plan]), onnx.load_from_string(data)
        assert without_numbers(structure(mine)) == without_numbers(structure(theirs)), plan
        assert kernels(found[plan], tmp_path) == kernels(data, tmp_path), plan
        quantized = sum(n.op_type == "QuantizeLinear" for n in theirs.graph.node)
        assert abs(len(found[plan]) - len(data)) <= 16 * (quantized + 1), plan


def without_numbers(facts: dict[str, Any]) -> dict[str, Any]:
    """Scales and zero points are calibrated; shapes and types are not."""
    rows = [
        (kind, domain, [r[:3] if isinstance(r, tuple) else r for r in reads], attributes)
        for kind, domain, reads, attributes in facts["rows"]
    ]
    return facts | {"rows": rows}


def test_int8_sketches_run(tmp_path: Path) -> None:
    spec = SPECS["rgb32"]
    drawn = sketched(outline("mobilenet", {"block_2": "inverted"}, spec), spec)
    found = Int8Sketches(drawn.model, drawn.types)
    assert len(found) >= 4
    for plan, data in found.items():
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        assert np.isfinite(session.run(None, {"input": raw_samples(spec, 2)})[0]).all(), plan


# --------------------------------------------------------------------------------------- what a person may bring


class Own(nn.Module):
    """A person's net: the layers of the table that no shipped family uses, and a head over a flattened map."""

    def __init__(self, act: Callable[[torch.Tensor], torch.Tensor], norm: bool = True) -> None:
        super().__init__()
        self.act = act
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.deep = nn.Conv2d(8, 8, 5, 1, 2, groups=8)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(8 * 12 * 20, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm(self.conv(x)))
        return self.head(self.drop(torch.flatten(self.act(self.deep(x)), 1)))


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize(
    "act", [F.relu, F.relu6, F.hardswish, nn.ReLU(inplace=True), nn.ReLU6(), nn.Hardswish(), torch.relu]
)
def test_common_layers_of_other_nets(tmp_path: Path, act: Any, norm: bool) -> None:
    spec = SPECS["rgb24x40"]
    for ratios in ({}, {"all": 0.5}):
        model = RawInput(Own(act, norm), spec)
        drawn = sketched(model, spec, ratios)
        file = really_exported(model, spec, ratios, tmp_path / "real.onnx")
        assert structure(drawn.model) == structure(file)


class Strange(nn.Module):
    """Does one thing that is not in the table."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, groups=4)
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        if self.how == "unknown operator":
            x = torch.sin(x)
        elif self.how == "unknown method":
            x = x.sigmoid()
        elif self.how == "branch on numbers":
            x = x if x.sum() > 0 else -x
        elif self.how == "grouped":
            x = self.grouped(x)
        elif self.how == "used twice":
            x = self.second(self.second(x))
        elif self.how == "constant":
            x = x + 1
        elif self.how == "shape":
            x = x.reshape(x.shape[0], 8, -1, 1)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return (self.head(x), x) if self.how == "two outputs" else self.head(x)


@pytest.mark.parametrize(
    "how",
    [
        "unknown operator",
        "unknown method",
        "branch on numbers",
        "grouped",
        "used twice",
        "constant",
        "shape",
        "two outputs",
    ],
)
def test_what_is_not_in_the_table_is_refused(how: str) -> None:
    spec = SPECS["rgb32"]
    assert sketched(RawInput(Strange(""), spec), spec).params == 8 * 27 + 8 + 90
    with pytest.raises(CannotSketch):
        sketched(RawInput(Strange(how), spec), spec)


class Tied(nn.Module):
    """A shortcut from the input: its channels cannot be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.adaptive_avg_pool2d(F.relu(self.conv(x)) + x, 1).flatten(1))


def test_fixed_channels_are_not_cut() -> None:
    spec = dataclasses.replace(SPECS["rgb32"], shape=(16, 8, 8), mean=(0.0,), std=(1.0,))
    model = Tied()
    model.conv, model.head = nn.Conv2d(16, 16, 3, padding=1), nn.Linear(16, 10)
    raw = RawInput(model, spec)
    assert sketched(raw, spec).params > 0
    with pytest.raises(CannotSketch, match="input"):
        sketched(raw, spec, {"all": 0.5})


def test_a_sketch_leaves_the_module_alone() -> None:
    spec = SPECS["rgb32"]
    model = outline("mobilenet", {}, spec).train()
    before = {k: v.shape for k, v in model.state_dict().items()}
    sketched(model, spec, {"1": 0.5})
    assert model.training
    assert {k: v.shape for k, v in model.state_dict().items()} == before


def test_a_sketch_needs_neither_weights_nor_the_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter takes 40 to 160 ms for such a net; a sketch is for choosing among many."""
    spec, space = SPECS["grey28"], load_space("mobilenet_28")
    monkeypatch.setattr(torch.onnx, "export", lambda *args, **more: pytest.fail("exported"))
    for params in draw(space, 12, seed=0):
        model = outline(space.family, space.of_stage(Stage.BUILD, params), spec)
        assert sketched(model, spec, {"1": 0.25}).macs > 0
        assert {p.device.type for p in model.parameters()} == {"meta"}
