"""Every registered family keeps the contract on every kind of data."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch_pruning as tp
from torch import nn

from autokd import registry
from autokd.errors import ConfigError
from autokd.protocols import InputSpec
from autokd.students.raw_input import flat_features
from autokd.testing.families import check_family, example_specs

torch.set_num_threads(1)
SPECS = example_specs()
CASES = [
    pytest.param(name, key, id=f"{name}-{key}")
    for name in registry.names("families")
    for key, spec in SPECS.items()
    if spec.kind in getattr(registry.load("families", name), "kinds", {spec.kind})
]
VARIANTS = [
    ("mobilenet", "grey28", {"resolution": 20, "block_1": "inverted", "block_2": "separable", "kernel_2": 5}),
    ("mobilenet", "grey28", {"resolution": 14, "stages": 5, "stem_stride": 1, "residual": False}),
    ("mobilenet", "rgb24x40", {"resolution": 10, "depth_1": 3, "block_1": "inverted", "expansion_1": 1}),
    ("mobilenet", "grey8", {"resolution": 12, "stages": 1, "stem_width": 2, "width_1": 2}),
    ("resnet", "rgb24x40", {"resolution": 16, "stem_stride": 4, "stages": 4, "width_multiplier": 1.0, "depth_2": 2}),
    ("resnet", "grey8", {"stages": 4, "width": 6, "width_multiplier": 1.5}),
    ("mlp", "mixed_table", {"depth": 0}),
    ("mlp", "mixed_table", {"depth": 4, "residual": True, "width_1": 32, "batchnorm": False}),
    ("mlp", "grey8", {"depth": 5, "residual": True}),
]


def build(name: str, key: str, classes: int = 10, **params: object) -> nn.Module:
    return registry.load("families", name)().build(params, SPECS[key], classes)


@pytest.mark.parametrize("classes", [2, 100])
@pytest.mark.parametrize(("name", "key"), CASES)
def test_contract_with_defaults(name: str, key: str, classes: int) -> None:
    check_family(registry.load("families", name), SPECS[key], classes=classes)


@pytest.mark.parametrize(("name", "key", "params"), VARIANTS)
def test_contract_with_parameters(name: str, key: str, params: dict[str, object]) -> None:
    check_family(registry.load("families", name), SPECS[key], params=params)


@pytest.mark.parametrize("name", ["mobilenet", "resnet"])
@pytest.mark.parametrize("shape", [(1, 1, 64), (2, 5, 3), (3, 224, 224)], ids=str)
def test_any_picture_size_runs(name: str, shape: tuple[int, int, int]) -> None:
    spec = InputSpec("image", shape, "float32", (0.0,) * shape[0], (1.0,) * shape[0])
    net = registry.load("families", name)().build({"stages": 4}, spec, 1000).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, *shape)).shape == (1, 1000)


def test_maps_never_shrink_below_two_pixels() -> None:
    sizes = [row["size"] for row in build("mobilenet", "grey8", stages=5).blocks() if "size" in row]
    assert sizes[0] == [4, 4] and min(min(s) for s in sizes) == 2


@pytest.mark.parametrize(
    ("key", "resolution", "size"), [("grey28", 0, None), ("grey28", 28, None), ("rgb24x40", 12, [12, 20])], ids=str
)
def test_resizes_only_where_asked(key: str, resolution: int, size: list[int] | None) -> None:
    rows = build("mobilenet", key, resolution=resolution).blocks()
    assert [r["size"] for r in rows if r["kind"] == "resize"] == ([size] if size else [])


def test_sizes_in_blocks_are_the_real_ones() -> None:
    net = build("resnet", "rgb24x40", resolution=18, stem_stride=4, stages=3).eval()
    seen: list[list[int]] = []
    parts = [net.resize, net.stem, net.pool, *(b for s in net.stages for b in s)]
    for part in parts:
        part.register_forward_hook(lambda _m, _i, out: seen.append(list(out.shape[2:])))
    net(torch.zeros(1, 3, 24, 40))
    assert seen == [row["size"] for row in net.blocks() if "size" in row]


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("mobilenet", {"widht_1": 8}, "Did you mean 'width_1'?"),
        ("mobilenet", {"kernel_1": 4}, "one of 3, 5"),
        ("mobilenet", {"width_1": 8.5}, "whole number"),
        ("mobilenet", {"residual": 1}, "one of false, true"),
        ("mobilenet", {"block_2": "dense"}, "plain, inverted, separable"),
        ("mobilenet", {"resolution": 3}, "at least 4"),
        ("resnet", {"width_multiplier": float("nan")}, "from 0.5 to 4"),
        ("resnet", {"width": "wide"}, "whole number"),
        ("resnet", {"depth_1": True}, "whole number"),
        ("resnet", {"width": 0}, "from 2 to 1024"),
    ],
)
def test_bad_parameters_are_refused(name: str, params: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        registry.load("families", name)().build(params, SPECS["grey28"], 10)


def test_whole_floats_count_as_whole() -> None:
    """Some samplers propose only floats."""
    assert build("mobilenet", "grey8", width_1=8.0).stages[0][0].convs()[0].out_channels == 8


@pytest.mark.parametrize("name", ["mobilenet", "resnet"])
def test_tables_are_refused_by_picture_families(name: str) -> None:
    with pytest.raises(ConfigError, match="must be image"):
        build(name, "table")


def test_one_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        build("mlp", "table", classes=1)


@pytest.mark.parametrize(
    ("name", "key", "params"),
    [
        ("mobilenet", "grey28", {"depth_2": 2}),
        ("mobilenet", "grey28", {"block_1": "inverted", "depth_1": 2, "block_2": "separable", "block_3": "inverted"}),
        ("resnet", "rgb32", {"depth_2": 2}),
        ("mlp", "mixed_table", {}),
    ],
    ids=str,
)
def test_a_group_prunes_its_own_stage(name: str, key: str, params: dict[str, object]) -> None:
    """Half of group 2 goes; what the other groups decide stays as it was; the description follows."""
    net = build(name, key, **params).eval()
    groups = net.prune_groups()
    before = {n: [_width(m) for m in ms] for n, ms in groups.items()}
    spec = SPECS[key]
    sample = torch.randn(2, *(spec.shape if spec.kind == "image" else (flat_features(spec),)))
    pruner = tp.pruner.BasePruner(
        net,
        sample,
        importance=tp.importance.MagnitudeImportance(p=1),
        pruning_ratio=0.0,
        pruning_ratio_dict=dict.fromkeys(groups["2"], 0.5),
        ignored_layers=[net.head],
    )
    pruner.step()
    after = {n: [_width(m) for m in ms] for n, ms in net.prune_groups().items()}
    assert after.pop("2") == [w // 2 for w in before.pop("2")]
    assert after == before
    assert net(sample).shape == (2, 10)
    rows = net.blocks()
    widths = [(r["in"], r["out"]) for r in rows]
    assert all(a[1] == b[0] for a, b in pairwise(widths)), "each block reads what the last one wrote"


def _width(module: nn.Module) -> int:
    return module.out_channels if isinstance(module, nn.Conv2d) else module.out_features


class _Deaf(nn.Module):
    """A family's module with a parameter that nothing reads."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.head, self.idle = nn.Linear(features, classes), nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.flatten(1))

    def prune_groups(self) -> dict[str, list[nn.Module]]:
        return {"1": [self.head]}


def test_contract_catches_an_idle_parameter() -> None:
    with pytest.raises(AssertionError, match="'idle' got no gradient"):
        check_family(lambda p, spec, classes: _Deaf(flat_features(spec), classes), SPECS["table"])


def test_contract_catches_a_pruned_classifier() -> None:
    class Cut(_Deaf):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * self.idle

    with pytest.raises(AssertionError, match="classifier must not be pruned"):
        check_family(lambda p, spec, classes: Cut(flat_features(spec), classes), SPECS["table"])


def test_contract_catches_a_batch_dependence() -> None:
    class Mean(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x - x.mean(0))

    with pytest.raises(AssertionError, match="depend on the batch"):
        check_family(lambda p, spec, classes: Mean(flat_features(spec), classes), SPECS["table"])


def test_contract_catches_unseeded_weights() -> None:
    dice = torch.Generator()
    dice.seed()

    def build_unseeded(params: object, spec: InputSpec, classes: int) -> nn.Module:
        net = nn.Linear(flat_features(spec), classes)
        net.weight.data = torch.rand(net.weight.shape, generator=dice)
        return net

    with pytest.raises(AssertionError, match="'weight' differs"):
        check_family(build_unseeded, SPECS["table"])
