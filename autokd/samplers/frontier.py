"""The ``frontier`` sampler: Bayesian optimisation that models only what is unknown."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from autokd.samplers.beliefs import Beliefs, Design, design_of, spread
from autokd.samplers.candidates import Candidates, breeding, distinct, drawing, grid, keys_of
from autokd.samplers.conditions import (
    Asked,
    Completion,
    Learnt,
    Params,
    Space,
    coordinates,
    draw,
    in_order,
    learnt,
    unseen_choices,
    wider,
)
from autokd.samplers.declared import Declared
from autokd.samplers.facts import Facts, Pool
from autokd.samplers.history import union
from autokd.samplers.nni_space import Axis
from autokd.samplers.observed import Observed, Spent, View, scales_of
from autokd.samplers.threads import one_thread
from autokd.samplers.worth import worth

GRID = 20_000
"""A space without conditions of at most so many candidates is looked at as a whole."""
STARTUP = 6
"""Of the sampler by name: where a search has twenty trials, ten that fill the space take most of its time."""
LEAP = 3
"""Of a search that has come to a halt every so many-th proposal is a child of the front whatever the model thinks of it: a model
that is sure of too much sees nothing left to find, and only what it would not have tried shows it."""
CHILDREN = 64
"""Of the front, for such a proposal."""
REFINED = 8
"""Best candidates of a drawn pool whose children are looked at too."""


class FrontierSampler(BaseSampler):
    """Expected hypervolume improvement with the free objectives exact; for one, two or more objectives; stateless.

    Latency, size and operations of a network do not depend on its weights: they can be known before it is trained.
    This sampler knows them for thousands of candidates, models only the rest with a Gaussian process over the
    parameters and the free facts, and proposes the candidate that is expected to enlarge the hypervolume of the front
    most. Trials in flight count as if they had given what is expected of them ("kriging believer": D. Ginsbourger, R.
    Le Riche & L. Carraro, 2010, https://doi.org/10.1007/978-3-642-10701-6_6), so parallel proposals differ.

    >>> import optuna
    >>> from autokd.samplers import FrontierSampler
    >>> def latency(params):
    ...     return 0.1 * params["depth"] * params["width"]
    >>> def objective(trial):
    ...     params = {"depth": trial.suggest_int("depth", 1, 9), "width": trial.suggest_int("width", 8, 64, step=8)}
    ...     return latency(params), 1 - 1 / (params["depth"] * params["width"])  # in truth: train and validate
    >>> sampler = FrontierSampler(known={0: latency}, seed=0)
    >>> study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
    >>> study.optimize(objective, n_trials=15)
    >>> len(study.best_trials) > 5
    True

    Everything follows from the seed, the trial's number and the study's other trials, so a resumed study goes on as an
    uninterrupted one. The space need not be declared: it is what the trials so far have suggested, and under which
    conditions a parameter appears is learnt from them.

    Args:
        known: From the index of an objective, or the name of a constraint, to a function of the parameters that
            gives its exact value. It is given what ``trial.params`` would hold, and called once a candidate; one for
            which it raises or gives NaN is left out. A function that takes milliseconds may offer approximations for
            pools (:class:`autokd.samplers.facts.HasRough`); then only the best candidates are asked exactly.
        features: Further free facts: from the parameters to a one-dimensional array, always of one length.
        cost: Expected seconds of a trial from its parameters: the improvement per second is maximised then.
        spent: From a finished trial to the seconds that it took (``None``: not known), such as
            :func:`autokd.samplers.frontier.duration`: without ``cost`` they are modelled like an objective.
        space: All parameters, or a function that suggests them from a trial; ``None`` learns them.
        reference_point: Values, one an objective, that a candidate must better to count; ``None``, or ``None`` in a
            place, infers it: see :meth:`autokd.samplers.observed.Observed.reference`.
        scales: ``"linear"`` or ``"log"`` for each objective; linear by default.
        startup: Trials that are spread over the space (and the known objective) before the model is asked.
        pool: Candidates looked at for each proposal. Of a space without conditions and of at most ``GRID`` candidates
            the whole is looked at instead, unless ``space`` is a function.
        seed: Any integer; ``None`` draws one.

    Raises:
        ValueError: A length or a scale that does not fit, when the study is first asked.
    """

    stateless = True

    def __init__(
        self,
        known: Mapping[int | str, Callable[[Params], float]] | None = None,
        *,
        features: Callable[[Params], Any] | None = None,
        cost: Callable[[Params], float] | None = None,
        spent: Spent | None = None,
        space: Space | None = None,
        reference_point: Sequence[float | None] | None = None,
        scales: Sequence[str] | None = None,
        startup: int = 10,
        pool: int = 1000,
        seed: int | None = None,
    ) -> None:
        self._features, self.cost, self.spent = features, cost, spent
        self.known = known or {}
        self.reference_point = reference_point
        self.scales = scales
        self.startup = startup
        self.pool = pool
        self._space: Mapping[str, BaseDistribution] = {}
        self._asked: Asked | Declared | None = None
        if callable(space):
            self._asked = Asked(space)
        elif space is not None:
            self._space = dict(space)
        self._seed = int(np.random.default_rng().integers(2**31)) if seed is None else seed % 2**63
        self._handed: dict[tuple[str, int], Params] = {}
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()

    @property
    def known(self) -> Mapping[int | str, Callable[[Params], float]]:
        """The exact functions; may be set before the first proposal."""
        return self._known

    @known.setter
    def known(self, known: Mapping[int | str, Callable[[Params], float]]) -> None:
        self._known = dict(known)
        self._forget()

    @property
    def features(self) -> Callable[[Params], Any] | None:
        """The further free facts; may be set at any time, what was known of the old ones is forgotten."""
        return self._features

    @features.setter
    def features(self, features: Callable[[Params], Any] | None) -> None:
        self._features = features
        self._forget()

    def informed(
        self,
        *,
        known: Mapping[int | str, Callable[[Params], float]] | None = None,
        features: Callable[[Params], Any] | None = None,
        spent: Spent | None = None,
        complete: Declared | None = None,
        scales: Sequence[str] | None = None,
        reference_point: Sequence[float | None] | None = None,
    ) -> None:
        """Take over what somebody knows of the study (see the class), where the sampler's maker said nothing of it.

        ``complete`` holds the conditions of the space.
        """
        if self._features is None:
            self._features = features
        self.known = {**(known or {}), **self._known}
        self.spent = self.spent or spent
        self._asked = self._asked or complete
        self.scales = self.scales or scales
        self.reference_point = self.reference_point or reference_point

    def _forget(self) -> None:
        self._facts = Facts(self._known, self._features, self.cost)
        self._grid: Pool | None = None
        self._grid_axes: list[Axis] = []
        self._grid_design = Design(np.empty((0, 0)), np.empty((0, 0)))
        self._beliefs = Beliefs()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every parameter of the space, or that a trial has had, that can take more than one value."""
        return {n: d for n, d in sorted(self._union(_others(study, trial)).items()) if not d.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next candidate, for all parameters at once; empty where nothing is known of the space yet."""
        with self._lock:
            trials = _others(study, trial)
            space = {**self._union(trials), **search_space}
            if not space:
                return {}
            with one_thread():
                candidate = self._propose(study, trials, space, trial.number)
            self._handed[study.study_name, trial.number] = candidate
        return {n: v for n, v in candidate.items() if n in search_space}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random draw: for the first trials, and for what turns out active beyond the candidate."""
        return draw(Axis.of(param_name, param_distribution), self._random(trial.number, param_name))

    # ------------------------------------------------------------------------------------------- one proposal

    def _propose(
        self, study: Study, trials: Sequence[FrozenTrial], space: Mapping[str, BaseDistribution], number: int
    ) -> Params:
        rng = self._random(number, "candidates")
        axes = in_order(trials, space)
        complete: Completion = self._asked or learnt(trials, axes)
        running = self._running(study, trials, complete)
        scales = scales_of(study.directions, self.scales, self.reference_point, self._known)
        seen = Observed.read(trials, scales, None if self.cost else self.spent)
        started = len(seen.params) + len(running)
        # Conditions that no trial has shown may be missing yet, so `known` must not see these candidates.
        if self._asked is None and started < self.startup // 2:
            return complete(unseen_choices(trials, axes, rng), rng)
        taken = set(keys_of(coordinates(axes, [*(t.params for t in trials), *running])))
        # together: where none is finished, or none in flight, both still have the same columns
        both = design_of(self._facts.pool([*seen.params, *running], whole=False), axes)
        done, air = both[: len(seen.params)], both[len(seen.params) :]
        pool, chance, used = self._whole(axes, complete), np.random.default_rng(rng.getrandbits(64)), set(taken)
        drawn = pool is None
        if pool is None:
            pool = self._facts.pool(self._drawn(axes, complete, chance, seen, used), rough=True)
        base = seen.reference(self.reference_point, scales, pool)
        view = View(seen, scales, axes, running, done, air, base, taken, started, rng)
        if started >= self.startup and started % LEAP == 0 and seen.stalled(base):
            leap = self._leap(view, complete, chance, set(taken))
            if leap is not None:
                return leap
        best, score = self._best(pool, view)
        if drawn and started >= self.startup and best:
            finer = breeding(coordinates(axes, best), axes, complete, chance)
            children = distinct(axes, finer, self.pool // 2, used)
            better, higher = self._best(self._facts.pool(children, rough=True), view)
            best = better if better and higher > score else best
        return self._first(best, view) or complete({}, rng)

    def _drawn(
        self, axes: Sequence[Axis], complete: Completion, chance: np.random.Generator, seen: Observed, used: set[bytes]
    ) -> Candidates:
        """Half a pool at random, half of it children of the front."""
        source = drawing(axes, complete, chance)
        parents = coordinates(axes, seen.best())
        if not len(parents):
            return distinct(axes, source, self.pool, used)
        halves = [distinct(axes, s, self.pool // 2, used) for s in (source, breeding(parents, axes, complete, chance))]
        return Candidates(axes, np.concatenate([half.rows for half in halves]))

    def _leap(self, view: View, complete: Completion, chance: np.random.Generator, used: set[bytes]) -> Params | None:
        """A child of the front, by chance, that keeps the exact limits and betters the reference in what is known."""
        source = breeding(coordinates(view.axes, view.seen.best()), view.axes, complete, chance)
        pool = self._facts.pool(distinct(view.axes, source, CHILDREN, used), rough=True)
        for i in np.flatnonzero(self._possible(pool, view))[:REFINED].tolist():
            child = self._facts.pool([pool.params[i]])
            if len(child.params) and self._possible(child, view)[0]:
                return child.params[0]
        return None

    def _possible(self, pool: Pool, view: View) -> np.ndarray:
        """Which candidates ``(p,)`` what is known of them leaves in the race."""
        better = [view.scales[j](v) > view.base[j] for j, v in pool.known.items() if isinstance(j, int)]
        return np.all([pool.allowed, *better], axis=0)

    def _first(self, best: list[Params], view: View) -> Params | None:
        """The best of the best candidates, their facts exact."""
        if best and view.started >= self.startup and self._facts.approximates:
            best, _ = self._best(self._facts.pool(best), view)
        return best[0] if best else None

    def _best(self, pool: Pool, view: View) -> tuple[list[Params], float]:
        """The best candidates of a pool, best first, and the best one's score."""
        if not len(pool.params):
            return [], -math.inf
        free = pool.params.free(view.taken) if isinstance(pool.params, Candidates) else np.ones(len(pool.params), bool)
        if not free.any():  # a small space is used up: the best is measured once more
            free[:] = True
        if view.started < self.startup:
            others = view.done.beside(view.air)
            score = spread(view.axes, self._design_of(pool, view.axes), others, list(pool.known.values()), view.started)
        else:
            score = self._score(pool, view)
        score = np.where(free, score, -math.inf)
        # Equal scores are put in an order of chance, by the seed.
        chance = np.random.default_rng(view.rng.getrandbits(32)).random(len(score))
        best = np.flatnonzero(score >= np.sort(score)[-REFINED:][0])
        order = best[np.lexsort((chance[best], -score[best]))]
        return [pool.params[i] for i in order[:REFINED].tolist()], float(score[order[0]])

    def _score(self, pool: Pool, view: View) -> np.ndarray:
        flying = self._facts.pool(view.running, whole=False)
        return worth(self._beliefs, pool, self._design_of(pool, view.axes), flying, view, keep=pool is self._grid)

    # ----------------------------------------------------------------------------------------- what it looks at

    def _whole(self, axes: Sequence[Axis], complete: Completion) -> Pool | None:
        """The whole space, if it has no conditions and is small."""
        if not isinstance(complete, Learnt) or not complete.unconditional:
            return None
        if self._grid is None or self._grid_axes != list(axes):
            candidates = grid(axes, GRID)
            if candidates is None:
                return None
            whole = self._facts.pool(candidates, rough=True)
            self._grid, self._grid_axes, self._grid_design = whole, list(axes), design_of(whole, axes)
        return self._grid

    def _design_of(self, pool: Pool, axes: Sequence[Axis]) -> Design:
        return self._grid_design if pool is self._grid else design_of(pool, axes)

    def _union(self, trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
        found = {**self._space, **union(trials)}
        for name, d in self._asked.distributions.items() if self._asked else ():
            found[name] = wider(d, found[name]) if name in found else d
        return found

    def _running(self, study: Study, trials: Sequence[FrozenTrial], complete: Completion) -> list[Params]:
        """Whole candidates of the trials in flight: what was handed out, or what the ledger says so far."""
        found = []
        for t in trials:
            if t.state is TrialState.RUNNING:
                wishes = {**self._handed.get((study.study_name, t.number), {}), **t.params}
                if wishes:
                    found.append(complete(wishes, self._random(t.number, "running")))
            else:
                self._handed.pop((study.study_name, t.number), None)
        return found

    def _random(self, number: int, purpose: str) -> random.Random:
        return random.Random(f"{self._seed} {number} {purpose}")


def duration(trial: FrozenTrial) -> float | None:
    """Seconds between a trial's start and its end."""
    return trial.duration.total_seconds() if trial.duration is not None else None


def frontier(seed: int, space: Mapping[str, BaseDistribution]) -> BaseSampler:
    """Bayesian optimisation of the hypervolume: free objectives are exact, the others modelled by Gaussian processes."""
    return FrontierSampler(space=space, seed=seed, startup=STARTUP)


def _others(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    return [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
