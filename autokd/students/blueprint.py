"""A student before it is built: a family, a shape, the input it reads, and a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from autokd.protocols import InputSpec
from autokd.students.build import build_module, family_key, outline_module
from autokd.trial import ParamValue

if TYPE_CHECKING:
    from torch import nn

    from autokd.students.raw_input import RawInput


@dataclass(frozen=True)
class Blueprint:
    """What an untrained student is made of.

    Args:
        family: A registered family or ``package.module:factory``.
        shape: The parameters of the build stage.
        spec: The raw input.
        classes: Number of classes.
        seed: Of the first weights.
        known: The family's key, where it was reckoned before; a study asks for thousands of blueprints.
    """

    family: str
    shape: Mapping[str, ParamValue]
    spec: InputSpec
    classes: int
    seed: int
    known: str = ""

    def identity(self) -> list[Any]:
        """What the built module depends on, by content."""
        key = self.known or family_key(self.family, self.spec, self.classes)
        return [key, dict(self.shape), self.seed]

    def build(self) -> RawInput:
        """An untrained module that reads raw input; the same seed gives the same weights."""
        return build_module(self.family, self.shape, self.spec, self.classes, self.seed)

    @cached_property
    def outline(self) -> nn.Module:
        """The same module without weights: shapes only, in a tenth of the time."""
        return outline_module(self.family, self.shape, self.spec, self.classes)
