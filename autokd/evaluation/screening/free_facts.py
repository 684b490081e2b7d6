"""What is known of a candidate without training and without a clock, by counting in its sketch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autokd.evaluation.parts import Parts
from autokd.evaluation.screening.screen import draw
from autokd.evaluation.stages.prune import Cutting
from autokd.samplers.declared import Declared
from autokd.samplers.interpolated import Interpolated
from autokd.trial import ParamValue, Stage

FACTS = ("params", "macs", "size_bytes", "written", "operators")
"""The columns: trained numbers, multiply-accumulates, bytes of the float32 file, numbers that all operators write for one sample
(small networks are bound by memory, not by arithmetic), and operators (each costs about the same beside its work)."""
STAGES = (Stage.BUILD, Stage.PRUNE)
"""The stages whose parameters they depend on."""


def log_facts(parts: Parts, params: Mapping[str, ParamValue]) -> np.ndarray:
    """Natural logarithms of ``FACTS`` ``(5,)``, exact, in some 10 ms; of an int8 candidate those of its float32 file.

    Raises:
        CannotSketch: Only the exporter can express the student.
        StageFailure: The pruning names an unknown group.
        ConfigError: The family refuses a parameter.
    """
    space = parts.plan.space
    with parts.pace():
        outline = parts.blueprint(space.of_stage(Stage.BUILD, params)).outline
        drawn = draw(parts.bench, space.family, outline, Cutting.of(space.of_stage(Stage.PRUNE, params)).ratios)
    counts = (drawn.params, drawn.macs, len(drawn.data), drawn.written, len(drawn.model.graph.node))
    return np.log(np.maximum(counts, 1))


def interpolated_facts(parts: Parts) -> Interpolated:
    """:func:`log_facts` of any candidate of a study's space, and approximately of thousands at once."""
    space, seed = parts.plan.space, parts.plan.config.seed
    shape = {p.name: p.distribution() for p in space.parameters if p.stage in STAGES}
    return Interpolated(lambda params: log_facts(parts, {**space.fixed, **params}), Declared(space), shape, seed)


class Known:
    """One cost of a candidate, exact where it is asked, interpolated for pools.

    Args:
        facts: Logarithms of :data:`FACTS`.
        metric: One of them.
        violation: What a constraint makes of it.
    """

    def __init__(
        self, facts: Interpolated, metric: str, violation: Callable[[float], float] = lambda value: value
    ) -> None:
        self._facts, self._column, self._violation = facts, FACTS.index(metric), violation

    def __call__(self, params: dict[str, Any]) -> float:
        return self._violation(float(np.exp(self._facts(params)[self._column])))

    def rough(self, pool: Sequence[dict[str, Any]]) -> np.ndarray:
        """``(n,)``; see :class:`autokd.samplers.facts.HasRough`."""
        return np.array([self._violation(float(v)) for v in np.exp(self._facts.rough(pool)[:, self._column])])


@dataclass(frozen=True)
class Features:
    """The free facts, and the free proxy while it is informative.

    Args:
        facts: See :class:`Known`.
        proxy: Whether log(MACs x parameters) is a feature too.
    """

    facts: Interpolated
    proxy: bool

    def __call__(self, params: dict[str, Any]) -> np.ndarray:
        return self._with_proxy(self.facts(params)[None])[0]

    def rough(self, pool: Sequence[dict[str, Any]]) -> np.ndarray:
        """``(n, 6)`` or ``(n, 5)``; see :class:`autokd.samplers.facts.HasRough`."""
        return self._with_proxy(self.facts.rough(pool))

    def _with_proxy(self, facts: np.ndarray) -> np.ndarray:
        if not self.proxy:
            return facts
        both = facts[:, FACTS.index("macs")] + facts[:, FACTS.index("params")]
        return np.column_stack([facts, both])
