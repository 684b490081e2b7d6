"""The contract of a pruner's importance: ``check_importance(factory)`` raises AssertionError with what is wrong, or returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from autokd.protocols import Importance

CHANNELS, WEAK = 8, 5
"""Of the convolution that is looked at; the channel that hardly does anything."""


def check_importance(factory: Callable[[], Importance], *, informed: bool = True) -> None:
    """What pruning relies on, on a little net with one channel that hardly does anything.

    One finite score a channel; equal calls give equal scores; weights stay as they are; and, unless it is a baseline that
    looks at nothing, the idle channel comes last.

    Args:
        factory: Makes an instance.
        informed: It looks at weights or gradients.

    Raises:
        AssertionError: The first clause that does not hold.
    """
    importance = factory()
    assert isinstance(importance.needs_gradients, bool), "needs_gradients must say whether a backward pass comes first"
    model = _net(importance.needs_gradients)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scores, again = (_scores(importance, model) for _ in range(2))
    assert scores.shape == (CHANNELS,), f"there must be one score a channel, but got shape {tuple(scores.shape)}"
    assert bool(torch.isfinite(scores).all()), "scores must be finite"
    assert torch.equal(scores, again), "equal calls must give equal scores"
    unchanged = all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert unchanged, "the weights must stay as they are"
    if informed:
        least = int(scores.argmin())
        assert least == WEAK, f"the channel that hardly does anything must matter least, but channel {least} does"


def _net(gradients: bool) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, CHANNELS, 3),
            nn.BatchNorm2d(CHANNELS),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(CHANNELS * 36, 3),
        )
        x = torch.randn(4, 1, 8, 8)
    weak = slice(WEAK * 36, (WEAK + 1) * 36)
    with torch.no_grad():
        model.get_parameter("0.weight")[WEAK] *= 1e-4
        model.get_parameter("4.weight")[:, weak] *= 1e-4
    if gradients:
        nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 0])).backward()
    return model


def _scores(importance: Importance, model: nn.Sequential) -> torch.Tensor:
    graph = tp.DependencyGraph().build_dependency(model.eval(), torch.zeros(4, 1, 8, 8))
    group: Any = graph.get_pruning_group(model[0], tp.prune_conv_out_channels, list(range(CHANNELS)))
    found = importance.scorer()(group)
    assert isinstance(found, torch.Tensor), f"a group with weights must get scores, but got {type(found).__name__}"
    return found.detach()
