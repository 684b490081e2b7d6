"""NNI's tuners as an Optuna sampler, so that they search in anybody's study and the ledger stays the only state.

NNI is imported when a sampler is made, not with this module: it has no wheel for every platform, and takes a second.
"""

from __future__ import annotations

import logging
import math
import random as python_random
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from autokd.errors import ConfigError, nearest
from autokd.samplers.history import History, union
from autokd.samplers.nni_space import Axis, axes_of, search_space
from autokd.samplers.scalarise import weights

POPULATION = 20
"""Of NNI's evolution: so many random candidates come first."""
PARENTS = 4
"""Of NNI's evolution: a child's parent is one of the best so many under the trial's weights. Few, because the sweep of
the weights brings variety by itself; with 20 it lost to random search on a toy problem, with 4 it won."""
TRIES = 16
"""Proposals asked of the tuner, and then drawn at random, until one was not tried before."""

_log = logging.getLogger(__name__)
_global_random = threading.Lock()


class NNISampler(BaseSampler):
    """One of NNI's tuners; stateless.

    For every trial a fresh tuner is seeded from ``(seed, trial number)``, is told all finished trials of the study,
    and makes one proposal. So a resumed study goes on exactly as an uninterrupted one, and nothing is ever pickled.

    NNI's tuners know one objective. With several, the values are turned into one loss by the augmented Chebyshev
    function (see :mod:`autokd.samplers.scalarise`), whose weights change with the trial number and so sweep the whole
    front. Infeasible and stopped trials are told as worse than every feasible one; trials in flight as bad ones
    (TPE), so that parallel proposals differ.

    Args:
        tuner: ``"tpe"``, ``"evolution"`` or ``"random"``.
        space: All parameters that can occur, conditional ones included; ``None`` takes those that earlier trials had.
            Parameters outside it are drawn at random.
        seed: Any integer; ``None`` draws one.

    Raises:
        ConfigError: Unknown tuner, or NNI cannot be imported here.
    """

    def __init__(
        self, tuner: str = "tpe", space: Mapping[str, BaseDistribution] | None = None, seed: int | None = None
    ) -> None:
        if tuner not in _TUNERS:
            raise ConfigError(
                "an NNI tuner must be 'tpe', 'evolution' or 'random'", repr(tuner), nearest(tuner, _TUNERS)
            )
        _import_nni()
        self.tuner = tuner
        self._space = None if space is None else dict(space)
        self._seed = int(np.random.default_rng().integers(2**31)) if seed is None else seed % 2**63
        self._announced = False

    def __str__(self) -> str:
        return f"NNISampler({self.tuner})"

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Every parameter of the space that can take more than one value."""
        space = union(study.get_trials(deepcopy=False)) if self._space is None else self._space
        return {name: d for name, d in sorted(space.items()) if not d.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One proposal of the tuner for all parameters; a study ignores those that turn out inactive."""
        axes = axes_of(dict(sorted(search_space.items())))  # the order decides which random number a parameter gets
        if not axes:
            return {}
        self._announce(study)
        maximise = [d == StudyDirection.MAXIMIZE for d in study.directions]
        offset = np.random.default_rng([self._seed]).random(len(maximise) - 1)
        weight = weights(trial.number, len(maximise), offset)
        history = History.read(study.get_trials(deepcopy=False), trial.number, axes, maximise, weight)
        row = _fresh(_TUNERS[self.tuner](axes, history, self._rng(trial)), axes, history, self._rng(trial, "repeat"))
        return {axis.name: axis.decode(x) for axis, x in zip(axes, row, strict=True)}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random draw, for a parameter that is not in the space."""
        axis = Axis.of(param_name, param_distribution)
        return axis.decode(axis.draw(self._rng(trial, param_name)))

    def _rng(self, trial: FrozenTrial, purpose: str = "tuner") -> np.random.Generator:
        return np.random.default_rng([self._seed, trial.number, zlib.crc32(purpose.encode())])

    def _announce(self, study: Study) -> None:
        if not self._announced and len(study.directions) > 1:
            _log.info(
                "NNI's %s tuner knows one objective: the %d of this study are turned into one by the augmented "
                "Chebyshev function, with weights that sweep the front from trial to trial.",
                self.tuner,
                len(study.directions),
            )
        self._announced = True


def tpe(seed: int, space: Mapping[str, BaseDistribution]) -> BaseSampler:
    """NNI's tree-structured Parzen estimator; several objectives are scalarised with weights that sweep the front."""
    return NNISampler("tpe", space, seed)


def evolution(seed: int, space: Mapping[str, BaseDistribution]) -> BaseSampler:
    """NNI's naive evolution; several objectives are scalarised with weights that sweep the front."""
    return NNISampler("evolution", space, seed)


def random(seed: int, space: Mapping[str, BaseDistribution]) -> BaseSampler:
    """NNI's random search."""
    return NNISampler("random", space, seed)


def _import_nni() -> None:
    try:
        import nni
    except ImportError as error:
        raise ConfigError(
            "the samplers nni:* need the package nni",
            f"'{error}'",
            "It has wheels for Linux x86-64 and Windows only: elsewhere take optuna:tpe.",
        ) from error
    nni.silence_stdout()  # importing nni attaches a handler that prints
    for name in ("nni.tuner.tpe", "nni.tuner.random"):
        logging.getLogger(name).setLevel(logging.WARNING)  # "Using random seed", once a trial


Proposer = Callable[[], np.ndarray]
"""Gives a proposal ``(axes,)`` in coordinates, another one at every call."""


def _tpe_tuner(axes: Sequence[Axis], history: History, rng: np.random.Generator) -> Proposer:
    from nni.algorithms.hpo.tpe_tuner import TpeTuner

    # The liar "worst" keeps parallel proposals away from each other; NNI's default "best" would draw them together.
    tuner = TpeTuner("minimize", _seed32(rng), {"constant_liar_type": "worst"})
    tuner.update_search_space(search_space(axes))
    tuner.dedup = _same  # NNI's walks a grid from the corner, and ends the search where the space is used up

    def active(row: np.ndarray) -> dict[tuple[str], float | int]:
        # A parameter that was inactive adds nothing to its own history: TPE models each one separately.
        return {(a.name,): int(x) if a.size else float(x) for a, x in zip(axes, row, strict=True) if not math.isnan(x)}

    # import_data() would serialise every trial once a parameter, and tells the liar nothing; no public name takes a trial.
    for i, (row, loss) in enumerate(zip(history.rows, history.losses, strict=True)):
        tuner._running_params[i] = active(row)
        tuner.receive_trial_result(i, None, float(loss))
    told = len(history.rows)
    for i, row in enumerate(history.running, start=told):
        tuner._running_params[i] = active(row)

    def propose() -> np.ndarray:
        proposal = tuner.generate_parameters(-1)
        tuner.trial_end(-1, False)
        return np.array([proposal[a.name] for a in axes], dtype=float)

    return propose


def _evolution_tuner(axes: Sequence[Axis], history: History, rng: np.random.Generator) -> Proposer:
    from nni.algorithms.hpo.evolution_tuner import EvolutionTuner, Individual

    tuner = EvolutionTuner("maximize", POPULATION)
    tuner.update_search_space(search_space(axes))
    tuner.random_state = np.random.RandomState(_seed32(rng))  # it comes unseeded, and import_data() does nothing
    best = np.argsort(history.losses, kind="stable")[:PARENTS]
    rows = [_filled(history.rows[i], axes, history.numbers[i]) for i in best]
    young = len(history.rows) + len(history.running) < POPULATION or not len(best)

    def propose() -> np.ndarray:
        tuner.population = [
            Individual(config=_config(row, axes), result=-float(history.losses[i]))
            for i, row in zip(best, rows, strict=True)
        ]
        if young:
            tuner._random_generate_individual()  # publicly a whole population at once only
        with _global_random:  # the tuner draws its parents from Python's global generator
            state = python_random.getstate()
            python_random.seed(_seed32(rng))
            try:
                proposal = tuner.generate_parameters(0)
            finally:
                python_random.setstate(state)
        return np.array([proposal[a.name] for a in axes], dtype=float)

    return propose


def _random_tuner(axes: Sequence[Axis], history: History, rng: np.random.Generator) -> Proposer:
    from nni.algorithms.hpo.random_tuner import RandomTuner

    tuner = RandomTuner(_seed32(rng))
    tuner.update_search_space(search_space(axes))
    tuner.dedup = _same

    def propose() -> np.ndarray:
        proposal = tuner.generate_parameters(0)
        return np.array([proposal[a.name] for a in axes], dtype=float)

    return propose


_TUNERS: dict[str, Callable[[Sequence[Axis], History, np.random.Generator], Proposer]] = {
    "tpe": _tpe_tuner,
    "evolution": _evolution_tuner,
    "random": _random_tuner,
}


def _fresh(propose: Proposer, axes: Sequence[Axis], history: History, rng: np.random.Generator) -> np.ndarray:
    """The first proposal that was not tried before; a repeated one when there seem to be no others."""
    for attempt in range(2 * TRIES):
        raw = propose() if attempt < TRIES else np.array([a.draw(rng) for a in axes])
        row = np.array([a.encode([a.decode(x)])[0] for a, x in zip(axes, raw, strict=True)])  # onto the grid
        if not history.was_tried(row):
            break
    return row


def _filled(row: np.ndarray, axes: Sequence[Axis], number: int) -> np.ndarray:
    """The row with a value for every inactive parameter, the same at every call: evolution needs whole parents."""
    rng = np.random.default_rng(int(number))
    return np.array([a.draw(rng) if math.isnan(x) else x for a, x in zip(axes, row, strict=True)])


def _config(row: np.ndarray, axes: Sequence[Axis]) -> dict[str, Any]:
    return {
        a.name: {"_index": int(x), "_value": int(x)} if a.size else float(x) for a, x in zip(axes, row, strict=True)
    }


def _seed32(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _same(parameters: Any) -> Any:
    return parameters
