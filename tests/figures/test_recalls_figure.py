"""Recall by class, drawn: the worst first, splits apart, a ledger's names as text."""

from __future__ import annotations

import pytest

from autokd.figures import recalls_figure
from autokd.storage.by_class import ByClass

HERE, THERE = ByClass((9, 1, 0), (10, 4, 0)), ByClass((5, 5, 1), (10, 5, 2))


def test_the_worst_class_is_on_top_and_a_class_without_samples_is_left_out() -> None:
    figure = recalls_figure({"validation split": HERE, "test split": THERE}, ["<b>a</b>", "b", "c"])
    assert list(figure.layout.yaxis.ticktext) == ["b", "&lt;b&gt;a&lt;/b&gt;"]
    first, second = figure.data
    assert list(first.x) == pytest.approx([0.25, 0.9]) and list(second.x) == pytest.approx([1.0, 0.5])
    assert first.error_x.array[0] == HERE.error(1) and "1 of 4 samples" in first.customdata[0]
    assert [t.name for t in figure.data] == ["validation split", "test split"]
    assert "<b>" not in figure.to_json().replace("\\u003c", "<")


def test_of_many_classes_the_worst_are_drawn() -> None:
    many = ByClass(tuple(range(100)), (100,) * 100)
    figure = recalls_figure({"validation split": many}, [str(c) for c in range(100)], most=7)
    assert list(figure.layout.yaxis.ticktext) == [str(c) for c in range(7)]
