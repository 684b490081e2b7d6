"""The cost benchmark end to end on digits: studies, the documented script, what is missing, what is not run again."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import search_cost
from common import fashion_mnist_study, shown_arguments
from curves import Box
from support import tiny
from tasks import HAND_MADE_ROOT, TASKS, Task

from autokd.config.load import from_dict
from autokd.config.plan import make_plan

LONGER = {"training__epochs": 4, "teacher__training__epochs": 8}
STUDY: dict[str, Any] = {k: v for k, v in tiny(**LONGER).items() if k not in ("name", "sampler", "budget")}
DIGITS = Task(
    name="digits",
    title="digits",
    data="",
    study=lambda data: STUDY,
    yardstick=("mobilenet", STUDY["space"]["fixed"]),
    box=lambda facts: Box(0.05, 1.0, 10.0, 0.001),
    ratio=lambda facts: None,
    level=0.5,
)
RANDOM = {"random": {"sampler": "optuna:random"}}


def options(folder: Path, **changes: Any) -> argparse.Namespace:
    values = {
        "folder": folder,
        "data": Path(),
        "seeds": 1,
        "script_seeds": 1,
        "finished": False,
        "cpu_s": 0.5,
        "script_cpu_s": 0.1,
    }
    return argparse.Namespace(**values | changes)


@pytest.fixture
def benchmark_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the benchmark of a folder, with the modules of its workers shared as ``main`` does."""
    search_cost.share_modules()

    def make(folder: Path, **changes: Any) -> search_cost.Benchmark:
        monkeypatch.chdir(folder)
        return search_cost.Benchmark(DIGITS, options(folder, **changes))

    return make


@pytest.mark.slow
def test_a_study_is_searched_confirmed_and_read_again(benchmark_in: Any, tmp_path: Path) -> None:
    first = benchmark_in(tmp_path)
    first.run(RANDOM)
    (run,) = first.results["random"]
    spent = sum(s.cpu_s for s in run.students)
    assert spent >= 0.5 and run.wall_s > 0
    assert run.validation(first.box, 0.5) is not None
    assert run.test(first.box, 0.5) is not None
    assert first.facts.teacher_cpu_s > 0 and (first.facts.bank_cpu_s or 0) > 0
    again = benchmark_in(tmp_path, seeds=2, finished=True)
    again.run({search_cost.SCRIPT: None, **RANDOM})
    assert list(again.results) == ["random"] and len(again.results["random"]) == 1, "nothing else is finished"
    assert again.facts == first.facts
    assert again.results["random"][0].students == run.students
    assert "| `random` |" in again.text()
    assert "With one thing off" not in again.text()
    ablation = next(iter(search_cost.ABLATIONS))
    again.results[ablation] = again.results["random"]
    before, after = again.text().split("With one thing off")
    assert f"| `{ablation}` |" in after and f"`{ablation}`" not in before, "a table of their own, without goals"


@pytest.mark.slow
def test_a_refused_configuration_is_reported_and_the_rest_goes_on(benchmark_in: Any, tmp_path: Path) -> None:
    benchmark = benchmark_in(tmp_path, seeds=2)
    benchmark.run({"novel": {"novel": {"strategy": "x"}, "sampler": "optuna:random"}, **RANDOM})
    assert len(benchmark.results["random"]) == 2
    assert "novel" not in benchmark.results
    assert "- novel: not available (unknown key, but got 'novel'" in benchmark.text()


@pytest.mark.slow
def test_the_documented_script_is_measured_by_our_worker(benchmark_in: Any, tmp_path: Path) -> None:
    benchmark = benchmark_in(tmp_path)
    benchmark.run({search_cost.SCRIPT: None})
    assert not benchmark.missing, benchmark.missing
    (run,) = benchmark.results[search_cost.SCRIPT]
    rows = [
        json.loads(line) for line in (benchmark.folder / "script" / "0" / "measured.jsonl").read_text().splitlines()
    ]
    assert [s.latency_ms for s in run.students] == [r["worker_ms"] for r in rows]
    assert rows[-1]["spent_cpu_s"] == pytest.approx(sum(r["cpu_s"] for r in rows))
    assert all(r["params"]["width_1"] in (8, 12, 16) and r["params"]["block_1"] == "plain" for r in rows)
    assert all(r["cpu_s"] > 0 and 0 <= r["test_accuracy"] <= 1 and r["worker_ms"] > 0 for r in rows)


def test_overrides_reach_into_blocks_and_leave_the_base_alone() -> None:
    base = {"a": {"b": 1, "c": 2}, "d": 3}
    assert search_cost.merged(base, {"a": {"b": 5}, "e": {"f": 6}}) == {"a": {"b": 5, "c": 2}, "d": 3, "e": {"f": 6}}
    assert base == {"a": {"b": 1, "c": 2}, "d": 3}


@pytest.mark.parametrize("name", [*search_cost.METHODS, *search_cost.ABLATIONS])
def test_every_method_of_the_benchmark_makes_a_plan_with_a_seed_of_its_own(name: str) -> None:
    overrides = {**search_cost.METHODS, **search_cost.ABLATIONS}[name]
    plan = make_plan(from_dict(search_cost.study_of(fashion_mnist_study("data") | {"name": "x"}, overrides, 3)))
    assert (plan.config.search_seed, plan.config.seed) == (3, 0)
    bits = next(p for p in plan.space.parameters if p.name == "bits")
    assert set(bits.choices) == ({overrides["bits"]} if "bits" in overrides else {32, 8})


@pytest.mark.parametrize("name", search_cost.ABLATIONS)
def test_an_ablation_differs_from_its_method_in_one_thing(name: str) -> None:
    whole = search_cost.METHODS[name.split()[0]]
    base, made = (search_cost.study_of({"space": "mobilenet_28"}, o, 0) for o in (whole, search_cost.ABLATIONS[name]))
    searched = {k for k in {*base["search"], *made["search"]} if base["search"].get(k) != made["search"].get(k)}
    assert len(searched) + len({k for k in made if made[k] != base.get(k)} - {"search"}) == 1


def test_the_command_line_is_shown_without_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["x", "--seeds", "3", "--data", "/a", "--folder=/b", "--write"]
    monkeypatch.setattr("sys.argv", words)
    assert shown_arguments() == "--seeds 3 --write"
    monkeypatch.setattr("sys.argv", ["x", "--methods", "ladder,two words"])
    assert shown_arguments() == "--methods 'ladder,two words'"


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match=r"script, optuna:tpe.*'tpe'"):
        search_cost.chosen_methods("tpe", False)


def test_the_yardstick_is_the_pyramid_that_its_text_describes() -> None:
    import torch

    from autokd.protocols import InputSpec
    from autokd.students.mobilenet import MobileNet

    spec = InputSpec("image", (1, 28, 28), "uint8", (0.3,), (0.35,), 0.0, 255.0)
    net = MobileNet().build(HAND_MADE_ROOT, spec, 10)
    macs = []
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda m, x, y: macs.append(m.weight.numel() * y.shape[2] * y.shape[3]))
    net.eval()(torch.zeros(1, 1, 28, 28))
    assert sum(macs) / 1e6 == pytest.approx(3.95, abs=0.01)
    folded = sum(p.numel() for n, p in net.named_parameters() if "norm.weight" not in n)
    assert folded / 1e3 == pytest.approx(103, abs=0.5)
    assert not any(b.get("residual") for b in net.blocks())


def test_the_second_data_set_takes_its_box_from_its_own_teacher() -> None:
    from tasks import Facts

    facts = Facts("", "", 1.0, 1.0, 0.76, 0.86, 0.030, 0.006, "cpu")
    box = TASKS["adult"].box(facts)
    assert (box.poor, box.slow_ms, box.fast_ms) == (0.76, 0.030, 0.006)
    assert box.good == pytest.approx(0.87)
