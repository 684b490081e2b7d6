"""Fully connected students for tables, and for images that are small enough to flatten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, ClassVar, cast

import torch.nn.functional as F
from torch import Tensor, nn

from autokd.protocols import InputSpec
from autokd.students.params import FLAG, Real, Rule, Settings, Whole, check_task
from autokd.students.raw_input import flat_features
from autokd.trial import ParamValue

_LAYERS = range(1, 6)
_RULES: dict[str, Rule] = {
    "depth": Whole(0, 5),
    "batchnorm": FLAG,
    "residual": FLAG,
    "dropout": Real(0, 0.9),
    **{f"width_{i}": Whole(2, 8192) for i in _LAYERS},
}


class MLP:
    """Multi-layer perceptron for tables; images are flattened. ``depth`` counts hidden layers, 0 is a linear model."""

    kinds: ClassVar[frozenset[str]] = frozenset({"tabular", "image"})
    defaults: ClassVar[Mapping[str, ParamValue]] = {
        "depth": 2,
        "batchnorm": True,
        "residual": False,
        "dropout": 0.0,
        **{f"width_{i}": 64 for i in _LAYERS},
    }

    roots: ClassVar[tuple[Mapping[str, ParamValue], ...]] = tuple(
        {"depth": 2, "batchnorm": True, "width_1": width, "width_2": width // 2, "dropout": 0.0}
        for width in (64, 128, 256)
    )

    def build(self, params: Mapping[str, ParamValue], spec: InputSpec, classes: int) -> Perceptron:
        """An untrained net for ``spec``.

        Raises:
            ConfigError: Unknown parameter or forbidden value.
        """
        check_task("mlp", self.kinds, spec, classes)
        s = Settings("mlp", self.defaults, _RULES, params)
        widths = [flat_features(spec), *(s.whole(f"width_{i}") for i in range(1, s.whole("depth") + 1))]
        layers = [
            Layer(a, b, s.flag("batchnorm"), s.flag("residual") and i > 0, s.real("dropout"))
            for i, (a, b) in enumerate(pairwise(widths))
        ]
        return Perceptron(layers, widths[-1], classes)


class Layer(nn.Module):
    """``(N, in)`` to ``(N, out)``: ``dropout(relu(norm(linear(x)) + x))``, the ``+ x`` only where the width stays."""

    def __init__(self, inputs: int, outputs: int, norm: bool, residual: bool, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=not norm)
        self.norm = nn.BatchNorm1d(outputs) if norm else None
        self.dropout = nn.Dropout(dropout) if dropout > 0 else None
        self.residual = residual and inputs == outputs
        nn.init.kaiming_normal_(self.linear.weight, nonlinearity="relu")
        if self.linear.bias is not None:
            nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        out = self.linear(x)
        if self.norm is not None:
            out = self.norm(out)
        out = F.relu(out + x if self.residual else out)
        return out if self.dropout is None else self.dropout(out)


class Perceptron(nn.Module):
    """Hidden layers and a linear classifier."""

    def __init__(self, layers: list[Layer], width: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(width, classes)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, D)`` or ``(N, C, H, W)`` normalised float32 to ``(N, classes)`` logits."""
        if x.dim() > 2:
            x = x.flatten(1)
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(x)
        return logits

    def prune_groups(self) -> dict[str, list[nn.Module]]:
        """Hidden layer i is group ``"i"``; one that a shortcut ties to layers before it joins their group."""
        groups: dict[str, list[nn.Module]] = {}
        owner = ""
        for number, layer in enumerate(self._layers(), start=1):
            owner = owner if layer.residual else str(number)
            groups.setdefault(owner, []).append(layer.linear)
        return groups

    def blocks(self) -> list[dict[str, Any]]:
        """The layers in order, with their widths as they are now. Plain JSON values."""
        rows: list[dict[str, Any]] = [
            {
                "name": str(number),
                "kind": "linear",
                "in": layer.linear.in_features,
                "out": layer.linear.out_features,
                "residual": layer.residual,
            }
            for number, layer in enumerate(self._layers(), start=1)
        ]
        return [*rows, {"name": "head", "kind": "linear", "in": self.head.in_features, "out": self.head.out_features}]

    def _layers(self) -> list[Layer]:
        return list(cast(Iterable[Layer], self.layers))
