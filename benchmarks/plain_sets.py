"""The data sets of ``plain_script.py``, each made once in a folder as a newcomer has it: pictures in folders, or a table."""

from __future__ import annotations

import csv
import gzip
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from autokd.data.idx import read_idx
from autokd.errors import DataError
from autokd.files import new_folder

VALIDATION = 0.1
"""Share of the pictures that is cut out of ``train/`` into ``val/``."""
SIGN_SIDE = 32
"""Pixels: both sides get the traffic signs in this size."""
ADULT_HEADER = (
    "age,workclass,fnlwgt,education,education_num,marital_status,occupation,relationship,race,sex,capital_gain,capital_loss,"
    "hours_per_week,native_country,income\n"
)


@dataclass(frozen=True)
class PlainSet:
    """One data set.

    Args:
        name: For ``--sets``, folders and the document.
        title: For people.
        needs: Below the folder of shared data; empty: nothing.
        make: From that folder to a folder that is to be filled.
        data: What a person names: below the filled folder, or the name of a source.
    """

    name: str
    title: str
    needs: str
    make: Callable[[Path, Path], None]
    data: str

    def prepared(self, shared: Path, folder: Path) -> str:
        """What autokd and the script are given: a path, or the name of a source; made where it is not there.

        Raises:
            DataError: The files it is made of are not there or not whole.
        """
        if self.data == "digits":
            return self.data
        place = folder / "data"
        if not place.exists():
            if not (shared / self.needs).exists():
                law = f"{self.title} needs the files in {self.needs} of the shared data"
                raise DataError(law, f"none in {shared}", "Give their folder with --data.")
            with new_folder(place) as work:
                self.make(shared / self.needs, work)
        return str(place / self.data)


def fashion_mnist(count: int | None, source: Path, place: Path) -> None:
    """Fashion-MNIST as PNG files, all or some of its training pictures, chosen by a fixed seed."""
    pixels, targets = (read_idx(source / f"train-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    chosen = np.random.default_rng(0).permutation(len(pixels))[:count]
    cut = round(len(chosen) * VALIDATION)
    _save_pictures(place / "val", chosen[:cut], pixels, targets)
    _save_pictures(place / "train", chosen[cut:], pixels, targets)
    pixels, targets = (read_idx(source / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    _save_pictures(place / "test", range(len(pixels)), pixels, targets)


def _save_pictures(place: Path, rows: Iterable[int], pixels: np.ndarray, targets: np.ndarray) -> None:
    """``place/<class>/<row>.png`` of grey pictures ``(N, H, W) uint8``."""
    from PIL import Image

    for name in np.unique(targets):
        (place / str(name)).mkdir(parents=True)
    for row in rows:
        Image.fromarray(pixels[row]).save(place / str(targets[row]) / f"{row:05d}.png")


def traffic_signs(source: Path, place: Path) -> None:
    """The pictures of the archive, all of one size; whole tracks are moved from ``train/`` to ``val/``."""
    from PIL import Image

    with tarfile.open(source) as archive:
        files = {m.name: m for m in archive.getmembers() if m.isfile() and m.name.endswith(".png")}
        kept_out = validation_tracks([n for n in files if n.startswith("train/")], VALIDATION)
        for name, member in files.items():
            part, label, file = name.split("/")
            target = place / ("val" if track(name) in kept_out and part == "train" else part) / label / Path(file).name
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.extractfile(member) as data, Image.open(data) as image:  # type: ignore[union-attr]
                resized = image.convert("RGB").resize((SIGN_SIDE, SIGN_SIDE), Image.Resampling.BILINEAR)
            resized.save(target)


def track(name: str) -> tuple[str, str]:
    """Class and number of the track: ``train/<class>/<track>_<frame>.png`` is one sign, passed once."""
    _, label, file = name.split("/")
    return label, file.split("_")[0]


def validation_tracks(names: Sequence[str], share: float) -> set[tuple[str, str]]:
    """The tracks that validate: of every class about this share of its tracks, at least one, always the same.

    Args:
        names: Of all training pictures.
        share: Of the tracks.

    Raises:
        DataError: A class has a single track: it can be trained on or validated with, not both.
    """
    tracks: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for name in names:
        tracks[track(name)[0]].add(track(name))
    rng, found = np.random.default_rng(0), set()
    for label, known in sorted(tracks.items()):
        if len(known) < 2:
            raise DataError("every class must have two tracks, one to validate with", f"one of class {label}")
        order = sorted(known)
        chosen = rng.permutation(len(order))[: max(1, round(share * len(order)))]
        found |= {order[i] for i in chosen}
    return found


def adult(source: Path, place: Path) -> None:
    """UCI Adult as ``train.csv`` and ``test.csv`` with a header; the dots after the test file's labels are gone."""
    for part in ("train", "test"):
        with gzip.open(source / f"adult-{part}.csv.gz", "rt", encoding="utf-8") as lines:
            rows = [row for row in csv.reader(lines, skipinitialspace=True) if row]
        with (place / f"{part}.csv").open("w", encoding="utf-8", newline="") as out:
            out.write(ADULT_HEADER)
            csv.writer(out, lineterminator="\n").writerows([*row[:-1], row[-1].rstrip(".")] for row in rows)


def _nothing(source: Path, place: Path) -> None:
    """scikit-learn has them."""


SETS = {
    found.name: found
    for found in (
        PlainSet("digits", "digits of scikit-learn", "", _nothing, "digits"),
        PlainSet(
            "fashion_mnist_5k", "5,000 pictures of Fashion-MNIST", "fashion_mnist", partial(fashion_mnist, 5000), "."
        ),
        PlainSet("fashion_mnist", "Fashion-MNIST", "fashion_mnist", partial(fashion_mnist, None), "."),
        PlainSet("adult", "UCI Adult", "tabular", adult, "train.csv"),
        PlainSet("gtsrb", "German traffic signs", "gtsrb/gtsrb.tar", traffic_signs, "."),
    )
}
