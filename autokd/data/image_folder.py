"""Images in one folder a class, decoded once into a memory-mapped array."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np

from autokd.data.arguments import choice, image_size
from autokd.data.decode import guarded, header, pixels
from autokd.data.listing import Listing, list_images
from autokd.data.source import needed_path, source
from autokd.errors import DataError, StorageError
from autokd.files import new_file
from autokd.protocols import DataOptions, RawData

FORMAT = 1
"""Part of the cache's key: raise it when the same files would decode to other pixels."""
LARGEST_COMMON = 256
LARGEST_CHOSEN = 64
_BATCH = 256
T = TypeVar("T")


@source("required", "size", "channels")
def load(options: DataOptions) -> RawData:
    """Images in one folder a class: path/<class>/*.png, or path/train/<class>, path/test/<class>, path/val/<class>.

    Options: ``size``: pixels, one number or [height, width] (default: the images' common size up to 256, otherwise
    their median rounded to a multiple of 8, at most 64); ``channels``: 1 or 3 (default: 1 if all images are grey).

    ``inputs``: ``(N, C, H, W) uint8``, memory-mapped from the cache.
    """
    path = needed_path(options)
    size = image_size(options.options)
    channels = choice(options.options, "channels", (1, 3))
    try:
        listing = list_images(path)
        key = listing.key({"size": size, "channels": channels, "format": FORMAT})
    except OSError as error:
        raise DataError(f"{path} must be readable", error, "Check its permissions.") from error
    target = options.cache_dir / "image_folder" / f"{key}.npy"
    if not target.exists():
        with guarded():
            _decode(listing, target, size, channels, options.progress)
    splits = np.array(listing.splits)
    official = {s: np.flatnonzero(splits == s) for s in listing.official}
    return RawData(
        inputs=np.load(target, mmap_mode="r", allow_pickle=False),
        targets=np.array(listing.targets, dtype=np.int64),
        classes=listing.classes,
        kind="image",
        test=official.get("test"),
        validation=official.get("validation"),
        high=255.0,
    )


def _decode(
    listing: Listing, target: Path, size: tuple[int, int] | None, channels: int | None, tell: Callable[[str], None]
) -> None:
    files = [listing.root / name for name in listing.files]
    with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:
        grey_modes = False
        if size is None or channels is None:
            heads = list(_in_order(pool, header, files))
            grey_modes = all(grey for _, _, grey in heads)
            if size is None:
                size = _choose_size([h for h, _, _ in heads], [w for _, w, _ in heads], tell)
        planes = channels or (1 if grey_modes else 3)
        shape = (len(files), planes, *size)
        colour = False

        def decoded() -> Iterator[np.ndarray]:
            nonlocal colour
            batch: list[np.ndarray] = []
            for i, image in enumerate(_in_order(pool, lambda f: pixels(f, size, planes), files), 1):
                batch.append(image)
                if len(batch) == _BATCH or i == len(files):
                    block = np.stack(batch)
                    batch = []
                    colour = colour or (planes == 3 and bool((block != block[:, :1]).any()))
                    yield block
                    tell(f"decoding images: {i} of {len(files)}")

        with new_file(target, disk=_cache) as part:
            _write(part, shape, decoded())
            if channels is None and planes == 3 and not colour:
                # Grey pictures are often stored as colour; one plane says it all. Only the reduced array may get the
                # final name: were this interrupted, the other would be taken for the result.
                tell("all images are grey: keeping one channel")
                _keep_first_plane(part)


def _keep_first_plane(file: Path) -> None:
    with new_file(file, lasting=False, disk=_cache) as part:
        full = np.load(file, mmap_mode="r", allow_pickle=False)
        blocks = (full[s : s + _BATCH, :1] for s in range(0, len(full), _BATCH))
        _write(part, (len(full), 1, *full.shape[2:]), blocks)


def _in_order(pool: ThreadPoolExecutor, work: Callable[[Path], T], files: list[Path]) -> Iterator[T]:
    """Results in order, a batch ahead at a time: a whole folder of pixels would not fit in memory."""
    for start in range(0, len(files), _BATCH):
        yield from pool.map(work, files[start : start + _BATCH])


def _choose_size(heights: list[int], widths: list[int], tell: Callable[[str], None]) -> tuple[int, int]:
    low, high = (min(heights), min(widths)), (max(heights), max(widths))
    if low == high and max(low) <= LARGEST_COMMON:
        return low
    middle = (median(heights), median(widths))
    scale = min(1.0, LARGEST_CHOSEN / max(middle))
    chosen = tuple(max(8, 8 * round(side * scale / 8)) for side in middle)
    sizes = f"images of {low[0]}x{low[1]} to {high[0]}x{high[1]}"
    tell(f"{sizes} are resized to {chosen[0]}x{chosen[1]}; data.size sets another")
    return chosen[0], chosen[1]


def _write(file: Path, shape: tuple[int, ...], blocks: Iterator[np.ndarray]) -> None:
    """A whole ``.npy`` file, by plain writes: a full disk is then an error, where a memory map would end the process."""
    with _cache(), file.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for block in blocks:
            out.write(np.ascontiguousarray(block).data)


@contextmanager
def _cache() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        law = "the data cache must be writable"
        raise StorageError(law, str(error), "Free some space or set storage.path.") from error
