"""Plotly figures of a study: pure functions, frames in, figures out, for the dashboard and for notebooks."""

from autokd.figures.blocks import Block, Canvas, blocks_figure, canvas, read_blocks
from autokd.figures.devices import Order, Winners, devices_figure, order_between, rank_figure, winners
from autokd.figures.front import axes, front_figure
from autokd.figures.history import (
    CLOCKS,
    History,
    front_history,
    hypervolume_figure,
    newest_figure,
    outcomes_figure,
    search_seconds,
    volume_unit,
)
from autokd.figures.lineage import path_figure, with_lineage
from autokd.figures.parallel import parallel_figure
from autokd.figures.recalls import recalls_figure
from autokd.figures.still import still
from autokd.figures.student import Training, confusion_figure, curves_figure, stages_figure
from autokd.figures.style import GREY, OKABE_ITO, label, plain
from autokd.figures.why import importance_figure, slice_figure, teacher_figure

__all__ = [
    "CLOCKS", "GREY", "OKABE_ITO", "Block", "Canvas", "History", "Order", "Training", "Winners", "axes",
    "blocks_figure", "canvas", "confusion_figure", "curves_figure", "devices_figure", "front_figure",
    "front_history", "hypervolume_figure", "importance_figure", "label", "newest_figure",
    "order_between", "outcomes_figure", "parallel_figure", "path_figure", "plain", "rank_figure", "read_blocks", "recalls_figure",
    "search_seconds", "slice_figure", "stages_figure", "still", "teacher_figure", "volume_unit", "winners", "with_lineage",
]  # fmt: skip
