"""Tables of trials, as a reader gives them, of searches whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from autokd.config.objectives import Objective

LATENCY = Objective("minimize", "latency_ms", "cpu_1_thread")
GOALS = (Objective("maximize", "accuracy"), LATENCY)


def over_time(n: int, seed: int = 0, goals: tuple[Objective, ...] = GOALS) -> pd.DataFrame:
    """``n`` trials of 5 s, one begun each second, 1 CPU second each; some infeasible, some not measured."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"number": np.arange(n), "begun": 1000.0 + np.arange(n), "ended": 1005.0 + np.arange(n)})
    frame = frame.assign(cpu_s=1.0, outcome="measured", began_training=True, feasible=rng.random(n) < 0.8)
    for k, goal in enumerate(goals):
        frame[goal.name] = rng.random(n) if k == 0 else np.exp(rng.normal(size=n))
    frame.loc[frame["number"] % 7 == 3, goals[-1].name] = np.nan
    return frame


def explained(n: int = 200, seed: int = 0, teacher: float = 0.03) -> pd.DataFrame:
    """Accuracy hangs on width, a teacher and noise; latency on width and on a second stage; ``lr`` on nothing."""
    rng = np.random.default_rng(seed)
    stages, width = rng.integers(1, 3, n), rng.choice([8, 16, 24, 32], n)
    method = rng.choice(["kd", "none"], n)
    frame = pd.DataFrame({"number": np.arange(n), "state": "COMPLETE", "outcome": "measured", "feasible": True})
    frame["params_width"], frame["params_stages"], frame["params_method"] = width, stages, method
    frame["params_block_2"] = pd.Series(rng.choice(["plain", "inverted"], n)).where(stages == 2)
    frame["params_lr"], frame["params_bits"] = 10 ** rng.uniform(-1, 0, n), 8
    frame["accuracy"] = 0.7 + 0.004 * width + teacher * (method == "kd") + 0.01 * rng.normal(size=n)
    frame[LATENCY.name] = 0.01 * np.exp(0.05 * width + 0.5 * (stages == 2))
    return frame
