"""Recall by class for the terminal."""

from __future__ import annotations

import pytest

from autokd.cli.recalls import spread, trial_recalls, worst_class
from autokd.storage.by_class import ByClass
from autokd.study.by_class import splits_of
from autokd.study.front_table import Row

HERE, THERE = ByClass((9, 1), (10, 4)), ByClass((5, 5), (10, 10))


def test_one_trial_tells_the_worst_class_first() -> None:
    facts = {"classes": ["a", "b"], "by_class": {"validation": HERE.to_dict(), "test": THERE.to_dict()}}
    told = trial_recalls(facts)
    assert [name for name, _ in told] == ["b", "a"]
    assert told[0][1].startswith("25.0% ± ") and " of 4; on the test split 50.0% ± " in told[0][1]
    assert told[0][1].endswith("of 10")
    assert trial_recalls({"outcome": "failed"}) == []


def test_the_worst_class_in_words() -> None:
    assert worst_class(HERE, ["a", "b"]).startswith("b 25.0% ± ") and worst_class(None, ["a"]) == "-"


@pytest.mark.parametrize("count", [1, 10, 11, 40])
def test_of_a_long_front_some_stand_side_by_side_both_ends_among_them(count: int) -> None:
    known = [(Row(n, (), (), "", {}, {}), HERE) for n in range(count)]
    found = [row.number for row, _ in spread(known)]
    assert len(found) == min(count, 10) == len(set(found)) and found[0] == 0 and found[-1] == count - 1


def test_counts_of_another_number_of_classes_are_left_out() -> None:
    assert splits_of({"by_class": HERE.to_notes()}, 3, {"3": THERE.to_notes()}, ["a", "b"]) == (HERE, THERE)
    assert splits_of({"by_class": HERE.to_notes()}, 3, None, ["a", "b", "c"]) == (None, None)
