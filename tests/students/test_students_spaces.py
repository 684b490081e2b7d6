"""Random draws of every shipped search space build, run and stay within the family's rules."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import yaml

from autokd import registry
from autokd.testing.families import example_specs

torch.set_num_threads(1)
SPACES = registry.names("spaces")
SPECS = {
    "mobilenet_28": ["grey28", "rgb32"],
    "resnet_28": ["grey28", "rgb32"],
    "digits": ["grey8"],
    "tabular": ["table", "mixed_table"],
}
DRAWS = 30


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load(registry.yaml_file("spaces", name).read_text(encoding="utf-8"))


def draw(space: Mapping[str, Any], dice: random.Random) -> dict[str, Any]:
    """One random candidate with its active parameters only."""
    chosen: dict[str, Any] = dict(space.get("fixed", {}))
    for name, rule in space["parameters"].items():
        if all(k in chosen and holds(chosen[k], wanted) for k, wanted in rule.get("when", {}).items()):
            chosen[name] = value(rule, dice)
    return chosen


def value(rule: Mapping[str, Any], dice: random.Random) -> Any:
    if "choice" in rule:
        return dice.choice(rule["choice"])
    kind = "int" if "int" in rule else "float"
    low, high = rule[kind]
    if rule.get("log"):
        number = math.exp(dice.uniform(math.log(low), math.log(high)))
        return round(number) if kind == "int" else number
    step = rule.get("step", 1)
    return low + step * dice.randrange(int((high - low) / step + 1e-9) + 1)


def holds(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and (bound := re.fullmatch(r">= (\d+)", wanted)):
        return got >= int(bound[1])
    return got in wanted if isinstance(wanted, list) else got == wanted


def build_params(space: Mapping[str, Any], candidate: Mapping[str, Any]) -> dict[str, Any]:
    stages = {name: rule["stage"] for name, rule in space["parameters"].items()}
    return {k: v for k, v in candidate.items() if stages.get(k, "build") == "build"}


def test_every_shipped_space_has_its_data_here() -> None:
    assert set(SPECS) <= set(SPACES)


@pytest.mark.parametrize("name", SPECS)
def test_random_draws_build_and_run(name: str) -> None:
    space, dice = read(name), random.Random(5)
    family = registry.load("families", space["family"])()
    for number in range(DRAWS):
        key = SPECS[name][number % len(SPECS[name])]
        candidate = draw(space, dice)
        net = family.build(build_params(space, candidate), spec := example_specs()[key], 10).eval()
        shape = spec.shape if spec.kind == "image" else (next(net.parameters()).shape[1],)
        with torch.no_grad():
            assert torch.isfinite(net(torch.randn(1, *shape))).all(), candidate
        cut = {k.removeprefix("prune_") for k in candidate if k.startswith("prune_")}
        assert cut <= set(net.prune_groups()), "every ratio must have a group to cut"


@pytest.mark.parametrize("name", SPECS)
def test_both_ends_of_every_range_are_allowed(name: str) -> None:
    space = read(name)
    family = registry.load("families", space["family"])()
    spec = example_specs()[SPECS[name][0]]
    for parameter, rule in space["parameters"].items():
        if rule["stage"] == "build":
            ends = rule.get("choice") or rule.get("int") or rule["float"]
            for end in ends:
                family.build({parameter: end}, spec, 10)


@pytest.mark.parametrize("name", SPECS)
def test_each_space_searches_all_four_ways(name: str) -> None:
    """Architecture, pruning, bits and recipe; one line above says what the space is for."""
    space = read(name)
    parameters = space["parameters"]
    assert {rule["stage"] for rule in parameters.values()} == {"build", "distill", "prune", "quantize"}
    assert {"method", "alpha", "temperature", "bits", "prune_1"} <= set(parameters)
    assert 12 <= len(parameters) <= 25
    listed = {row.name: row.summary for row in registry.listing("spaces")}
    assert len(listed[name]) > 20


def test_digits_nets_are_tiny() -> None:
    space, dice = read("digits"), random.Random(1)
    family = registry.load("families", space["family"])()
    counts = []
    for _ in range(100):
        net = family.build(build_params(space, draw(space, dice)), example_specs()["grey8"], 10)
        counts.append(sum(p.numel() for p in net.parameters()))
    assert min(counts) >= 400 and 4 * max(counts) <= 36_000
