"""The first convolution as whitening filters: white on real patches, the same each time, and left alone where it should be."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from autokd.protocols import InputSpec
from autokd.students.build import build_module
from autokd.students.raw_input import RawInput
from autokd.students.whitening import first_convolution, whiten_stem
from autokd.testing.families import example_specs

DIGITS = torch.from_numpy(load_digits().images[:, None]).float()
GREY = InputSpec("image", (1, 8, 8), "float32", (4.9,), (6.0,), 0.0, 16.0)


def pictures(spec: InputSpec, count: int = 40) -> Tensor:
    """Random walks along both axes: neighbours are alike, as in photographs; in the range of the spec."""
    noise = torch.randn(count, *spec.shape, generator=torch.Generator().manual_seed(0))
    smooth = noise.cumsum(2).cumsum(3) / (spec.shape[1] * spec.shape[2]) ** 0.5 + noise[:, :1] / 3
    spread = (smooth - smooth.min()) / (smooth.max() - smooth.min()) * (spec.high - spec.low) + spec.low
    return spread.to(getattr(torch, spec.dtype))


def student(spec: InputSpec = GREY, seed: int = 0, family: str = "mobilenet", **params: int) -> RawInput:
    return build_module(family, params, spec, 10, seed)


def outputs(net: nn.Module, raw: Tensor) -> Tensor:
    """What the filters of the first convolution say to whole patches: ``(filters, patches)``."""
    seen = first_convolution(net, raw)
    assert seen is not None
    with torch.no_grad():
        said = nn.functional.conv2d(seen.inputs, seen.layer.weight, dilation=seen.layer.dilation)
    return said.transpose(0, 1).flatten(1)


@pytest.mark.parametrize("width", [2, 5, 12, 18], ids="width {}".format)
def test_outputs_on_real_patches_are_white(width: int) -> None:
    net = student(stem_width=width)
    assert whiten_stem(net, DIGITS, student(seed=1, stem_width=width)) == width // 2 * 2
    half = width // 2
    said = outputs(net, DIGITS)
    assert torch.allclose(torch.cov(said[:half]).reshape(half, half), torch.eye(half), atol=1e-3)
    assert torch.equal(said[half : 2 * half], -said[:half]), "the second half are the negatives"


@pytest.mark.parametrize(
    ("family", "params"),
    [("mobilenet", {}), ("mobilenet", {"resolution": 12}), ("resnet", {"stem_stride": 4})],
    ids=str,
)
@pytest.mark.parametrize("key", ["grey8", "grey28", "rgb32", "rgb24x40", "rgb224"])
def test_any_picture_and_any_family(family: str, params: dict[str, int], key: str) -> None:
    large = InputSpec("image", (3, 224, 224), "uint8", (125.0,) * 3, (63.0,) * 3, 0.0, 255.0)
    spec = (example_specs() | {"rgb224": large})[key]
    raw = pictures(spec, 4 if key == "rgb224" else 40)
    net = student(spec, 0, family, **params)
    count = whiten_stem(net, raw, student(spec, 1, family, **params))
    covariance = torch.cov(outputs(net, raw)[: count // 2])
    assert count == 16
    assert torch.allclose(covariance, torch.eye(count // 2), atol=0.02)


def test_filters_see_what_the_net_sees() -> None:
    """After normalisation and the resize inside the graph."""
    net = student(resolution=4)
    seen = first_convolution(net, DIGITS[:70])
    assert seen is not None and seen.layer is net.model.stem.body.conv
    assert torch.allclose(seen.inputs, net.model.resize(net.prepare(DIGITS[:70])))


def test_filters_beyond_the_patch_space_stay() -> None:
    net, before, twin = (student(seed=s, stem_width=24) for s in (0, 0, 1))
    count = whiten_stem(net, DIGITS, twin)
    assert count == 18, "nine directions of a grey 3x3 patch"
    weight, was = net.state_dict(), before.state_dict()
    changed = {name for name in was if not torch.equal(weight[name], was[name])}
    assert changed == {"model.stem.body.conv.weight"}
    assert torch.equal(weight["model.stem.body.conv.weight"][count:], was["model.stem.body.conv.weight"][count:])


def test_the_same_samples_give_the_same_filters() -> None:
    nets = [student(seed=s) for s in (0, 5)]
    for net in nets:
        whiten_stem(net, DIGITS[:500], student(seed=9))
    first, second = (net.model.stem.body.conv.weight for net in nets)
    assert torch.equal(first, second)
    whiten_stem(nets[1], DIGITS[500:1000], student(seed=9))
    assert not torch.equal(first, second)


def test_three_equal_channels_are_one() -> None:
    """Grey pictures stored as colour: the differences of channels are no directions."""
    spec = InputSpec("image", (3, 8, 8), "float32", (4.9,) * 3, (6.0,) * 3, 0.0, 16.0)
    net = student(spec, stem_width=32)
    assert whiten_stem(net, DIGITS.expand(-1, 3, -1, -1), student(spec, 1, stem_width=32)) == 18
    assert torch.isfinite(net.model.stem.body.conv.weight).all()


class Own(nn.Module):
    """A person's own net around a first layer."""

    def __init__(self, layer: nn.Module, *more: nn.Module) -> None:
        super().__init__()
        self.parts = nn.Sequential(layer, *more)

    def forward(self, x: Tensor) -> Tensor:
        return self.parts(x).flatten(1)[:, :2]


def conv(seed: int, *arguments: int, **more: int) -> nn.Conv2d:
    torch.manual_seed(seed)
    return nn.Conv2d(*arguments, **more)


def test_a_net_of_ones_own_is_whitened_where_its_first_convolution_runs() -> None:
    nets = [Own(nn.Dropout(0.5), conv(s, 1, 6, 5, dilation=1, padding=2), nn.Conv2d(6, 2, 3)) for s in (0, 1)]
    later = nets[0].parts[2].weight.clone()
    assert whiten_stem(nets[0], DIGITS, nets[1]) == 6
    assert torch.allclose(torch.cov(outputs(nets[0], DIGITS)[:3]), torch.eye(3), atol=1e-3)
    assert torch.equal(nets[0].parts[2].weight, later) and nets[0].training


def pretrained(seed: int) -> nn.Module:
    layer = conv(7, 1, 4, 3)
    return Own(layer, conv(seed, 4, 2, 3))


def frozen(seed: int) -> nn.Module:
    return Own(conv(seed, 1, 4, 3).requires_grad_(False))


class Unused(nn.Module):
    """A convolution that never runs."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.layer = conv(seed, 1, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :2]


LEFT_ALONE = {
    "no convolution": lambda seed: student(seed=seed, family="mlp"),
    "one that never runs": Unused,
    "weights that were put there": pretrained,
    "frozen": frozen,
    "groups": lambda seed: Own(nn.Upsample(scale_factor=2), nn.Identity(), _grouped(seed)),
    "computed weights": lambda seed: Own(parametrizations.weight_norm(conv(seed, 1, 4, 3))),
    "a patch larger than the picture": lambda seed: Own(conv(seed, 1, 4, 11, padding=5)),
    "one filter": lambda seed: Own(conv(seed, 1, 1, 3)),
}


def _grouped(seed: int) -> nn.Module:
    return nn.Sequential(nn.PixelUnshuffle(2), conv(seed, 4, 4, 3, groups=2))


@pytest.mark.parametrize("make", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_what_is_left_alone(make: object) -> None:
    net, twin = make(0), make(1)  # type: ignore[operator]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert whiten_stem(net, DIGITS[:100], twin) == 0
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net(DIGITS[:3]).shape[0] == 3, "no hook is left behind"


def test_pictures_without_any_contrast_are_no_guide() -> None:
    assert whiten_stem(student(), torch.full((20, 1, 8, 8), 3.0), student(seed=1)) == 0
