"""What could be done with the students of the front, and how much hypervolume a CPU second of it promises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autokd.strategies.nodes import Forest, Node
from autokd.trial import Rung

if TYPE_CHECKING:
    from autokd.config import SearchConfig

RACE = 1 / 3
"""Training of a root before roots are compared. Rank correlation with the final accuracy: .31 at 11 %, .80 at 33 % (measured
on Fashion-MNIST): a shorter race chooses at random."""
HANDICAP = 0.2
"""Logarithm of errors that a logarithm of cost must buy. A dear root is trained slowly, and so is all that descends from it: the
upper end of the front is had for less by training on with a cheaper one first."""
REFINE = 0.6
"""Training of a refinement, as a share of a root's."""
FIRST_GAIN = 0.08
"""Share of its errors that a first refinement removes, before any was seen."""
DECAY = 0.6
"""What a second refinement brings of what the one before it did; learning curves flatten about geometrically."""
DROP = 0.03
"""Share of errors that a step down adds, before any was seen."""
SEEN = 2
"""So many observations replace an assumption."""
NEAR = 1.5
"""A step's harm is judged from steps that began within this factor of the cost."""


@dataclass(frozen=True)
class Arm:
    """One thing to do: a rung from a node, and its expected hypervolume a CPU second."""

    node: Node
    rung: Rung
    rate: float


def arms_of(forest: Forest, options: SearchConfig, race: Sequence[Node] = ()) -> list[Arm]:
    """Everything that may be done from the front now; what is being done already is left out.

    Args:
        forest: What is known.
        options: Of the study.
        race: The first roots: one that lost it by its cost may yet be trained to the end.
    """
    found = _losers(forest, race)
    for node in forest.front():
        if not forest.children(node, "train"):
            rung = Rung("train", REFINE, node.number)
            better = node.quality + training_gain(forest, node)
            found.append(Arm(node, rung, _gain(forest, node, better, node.cost) / _seconds(node, rung)))
        if not forest.children(node, "narrow"):
            rung = Rung("narrow", options.step_training, node.number, options.keep)
            worse = node.quality - step_loss(forest, node)
            gain = _gain(forest, node, worse, options.keep * node.cost)
            found.append(Arm(node, rung, gain / _seconds(node, rung)))
    return found


def handicapped(root: Node) -> float:
    """A root's errors for its cost; less is better."""
    return math.log(_room(root.quality)) + HANDICAP * math.log(root.cost)


def _losers(forest: Forest, race: Sequence[Node]) -> list[Arm]:
    """Roots of the first race that were better than those which were trained to the end, but cost more."""
    whole = [(r, child) for r in race for child in forest.children(r, "train") if child.state == "measured"]
    if not whole:
        return []
    won, trained = max(whole, key=lambda pair: pair[0].quality)
    found = []
    for root in race:
        if root.state == "measured" and root.quality > won.quality and not forest.children(root, "train"):
            rung = Rung("train", 1 - RACE, root.number)
            # both will have had the same training: the better one keeps its lead
            share = _room(root.quality) / _room(won.quality)
            quality = trained.quality + (1 - share) * _room(trained.quality)
            found.append(Arm(root, rung, _gain(forest, root, quality, root.cost) / _seconds(root, rung)))
    return found


def training_gain(forest: Forest, node: Node) -> float:
    """Quality that training on is expected to add."""
    above = forest.nodes.get(node.rung.parent) if node.rung.parent is not None else None
    if node.rung.kind == "train" and above is not None and above.state == "measured" and node.trained > 1.01:
        return DECAY * max(0.0, node.quality - above.quality)
    seen = [
        (n.quality - up.quality) / _room(up.quality)
        for n in forest.measured()
        if n.rung.kind == "train" and n.rung.parent is not None
        for up in [forest.nodes[n.rung.parent]]
        if up.rung.kind == "narrow"
    ]
    share = float(np.mean(seen[-8:])) if len(seen) >= SEEN else FIRST_GAIN
    return max(0.0, share) * _room(node.quality)


def step_loss(forest: Forest, node: Node) -> float:
    """Quality that a step down is expected to cost; below 0 where its training outweighs the cut."""
    steps = [
        (up.cost, (up.quality - n.quality) / _room(up.quality))
        for n in forest.measured()
        if n.rung.kind == "narrow" and n.rung.parent is not None
        for up in [forest.nodes[n.rung.parent]]
    ]
    near = [loss for cost, loss in steps if 1 / NEAR <= cost / node.cost <= NEAR] or [loss for _, loss in steps]
    share = float(np.mean(near)) if len(steps) >= SEEN else DROP
    return max(share, 0.0) * _room(node.quality)  # a student that was trained on gains less from a step's training


def _room(quality: float) -> float:
    """What is left to gain: errors of a ratio; of another quality its own size."""
    return max(1e-6, 1 - quality) if 0 <= quality <= 1 else abs(quality)


def _gain(forest: Forest, node: Node, quality: float, cost: float) -> float:
    """Hypervolume that a student of this quality and cost would add."""
    values = list(node.values)
    values[forest.goal], values[forest.cost] = forest.sign * quality, cost
    front = [n.values for n in forest.front()]
    return max(0.0, forest.hypervolume([*front, tuple(values)]) - forest.hypervolume(front))


def _seconds(node: Node, rung: Rung) -> float:
    """CPU seconds that a rung takes: a node's own, by training and size."""
    return max(1e-3, node.cpu_s * rung.share / node.rung.share * rung.keep)
