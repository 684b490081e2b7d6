"""Every seam of autokd on one page: the types that cross between packages and what a plug-in must offer.

A plug-in is one file plus one entry-point line. The groups, and what each entry must be:

=====================  ==========================================================================================
``autokd.families``    :class:`StudentFamily`, or a plain callable ``(params, spec, classes) -> nn.Module``
``autokd.modalities``  a class or factory of :class:`autokd.modalities.Modality`
``autokd.data``        ``load(options: DataOptions) -> RawData``
``autokd.teachers``    ``load(options: TeacherOptions) -> Teacher``
``autokd.methods``     a class or factory whose keyword arguments are the recipe; instances are
                       :class:`autokd.distillation.knowledge.Knowledge`
``autokd.schemes``     a class or factory of :class:`autokd.distillation.schemes.Scheme`
``autokd.pruners``     a class or factory returning :class:`Importance`
``autokd.samplers``    ``factory(seed: int, space: Mapping[str, BaseDistribution]) -> optuna.samplers.BaseSampler``
``autokd.runners``     a class with ``run(...)``; see ``autokd.runners``
``autokd.spaces``      a package that holds ``*.yaml`` search spaces
``autokd.profiles``    a package that holds ``*.yaml`` hardware profiles
``autokd.devices``     ``open(profile: HardwareProfile) -> Device``; see ``autokd.hardware.device``
=====================  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from autokd.effort import LatencyResult as LatencyResult
from autokd.effort import Meter as Meter
from autokd.trial import ParamValue

if TYPE_CHECKING:
    import torch
    from torch import nn

Pace = Callable[[], AbstractContextManager[None]]
"""Entered around every batch of work on this host; blocks while a latency is being timed."""


class Examples(Protocol):
    """All raw samples, in order: a plain array, or named arrays and ragged rows (:mod:`autokd.modalities.examples`)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: np.ndarray, /) -> Any:
        """Samples ``(B, *shape)`` at ``index`` (``(B,) int64``); of several inputs one such array each, by name."""
        ...


@dataclass(frozen=True)
class InputSpec:
    """What one raw sample looks like.

    Args:
        kind: A registered modality, ``"image"`` or ``"tabular"`` among them.
        shape: Shape of one sample: ``(C, H, W)``, ``(F,)``, ...; the longest one where rows are ragged.
        dtype: Raw dtype, such as ``"float32"`` or ``"uint8"``.
        mean: Per channel (image) or per feature (tabular), in raw units, over the train split; empty where nothing is measured.
        std: Likewise; never 0.
        low: Smallest raw value that can occur (used to fill shifted pixels).
        high: Largest raw value that can occur.
        facts: What only the modality knows, as plain JSON values; see its file in ``autokd/modalities``.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 1.0
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def inputs(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape of one sample and dtype by name: one, ``input``, or those of ``facts["inputs"]``."""
        return dict(self.facts.get("inputs") or {"input": (self.shape, self.dtype)})

    def to_dict(self) -> dict[str, Any]:
        """Facts stand beside the fields, a table's always: keys and data sets of earlier versions hold them so."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "facts"}
        return {**own, **dict.fromkeys(TABLE_FACTS, ()), **self.facts}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> InputSpec:
        facts = {name: _frozen(value) for name, value in raw.items()}
        own = {f.name: facts.pop(f.name) for f in fields(cls) if f.name in facts}
        return cls(**own, facts={n: v for n, v in facts.items() if v != () or n not in TABLE_FACTS})


TABLE_FACTS = ("cardinalities", "features", "categories")


def _frozen(value: Any) -> Any:
    """JSON's lists as tuples, however deep."""
    if isinstance(value, Mapping):
        return {name: _frozen(inner) for name, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class DataOptions:
    """What a data source is given: the ``data:`` block of the study file, the seed, and a folder for decoded copies."""

    path: Path | None
    options: Mapping[str, Any]
    seed: int
    cache_dir: Path
    progress: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class RawData:
    """What a data source returns, before splitting.

    Args:
        inputs: ``(N, *shape)`` raw values in a type that the modality reads; may be memory-mapped.
        targets: ``(N,) int64`` class indices.
        classes: Class names, in index order.
        kind: A registered modality, or ``package.module:factory`` of a person's own.
        test: Indices of the source's own test split, or ``None`` to cut one.
        validation: Likewise for an official validation split.
        low, high, facts: See :class:`InputSpec`.
    """

    inputs: Examples
    targets: np.ndarray
    classes: tuple[str, ...]
    kind: str
    test: np.ndarray | None = None
    validation: np.ndarray | None = None
    low: float = 0.0
    high: float = 1.0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Splits:
    """Disjoint ``int64`` index arrays into the data."""

    train: np.ndarray
    validation: np.ndarray
    calibration: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """Data ready for a study; ``fingerprint`` is the SHA-256 of inputs, targets and splits."""

    name: str
    inputs: Examples
    targets: np.ndarray
    classes: tuple[str, ...]
    spec: InputSpec
    splits: Splits
    fingerprint: str

    def identity(self) -> str:
        """What stands for the data in keys."""
        return self.fingerprint


class Views(Protocol):
    """Seeded augmented views of the train split: the same (view, position) always gives the same values."""

    count: int  # number of distinct views; view indices are taken modulo it
    size: int  # number of training samples
    fingerprint: str  # of data, augmentation and seed

    def batch(self, positions: np.ndarray, view: int) -> np.ndarray:
        """Raw values ``(B, *shape)`` in the source's dtype of the training samples at ``positions`` (``(B,) int64``)."""
        ...


class StudentFamily(Protocol):
    """A family of architectures.

    The module that ``build`` returns reads what the modality prepares, normalised float32: images ``(N, C, H, W)``; tables
    ``(N, D)``, categories already one-hot. It returns logits ``(N, classes)``. It may offer ``prune_groups() -> dict[str,
    list[nn.Module]]`` naming the modules each ``prune_<group>`` ratio applies to, and ``blocks() -> list[dict]`` describing
    its blocks for people (``{"name", "kind", "out", ...}``).
    """

    kinds: frozenset[str]
    defaults: Mapping[str, ParamValue]

    def build(self, params: Mapping[str, ParamValue], spec: InputSpec, classes: int) -> nn.Module: ...


@runtime_checkable
class Shortens(Protocol):
    """A family that knows smaller shapes of a trained student which can inherit its weights as they are.

    A family may also name ``roots``: shapes known to be good, with which a ladder begins.
    """

    def shorter(self, params: Mapping[str, ParamValue], spec: InputSpec) -> Mapping[str, Mapping[str, ParamValue]]:
        """Changed parameters by a name for people, ``{"depth_2 1": {"depth_2": 1}}``.

        The weights' names of each shape are among those of ``params``, their sizes the same.
        """
        ...


@dataclass(frozen=True)
class TeacherOptions:
    """What a teacher loader is given: the ``teacher:`` block, the data it must understand, and what building needs.

    Args:
        options: The ``teacher:`` block of the study file.
        spec: The raw input.
        classes: Number of classes.
        sample: A few raw samples ``(n, *shape)`` for shape and sanity checks.
        device: ``"cpu"`` or ``"cuda"``.
        folder: The folder of the study's teacher.
        build: Builds an untrained module of a registered family that reads raw input, from ``(family, params)``.
        weights: Path of the weights trained here (``teacher.family``), else ``None``.
        class_names: The data's class names, in index order.
    """

    options: Mapping[str, Any]
    spec: InputSpec
    classes: int
    sample: np.ndarray
    device: str
    folder: Path
    build: Callable[[str, Mapping[str, ParamValue]], nn.Module] | None = None
    weights: Path | None = None
    class_names: tuple[str, ...] = ()


@runtime_checkable
class Teacher(Protocol):
    """A trained model that scores raw inputs."""

    name: str
    fingerprint: str  # SHA-256 of what determines its outputs

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Raw inputs ``(N, *shape)`` to logits ``(N, classes) float32`` (log-probabilities serve as logits)."""
        ...

    def onnx_file(self) -> Path | None:
        """An ONNX file that can be timed on a profile, or ``None`` when there is none."""
        ...


@runtime_checkable
class TapTeacher(Teacher, Protocol):
    """A teacher that has more to say than logits: what modules inside it put out."""

    def taps(self, inputs: np.ndarray, names: frozenset[str]) -> Mapping[str, np.ndarray]:
        """By tap ``(N, ...) float32`` on raw inputs ``(N, *shape)``.

        Raises:
            TeacherError: It has no such tap.
        """
        ...


class TeacherOutputs(Protocol):
    """The teacher's cached outputs on the seeded views, by tap; whether from a disk or from the teacher itself, nobody asks."""

    @property
    def names(self) -> frozenset[str]:
        """The taps it serves; ``"logits"`` is one of them."""
        ...

    def taps(self, positions: np.ndarray, view: int, names: frozenset[str]) -> Mapping[str, np.ndarray]:
        """By name ``(B, ...) float32`` for the training samples at ``positions`` (``(B,) int64``) under ``view``."""
        ...


@runtime_checkable
class DistillationMethod(Protocol):
    """A loss of the form that came before :class:`autokd.distillation.knowledge.Knowledge`; it goes on working.

    ``needs`` names the teacher taps it reads.
    """

    needs: frozenset[str]

    def loss(
        self, student: Mapping[str, torch.Tensor], teacher: Mapping[str, torch.Tensor], targets: torch.Tensor
    ) -> torch.Tensor:
        """``student["logits"]`` is ``(B, classes)``, ``targets`` is ``(B,) int64``; returns a scalar."""
        ...


class Importance(Protocol):
    """How much a channel matters. ``needs_gradients`` asks for one backward pass over calibration data first."""

    needs_gradients: bool

    def scorer(self) -> Any:
        """A torch-pruning importance object."""
        ...


@dataclass(frozen=True)
class CurvePoint:
    """One point of a learning curve; ``validation_accuracy`` is of the model in training, not of the file."""

    samples: int
    loss: float
    validation_accuracy: float
    cpu_s: float


CACHED_VIEWS, FRESH_VIEWS = 4, 64
"""Of `views: auto`. Labels cost nothing to ask again: on 4,275 pictures of clothes 64 views are worth .7 points over 4, on 3,345 of
traffic signs 2.9 (one seed each, 25 passes)."""


@dataclass(frozen=True)
class Recipe:
    """How a student is trained; each field may be fixed in ``training:`` or searched.

    Args:
        samples: Training samples seen in all.
        batch_size: Samples a step.
        optimizer: ``"sgd"`` (Nesterov .9) or ``"adamw"``.
        lr: Peak rate of the one-cycle schedule.
        weight_decay: Coefficient; not applied to biases and norms.
        augment: Name of the augmentation; see ``augmentations`` of the modality.
        views: Number of seeded views; 0: 4 where a teacher scores each, and without one another for every pass.
        label_smoothing: Of the cross-entropy term.
        precision: ``"float32"``, or ``"bfloat16"`` for the operators that PyTorch's autocast runs in it; weights, gradients'
            sums and the loss stay float32.
    """

    samples: int = 60_000
    batch_size: int = 128
    optimizer: str = "sgd"
    lr: float = 0.2
    weight_decay: float = 5e-4
    augment: str = "auto"
    views: int = 4
    label_smoothing: float = 0.0
    precision: str = "float32"
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cached_views(self) -> int:
        """How many views a teacher is asked for before the search."""
        return self.views or CACHED_VIEWS

    @property
    def fresh_views(self) -> int:
        """How many views a training by labels alone goes through, one a pass over the data."""
        return self.views or FRESH_VIEWS
