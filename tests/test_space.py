"""The search space: what is read from YAML, what is refused, and that suggestions respect conditions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest

from autokd import registry
from autokd.config.checks import check_stages
from autokd.config.space import Parameter, SearchSpace, load_space
from autokd.errors import ConfigError
from autokd.trial import Candidate, ParamValue, Stage

optuna.logging.set_verbosity(optuna.logging.WARNING)

CONDITIONAL = {
    "family": "mobilenet",
    "parameters": {
        "stages": {"int": [1, 3], "stage": "build"},
        "width": {"int": [8, 24], "step": 8, "stage": "build"},
        "block": {"choice": ["plain", "inverted"], "stage": "build"},
        "expansion": {"choice": [2, 3, 4], "stage": "build", "when": {"block": "inverted"}},
        "width_2": {"int": [8, 16], "step": 4, "stage": "build", "when": {"stages": ">= 2"}},
        "width_3": {"choice": [8, 16], "stage": "build", "when": {"stages": "== 3"}},
        "squeeze": {"choice": [True, False], "stage": "build", "when": {"expansion": [3, 4], "stages": "< 3"}},
        "method": {"choice": ["kd", "none"], "stage": "distill"},
        "alpha": {"float": [0.5, 1.0], "step": 0.1, "stage": "distill", "when": {"method": "kd"}},
        "prune_1": {"choice": [0.0, 0.5], "stage": "prune", "when": {"squeeze": True}},
        "bits": {"choice": [32, 8], "stage": "quantize", "when": {"stages": "!= 2"}},
    },
    "fixed": {"stem": 8, "views": {"value": 2, "stage": "distill"}},
}


def values_of(p: Parameter) -> list[ParamValue]:
    if p.kind == "choice":
        return list(p.choices)
    if p.kind == "int":
        return list(range(int(p.low), int(p.high) + 1, int(p.step or 1)))
    assert p.step is not None
    return [p.low + i * p.step for i in range(round((p.high - p.low) / p.step) + 1)]


def enumerate_all(space: SearchSpace) -> Iterator[dict[str, ParamValue]]:
    """Every candidate, by brute force, without looking at what ``size`` does."""

    def below(index: int, params: dict[str, ParamValue]) -> Iterator[dict[str, ParamValue]]:
        if index == len(space.parameters):
            yield params
            return
        p = space.parameters[index]
        if not p.active(params):
            yield from below(index + 1, params)
            return
        for value in values_of(p):
            yield from below(index + 1, params | {p.name: value})

    return below(0, dict(space.fixed))


SPACES: dict[str, dict[str, Any]] = {
    "conditional": CONDITIONAL,
    "plain": {
        "family": "f",
        "parameters": {
            "a": {"int": [1, 8], "log": True, "stage": "build"},
            "b": {"choice": ["x"], "stage": "build"},
            "c": {"float": [0.0, 0.3], "step": 0.1, "stage": "distill"},
        },
    },
    "chain": {
        "family": "f",
        "parameters": {
            "a": {"choice": [1, 2, 3], "stage": "build"},
            "b": {"choice": ["x", "y"], "stage": "build", "when": {"a": [1, 2]}},
            "c": {"int": [0, 4], "stage": "build", "when": {"b": "y"}},
            "d": {"int": [0, 1], "stage": "build", "when": {"c": "> 2", "a": 2}},
        },
    },
    "on a fixed value": {
        "family": "f",
        "fixed": {"stages": 2},
        "parameters": {
            "w2": {"choice": [1, 2], "stage": "build", "when": {"stages": 2}},
            "w3": {"choice": [1, 2], "stage": "build", "when": {"stages": 3}},
        },
    },
    "one and true": {
        "family": "f",
        "parameters": {
            "a": {"choice": [1, True], "stage": "build"},
            "b": {"choice": [5, 6], "stage": "build", "when": {"a": True}},
        },
    },
    "on a stepped float": {
        "family": "f",
        "parameters": {
            "a": {"float": [0.0, 1.0], "step": 0.25, "stage": "build"},
            "b": {"choice": [1, 2, 3], "stage": "build", "when": {"a": ">= 0.5"}},
        },
    },
}


@pytest.mark.parametrize("name", SPACES)
def test_size_equals_brute_force(name: str) -> None:
    space = load_space(SPACES[name])
    candidates = list(enumerate_all(space))
    assert len({Candidate(c).key() for c in candidates}) == len(candidates)
    assert space.size() == len(candidates)


def test_size_is_infinite_with_a_continuous_parameter() -> None:
    space = load_space({"family": "f", "parameters": {"lr": {"float": [0.1, 1], "log": True, "stage": "distill"}}})
    assert math.isinf(space.size())


def test_size_above_its_cap_is_an_upper_bound() -> None:
    space = load_space(CONDITIONAL)
    assert space.size(cap=3) == math.prod(p.count() for p in space.parameters) > space.size()


@pytest.mark.parametrize("name", SPACES)
def test_suggestions_have_exactly_the_active_parameters(name: str) -> None:
    space = load_space(SPACES[name])
    every = {Candidate(c).key() for c in enumerate_all(space)}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(150):
        trial = study.ask()
        params = space.suggest(trial)
        for p in space.parameters:
            before = {q: v for q, v in params.items() if q != p.name}
            assert (p.name in params) == p.active(before)
            assert (p.name in trial.params) == (p.name in params)
        assert all(params[k] == v for k, v in space.fixed.items())
        assert not set(trial.params) & set(space.fixed)
        rounded = {k: round(v, 9) if isinstance(v, float) else v for k, v in params.items()}
        seen.add(Candidate(rounded).key())
    if name != "on a stepped float" and "float" not in str(SPACES[name]):
        assert seen <= every
    assert len(seen) > min(len(every), 40) * 0.5


def test_distributions_are_those_that_suggest_uses() -> None:
    space = load_space(CONDITIONAL)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    stated = space.distributions()
    used: dict[str, Any] = {}
    for _ in range(100):
        trial = study.ask()
        space.suggest(trial)
        used |= trial.distributions
    assert used == stated


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"choice": ["a", 2]}, optuna.distributions.CategoricalDistribution(["a", 2])),
        ({"int": [8, 64], "step": 8}, optuna.distributions.IntDistribution(8, 64, step=8)),
        ({"int": [1, 512], "log": True}, optuna.distributions.IntDistribution(1, 512, log=True)),
        ({"float": [0.5, 1.0], "step": 0.1}, optuna.distributions.FloatDistribution(0.5, 1.0, step=0.1)),
        ({"float": [1e-5, 1e-2], "log": True}, optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True)),
        ({"float": [0, 1]}, optuna.distributions.FloatDistribution(0, 1)),
    ],
    ids=str,
)
def test_distribution_of_one_parameter(spec: Mapping[str, Any], wanted: object) -> None:
    space = load_space({"family": "f", "parameters": {"p": {**spec, "stage": "build"}}})
    assert space.distributions() == {"p": wanted}


def test_of_stage_splits_the_parameters_and_fixed_values() -> None:
    space = load_space(CONDITIONAL)
    params: dict[str, ParamValue] = {"stem": 8, "views": 2, "stages": 1, "method": "none", "prune_1": 0.5, "bits": 8}
    assert space.of_stage(Stage.BUILD, params) == {"stem": 8, "stages": 1}
    assert space.of_stage(Stage.DISTILL, params) == {"views": 2, "method": "none"}
    assert space.of_stage(Stage.PRUNE, params) == {"prune_1": 0.5}
    assert space.of_stage(Stage.QUANTIZE, params) == {"bits": 8}


@pytest.mark.parametrize("name", registry.names("spaces"))
def test_every_shipped_space_loads(name: str) -> None:
    space = load_space(name)
    check_stages(space)
    assert space.name == name
    assert space.family in registry.names("families")
    assert space.size() > 100
    stages = {p.stage for p in space.parameters}
    assert stages == {Stage.BUILD, Stage.DISTILL, Stage.PRUNE, Stage.QUANTIZE}


HEAD = "family: mobilenet\nparameters:\n  a: {choice: [1, 2], stage: build}\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("- 1\n", 1, "mapping"),
        ("parameters: {a: {choice: [1], stage: build}}\n", None, "family"),
        ("family: 3\nparameters: {a: {choice: [1], stage: build}}\n", 1, "family"),
        ("family: mobilenet\n", None, "at least one parameter"),
        ("family: mobilenet\nparameters: []\n", 2, "at least one parameter"),
        ("family: mobilenet\nparamters: {}\n", 2, "'parameters'"),
        (HEAD + "  b: 3\n", 4, "must be a mapping"),
        (HEAD + "  b: {stage: build}\n", 4, "exactly one of choice, int, float"),
        (HEAD + "  b: {choice: [1], int: [1, 2], stage: build}\n", 4, "exactly one of"),
        (HEAD + "  b: {choice: [1], stagge: build}\n", 4, "'stage'"),
        (HEAD + "  b: {choice: [1]}\n", 4, "which stage"),
        (HEAD + "  b: {choice: [1], stage: measure}\n", 4, "which stage"),
        (HEAD + "  b: {choice: [], stage: build}\n", 4, "must be a list"),
        (HEAD + "  b: {choice: 3, stage: build}\n", 4, "must be a list"),
        (HEAD + "  b: {choice: [1, [2]], stage: build}\n", 4, "plain values"),
        (HEAD + "  b: {choice: [null], stage: build}\n", 4, "plain values"),
        (HEAD + "  b: {choice: [1, 1], stage: build}\n", 4, "must differ"),
        (HEAD + "  b: {choice: [1, 2], step: 1, stage: build}\n", 4, "neither step nor log"),
        (HEAD + "  b: {int: [3], stage: build}\n", 4, "[low, high]"),
        (HEAD + "  b: {int: [3, 1], stage: build}\n", 4, "low <= high"),
        (HEAD + "  b: {int: [1, 2.5], stage: build}\n", 4, "whole bounds"),
        (HEAD + "  b: {int: [a, b], stage: build}\n", 4, "[low, high]"),
        (HEAD + "  b: {int: [1, true], stage: build}\n", 4, "[low, high]"),
        (HEAD + "  b: {int: [1, 3], step: 0.5, stage: build}\n", 4, "whole"),
        (HEAD + "  b: {int: [1, 4], step: 2, stage: build}\n", 4, "divide"),
        (HEAD + "  b: {int: [1, 4], step: 0, stage: build}\n", 4, "above 0"),
        (HEAD + "  b: {int: [1, 4], step: x, stage: build}\n", 4, "above 0"),
        (HEAD + "  b: {float: [.nan, 1], stage: build}\n", 4, "[low, high]"),
        (HEAD + "  b: {float: [0, .inf], stage: build}\n", 4, "[low, high]"),
        (HEAD + "  b: {float: [0, 1], log: true, stage: build}\n", 4, "low > 0"),
        (HEAD + "  b: {float: [0.1, 1], log: true, step: 0.1, stage: build}\n", 4, "no step"),
        (HEAD + '  b: {float: [0.1, 1], log: "no", stage: build}\n', 4, "true or false"),
        (HEAD + "  b: {choice: [1], stage: build, when: [a]}\n", 4, "mapping"),
        (HEAD + "  b: {choice: [1], stage: build, when: {aa: 1}}\n", 4, "'a'"),
        (HEAD + "  b: {choice: [1], stage: build, when: {1: 1}}\n", 4, "declared above"),
        (HEAD + "  b: {choice: [1], stage: build, when: {b: 1}}\n", 4, "declared above"),
        (HEAD + "  b: {choice: [1], stage: build, when: {a: 3}}\n", 4, "possible"),
        (HEAD + '  b: {choice: [1], stage: build, when: {a: "> 2"}}\n', 4, "possible"),
        (HEAD + '  b: {choice: [1], stage: build, when: {a: ">= two"}}\n', 4, "possible"),
        (HEAD + "fixed: {a: 1}\n", 3, "fixed and searched"),
        (HEAD + "fixed: [1]\n", 4, "mapping"),
        (HEAD + "fixed:\n  c: [1]\n", 5, "plain value"),
        (HEAD + "fixed:\n  c: {value: 1, stage: screen}\n", 5, "which stage"),
        (HEAD + "fixed:\n  c: {value: 1, satge: build}\n", 5, "unknown key"),
    ],
)
def test_bad_spaces_are_refused_with_file_and_line(tmp_path: Path, text: str, line: int | None, words: str) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_space(str(file))
    message = str(caught.value)
    assert message.startswith(f"{file}:{line}: " if line else f"{file}: ")
    assert words in message


def test_an_unknown_space_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'resnet_28'"):
        load_space("resnet_82")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_space(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"b": {"choice": [32, 8], "stage": "quantize"}}, "only `bits`"),
        ({"bits": {"choice": [32, 4], "stage": "quantize"}}, "32 or 8"),
        ({"bits": {"int": [8, 32], "stage": "quantize"}}, "32 or 8"),
        ({"bits": {"choice": [32, 8], "stage": "build"}}, "stage: quantize"),
        ({"ratio": {"choice": [0.5], "stage": "prune"}}, "prune_<group>"),
        ({"prune_1": {"choice": [0.0, 1.0], "stage": "prune"}}, "0 <= ratio < 1"),
        ({"prune_1": {"float": [-0.1, 0.5], "stage": "prune"}}, "0 <= ratio < 1"),
    ],
)
def test_names_and_values_that_prune_and_quantize_cannot_read(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_stages(load_space({"family": "f", "parameters": parameters}))


def test_fixed_bits_are_checked_too() -> None:
    raw = {"family": "f", "parameters": {"a": {"choice": [1], "stage": "build"}}}
    check_stages(load_space(raw | {"fixed": {"bits": {"value": 8, "stage": "quantize"}}}))
    with pytest.raises(ConfigError, match="32 or 8"):
        check_stages(load_space(raw | {"fixed": {"bits": {"value": 4, "stage": "quantize"}}}))


def test_bits_as_a_range_of_two() -> None:
    spec = {"int": [8, 32], "step": 24, "stage": "quantize"}
    check_stages(load_space({"family": "f", "parameters": {"bits": spec}}))
