"""What could be done next, and how much hypervolume a CPU second of it promises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from autokd.strategies.ladder.forecast import Forecast
from autokd.strategies.ladder.nodes import Forest, Node
from autokd.strategies.ladder.prospects import Prospect
from autokd.trial import ParamValue, Rung

if TYPE_CHECKING:
    from autokd.config.study_file import SearchConfig

RACE = 1 / 3
"""Training of a root that nobody vouches for. Rank correlation with the final accuracy: .31 at 11 %, .80 at 33 % (measured on
Fashion-MNIST): a shorter one chooses at random."""
AHEAD, AT_ONCE = (0.5, 1.0, 2.0, 4.0), 1.0
"""How far training on is thought ahead, in multiples of the training so far, and how much of it is done before the next look. A
dear student is worth nothing before it was trained for long, and would never be begun by one who looks at the next rung only.
Restarts cost accuracy (with one after a third of the training .1 points, with four .4), but longer stretches have left a whole
budget in one student. At growing distances: I. Loshchilov & F. Hutter, "SGDR", ICLR 2017, https://arxiv.org/abs/1608.03983."""
SHORTEST, SPARE = 0.25, 0.95
"""The end of a budget goes into at least such a part of a usual training on, with some room for what cannot be foretold."""
ROOT_AHEAD, ROOT_AT_ONCE = (1.0, 2.0, 4.0, 8.0), 2.0
"""The same for a root, in whole trainings, and what of it is done before it is looked at again."""
MOST = 0.5
"""At most such a share of the CPU seconds that are left goes into a root at once: something must be left to make of it."""


@dataclass(frozen=True)
class Arm:
    """One thing to do.

    Args:
        node: Where it goes on from; ``None``: the family's next root.
        rung: The next rung.
        rate: Expected hypervolume a CPU second, the rungs that would follow included.
        seconds: CPU seconds of all of them.
        params: Of a root: which one.
    """

    node: Node | None
    rung: Rung
    rate: float
    seconds: float
    params: Mapping[str, ParamValue] | None = None


def arms_of(forest: Forest, options: SearchConfig, left_s: float = math.inf) -> list[Arm]:
    """Everything that may be done from trained students within ``left_s`` CPU seconds; what is being done is left out.

    Any student may be trained on, one off the front if it may come back to it; those of the front may be made smaller.
    """
    forecast, found, front = Forecast(forest), [], forest.front()
    for node in forest.measured():
        if (options.refine or node.trained < 1) and not forest.children(node, "train"):
            ways = []
            for share in _lengths(node, left_s):
                rung = Rung("train", round(min(share, AT_ONCE * max(1.0, node.trained)), 3), node.number)
                quality = forecast.trained(node.quality, node.trained, share, forecast.slope(node))
                ways.append((rung, quality, node.cost, forecast.seconds(node, Rung("train", share))))
            found += _best(forest, node, ways, left_s)
        if options.steps and node in front and not forest.children(node, "narrow"):
            rung = Rung("narrow", options.step_training, node.number, options.keep)
            seconds = forecast.seconds(node, rung)
            quality, cost = forecast.stepped(node, options.keep)
            ways = [(rung, quality, cost, seconds)]
            if options.refine:  # what it is worth once it was trained on as well
                after = forecast.trained(quality, 1.0, 1.0)
                ways.append(
                    (rung, after, cost, seconds + forecast.seconds(node, Rung("train", 1.0, keep=options.keep)))
                )
            found += _best(forest, node, ways, left_s)
    return found


def _lengths(node: Node, left_s: float) -> list[float]:
    """Sensible lengths of training on, as shares of a root's; the rest of the budget where that is shorter than all of them."""
    usual = [ahead * max(1.0, node.trained) for ahead in AHEAD]
    room = (SPARE * left_s - node.around_s) / max(1e-9, node.per_share)
    return [room] if SHORTEST * usual[0] <= room < usual[0] else usual


def root_arms(
    forest: Forest,
    done: Sequence[Node],
    left_s: float,
    waiting: Sequence[tuple[Mapping[str, ParamValue], Prospect | None]],
) -> list[Arm]:
    """The family's roots that were not begun.

    Args:
        forest: What is known.
        done: Those that were trained already, from cheap to dear.
        left_s: CPU seconds that are left.
        waiting: The others in order, with what the survey knows of each; without a survey only the next is foretold.
    """
    forecast = Forecast(forest)
    found = []
    for params, prospect in waiting if waiting and waiting[0][1] is not None else waiting[:1]:
        ways = []
        for share in ROOT_AHEAD:
            at_once = min(share, ROOT_AT_ONCE)
            quality, cost, seconds = forecast.next_root(done, share, prospect)
            if forecast.next_root(done, at_once, prospect)[2] <= MOST * left_s:
                ways.append((Rung("root", at_once), quality, cost, seconds))
        found += [replace(arm, params=params) for arm in _best(forest, None, ways, left_s)]
    return found


Way = tuple[Rung, float, float, float]
"""The next rung; and after all of them quality, cost and CPU seconds spent."""


def _best(forest: Forest, node: Node | None, ways: Sequence[Way], left_s: float) -> list[Arm]:
    """Of one thing to do, as far ahead as it pays best; nothing where the budget has no room or it promises nothing."""
    arms = [
        Arm(node, rung, forest.would_gain(quality, cost) / seconds, seconds)
        for rung, quality, cost, seconds in ways
        if seconds <= left_s
    ]
    best = max(arms, key=lambda a: a.rate, default=None)
    return [best] if best is not None and best.rate > 0 else []
