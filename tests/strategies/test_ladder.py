"""Ladders: the policy on simulated students, and a real one on digits."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import torch
from support import tiny
from torch import nn

import autokd
from autokd.config.load import from_dict
from autokd.config.plan import Plan, make_plan
from autokd.config.roots import family_roots, snap
from autokd.config.space import load_space
from autokd.errors import ConfigError
from autokd.evaluation import narrow
from autokd.evaluation.narrow import LOST, Narrowed, Narrower, Variant
from autokd.strategies import make_strategy
from autokd.strategies.ladder.arms import RACE
from autokd.strategies.ladder.forecast import SEASONED, Forecast
from autokd.strategies.ladder.ladder import STARTERS, Ladder
from autokd.strategies.sampling import make_sampler
from autokd.trial import Candidate, Cut, Measurement, Outcome, Rung, StageRecord, TrialRecord

LATENCY = "latency_ms@cpu_1_thread"
FLOOR_MS = 0.006


def plan(**changes: Any) -> Plan:
    return make_plan(from_dict(tiny(search__strategy="ladder", space="mobilenet_28", **changes)))


class World:
    """Students whose accuracy follows from size and training by a formula: a study without training anything.

    A wider root is slower and better; a step keeps the stated share of the latency; more training helps less and less.
    """

    def __init__(self, strategy: Ladder) -> None:
        self.strategy, self.number = strategy, 0
        self.latency: dict[int, float] = {}
        self.trained: dict[int, float] = {}
        self.done: list[tuple[int, Candidate, TrialRecord]] = []

    def begin(self, candidate: Candidate) -> int:
        number = self.number
        self.number += 1
        self.strategy.begun(number, candidate)
        return number

    def end(self, number: int, candidate: Candidate) -> TrialRecord:
        rung = candidate.rung
        assert rung is not None
        if rung.parent is None:
            pixels = float(candidate.params["resolution"]) / 14
            latency, trained = 0.003 * pixels * float(candidate.params["width_1"]), rung.share
        else:
            latency = self.latency[rung.parent] * rung.keep
            trained = self.trained[rung.parent] + rung.share
        self.latency[number], self.trained[number] = latency, trained
        outcome = Outcome.MEASURED if latency >= FLOOR_MS else Outcome.INFEASIBLE
        accuracy = 0.95 - 0.05 / trained - 0.002 / latency
        record = TrialRecord(
            outcome,
            candidate.params,
            (Measurement("accuracy", accuracy, "ratio"), Measurement("latency_ms", latency, "ms", "cpu_1_thread")),
            stages=(StageRecord("distill", f"key{number}", 1.0, 100 * latency * rung.share),),
            began_training=True,
            parent=rung.parent,
            rung=rung,
        )
        self.strategy.tell(number, record)
        self.done.append((number, candidate, record))
        return record

    def step(self) -> Candidate:
        move = self.strategy.next_move()
        assert isinstance(move, Candidate)
        self.end(self.begin(move), move)
        return move


def test_the_cheapest_root_comes_first_and_whole_and_dearer_ones_later() -> None:
    world = World(Ladder(plan(), [0.1, 0.9]))
    first = world.step()
    assert first.rung == Rung("root", 1.0) and first.params == world.strategy.first[0]
    assert world.step().params == world.strategy.first[1]
    cheap, dear = (node.cost for node in world.strategy.family_roots_begun())
    assert cheap < dear


def test_what_is_left_goes_where_hypervolume_is_cheapest() -> None:
    world = World(Ladder(plan(), [0.1, 0.9]))
    moves = [world.step() for _ in range(120)]
    kinds = [m.rung.kind for m in moves if m.rung]
    assert kinds.count("train") > 10 and kinds.count("narrow") > 5
    assert len(world.strategy.family_roots_begun()) > 2, "dear roots get their turn"
    roots = [m for m in moves if m.rung and m.rung.kind == "root"]
    assert len(roots) > len(world.strategy.family_roots_begun()), "training on must not starve the outer search"
    assert len({n.number for n in world.strategy.forest.front()}) >= 6


def test_without_refining_only_steps_and_roots_are_left() -> None:
    world = World(Ladder(plan(search__refine=False), [0.1, 0.2]))
    rungs = [m.rung for m in (world.step() for _ in range(40)) if m.rung]
    done = world.strategy.forest.nodes
    assert all(done[r.parent].trained < 1 for r in rungs if r.kind == "train" and r.parent is not None)
    assert {"narrow", "root"} <= {r.kind for r in rungs}


def test_from_students_that_are_all_too_dear_one_walks_down_to_the_reference() -> None:
    world = World(Ladder(plan(), [0.1, 0.02]))
    rungs = [m.rung for m in (world.step() for _ in range(12)) if m.rung]
    assert [r.kind for r in rungs[:6]] == ["root"] * STARTERS + ["narrow"] * 4
    assert world.strategy.forest.volume > 0, "it got there"


def test_without_the_familys_roots_the_samplers_first_one_is_trained_whole_and_gone_on_from() -> None:
    world = World(Ladder(plan(search__roots="sampler"), [0.1, 0.9]))
    rungs = [m.rung for m in (world.step() for _ in range(120)) if m.rung]
    assert rungs[0] == Rung("root", 1.0)
    kinds = [r.kind for r in rungs[1:]]
    assert all(r.share == RACE for r in rungs[1:] if r.kind == "root")
    assert 1 <= kinds.count("root") < kinds.count("train") + kinds.count("narrow")


def test_workers_wait_until_there_is_something_to_go_on_from() -> None:
    world = World(Ladder(plan(), [0.1, 0.2]))
    begun = []
    for _ in world.strategy.first:
        move = world.strategy.next_move()
        assert isinstance(move, Candidate)
        begun.append((world.begin(move), move))
    assert world.strategy.next_move() is None
    world.end(*begun[0])
    assert isinstance(world.strategy.next_move(), Candidate)


def test_what_the_budget_has_no_seconds_for_is_not_begun() -> None:
    made = plan(budget__cpu_s=60.0, budget__trials=None)
    world = World(Ladder(made, [0.1, 0.2]))
    while sum(n.cpu_s for n in world.strategy.forest.nodes.values()) < 57:
        world.step()
    spent = sum(n.cpu_s for n in world.strategy.forest.nodes.values())
    assert spent < 60 + 3


def test_what_runs_counts_in_what_is_left_of_the_budget() -> None:
    world = World(Ladder(plan(budget__cpu_s=60.0, budget__trials=None), [0.1, 0.2]))
    while sum(n.cpu_s for n in world.strategy.forest.nodes.values()) < 30:
        world.step()
    running = []
    while len(running) < 40 and isinstance(move := world.strategy.next_move(), Candidate):
        running.append((world.begin(move), move))
    assert 2 <= len(running) < 40, "several fit, and not any number"
    for begun in running:
        world.end(*begun)
    assert sum(n.cpu_s for n in world.strategy.forest.nodes.values()) < 60 + 3


def test_two_workers_do_not_go_for_the_same_gain() -> None:
    world = World(Ladder(plan(), [0.1, 0.9]))
    for _ in range(8):
        world.step()
    forest = world.strategy.forest
    move = world.strategy.next_move()
    assert isinstance(move, Candidate) and move.rung is not None
    number = world.begin(move)
    world.strategy.next_move()
    ((quality, cost, seconds),) = forest.believed
    assert seconds > 0
    assert forest.would_gain(quality, cost) == pytest.approx(0, abs=1e-12)
    world.end(number, move)
    world.strategy.next_move()
    assert not forest.believed, "what has come is no longer only expected"


def test_while_a_root_of_the_family_is_trained_the_next_one_waits() -> None:
    world = World(Ladder(plan(), [0.1, 0.9]))
    roots: list[int] = []
    for _ in range(200):
        move = world.strategy.next_move()
        assert isinstance(move, Candidate) and move.rung is not None
        number = world.begin(move)
        if number >= STARTERS and move.rung.kind == "root" and move.params in world.strategy.first:
            roots.append(number)
            assert len(roots) == 1, "what it brings is told from those before it"
            continue  # the first dear one never ends here
        world.end(number, move)
    assert roots


def test_errors_fall_by_a_power_of_the_training_that_is_learnt() -> None:
    world = World(Ladder(plan(), [0.1, 0.2]))
    first = world.step()
    forest = world.strategy.forest
    (root,) = forest.roots()
    before = Forecast(forest)
    assert before.slope(root) == pytest.approx(SEASONED)
    world.end(
        world.begin(Candidate(first.params, Rung("train", 1.0, root.number))),
        Candidate(first.params, Rung("train", 1.0, 0)),
    )
    child = forest.nodes[1]
    seen = math.log((1 - root.quality) / (1 - child.quality)) / math.log(2)
    after = Forecast(forest)
    assert min(SEASONED, seen) < after.slope(child) < max(SEASONED, seen)
    assert abs(after.slope(child) - seen) < abs(after.slope(root) - seen), "its own past counts more"
    more = [after.trained(child.quality, child.trained, share) for share in (1.0, 2.0)]
    assert child.quality < more[0] < more[1] < 1
    assert after.seconds(child, Rung("train", 2.0, 1)) == pytest.approx(2 * child.per_share + child.around_s)


def test_a_student_far_behind_the_best_one_is_worth_nothing_unless_a_person_says_so() -> None:
    for stated in ({}, {"reference_point": {"accuracy": 0.1}}):
        forest = World(Ladder(plan(**stated), [0.1, 0.2])).strategy.forest
        world = World(Ladder(plan(**stated), [0.1, 0.2]))
        world.step()
        forest = world.strategy.forest
        best = forest.roots()[0]
        poor = 1 - 3 * (1 - best.quality)
        assert (forest.would_gain(poor, best.cost / 2) > 0) == bool(stated)


def test_a_resumed_ladder_goes_on_as_an_uninterrupted_one_would() -> None:
    whole = World(Ladder(plan(sampler="optuna:tpe"), [0.1, 0.2]))
    moves = [whole.step() for _ in range(60)]
    again = Ladder(plan(sampler="optuna:tpe"), [0.1, 0.2])
    for number, _, record in whole.done[:40]:
        read = TrialRecord.from_json(record.to_json())
        again.tell(number, read)
    later = World(again)
    later.number, later.latency, later.trained = 40, whole.latency, whole.trained
    assert [later.step().key() for _ in range(20)] == [m.key() for m in moves[40:]]


def test_an_interrupted_step_comes_again_and_a_failed_one_does_not() -> None:
    world = World(Ladder(plan(), [0.1, 0.2]))
    while True:
        move = world.strategy.next_move()
        assert isinstance(move, Candidate) and move.rung is not None
        if move.rung.kind == "narrow":
            break
        world.step()
    number = world.begin(move)
    record = TrialRecord(Outcome.INTERRUPTED, move.params, rung=move.rung, parent=move.rung.parent)
    world.strategy.tell(number, record)
    assert world.strategy.next_move() == move
    number = world.begin(move)
    world.strategy.tell(number, TrialRecord(Outcome.FAILED, move.params, rung=move.rung, parent=move.rung.parent))
    other = world.strategy.next_move()
    assert isinstance(other, Candidate) and other != move


@pytest.mark.parametrize("space", ["mobilenet_28", "resnet_28", "digits", "tabular"])
def test_the_familys_roots_are_points_of_every_shipped_space(space: str) -> None:
    made = plan().config.model_copy(update={"space": space})
    resolved = Plan(made, load_space(space), {}, plan().profiles, plan().objectives, ())
    roots = family_roots(resolved)
    assert roots and len({json.dumps(r, sort_keys=True) for r in roots}) == len(roots)
    for root in roots:
        active = dict(resolved.space.fixed)
        for p in resolved.space.parameters:
            if p.active(active):
                assert p.distribution()._contains(p.distribution().to_internal_repr(root[p.name]))  # type: ignore[attr-defined]
                active[p.name] = root[p.name]
        assert active == root
        assert all(v == 0 for k, v in root.items() if k.startswith("prune_"))


def test_a_stated_default_decides_what_a_shape_does_not_say() -> None:
    params = snap(plan(distillation={"method": "kd", "temperature": 3.0, "alpha": 0.7}), {"width_1": 30})
    assert (params["temperature"], params["alpha"], params["width_1"], params["bits"]) == (3, 0.7, 32, 32)


@pytest.mark.parametrize(
    ("objectives", "word"),
    [
        (["minimize size_bytes", "minimize latency_ms@cpu_1_thread"], "quality"),
        (["maximize accuracy", "maximize agreement"], "cost"),
    ],
)
def test_a_ladder_needs_a_cost_and_a_quality(objectives: list[str], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        plan(objectives=objectives)


def test_a_search_may_have_a_seed_of_its_own() -> None:
    usual, other = plan(seed=5), plan(seed=5, search__seed=6)
    assert (usual.config.search_seed, other.config.search_seed, other.config.seed) == (5, 6, 5)
    proposals = [make_sampler_proposals(p) for p in (usual, plan(seed=5), other)]
    assert proposals[0] == proposals[1] != proposals[2]


def make_sampler_proposals(made: Plan) -> list[Any]:
    study = optuna.create_study(sampler=make_sampler(made, 0))
    return [made.space.suggest(study.ask()) for _ in range(5)]


def test_a_variant_tells_what_it_cuts() -> None:
    whole = {"resolution": 28, "depth_2": 3}
    assert Variant("prune_1 0.5", {"1": 0.5}, {}).cuts(whole) == [Cut("channels", "1", 1.0, 0.5)]
    assert Variant("prune all 0.25", {"1": 0.25, "2": 0.25}, {}).cuts(whole) == [Cut("channels", "all", 1.0, 0.75)]
    assert Variant("depth_2 2", {}, {"depth_2": 2}).cuts(whole) == [Cut("shape", "depth_2", 3, 2)]
    assert [c.name for v in (Variant("resolution 14", {}, {"resolution": 14}),) for c in v.cuts(whole)] == [
        "resolution 14"
    ]


def test_pixels_count_more_than_channels_that_look_as_harmful() -> None:
    narrower = Narrower(SimpleNamespace(), SimpleNamespace(), [], plan().objectives[1])  # type: ignore[arg-type]
    net = nn.Identity()
    now = Narrowed(net, {}, 0.02, Variant("", {}, {}), loss=0.3)
    channels = Narrowed(net, {}, 0.016, Variant("prune_1 0.5", {"1": 0.5}, {}), loss=0.5)
    pixels = Narrowed(net, {}, 0.016, Variant("resolution 14", {}, {"resolution": 14}), loss=0.5)
    assert narrower._harm(now, pixels) == pytest.approx(LOST * narrower._harm(now, channels))


@pytest.mark.parametrize(("plan_name", "expected"), [("", 0.020), ("no_add", 0.012)])
def test_a_cut_saves_what_the_file_that_ships_saves(
    monkeypatch: pytest.MonkeyPatch, plan_name: str, expected: float
) -> None:
    asked = []

    def sketch_costs(bench: Any, family: str, student: Any, cuts: Any, bits: int, profiles: Any, only: str = "") -> Any:
        asked.append((bits, only))
        return {LATENCY: Measurement("latency_ms", 0.020 if bits == 32 else 0.012, "ms", "cpu_1_thread")}

    monkeypatch.setattr(narrow, "sketch_costs", sketch_costs)
    narrower = Narrower(SimpleNamespace(), SimpleNamespace(family=""), [], plan().objectives[1], plan_name)  # type: ignore[arg-type]
    assert narrower.measure(nn.Identity(), Variant("prune_1 0.5", {"1": 0.5}, {})) == expected
    assert asked == [(32, ""), *([(8, plan_name)] if plan_name else [])]


def test_rungs_survive_the_record() -> None:
    record = TrialRecord(Outcome.MEASURED, {"a": 1}, rung=Rung("narrow", 0.4, 3, 0.8), parent=3)
    assert TrialRecord.from_json(record.to_json()) == record
    assert record.candidate.key() != Candidate({"a": 1}).key()
    assert asdict(record.rung or Rung("root", 1)) == {"kind": "narrow", "share": 0.4, "parent": 3, "keep": 0.8}


def test_independent_is_the_default_and_asks_the_sampler() -> None:
    made = make_plan(from_dict(tiny()))
    assert make_strategy(made, None).next_move() == "sample"


# ------------------------------------------------------------------------------------------------ a real one


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> autokd.Study:
    folder = tmp_path_factory.mktemp("ladder")
    raw = tiny(
        name="walked",
        data={"source": "digits"},
        space="digits",
        objectives=["maximize accuracy", "minimize macs"],  # no floor, unlike the latency of nets as small as these
        search={"strategy": "ladder", "step_training": 0.3},
        budget__trials=9,
        training={"epochs": 3, "batch_size": 64, "augment": "none", "views": 1},
        storage={"url": f"sqlite:///{folder}/autokd.db"},
    )
    return autokd.search(raw)


@pytest.mark.slow
def test_a_real_ladder_gets_faster_step_by_step(walked: autokd.Study) -> None:
    records = {m.number: m.record for m in walked.members()}
    steps = [r for r in records.values() if r.rung and r.rung.kind == "narrow"]
    assert steps
    for record in steps:
        assert record.parent in records, "lineage is on record"
        before, after = record.notes["cost_before"], record.notes["cost_after"]
        assert after < before * 0.97 and record.notes["cuts"]
        assert (record.value("macs") or 0) < (records[record.parent].value("macs") or 0)
        assert json.loads((Path(str(record.folder)) / "blocks.json").read_text())
    measured = [s for s in steps if s.value("accuracy")]
    assert max(s.value("accuracy") or 0 for s in measured) > 0.6, (
        "weights were inherited: a tenth of an epoch teaches nothing"
    )
    assert all(p.params.keys() >= walked.plan.space.fixed.keys() for p in walked.members())


@pytest.mark.slow
def test_every_rung_is_a_trial_that_exports(walked: autokd.Study, tmp_path: Path) -> None:
    for member in walked.front():
        file = walked.best(trial=member.number).export(tmp_path / f"{member.number}.onnx")
        assert Path(file).exists()
    frame = walked.to_dataframe()
    assert set(frame["state"]) <= {"COMPLETE", "PRUNED"}
    assert walked.status()["counted"] == 9


@pytest.mark.slow
def test_a_rung_can_be_finished(walked: autokd.Study) -> None:
    chosen = next(m for m in walked.members() if m.record.rung and m.record.rung.kind == "narrow")
    number = walked.finish(chosen.number, 500)
    child = next(m for m in walked.members() if m.number == number)
    assert child.record.parent == chosen.number
    assert child.record.value("macs") == chosen.record.value("macs"), "the cut shape is kept"


@pytest.mark.slow
def test_a_block_that_falls_away_leaves_the_others_weights(walked: autokd.Study) -> None:
    from autokd.evaluation.narrow import inherit
    from autokd.evaluation.parts import Parts

    parts = Parts.open(walked.home)
    try:
        shape = {"stem_width": 8, "stages": 2, "width_1": 8, "width_2": 16, "depth_1": 2, "depth_2": 2}
        large = parts.blueprint(shape).build()
        small = inherit(parts.blueprint({**shape, "depth_2": 1}), large.state_dict())
        kept = small.state_dict()
        assert kept and all(torch.equal(v, large.state_dict()[k]) for k, v in kept.items())
        assert len(kept) < len(large.state_dict())
        assert isinstance(small, nn.Module)
    finally:
        parts.close()
