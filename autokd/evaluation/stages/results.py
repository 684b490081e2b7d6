"""What stages yield: plain facts that the stage store keeps as JSON and the next stage reads by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from autokd.deployment.verify import Agreement
from autokd.trial import Cut, Measurement, ParamValue


@dataclass(frozen=True)
class Result:
    """Facts of a finished stage."""

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Out of the store; what another version wrote beside, or did not write yet, does no harm."""
        known = {f.name for f in fields(cls)}
        return cls(**{key: cls._read(key, value) for key, value in raw.items() if key in known})

    @classmethod
    def _read(cls, key: str, value: Any) -> Any:
        return value

    def to_dict(self) -> dict[str, Any]:
        """For the store."""
        return asdict(self)


@dataclass(frozen=True)
class Costs(Result):
    """Measurements, and how those of a screen were found out."""

    measurements: tuple[Measurement, ...] = ()
    how: str = ""

    @classmethod
    def _read(cls, key: str, value: Any) -> Any:
        return tuple(Measurement(**m) for m in value) if key == "measurements" else value

    def by_name(self) -> dict[str, float]:
        """Values by ``metric`` or ``metric@profile``."""
        return {m.name: m.value for m in self.measurements}


@dataclass(frozen=True)
class Trained(Result):
    """A student's weights, which lie in ``weights.safetensors``.

    Args:
        samples: Training samples seen by this stage.
        cpu_s: CPU seconds that it took, over all resumes.
        charged_cpu_s: Of them, those that were charged to trials that rested.
        looked_s: Of them, those for choosing cuts.
        seen: Samples that the weights were trained with in all, as themselves or as a larger student's; ``None``: ``samples``.
        shape: Build parameters, where they are not those that the stage was asked for.
        cuts: What was taken away.
        history: All cuts since the root.
        cost_before: Of the student that was cut, in the unit of the objective that was brought down.
        cost_after: Of the student that is left.
    """

    samples: int = 0
    cpu_s: float = 0.0
    charged_cpu_s: float = 0.0
    looked_s: float = 0.0
    seen: int | None = None
    shape: Mapping[str, ParamValue] | None = None
    cuts: tuple[Cut, ...] = ()
    history: tuple[Cut, ...] = ()
    cost_before: float | None = None
    cost_after: float | None = None

    @classmethod
    def _read(cls, key: str, value: Any) -> Any:
        return tuple(Cut.read(told) for told in value) if key in ("cuts", "history") else value

    @property
    def seen_in_all(self) -> int:
        """Samples that the weights were trained with."""
        return self.samples if self.seen is None else self.seen


@dataclass(frozen=True)
class Package(Result):
    """An ONNX file.

    Args:
        file: Its name in the stage's folder.
        sha256: Of its bytes.
        size_bytes: On disk.
        opset: Of the standard operators.
        plan: The int8 plan, "" for float.
        timings_ms: Of every plan that was made, by the clock that chose.
        float_ms: Of the float file beside, where it was timed.
    """

    file: str
    sha256: str
    size_bytes: int
    opset: int
    plan: str = ""
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    float_ms: float | None = None


@dataclass(frozen=True)
class Checked(Result):
    """How far file and model agree; the file's scores lie in ``scores.npy``."""

    agreement: Agreement

    @classmethod
    def _read(cls, key: str, value: Any) -> Any:
        return Agreement(**value) if key == "agreement" else value
