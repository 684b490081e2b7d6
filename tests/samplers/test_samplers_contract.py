"""Everything registered under autokd.samplers keeps the shipped contract; NNI's also keeps Optuna's own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase

from autokd import registry
from autokd.samplers.nni import NNISampler
from autokd.testing.samplers import check_inside, check_sampler, run


@pytest.mark.parametrize("name", registry.names("samplers"))
def test_registered_sampler_keeps_the_contract(name: str) -> None:
    check_sampler(
        registry.load("samplers", name), adaptive=not name.endswith(":random"), stateless=name.startswith("nni:")
    )


@pytest.mark.parametrize("name", registry.names("samplers"))
def test_factories_say_what_they_give_and_warn_of_nothing(name: str) -> None:
    factory = registry.load("samplers", name)
    assert factory.__doc__ and "\n" not in factory.__doc__.strip()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        factory(0, {})


def test_the_contract_catches_a_sampler_that_ignores_its_seed() -> None:
    with pytest.raises(AssertionError, match="seeds"):
        check_sampler(lambda seed, space: optuna.samplers.RandomSampler(seed=3), adaptive=False)


def test_the_contract_catches_a_sampler_that_does_not_adapt() -> None:
    with pytest.raises(AssertionError, match="told results"):
        check_sampler(lambda seed, space: optuna.samplers.RandomSampler(seed=seed))


def test_the_contract_catches_a_sampler_with_a_memory_of_its_own() -> None:
    with pytest.raises(AssertionError, match="uninterrupted"):
        check_sampler(lambda seed, space: optuna.samplers.TPESampler(seed=seed), stateless=True)


def test_the_contract_catches_values_outside() -> None:
    class Outside(optuna.samplers.RandomSampler):
        def sample_independent(self, study, trial, name, distribution):  # type: ignore[no-untyped-def]
            value = super().sample_independent(study, trial, name, distribution)
            return 1000 if name == "width" else value

    def factory(seed: int, space: Mapping[str, BaseDistribution]) -> BaseSampler:
        return Outside(seed=seed)

    with pytest.raises(AssertionError, match="must lie in"):
        check_inside(run(factory, ["maximize"], trials=3))


class _Nni:
    @pytest.fixture(params=["tpe", "evolution"])
    def sampler(self, request: pytest.FixtureRequest) -> Callable[[], BaseSampler]:
        return lambda: NNISampler(request.param, seed=0)


class TestOptunasBasicContract(_Nni, BasicSamplerTestCase):
    pass


class TestOptunasRelativeContract(_Nni, RelativeSamplerTestCase):
    pass


class TestOptunasMultiObjectiveContract(_Nni, MultiObjectiveSamplerTestCase):
    pass
