"""Which image files a folder holds: classes, official splits, and a key of what was found."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autokd.errors import DataError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"})
SPLITS = {"train": "train", "test": "test", "val": "validation", "validation": "validation", "valid": "validation"}


@dataclass(frozen=True)
class Listing:
    """Image files of a folder.

    Args:
        root: The folder.
        files: Paths below ``root``, train first, in a fixed order.
        targets: Class index of each file.
        splits: ``train``, ``test`` or ``validation`` of each file.
        classes: Class names, sorted.
        official: The official splits that are there beside train.
    """

    root: Path
    files: tuple[str, ...]
    targets: tuple[int, ...]
    splits: tuple[str, ...]
    classes: tuple[str, ...]
    official: frozenset[str]

    def key(self, options: object) -> str:
        """A hash of every file's relative path, size and time, and of the options."""
        rows = []
        for name in self.files:
            facts = (self.root / name).stat()
            rows.append([name, facts.st_size, facts.st_mtime_ns])
        return hashlib.sha256(json.dumps([rows, options]).encode()).hexdigest()


def list_images(root: Path) -> Listing:
    """The images below ``root/<class>`` or ``root/train/<class>``, ``root/test/<class>``, ``root/val/<class>``.

    Hidden files and files that are no images are passed over; folders inside a class folder belong to the class.

    Raises:
        DataError: No such folder, no class folder, a class without images, or a class that train does not have.
    """
    if not root.is_dir():
        found = f"{root}, {'a file' if root.exists() else 'which does not exist'}"
        raise DataError("data.path of image_folder must be a folder", found, "Check the path.")
    parts = _split_folders(root)
    classes = tuple(f.name for f in _folders(parts["train"][0]))
    if len(classes) < 2:
        raise DataError(
            f"{parts['train'][0]} must hold at least 2 class folders with images",
            ", ".join(classes) or "none",
            "Sort the images into one folder a class: flowers/rose/1.jpg.",
        )
    files: list[str] = []
    targets: list[int] = []
    splits: list[str] = []
    for split in ("train", "validation", "test"):
        for base in parts.get(split, []):
            for folder in _folders(base):
                if folder.name not in classes:
                    found = f"{folder.name!r} only in {base.name}"
                    raise DataError("every class must be in the train folder", found, "Add or remove it.")
                images = [f.relative_to(root).as_posix() for f in _images(folder)]
                if split == "train" and not images:
                    mend = f"Add {', '.join(sorted(SUFFIXES))} files or remove the folder."
                    raise DataError("every class folder must hold an image", f"none in {folder}", mend)
                files += images
                targets += [classes.index(folder.name)] * len(images)
                splits += [split] * len(images)
    return Listing(root, tuple(files), tuple(targets), tuple(splits), classes, frozenset(splits) - {"train"})


def _split_folders(root: Path) -> dict[str, list[Path]]:
    """The folders of each split; one of plain classes is all train."""
    by_name = {f.name.lower(): f for f in _folders(root)}
    train = by_name.get("train")
    # A class may be called "train": only a folder of folders is a split, and only among its own kind.
    if train is None or not _folders(train) or any(_is_image(f) for f in train.iterdir()):
        return {"train": [root]}
    others = {n: f for n, f in by_name.items() if n != "train"}
    known = {n: f for n, f in others.items() if n in SPLITS and _folders(f)}
    if len(known) < len(others) and not known:
        return {"train": [root]}
    parts: dict[str, list[Path]] = {"train": [train]}
    for name, folder in sorted(known.items()):
        parts.setdefault(SPLITS[name], []).append(folder)
    return parts


def _folders(base: Path) -> list[Path]:
    return sorted(f for f in base.iterdir() if f.is_dir() and not f.name.startswith("."))


def _images(folder: Path) -> Iterator[Path]:
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            if _is_image(Path(base, name)):
                yield Path(base, name)


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
