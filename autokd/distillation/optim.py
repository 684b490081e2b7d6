"""The optimizer of a recipe and its one-cycle learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from autokd.errors import ConfigError, nearest
from autokd.protocols import Recipe

WARM_UP = 0.25
START = 1 / 25  # of the peak rate
OPTIMIZERS = ("sgd", "adamw")
PRECISIONS = ("float32", "bfloat16")


def one_cycle(step: int, steps: int, peak: float) -> float:
    """Learning rate of ``step`` (0-based) of ``steps``: a quarter of linear warm-up to ``peak``, then a cosine to 0.

    Taken at the middle of the step, so that no step is wasted on a rate of 0. Leslie N. Smith, Nicholay Topin:
    "Super-Convergence", 2018, https://arxiv.org/abs/1708.07120.
    """
    done = (step + 0.5) / steps
    if done < WARM_UP:
        return peak * (START + (1 - START) * done / WARM_UP)
    return peak * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every parameter group the learning rate ``rate``."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def build(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum .9, or AdamW; weight decay spares biases and norms.

    Raises:
        ConfigError: An optimizer, rate, batch size, sample count, weight decay or precision that cannot be.
    """
    for name, value in (("lr", recipe.lr), ("batch_size", recipe.batch_size), ("samples", recipe.samples)):
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"training.{name} must be above 0", repr(value))
    if not (math.isfinite(recipe.weight_decay) and recipe.weight_decay >= 0):
        raise ConfigError("training.weight_decay must be at least 0", repr(recipe.weight_decay))
    if recipe.precision not in PRECISIONS:
        law = "training.precision must be one of " + ", ".join(PRECISIONS)
        raise ConfigError(law, repr(recipe.precision), nearest(str(recipe.precision), PRECISIONS))
    groups = _groups(model, recipe.weight_decay)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, nesterov=True, fused=True)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)
    raise ConfigError(
        "training.optimizer must be one of " + ", ".join(OPTIMIZERS),
        repr(recipe.optimizer),
        nearest(str(recipe.optimizer), OPTIMIZERS),
    )


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    free: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (free if parameter.ndim <= 1 or name.endswith("bias") else decayed).append(parameter)
    groups: list[dict[str, object]] = []
    for members, decay in ((decayed, weight_decay), (free, 0.0)):
        if members:
            groups.append({"params": members, "weight_decay": decay})
    return groups
