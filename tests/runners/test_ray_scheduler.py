"""The scheduler in anybody's Ray Tune experiment: several objectives, checkpoint shares, and a real tuner."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autokd.testing.simulation import simulated_curves

ray_scheduler = pytest.importorskip("autokd.runners.ray_scheduler")
CONTINUE, STOP = "CONTINUE", "STOP"


def scheduler(**more: Any) -> Any:
    return ray_scheduler.HalvingScheduler("accuracy", {"latency_ms": "min"}, **({"max_t": 9, "first": 1 / 3} | more))


def report(rule: Any, name: str, t: int, accuracy: float, latency_ms: float) -> str:
    result = {"training_iteration": t, "accuracy": accuracy, "latency_ms": latency_ms}
    return str(rule.on_trial_result(None, SimpleNamespace(trial_id=name), result))


def test_a_trial_is_compared_with_those_of_its_cost() -> None:
    rule = scheduler()
    for k, accuracy in enumerate((0.9, 0.88, 0.86, 0.84)):
        assert [report(rule, f"strong {k}", t, accuracy, 10.0 - k) for t in range(1, 4)][-1] == CONTINUE
        for t in range(4, 9):
            assert report(rule, f"strong {k}", t, accuracy, 10.0 - k) == CONTINUE
        assert report(rule, f"strong {k}", 9, accuracy + 0.02, 10.0 - k) == STOP  # done
    assert [report(rule, "fast and weak", t, 0.3, 1.0) for t in (1, 2, 3)] == [CONTINUE] * 3
    assert [report(rule, "slow and weak", t, 0.3, 9.5) for t in (1, 2, 3)] == [CONTINUE, CONTINUE, STOP]
    assert rule.stopped == {"slow and weak"}
    assert "compares at 33% of the training, 1 stopped" in rule.debug_string()


def test_a_share_that_a_result_jumps_over_is_decided_at_it() -> None:
    rule = scheduler(reduction_factor=1.5)
    for k in range(4):
        report(rule, f"strong {k}", 9, 0.9, 5.0)
    assert report(rule, "weak", 8, 0.2, 6.0) == STOP


def test_smaller_may_be_better_and_larger_cost_more() -> None:
    rule = ray_scheduler.HalvingScheduler("loss", {"throughput": "max"}, mode="min", max_t=3, first=1 / 3)

    def told(name: str, loss: float, throughput: float) -> str:
        result = {"training_iteration": 1, "loss": loss, "throughput": throughput}
        return str(rule.on_trial_result(None, SimpleNamespace(trial_id=name), result))

    for k in range(4):
        told(str(k), 0.1 + 0.01 * k, 100.0 + k)
        rule.on_trial_complete(
            None, SimpleNamespace(trial_id=str(k)), {"loss": 0.1 + 0.01 * k, "throughput": 100.0 + k}
        )
    assert told("fast", 2.0, 500.0) == CONTINUE
    assert told("slow", 2.0, 50.0) == STOP
    rule.on_trial_complete(None, SimpleNamespace(trial_id="slow"), {"loss": 2.0, "throughput": 50.0})
    assert rule.rule.curves["slow"].final is None, "a stopped trial has no final quality"


@pytest.mark.parametrize("wrong", [{"mode": "most"}, {"max_t": 0}, {"first": 1.0}, {"reduction_factor": 1}])
def test_impossible_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        scheduler(**wrong)


@pytest.mark.slow
def test_in_a_real_tuner_with_reused_actors(tmp_path: Path) -> None:
    import ray
    from ray import tune

    curves = simulated_curves(0, 24)

    class Simulated(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.curve = curves[config["i"]]

        def step(self) -> dict[str, Any]:
            return {"accuracy": self.curve.accuracies[self.iteration], "latency_ms": self.curve.latency_ms}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Nothing to keep."""

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        rule = scheduler(max_t=8)
        found = tune.Tuner(
            Simulated,
            param_space={"i": tune.grid_search(list(range(24)))},
            tune_config=tune.TuneConfig(scheduler=rule, max_concurrent_trials=2, reuse_actors=True),
            run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
        ).fit()
    finally:
        ray.shutdown()
    assert not found.errors and len(found) == 24
    ended = {r.config["i"]: r.metrics["training_iteration"] for r in found if r.config and r.metrics}
    assert set(ended.values()) == {3, 8}, "each ends at the share or at the end"
    assert len(rule.stopped) == sum(t == 3 for t in ended.values()) >= 3
