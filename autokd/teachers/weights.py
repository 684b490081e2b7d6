"""Weights from a file into a module, without unpickling anything."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from autokd.errors import TeacherError, first_line

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights")
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and torch.compile


def read(path: Path) -> dict[str, torch.Tensor]:
    """A state dict from ``.safetensors``, or from a ``.pt`` that holds tensors only, freed of common wrappings.

    Raises:
        TeacherError: No such file, a damaged one, or one that holds more than tensors.
    """
    if not path.is_file():
        raise TeacherError("The teacher's weights must be a file", str(path), "Check teacher.weights.")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        mend = "Save the state dict: torch.save(model.state_dict(), path), or use safetensors."
        raise TeacherError("The teacher's weights must hold tensors only", str(path), mend) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise TeacherError(
            "The teacher's weights must be readable", f"{path}: {first_line(error, 200)}", "Is the file complete?"
        ) from error
    return _unwrapped(found, path)


def load_into(module: nn.Module, path: Path) -> None:
    """Puts the weights of ``path`` into ``module``; every name and shape must fit.

    Raises:
        TeacherError: As :func:`read`; or names or shapes that differ.
    """
    found, wanted = read(path), module.state_dict()
    missing = [n for n in wanted if n not in found and not n.endswith("num_batches_tracked")]
    foreign = [n for n in found if n not in wanted]
    shapes = [n for n in wanted if n in found and wanted[n].shape != found[n].shape]
    problems = []
    for what, names in (("missing", missing), ("not in the module", foreign), ("of another shape", shapes)):
        if names:
            problems.append(
                f"{what}: {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            )
    if problems:
        mend = "Do factory and arguments build the network the weights were trained with?"
        raise TeacherError(f"The weights in {path} must fit the teacher's module", "; ".join(problems), mend)
    module.load_state_dict(found, strict=False)  # only counters of batches may be absent here


def _unwrapped(found: Any, path: Path) -> dict[str, torch.Tensor]:
    while isinstance(found, Mapping):
        inner = next((found[k] for k in WRAPPERS if isinstance(found.get(k), Mapping)), None)
        if inner is None:
            break
        found = inner
    if not isinstance(found, Mapping) or not found or not all(isinstance(v, torch.Tensor) for v in found.values()):
        mend = "Save the state dict: torch.save(model.state_dict(), path), or use safetensors."
        raise TeacherError(
            "The teacher's weights must be a state dict of tensors", f"{path}: {type(found).__name__}", mend
        )
    state = {str(k): v for k, v in found.items()}
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state
