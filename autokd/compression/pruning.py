"""Structured pruning: whole channels removed, every layer coupled to them included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from autokd.compression.importance import L1, Taylor
from autokd.compression.layers import CONVOLUTIONS, Convolution
from autokd.compression.shrinking import shrink_to
from autokd.errors import StageFailure
from autokd.protocols import Importance

__all__ = ["L1", "Taylor", "channels_left", "default_groups", "prune", "shares", "shrink_to", "width_left"]


def prune(
    model: nn.Module,
    example: torch.Tensor,
    groups: Mapping[str, Sequence[nn.Module]],
    ratios: Mapping[str, float],
    importance: Importance,
    gradients: Callable[[nn.Module], None] | None = None,
    round_to: int = 4,
    ignored: Sequence[nn.Module] = (),
) -> None:
    """Removes the least important channels of each group's layers, in place.

    Layers whose outputs are added (residuals) or passed on channel by channel (depthwise) lose the same channels;
    where they belong to several groups, the smallest ratio counts. How many channels a layer keeps depends on its
    width, the ratio and ``round_to`` only, never on the weights, so an untrained model takes exactly the shape of the
    trained one. Follows G. Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023,
    https://arxiv.org/abs/2301.12900.

    Args:
        model: Any module that torch-pruning can trace.
        example: A batch that ``model`` reads.
        groups: Layers, or blocks that hold them, by group name; without groups see :func:`default_groups`.
        ratios: Share of the channels to remove, by group name, in [0, 1).
        importance: Which channels go first.
        gradients: Fills the parameters' ``grad``; needed where ``importance.needs_gradients``.
        round_to: Widths are rounded to the nearest multiple; a width that is smaller already stays.
        ignored: Layers whose output stays, such as the classifier head.

    Raises:
        StageFailure: A ratio outside [0, 1), an unknown group, missing gradients, or a model that cannot be traced.
    """
    share = shares(groups, ratios)
    if not any(share.values()):
        return
    with _prepared(model):
        if importance.needs_gradients:
            if gradients is None:
                raise StageFailure(
                    "prune", "error", f"{type(importance).__name__} needs gradients, but none were given"
                )
            model.zero_grad(set_to_none=True)
            gradients(model)
        model.eval()  # a batch of one must pass the batch norms
        try:
            with torch.enable_grad():
                graph = tp.DependencyGraph().build_dependency(model, example_inputs=example)
            cuts = list(_cuts(graph, share, importance.scorer(), round_to, ignored))
            for cut in cuts:
                graph.get_pruning_group(cut.layer, cut.function, cut.channels).prune()
        except StageFailure:
            raise
        except Exception as error:
            raise StageFailure("prune", "error", f"torch-pruning cannot prune this model: {error}") from error
        model.zero_grad(set_to_none=True)


def default_groups(model: nn.Module) -> dict[str, list[nn.Module]]:
    """The groups of a model that names none: every convolution and linear layer but the last, as ``"all"``."""
    layers: list[nn.Module] = [m for m in model.modules() if isinstance(m, (*CONVOLUTIONS, nn.Linear))]
    return {"all": layers[:-1]}


def channels_left(channels: int, ratio: float, round_to: int) -> int:
    """How many of ``channels`` stay: the nearest multiple of ``round_to``, at least one of them."""
    if ratio == 0 or channels <= round_to:
        return channels
    multiples = int(channels * (1 - ratio) / round_to + 0.5)
    return min(channels, max(1, multiples) * round_to)


def width_left(share: Mapping[nn.Module, float], coupled: Sequence[nn.Module], channels: int, round_to: int = 4) -> int:
    """How many channels :func:`prune` leaves where no grouped convolution is passed, known without a model in memory.

    Args:
        share: The ratio of every layer, from :func:`shares`.
        coupled: The layers that lose the same channels.
        channels: How many they have.
        round_to: As for :func:`prune`.
    """
    ratios = [share[layer] for layer in coupled if layer in share]
    return channels_left(channels, min(ratios, default=0.0), round_to)


@dataclass(frozen=True)
class _Cut:
    layer: nn.Module
    function: Any
    channels: list[int]


def shares(groups: Mapping[str, Sequence[nn.Module]], ratios: Mapping[str, float]) -> dict[nn.Module, float]:
    """The ratio of every layer that a group names.

    Raises:
        StageFailure: A ratio outside [0, 1), or an unknown group.
    """
    unknown = sorted(set(ratios) - set(groups))
    if unknown:
        raise StageFailure(
            "prune", "error", f"the model has no group {unknown[0]!r}; it has {', '.join(sorted(groups)) or 'none'}"
        )
    share: dict[nn.Module, float] = {}
    for name, ratio in ratios.items():
        if not 0 <= ratio < 1:
            raise StageFailure("prune", "error", f"0 <= ratio < 1 must hold, but got {ratio} for group {name!r}")
        for block in groups[name]:
            for layer in block.modules():
                if isinstance(layer, (*CONVOLUTIONS, nn.Linear)):
                    share[layer] = min(ratio, share.get(layer, 1.0))
    return share


def _cuts(
    graph: Any, share: Mapping[nn.Module, float], scorer: Any, round_to: int, ignored: Sequence[nn.Module]
) -> Iterator[_Cut]:
    """What to remove, decided for all groups before anything is removed."""
    kept = [m for block in ignored for m in block.modules()]
    for group in graph.get_all_groups(ignored_layers=kept, root_module_types=(*CONVOLUTIONS, nn.Linear)):
        coupled = [d.target.module for d, _ in group if graph.is_out_channel_pruning_fn(d.handler)]
        ratios = [share[m] for m in coupled if m in share]
        root = group[0].dep
        if not ratios or min(ratios) == 0:
            continue
        repeats = max((m.groups for m in _grouped(group)), default=1)
        channels = len(group[0].idxs)
        width = channels // repeats
        # a grouped convolution keeps its number of groups, so every group of channels loses the same ones
        left = channels_left(width, min(ratios), max(1, round_to // repeats))
        score = scorer(group)
        if left == width or score is None:
            continue
        score = score.reshape(repeats, width).mean(0)
        drop = torch.argsort(score, stable=True)[: width - left].sort().values.tolist()
        yield _Cut(root.target.module, root.handler, [c + r * width for r in range(repeats) for c in drop])


def _grouped(group: Any) -> Iterator[Convolution]:
    """Grouped convolutions, depthwise ones left out, that the group passes through."""
    for dep, _ in group:
        layer = dep.target.module
        if isinstance(layer, CONVOLUTIONS) and 1 < layer.groups < layer.out_channels:
            yield layer


@contextmanager
def _prepared(model: nn.Module) -> Iterator[None]:
    """Every parameter takes part in the trace inside; modes and frozen parameters as before afterwards."""
    modes = {m: m.training for m in model.modules()}
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    model.requires_grad_(True)
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name not in frozen)
