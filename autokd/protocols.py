"""Every seam of autokd on one page: the types that cross between packages and what a plug-in must offer.

A plug-in is one file plus one entry-point line. The groups, and what each entry must be:

=====================  ==========================================================================================
``autokd.families``    :class:`StudentFamily`, or a plain callable ``(params, spec, classes) -> nn.Module``
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

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from autokd.effort import FULL, Effort
from autokd.trial import ParamValue

if TYPE_CHECKING:
    import torch
    from torch import nn

Pace = Callable[[], AbstractContextManager[None]]
"""Entered around every batch of work on this host; blocks while a latency is being timed."""


@dataclass(frozen=True)
class InputSpec:
    """What one raw sample looks like.

    Args:
        kind: ``"image"`` or ``"tabular"``.
        shape: Shape of one sample: ``(C, H, W)`` or ``(F,)``.
        dtype: Raw dtype, ``"float32"`` or ``"uint8"``.
        mean: Per channel (image) or per feature (tabular), in raw units, over the train split.
        std: Likewise; never 0.
        low: Smallest raw value that can occur (used to fill shifted pixels).
        high: Largest raw value that can occur.
        cardinalities: Tabular only, one entry a feature: 0 for a number, k > 0 for a category coded 0 .. k-1
            (any other code means "unknown").
        features: Tabular only: the features' names.
        categories: Tabular only: the words behind each feature's codes, empty for numbers.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: float = 0.0
    high: float = 1.0
    cardinalities: tuple[int, ...] = ()
    features: tuple[str, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> InputSpec:
        kw: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
        kw["categories"] = tuple(tuple(c) for c in raw.get("categories", ()))
        return cls(**kw)


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
        inputs: ``(N, *shape)`` raw values, float32 or uint8; may be memory-mapped.
        targets: ``(N,) int64`` class indices.
        classes: Class names, in index order.
        kind: ``"image"`` or ``"tabular"``.
        test: Indices of the source's own test split, or ``None`` to cut one.
        validation: Likewise for an official validation split.
        low, high, cardinalities, features, categories: See :class:`InputSpec`.
    """

    inputs: np.ndarray
    targets: np.ndarray
    classes: tuple[str, ...]
    kind: str
    test: np.ndarray | None = None
    validation: np.ndarray | None = None
    low: float = 0.0
    high: float = 1.0
    cardinalities: tuple[int, ...] = ()
    features: tuple[str, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()


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
    inputs: np.ndarray
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

    The module that ``build`` returns reads normalised float32 input: ``(N, C, H, W)`` for images; ``(N, D)`` for tables,
    categories already one-hot. It returns logits ``(N, classes)``. It may offer ``prune_groups() -> dict[str,
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
class LatencyResult:
    """Timing of one file on one profile.

    Args:
        p50_ms: Median latency in milliseconds of one call at the profile's batch size.
        p90_ms: 90th percentile.
        spread: Relative half-range of the block medians that were kept, e.g. ``0.004`` for 0.4 %.
        count: Number of timed calls.
        peak_memory_bytes: Peak resident memory of the worker above its state before the file was loaded; ``None``: not looked at.
        clock_factor: What the raw latencies were multiplied with to stand for the host's usual clock; ``None``: they are raw.
    """

    p50_ms: float
    p90_ms: float
    spread: float
    count: int
    peak_memory_bytes: int | None
    clock_factor: float | None = None


class Meter(Protocol):
    """Times a file on a profile, by name."""

    def measure(self, path: Path, profile: str, effort: Effort = FULL, above_ms: float = 0.0) -> LatencyResult: ...


@dataclass(frozen=True)
class CurvePoint:
    """One point of a learning curve; ``validation_accuracy`` is of the model in training, not of the file."""

    samples: int
    loss: float
    validation_accuracy: float
    cpu_s: float


@dataclass(frozen=True)
class Recipe:
    """How a student is trained; each field may be fixed in ``training:`` or searched.

    Args:
        samples: Training samples seen in all.
        batch_size: Samples a step.
        optimizer: ``"sgd"`` (Nesterov .9) or ``"adamw"``.
        lr: Peak rate of the one-cycle schedule.
        weight_decay: Coefficient; not applied to biases and norms.
        augment: Name of the augmentation; see ``autokd.data.augment``.
        views: Number of seeded views.
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


Blocks = Sequence[Mapping[str, Any]]
