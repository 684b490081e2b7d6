"""Values as people read them: sensible digits, a unit, a spread; parameters in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


def number(value: float | None, unit: str, spread: float | None = None, *, relative: bool = False) -> str:
    """A value in sensible digits with its unit and spread: ``21.4 µs ± 0.4%``, ``93.2% ± 0.5%``.

    Args:
        value: The value, in ``unit``; ``None`` is a dash.
        unit: Of the value.
        spread: How sure it is, in the same unit.
        relative: The spread is a share of the value instead, see :func:`autokd.config.objectives.relative_spread`.
    """
    if value is None:
        return "-"
    text = _amount(value, unit)
    if spread is None:
        return text
    if relative:
        return f"{text} ± {spread:.1%}" if spread >= 5e-4 else f"{text} ± {100 * spread:.1g}%"
    if unit in ("ratio", "bytes", "ms"):
        return f"{text} ± {_amount(spread, unit)}"
    tail = f" {unit}" if unit else ""
    return f"{text.removesuffix(tail)} ± {spread:.2g}{tail}"


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 1e6:.2f} MB" if value >= 1e6 else f"{value / 1e3:.1f} kB"
    if unit == "ratio":
        return f"{value:.1%}"
    if unit == "ms":
        return f"{digits(value * 1e3)} µs" if value < 1 else f"{digits(value)} ms"
    if unit == "":
        return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.1f} k" if value >= 1e3 else f"{value:.4g}"
    return f"{value:.4g} {unit}"


def digits(value: float) -> str:
    """Three significant digits, zeros too, so that columns compare: ``8.00``, ``17.4``, ``173``."""
    return f"{value:#.3g}".removesuffix(".") if abs(value) < 1000 else f"{value:.0f}"


def common(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the parameters of several students all have in common."""
    if len(found) < 2:
        return {}
    return {k: v for k, v in found[0].items() if all(params.get(k) == v for params in found)}


def summary(params: Mapping[str, Any]) -> str:
    """Parameters on one line, numbers short."""
    return " ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in params.items())


def _span(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
