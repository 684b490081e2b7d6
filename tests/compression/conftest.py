"""Small networks of every block kind, and one trained on digits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from autokd.protocols import InputSpec

torch.set_num_threads(1)


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.conv(x)) + x)


class Inverted(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.expand = conv(channels, hidden, 1)
        self.depth = conv(hidden, hidden, 3, groups=hidden)
        self.project = nn.Sequential(nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.project(self.depth(self.expand(x)))


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


NETS: dict[str, Callable[[], nn.Sequential]] = {
    "plain": lambda: nn.Sequential(conv(1, 16), conv(16, 32, stride=2), *head(32)),
    "residual": lambda: nn.Sequential(conv(1, 16), Residual(16), conv(16, 24, stride=2), Residual(24), *head(24)),
    "depthwise": lambda: nn.Sequential(conv(1, 16), conv(16, 16, groups=16), conv(16, 32, 1), *head(32)),
    "inverted": lambda: nn.Sequential(conv(1, 16), Inverted(16, 48), Inverted(16, 32), *head(16)),
    "grouped": lambda: nn.Sequential(conv(1, 16), conv(16, 32, groups=2), *head(32)),
    "mlp": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
    ),
}


class Raw(nn.Module):
    """Digits as they are stored, 0-16, normalised inside."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body((x.float() - 4.9) / 6.0)


@pytest.fixture
def make_net() -> Callable[..., nn.Sequential]:
    """A network by kind and seed, batch norms with the statistics of a trained one."""

    def make(kind: str, seed: int = 0) -> nn.Sequential:
        torch.manual_seed(seed)
        net = NETS[kind]()
        for m in net.modules():
            if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
                assert m.running_mean is not None and m.running_var is not None
                m.running_mean.uniform_(-0.2, 0.2)
                m.running_var.uniform_(0.5, 1.5)
                nn.init.uniform_(m.weight, 0.5, 1.5)
                nn.init.uniform_(m.bias, -0.2, 0.2)
        return net.eval()

    return make


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Inputs ``(1797, 1, 8, 8) uint8`` and targets."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    return data.images[order, None].astype(np.uint8), data.target[order].astype(np.int64)


@pytest.fixture(scope="session")
def digits_spec() -> InputSpec:
    return InputSpec("image", (1, 8, 8), "uint8", (4.9,), (6.0,), 0, 16)


@pytest.fixture(scope="session")
def trained(digits: tuple[np.ndarray, np.ndarray]) -> nn.Module:
    """A residual network that reads raw digits, trained for about two seconds on the first 1,200."""
    torch.manual_seed(0)
    model = Raw(NETS["residual"]())
    x, y = (torch.from_numpy(a[:1200]) for a in digits)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
    for _ in range(6):
        for batch in torch.randperm(1200).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
    return model.eval()


@pytest.fixture(scope="session")
def raw() -> Callable[[nn.Module], nn.Module]:
    """Wraps a network so that it reads raw digits."""
    return Raw
