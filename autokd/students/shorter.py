"""Smaller shapes that can inherit a trained student's weights: what a ladder may try beside fewer channels."""

from __future__ import annotations

from collections.abc import Mapping

from autokd.protocols import InputSpec
from autokd.trial import ParamValue

PIXELS = 0.8
"""Share of the side that a step in resolution keeps, beside half of it, which needs no interpolation."""
LEAST = 7


def fewer_blocks(depths: Mapping[str, int]) -> dict[str, dict[str, ParamValue]]:
    """One block less in each stage that has more than one; a stage's last block shares its shape with the one before."""
    return {f"{name} {depth - 1}": {name: depth - 1} for name, depth in depths.items() if depth > 1}


def fewer_pixels(resolution: int, spec: InputSpec) -> dict[str, dict[str, ParamValue]]:
    """A lower resolution: half of the side where it is even, and about four fifths of it."""
    side = resolution or min(spec.shape[1:])
    sides = {side // 2} if side % 2 == 0 else set()
    sides.add(2 * round(PIXELS * side / 2))
    return {f"resolution {s}": {"resolution": s} for s in sorted(sides) if LEAST <= s < side}
