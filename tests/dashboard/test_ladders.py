"""A study of ladders on every page: lineage, what each ladder brought, and no rung taken for a free choice."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

import autokd
from autokd.config.objectives import Objective
from autokd.dashboard.analysis import comparison, importance, ladders
from autokd.figures import front_figure, path_figure, with_lineage
from autokd.storage.lineage import Lineage, Step
from autokd.storage.reader import TrialReader
from autokd.study.study import Study
from autokd.trial import Outcome, Rung, TrialRecord
from tests.dashboard.conftest import Make, Open, figures
from tests.dashboard.conftest import go as turn_to

ACCURACY, LATENCY = Objective("maximize", "accuracy"), Objective("minimize", "latency_ms", "cpu_1_thread")
GOALS = (ACCURACY, LATENCY)
PAGES = ("front", "watch", "student", "compare", "devices", "why", "trials", "studies")


def words(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.info, app.subheader)
    return " ".join(str(e.value) for kind in kinds for e in kind).replace("\\", "")


def frame_of(study: Study) -> pd.DataFrame:
    return TrialReader(study.ledger.url, study.name).frame


def charts(app: AppTest) -> list[dict[str, object]]:
    return [json.loads(f) for f in figures(app)]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_shows_a_study_of_ladders(make: Make, open_page: Open, path: str) -> None:
    make(students=6, ladder=True)
    app = open_page(path)
    assert not app.error and not app.warning


# ---------------------------------------------------------------------------------------------------------- front


def test_the_front_s_table_says_where_each_student_comes_from(make: Make, open_page: Open) -> None:
    make(students=6, ladder=True)
    table = open_page().dataframe[0].value
    assert table["lineage"].tolist() == [
        "root",
        "root",
        "train of root 0",
        "narrow of 2, root 0",
        "narrow of 3, root 0",
    ]
    assert table["channels left, about"].tolist() == ["", "", "", "1=50%", "stem=75% 1=25%"]


def test_arrows_from_parent_to_child_can_be_shown(make: Make, open_page: Open) -> None:
    make(students=6, ladder=True)
    app = open_page()
    plain = charts(app)[0]["data"]
    app.toggle(key="lineage digits").set_value(True).run()
    assert not app.exception
    drawn = charts(app)[0]["data"]
    (arrows,) = [t for t in drawn if t not in plain and t.get("name") == "from root 0"]
    assert len(drawn) == len(plain) + 1 and drawn.index(arrows) == 0  # behind the points


def test_a_study_without_ladders_offers_no_lineage(make: Make, open_page: Open) -> None:
    make()
    app = open_page()
    assert [t.label for t in app.toggle] == ["Rejected"]
    assert not {"lineage", "channels left, about"} & set(app.dataframe[0].value.columns)


def test_an_arrow_goes_from_the_next_ancestor_that_is_drawn(make: Make) -> None:
    study = make(students=6, ladder=True)
    frame = frame_of(study)
    lineage = Lineage.of_frame(frame)
    rows = frame[frame["feasible"].astype(bool) & (frame["number"] != 2)]  # the parent of 3 is not a student
    (arrows,) = with_lineage(front_figure(rows, GOALS), rows, GOALS, lineage).data[:1]
    pairs = {(arrows.x[i], arrows.x[i + 1]) for i in range(0, len(arrows.x), 3)}
    assert pairs == {(0.01, 0.04), (0.04, 0.05), (0.04, 0.06)} and arrows.x[2] is None


def test_more_roots_than_colours_share_a_grey() -> None:
    steps = [Step(n, "root") for n in range(9)] + [Step(9 + n, "train", n) for n in range(9)]
    rows = pd.DataFrame({"number": range(18), "accuracy": 0.5, LATENCY.name: [0.1 + n for n in range(18)]})
    figure = with_lineage(front_figure(rows, GOALS), rows, GOALS, Lineage(steps))
    arrows = [t for t in figure.data if str(t.name).startswith("from")]
    assert len(arrows) == 9 and len({t.line.color for t in arrows}) == 8
    assert [t.name for t in arrows if t.showlegend] == [*(f"from root {n}" for n in range(7)), "from other roots"]


def test_a_point_of_the_front_says_its_parent(make: Make) -> None:
    study = make(students=6, ladder=True)
    frame = frame_of(study)
    points = next(t for t in front_figure(frame, GOALS).data if t.customdata is not None)
    told = {c[0]: text for c, text in zip(points.customdata, points.text, strict=True)}
    assert "from trial 2" in told[3] and "from trial" not in told[0]


# -------------------------------------------------------------------------------------------------------- student


def test_a_student_s_way_down_and_back_up(make: Make, open_page: Open) -> None:
    make(students=6, ladder=True)
    app = open_page("student")
    app.selectbox(key="pick digits ").set_value(4).run()
    assert "Trial 4: narrow of 3, root 0." in words(app)
    table = next(d.value for d in app.dataframe if "what" in d.value)
    assert table["trial"].tolist() == [0, 2, 3, 4] and table["what"].tolist() == ["root", "train", "narrow", "narrow"]
    assert table["cut for it"].tolist() == ["", "", "1: -50% channels", "1: -50% channels; stem: -25% channels"]
    assert table["channels"].tolist() == ["8-8-10"] * 4  # of the blocks that the fixture describes
    assert table["latency (cpu_1_thread)"].tolist() == ["10.0 µs", "30.0 µs", "40.0 µs", "50.0 µs"]
    assert "no other trial differs from it in one part alone" in words(app)
    app.selectbox(key="pick digits ").set_value(3).run()
    assert "From it descend trial 4, trial 5." in words(app) and not app.exception


def test_without_folders_a_way_says_about_what_is_left(make: Make) -> None:
    frame = frame_of(make(students=6, ladder=True))
    table = ladders.steps_table(frame, Lineage.of_frame(frame), 4, GOALS, {})
    assert table["channels left, about"].tolist() == ["", "", "1=50%", "stem=75% 1=25%"]


def test_rungs_side_by_side_differ_by_their_lineage(make: Make) -> None:
    study = make(students=6, ladder=True)
    members = [m for m in study.members() if m.number in (3, 5)]
    table = comparison.params(members, study.lineage()).set_index("parameter")
    assert table.loc["lineage", "trial 3"] == "narrow of 2, root 0" and table.loc["lineage", ""] == comparison.DIFFERS
    assert table.loc["channels left, about", "trial 5"] == "1=50%"
    assert "lineage" not in comparison.params(members)["parameter"].tolist()


def test_the_picture_of_a_way(make: Make) -> None:
    frame = frame_of(make(students=6, ladder=True))
    figure: go.Figure = path_figure(frame[frame["feasible"].astype(bool)], GOALS, Lineage.of_frame(frame), 4)
    (line,) = figure.data
    assert [c[0] for c in line.customdata] == [0, 2, 3, 4] and list(line.text) == ["0", "", "3", "4"]
    assert list(line.x) == pytest.approx([0.01, 0.03, 0.04, 0.05]) and "1: -50% channels" in line.hovertext[2]


# ------------------------------------------------------------------------------------------------------------ why


@pytest.mark.parametrize("part", ["What matters", "One parameter", "All at once", "Teacher or none"])
def test_why_looks_at_roots_alone_and_says_so(make: Make, open_page: Open, part: str) -> None:
    make(students=6, ladder=True)
    app = open_page("why")
    app.button_group(key="why digits").set_value([part]).run() if part != "What matters" else None
    assert not app.exception and "only the roots were chosen: 2 here. The 4 rungs below them" in words(app)


def test_rungs_below_a_root_are_no_free_choices(make: Make) -> None:
    frame = frame_of(make(students=6, ladder=True))
    assert importance.free_choices(frame)["number"].tolist() == [0, 1, 6, 7]
    whole = frame_of(make("other"))
    assert importance.free_choices(whole) is whole


# ---------------------------------------------------------------------------------------------------------- watch


def test_watch_tells_what_each_ladder_brought(make: Make, open_page: Open) -> None:
    study = make(students=6, ladder=True, state="searching", live=True)
    app = open_page("watch")
    text = "2 roots, 1 root trained to the end, 2 steps down and 1 rung trained on. Now: trial 8 narrow of 5."
    assert text in words(app)
    table = next(d.value for d in app.dataframe if "gain per CPU second" in d.value)
    told = study.status()["ladders"]
    assert table["root"].tolist() == [w["root"] for w in told] == [0, 1]
    assert table["state"].tolist() == ["walked down", "raced"]
    assert table["rungs"].tolist() == [w["rungs"] for w in told] == [5, 1]
    assert table["on the front"].tolist() == [4, 1]
    assert table["hypervolume gained"].tolist() == pytest.approx([w["gain"] for w in told])
    assert table["hypervolume gained"].sum() == pytest.approx(study.hypervolume())
    assert table["gain per CPU second"].tolist() == pytest.approx([w["gain_per_cpu_s"] for w in told])
    running = next(d.value for d in app.dataframe if "running for" in d.value)
    assert running["trial"].tolist() == [8] and running["rung"].tolist() == ["narrow of 5"]
    assert study.running() == [{**study.running()[0], "number": 8, "rung": "narrow of 5"}]


def test_roots_are_told_apart_by_what_differs() -> None:
    frame = pd.DataFrame({"number": [0, 1, 2], "params_width_1": [8, 16, 8], "params_width_2": [16, 32, 16]})
    frame = frame.assign(params_lr=0.1, params_kernel=[float("nan"), 5.0, float("nan")], params_bits=[8, 32, 8])
    lineage = Lineage([Step(0, "root"), Step(1, "root"), Step(2, "narrow", 0)])
    assert ladders.root_shapes(frame, lineage) == {0: "width=8-16", 1: "width=16-32 kernel=5"}


def test_without_a_reference_point_no_gain_is_made_up(make: Make) -> None:
    frame = frame_of(make(students=6, ladder=True))
    table = ladders.worth_table(frame, Lineage.of_frame(frame), GOALS, None, [3, 4])
    assert table["hypervolume gained"].isna().all() and table["on the front"].tolist() == [2, 0]


def test_a_ladder_s_columns_are_facts_among_all_trials(make: Make, open_page: Open) -> None:
    study = make(students=6, ladder=True)
    refused = TrialRecord(Outcome.INFEASIBLE, {"bits": 8}, rung=Rung("narrow", 0.4, 4, 0.8), parent=4)
    study.ledger.finish(study.optuna_study.ask(), refused, None)
    table = open_page("trials").dataframe[0].value.set_index("trial")
    assert table.loc[3, "rung"] == "narrow" and table.loc[3, "weights from"] == 2
    assert table.loc[4, "cut for it"] == "prune_1 0.5, prune_stem 0.25" and table.loc[8, "weights from"] == 4


# ----------------------------------------------------------------------------------------------------- a real one


@pytest.mark.slow
def test_a_ladder_that_was_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_page: Open) -> None:
    from support import tiny

    url = f"sqlite:///{tmp_path}/autokd.db"
    monkeypatch.setenv("AUTOKD_DASHBOARD_STORAGE", url)
    raw = tiny(
        name="walked", data={"source": "digits"}, space="digits", search={"strategy": "ladder", "step_training": 0.3},
        budget__trials=6, training={"epochs": 3, "batch_size": 64, "augment": "none", "views": 1}, storage={"url": url},
    )  # fmt: skip
    study = autokd.search(raw)
    lineage = study.lineage()
    assert {lineage.word(n) for n in lineage.steps} > {"root"}  # which rungs promise most, the clock has a word in
    app = open_page("front", "walked")
    for path in PAGES[1:]:
        turn_to(app, path)
        assert not app.exception and not app.error, path
    assert study.status()["ladders"][0]["rungs"] >= 1
