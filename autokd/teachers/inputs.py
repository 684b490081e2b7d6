"""How a teacher wants its input: the ``teacher.input`` block, applied to raw samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch.nn import functional as F

from autokd import registry
from autokd.errors import ConfigError, nearest
from autokd.protocols import InputSpec

KEYS = ("scale", "mean", "std", "layout", "size")
LAYOUTS = ("NCHW", "NHWC", "NHW", "NF")


@dataclass(frozen=True)
class InputRule:
    """Raw samples to what the teacher reads: resize, times ``scale``, minus ``mean``, divided by ``std``, laid out.

    Args:
        scale: Factor, e.g. 1/255.
        mean: Nothing, one number, or one per channel (feature), after scaling. Three for grey images make
            three channels.
        std: Likewise.
        layout: ``NCHW``, ``NHWC``, ``NHW`` (one channel, not named) or ``NF`` (flattened); ``None``: as the data are.
        size: ``(H, W)`` to resize images to, bilinear.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: str | None = None
    size: tuple[int, int] | None = None

    @classmethod
    def parse(cls, block: object, spec: InputSpec) -> InputRule:
        """The rule that a study file's ``teacher.input`` states.

        Raises:
            ConfigError: An unknown key, or a value that does not fit the data.
        """
        if block is None:
            return cls()
        if not isinstance(block, Mapping):
            raise ConfigError("teacher.input must be a mapping with some of " + ", ".join(KEYS), repr(block))
        for key in block:
            if key not in KEYS:
                law = "teacher.input may have only the keys " + ", ".join(KEYS)
                raise ConfigError(law, repr(key), nearest(str(key), KEYS))
        std = _numbers("std", block.get("std"), spec)
        if any(s <= 0 for s in std):
            raise ConfigError("teacher.input.std must be above 0", list(std))
        scale = _number("scale", block.get("scale", 1.0))
        if scale == 0:
            raise ConfigError("teacher.input.scale must not be 0", scale)
        return cls(
            scale,
            _numbers("mean", block.get("mean"), spec),
            std,
            _layout(block.get("layout"), spec),
            _size(block, spec),
        )

    def values(self, raw: torch.Tensor) -> torch.Tensor:
        """Raw ``(N, *shape)`` of any dtype to ``(N, *shape')`` float32, still channels first."""
        x = raw.to(torch.float32)
        if self.size is not None and tuple(x.shape[2:]) != self.size:
            smaller = self.size[0] < x.shape[2] or self.size[1] < x.shape[3]
            x = F.interpolate(x, size=self.size, mode="bilinear", align_corners=False, antialias=smaller)
        if self.scale != 1.0:
            x = x * self.scale
        if self.mean:
            x = x - self._column(self.mean, x)
        if self.std:
            x = x / self._column(self.std, x)
        return x

    def apply(self, raw: torch.Tensor) -> torch.Tensor:
        """:meth:`values`, laid out as ``layout`` says."""
        return lay_out(self.values(raw), self.layout)

    @staticmethod
    def _column(numbers: tuple[float, ...], x: torch.Tensor) -> torch.Tensor:
        return torch.tensor(numbers, dtype=torch.float32, device=x.device).reshape(1, -1, *([1] * (x.ndim - 2)))


def lay_out(x: torch.Tensor, layout: str | None) -> torch.Tensor:
    """``(N, C, H, W)`` or ``(N, F)`` in the named layout; ``None`` leaves it."""
    if layout == "NHWC":
        return x.permute(0, 2, 3, 1)
    if layout == "NHW":
        return x.squeeze(1)
    if layout == "NF":
        return x.flatten(1)
    return x


def _number(name: str, value: object) -> float:
    try:
        # text, because YAML has no fractions and 1/255 is what people mean
        return float(Fraction(value.strip())) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise ConfigError(
            f"teacher.input.{name} must be a number, or a fraction such as '1/255'", repr(value)
        ) from error


def _numbers(name: str, value: object, spec: InputSpec) -> tuple[float, ...]:
    if value is None:
        return ()
    numbers = tuple(_number(name, v) for v in (value if isinstance(value, list | tuple) else [value]))
    channels = spec.shape[0]
    several = _axes(spec).startswith("C")
    if len(numbers) not in {1, channels} and not (several and channels == 1):
        what = "channel" if several else "feature"
        raise ConfigError(f"teacher.input.{name} must have one number, or one per {what} ({channels})", len(numbers))
    return numbers


def _axes(spec: InputSpec) -> str:
    """A letter for every axis of a sample."""
    return str(registry.load("modalities", spec.kind)().axes)


def _layout(value: object, spec: InputSpec) -> str | None:
    if value is None:
        return None
    allowed = LAYOUTS if _axes(spec) == "CHW" else ("NF",)
    if value not in allowed:
        raise ConfigError("teacher.input.layout must be one of " + ", ".join(allowed), repr(value))
    if value == "NHW" and spec.shape[0] != 1:
        raise ConfigError("teacher.input.layout NHW must have images of one channel", spec.shape[0])
    return str(value)


def _size(block: Mapping[str, Any], spec: InputSpec) -> tuple[int, int] | None:
    value = block.get("size")
    if value is None:
        return None
    if _axes(spec) != "CHW":
        raise ConfigError("teacher.input.size must be used with images only", repr(value))
    pair = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(pair) != 2 or not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in pair):
        raise ConfigError("teacher.input.size must be a whole number or [height, width]", repr(value))
    return int(pair[0]), int(pair[1])
