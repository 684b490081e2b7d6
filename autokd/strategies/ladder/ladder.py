"""Ladders: a root is trained, then made smaller step by step, each step tuned from the one above it.

The two cheapest of the family's roots are trained first: they give a front within seconds, and tell what a dearer root brings.
From then on every rung is the one that promises most hypervolume per CPU second: training on with a student of the front, a step
down from one, the family's next root, or a root that the study's sampler proposes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from autokd.config.objectives import Objective
from autokd.config.plan import Plan
from autokd.config.roots import family_roots
from autokd.config.study_file import SearchConfig
from autokd.errors import ConfigError
from autokd.evaluation.recipe import make_recipe
from autokd.storage.lineage import rung_text
from autokd.strategies.ladder.arms import RACE, arms_of, root_arms
from autokd.strategies.ladder.forecast import Forecast
from autokd.strategies.ladder.nodes import Forest, Node, rate_of
from autokd.strategies.ladder.prospects import Prospect, Survey
from autokd.strategies.ladder.roots import SEARCHED, proposed_root
from autokd.strategies.strategy import DONE
from autokd.trial import Candidate, Origin, ParamValue, Rung, TrialRecord

STARTERS = 2
"""So many of the family's roots are trained before anything is compared; from one alone the next cannot be foretold, and with one
whole budgets went into the cheapest."""
FIRST_SHARE, SECOND_SHARE, LEAST = 0.15, 0.4, 0.6
"""The first of them takes at most such a share of the CPU seconds that are left; the second is the dearest root of which at least
``LEAST`` of a whole training fits into its share."""
TEACHERLY = 0.2
"""The dearest root of all is more a teacher than a student: it is the second only where all of it takes at most such a share."""
EXPLORED = 0.05
"""At least so much of the CPU seconds goes into short trainings of proposed roots: what is expected of training on never reaches
nothing, and a search that follows expectations alone would not look elsewhere again. Not in the budget's last part, though, when no
time is left to make something of what is found."""
LAST_PART = 1 / 3


class Ladder:
    """Walks down from trained students, each step tuned from the one above; every decision follows from the ledger's records.

    Args:
        plan: The plan.
        reference: The hypervolume's reference point, if it is known.
    """

    sampled: ClassVar[bool] = False
    ladders: ClassVar[bool] = True

    def __init__(self, plan: Plan, reference: Sequence[float] | None) -> None:
        self.plan = plan
        self.beside_s = 0.0
        self.options = plan.config.search
        self.forest = Forest(plan.objectives, reference)
        self.forest.stated = self.forest.goal_name in plan.config.reference_point
        self.searched = [p.name for p in plan.space.parameters if p.stage in SEARCHED]
        self.first = family_roots(plan) if self.options.roots == "auto" else []
        self.survey: Survey | None = None

    @classmethod
    def check(cls, search: SearchConfig, objectives: Sequence[Objective]) -> None:
        """It walks down one objective of cost while it watches one of quality, and races its roots itself.

        Raises:
            ConfigError: One of the two is missing, or its trainings are to be stopped early.
        """
        if search.stop_early != "none":
            law = "`search.stop_early` is for `strategy: independent`"
            mend = "A ladder races its roots itself: leave it out."
            raise ConfigError(law, f"{search.stop_early} with ladder", mend)
        for scale, what, mend in (
            ("log", "a cost, such as latency", "Add e.g. minimize latency_ms@cpu_1_thread"),
            ("linear", "a quality, such as accuracy", "Add e.g. maximize accuracy"),
        ):
            if not any(o.scale == scale for o in objectives):
                law = f"`search.strategy: ladder` needs {what}, among the objectives"
                raise ConfigError(law, [o.name for o in objectives], f"{mend}, or use `strategy: independent`.")

    # ------------------------------------------------------------------------------------------- what is told

    def knows(self, facts: Mapping[str, Any]) -> None:
        """What preparation found: the survey of the family's roots."""
        size = int(((facts.get("data") or {}).get("splits") or {}).get("train", 0))
        samples = make_recipe(self.plan.config.training, {}, size).samples if size else 0
        self.survey = Survey.of(facts, self.first, self.forest.cost_name, samples, self.searched) if samples else None

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

    def origin(self, candidate: Candidate) -> Origin | None:
        if candidate.rung is None or candidate.rung.parent is None:
            return None
        return self.forest.nodes[candidate.rung.parent].origin

    # --------------------------------------------------------------------------------------------- what is next

    def next_move(self) -> Candidate | str | None:
        """The next rung; ``None`` while nothing was measured but something runs."""
        waiting = self._waiting_roots()
        if len(self.first) - len(waiting) < min(STARTERS, len(self.first)):
            return self._starter(waiting)
        if not self.forest.measured():
            if waiting:
                return Candidate(waiting[0], Rung("root", 1.0))
            return None if self.forest.running() else self._new_root()
        return self._most_promising(waiting)

    def _most_promising(self, waiting: Sequence[Mapping[str, ParamValue]]) -> Candidate | str | None:
        """What promises most hypervolume a CPU second and can be had with what is left of the budget."""
        mine = self.family_roots_begun()
        done = [r for r in mine if r.state == "measured"]
        self._believe(done, mine)
        left = self._seconds_left(mine)
        arms = arms_of(self.forest, self.options, left)
        # what a root brings is told from those before it: one at a time
        if waiting and done and not any(r.state == "running" for r in mine):
            arms += root_arms(self.forest, done, left, [(p, self._prospect(p, done)) for p in waiting])
        best = max(arms, key=lambda a: a.rate, default=None)
        if best is None and self.forest.volume == 0 and (step := self._down_to_the_reference()):
            return step
        # the very first root brought what any root would have brought
        later = [r for r in self.forest.roots()[1:] if r not in mine]
        may = self._usual_root() <= left and not any(r.state == "running" for r in later)
        if may and (best is None or best.rate < self._rate_of_roots(later) or self._due(later)):
            return self._new_root()
        if best is None:
            if self.forest.running():
                return None
            # a last root ends a budget that counts no CPU seconds: nothing else says that it is spent
            return self._new_root() if math.isinf(left) else DONE
        if best.node is None:
            return Candidate(best.params or waiting[0], best.rung)
        return Candidate(best.node.params, best.rung)

    def _starter(self, waiting: Sequence[Mapping[str, ParamValue]]) -> Candidate:
        """One of the roots that are trained before anything is compared: the cheapest, then the dearest that the budget bears.

        Without a budget of seconds, or a survey, the two cheapest.
        """
        left, known = self._bounded_s(), self.survey
        if known is None or math.isinf(left):
            return Candidate(waiting[0], Rung("root", 1.0))
        places = [k for p in waiting if (k := known.place(p)) is not None]
        if not places:
            return Candidate(waiting[0], Rung("root", 1.0))
        if len(waiting) == len(self.first):
            return self._root(known, places[0], FIRST_SHARE * left)
        bears = SECOND_SHARE * left
        last = len(known.roots) - 1
        fit = [k for k in places if LEAST * known.whole_s(k) <= bears]
        fit = [k for k in fit if k < last or known.whole_s(k) <= TEACHERLY * left]
        return self._root(known, max(fit, default=places[0]), bears)

    def _root(self, known: Survey, place: int, bears_s: float) -> Candidate:
        """A root, trained as long as so many CPU seconds allow: at most once, and never hardly at all."""
        share = round(min(1.0, max(LEAST / 2, bears_s / known.whole_s(place))), 3)
        return Candidate(known.roots[place], Rung("root", share))

    def _bounded_s(self) -> float:
        """CPU seconds that are left of a budget of seconds, on the clock or not; infinite where there is none."""
        budget = self.plan.config.budget
        bounds = (budget.cpu_s, budget.wall_s and budget.wall_s * self.plan.concurrency)
        return min((b - self._spent() for b in bounds if b), default=math.inf)

    def _down_to_the_reference(self) -> Candidate | None:
        """A step from the cheapest student, while all are dearer than the reference and nothing promises anything."""
        walked = (n for n in self.forest.front() if not self.forest.children(n, "narrow"))
        node = next(walked, None) if self.options.steps else None
        if node is None:
            return None
        return Candidate(node.params, Rung("narrow", self.options.step_training, node.number, self.options.keep))

    def _believe(self, done: Sequence[Node], mine: Sequence[Node]) -> None:
        """Count what runs as if it had given what is expected of it."""
        forecast = Forecast(self.forest)
        # what a root of the sampler's will be like nobody can tell, only about what it costs
        likely = [n for n in self.forest.running() if n.rung.kind != "root" or n in mine]
        expected = (forecast.of_running(n, done, self._prospect(n.params, done)) for n in likely)
        self.forest.believe([found for found in expected if found])

    def _prospect(self, params: Mapping[str, ParamValue], done: Sequence[Node]) -> Prospect | None:
        """What the survey knows of a root beside the last that was trained."""
        return self.survey.beside(params, done[-1].params) if self.survey is not None and done else None

    def _spent(self) -> float:
        """CPU seconds of all rungs that ended, and of what was done beside them."""
        return self.beside_s + sum(n.cpu_s for n in self.forest.nodes.values())

    def _seconds_left(self, mine: Sequence[Node]) -> float:
        """CPU seconds that the budget still has, if it counts them; what runs will take its own."""
        whole = self.plan.config.budget.cpu_s
        if whole is None:
            return math.inf
        proposed = sum(n.rung.kind == "root" and n not in mine for n in self.forest.running())
        running = sum(seconds for _, _, seconds in self.forest.believed) + proposed * self._usual_root()
        return whole - self._spent() - running

    def _usual_root(self) -> float:
        """CPU seconds of a short training of a root that the sampler proposes, out of all roots so far."""
        roots = [r for r in self.forest.roots() if r.state == "measured"]
        return sum(r.per_share * RACE + r.around_s for r in roots) / max(1, len(roots))

    def _due(self, later: Sequence[Node]) -> bool:
        """Whether another proposed root would still cost no more than their share."""
        spent, whole = self._spent(), self.plan.config.budget.cpu_s
        late = whole is not None and spent > (1 - LAST_PART) * whole
        return not late and sum(r.cpu_s for r in later) + self._usual_root() <= EXPLORED * spent

    def _rate_of_roots(self, later: Sequence[Node]) -> float:
        """Hypervolume a CPU second that a root of the sampler's is expected to bring: what the last ones and their ladders did."""
        spent = [list(self.forest.below(r)) for r in later[-3:]]
        return sum(rate_of(nodes) for nodes in spent) / max(1, len(spent))

    # ------------------------------------------------------------------------------------------------- roots

    def family_roots_begun(self) -> list[Node]:
        """Those of the roots that the family names, from cheap to dear."""
        known = [self._key(params) for params in self.first]
        mine = [r for r in self.forest.roots() if self._key(r.params) in known]
        return sorted(mine, key=lambda r: known.index(self._key(r.params)))

    def _waiting_roots(self) -> list[dict[str, ParamValue]]:
        begun = [self._key(r.params) for r in self.forest.roots()]
        return [params for params in self.first if self._key(params) not in begun]

    def _key(self, params: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
        """What makes a root another one; the bits that it ships do not."""
        return {name: params[name] for name in self.searched if name in params}

    def _new_root(self) -> Candidate:
        share = RACE if self.forest.measured() else 1.0
        return Candidate(proposed_root(self.plan, self.forest), Rung("root", share))
