"""What a stage is: a frozen dataclass whose fields are its key, and work that sees nothing but them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from autokd import trial
from autokd.evaluation.stages.results import Result
from autokd.files import digest
from autokd.protocols import Meter

VERSION = 2
"""Part of every key: raised when all stages' results change their meaning."""


R = TypeVar("R", bound=Result, covariant=True)


@dataclass(frozen=True)
class Stored(Generic[R]):
    """A finished stage: its key, the folder of its files, and its facts."""

    stage: trial.Stage
    key: str
    folder: Path
    value: R

    def identity(self) -> str:
        """Its key names all that it depends on."""
        return self.key


@dataclass(frozen=True)
class Tools:
    """What work is done with. None of it changes a result.

    Args:
        pace: Entered around every batch of work.
        meter: Times files; on which profile, and what for, the stage's fields say.
        device: ``"cpu"`` or ``"cuda"``.
        note: Tells the driver and the dashboard how far the work is.
        curve: File for people in which a training that rests leaves its learning curve so far.
        until: Share of a training after which it rests.
    """

    pace: Callable[[], AbstractContextManager[None]]
    meter: Meter
    device: str = "cpu"
    note: Callable[..., None] = lambda **progress: None
    curve: Path | None = None
    until: float | None = None


class Stage(Protocol[R]):
    """One stage of a candidate. ``revision`` is part of its key: raised when its work yields something else."""

    kind: ClassVar[trial.Stage]
    revision: ClassVar[int]

    def read(self, raw: Mapping[str, Any]) -> R:
        """Its result out of the store."""
        ...

    def work(self, folder: Path, tools: Tools, parent: Stored[Any] | None) -> R:
        """Fill ``folder`` and say what is in it."""
        ...


def key_of(stage: Stage[Any], parent: Stored[Any] | None) -> str:
    """The hash of everything a stage's result depends on: its fields, its revision and what it goes on from."""
    above = parent.key if parent is not None else None
    return digest([VERSION, stage.kind.value, stage.revision, plain(fields_of(stage)), above])


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, as they are."""
    return {f.name: getattr(value, f.name) for f in fields(value)}


def plain(value: Any) -> Any:
    """A field as plain values that JSON can hold: what has an ``identity()`` stands for it, a dataclass for its fields.

    Raises:
        TypeError: Anything else, such as an array or a path: its content would not be in the key.
    """
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if callable(getattr(value, "identity", None)):
        return plain(value.identity())
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(v) for v in value), key=repr)
    if is_dataclass(value) and not isinstance(value, type):
        return plain(fields_of(value))
    raise TypeError(f"a stage's field must be plain or have an identity(), but got {type(value).__name__}")
