"""What one evaluation is made of: candidate, measurements, stage records, and the record the ledger keeps (stdlib only)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

ParamValue = str | int | float | bool

RETIMED = "retimed"
"""Note of a trial whose student was trained by another study and only timed here."""
CONTINUES = "continues"
"""Note of a trial that goes on with the training of one that halving had stopped: that one's number."""
RESTED = "rested_at"
"""Note of a trial whose training rested at a checkpoint share of halving, and was stopped there if nothing came after."""
TAUGHT_BY = "taught_by"
"""Note of a trial that another student of the search taught: that one's number."""
BY_LABELS = "by_labels"
"""Note of a trial whose method would ask a teacher while nobody taught yet: it learnt from the labels alone."""
ERROR = "_error"
"""In a table of trials ``<measurement>_error`` is a measurement's spread, in the measurement's own unit."""

_CHANNELS = re.compile(r"prune[_ ](?P<group>\S+) (?P<ratio>[0-9.]+)")


class Stage(StrEnum):
    """The stages a candidate goes through, in order."""

    BUILD = "build"
    SCREEN = "screen"
    DISTILL = "distill"
    PRUNE = "prune"
    EXPORT = "export"
    QUANTIZE = "quantize"
    VERIFY = "verify"
    MEASURE = "measure"


TRAINING = (Stage.DISTILL, Stage.PRUNE)
"""The stages that leave trained weights."""


class Outcome(StrEnum):
    """How an evaluation ended; the Optuna state follows from it."""

    MEASURED = "measured"  # COMPLETE
    INFEASIBLE = "infeasible"  # PRUNED
    STOPPED = "stopped"  # PRUNED: ended early by halving
    DUPLICATE = "duplicate"  # PRUNED: the same candidate was evaluated before
    FAILED = "failed"  # FAIL
    INTERRUPTED = "interrupted"  # FAIL; its candidate is queued again


@dataclass(frozen=True)
class Origin:
    """Where a rung goes on from.

    Args:
        stage: That made its parent's weights.
        key: Of that stage's result.
        plan: Of the parent's int8 file, ``""`` for float.
    """

    stage: str
    key: str
    plan: str


@dataclass(frozen=True)
class Tutor:
    """A trained student of the search that teaches another one.

    Args:
        number: Its trial.
        stage: That made its weights.
        key: Of that stage's result.
        params: Its shape, as a candidate of the space.
    """

    number: int
    stage: str
    key: str
    params: Mapping[str, ParamValue]


@dataclass(frozen=True)
class Cut:
    """One thing that a step down a ladder took from a student.

    Args:
        kind: ``"channels"`` of a prune group, or ``"shape"``: another value of a build parameter (a block less, fewer pixels).
        what: The prune group, ``"all"`` for every group; or the parameter.
        was: Of channels the share before the cut, 1; of a shape the value that was, ``None`` where it is not known.
        now: Of channels the share that is left, in (0, 1), about: widths are rounded; of a shape the value that is.
    """

    kind: str
    what: str
    was: ParamValue | None
    now: ParamValue | None

    @classmethod
    def read(cls, told: object) -> Cut:
        """A cut out of a record, whatever version wrote it: a mapping, or a name as :attr:`name` gives it."""
        if isinstance(told, Mapping):
            return cls(str(told.get("kind")), str(told.get("what")), told.get("was"), told.get("now"))
        text = str(told)
        if found := _CHANNELS.fullmatch(text):
            return cls("channels", found["group"], 1.0, 1.0 - float(found["ratio"]))
        what, _, now = text.rpartition(" ")
        return cls("shape", what, None, now) if what else cls("shape", text, None, None)

    @property
    def name(self) -> str:
        """``prune_2 0.5``, ``prune all 0.25``, ``resolution 14``."""
        if self.kind == "channels":
            return f"prune{' ' if self.what == 'all' else '_'}{self.what} {1.0 - float(self.now or 0.0):g}"
        return self.what if self.now is None else f"{self.what} {self.now}"


@dataclass(frozen=True)
class Rung:
    """What a ladder does with a candidate, instead of one whole training from nothing.

    Args:
        kind: ``"root"`` trains the candidate from nothing; ``"train"`` goes on with the parent's weights; ``"narrow"``
            makes the trained parent smaller first.
        share: Training samples of this rung, as a share of those that the candidate's recipe states.
        parent: Trial that the weights come from; ``None`` for a root.
        keep: ``"narrow"``: the share of the parent's cost to aim at, in (0, 1).
    """

    kind: str
    share: float
    parent: int | None = None
    keep: float = 1.0


@dataclass(frozen=True)
class Candidate:
    """A point of the search space: active parameters only. On a ladder also the rung, whose parameters are the root's."""

    params: Mapping[str, ParamValue]
    rung: Rung | None = None

    def key(self) -> str:
        """Canonical text; equal candidates have equal keys.

        A rung ships the bits that are fastest, and a child's shape follows from its parent: neither is asked for.
        """
        if self.rung is None:
            return json.dumps(dict(sorted(self.params.items())), sort_keys=True)
        asked = {k: v for k, v in self.params.items() if k != "bits" and self.rung.parent is None}
        return json.dumps({"rung": asdict(self.rung), "params": asked}, sort_keys=True)


@dataclass(frozen=True)
class Measurement:
    """One number with all that is needed to read it.

    Args:
        metric: E.g. ``"latency_ms"``.
        value: The number, in ``unit``.
        unit: ``"ms"``, ``"bytes"``, ``"ratio"`` ...; empty for a plain count.
        profile: Hardware profile, or ``None`` where no device is involved.
        spread: Half-width, relative to the value where the metric says so (latency: over blocks), else in its unit, e.g. the
            standard error of a ratio; see :func:`autokd.config.objectives.error_of`.
        extra: Further figures of the same measurement, e.g. ``{"p90_ms": .., "count": ..}``.
    """

    metric: str
    value: float
    unit: str
    profile: str | None = None
    spread: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``latency_ms@profile``, or the plain metric."""
        return f"{self.metric}@{self.profile}" if self.profile else self.metric


@dataclass(frozen=True)
class Violation:
    """A constraint that does not hold: ``amount`` is how far outside, in the metric's unit, above 0."""

    constraint: str
    value: float
    amount: float

    def __str__(self) -> str:
        return f"{self.constraint} must hold, but got {self.value:.6g}"


@dataclass(frozen=True)
class StageRecord:
    """What a stage cost; ``cached`` when its result was found in the store."""

    stage: str
    key: str
    duration_s: float
    cpu_s: float = 0.0
    cached: bool = False
    attempts: int = 1


def merged(before: Sequence[StageRecord], after: Sequence[StageRecord]) -> tuple[StageRecord, ...]:
    """The stages of an evaluation that rested at a checkpoint share and went on: each once, with what both parts spent on it."""
    found = {(s.stage, s.key): s for s in before}
    for s in after:
        first = found.get((s.stage, s.key))
        if first is not None:
            spent = sum(part.cpu_s for part in (first, s) if not part.cached)
            cached = first.cached and s.cached
            s = replace(s, duration_s=first.duration_s + s.duration_s, cpu_s=spent, cached=cached)
        found[s.stage, s.key] = s
    return tuple(found.values())


def rested_at(notes: Mapping[str, Any]) -> float | None:
    """The checkpoint share out of a record's notes; the first version called it a rung."""
    found = notes.get(RESTED, (notes.get("rung") or {}).get("share"))
    return None if found is None else float(found)


@dataclass(frozen=True)
class TrialRecord:
    """Everything the ledger keeps of one evaluation beside parameters and objective values."""

    outcome: Outcome
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()
    violations: tuple[Violation, ...] = ()
    stages: tuple[StageRecord, ...] = ()
    began_training: bool = False
    failed_stage: str | None = None
    cause: str | None = None
    detail: str | None = None
    artifact: str | None = None
    artifact_sha256: str | None = None
    folder: str | None = None
    duplicate_of: int | None = None
    parent: int | None = None
    rung: Rung | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def candidate(self) -> Candidate:
        """What was evaluated."""
        return Candidate(self.params, self.rung)

    def value(self, name: str) -> float | None:
        """The value of ``metric`` or ``metric@profile``, or ``None`` when it was not measured."""
        for m in self.measurements:
            if m.name == name:
                return m.value
        return None

    @property
    def retimed(self) -> Mapping[str, Any] | None:
        """Where a student comes from that another study trained: ``study``, ``trial``, ``sha256`` of the file there."""
        found: Mapping[str, Any] | None = self.notes.get(RETIMED)
        return found

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """What was cut for it in its own step, in order."""
        return tuple(map(Cut.read, self.notes.get("cuts") or ()))

    @property
    def rested_at(self) -> float | None:
        """Share of the training at which halving compared the trial with others."""
        return rested_at(self.notes)

    @property
    def continues(self) -> int | None:
        """The stopped trial whose training this one went on with."""
        found: int | None = self.notes.get(CONTINUES)
        return found

    @property
    def cpu_s(self) -> float:
        """CPU seconds that this evaluation itself spent."""
        return sum(s.cpu_s for s in self.stages if not s.cached)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> TrialRecord:
        raw = json.loads(text)
        raw["outcome"] = Outcome(raw["outcome"])
        raw["rung"] = Rung(**raw["rung"]) if raw.get("rung") else None
        raw["measurements"] = tuple(Measurement(**m) for m in raw.get("measurements", ()))
        raw["violations"] = tuple(Violation(**v) for v in raw.get("violations", ()))
        raw["stages"] = tuple(StageRecord(**s) for s in raw.get("stages", ()))
        known = cls.__dataclass_fields__
        return cls(**{k: v for k, v in raw.items() if k in known})
