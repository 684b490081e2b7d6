"""Ladders: a root is trained, then made smaller step by step, each step tuned from the one above it.

The order of things: the family's canonical roots compete in short trainings; the best one is trained to the end and its ladder
is walked down until nothing gets faster; then the rest of the budget goes where most hypervolume per CPU second is expected:
training on with a student of the front, another step down from one, or a ladder from a root that the study's sampler proposes.
"""

from __future__ import annotations

from collections.abc import Sequence

from autokd.lineage import rung_text
from autokd.plan import Plan
from autokd.strategies.arms import RACE, arms_of, handicapped
from autokd.strategies.nodes import Forest, Node, rate_of
from autokd.strategies.roots import family_roots, proposed_root
from autokd.trial import Candidate, Rung, TrialRecord

ALIKE = 0.05
"""A later root is walked down when its errors, for its cost, are within this logarithm of the first race's winner's."""
IDLE = 2
"""So many steps in a row that add nothing to the hypervolume end a ladder."""
SMALL = 1e-3
"""A gain below this share of the hypervolume is none."""


class Ladder:
    """The strategy ``ladder``; every decision follows from the ledger's records.

    Args:
        plan: The plan.
        reference: The hypervolume's reference point, if it is known.
    """

    def __init__(self, plan: Plan, reference: Sequence[float] | None) -> None:
        self.plan = plan
        self.forest = Forest(plan.objectives, reference)
        self.options = plan.config.search
        self.first = family_roots(plan) if self.options.roots == "auto" else []

    # ------------------------------------------------------------------------------------------- what is told

    def begun(self, number: int, candidate: Candidate) -> None:
        if candidate.rung is not None:
            self.forest.begin(number, candidate.rung, candidate.params)

    def tell(self, number: int, record: TrialRecord) -> None:
        if record.rung is not None:
            self.forest.tell(number, record)

    def named(self, candidate: Candidate) -> str:
        rung = candidate.rung
        above = self.forest.nodes.get(rung.parent) if rung is not None and rung.parent is not None else None
        return rung_text(rung, above.rung.kind if above else None) if rung is not None else ""

    def origin(self, candidate: Candidate) -> tuple[str, str] | None:
        if candidate.rung is None or candidate.rung.parent is None:
            return None
        return self.forest.nodes[candidate.rung.parent].origin

    # --------------------------------------------------------------------------------------------- what is next

    def next_move(self) -> Candidate | str | None:
        """The next rung; ``None`` while the race of the first roots is still on."""
        roots = self.forest.roots()
        if len(roots) < len(self.first):
            return Candidate(self.first[len(roots)], Rung("root", RACE))
        if not roots:
            return self._new_root()
        step = self._step_down()
        if step is not None:
            return step
        if any(r.state == "running" for r in roots) and not self._walked():
            return None  # the race decides where the first ladder stands
        return self._best_of_the_rest()

    def _step_down(self) -> Candidate | None:
        """The next step of a ladder that is being walked."""
        for root in self._chosen():
            tip = self._tip(root)
            if tip is None:
                continue
            if tip.rung.kind == "root" and tip.rung.share < 1:
                return self._child(tip, Rung("train", 1 - RACE, tip.number))
            return self._child(tip, Rung("narrow", self.options.step_training, tip.number, self.options.keep))
        return None

    def _chosen(self) -> list[Node]:
        """Roots whose ladders are walked: the winner of the first race, and later roots that proved themselves in theirs."""
        race = self.first_race()
        chosen = [] if any(r.state == "running" for r in race) else _winner(race)
        return chosen + [r for r in self.later_roots() if r.state == "measured" and self._promising(r)]

    def _promising(self, root: Node) -> bool:
        """Whether a short training already came close to what the first race's winner had after the same."""
        race = [r for r in self.first_race() if r.state == "measured"]
        return not race or handicapped(root) <= min(map(handicapped, race)) + ALIKE

    def first_race(self) -> list[Node]:
        """The roots that the family named."""
        return self.forest.roots()[: len(self.first)]

    def later_roots(self) -> list[Node]:
        """The roots that the sampler proposed."""
        return self.forest.roots()[len(self.first) :]

    def _walked(self) -> list[Node]:
        return [r for r in self._chosen() if self.forest.children(r)]

    def _tip(self, root: Node) -> Node | None:
        """The lowest rung of a ladder, if the next step may be taken from it now."""
        node, idle = root, 0
        while True:
            if node.state != "measured":
                return None
            short = node.rung.kind == "root" and node.rung.share < 1
            below = self.forest.children(node, "train") if short else []
            below = below or self.forest.children(node, "narrow")
            if not below:
                return None if idle >= IDLE else node
            node = below[0]
            if node.state == "measured" and node.rung.kind == "narrow":
                idle = idle + 1 if node.gain < SMALL * self.forest.volume else 0

    def _best_of_the_rest(self) -> Candidate | None:
        """What promises most hypervolume a CPU second: training on, another step down from a better student, another root."""
        later = self.later_roots()
        arms = arms_of(self.forest, self.options, self.first_race()) if self.options.refine else []
        best = max(arms, key=lambda arm: arm.rate, default=None)
        if any(r.state == "running" for r in later):
            return self._child(best.node, best.rung) if best else None
        if best is None or best.rate < self._rate_of_roots(later):
            return self._new_root()
        return self._child(best.node, best.rung)

    def _rate_of_roots(self, later: Sequence[Node]) -> float:
        """Hypervolume a CPU second that another root is expected to bring.

        What the last ones brought; before there was a second one, a tenth of what the first one did, since the front is there.
        """
        if later:
            spent = [list(self.forest.below(r)) for r in later[-3:]]
            return sum(rate_of(nodes) for nodes in spent) / len(spent)
        walked = [rate_of(list(self.forest.below(r))) for r in self._walked()]
        return 0.1 * max(walked, default=0.0)

    def _new_root(self) -> Candidate:
        share = RACE if self.first else 1.0
        return Candidate(proposed_root(self.plan, self.forest), Rung("root", share))

    def _child(self, parent: Node, rung: Rung) -> Candidate:
        return Candidate(parent.params, rung)


def _winner(race: Sequence[Node]) -> list[Node]:
    """The root with the best errors for its cost."""
    found = [r for r in race if r.state == "measured"]
    return [min(found, key=handicapped)] if found else []
