"""The cache of decoded images: what stands under its final name is final, whatever interrupts the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autokd.data import image_folder
from autokd.errors import DataError
from autokd.protocols import Dataset

Load = Callable[..., Dataset]


@pytest.fixture
def grey_as_colour(tmp_path: Path) -> Path:
    """Two classes of grey pictures that are stored as RGB."""
    root, rng = tmp_path / "pictures", np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for i in range(10):
            plane = rng.integers(0, 256, (8, 8, 1), dtype=np.uint8)
            Image.fromarray(np.repeat(plane, 3, axis=2)).save(root / name / f"{i}.png")
    return root


class Killed(BaseException):
    """Stands for a process that ends here."""


def test_grey_stored_as_colour_keeps_one_channel_and_leaves_nothing_else(
    load: Load, grey_as_colour: Path, tmp_path: Path
) -> None:
    assert load("image_folder", grey_as_colour).inputs.shape == (20, 1, 8, 8)
    assert len(list((tmp_path / "cache" / "image_folder").iterdir())) == 1


def test_an_interruption_does_not_change_the_number_of_channels(
    load: Load, grey_as_colour: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = load("image_folder", grey_as_colour, size=6)  # another key: says what is right

    def tell(text: str) -> None:
        if "keeping one channel" in text:
            raise Killed

    with monkeypatch.context() as patch:
        decode = image_folder._decode
        patch.setattr(image_folder, "_decode", lambda li, t, s, c, _: decode(li, t, s, c, tell))
        with pytest.raises(Killed):
            load("image_folder", grey_as_colour)
    assert not list((tmp_path / "cache" / "image_folder").glob(".*"))
    again = load("image_folder", grey_as_colour)
    assert again.inputs.shape[1] == original.inputs.shape[1] == 1


def test_a_folder_that_cannot_be_read_is_named(
    load: Load, grey_as_colour: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(root: Path) -> None:
        raise PermissionError(13, "Permission denied", str(root))

    monkeypatch.setattr(image_folder, "list_images", refuse)
    with pytest.raises(DataError, match=r"must be readable, but got .*Permission denied"):
        load("image_folder", grey_as_colour)
