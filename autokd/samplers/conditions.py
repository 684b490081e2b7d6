"""Which parameters a candidate has, learnt from the trials of a define-by-run study or asked from its own function."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from autokd.samplers.nni_space import MISSING, Axis

Params = dict[str, Any]
Space = Mapping[str, BaseDistribution] | Callable[[Any], Any]
"""All parameters that can occur, or a function that suggests them from a trial, conditions and all."""
FIRST = 256
"""Candidates drawn from a function at first, so that rare branches and the ends of ranges that depend on others are known."""
THRESHOLDS = 16
"""Of a number, tried in a split."""


class Completion(Protocol):
    """Makes wishes for some parameters a whole candidate: exactly the parameters that a trial would have."""

    def __call__(self, wishes: Mapping[str, Any], rng: random.Random) -> Params:
        """The wishes that are active and allowed; every other active parameter is drawn."""
        ...

    def rows(self, axes: Sequence[Axis], wishes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The same for many: ``(n, axes)`` coordinates, NaN where there is no wish, to such of at most ``n`` whole candidates."""
        ...


def draw(axis: Axis, rng: random.Random) -> Any:
    """A value drawn uniformly."""
    return axis.decode(int(rng.random() * axis.size) if axis.size is not None else rng.uniform(axis.low, axis.high))


def drawn(axis: Axis, count: int, rng: np.random.Generator) -> np.ndarray:
    """``(count,)`` coordinates of values drawn uniformly."""
    if axis.size is not None:
        return snapped(axis, rng.integers(axis.size, size=count))
    return snapped(axis, rng.uniform(axis.low, axis.high, size=count))


def snapped(axis: Axis, x: np.ndarray) -> np.ndarray:
    """Coordinates ``(n,)`` to those of the nearest values that the distribution holds."""
    d = axis.distribution
    if isinstance(d, CategoricalDistribution):
        firsts = np.array([float(d.choices.index(c)) for c in d.choices])  # to Optuna, True and 1 are one choice
        found: np.ndarray = firsts[np.asarray(x, dtype=int)]
        return found
    assert isinstance(d, FloatDistribution | IntDistribution)
    if d.log:
        if isinstance(d, IntDistribution):
            return np.log(np.clip(np.rint(np.exp(x)), d.low, d.high))
        return np.clip(x, axis.low, axis.high)
    if d.step is None:
        return np.clip(x, d.low, d.high)
    return np.clip(np.rint(x), 0.0, math.floor(axis.high))


def filled(axis: Axis, wishes: np.ndarray, active: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A parameter's column ``(n,)``: NaN where it is not ``active``, else the wish; what is NaN there is drawn."""
    return np.where(active, np.where(np.isnan(wishes), drawn(axis, len(wishes), rng), wishes), math.nan)


def coordinate(axis: Axis, value: Any) -> float:
    """``axis.encode([value])[0]`` without an array."""
    d = axis.distribution
    if isinstance(d, CategoricalDistribution):
        try:
            return float(d.choices.index(value))
        except ValueError:
            return math.nan
    assert isinstance(d, FloatDistribution | IntDistribution)
    if not d.low <= value <= d.high:
        return math.nan
    if d.log:
        return math.log(value)
    return float(value) if d.step is None else float(round((value - d.low) / d.step))


def wider(one: BaseDistribution, other: BaseDistribution) -> BaseDistribution:
    """A distribution that holds the values of both, where both are numbers of one kind; else the second."""
    if isinstance(one, FloatDistribution) and isinstance(other, FloatDistribution) and _alike(one, other):
        return FloatDistribution(min(one.low, other.low), max(one.high, other.high), log=other.log, step=other.step)
    if isinstance(one, IntDistribution) and isinstance(other, IntDistribution) and _alike(one, other):
        return IntDistribution(min(one.low, other.low), max(one.high, other.high), log=other.log, step=other.step)
    return other


def _alike(one: FloatDistribution | IntDistribution, other: FloatDistribution | IntDistribution) -> bool:
    """Whether two ranges hold the same values where they overlap."""
    apart, step = one.low - other.low, other.step
    meet = not step or math.isclose(round(apart / step) * step, apart, abs_tol=1e-9 * step)
    return (one.log, one.step) == (other.log, step) and meet


def wish_or_draw(axis: Axis, wishes: Mapping[str, Any], rng: random.Random) -> Any:
    """The wish for a parameter if its distribution holds it, else a value drawn uniformly."""
    if axis.name in wishes and not math.isnan(coordinate(axis, wishes[axis.name])):
        return wishes[axis.name]
    return draw(axis, rng)


# ------------------------------------------------------------------------------------------ learnt from trials


@dataclass(frozen=True)
class _Split:
    """A question about one earlier parameter, and what follows from its answers; a ``bool`` is the verdict."""

    column: int
    kind: str
    value: float
    yes: _Split | bool
    no: _Split | bool


class Learnt:
    """Conditions read from complete trials: for each parameter a decision tree over those suggested before it.

    A parameter that all trials have is unconditional. For another one the tree is grown until it agrees with every
    trial, by splits that lower the Gini impurity most (L. Breiman et al., "Classification and regression trees", 1984);
    splits on a value of a choice, on a threshold of a number, and on a parameter's presence. A condition that no trial
    has shown yet cannot be known: the study then draws what is asked beyond the candidate.

    Args:
        axes: One a parameter.
        rows: ``(trials, axes)`` coordinates, NaN where a parameter was not active.
        present: ``(trials, axes)`` bool, which parameters each trial had.
    """

    def __init__(self, axes: Sequence[Axis], rows: np.ndarray, present: np.ndarray) -> None:
        self.axes = list(axes)
        self._trees = [_grow(self.axes[:j], rows[:, :j], present[:, j]) for j in range(len(self.axes))]
        self._asked = {column for tree in self._trees for column in _columns(tree)}
        self.unconditional = all(tree is True for tree in self._trees)

    def __call__(self, wishes: Mapping[str, Any], rng: random.Random) -> Params:
        params: Params = {}
        row = [math.nan] * len(self.axes)
        for j, (axis, tree) in enumerate(zip(self.axes, self._trees, strict=True)):
            while isinstance(tree, _Split):
                tree = tree.yes if _answers(tree.kind, tree.value, row[tree.column]) else tree.no
            if tree:
                params[axis.name] = wish_or_draw(axis, wishes, rng)
                if j in self._asked:
                    row[j] = coordinate(axis, params[axis.name])
        return params

    def rows(self, axes: Sequence[Axis], wishes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """See :class:`Completion`; ``axes`` are those that it was learnt for."""
        rows = np.full(wishes.shape, math.nan)
        for j, (axis, tree) in enumerate(zip(self.axes, self._trees, strict=True)):
            rows[:, j] = filled(axis, wishes[:, j], _verdicts(tree, rows), rng)
        return rows


def _verdicts(tree: _Split | bool, rows: np.ndarray) -> np.ndarray:
    if not isinstance(tree, _Split):
        return np.full(len(rows), tree)
    return np.where(
        _answers(tree.kind, tree.value, rows[:, tree.column]), *(_verdicts(t, rows) for t in (tree.yes, tree.no))
    )


def _answers(kind: str, value: float, x: Any) -> Any:
    """Whether a coordinate or an array of them, NaN for an inactive parameter, answers a split's question with yes."""
    if kind == "absent":
        return np.isnan(x)
    return x == value if kind == "equal" else x <= value  # NaN compares as False


def _columns(tree: _Split | bool) -> set[int]:
    return {tree.column} | _columns(tree.yes) | _columns(tree.no) if isinstance(tree, _Split) else set()


def _grow(axes: Sequence[Axis], rows: np.ndarray, present: np.ndarray) -> _Split | bool:
    if present.all() or not present.any():
        return bool(len(present) == 0 or present.all())
    best: tuple[float, int, str, float, np.ndarray] | None = None
    for j, axis in enumerate(axes):
        for kind, value in _questions(axis, rows[:, j]):
            yes = _answers(kind, value, rows[:, j])
            if not yes.any() or yes.all():
                continue
            impurity = _impurity(present[yes]) + _impurity(present[~yes])
            if best is None or impurity < best[0] - 1e-9:
                best = impurity, j, kind, value, yes
    if best is None:  # equal trials with different parameters: chance decides in the objective
        return bool(present.mean() >= 0.5)
    _, j, kind, value, yes = best
    return _Split(j, kind, value, _grow(axes, rows[yes], present[yes]), _grow(axes, rows[~yes], present[~yes]))


def _questions(axis: Axis, column: np.ndarray) -> list[tuple[str, float]]:
    values = np.unique(column[~np.isnan(column)])
    questions = [("absent", 0.0)] if len(column) and np.isnan(column).any() else []
    if axis.size is not None:
        return questions + [("equal", float(v)) for v in values]
    middles = (values[1:] + values[:-1]) / 2
    if len(middles) > THRESHOLDS:
        middles = middles[np.linspace(0, len(middles) - 1, THRESHOLDS).round().astype(int)]
    return questions + [("below", float(v)) for v in middles]


def _impurity(present: np.ndarray) -> float:
    share = present.mean()
    return float(len(present) * 2 * share * (1 - share))


def suggestion_order(names: Sequence[Sequence[str]]) -> list[str]:
    """All names in an order in which every trial could have suggested them: a new one follows its predecessor."""
    order: list[str] = []
    for trial in names:
        place = 0
        for name in trial:
            if name not in order:
                order.insert(place, name)
            place = max(place, order.index(name) + 1)
    return order


def coordinates(axes: Sequence[Axis], params: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """``(n, axes)`` coordinates of parameters, NaN where one is not active."""
    if not len(params) or not axes:
        return np.empty((len(params), len(axes)))
    return np.stack([axis.encode([p.get(axis.name, MISSING) for p in params]) for axis in axes], axis=1)


def in_order(trials: Sequence[FrozenTrial], space: Mapping[str, BaseDistribution]) -> list[Axis]:
    """The space's axes in the order of suggestion; those that no trial has had come last."""
    shapes = dict.fromkeys(tuple(t.params) for t in trials if t.state.is_finished())
    order = [n for n in suggestion_order(list(shapes)) if n in space]
    return [Axis.of(n, space[n]) for n in [*order, *sorted(space.keys() - set(order))]]


def learnt(trials: Sequence[FrozenTrial], axes: Sequence[Axis]) -> Learnt:
    """The conditions that the completed and pruned trials show."""
    done = [t.params for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    present = np.array([[a.name in p for a in axes] for p in done], dtype=bool).reshape(len(done), len(axes))
    return Learnt(axes, coordinates(axes, done), present)


def unseen_choices(trials: Sequence[FrozenTrial], axes: Sequence[Axis], rng: random.Random) -> Params:
    """For each choice parameter an option that no trial has had, if there is one: conditions hang on them."""
    wishes: Params = {}
    for axis in axes:
        if isinstance(axis.distribution, CategoricalDistribution):
            had = coordinates([axis], [t.params for t in trials])[:, 0]
            unseen = [c for i, c in enumerate(axis.distribution.choices) if not (had == i).any()]
            if unseen:
                wishes[axis.name] = rng.choice(unseen)
    return wishes


# ------------------------------------------------------------------------------- asked from the study's function


class Asked:
    """A function that suggests all parameters from a trial, as an objective does: its own code holds the conditions.

    Args:
        suggest: Called with an object that has ``suggest_float``, ``suggest_int`` and ``suggest_categorical``; what it
            returns is ignored. It must depend on the suggested values only.
    """

    def __init__(self, suggest: Callable[[Any], Any]) -> None:
        self._suggest = suggest
        self._axes: dict[tuple[Any, ...], Axis] = {}
        self.distributions: dict[str, BaseDistribution] = {}
        rng = random.Random(0)
        for _ in range(FIRST):
            for name, d in self._ask({}, rng).distributions.items():
                known = self.distributions.get(name)
                self.distributions[name] = d if known in (None, d) else wider(known, d)

    def __call__(self, wishes: Mapping[str, Any], rng: random.Random) -> Params:
        return self._ask(wishes, rng).params

    def _ask(self, wishes: Mapping[str, Any], rng: random.Random) -> _Asking:
        asking = _Asking(wishes, rng, self._axes)
        self._suggest(asking)
        return asking

    def rows(self, axes: Sequence[Axis], wishes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """See :class:`Completion`: the function is called for each. One that no row can hold, since it has a parameter or a value
        that neither the first draws nor a trial had, is left out."""
        chance = random.Random(int(rng.integers(2**63)))
        names = [a.name for a in axes]
        found = []
        for row in wishes.tolist():
            wanted = {n: a.decode(x) for n, a, x in zip(names, axes, row, strict=True) if not math.isnan(x)}
            found.append(self(wanted, chance))
        rows = coordinates(axes, found)
        return rows[np.invert(np.isnan(rows)).sum(axis=1) == [len(params) for params in found]]


class _Asking:
    """Stands for a trial; distributions are made once, since pools ask for the same ones thousands of times.

    Args:
        wishes: Values that are taken where they are allowed.
        rng: Draws the others.
        axes: Those made so far, by name and arguments.
    """

    def __init__(self, wishes: Mapping[str, Any], rng: random.Random, axes: dict[tuple[Any, ...], Axis]) -> None:
        self._wishes, self._rng, self._axes = wishes, rng, axes
        self.params: Params = {}
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """As ``optuna.trial.Trial.suggest_float``."""
        return float(self._suggest(FloatDistribution, name, low, high, log, step))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """As ``optuna.trial.Trial.suggest_int``."""
        return int(self._suggest(IntDistribution, name, low, high, log, step))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """As ``optuna.trial.Trial.suggest_categorical``."""
        return self._suggest(CategoricalDistribution, name, tuple(choices))

    def _suggest(self, kind: type[BaseDistribution], name: str, *arguments: Any) -> Any:
        if name not in self.params:
            axis = self._axes.get((kind, name, arguments))
            if axis is None:
                axis = self._axes[kind, name, arguments] = Axis.of(name, kind(*arguments))
            self.distributions[name] = axis.distribution
            self.params[name] = wish_or_draw(axis, self._wishes, self._rng)
        return self.params[name]
