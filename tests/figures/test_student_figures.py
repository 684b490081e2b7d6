"""What is drawn of one student: blocks, curves, stages, mistakes."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from autokd.figures import (
    Training,
    blocks_figure,
    canvas,
    confusion_figure,
    curves_figure,
    read_blocks,
    stages_figure,
)
from autokd.protocols import CurvePoint
from autokd.trial import StageRecord


def test_blocks_are_boxes_on_the_canvas() -> None:
    raw = [
        {"name": "stem", "kind": "plain", "in": 1, "out": 16, "kernel": 3, "stride": 2, "size": [14, 14]},
        {"name": "1.1", "kind": "inverted", "in": 16, "out": 16, "hidden": 64, "kernel": 5, "stride": 1,
         "residual": True, "size": [14, 14]},
        {"name": "2.1", "kind": "mine", "in": 16, "out": 64, "stride": [2, 1], "size": [7, 14]},
        {"name": "head", "kind": "linear", "in": 64, "out": 10},
    ]  # fmt: skip
    net = read_blocks([*raw, {"kind": "no width"}, 7])
    assert [b.name for b in net] == ["stem", "1.1", "2.1", "head"]
    figure = blocks_figure(net)
    bars = {t.name: t for t in figure.data if isinstance(t, go.Bar)}
    assert list(bars) == ["plain", "inverted", "mine", "linear"]
    assert bars["mine"].width[0] == pytest.approx(2 * bars["plain"].width[0])  # four times the channels
    assert bars["plain"].y[0] == 14 and bars["mine"].y[0] == pytest.approx(98**0.5)
    assert "in 16 → hidden 64 → out 16" in bars["inverted"].customdata[0]
    assert "kernel 5×5" in bars["inverted"].customdata[0] and "adds its input" in bars["inverted"].customdata[0]
    strides, labels = (t for t in figure.data if getattr(t, "mode", "") == "text")
    assert list(strides.text) == ["÷2", "÷2×1"]
    assert list(labels.text) == ["stem<br>16<br>14×14", "1.1<br>16<br>14×14", "2.1<br>64<br>7×14", "head<br>10<br>"]
    assert [t.name for t in figure.data if getattr(t, "mode", "") == "lines"] == ["shortcut: adds its input"]
    assert len({t.marker.color for t in bars.values()}) == 4


def test_pictures_that_are_compared_share_their_scale_and_colours() -> None:
    small = read_blocks([{"name": "a", "kind": "x", "out": 4, "size": [4, 4]}])
    large = read_blocks([{"name": str(k), "kind": "y", "out": 64, "size": [28, 28]} for k in range(30)])
    shared = canvas([small, large])
    one, two = blocks_figure(small, shared), blocks_figure(large, shared)
    assert one.layout.xaxis.range == two.layout.xaxis.range and one.layout.yaxis.range == two.layout.yaxis.range
    assert one.data[0].marker.color != two.data[0].marker.color
    ends = [x + w / 2 for x, w in zip(two.data[0].x, two.data[0].width, strict=True)]
    assert ends[-1] <= two.layout.xaxis.range[1]


def test_tuning_goes_on_where_training_ended() -> None:
    points = [CurvePoint(100 * i, 1 / i, 0.2 * i, float(i)) for i in (1, 2)]
    figure = curves_figure([Training("trial 3", points, points[:1], 0.5, 0.01)], teacher=0.9)
    found = {(t.name, t.yaxis): list(t.x) for t in figure.data}
    assert found[("training", "y")] == [100, 200] and found[("tuning after pruning", "y")] == [300]
    assert found[("the exported file, whole split", "y")] == [300]
    assert found[("training", "y2")] == [100, 200]  # the loss
    assert figure.layout.shapes[0].y0 == 0.9


def test_a_stage_from_the_store_takes_no_time() -> None:
    figure = stages_figure([StageRecord("distill", "a", 9.0, 8.0), StageRecord("prune", "b", 0.5, 0.0, cached=True)])
    assert list(figure.data[0].x) == [9.0, 0.0]
    assert list(figure.data[1].text) == [" 9 s", " found in the store"]


def test_the_confusion_figure_tells_right_from_wrong() -> None:
    figure = confusion_figure(np.array([[8, 2, 0], [0, 5, 0], [0, 0, 0]]), ["<b>a</b>", "b", "never"])
    right, wrong, bars = figure.data
    assert right.z[0][0] == 1.0 and np.isnan(right.z[0][1]) and np.isnan(right.z[2][2])
    assert wrong.z[0][1] == pytest.approx(0.2) and np.isnan(wrong.z[1][0])
    assert list(bars.x) == pytest.approx([0.8, 1.0, float("nan")], nan_ok=True)  # of no samples nothing is known
    assert [list(row) for row in wrong.text] == [["", "2", ""], ["", "", ""], ["", "", ""]]
    assert "<b>" not in figure.to_json().replace("\\u003c", "<")
