"""How much a channel matters: what torch-pruning asks of an importance, on top of its groups of coupled layers."""

from __future__ import annotations

from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from autokd.compression.layers import CONVOLUTIONS, NORMS
from autokd.errors import StageFailure


class L1:
    """L1 norm of a channel's weights times the absolute scale of its batch norm (Li et al. 2017; Liu et al. 2017)."""

    needs_gradients = False

    def scorer(self) -> L1Scorer:
        return L1Scorer()


class Taylor:
    """First-order Taylor estimate of what the loss would change without the channel (Molchanov et al. 2019)."""

    needs_gradients = True

    def scorer(self) -> TaylorScorer:
        return TaylorScorer()


class L1Scorer(tp.importance.Importance):
    """``|gamma| sum |w|`` of each output channel, each layer's mean set to 1, averaged over the coupled layers.

    H. Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, https://arxiv.org/abs/1608.08710, and Z. Liu et
    al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017,
    https://arxiv.org/abs/1708.06519.
    """

    @torch.no_grad()
    def __call__(self, group: Any) -> torch.Tensor | None:
        """Scores ``(C,) float32`` of the group's root channels; ``None`` for a group without weights."""
        scales = {d.source.module: d.target.module for d, _ in group if isinstance(d.target.module, NORMS)}
        total = None
        for item in outputs(group):
            layer, idxs = item.dep.target.module, item.idxs
            score = rows(layer, layer.weight)[idxs].abs().sum(1).float()
            norm = scales.get(layer)
            if norm is not None and norm.weight is not None:
                score = score * norm.weight[idxs].abs()
            total = _add(total, score / score.mean().clamp_min(1e-12), item.root_idxs)
        return total


class TaylorScorer(tp.importance.Importance):
    """``(sum g w)^2`` over all parameters of a channel: convolution, bias and batch norm of every coupled layer.

    P. Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019,
    https://arxiv.org/abs/1906.10771, equation 8.
    """

    @torch.no_grad()
    def __call__(self, group: Any) -> torch.Tensor | None:
        """Scores ``(C,) float32`` of the group's root channels; ``None`` for a group without weights.

        Raises:
            StageFailure: A parameter has no gradient.
        """
        total = None
        for item in outputs(group, norms=True):
            layer, idxs = item.dep.target.module, item.idxs
            for name, parameter in layer.named_parameters(recurse=False):
                if parameter.grad is None:
                    raise StageFailure(
                        "prune", "error", f"taylor needs gradients, but {type(layer).__name__}.{name} has none"
                    )
                change = rows(layer, parameter * parameter.grad)[idxs].sum(1).float()
                total = _add(total, change, item.root_idxs)
        return None if total is None else total.square()


def outputs(group: Any, norms: bool = False) -> list[Any]:
    """The group's items that prune output channels of a layer with weights (of an affine norm too, if asked)."""
    kinds = (*CONVOLUTIONS, nn.Linear, *NORMS) if norms else (*CONVOLUTIONS, nn.Linear)
    found = []
    for item in group.items:
        layer = item.dep.target.module
        graph = group._DG  # a group has no public name for the graph that it is of
        if isinstance(layer, kinds) and layer.weight is not None and graph.is_out_channel_pruning_fn(item.dep.handler):
            found.append(item)
    return found


def rows(layer: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Values shaped like a parameter of ``layer`` as ``(output channels, rest)``."""
    if getattr(layer, "transposed", False) and values.ndim > 1:
        values = values.transpose(0, 1)
    return values.reshape(len(values), -1)


def _add(total: torch.Tensor | None, score: torch.Tensor, root_idxs: list[int]) -> torch.Tensor:
    at = torch.tensor(root_idxs, device=score.device)
    if total is None:
        total = torch.zeros(int(at.max()) + 1, device=score.device)
    return total.index_add_(0, at, score)
