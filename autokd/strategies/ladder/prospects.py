"""What the survey of a family's roots tells of one that was not trained yet, beside one that was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autokd.trial import ParamValue

Params = Mapping[str, ParamValue]


@dataclass(frozen=True)
class Prospect:
    """A root beside another: how much dearer to use and to train, and how many places further in the family's order."""

    larger: float
    dearer: float
    places: int


@dataclass(frozen=True)
class Survey:
    """The family's roots from cheap to dear, with their costs and training times.

    Args:
        roots: As candidates of the space.
        costs: Of the objective that ladders walk down; of whichever file is faster.
        train_s: CPU seconds of a training step, a sample.
        samples: Of one whole training.
        names: What makes a root another one; the bits that it ships do not.
    """

    roots: Sequence[Params]
    costs: Sequence[float]
    train_s: Sequence[float]
    samples: int
    names: Sequence[str]

    @classmethod
    def of(
        cls, facts: Mapping[str, Any], first: Sequence[Params], cost_name: str, samples: int, names: Sequence[str]
    ) -> Survey | None:
        """What preparation found of the roots ``first``; ``None`` where it did not look, as version 0.1 did not.

        Those that could not be built are left out.
        """
        known = [root for root in facts.get("roots") or () if root["params"] in list(map(dict, first))]
        if not known or any(cost_name not in root["costs"] for root in known):
            return None
        return cls(
            [root["params"] for root in known],
            [float(root["costs"][cost_name]) for root in known],
            [max(1e-9, float(root["train_s"])) for root in known],
            samples,
            tuple(names),
        )

    def whole_s(self, place: int) -> float:
        """About the CPU seconds of one whole training."""
        return self.train_s[place] * self.samples

    def place(self, params: Params) -> int | None:
        """Where a root stands; ``None`` of another."""
        own = {name: params.get(name) for name in self.names}
        return next((k for k, root in enumerate(self.roots) if {n: root.get(n) for n in self.names} == own), None)

    def beside(self, params: Params, done: Params) -> Prospect | None:
        """What is known of a root beside one that was trained."""
        here, there = self.place(params), self.place(done)
        if here is None or there is None:
            return None
        larger, dearer = self.costs[here] / self.costs[there], self.train_s[here] / self.train_s[there]
        return Prospect(larger, dearer, max(1, here - there))
