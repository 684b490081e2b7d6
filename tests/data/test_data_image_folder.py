"""Image folders: layouts, every kind of file, the decoded copy, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autokd.errors import ConfigError, DataError, UserError
from autokd.protocols import Dataset

Load = Callable[..., Dataset]


def save(file: Path, size: tuple[int, int] = (12, 10), mode: str = "L", value: int | tuple[int, ...] = 50) -> Path:
    """One image of one colour; ``size`` is (width, height) as Pillow has it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(file)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pets"
    for i in range(8):
        save(root / "cat" / f"{i}.png", value=10 + i)
        save(root / "dog" / f"{i}.png", value=200 + i)
    return root


def test_classes_are_folders(load: Load, folder: Path) -> None:
    save(folder / ".thumbs" / "x.png")
    save(folder / "cat" / ".hidden.png")
    (folder / "cat" / "notes.txt").write_text("not an image")
    data = load("image_folder", folder)
    assert data.classes == ("cat", "dog")
    assert (data.inputs.shape, data.inputs.dtype) == ((16, 1, 10, 12), np.uint8)
    assert isinstance(data.inputs, np.memmap)
    assert data.inputs[:, 0, 0, 0].tolist() == [*range(10, 18), *range(200, 208)]
    assert data.targets.tolist() == [0] * 8 + [1] * 8
    assert (data.spec.low, data.spec.high) == (0.0, 255.0)


@pytest.mark.parametrize("name", ["val", "validation", "valid"])
def test_official_splits(load: Load, tmp_path: Path, name: str) -> None:
    for split, n in (("train", 6), ("test", 3), (name, 2)):
        for kind in ("a", "b"):
            for i in range(n):
                save(tmp_path / "d" / split / kind / f"{i}.png")
    data = load("image_folder", tmp_path / "d")
    assert (len(data.splits.test), len(data.splits.validation)) == (6, 4)
    assert len(data.splits.train) + len(data.splits.calibration) == 12


@pytest.mark.parametrize(
    ("options", "shape"),
    [({}, (1, 10, 12)), ({"size": 16}, (1, 16, 16)), ({"size": [8, 4]}, (1, 8, 4)), ({"channels": 3}, (3, 10, 12))],
    ids=str,
)
def test_size_and_channels(load: Load, folder: Path, options: dict[str, object], shape: tuple[int, ...]) -> None:
    assert load("image_folder", folder, **options).spec.shape == shape


def test_one_coloured_image_makes_three_channels(load: Load, folder: Path) -> None:
    save(folder / "cat" / "0.png", mode="RGB", value=(1, 2, 3))
    data = load("image_folder", folder)
    assert data.spec.shape == (3, 10, 12)
    assert data.inputs[0, :, 0, 0].tolist() == [1, 2, 3]


def test_different_sizes_take_a_round_one_and_say_so(load: Load, folder: Path, told: list[str]) -> None:
    for i in range(6):
        save(folder / "cat" / f"{i}.png", size=(300, 150))
        save(folder / "dog" / f"{i}.png", size=(280, 140))
    assert load("image_folder", folder).spec.shape == (1, 32, 64)
    assert any("32x64" in line for line in told)


def test_kinds_of_files(load: Load, folder: Path) -> None:
    """Orientation, transparency, palettes, 16 bits: all come out as people see them."""
    cat = folder / "cat"
    upright = Image.new("L", (10, 12), 0)
    upright.paste(255, (0, 0, 10, 6))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    upright.save(cat / "0.png", exif=exif)
    save(cat / "1.png", mode="RGBA", value=(0, 0, 0, 0))
    palette = Image.new("P", (12, 10), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.save(cat / "2.gif")
    (cat / "2.png").unlink()
    Image.fromarray(np.full((10, 12), 65535, np.uint16)).save(cat / "3.png")
    save(cat / "4.bmp", mode="1", value=1)
    for i, suffix in enumerate((".jpg", ".webp", ".tif", ".ppm", ".JPEG")):
        save(cat / f"9{i}{suffix}", mode="RGB", value=(255, 255, 255))
    data = load("image_folder", folder)
    assert data.spec.shape == (3, 10, 12)
    names = sorted(f.name for f in cat.iterdir())
    image = dict(zip(names, data.inputs, strict=False))
    assert image["0.png"][0, 0, -1] > 200 > 50 > image["0.png"][0, 0, 0]
    assert (image["1.png"] == 255).all()
    assert image["2.gif"][:, 0, 0].tolist() == [255, 0, 0]
    for name in ("3.png", "4.bmp", *(n for n in names if n.startswith("9"))):
        assert image[name].min() >= 250, name


def test_decoded_once_until_a_file_changes(load: Load, folder: Path, told: list[str]) -> None:
    before = load("image_folder", folder).fingerprint
    told.clear()
    assert load("image_folder", folder).fingerprint == before
    assert told == []
    file = save(folder / "cat" / "0.png", value=99)
    os.utime(file, ns=(1, 1))
    assert load("image_folder", folder).fingerprint != before
    assert told != []


def test_a_corrupt_image_is_named_and_nothing_is_left(load: Load, folder: Path, tmp_path: Path) -> None:
    bad = folder / "dog" / "3.png"
    noise = np.random.default_rng(0).integers(0, 256, (10, 12), dtype=np.uint8)
    Image.fromarray(noise).save(bad)
    whole = bad.read_bytes()
    for raw in (whole[: len(whole) // 2], b"\x89PNG\r\n\x1a\nnothing", b""):
        bad.write_bytes(raw)
        with pytest.raises(DataError, match=r"dog.3\.png"):
            load("image_folder", folder)
    assert list((tmp_path / "cache").rglob("*.npy*")) == []


def test_a_decompression_bomb_is_refused(load: Load, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(folder / "cat" / "0.png", size=(40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(DataError, match=r"too large to decode.*cat.0\.png"):
        load("image_folder", folder)


def test_folders_that_cannot_be_used(load: Load, folder: Path, tmp_path: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=r"every class folder must hold an image.*empty"):
        load("image_folder", folder)
    (tmp_path / "flat").mkdir()
    save(tmp_path / "flat" / "1.png")
    with pytest.raises(DataError, match=r"class folders"):
        load("image_folder", tmp_path / "flat")
    with pytest.raises(DataError, match=r"must be a folder"):
        load("image_folder", folder / "cat" / "1.png")


def test_a_class_only_in_test_is_refused(load: Load, tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "test/a", "test/c"):
        for i in range(3):
            save(tmp_path / "d" / name / f"{i}.png")
    with pytest.raises(DataError, match=r"'c' only in test"):
        load("image_folder", tmp_path / "d")


@pytest.mark.parametrize("options", [{"size": 0}, {"size": "big"}, {"size": [1, 2, 3]}, {"channels": 2}], ids=str)
def test_options_that_cannot_be(load: Load, folder: Path, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"data.{next(iter(options))}"):
        load("image_folder", folder, **options)


def test_a_cache_that_cannot_be_written(load: Load, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cache"):
        load("image_folder", folder)
