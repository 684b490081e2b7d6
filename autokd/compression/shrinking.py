"""A freshly built model given the narrower shapes of a pruned one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from autokd.compression.layers import CONVOLUTIONS, NORMS
from autokd.errors import StageFailure


def shrink_to(model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Loads a pruned model's weights into its unpruned architecture, narrowing every layer on the way; in place.

    Args:
        model: As its family builds it.
        state: As saved by safetensors; every name of the model's state dict, each no larger than the model's own.

    Raises:
        StageFailure: Names differ, or a shape cannot come from pruning this model.
    """
    own = model.state_dict()
    differing = sorted(set(own).symmetric_difference(state))
    if differing:
        raise StageFailure(
            "prune", "error", f"saved weights must have the model's names, but differ in {', '.join(differing[:5])}"
        )
    for name, value in state.items():
        large, small = tuple(own[name].shape), tuple(value.shape)
        kernel_changed = (
            len(large) > 2 and len(small) == len(large) and large[2:] != small[2:] and _is_kernel(model, name)
        )
        if len(large) != len(small) or any(s > m for s, m in zip(small, large, strict=True)) or kernel_changed:
            raise StageFailure("prune", "error", f"{name} must fit into {large}, but the saved one is {small}")
    for prefix, module in model.named_modules():
        for key, parameter in list(module.named_parameters(recurse=False)):
            value = state[f"{prefix}.{key}" if prefix else key]
            if value.shape != parameter.shape:
                module.register_parameter(key, nn.Parameter(parameter.new_empty(value.shape), parameter.requires_grad))
        for key, buffer in list(module.named_buffers(recurse=False)):
            name = f"{prefix}.{key}" if prefix else key
            if name in state and state[name].shape != buffer.shape:
                setattr(module, key, buffer.new_empty(state[name].shape))
        _set_widths(module)
    model.load_state_dict(dict(state))


def _is_kernel(model: nn.Module, name: str) -> bool:
    return isinstance(model.get_submodule(name.rpartition(".")[0]), CONVOLUTIONS)


def _set_widths(module: nn.Module) -> None:
    """Makes a layer's declared widths those of its parameters."""
    if isinstance(module, CONVOLUTIONS):
        first, second = module.weight.shape[:2]
        if module.groups > 1 and module.groups == module.in_channels == module.out_channels:
            module.groups = module.in_channels = module.out_channels = first  # depthwise: a group a channel
        elif module.transposed:
            module.in_channels, module.out_channels = first, second * module.groups
        else:
            module.out_channels, module.in_channels = first, second * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, NORMS) and (module.weight is not None or module.running_mean is not None):
        module.num_features = len(module.weight if module.weight is not None else module.running_mean)
    elif isinstance(module, nn.GroupNorm) and module.weight is not None:
        module.num_channels = len(module.weight)
    elif isinstance(module, nn.LayerNorm) and module.weight is not None:
        module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
    elif isinstance(module, nn.Embedding):
        module.num_embeddings, module.embedding_dim = module.weight.shape
