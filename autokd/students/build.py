"""Students from parameters: built, or only outlined; and what a built one depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autokd import registry
from autokd.files import digest
from autokd.protocols import InputSpec
from autokd.students.raw_input import RawInput
from autokd.trial import ParamValue

if TYPE_CHECKING:
    from torch import nn


def build_module(family: str, params: Mapping[str, ParamValue], spec: InputSpec, classes: int, seed: int) -> RawInput:
    """An untrained student of a family around the data's raw input.

    Raises:
        ConfigError: The family refuses a parameter.
    """
    import torch

    torch.manual_seed(seed)
    return RawInput(family_builder(family)(dict(params), spec, classes), spec)


def outline_module(family: str, params: Mapping[str, ParamValue], spec: InputSpec, classes: int) -> RawInput:
    """A student on torch's meta device, where nothing is allocated or initialised; a family that needs numbers to build
    itself is built with them.

    Raises:
        ConfigError: The family refuses a parameter.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    init = torch.nn.init
    drawing = {torch.Tensor.normal_, torch.Tensor.uniform_, init.normal_, init.uniform_, init.kaiming_uniform_}

    class NoNumbers(TorchFunctionMode):
        """Drawing initial weights that are not there would be most of the time."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in drawing:
                filled = args[0] if args else (kwargs or {})["tensor"]  # by name where the function itself asked
                if filled.is_meta:
                    return filled
            return func(*args, **(kwargs or {}))

    try:
        with torch.device("meta"), NoNumbers():
            model = family_builder(family)(dict(params), spec, classes)
    except Exception:  # its own code: if it cannot be built at all, that is said now
        return build_module(family, params, spec, classes, 0)
    return RawInput(model, spec)


def family_builder(family: str) -> Any:
    """The ``build`` of a registered family, or the person's own callable."""
    found = registry.load("families", family)
    if isinstance(found, type):
        found = found()
    return found.build if hasattr(found, "build") else found


def family_key(family: str, spec: InputSpec, classes: int) -> str:
    """What a built module depends on beside its parameters; a person's own family counts with its source."""
    known = registry.identity("families", family)
    own = "" if known == f"{family}@1" else known  # as version 0.1 said it: teachers that it trained stay valid
    return digest([family, own, spec.to_dict(), classes])


def prune_groups(module: nn.Module) -> dict[str, list[nn.Module]] | None:
    """The groups that ``prune_<group>`` ratios name, if the family declares them."""
    inner = getattr(module, "model", module)
    groups = getattr(inner, "prune_groups", None)
    return groups() if callable(groups) else None
