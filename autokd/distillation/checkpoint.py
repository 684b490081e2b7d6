"""An interrupted training, on disk: one safetensors file, its scalars as JSON in the header; nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from autokd.errors import StorageError
from autokd.files import write_atomic


@dataclass(frozen=True)
class Checkpoint:
    """What was read back: ``tensors`` by prefixed name, and the ``scalars`` that were given to :func:`save`."""

    tensors: Mapping[str, torch.Tensor]
    scalars: Mapping[str, Any]


def save(
    path: Path,
    key: str,
    nets: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    scalars: Mapping[str, Any],
    **more: torch.Tensor,
) -> None:
    """Writes every net's weights and optimizer state, random state, ``more`` tensors and ``scalars`` in one atomic step.

    One file, so that weights and scalars can never belong to different moments.

    Raises:
        StorageError: The disk is full or read-only.
    """
    tensors = {
        f"net.{net}.{name}": value for net, module in nets.items() for name, value in module.state_dict().items()
    }
    for net, optimizer in optimizers.items():
        tensors |= {f"optim.{net}.{i}.{name}": value for i, name, value in _state(optimizer)}
    tensors |= {f"more.{name}": value for name, value in more.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    device = _device(nets)
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    # cloned: safetensors takes neither shared nor strided storage, and tied weights share theirs
    flat = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    data = to_bytes(flat, metadata={"key": key, "scalars": json.dumps(dict(scalars))})
    try:
        write_atomic(path, data)
    except OSError as error:
        raise StorageError(
            "The disk must take a checkpoint", f"{path}: {error.strerror}", "Free some space."
        ) from error


def load(path: Path, key: str) -> Checkpoint | None:
    """The checkpoint at ``path``, or ``None`` when there is none, it is damaged, or belongs to another training."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("key") != key:
                return None
            return Checkpoint({name: file.get_tensor(name) for name in file.keys()}, json.loads(header["scalars"]))  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError):
        return None


def restore(
    checkpoint: Checkpoint, nets: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> None:
    """Puts weights, optimizer state and random state back, bit for bit."""
    tensors = checkpoint.tensors
    for net, module in nets.items():
        prefix = f"net.{net}."
        module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    for net, optimizer in optimizers.items():
        for index, parameter in enumerate(_parameters(optimizer)):
            prefix = f"optim.{net}.{index}."
            for name in [n for n in tensors if n.startswith(prefix)]:
                value = tensors[name]
                # fused kernels walk raw memory: the state must lie in the parameter's own memory format
                own = torch.empty_like(parameter if value.ndim else value, device=parameter.device, requires_grad=False)
                optimizer.state[parameter][name.removeprefix(prefix)] = own.copy_(value)
    torch.set_rng_state(tensors["random.cpu"])
    device = _device(nets)
    if device.type == "cuda" and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"], device)


def _device(nets: Mapping[str, nn.Module]) -> torch.device:
    return next(p for net in nets.values() for p in net.parameters()).device


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _state(optimizer: torch.optim.Optimizer) -> Iterator[tuple[int, str, torch.Tensor]]:
    for index, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                yield index, name, value
