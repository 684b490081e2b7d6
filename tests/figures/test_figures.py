"""Figures: what is drawn, where, and that nothing of a ledger is read as HTML."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import asdict

import pandas as pd
import plotly.graph_objects as go
import pytest

from autokd.config.objectives import Objective
from autokd.figures import OKABE_ITO, axes, front_figure, label, plain, still
from autokd.storage.reader import measured_columns
from autokd.trial import Measurement, Outcome, TrialRecord

ACCURACY = Objective("maximize", "accuracy")
LATENCY = Objective("minimize", "latency_ms", "cpu_1_thread")
SIZE = Objective("minimize", "size_bytes")
LOSS = Objective("minimize", "log_loss")
GOALS = (ACCURACY, LATENCY)


def member(number: int, accuracy: float, latency: float, **params: object) -> dict[str, object]:
    measurements = (
        Measurement("accuracy", accuracy, "ratio", spread=0.01),
        Measurement("latency_ms", latency, "ms", "cpu_1_thread", 0.02),
        Measurement("size_bytes", 1000.0 * number + 500, "bytes"),
        Measurement("log_loss", 1 - accuracy, "nats"),
    )
    record = TrialRecord(Outcome.MEASURED, params, measurements)
    return {"number": number} | measured_columns(asdict(record))


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            member(0, 0.80, 0.010, bits=8, prune_1=0.0),
            member(3, 0.90, 0.020, bits=32, prune_1=0.5),
            member(4, 0.85, 0.030, bits=32, prune_1=0.0),  # dominated by 3
            member(7, 0.95, 0.080, bits=8, prune_1=0.25),
        ]
    )


def trace(figure: go.Figure, name: str) -> go.Scatter:
    return next(t for t in figure.data if t.name == name)


def test_a_time_s_spread_is_relative_and_a_ratio_s_is_not(frame: pd.DataFrame) -> None:
    assert frame["latency_ms@cpu_1_thread_error"].tolist() == pytest.approx([0.0002, 0.0004, 0.0006, 0.0016])
    assert frame["accuracy_error"].tolist() == [0.01] * 4
    assert frame["pruned"].tolist() == ["whole", "pruned", "whole", "pruned"]


def test_front_line_points_and_error_bars(frame: pd.DataFrame) -> None:
    figure = front_figure(frame, GOALS)
    line, points = trace(figure, "Pareto front"), trace(figure, "student")
    assert list(line.x) == [0.010, 0.020, 0.080] and list(line.y) == [0.80, 0.90, 0.95]
    assert line.line.shape == "hv"
    assert [c[0] for c in points.customdata] == [0, 3, 4, 7]
    assert points.marker.size[2] < points.marker.size[1]
    assert list(points.error_y.array) == [0.01] * 4
    assert points.error_x.array[3] == pytest.approx(0.0016)


def test_the_cost_axis_is_logarithmic_and_names_unit_and_device(frame: pd.DataFrame) -> None:
    layout = front_figure(frame, GOALS).layout
    assert layout.xaxis.type == "log"
    assert layout.xaxis.title.text == "latency (ms, cpu_1_thread, lower is better)"
    assert layout.yaxis.title.text == "accuracy (%, higher is better)"
    assert layout.yaxis.tickformat == "~%"


def test_no_background_and_theme_colours_only_in_the_template(frame: pd.DataFrame) -> None:
    layout = front_figure(frame, GOALS).layout
    assert layout.paper_bgcolor is None and layout.plot_bgcolor is None and layout.font.color is None
    assert layout.template.layout.plot_bgcolor == layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"


def test_teacher_is_a_star_and_the_reference_point_waits_in_the_legend(frame: pd.DataFrame) -> None:
    teacher = {"accuracy": 0.97, "latency_ms@cpu_1_thread": 0.3, "size_bytes": 9e5}
    figure = front_figure(frame, GOALS, reference=[0.1, 0.3], teacher=teacher)
    star, corner = trace(figure, "teacher"), trace(figure, "reference point")
    assert (star.marker.symbol, list(star.x), list(star.y)) == ("star", [0.3], [0.97])
    assert star.customdata is None  # no student to choose
    assert (corner.visible, list(corner.x), list(corner.y)) == ("legendonly", [0.3], [0.1])


@pytest.mark.parametrize(
    "teacher", [None, {}, {"accuracy": 0.9}, {"accuracy": float("nan"), "latency_ms@cpu_1_thread": 1}]
)
def test_an_unmeasured_teacher_is_not_drawn(frame: pd.DataFrame, teacher: dict[str, float] | None) -> None:
    assert "teacher" not in [t.name for t in front_figure(frame, GOALS, teacher=teacher).data]


@pytest.mark.parametrize(
    ("column", "names"),
    [("params_bits", ["bits 8", "bits 32"]), ("pruned", ["pruned", "whole"])],
)
def test_few_values_get_a_hue_and_a_symbol_each(frame: pd.DataFrame, column: str, names: list[str]) -> None:
    points = [t for t in front_figure(frame, GOALS, colour=column).data if t.mode == "markers"]
    assert [t.name for t in points] == names
    assert [t.marker.color for t in points] == list(OKABE_ITO[:2])
    assert len({t.marker.symbol for t in points}) == 2
    assert sorted(c[0] for t in points for c in t.customdata) == [0, 3, 4, 7]


def test_a_conditional_parameter_keeps_the_trials_that_lack_it() -> None:
    frame = pd.DataFrame([member(0, 0.8, 0.01, method="kd"), member(1, 0.9, 0.02)])
    names = [t.name for t in front_figure(frame, GOALS, colour="params_method").data if t.mode == "markers"]
    assert names == ["kd", "no method"]


def test_many_numbers_get_a_colour_scale() -> None:
    frame = pd.DataFrame([member(n, 0.5 + n / 100, 0.01 * (n + 1), lr=0.01 * n) for n in range(12)])
    points = trace(front_figure(frame, GOALS, colour="params_lr"), "student")
    assert points.marker.showscale and len(points.marker.color) == 12


def test_an_unknown_colour_says_what_there_is(frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"column 'params_bit' .*params_bits"):
        front_figure(frame, GOALS, colour="params_bit")


def test_hover_shows_number_values_units_and_parameters(frame: pd.DataFrame) -> None:
    text = trace(front_figure(frame, GOALS), "student").text[1]
    assert text.startswith("<b>trial 3</b><br>accuracy (%): 90.00 ± 1<br>latency (ms, cpu_1_thread): 0.02 ± 0.0004")
    assert "bits = 32" in text and "prune_1 = 0.5" in text


def test_what_a_ledger_says_is_never_html() -> None:
    evil = '<b>big</b><a href="javascript:alert(1)">x</a>'
    frame = pd.DataFrame([member(0, 0.8, 0.01, **{"bits": evil, "<i>k</i>": "<img src=x>"})])
    figure = front_figure(frame, GOALS, colour="params_bits")
    shown = json.dumps([[t.name, t.text] for t in figure.data])
    assert "&lt;b&gt;big" in shown and "&lt;i&gt;k" in shown
    for tag in ("<b>big", "<a", "<i>", "<img"):
        assert tag not in shown


def test_long_values_are_cut() -> None:
    assert len(plain("x" * 500)) == 60
    assert plain("a\n  b") == "a b"


@pytest.mark.parametrize(
    "frame", [pd.DataFrame(), pd.DataFrame([]), pd.DataFrame({"number": [0], "outcome": ["failed"]})]
)
def test_nothing_measured_is_an_empty_picture_with_its_axes(frame: pd.DataFrame) -> None:
    figure = front_figure(frame, GOALS, teacher={"accuracy": 0.9, "latency_ms@cpu_1_thread": 0.1})
    assert [t.name for t in figure.data] == ["teacher"]
    assert figure.layout.xaxis.type == "log"


def test_a_study_s_own_frame_works_too_and_only_measured_rows_count() -> None:
    frame = pd.DataFrame(
        {
            "number": [0, 1, 2, 3],
            "outcome": ["measured", "infeasible", "measured", "measured"],
            "accuracy": [0.8, 0.99, 0.9, float("nan")],
            "latency_ms@cpu_1_thread": [0.01, 0.001, 0.02, 0.03],
            "params_bits": [8, 8, 32, 32],
        }
    )
    figure = front_figure(frame, GOALS)
    assert list(trace(figure, "Pareto front").x) == [0.01, 0.02]
    assert trace(figure, "student").error_x.array is None


def test_a_missing_objective_is_named() -> None:
    with pytest.raises(ValueError, match="column 'accuracy'"):
        front_figure(pd.DataFrame({"number": [0], "latency_ms@cpu_1_thread": [0.1]}), GOALS)


def test_three_objectives_have_no_line_but_all_members_stand_out(frame: pd.DataFrame) -> None:
    figure = front_figure(frame, (ACCURACY, SIZE, LATENCY), colour="size_bytes")
    assert "Pareto front" not in [t.name for t in figure.data]
    assert figure.layout.xaxis.title.text.startswith("latency")
    big = [c[0] for t in figure.data for c, size in zip(t.customdata, t.marker.size, strict=True) if size > 7]
    assert sorted(big) == [0, 3, 7]


@pytest.mark.parametrize(
    ("goals", "expected"),
    [
        ((ACCURACY, LATENCY), (LATENCY, ACCURACY)),
        ((SIZE, LATENCY, ACCURACY), (LATENCY, ACCURACY)),
        ((SIZE, LATENCY), (LATENCY, SIZE)),
        ((ACCURACY, LOSS), (LOSS, ACCURACY)),
    ],
)
def test_cost_goes_right_and_quality_up(goals: tuple[Objective, ...], expected: tuple[Objective, Objective]) -> None:
    assert axes(goals) == expected


def test_one_objective_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        axes((ACCURACY,))


@pytest.mark.parametrize(
    ("objective", "text"),
    [
        (SIZE, "size (bytes)"),
        (LOSS, "log loss (nats)"),
        (Objective("maximize", "mine.metrics:f2"), "mine.metrics:f2"),
        (Objective("minimize", "macs"), "macs"),
    ],
)
def test_labels_carry_the_unit(objective: Objective, text: str) -> None:
    assert label(objective) == text


def test_figures_load_neither_torch_nor_ray_nor_streamlit() -> None:
    code = "import sys, autokd.figures; print([m for m in ('torch', 'ray', 'streamlit', 'nni') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------------------- still

SVG = "{http://www.w3.org/2000/svg}"


def places(picture: str) -> dict[float, float]:
    """Circles of an SVG: percent from its top by percent from its left."""
    found = ET.fromstring(picture).iter(f"{SVG}circle")
    return {float(c.attrib["cx"][:-1]): float(c.attrib["cy"][:-1]) for c in found}


def test_a_still_has_every_point_where_the_axes_put_it(frame: pd.DataFrame) -> None:
    at = places(still(front_figure(frame, GOALS)))
    across, up = list(at), list(at.values())
    assert len(at) == 4 and across == sorted(across)  # the frame's latencies rise
    assert (across[1] - across[0]) / (across[3] - across[0]) == pytest.approx(
        1 / 3, abs=1e-3
    )  # 10, 20, 80: a logarithm
    assert (up[0] - up[1]) / (up[0] - up[3]) == pytest.approx(
        10 / 15, abs=1e-3
    )  # .80, .90, .95: linear, better is higher
    assert all(0 < p < 100 for p in (*across, *up))


def test_a_still_has_titles_ticks_teacher_front_and_error_bars(frame: pd.DataFrame) -> None:
    teacher = {"accuracy": 0.97, "latency_ms@cpu_1_thread": 0.3}
    bare, full = (still(front_figure(frame, GOALS, [0.1, 0.3], t)) for t in (None, teacher))
    texts = "|".join("".join(t.itertext()) for t in ET.fromstring(full).iter(f"{SVG}text"))
    assert "latency (ms, cpu_1_thread, lower is better)" in texts and "accuracy (%, higher is better)" in texts
    assert "|0.02|" in texts and "|90%|" in texts
    assert "Pareto front" in texts and "teacher" in texts and "reference" not in texts  # which waits for a click
    star = "{http://www.w3.org/2000/svg}path"
    assert len(list(ET.fromstring(full).iter(star))) == 1 and not list(ET.fromstring(bare).iter(star))
    without = frame.drop(columns=[c for c in frame.columns if c.endswith("_error")])
    lines = [len(list(ET.fromstring(still(front_figure(f, GOALS))).iter(f"{SVG}line"))) for f in (frame, without)]
    assert lines[0] - lines[1] == 2 * len(frame)


def test_a_still_reads_nothing_of_a_ledger_as_markup(frame: pd.DataFrame) -> None:
    frame["params_bits"] = ["<script>1</script>", "a & b", "\"'", "]]>"]
    picture = still(front_figure(frame, GOALS, colour="params_bits"))
    texts = "".join("".join(t.itertext()) for t in ET.fromstring(picture).iter(f"{SVG}text"))
    assert "<script>1</script>" in texts and "a & b" in texts
    assert not list(ET.fromstring(picture).iter(f"{SVG}script"))


def test_a_still_of_nothing_and_of_one_point_is_a_picture(frame: pd.DataFrame) -> None:
    assert not places(still(front_figure(frame.iloc[:0], GOALS)))
    assert len(places(still(front_figure(frame.iloc[:1], GOALS)))) == 1
