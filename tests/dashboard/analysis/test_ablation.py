"""Pairs of trials that differ in one part alone."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from autokd.config.objectives import Objective
from autokd.config.space import load_space
from autokd.dashboard.analysis import ablation

GOALS = (Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "cpu_1_thread"))
SPACE = load_space(
    {
        "family": "mobilenet",
        "parameters": {
            "width": {"choice": [8, 16], "stage": "build"},
            "method": {"choice": ["kd", "none"], "stage": "distill"},
            "alpha": {"float": [0.5, 1.0], "stage": "distill", "when": {"method": "kd"}},
            "prune_1": {"choice": [0.0, 0.25, 0.5], "stage": "prune"},
            "bits": {"choice": [32, 8], "stage": "quantize"},
        },
    }
)


def trials(*rows: tuple[int, str, float | None, float, int, float, float]) -> pd.DataFrame:
    """Columns: width, method, alpha, prune_1, bits, accuracy, latency."""
    names = ["width", "method", "alpha", "prune_1", "bits"]
    frame = pd.DataFrame([r[:5] for r in rows], columns=[f"params_{n}" for n in names])
    frame["number"] = range(len(frame))
    frame["accuracy"], frame["latency_ms@cpu_1_thread"] = [r[5] for r in rows], [r[6] for r in rows]
    frame["accuracy_error"] = 0.003
    return frame


def test_neighbours_differ_in_one_part_alone() -> None:
    rows = trials(
        (8, "kd", 0.9, 0.5, 8, 0.90, 0.02),
        (8, "kd", 0.9, 0.5, 32, 0.91, 0.03),  # bits
        (8, "kd", 0.9, 0.25, 8, 0.92, 0.02),  # pruning, less
        (8, "kd", 0.9, 0.0, 8, 0.94, 0.04),  # pruning, none
        (8, "none", None, 0.5, 8, 0.88, 0.02),  # teacher: alpha is gone with it
        (16, "kd", 0.9, 0.5, 32, 0.95, 0.05),  # two parts at once: no neighbour
    )
    found = ablation.pairs(rows, SPACE, 0)
    assert [(p.part, p.trial, p.against, p.own) for p in found] == [
        ("architecture", 5, 1, False),  # elsewhere
        ("pruning", 0, 3, True),
        ("pruning", 0, 2, True),
        ("bits", 0, 1, True),
        ("teacher and recipe", 0, 4, True),
    ]
    assert found[-1].differs == {"method": ("kd", "none"), "alpha": (0.9, None)}
    table = ablation.lift_table(rows, found[3:4], GOALS).iloc[0]
    assert table["differing in"] == "bits 32 → 8"
    assert table["accuracy"] == "91.0% → 90.0% (-1.0 ± 0.4 points)"
    assert table["latency (cpu_1_thread)"] == "30.0 µs → 20.0 µs (-33%)"
    assert ablation.without(found, SPACE, rows) == []


def test_without_a_neighbour_there_are_words() -> None:
    rows = trials((8, "kd", 0.9, 0.5, 8, 0.9, 0.02), (16, "none", None, 0.0, 8, 0.8, 0.01))
    found = ablation.pairs(rows, SPACE, 0)
    assert not found
    assert ablation.without(found, SPACE, rows) == [
        "No neighbour in this study differs in architecture alone.",
        "No neighbour in this study differs in pruning alone.",
        "All students of this study have the same bits.",
        "No neighbour in this study differs in teacher and recipe alone.",
    ]


def test_a_student_that_was_trained_on_is_no_neighbour_of_one_that_was_not() -> None:
    rows = trials((8, "kd", 0.9, 0.5, 8, 0.9, 0.02), (8, "kd", 0.9, 0.5, 32, 0.8, 0.01))
    assert ablation.pairs(rows, SPACE, 0)
    rows["parent"] = [None, 7]
    assert not ablation.pairs(rows, SPACE, 0)


def test_the_lift_sheet_of_many_trials_compares_no_two_by_two() -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    frame = pd.DataFrame(
        {"number": np.arange(n), "params_width": rng.choice([8, 16], n), "params_bits": rng.choice([8, 32], n)}
    )
    frame["params_alpha"], frame["params_method"] = rng.random(n), "kd"
    frame["params_prune_1"] = rng.choice([0.0, 0.5], n)
    frame.loc[1, "params_alpha"] = frame.loc[0, "params_alpha"]
    frame.loc[[0, 1], "params_width"], frame.loc[0, "params_bits"], frame.loc[1, "params_bits"] = 8, 32, 8
    frame.loc[[0, 1], "params_prune_1"] = 0.5
    began = time.process_time()
    found = ablation.pairs(frame, SPACE, 0)
    assert time.process_time() - began < 3, "0.03 s, unless the work grows with the square of the trials"
    # all other recipes differ from its own, and no other two are the same
    assert {(p.part, p.trial, p.against) for p in found if p.part != "teacher and recipe"} == {("bits", 1, 0)}
