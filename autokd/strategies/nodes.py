"""What a ladder knows of the trials so far: a forest of nodes, each with its worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autokd.lineage import Lineage, Worth
from autokd.objectives import Objective
from autokd.pareto import hypervolume, non_dominated
from autokd.trial import Outcome, ParamValue, Rung, Stage, TrialRecord


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
        gain: What it added to the hypervolume when it came.
        trained: Training its weights have had, its ancestors' included; 1 is a whole training.
        state: ``running``, ``measured``, ``ended`` (infeasible, failed) or ``lost`` (interrupted: it comes again).
        feasible: Measured, it violates no constraint.
        origin: Stage and key of its trained weights.
    """

    number: int
    rung: Rung
    params: Mapping[str, ParamValue]
    values: tuple[float, ...] = ()
    cost: float = np.inf
    quality: float = -np.inf
    cpu_s: float = 0.0
    gain: float = 0.0
    trained: float = 0.0
    state: str = "running"
    feasible: bool = True
    origin: tuple[str, str] | None = None


@dataclass
class Forest:
    """All rungs of a study, and the hypervolume they reached.

    Args:
        objectives: The study's.
        reference: The hypervolume's reference point; ``None``: the worst value seen of each objective.
    """

    objectives: Sequence[Objective]
    reference: Sequence[float] | None
    nodes: dict[int, Node] = field(default_factory=dict)
    volume: float = 0.0

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
        assert record.rung is not None
        node = self.nodes.setdefault(number, Node(number, record.rung, record.params))
        node.cpu_s = record.cpu_s
        above = self.nodes.get(node.rung.parent) if node.rung.parent is not None else None
        node.trained = node.rung.share + (above.trained if above else 0)
        if above is not None:
            node.params = above.params  # the root's: what a child's own record says is its shape
        trained = [s for s in record.stages if s.stage in (Stage.DISTILL, Stage.PRUNE)]
        if record.outcome == Outcome.MEASURED and trained:
            values = [record.value(o.name) for o in self.objectives]
            node.values = tuple(float(v) for v in values if v is not None)
            node.cost, node.quality = node.values[self.cost], self.sign * node.values[self.goal]
            node.origin = (trained[-1].stage, trained[-1].key)
            node.state = "measured"
            node.feasible = not record.violations
            if node.feasible:
                before = self.volume
                self.volume = self.hypervolume([n.values for n in self.shippable()])
                node.gain = max(0.0, self.volume - before)
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
        directions, scales = [o.direction for o in self.objectives], [o.scale for o in self.objectives]
        return hypervolume(values, reference, directions, scales)


def worth_of(
    objectives: Sequence[Objective], reference: Sequence[float] | None, records: Mapping[int, TrialRecord]
) -> list[Worth]:
    """What every ladder brought, by root.

    Args:
        objectives: The study's.
        reference: The hypervolume's reference point.
        records: By trial number, in the order in which the trials ended.
    """
    forest = Forest(objectives, reference)
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
