"""The sliders of the limits."""

from __future__ import annotations

import pandas as pd
import pytest

from autokd.config.objectives import Objective
from autokd.dashboard.components import limits

ACCURACY, LATENCY = Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "cpu_1_thread")


@pytest.mark.parametrize(
    ("direction", "metric", "values"),
    [("maximize", "m.n:tiny", [0.001, 0.009]), ("minimize", "log_loss", [0.30, 0.35]), ("maximize", "accuracy", [0.9, 0.901])],
)  # fmt: skip
def test_a_quality_s_slider_tells_students_apart(direction: str, metric: str, values: list[float]) -> None:
    found = limits.quality_range(pd.Series(values), Objective(direction, metric))
    assert found is not None
    low, high = found.factor * min(values), found.factor * max(values)
    assert found.low <= low + 1e-9 and found.high >= high - 1e-9
    assert found.step <= (high - low) * (1 + 1e-9)


def test_equal_qualities_have_no_slider() -> None:
    assert limits.quality_range(pd.Series([0.5, 0.5]), ACCURACY) is None
