"""Values as people read them: sensible digits, a unit, a spread; parameters in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


def number(value: float | None, unit: str, spread: float | None = None) -> str:
    """A value in sensible digits with its unit and spread: ``0.0214 ms ± 0.4 %``."""
    if value is None:
        return "-"
    if unit == "bytes":
        text = f"{value / 1e6:.2f} MB" if value >= 1e6 else f"{value / 1e3:.1f} kB"
    elif unit == "ratio":
        text = f"{value:.1%}" if spread is None else f"{value:.1%} ± {spread:.1%}"
        return text
    elif unit == "ms":
        text = f"{digits(value * 1e3)} µs" if value < 1 else f"{digits(value)} ms"
        if spread is None:
            return text
        return f"{text} ± {spread:.1%}" if spread >= 5e-4 else f"{text} ± {100 * spread:.1g}%"
    elif unit == "":
        text = f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.1f} k" if value >= 1e3 else f"{value:.4g}"
        return text if spread is None else f"{text} ± {spread:.2g}"
    else:
        return f"{value:.4g} {unit}" if spread is None else f"{value:.4g} ± {spread:.2g} {unit}"
    return text


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
