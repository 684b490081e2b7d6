"""Class weights: the stated formula, a mean of 1, and unknown names refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support import tiny

from autokd.config.load import from_dict
from autokd.config.plan import Plan, make_plan
from autokd.data.class_weights import MOST, check_classes, class_weights, key_of, sample_weights
from autokd.errors import ConfigError

CLASSES = ("cat", "dog", "emu")
TARGETS = np.repeat([0, 1, 2], [90, 10, 40])


@pytest.mark.parametrize("stated", ["auto", {"dog": 5.0}, {"cat": 0.1, "dog": 7, "emu": 2}], ids=str)
def test_weights_are_1_on_average_over_the_samples(stated: object) -> None:
    found = sample_weights(stated, TARGETS, CLASSES)  # type: ignore[arg-type]
    assert found is not None and found.shape == (140,) and found.dtype == np.float32
    assert found.mean() == pytest.approx(1.0, abs=1e-6)


def test_auto_is_tempered_and_bounded() -> None:
    found = class_weights("auto", TARGETS, CLASSES)
    assert found[1] / found[0] == pytest.approx(3.0) and found[2] / found[0] == pytest.approx(1.5)
    rare = class_weights("auto", np.repeat([0, 1], [100_000, 1]), CLASSES)
    assert rare[1] / rare[0] == pytest.approx(MOST), "one sample must not rule"
    assert np.isfinite(rare).all(), "a class without samples"


def test_auto_of_balanced_classes_changes_nothing() -> None:
    assert class_weights("auto", np.arange(30) % 3, CLASSES).tolist() == [1.0, 1.0, 1.0]


def test_stated_weights_keep_their_ratios_and_others_are_1() -> None:
    found = class_weights({"dog": 8.0}, TARGETS, CLASSES)
    assert found[1] / found[0] == pytest.approx(8.0) and found[2] == found[0]


def test_none_is_no_weights_at_all() -> None:
    assert sample_weights(None, TARGETS, CLASSES) is None


def test_an_unknown_class_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"`training\.class_weights` must name classes.*'dgo'.*Did you mean 'dog'\?"):
        check_classes({"cat": 1.0, "dgo": 2.0}, CLASSES)
    with pytest.raises(ConfigError, match="Did you mean 'emu'"):
        class_weights({"emus": 2.0}, TARGETS, CLASSES)


def test_keys_do_not_depend_on_how_it_was_written() -> None:
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2.0, "a": 1.0}) != key_of({"a": 1.0, "b": 3.0})
    assert key_of("auto") != key_of({"auto": 1.0})


# ------------------------------------------------------------------------------------------- what a study file says


def weights_of(**training: object) -> object:
    return from_dict(tiny(training=training)).training.class_weights


def test_what_a_study_file_may_say() -> None:
    assert weights_of() is None and weights_of(class_weights="none") is None
    assert weights_of(class_weights="auto") == "auto"
    assert weights_of(class_weights={3: 2, "dog": 0.5}) == {"3": 2.0, "dog": 0.5}, "YAML takes a digit for a number"
    told = from_dict(tiny(), ["training.class_weights={7: 4}"])
    assert told.training.class_weights == {"7": 4.0}


def test_none_is_the_study_of_before() -> None:
    plan = make_plan(from_dict(tiny()))
    old = json.loads(plan.to_json())
    for training in (old["config"]["training"], old["config"]["teacher"]["training"]):
        assert training.pop("class_weights") is None  # ledgers of before have no such key
    assert Plan.from_json(json.dumps(old)).fingerprint() == plan.fingerprint()
    stated = make_plan(from_dict(tiny(training__class_weights="none")))
    assert stated.fingerprint() == plan.fingerprint()
    assert "class_weights" not in plan.config.teacher.options()["training"], "a loaded teacher's folder keeps its name"
    assert make_plan(from_dict(tiny(training__class_weights="auto"))).fingerprint() != plan.fingerprint()
