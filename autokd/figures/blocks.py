"""A student's architecture as a picture: one box a block, in a row, from what evaluation left in ``blocks.json``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from autokd.figures.style import GREY, OKABE_ITO, layout, plain

KINDS = ("plain", "separable", "inverted", "basic", "linear")
"""Kinds with a colour of their own everywhere; further ones take the colours that are left, in alphabetical order."""
QUIET = ("resize", "max_pool", "pool")
"""Kinds without weights: grey."""
PATTERNS = {"separable": "/", "inverted": "x", "basic": "\\", "linear": "."}
"""Beside the hue, so that a print in grey can be read."""
GAP = 1.5
"""Between two boxes, in the picture's own unit: the square root of a channel."""
LEAST = 60.0
"""Width of the picture of a short net, whose boxes would else fill it."""
CROWDED = 16
"""Of more blocks than these, the output size is written in short, and only where it changes."""


@dataclass(frozen=True)
class Block:
    """One block.

    Args:
        name: Its place in the net: ``stem``, ``1.2`` (second of stage 1), ``head``.
        kind: What it is made of: ``plain``, ``inverted`` ...
        inputs: Channels (or features) read; ``None`` if not said.
        outputs: Channels (or features) written.
        hidden: Channels in between, of a block that expands.
        kernel: Side of its kernel, as text; empty where there is none.
        stride: Vertical and horizontal.
        size: ``(H, W)`` of its output; ``None`` of a vector.
        residual: It adds its input to its output.
    """

    name: str
    kind: str
    inputs: int | None
    outputs: int
    hidden: int | None = None
    kernel: str = ""
    stride: tuple[int, int] = (1, 1)
    size: tuple[int, int] | None = None
    residual: bool = False


@dataclass(frozen=True)
class Canvas:
    """What pictures must share to be compared: width and height in their own unit, and the kinds that have a colour."""

    width: float
    height: float
    kinds: tuple[str, ...]


def read_blocks(raw: object) -> tuple[Block, ...]:
    """The blocks of a ``blocks.json``; what says no output width is left out, since a family may write anything."""
    rows = raw if isinstance(raw, Sequence) and not isinstance(raw, str) else ()
    return tuple(_block(row) for row in rows if isinstance(row, Mapping) and _whole(row.get("out")))


def canvas(nets: Iterable[Sequence[Block]]) -> Canvas:
    """The smallest canvas that holds every one of some nets."""
    known = [net for net in nets if net]
    width = max((sum(_width(b) for b in net) + GAP * (len(net) - 1) for net in known), default=0.0)
    height = max((_side(b) for net in known for b in net), default=1.0)
    return Canvas(max(width, LEAST), height, tuple(sorted({b.kind for net in known for b in net})))


def blocks_figure(blocks: Sequence[Block], shared: Canvas | None = None) -> go.Figure:
    """A net as a row of boxes: wide as the square root of its channels, high as the side of its output.

    Below each box stand its name, its output channels, and its output size; ``÷2`` above it is a stride, a bracket from
    end to end a shortcut past it. Hover tells kernel and hidden channels.

    Args:
        blocks: In order.
        shared: The canvas of several nets that are compared; by default the picture's own.
    """
    shared = shared or canvas([blocks])
    tall = shared.height
    least = 0.06 * tall  # a vector, or one pixel, is still a box
    figure = go.Figure()
    spans, edge = [], 0.0
    for block in blocks:
        spans.append((edge, edge + _width(block)))
        edge += _width(block) + GAP
    heights = [max(_side(b), least) for b in blocks]
    centres = [(left + right) / 2 for left, right in spans]
    for kind in dict.fromkeys(b.kind for b in blocks):
        mine = [i for i, b in enumerate(blocks) if b.kind == kind]
        figure.add_bar(
            x=[centres[i] for i in mine],
            y=[heights[i] for i in mine],
            base=[-heights[i] / 2 for i in mine],
            width=[spans[i][1] - spans[i][0] for i in mine],
            customdata=[_hover(blocks[i]) for i in mine],
            hovertemplate="%{customdata}<extra></extra>",
            name=plain(kind),
            marker={
                "color": _colour(kind, shared.kinds),
                "line": {"width": 1, "color": GREY},
                "pattern": {
                    "shape": PATTERNS.get(kind, ""),
                    "solidity": 0.15,
                    "size": 7,
                    "fgcolor": "white",
                    "fillmode": "overlay",
                },
            },
        )
    strided = [i for i, b in enumerate(blocks) if b.stride != (1, 1)]
    lift = [heights[i] / 2 + (0.2 if blocks[i].residual else 0.08) * tall for i in strided]
    figure.add_scatter(
        x=[centres[i] for i in strided], y=lift, mode="text", text=[_stride(blocks[i].stride) for i in strided],
        hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    bracket_x: list[float | None] = []
    bracket_y: list[float | None] = []
    for block, (left, right), high in zip(blocks, spans, heights, strict=True):
        if block.residual:
            low, top = high / 2 + 0.02 * tall, high / 2 + 0.1 * tall
            bracket_x += [left - GAP / 2, left - GAP / 2, right + GAP / 2, right + GAP / 2, None]
            bracket_y += [low, top, top, low, None]
    if bracket_x:
        line = {"color": GREY, "width": 2}
        figure.add_scatter(
            x=bracket_x, y=bracket_y, mode="lines", line=line, name="shortcut: adds its input", hoverinfo="skip"
        )
    # an axis would leave out labels that touch
    figure.add_scatter(
        x=centres, y=[-0.54 * tall] * len(centres), mode="text", text=list(_labels(blocks)), cliponaxis=False,
        textposition="bottom center", textfont={"size": 12 if len(blocks) <= CROWDED else 10}, hoverinfo="skip",
        showlegend=False,
    )  # fmt: skip
    figure.update_layout(
        layout(
            xaxis={"visible": False, "range": [-GAP, shared.width + GAP], "fixedrange": True},
            yaxis={"visible": False, "range": [-1.0 * tall, 0.8 * tall], "fixedrange": True},
            bargap=0, barmode="overlay", height=290,
        )
    )  # fmt: skip
    return figure


def _block(row: Mapping[str, Any]) -> Block:
    size, stride = row.get("size"), row.get("stride", 1)
    pair = stride if _pair(stride) else (stride, stride) if _whole(stride) else (1, 1)
    kernel = row.get("kernel")
    text = (
        "×".join(str(side) for side in kernel or ())
        if _pair(kernel)
        else f"{kernel}×{kernel}"
        if _whole(kernel)
        else ""
    )
    return Block(
        name=str(row.get("name", "")),
        kind=str(row.get("kind", "block")),
        inputs=int(row["in"]) if _whole(row.get("in")) else None,
        outputs=int(row["out"]),
        hidden=int(row["hidden"]) if _whole(row.get("hidden")) else None,
        kernel=text,
        stride=(int(pair[0]), int(pair[1])),
        size=(int(size[0]), int(size[1])) if size is not None and _pair(size) else None,
        residual=row.get("residual") is True,
    )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _pair(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_whole(v) for v in value)


def _width(block: Block) -> float:
    return math.sqrt(block.outputs)


def _side(block: Block) -> float:
    return math.sqrt(block.size[0] * block.size[1]) if block.size else 1.0


def _colour(kind: str, kinds: Sequence[str]) -> str:
    if kind in QUIET:
        return GREY
    others = [k for k in kinds if k not in (*KINDS, *QUIET)]
    place = KINDS.index(kind) if kind in KINDS else len(KINDS) + others.index(kind)
    return OKABE_ITO[place % len(OKABE_ITO)]


def _stride(stride: tuple[int, int]) -> str:
    return f"÷{stride[0]}" if stride[0] == stride[1] else f"÷{stride[0]}×{stride[1]}"


def _labels(blocks: Sequence[Block]) -> Iterable[str]:
    before: tuple[int, int] | None = None
    for block in blocks:
        size = f"{block.size[0]}×{block.size[1]}" if block.size else ""
        if len(blocks) > CROWDED:  # little room: only where it changes, and a square in short
            square = block.size is not None and block.size[0] == block.size[1]
            size = "" if block.size == before else f"{block.size[0]}²" if block.size and square else size
        before = block.size
        yield "<br>".join([plain(block.name), str(block.outputs), size])


def _hover(block: Block) -> str:
    widths = [f"{w} {n}" for w, n in (("in", block.inputs), ("hidden", block.hidden), ("out", block.outputs)) if n]
    lines = [f"<b>{plain(block.name)}</b> {plain(block.kind)}", " → ".join(widths)]
    if block.kernel:
        lines.append(f"kernel {block.kernel}, stride {'×'.join(map(str, dict.fromkeys(block.stride)))}")
    if block.size:
        lines.append(f"output {block.size[0]}×{block.size[1]}")
    if block.residual:
        lines.append("adds its input")
    return "<br>".join(lines)
