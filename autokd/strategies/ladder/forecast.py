"""What a rung is expected to bring and to cost, from the rungs before it.

Errors fall about as a power of the training (J. Hestness et al., "Deep Learning Scaling is Predictable, Empirically", 2017,
https://arxiv.org/abs/1712.00409). The exponent is assumed until it is seen; a student's own past counts more than that of others,
since small ones flatten sooner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from autokd.strategies.ladder.nodes import Forest, Node
from autokd.strategies.ladder.prospects import Prospect
from autokd.trial import Rung

SEASONED, FRESH = 0.15, 0.4
"""Exponent of the training before any was seen: beyond one whole training, and before."""
TRUST = 1.0
"""An assumption counts like an observation over e times the training: what is seen over a short stretch is mostly the validation
split's noise."""
LOOK_BACK = 3.0
"""A student's own exponent is that of the stretch since it had so much less training: small ones flatten sooner."""
DROP = 0.1
"""Share of errors that a step down adds, before any was seen; it counts like one observation."""
NEAR = 0.15
"""A step's harm is judged from steps that began about as dear: so far off, in the logarithm of the cost, one counts a third."""
RECENT = 6
"""Of these the last ones: a student that was trained on loses more by a cut than one that was hardly trained."""
LARGER, BETTER, DEARER = 1.3, 0.93, 2.0
"""Cost, errors and CPU seconds of a family's next root over those of the one before, until there are two."""


def room(quality: float) -> float:
    """What is left to gain: errors of a ratio; of another quality its own size."""
    return max(1e-6, 1 - quality) if 0 <= quality <= 1 else abs(quality)


class Forecast:
    """Expectations of a forest.

    Args:
        forest: What is known.
    """

    def __init__(self, forest: Forest) -> None:
        self.forest = forest
        self._seen = [
            stretch
            for node in forest.measured()
            if node.rung.kind == "train" and (stretch := _stretch(self._above(node), node))
        ]
        self._steps = [
            (above, node)
            for node in forest.measured()
            if node.rung.kind == "narrow" and (above := self._above(node)) is not None
        ]

    def trained(self, quality: float, before: float, share: float, slope: float | None = None) -> float:
        """Quality after ``share`` more of a whole training, ``before`` which there was so much."""
        usual = self._usual() if slope is None else slope
        early = (before / min(1.0, before + share)) ** FRESH if before < 1 else 1.0
        late = (max(1.0, before) / max(1.0, before + share)) ** usual
        return quality + room(quality) * (1 - early * late)

    def slope(self, node: Node) -> float:
        """Exponent with which a node's errors fall with its training."""
        first, above = node, self._above(node)
        while first.rung.kind == "train" and above is not None and above.trained >= 1:
            first, above = above, self._above(above)
            if node.trained >= LOOK_BACK * first.trained:
                break
        own = _stretch(first, node)
        return _fitted(self._usual(), [own] if own else [])

    def _usual(self) -> float:
        return _fitted(SEASONED, self._seen[-8:])

    def stepped(self, node: Node, keep: float) -> tuple[float, float]:
        """Quality and cost after a step down that aims at ``keep`` of the cost."""
        share, kept, weight = DROP, math.log(keep), 1.0
        for above, below in self._steps[-RECENT:]:
            counts = math.exp(-((math.log(above.cost / node.cost) / NEAR) ** 2))
            share += counts * (above.quality - below.quality) / room(above.quality)
            kept += counts * math.log(below.cost / above.cost)
            weight += counts
        # a student that was trained on gains less from a step's training
        lost = max(0.0, share / weight) * room(node.quality)
        return node.quality - lost, math.exp(max(kept / weight, math.log(keep))) * node.cost

    def next_root(
        self, done: Sequence[Node], share: float, prospect: Prospect | None = None
    ) -> tuple[float, float, float]:
        """Quality, cost and CPU seconds of one of the family's roots after ``share`` of a training, out of those before it.

        A family names its roots from cheap to dear: what the last step between two of them changed is expected again.

        Args:
            done: Those that were trained, from cheap to dear.
            share: Of a whole training.
            prospect: What is known of it beside the last of them; without, it is the next.
        """
        last = done[-1]
        larger, better, dearer, places = LARGER, BETTER, DEARER, 1
        if len(done) > 1:
            larger = min(4.0, max(1.0, last.cost / done[-2].cost))
            dearer = min(8.0, max(1.0, last.per_share / max(1e-9, done[-2].per_share)))
            seen = min(1.0, max(0.5, self._whole(last) / self._whole(done[-2])))
            # that a larger one was no better may be the validation split's noise, or a training too short for it
            better = min(seen, math.sqrt(BETTER * seen))
        if prospect is not None:
            larger, dearer, places = prospect.larger, prospect.dearer, prospect.places
        left = better**places * self._whole(last) * share ** -(SEASONED if share > 1 else FRESH)
        quality = last.quality + room(last.quality) - left
        return quality, larger * last.cost, max(1e-3, last.around_s + dearer * last.per_share * share)

    def of_running(
        self, node: Node, done: Sequence[Node], prospect: Prospect | None = None
    ) -> tuple[float, float, float] | None:
        """Quality, cost and CPU seconds that are expected of a rung that runs.

        Args:
            node: The rung.
            done: The family's roots that were measured, from cheap to dear.
            prospect: Of a root: what is known of it beside the last of them.
        """
        above, rung = self._above(node), node.rung
        if rung.kind == "root":
            return self.next_root(done, rung.share, prospect) if done else None
        if above is None:
            return None
        seconds = self.seconds(above, rung)
        if rung.kind == "train":
            return self.trained(above.quality, above.trained, rung.share, self.slope(above)), above.cost, seconds
        return *self.stepped(above, rung.keep), seconds

    def seconds(self, node: Node, rung: Rung) -> float:
        """CPU seconds of a rung from a node: training by its length and the student's size, and what is around it."""
        return max(1e-3, node.per_share * rung.share * rung.keep + node.around_s)

    def _whole(self, root: Node) -> float:
        """A root's errors as they were or would be after one whole training."""
        return room(root.quality) * root.trained ** (FRESH if root.trained < 1 else SEASONED)

    def _above(self, node: Node) -> Node | None:
        above = self.forest.nodes.get(node.rung.parent) if node.rung.parent is not None else None
        return above if above is not None and above.state == "measured" else None


Stretch = tuple[float, float]
"""Logarithms of how much more training, and of how many errors fewer."""


def _stretch(first: Node | None, last: Node) -> Stretch | None:
    if first is None or first is last or first.trained < 1:
        return None
    return math.log(last.trained / first.trained), math.log(room(first.quality) / room(last.quality))


def _fitted(assumed: float, seen: Sequence[Stretch]) -> float:
    """The slope through the origin by least squares, drawn to what was assumed; never a rise of errors."""
    found = (TRUST * assumed + sum(x * y for x, y in seen)) / (TRUST + sum(x * x for x, _ in seen))
    return min(1.0, max(0.0, found))
