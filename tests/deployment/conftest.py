"""Small models that read raw values, and their input specs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autokd.protocols import InputSpec

torch.set_num_threads(1)

IMAGE = InputSpec("image", (1, 8, 8), "uint8", (4.9,), (6.0,), 0, 16)
RGB = InputSpec("image", (3, 20, 12), "float32", (0.4, 0.5, 0.6), (0.2, 0.2, 0.3))
TABLE = InputSpec("tabular", (6,), "float32", (0.0,) * 6, (1.0,) * 6, features=tuple("abcdef"))


class Picture(nn.Module):
    """Normalises, resizes if asked, and runs a small residual network."""

    def __init__(self, spec: InputSpec, classes: int, size: tuple[int, int] | None = None) -> None:
        super().__init__()
        channels = spec.shape[0]
        self.size = size
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(spec.std).view(1, -1, 1, 1))
        self.stem = nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x.float() - self.mean) / self.std
        if self.size is not None:
            x = F.interpolate(x, size=self.size, mode="bilinear", align_corners=False)
        x = self.stem(x)
        x = torch.relu(self.block(x) + x)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Table(nn.Module):
    """A linear layer, batch norm, a linear layer, with Python reshapes on the way."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Linear(16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.norm(self.first(x.view(x.size(0), -1)))))


@pytest.fixture
def make_model() -> Callable[..., tuple[nn.Module, InputSpec, list[str]]]:
    """(model, spec, classes) by kind and seed."""

    def make(kind: str, seed: int = 0) -> tuple[nn.Module, InputSpec, list[str]]:
        torch.manual_seed(seed)
        model: nn.Module
        if kind == "table":
            model, spec, classes = Table(), TABLE, ["no", "yes", "perhaps"]
        elif kind == "rgb":
            model, spec, classes = Picture(RGB, 4), RGB, ["cat", "dog", "Käfer", "鳥"]
        else:
            size = (11, 7) if kind == "resized" else None
            model, spec, classes = Picture(IMAGE, 10, size), IMAGE, [str(i) for i in range(10)]
        for m in model.modules():
            if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
                assert m.running_mean is not None and m.running_var is not None
                m.running_mean.uniform_(-0.5, 0.5)
                m.running_var.uniform_(0.5, 1.5)
                nn.init.uniform_(m.weight, 0.5, 1.5)
                nn.init.uniform_(m.bias, -0.5, 0.5)
        return model, spec, classes

    return make


@pytest.fixture
def sample() -> Callable[[InputSpec, int], torch.Tensor]:
    """Raw random values of a spec."""

    def draw(spec: InputSpec, n: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        if spec.dtype == "uint8":
            return torch.randint(0, int(spec.high) + 1, (n, *spec.shape), generator=generator, dtype=torch.uint8)
        return torch.rand((n, *spec.shape), generator=generator)

    return draw
