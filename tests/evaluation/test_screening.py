"""Screens: refused for as little work as possible, and for the right reason; what a variant costs without training it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from autokd.compression.int8_sketch import Int8Sketches
from autokd.compression.plans import GAINS, INT8_GAIN, ORDER
from autokd.compression.shrinking import shrink_to
from autokd.config.load import from_dict
from autokd.config.objectives import Constraint
from autokd.config.plan import make_plan
from autokd.effort import BRIEF, FULL, QUICK, Effort
from autokd.evaluation.parts import Parts
from autokd.evaluation.pipeline import evaluate
from autokd.evaluation.prepare import load_data
from autokd.evaluation.screening.exported import exported_costs
from autokd.evaluation.screening.preflight import screen_one, set_up_untaught
from autokd.evaluation.screening.screen import draw
from autokd.evaluation.screening.sketching import sketch_costs
from autokd.evaluation.screening.verdict import MARGIN, known_limits, limited_profiles, remembered
from autokd.evaluation.stages import export, quantize
from autokd.evaluation.stages.prune import Cutting
from autokd.evaluation.stages.results import Costs
from autokd.evaluation.stages.screen import Screen
from autokd.evaluation.trial_dir import TrialDir
from autokd.hardware.comparison import ROUNDS
from autokd.protocols import InputSpec, LatencyResult
from autokd.students import build as build_module
from autokd.students.blueprint import Blueprint
from autokd.trial import Candidate, Measurement, Outcome

LATENCY = "latency_ms@cpu_1_thread"
SHAPE = {"stem_width": 8, "stem_stride": 2, "stages": 2, "width_1": 16, "width_2": 24, "depth_1": 2, "depth_2": 1}
SPACE: dict[str, Any] = {
    "family": "mobilenet",
    "parameters": {
        "width_1": {"choice": [8, 16, 512], "stage": "build"},
        "prune_1": {"choice": [0.0, 0.5], "stage": "prune"},
        "bits": {"choice": [32, 8], "stage": "quantize"},
    },
    "fixed": {k: v for k, v in SHAPE.items() if k != "width_1"},
}


class Sine(nn.Module):
    """A net that only the exporter can express."""

    def __init__(self, spec: InputSpec, classes: int) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(spec.shape[0], 16, 3, 2, 1), nn.Linear(16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.sin(self.conv(x)).mean((2, 3)))


def sine(params: Any, spec: InputSpec, classes: int) -> nn.Module:
    return Sine(spec, classes)


@dataclass
class Script:
    """A meter that answers from a table: milliseconds by the file's name, the same for every profile unless said otherwise."""

    times: dict[str, float]
    spread: float = 0.005
    calls: list[tuple[str, str, str]] = field(default_factory=list)

    def measure(self, path: Path, profile: str, effort: Effort = FULL, above_ms: float = 0.0) -> LatencyResult:
        onnx.checker.check_model(onnx.load(path))
        kind = "brief" if effort.brief else "quick" if effort == QUICK else "full"
        self.calls.append((path.stem, profile, kind))
        value = self.times.get(f"{path.stem}@{profile}", self.times.get(path.stem, self.times.get("*", 1.0)))
        return LatencyResult(value, value, self.spread, 5, None if effort.brief else 1_000_000, 1.0)

    def close(self) -> None:
        return None

    @property
    def kinds(self) -> list[str]:
        return [kind for _, _, kind in self.calls]


def open_parts(folder: Path, **changes: Any) -> Parts:
    raw = {
        "name": "screens",
        "data": {"source": "digits"},
        "teacher": {"family": "mobilenet"},
        "space": SPACE,
        "hardware": ["cpu_1_thread"],
        "objectives": ["maximize accuracy", "minimize latency_ms@cpu_1_thread"],
        "resources": {"device": "cpu"},
        "storage": {"url": f"sqlite:///{folder}/autokd.db"},
        **changes,
    }
    plan = make_plan(from_dict(raw))
    home = folder / ".autokd" / "studies" / "screens"
    set_up_untaught(plan, load_data(plan, folder / ".autokd", lambda text, share: None), folder / ".autokd", home)
    return Parts.open(home)


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., tuple[Parts, Script]]:
    """Parts whose meter answers from a table."""

    def make(times: dict[str, float], spread: float = 0.005, **changes: Any) -> tuple[Parts, Script]:
        meter = Script(times, spread)
        return replace(open_parts(tmp_path, **changes), meter=meter), meter  # type: ignore[arg-type]

    return make


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Parts]:
    with closing(open_parts(tmp_path)) as parts:
        yield parts


def screen(
    parts: Parts,
    folder: Path,
    shape: dict[str, Any],
    bits: int,
    limits: tuple[Constraint, ...] = (),
    profiles: tuple[Any, ...] | None = None,
    pruning: dict[str, float] | None = None,
) -> Costs:
    """The stage's work."""
    wanted = parts.plan.profiles if profiles is None else profiles
    cutting, known = Cutting.of(pruning or {}), remembered(parts.plan, False)
    stage = Screen(parts.blueprint(shape), cutting, bits, parts.dataset, wanted, parts.clock, limits, known)
    return stage.work(folder, parts.tools(), None)


def costs_of(
    parts: Parts,
    student: Any,
    pruning: dict[str, float] | None = None,
    bits: int = 32,
    timed: bool = True,
    quick: bool = False,
) -> dict[str, Measurement]:
    """Of a shape or a module, as it is chosen among variants."""
    made = student if isinstance(student, nn.Module) else parts.blueprint(student)
    family, profiles = parts.plan.space.family, parts.plan.profiles if timed else ()
    return sketch_costs(parts.bench, family, made, Cutting.of(pruning or {}).ratios, bits, profiles, quick)


def screened(
    parts: Parts, limits: list[str], bits: int = 32, folder: Path | None = None, **pruning: float
) -> dict[str, Measurement]:
    """A screen with limits, timed where they ask for it; its measurements by name."""
    found = [Constraint.parse(text).resolve([p.name for p in parts.plan.profiles]) for text in limits]
    plan = replace(parts.plan, constraints=tuple(found))
    folder = folder or parts.home
    value = screen(parts, folder, SHAPE, bits, tuple(known_limits(plan)), tuple(limited_profiles(plan)), pruning)
    assert not list(folder.glob("*.onnx"))
    assert value.how == "sketch"
    return {m.name: m for m in value.measurements}


# ------------------------------------------------------------------------------------- as little as a verdict needs


@pytest.mark.parametrize("bits", [32, 8])
@pytest.mark.parametrize("limit", ["size_bytes <= 2 kB", "params <= 100", "macs <= 100", "size_bytes < 3 kB"])
def test_what_needs_no_clock_refuses_first(scripted: Any, limit: str, bits: int) -> None:
    parts, meter = scripted({})
    found = screened(parts, [limit, "latency_ms <= 1"], bits)
    assert not meter.calls
    constraint = Constraint.parse(limit)
    assert not constraint.holds(found[constraint.metric].value)
    assert LATENCY not in found


def test_without_a_limit_on_time_nothing_is_timed(scripted: Any) -> None:
    parts, meter = scripted({})
    found = screened(parts, ["size_bytes <= 1 MB", "accuracy >= 0.5"])
    assert not meter.calls
    assert set(found) == {"size_bytes", "macs", "params"}


@pytest.mark.parametrize(
    ("ms", "kinds"),
    [
        (1.0 + 2 * MARGIN, ["brief"]),
        (1.0 - 2 * MARGIN, ["brief"]),
        (1.0 + MARGIN / 2, ["brief", "quick"]),
        (1.0 - MARGIN / 2, ["brief", "quick"]),
    ],
    ids=["too slow", "fast", "just too slow", "just fast enough"],
)
def test_only_near_a_limit_a_longer_timing_follows(scripted: Any, ms: float, kinds: list[str]) -> None:
    parts, meter = scripted({"*": ms})
    found = screened(parts, ["latency_ms <= 1"])
    assert meter.kinds == kinds
    assert found[LATENCY].value == ms
    assert found[LATENCY].extra["timing"] == kinds[-1]


def test_an_uneven_timing_decides_less(scripted: Any) -> None:
    parts, meter = scripted({"*": 1 + 2 * MARGIN}, spread=MARGIN)
    screened(parts, ["latency_ms <= 1"])
    assert meter.kinds == ["brief", "quick"]


def test_memory_is_looked_at_where_it_is_limited(scripted: Any) -> None:
    parts, meter = scripted({}, constraints=["peak_memory_bytes <= 2 MB"])
    found = screened(parts, ["peak_memory_bytes <= 2 MB"])
    assert meter.kinds == ["brief", "quick"]
    assert found["peak_memory_bytes@cpu_1_thread"].value == 1e6
    costs = screen_one(parts.plan, parts, {"width_1": 8, "prune_1": 0.5, "bits": 32, **SPACE["fixed"]})
    assert costs["peak_memory_bytes@cpu_1_thread"] == 1e6


def test_the_first_profile_that_refuses_ends_it(scripted: Any) -> None:
    profiles = ["cpu_1_thread", "cpu_1_thread_batch_32"]
    parts, meter = scripted({"*": 5.0}, hardware=profiles)
    found = screened(parts, ["latency_ms@cpu_1_thread <= 1", "latency_ms@cpu_1_thread_batch_32 <= 1"])
    assert [profile for _, profile, _ in meter.calls] == profiles[:1]
    assert LATENCY in found


def test_a_lower_limit_is_not_taken_for_an_upper_one(scripted: Any) -> None:
    parts, meter = scripted({"*": 1.0})
    for bits in (32, 8):
        found = screened(parts, ["size_bytes >= 5 kB", "latency_ms >= 0.2"], bits)
        assert found["size_bytes"].value >= 5000
        assert found[LATENCY].value == 1.0
    assert meter.calls


def test_a_pre_flight_times_every_profile(scripted: Any) -> None:
    parts, meter = scripted({"*": 1.0}, hardware=["cpu_1_thread", "cpu_1_thread_batch_32"])
    costs = screen_one(parts.plan, parts, {"width_1": 8, "prune_1": 0.5, "bits": 32, **SPACE["fixed"]})
    assert {LATENCY, "latency_ms@cpu_1_thread_batch_32", "size_bytes", "macs", "params"} == set(costs)
    assert meter.kinds == ["brief", "brief"]


# ------------------------------------------------------------------------------------------------------- int8


def test_int8_is_refused_by_the_float_file_where_no_plan_could_help(scripted: Any) -> None:
    parts, meter = scripted({"float32": 2 * INT8_GAIN})
    found = screened(parts, ["latency_ms <= 1"], bits=8)
    assert meter.calls == [("float32", "cpu_1_thread", "brief")]
    assert found[LATENCY].value == 2.0
    assert found[LATENCY].extra["timing"] == "bound"
    assert found[LATENCY].extra["float32_ms"] == 2 * INT8_GAIN


@pytest.mark.parametrize("plans", [1, 2, 3])
def test_int8_is_refused_where_the_plans_to_come_could_not_help(
    scripted: Any, plans: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    build = Int8Sketches.__getitem__
    monkeypatch.setattr(Int8Sketches, "__getitem__", lambda self, plan: made.append(plan) or build(self, plan))  # type: ignore[func-returns-value]
    gains = (INT8_GAIN, *GAINS)
    ms = (gains[plans - 1] + gains[plans]) / 2 * (1 + MARGIN)
    parts, meter = scripted({"*": ms})
    found = screened(parts, ["latency_ms <= 1"], bits=8)
    assert [name for name, _, _ in meter.calls] == ["float32", *ORDER[:plans]]
    assert set(made) == set(ORDER[:plans])
    assert found[LATENCY].value == pytest.approx(ms / gains[plans])
    assert found[LATENCY].extra["timing"] == "bound"
    assert found[LATENCY].extra["gain"] == gains[plans]


def test_int8_is_refused_when_every_plan_is_too_slow(scripted: Any) -> None:
    parts, meter = scripted({"*": 1.17, "float32": 1.5, "all": 1.15})
    found = screened(parts, ["latency_ms <= 1"], bits=8)
    plans = [name for name, _, _ in meter.calls[1:]]
    assert len(plans) >= 3
    assert set(meter.kinds) == {"brief"}
    assert found[LATENCY].value == 1.15
    assert found[LATENCY].extra["plan"] == found["size_bytes"].extra["plan"] == "all"


def test_a_limit_on_int8_that_the_float_file_meets_is_still_raced(scripted: Any) -> None:
    parts, _ = scripted({"*": 3.0, "float32": 0.5, "no_add": 0.4})
    found = screened(parts, ["latency_ms <= 1"], bits=8)
    assert found[LATENCY].value == 0.4


def test_int8_passes_with_the_first_plan_that_is_fast(scripted: Any) -> None:
    parts, meter = scripted({"*": 0.5, "float32": 2.0})
    found = screened(parts, ["latency_ms <= 1"], bits=8)
    assert len(meter.calls) == 2
    assert found[LATENCY].value == 0.5


def test_int8_near_a_limit_is_timed_again_once(scripted: Any) -> None:
    parts, meter = scripted({"*": 1.3, "float32": 2.0, "all_but_stem": 1.01})
    found = screened(parts, ["latency_ms <= 1"], bits=8)
    assert meter.calls[-1] == ("all_but_stem", "cpu_1_thread", "quick")
    assert meter.kinds.count("quick") == 1
    assert found[LATENCY].extra["plan"] == "all_but_stem"


def test_plans_too_near_to_tell_roughly_are_timed_in_turns(scripted: Any) -> None:
    """Each was timed for the limit alone; a second look decides which one the limit is held against."""
    parts, meter = scripted({"*": 3.0, "float32": 2.0, "all_but_stem": 1.02, "no_add": 1.0})
    screened(parts, ["latency_ms <= 1.01"], bits=8)
    names = [name for name, _, _ in meter.calls]
    assert names.count("linear") == 1
    assert names.count("all_but_stem") == 1 + ROUNDS
    assert names[-1] == "no_add" and names.count("no_add") == 1 + ROUNDS + 1
    meter.calls.clear()
    screened(parts, ["latency_ms <= 2"], bits=8)
    assert len(meter.calls) == 2  # what clearly fits is not


def test_an_open_size_is_that_of_the_fastest_plan(scripted: Any) -> None:
    parts, _ = scripted({"*": 3.0, "linear": 1.0})
    drawn = draw(parts.bench, "mobilenet", parts.blueprint(SHAPE).outline, {})
    sizes = {plan: len(content) for plan, content in Int8Sketches(drawn.model, drawn.types).items()}
    limit = (sizes["all"] + sizes["linear"]) // 2  # the classifier alone saves less
    found = screened(parts, [f"size_bytes <= {limit}"], bits=8)
    assert found["size_bytes"].value == sizes["linear"] > limit
    parts.meter.times["all"] = 0.5  # type: ignore[attr-defined]
    assert screened(parts, [f"size_bytes <= {limit}"], bits=8)["size_bytes"].value == sizes["all"]


# ------------------------------------------------------------------------------------------------ the real thing


def test_a_sketch_costs_what_the_exported_file_costs(real: Parts, tmp_path: Path) -> None:
    """Sizes to the byte where the weights are made up too; the latency as far as a busy machine lets see."""
    pruning = {"prune_1": 0.5}

    def export() -> list[Measurement]:
        student = real.blueprint(SHAPE).build()
        return exported_costs(tmp_path, real.bench, "mobilenet", student, {"1": 0.5}, 32, real.plan.profiles)

    first = export()
    long_way = {m.name: m for m in first}
    found = costs_of(real, SHAPE, pruning, quick=True)
    assert found[LATENCY].extra["timing"] == "quick"
    assert found["macs"].value == long_way["macs"].value
    ratios = []
    for _ in range(7):
        sketched = costs_of(real, SHAPE, pruning, quick=True)[LATENCY].value
        ratios.append(sketched / {m.name: m for m in export()}[LATENCY].value)
    assert 0.85 < sorted(ratios)[3] < 1.15, ratios


def test_a_restored_student_says_its_own_widths(real: Parts) -> None:
    student = real.blueprint(SHAPE).build()
    Cutting({"1": 0.5, "2": 0.25}).cut(student, real.dataset)
    restored = real.blueprint(SHAPE).build()
    shrink_to(restored, {k: v.clone() for k, v in student.state_dict().items()})
    by_ratio = costs_of(real, SHAPE, {"prune_1": 0.5, "prune_2": 0.25}, timed=False)
    by_module = costs_of(real, restored, timed=False)
    assert by_ratio == by_module
    further = costs_of(real, restored, {"prune_2": 0.5}, timed=False)
    assert further["macs"].value < by_module["macs"].value
    assert by_module["params"].value == sum(p.numel() for p in exported_parameters(restored))


def exported_parameters(model: nn.Module) -> Iterator[torch.Tensor]:
    """Weights, and a bias for each batch norm: what is left of it after folding."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            yield from module.parameters()
        elif isinstance(module, nn.BatchNorm2d):
            yield module.bias


def test_variants_of_int8_are_the_fastest_plan(real: Parts) -> None:
    found = costs_of(real, SHAPE, bits=8)
    assert found["size_bytes"].value < costs_of(real, SHAPE, timed=False)["size_bytes"].value
    assert found[LATENCY].extra["plan"] in ORDER
    assert found[LATENCY].extra["timing"] == "brief"


@pytest.mark.parametrize("bits", [32, 8])
def test_what_cannot_be_sketched_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    space = {"family": "test_screening:sine", "parameters": SPACE["parameters"]}
    with closing(open_parts(tmp_path, space=space)) as parts:
        value = screen(parts, tmp_path, {}, bits)
        found = value.by_name()
        assert value.how.startswith("export: no entry for sin")
        assert found["params"] == 16 * 9 + 16 + 170
        assert found[LATENCY] > 0
        assert costs_of(parts, {}, bits=bits)["macs"].value == found["macs"]


def test_a_refused_candidate_is_never_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights, no exporter, no quantizer; and at most one timing, a brief one."""

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a refused candidate was built")

    limits = ["latency_ms <= 0.0001", "params <= 100000"]
    with closing(open_parts(tmp_path, constraints=limits)) as parts:
        parts.meter.measure(first_file(parts, tmp_path), "cpu_1_thread", BRIEF)  # starts the worker
        for owner, name in ((Blueprint, "build"), (export, "export_file"), (quantize, "quantize_file")):
            monkeypatch.setattr(owner, name, never)
        measure, timings = parts.meter.measure, list[bool]()

        def counted(file: Path, profile: str, effort: Effort = FULL, above_ms: float = 0.0) -> LatencyResult:
            timings.append(effort.brief)
            return replace(measure(file, profile, effort, above_ms), spread=0.0)  # else luck says what is clear

        monkeypatch.setattr(parts.meter, "measure", counted)
        for number, (width, bits) in enumerate([(8, 32), (16, 32), (512, 32), (8, 8), (16, 8), (512, 8)]):
            params = {"width_1": width, "prune_1": 0.5, "bits": bits, **SPACE["fixed"]}
            timings.clear()
            record = evaluate(Candidate(params), parts, TrialDir(tmp_path / f"{number}", parts.store))
            assert record.outcome == Outcome.INFEASIBLE, record.detail
            assert [s.stage for s in record.stages] == ["build", "screen"]
            assert record.violations[0].constraint.startswith("params" if width == 512 else "latency_ms")
            assert (tmp_path / f"{number}" / "blocks.json").is_file()
            assert timings == ([] if width == 512 else [True])


def first_file(parts: Parts, folder: Path) -> Path:
    file = folder / "first.onnx"
    file.write_bytes(draw(parts.bench, "mobilenet", parts.blueprint(SHAPE).outline, {}).data)
    return file


def test_an_outline_that_cannot_be_is_built(real: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A family that computes with its weights while it is built."""

    class Computing(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 4)
            self.scale = float(self.weight.detach().abs().max())

    monkeypatch.setattr(build_module, "family_builder", lambda family: lambda params, spec, classes: Computing())
    assert real.blueprint({}).outline.model.weight.device.type == "cpu"


def test_a_rest_is_one_of_the_training_not_of_what_follows(tmp_path: Path) -> None:
    """A pruned sibling finds its training in the store: what tunes it goes to its end, though the trial is asked to rest."""
    untaught = {"distillation": {"method": "none"}, "training": {"samples": 512, "batch_size": 64, "augment": "none"}}
    with closing(open_parts(tmp_path, **untaught)) as parts:
        whole = {"width_1": 8, "prune_1": 0.0, "bits": 32, **SPACE["fixed"]}
        assert evaluate(Candidate(whole), parts, TrialDir(tmp_path / "0", parts.store)).outcome == Outcome.MEASURED
        cut = Candidate({**whole, "prune_1": 0.5})
        record = evaluate(cut, parts, TrialDir(tmp_path / "1", parts.store), until=0.3)
        assert record.outcome == Outcome.MEASURED, record.detail
        (pruned,) = [s for s in record.stages if s.stage == "prune"]
        found = parts.store.find("prune", pruned.key)
        assert found is not None and found["samples"] == pytest.approx(0.3 * 512, abs=64)
        assert not list(parts.store.path("prune", pruned.key).glob("checkpoint*"))
        assert {s.stage for s in record.stages if s.cached} == {"distill"}
