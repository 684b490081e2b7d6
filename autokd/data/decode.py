"""One image file to pixels: oriented, flattened, resized, 8 bits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autokd.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_GREY = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N", "I"})
_WIDE = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I"})
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)


@contextmanager
def guarded() -> Iterator[None]:
    """Makes Pillow refuse decompression bombs instead of warning; wrap all decoding in it, threads included."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def header(file: Path) -> tuple[int, int, bool]:
    """Height, width (upright) and whether the file's mode is grey, without decoding its pixels.

    Raises:
        DataError: The file is no readable image.
    """
    with _opened(file) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _TURNED:
            width, height = height, width
        return height, width, image.mode in _GREY


def pixels(file: Path, size: tuple[int, int], channels: int) -> np.ndarray:
    """``(channels, H, W) uint8``: upright, transparency on white, 16 bits scaled to 8, resized to the very size.

    Raises:
        DataError: The file is corrupt, a decompression bomb, or of a pixel type without a known range.
    """
    from PIL import Image, ImageOps

    height, width = size
    with _opened(file) as opened:
        # JPEG can decode at a fraction of its size; both sides, since the orientation is applied afterwards.
        opened.draft(None, (max(size), max(size)))
        image = _flat(ImageOps.exif_transpose(opened), file)
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        array = np.asarray(image, dtype=np.uint8)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _flat(image: Image.Image, file: Path) -> Image.Image:
    """An 8-bit image without palette or transparency."""
    from PIL import Image

    if image.mode in _WIDE:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            found = f"{file} with values {values.min()} .. {values.max()}"
            raise DataError("grey images must have 8 or 16 bits", found, "Convert it.")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise DataError("images must have 8 or 16 bits", f"{file} with floats", "Convert it, or use the npz source.")
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    from PIL import Image

    try:
        with Image.open(file) as image:
            yield image
    except (DataError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        mend = "Make it smaller or remove it."
        raise DataError("an image must not be too large to decode safely", f"{file}: {error}", mend) from error
    except Exception as error:  # Pillow's readers raise many kinds on damaged bytes
        reason = str(error) or type(error).__name__
        raise DataError("every image file must be readable", f"{file}: {reason}", "Replace or remove it.") from error
