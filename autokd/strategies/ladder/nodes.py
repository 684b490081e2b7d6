"""What a ladder knows of the trials so far: a forest of nodes, each with its worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autokd.config.objectives import Objective
from autokd.pareto import hypervolume, least_useful, non_dominated
from autokd.storage.lineage import Lineage, Worth
from autokd.trial import TRAINING, Origin, Outcome, ParamValue, Rung, TrialRecord

Values = tuple[float, ...]
"""One number an objective."""


@dataclass
class Node:
    """One rung.

    Args:
        number: Its trial.
        rung: What was done.
        params: Of its root.
        values: One per objective, once measured.
        cost: Value of the objective that ladders walk down.
        quality: Value of the first objective of quality, larger is better.
        cpu_s: CPU seconds spent.
        per_share: Those of one whole training of it.
        around_s: Those that were not training: cuts chosen, files made, timed and verified.
        gain: What it added to the hypervolume when it came.
        trained: Training its weights have had; 1 is a whole training. What a larger ancestor had counts as one at most: a student
            that was just made smaller gains by training like one from nothing after its first.
        state: ``running``, ``measured``, ``ended`` (infeasible, failed) or ``lost`` (interrupted: it comes again).
        feasible: Measured, it violates no constraint.
        origin: Its trained weights, and how they shipped.
    """

    number: int
    rung: Rung
    params: Mapping[str, ParamValue]
    values: tuple[float, ...] = ()
    cost: float = np.inf
    quality: float = -np.inf
    cpu_s: float = 0.0
    per_share: float = 0.0
    around_s: float = 0.0
    gain: float = 0.0
    trained: float = 0.0
    state: str = "running"
    feasible: bool = True
    origin: Origin | None = None


@dataclass
class Forest:
    """All rungs of a study, and the hypervolume they reached.

    Args:
        objectives: The study's.
        reference: The hypervolume's reference point; ``None``: the worst value seen of each objective.
        believed: Quality, cost and CPU seconds that are expected of the rungs that run.
        stated: A person chose the reference's quality. Otherwise it is chance, or what is given for it: too far down to tell
            where to search, and the students within reach of the best one's errors count.
    """

    objectives: Sequence[Objective]
    reference: Sequence[float] | None
    stated: bool = False
    nodes: dict[int, Node] = field(default_factory=dict)
    volume: float = 0.0
    believed: Sequence[tuple[float, float, float]] = ()
    _known: tuple[list[Values], float] | None = None

    def __post_init__(self) -> None:
        names = [o.name for o in self.objectives]
        self.cost = next(i for i, o in enumerate(self.objectives) if o.scale == "log")
        self.goal = next(i for i, o in enumerate(self.objectives) if o.scale == "linear")
        self.cost_name, self.goal_name = names[self.cost], names[self.goal]
        self.sign = 1.0 if self.objectives[self.goal].direction == "maximize" else -1.0

    def begin(self, number: int, rung: Rung, params: Mapping[str, ParamValue]) -> None:
        self.nodes[number] = Node(number, rung, params)

    def tell(self, number: int, record: TrialRecord) -> None:
        """A rung ended."""
        self._known = None
        assert record.rung is not None
        node = self.nodes.setdefault(number, Node(number, record.rung, record.params))
        node.cpu_s = record.cpu_s
        above = self.nodes.get(node.rung.parent) if node.rung.parent is not None else None
        inherited = above.trained if above else 0.0
        node.trained = min(1.0, inherited) if node.rung.kind == "narrow" else inherited + node.rung.share
        if above is not None:
            node.params = above.params  # the root's: what a child's own record says is its shape
        trained = [s for s in record.stages if s.stage in TRAINING]
        if record.outcome == Outcome.MEASURED and trained:
            values = [record.value(o.name) for o in self.objectives]
            node.values = tuple(float(v) for v in values if v is not None)
            node.cost, node.quality = node.values[self.cost], self.sign * node.values[self.goal]
            node.origin = Origin(trained[-1].stage, trained[-1].key, str(record.notes.get("quantization_plan", "")))
            spent = trained[-1].cpu_s
            node.per_share = spent / node.rung.share
            node.around_s = max(0.0, node.cpu_s - spent)
            if above is not None and spent == 0:  # its training was found in the store
                node.per_share = above.per_share
            node.state = "measured"
            node.feasible = not record.violations
            if node.feasible:
                others = [n.values for n in self.shippable() if n is not node]
                self.volume = self.hypervolume([*others, node.values])
                node.gain = max(0.0, self.volume - self.hypervolume(others))
        elif record.outcome == Outcome.INTERRUPTED or record.notes.get("retried"):
            node.state = "lost"
        else:
            node.state = "ended"

    def shippable(self) -> list[Node]:
        """Measured rungs that violate no constraint."""
        return [n for n in self.measured() if n.feasible]

    def measured(self) -> list[Node]:
        return [n for n in self.nodes.values() if n.state == "measured"]

    def roots(self) -> list[Node]:
        """Every root that was begun, in order; one that comes again counts once."""
        return [n for n in self.nodes.values() if n.rung.kind == "root" and n.state != "lost"]

    def children(self, node: Node, *kinds: str) -> list[Node]:
        """Rungs that go on from a node, lost ones left out."""
        return [
            n
            for n in self.nodes.values()
            if n.rung.parent == node.number and n.state != "lost" and (not kinds or n.rung.kind in kinds)
        ]

    def below(self, root: Node) -> Iterator[Node]:
        """A node and everything that descends from it."""
        yield root
        for child in self.children(root):
            yield from self.below(child)

    def front(self) -> list[Node]:
        """The rungs that no other dominates, cheapest first."""
        found = self.shippable()
        if not found:
            return []
        keep = non_dominated([n.values for n in found], [o.direction for o in self.objectives])
        return sorted((n for n, on in zip(found, keep, strict=True) if on), key=lambda n: n.cost)

    def hypervolume(self, values: Sequence[Sequence[float]]) -> float:
        """Of points, over the reference."""
        if not values:
            return 0.0
        reference = self.reference
        if reference is None:
            signs = [1.0 if o.direction == "minimize" else -1.0 for o in self.objectives]
            worst = (np.array([n.values for n in self.measured()]) * signs).max(axis=0)
            reference = list(worst * signs)
        reference = list(reference)
        reference[self.goal] = self.least_quality(reference[self.goal])
        directions, scales = [o.direction for o in self.objectives], [o.scale for o in self.objectives]
        return hypervolume(values, reference, directions, scales)

    def least_quality(self, reference: float) -> float:
        """The quality below which a student is worth nothing, in the objective's own sign."""
        best = max((n.quality for n in self.measured()), default=-np.inf)
        return reference if self.stated else self.sign * least_useful(best, self.sign * reference)

    def running(self) -> list[Node]:
        return [n for n in self.nodes.values() if n.state == "running"]

    def believe(self, expected: Sequence[tuple[float, float, float]]) -> None:
        """What is expected of the rungs that run counts as if it had come ("kriging believer": D. Ginsbourger, R. Le Riche &
        L. Carraro, 2010, https://doi.org/10.1007/978-3-642-10701-6_6): two workers do not go for the same gain."""
        self.believed, self._known = expected, None

    def would_gain(self, quality: float, cost: float) -> float:
        """Hypervolume that a student of this quality and cost would add to the front; other objectives do not count."""
        if self._known is None:
            held = [n.values for n in self.front()]
            held += [found for q, c, _ in self.believed if (found := self._like(held, q, c))]
            self._known = held, self.hypervolume(held)
        held, volume = self._known
        values = self._like(held, quality, cost)
        return 0.0 if values is None else max(0.0, self.hypervolume([*held, values]) - volume)

    def _like(self, held: Sequence[Values], quality: float, cost: float) -> Values | None:
        """The values of a student that is known by two of them only: the rest as of one that costs about as much."""
        like = min(held, key=lambda v: abs(np.log(v[self.cost] / cost)), default=None)
        if like is None:
            return None
        found = list(like)
        found[self.goal], found[self.cost] = self.sign * quality, cost
        return tuple(found)


def worth_of(
    objectives: Sequence[Objective], reference: Sequence[float] | None, records: Mapping[int, TrialRecord]
) -> list[Worth]:
    """What every ladder brought, by root.

    Args:
        objectives: The study's.
        reference: The hypervolume's reference point.
        records: By trial number, in the order in which the trials ended.
    """
    forest = Forest(objectives, reference, stated=True)  # what is told adds up to the study's hypervolume
    rungs = {number: record for number, record in records.items() if record.rung is not None}
    for number, record in rungs.items():
        forest.tell(number, record)
    nodes = forest.nodes
    return Lineage.of_records(rungs).worth(
        lambda n: nodes[n].gain if n in nodes else 0.0, lambda n: nodes[n].cpu_s if n in nodes else 0.0
    )


def rate_of(nodes: Sequence[Node]) -> float:
    """Hypervolume a CPU second that was gained."""
    return sum(n.gain for n in nodes) / max(1e-9, sum(n.cpu_s for n in nodes))
