"""The students that a person can choose from."""

from __future__ import annotations

import numpy as np
import pandas as pd

from autokd.config.objectives import Objective
from autokd.dashboard.analysis import students

GOALS = (Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "cpu_1_thread"))


def test_the_list_of_a_large_study_is_bounded() -> None:
    n = 5_000
    rows = pd.DataFrame({"number": np.arange(n), "accuracy": np.linspace(0, 1, n), "latency_ms@cpu_1_thread": 1.0})
    front = rows.iloc[[10, 4999]]
    numbers = students.offered(rows, front, [3])
    assert numbers[:3] == [10, 4999, 4998] and numbers[-1] == 3 and len(numbers) == students.MOST + 3
    shown = students.lines(rows, front, numbers, GOALS)
    assert shown[10] == "trial 10: 0.2%, 1.00 ms" and shown[3].endswith("(not on the front)")
