"""Fashion-MNIST: H. Xiao, K. Rasul, R. Vollgraf, 2017, https://arxiv.org/abs/1708.07747."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autokd.data.download import fetch
from autokd.data.idx import read_idx
from autokd.data.source import source
from autokd.errors import DataError
from autokd.protocols import DataOptions, RawData

URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"

SHA256 = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
"""Of the four official files."""

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_OFFLINE = "Offline? Give `data.path`, a folder with the four files " + ", ".join(SHA256) + "."


@source("optional")
def load(options: DataOptions) -> RawData:
    """Fashion-MNIST, 60,000 + 10,000 grey images of 28x28, 10 classes; from data.path, else downloaded (30 MB).

    ``inputs``: ``(70000, 1, 28, 28) uint8``, 0 .. 255; the official test split is kept. Files of ``data.path`` may be
    gzipped or not, and are not compared with the official checksums: people compress them anew.

    Raises:
        DataError: A file is missing, damaged or not what it should be, or cannot be downloaded.
    """
    files = [_given(options.path, n) if options.path else _fetched(options, n) for n in SHA256]
    arrays = [read_idx(f) for f in files]
    for images, labels, i in ((arrays[0], arrays[1], 0), (arrays[2], arrays[3], 2)):
        _check(images, labels, files[i], files[i + 1])
    inputs = np.concatenate([arrays[0], arrays[2]])[:, None]
    train, total = len(arrays[0]), len(inputs)
    return RawData(
        inputs=inputs,
        targets=np.concatenate([arrays[1], arrays[3]]).astype(np.int64),
        classes=CLASSES,
        kind="image",
        test=np.arange(train, total),
        high=255.0,
    )


def _given(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise DataError("data source 'fashion_mnist': `data.path` must be a folder", f"{str(folder)!r}", "Correct it.")
    for file in (folder / name, folder / name.removesuffix(".gz")):
        if file.is_file():
            return file
    raise DataError(f"{folder} must hold {name} (or unpacked)", "no such file", "Remove `data.path` to download it.")


def _fetched(options: DataOptions, name: str) -> Path:
    file = options.cache_dir / "fashion_mnist" / name
    return fetch(f"{URL}/{name}", file, SHA256[name], options.progress, _OFFLINE)


def _check(images: np.ndarray, labels: np.ndarray, file: Path, label_file: Path) -> None:
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise DataError(f"{file} must hold (N, 28, 28) uint8 images", f"{images.shape} {images.dtype}")
    if labels.dtype != np.uint8 or labels.ndim != 1 or len(labels) != len(images):
        law = f"{label_file} must hold one uint8 label for each of the {len(images)} images"
        raise DataError(law, f"{labels.shape} {labels.dtype}")
    if len(labels) == 0 or labels.max() >= len(CLASSES):
        raise DataError(f"{label_file} must hold labels 0 .. 9", labels.max() if len(labels) else "none")
