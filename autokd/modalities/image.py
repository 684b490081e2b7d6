"""Pictures ``(C, H, W)``: float32 in any range, or uint8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from math import inf
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from autokd.errors import DataError
from autokd.modalities.arrays import chunks, refuse
from autokd.modalities.modality import Bits, Change, Modality, Shown
from autokd.protocols import Examples, InputSpec, RawData

if TYPE_CHECKING:
    from torch import Tensor, nn

PLANES = {1: "grey", 3: "colour"}


class Image(Modality):
    """Pictures (C, H, W), float32 or uint8, normalised per channel.

    Augmentations:

    - ``shift``: by up to an eighth of height and width, either way, filled with the lowest raw value. ``auto`` stands for it.
    - ``shift_flip``: the same, mirrored half of the time.
    - ``crop_flip``: a crop of the image padded by an eighth through reflection, mirrored half of the time.
    """

    axes: ClassVar[str] = "CHW"
    augmentations: ClassVar[tuple[str, ...]] = ("shift", "shift_flip", "crop_flip")
    auto: ClassVar[str] = "shift"
    spaces: ClassVar[tuple[tuple[float, str], ...]] = (
        (14, "mobilenet_8"), (29, "mobilenet_28"), (47, "mobilenet_32"), (79, "mobilenet_64"), (inf, "mobilenet_96_plus"),
    )  # fmt: skip
    """Search spaces by the shorter side in pixels, up to and with it."""

    def space(self, spec: InputSpec) -> str | None:
        """By the shorter side."""
        return next(name for most, name in self.spaces if min(spec.shape[1:]) <= most)

    def words(self, spec: InputSpec) -> str:
        """Size and planes."""
        planes, height, width = spec.shape
        return f"{height} x {width} pixels, {PLANES.get(planes, f'{planes} channels')}"

    def check(self, raw: RawData) -> RawData:
        """The same pictures. Where a source left the default range 0..1 and the values go beyond, 0..255 (uint8) or the observed
        range (float32) takes its place.

        Raises:
            DataError: Not one array of pictures, not finite, or outside the range that the source states.
        """
        inputs = self.array(raw, "Bring it into this layout; grey images have C = 1.")
        low, high, least, most = float(raw.low), float(raw.high), np.inf, -np.inf
        for start, part in chunks(inputs):
            if part.dtype != np.uint8:
                refuse(~np.isfinite(part), start, "finite")
            least, most = min(least, float(part.min())), max(most, float(part.max()))
        if least < low or most > high:
            if (raw.low, raw.high) != (0.0, 1.0):
                raise DataError(
                    f"raw values must lie in the source's range {low:g} .. {high:g}",
                    f"{least:g} .. {most:g}",
                    "Correct low and high of the source.",
                )
            low, high = (0.0, 255.0) if inputs.dtype == np.uint8 else (least, most)
        return replace(raw, low=low, high=high)

    def prepare(self, spec: InputSpec) -> nn.Module:
        """``(N, C, H, W)`` raw values to ``(x - mean) / std``, per channel."""
        return _normaliser()(spec)

    def augment(self, name: str, spec: InputSpec) -> Change:
        """Moved by whole pixels, and mirrored where the name says so."""
        _, height, width = spec.shape
        reach = (_reach(height), _reach(width))
        pad = partial(_reflect, reach=reach) if name == "crop_flip" else partial(_fill, reach=reach, low=spec.low)
        return partial(_moved, pad=pad, reach=reach, flip=name != "shift")

    def show(self, examples: Examples, spec: InputSpec, index: np.ndarray, side: int) -> Shown:
        """Pictures, their range spread to 0..255, enlarged without smoothing."""
        return Shown(tuple(_picture(np.asarray(examples[i], dtype=np.float32), spec, side) for i in index))


@cache
def _normaliser() -> Callable[[InputSpec], nn.Module]:
    """The class of the module, made when it is asked for: who checks or shows pictures loads no torch."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class NormaliseImage(nn.Module):
        """A batch norm with fixed statistics: one ONNX node instead of two, and half the time at 224 pixels."""

        mean: Tensor
        variance: Tensor
        one: Tensor
        zero: Tensor

        def __init__(self, spec: InputSpec) -> None:
            super().__init__()
            channels = spec.shape[0]
            mean, std = (torch.tensor(v, dtype=torch.float32).expand(channels).clone() for v in (spec.mean, spec.std))
            self.register_buffer("mean", mean, persistent=False)
            self.register_buffer("variance", std**2, persistent=False)
            # the exporter wants weight and bias spelt out
            self.register_buffer("one", torch.ones(channels), persistent=False)
            self.register_buffer("zero", torch.zeros(channels), persistent=False)

        def forward(self, raw: Tensor) -> Tensor:
            x = raw if raw.dtype == torch.float32 else raw.to(torch.float32)
            return F.batch_norm(x, self.mean, self.variance, self.one, self.zero, training=False, eps=0.0)

    return NormaliseImage


# ------------------------------------------------------------------------------------------------ augmentations


def _moved(
    clean: np.ndarray,
    positions: np.ndarray,
    bits: Bits,
    *,
    pad: Callable[[np.ndarray], np.ndarray],
    reach: tuple[int, int],
    flip: bool,
) -> np.ndarray:
    chance = bits(positions)
    moved = _windows(pad(clean), clean.shape[2:], reach, chance)
    return _mirror(moved, chance) if flip else moved


def _reach(length: int) -> int:
    """Pixels of an axis that an image may move: an eighth, at least 1 from 4 pixels on."""
    return 0 if length < 4 else max(1, (length + 4) // 8)


def _fill(clean: np.ndarray, reach: tuple[int, int], low: float) -> np.ndarray:
    (dy, dx), (b, c, h, w) = reach, clean.shape
    padded = np.full((b, c, h + 2 * dy, w + 2 * dx), low, dtype=clean.dtype)
    padded[:, :, dy : dy + h, dx : dx + w] = clean
    return padded


def _reflect(clean: np.ndarray, reach: tuple[int, int]) -> np.ndarray:
    rows, columns = (_mirrored(n, r) for n, r in zip(clean.shape[2:], reach, strict=True))
    return clean.take(rows, axis=2).take(columns, axis=3)


def _mirrored(length: int, reach: int) -> np.ndarray:
    """Indices of an axis padded by reflection that does not repeat the edge."""
    index = np.abs(np.arange(-reach, length + reach))
    return np.minimum(index, 2 * (length - 1) - index)


def _windows(padded: np.ndarray, size: tuple[int, ...], reach: tuple[int, int], bits: np.ndarray) -> np.ndarray:
    """Each sample's own ``size`` window of ``padded``: one strided gather, no loop over samples."""
    windows = sliding_window_view(padded, size, axis=(2, 3))
    top, left = _offsets(bits, 48, 2 * reach[0] + 1), _offsets(bits, 32, 2 * reach[1] + 1)
    return windows[np.arange(len(padded)), :, top, left]


def _offsets(bits: np.ndarray, shift: int, choices: int) -> np.ndarray:
    """Uniform in 0 .. choices-1 from 16 of the bits."""
    part = (bits >> np.uint64(shift)) & np.uint64(0xFFFF)
    return ((part * np.uint64(choices)) >> np.uint64(16)).astype(np.int64)


def _mirror(images: np.ndarray, bits: np.ndarray) -> np.ndarray:
    flip = (bits & np.uint64(1)).astype(bool)
    images[flip] = images[flip][..., ::-1]
    return images


# ---------------------------------------------------------------------------------------------------- pictures


def _picture(values: np.ndarray, spec: InputSpec, side: int) -> np.ndarray:
    """``(C, H, W) float32`` as ``(h, w) uint8``, or ``(h, w, 3)`` of exactly three channels."""
    raw = (values - spec.low) / max(spec.high - spec.low, 1e-12)
    whole = np.clip(np.rint(255 * raw), 0, 255).astype(np.uint8)
    # grey unless it has exactly the three channels of a colour picture
    flat = np.moveaxis(whole, 0, -1) if whole.shape[0] == 3 else whole[0]
    times = max(1, round(side / max(flat.shape[:2])))
    large = flat.repeat(times, axis=0).repeat(times, axis=1)
    step = -(-max(large.shape[:2]) // (2 * side))  # a photograph is thinned instead
    return np.ascontiguousarray(large[::step, ::step])
