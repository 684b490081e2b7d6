"""Who descends from whom: in words, in the commands, in the progress line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from support import Ran, tiny

from autokd.cli.progress import Bar
from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.storage.attributes import REFERENCE_KEY
from autokd.storage.lineage import Lineage, Step, channels_left, cut_text, cut_words, grouped
from autokd.storage.reader import TrialReader
from autokd.strategies.driver import Driver
from autokd.study.study import Study
from autokd.trial import Candidate, Cut, Measurement, Outcome, Rung, StageRecord, TrialRecord

LATENCY = "latency_ms@cpu_1_thread"
CUTS = {3: ("prune_2 0.5", "prune_stem 0.25"), 4: ("prune_2 0.5", "resolution 14")}
RUNGS = (
    Rung("root", 1 / 3), Rung("root", 1 / 3), Rung("train", 2 / 3, 0), Rung("narrow", 0.4, 2, 0.8),
    Rung("narrow", 0.4, 3, 0.8), Rung("train", 0.6, 3), Rung("train", 0.6, 1),
)  # fmt: skip


@pytest.fixture
def walked() -> Lineage:
    return Lineage(Step(n, r.kind, r.parent, tuple(map(Cut.read, CUTS.get(n, ())))) for n, r in enumerate(RUNGS))


def test_a_rung_is_called_by_what_it_does(walked: Lineage) -> None:
    assert [walked.word(n) for n in range(7)] == ["root", "root", "train", "narrow", "narrow", "refine", "train"]
    assert walked.origin(0) == "root" and walked.origin(2) == "train of root 0"
    assert walked.origin(5) == "refine of 3, root 0" and walked.origin(4) == "narrow of 3, root 0"
    assert walked.named(Rung("train", 0.6, 4)) == "refine of 4" and walked.named(Rung("root", 1.0)) == "root"


def test_ancestors_and_descendants(walked: Lineage) -> None:
    assert [s.number for s in walked.path(4)] == [0, 2, 3, 4] and walked.children(3) == [4, 5]
    assert walked.root(4) == 0 and walked.roots() == [0, 1] and walked.path(99) == [] and walked.root(99) == 99
    assert walked.has_ladders and walked and not Lineage(())


def test_a_circle_in_a_foreign_ledger_ends() -> None:
    circle = Lineage([Step(0, "train", 1), Step(1, "train", 0)])
    assert [s.number for s in circle.path(0)] == [1, 0] and circle.worth(lambda n: 1.0, lambda n: 1.0) == []


def test_what_the_cuts_left(walked: Lineage) -> None:
    assert walked.left(4) == {"stem": 0.75, "2": 0.25} and [c.name for c in walked.history(4)] == [*CUTS[3], *CUTS[4]]
    assert cut_words(walked.left(4)) == "channels left, about: stem=75% 2=25%" and cut_words(walked.left(2)) == ""
    assert channels_left(read("prune_1 0.5", "prune all 0.5", "prune_2 0.5")) == {"1": 0.25, "2": 0.25, "others": 0.5}
    assert channels_left(read("prune all 0.25", "depth_1 1")) == {"all": 0.75}
    assert list(map(cut_text, read("prune all 0.25", "resolution 14"))) == ["all: -25% channels", "resolution 14"]


@pytest.mark.parametrize(
    ("cut", "name", "text"),
    [
        (Cut("channels", "2", 1.0, 0.5), "prune_2 0.5", "2: -50% channels"),
        (Cut("channels", "all", 1.0, 0.75), "prune all 0.25", "all: -25% channels"),
        (Cut("channels", "stage.1", 1.0, 0.7), "prune_stage.1 0.3", "stage.1: -30% channels"),
        (Cut("shape", "resolution", 28, 14), "resolution 14", "resolution 14"),
        (Cut("shape", "own words", None, None), "own words", "own words"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_cut_is_said_alike_in_both_forms(cut: Cut, name: str, text: str) -> None:
    """Records of today hold a mapping, those of the first version a name."""
    again = Cut.read(json.loads(json.dumps(asdict(cut))))
    assert again == cut and (again.name, cut_text(again)) == (name, text)
    old = Cut.read(name)
    assert (old.kind, old.name, cut_text(old)) == (cut.kind, name, text)
    assert channels_left([old]) == pytest.approx(channels_left([cut]))


def read(*names: str) -> list[Cut]:
    return list(map(Cut.read, names))


def test_numbered_parameters_are_said_as_one() -> None:
    params = {"width_1": 32, "width_2": 64, "depth_1": 1, "depth_2": 1, "kernel_3": 5, "lr": 0.1}
    assert grouped(params) == {"width": "32-64", "depth": 1, "kernel_3": 5, "lr": 0.1}
    assert grouped({"depth": 2, "depth_1": 3, "depth_2": 3}) == {"depth": 2, "depth_1": 3, "depth_2": 3}


def test_what_a_ladder_brought(walked: Lineage) -> None:
    zero, one = walked.worth(lambda n: 0.1 * n, lambda n: 2.0)
    assert (zero.root, zero.rungs, one.root, one.rungs) == (0, 5, 1, 2)
    assert zero.gain == pytest.approx(1.4) and zero.cpu_s == 10.0 and zero.rate == pytest.approx(0.14)


# ------------------------------------------------------------------------------------------------------- commands


def record(number: int, rung: Rung | None, parent: int | None = None, form: str = "mappings") -> TrialRecord:
    """Slower students are better; trial 4 has fewer pixels than its root."""
    params = {"width_1": 16 if number in (1, 6) else 8, "bits": 8 if number % 2 else 32}
    params["resolution"] = 14 if number == 4 else 28
    cuts = list(CUTS.get(number, ())) if form == "names" else [asdict(Cut.read(c)) for c in CUTS.get(number, ())]
    return TrialRecord(
        Outcome.MEASURED, params,
        (Measurement("accuracy", 0.9 - 0.01 * number, "ratio", spread=0.003),
         Measurement("latency_ms", 0.09 - 0.01 * number, "ms", "cpu_1_thread", 0.01)),
        began_training=True, rung=rung, parent=parent if rung is None else rung.parent,
        stages=(StageRecord("distill", f"d{number}", 2.0, 2.0),), notes={"cuts": cuts} if cuts else {},
    )  # fmt: skip


@pytest.fixture(params=["mappings", "names"])
def ladder(tmp_path: Path, request: pytest.FixtureRequest) -> Study:
    """In both forms that cuts have in ledgers."""
    plan = make_plan(from_dict(tiny(search__strategy="ladder", space="mobilenet_28")))
    study = Study.create(plan, f"sqlite:///{tmp_path}/autokd.db")
    study.ledger.set_attr(REFERENCE_KEY, [0.1, 0.2])
    records = [record(n, rung, form=request.param) for n, rung in enumerate(RUNGS)]
    for made in [*records, record(7, None, 4, request.param)]:
        values = [made.value("accuracy"), made.value(LATENCY)]
        study.ledger.finish(study.optuna_study.ask(), made, [float(v) for v in values if v is not None])
    return study


def test_the_front_describes_its_rungs(ladder: Study, run_cli: Callable[..., Ran], tmp_path: Path) -> None:
    out = " ".join(run_cli("front", "tiny", cwd=tmp_path).stdout.replace("│", " ").split())
    assert "narrow of 3, root 0 bits=32 resolution=14; channels left, about:" in out
    assert "refine of 3, root 0" in out and "finish of 4, root 0" in out and "train of root 1" in out
    assert "Root 0: resolution=28 width_1=8." in out and "Root 1: resolution=28 width_1=16." in out


def test_the_front_s_json_has_the_lineage(ladder: Study, run_cli: Callable[..., Ran], tmp_path: Path) -> None:
    members = json.loads(run_cli("front", "tiny", "--json", cwd=tmp_path).stdout)["members"]
    told = {m["number"]: m["lineage"] for m in members}
    assert {"number", "params", "values", "confirmed", "artifact", "lineage"} == set(members[0])
    assert told[4] == {
        "rung": "narrow", "parent": 3, "root": 0, "path": [0, 2, 3], "cuts": list(CUTS[4]),
        "history": [*CUTS[3], *CUTS[4]], "channels_left": {"stem": 0.75, "2": 0.25},
    }  # fmt: skip
    assert told[0]["rung"] == "root" and told[0]["path"] == [] and told[7]["rung"] == "finish"


def test_a_trial_tells_its_ancestors(ladder: Study, run_cli: Callable[..., Ran], tmp_path: Path) -> None:
    out = " ".join(run_cli("show", "tiny", "4", cwd=tmp_path).stdout.split())
    assert "rung narrow made smaller from trial 3 ancestors 0 > 2 > 3 cut for it 2: -50% channels; resolution 14" in out
    assert "channels left about stem=75% 2=25%" in out
    finished = " ".join(run_cli("show", "tiny", "7", cwd=tmp_path).stdout.split())
    assert "trained on from trial 4 ancestors 0 > 2 > 3 > 4" in finished and "rung" not in finished
    assert json.loads(run_cli("show", "tiny", "5", "--json", cwd=tmp_path).stdout)["lineage"]["rung"] == "refine"


def test_status_tells_what_each_ladder_brought(ladder: Study, run_cli: Callable[..., Ran], tmp_path: Path) -> None:
    out = " ".join(run_cli("status", "tiny", cwd=tmp_path).stdout.split())
    first, second = ladder.status()["ladders"]
    assert (first["rungs"], second["rungs"], first["cpu_s"]) == (5, 2, 10.0)
    assert f"ladder of root 0 5 rungs, +{first['gain']:.3f} hypervolume in 10 CPU s" in out
    own = TrialReader(ladder.ledger.url, "tiny").frame
    assert Lineage.of_frame(own).steps == ladder.lineage().steps


def test_a_study_without_ladders_is_told_as_before(finished: Path, run_cli: Callable[..., Ran]) -> None:
    assert "lineage" not in run_cli("front", "tiny", cwd=finished).stdout
    assert "ladders" not in json.loads(run_cli("status", "tiny", "--json", cwd=finished).stdout)
    assert "lineage" not in json.loads(run_cli("show", "tiny", "0", "--json", cwd=finished).stdout)


# -------------------------------------------------------------------------------------------------- progress line


def test_the_progress_line_names_the_rung(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(from_dict(tiny(search__strategy="ladder", space="mobilenet_28", budget__trials=20)))
    study = Study.create(plan, f"sqlite:///{tmp_path}/autokd.db")
    study.ledger.set_attr(REFERENCE_KEY, [0.1, 0.2])
    driver, bar = Driver(study.ledger, plan, study.home), Bar()
    bar.LINE_S = 0.0
    bar.begin(driver, study.hypervolume)
    driver.on_begin, driver.on_finish = bar.begun, bar.trial
    said: list[str] = []
    for _ in range(6):
        job: Any = driver.next()
        candidate: Candidate = job.candidate
        said += [line for line in capsys.readouterr().err.splitlines() if "now trial" in line][-1:]
        made = record(job.number, candidate.rung)
        driver.complete(job, made)
    told = [line.rpartition("now ")[2].partition(", ETA")[0] for line in said]
    assert told[0] == "trial 0 root" and any("narrow of" in line for line in told)
    kinds = [
        re.fullmatch(rf"trial {n} (root|narrow of \d+|train of \d+|refine of \d+)", line) for n, line in enumerate(told)
    ]
    assert len(told) == 6 and all(kinds), told
    assert "now trial" not in capsys.readouterr().err.splitlines()[-1]  # nothing runs
