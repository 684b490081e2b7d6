"""First weights: by the training pictures where there is a convolution to set, the family's own everywhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import TINY_SPACE, tiny
from torch import nn

from autokd.config.load import from_dict
from autokd.config.plan import Plan, make_plan
from autokd.data.dataset import load_dataset
from autokd.errors import ConfigError
from autokd.evaluation.initial import SAMPLES, first_weights, some_of
from autokd.evaluation.recipe import init_of, make_teaching
from autokd.modalities.examples import Named
from autokd.protocols import Dataset
from autokd.students.build import build_module

STEM = "model.stem.body.conv.weight"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_dataset("digits", None, {}, seed=0, cache_dir=tmp_path_factory.mktemp("cache"))


def made(data: Dataset, init: str = "auto", data_seed: int = 0, family: str = "mobilenet") -> dict[str, torch.Tensor]:
    def build(seed: int) -> nn.Module:
        return build_module(family, {}, data.spec, len(data.classes), seed)

    net = first_weights(build, 3, data, data_seed) if init == "auto" else build(3)
    return net.state_dict()


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in one if not torch.equal(one[name], other[name])}


def test_only_the_first_convolution_knows_the_data(digits: Dataset) -> None:
    assert differing(made(digits), made(digits, "plain")) == {STEM}


def test_the_seed_of_the_search_chooses_the_samples(digits: Dataset) -> None:
    few = replace(digits, splits=replace(digits.splits, train=digits.splits.train[:300]))
    assert differing(made(digits), made(digits)) == set()
    assert len(some_of(digits, 0)) == min(SAMPLES, len(digits.splits.train))  # type: ignore[arg-type]
    assert differing(made(digits), made(few)) == {STEM}


def test_a_few_large_pictures_are_enough(digits: Dataset) -> None:
    large = replace(digits, spec=replace(digits.spec, shape=(3, 400, 400)))
    first, second = (some_of(large, seed) for seed in (0, 1))
    assert len(first) == len(second) == 33 and not np.array_equal(first, second)  # type: ignore[arg-type]


def test_samples_are_of_the_train_split_alone(digits: Dataset) -> None:
    inputs = np.array(digits.inputs)
    held_out = np.concatenate([digits.splits.validation, digits.splits.test, digits.splits.calibration])
    inputs[held_out] = 0
    assert differing(made(digits), made(replace(digits, inputs=inputs))) == set()


def test_nets_without_a_convolution_read_nothing(digits: Dataset) -> None:
    blind = replace(digits, inputs=np.empty(0))
    assert differing(made(blind, family="mlp"), made(digits, "plain", family="mlp")) == set()


def test_several_inputs_are_left_to_the_family(digits: Dataset) -> None:
    named = replace(digits, inputs=Named({"a": np.asarray(digits.inputs), "b": np.asarray(digits.inputs)}))
    assert differing(made(named), made(digits, "plain")) == set()


# ------------------------------------------------------------------------------------------------ the study file


def planned(**changes: Any) -> Plan:
    return make_plan(from_dict(tiny(**changes)))


def test_it_is_on_unless_it_is_switched_off_or_searched() -> None:
    assert init_of(planned().config.training, {}) == "auto"
    off = planned(training__init="plain")
    assert init_of(off.config.training, {}) == "plain"
    assert init_of(off.config.training, {"init": "auto"}) == "auto"
    teaching = make_teaching(off.config.training, off.config.distillation, {"init": "auto"}, 100)
    assert "init" not in teaching.options, "no argument of the method"


@pytest.mark.parametrize("where", ["file", "space"])
def test_another_word_is_refused(where: str) -> None:
    searched = TINY_SPACE | {"parameters": {"init": {"choice": ["plain", "dirac"], "stage": "distill"}}}
    changes: dict[str, Any] = {"training__init": "dirac"} if where == "file" else {"space": searched}
    with pytest.raises(ConfigError, match="init"):
        planned(**changes)


def test_a_study_from_before_goes_on_as_it_began() -> None:
    text = planned().to_json()
    before = json.loads(text)
    del before["config"]["training"]["init"], before["config"]["teacher"]["training"]["init"]
    assert Plan.from_json(json.dumps(before)).fingerprint() == planned(training__init="plain").fingerprint()
    assert Plan.from_json(text).fingerprint() == planned().fingerprint()


# ------------------------------------------------------------------------------------------------ a family of one's own

OWN = """
from torch import nn


def build(params, spec, classes):
    return nn.Sequential(nn.Conv2d(spec.shape[0], 6, 3), nn.Flatten(), nn.Linear(216, classes))
"""


def test_a_family_of_ones_own(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_first_weights.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    family = "own_first_weights:build"
    assert differing(made(digits, family=family), made(digits, "plain", family=family)) == {"model.0.weight"}
