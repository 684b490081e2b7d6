"""Keys, fingerprints and folders are those of version 0.1, taken before kinds of input were modalities: old stores stay valid."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autokd.data.augment import SeededViews, names
from autokd.data.dataset import load_dataset
from autokd.data.dataset_store import open_dataset, save_dataset
from autokd.files import digest
from autokd.protocols import Dataset, InputSpec
from autokd.students.build import family_key
from autokd.testing.families import example_specs, raw_samples


def pictures(folder: Path) -> tuple[str, str | None, dict[str, Any]]:
    grid = np.arange(60 * 3 * 8 * 6).reshape(60, 3, 8, 6)
    np.savez(folder / "pictures.npz", x=(grid * 37 % 251).astype(np.uint8), y=np.arange(60) % 3)
    return "npz", str(folder / "pictures.npz"), {"layout": "NCHW"}


def floats(folder: Path) -> tuple[str, str | None, dict[str, Any]]:
    grid = np.arange(60 * 8 * 8).reshape(60, 8, 8)
    np.savez(folder / "floats.npz", x=(grid * 37 % 17 - 4).astype(np.float32), y=np.arange(60) % 3)
    return "npz", str(folder / "floats.npz"), {}


def numbers(folder: Path) -> tuple[str, str | None, dict[str, Any]]:
    grid = np.arange(60 * 5).reshape(60, 5)
    np.savez(folder / "numbers.npz", x=(grid * 37 % 101).astype(np.float32), y=np.arange(60) % 2)
    return "npz", str(folder / "numbers.npz"), {}


def words(folder: Path) -> tuple[str, str | None, dict[str, Any]]:
    colours = ("red", "green", "blue")
    rows = [
        f"{i * 7 % 30},{colours[i % 3]},{'' if i % 11 == 0 else i % 13},{'yes' if i % 2 else 'no'}" for i in range(60)
    ]
    (folder / "words.csv").write_text("\n".join(["age,colour,score,bought", *rows]) + "\n")
    return "csv", str(folder / "words.csv"), {"target": "bought"}


def digits(folder: Path) -> tuple[str, str | None, dict[str, Any]]:
    return "digits", None, {"limit": 256}


GOLDEN = {
    pictures: {
        "fingerprint": "aafe754d7b36d6008f92c86788b1a34d4321a25fa62022c2768bddd48112b4d2",
        "family_key": "1d8670483bfe9feb2c4f4e56333935b10ee3144e6cb5e9320c265bb3c708e627",
        "dataset.json": "5ea63432b8b4ae4526c1435e6cd0a6160ae92f467c6f8ff695ca68797e8b9ac5",
        "auto": "b89da6a383e5cfcfb4e0414e9e7b8a0ad7e9810894fa13b611c7f544a341c9cd",
        "none": "82793583af8ae93a7b9b2e303c60e229906ff5bf8e0cfe01703bd3a8b3830a3e",
        "shift": "b89da6a383e5cfcfb4e0414e9e7b8a0ad7e9810894fa13b611c7f544a341c9cd",
        "shift_flip": "d6e0e725aa16ff35d5f3a111f5566428294fb11e9efb5e5c07bf0f4e3f6af511",
        "crop_flip": "9cb955fc65949862af4838f01e60938925bf23a730fb4b555c77217d6301a790",
    },
    floats: {
        "fingerprint": "1bb1a63cbf2b28e5dacc7f3ea0762d87dfb615ead01963eb1628fba067c741a5",
        "family_key": "1ebfc3346aac79c4d49e4297f177bbe9322d94e1c33b0fe8fbbf7b7fbcfb1f41",
        "dataset.json": "e188e58ec3316cf20d5ddef3c81e225429759a96d98e8b9c356bc768af641d8c",
        "auto": "4563649e10ab32f445231e5ca4f1dc5048de0dd48c81a1996dd41c85f5f05715",
        "none": "1905214d47709a2bc5c624721cc5657548c52902ad1894e4804b07378d5c11c6",
        "shift": "4563649e10ab32f445231e5ca4f1dc5048de0dd48c81a1996dd41c85f5f05715",
        "shift_flip": "fcc6a94165274325bd4228041be1053c931a425800163ec840f5bf9621df675f",
        "crop_flip": "16c54bdcfa1735233bb3e202834867427cd042f41ef935a9366aed3d4a8fbdad",
    },
    numbers: {
        "fingerprint": "e6388946095072c88ca9d14644c9d05b369562939c52800e605e72763a3769c7",
        "family_key": "fb6704f4042b317ed26da5b29c08c37b8fdeb601257a255e2d416b392b8e72c2",
        "dataset.json": "d28eebaae1679879cceb393389062d5934f2990baedff09115922a1e334936da",
        "auto": "2bb606bfa888afe6c3640669f6553795248fef1a727c48affa77f60f6a01115b",
        "none": "2bb606bfa888afe6c3640669f6553795248fef1a727c48affa77f60f6a01115b",
    },
    words: {
        "fingerprint": "7c2bebed2c8cc8fcc72f7fd771b1eb4722a9e9cc199c61d4701a4bac75ff84cf",
        "family_key": "1baa7a047042fdbe220fc0f38996bdf9f6a045c7f53b1635af801b78acb8b446",
        "dataset.json": "9e231b84be06b8596f87c3fed59919b100e666150ebf1713df84ba26f22dcbab",
        "auto": "9d1239cb613d00c556eb4b51dc5a9247489b7663a5a0ff23e3e5242f500faef1",
        "none": "9d1239cb613d00c556eb4b51dc5a9247489b7663a5a0ff23e3e5242f500faef1",
    },
    digits: {
        "fingerprint": "bacd1514b92a11ec8919ea5cecf8d35d2010a3ef816dafe6ce1eec6a00463655",
        "family_key": "9ec5d48b044fbc95143d6f08118b913ff4cef4321cf0ad6d33c08dbaee01f55a",
        "dataset.json": "008b4fdfb529c8cb58e67ca8bc6c92aad75cbe34d49c6c6f883901284127577d",
        "auto": "8a1dff7001d58bf935c5145011c2e2ba55319800a09e91a03f3887d432a542d6",
        "none": "cd0178e7404f7b41e75c8e2055de2be2276709130ff095ff6134942cfd9841ad",
        "shift": "8a1dff7001d58bf935c5145011c2e2ba55319800a09e91a03f3887d432a542d6",
        "shift_flip": "34b682fea02899577364e79b2a59e60fde35d0df1525c6b8ac943f689ad27cc8",
        "crop_flip": "9e0a08ca7bfb333ac80a8fcf9b1774592c1aabac52f3c6a86391759a1ad2914b",
    },
}
NOISY = [
    [99.07591247558594, 35.97718811035156, 71.95510864257812, 11.295249938964844, 49.5600700378418],
    [98.8603286743164, 36.35578155517578, 72.88488006591797, 8.772955894470215, 46.18151092529297],
]
"""``noise`` on samples 7 and 2 of the numbers' train split, view 3, seed 5."""
SPECS = {
    "grey8": ("f5db374975817742bac35356c1f8804d6e29dac4d28a8d0e0ba5a50e44472095", "e16d80b152cc94fd"),
    "grey28": ("23ad7c829a994dfd4fa9719a8c9cc36028862309227f4267b2dec85fd9675dcb", "1616331de256312a"),
    "rgb32": ("18f2de921cd3f44a30c542a511373ab8f1057d8585573785f0751616263a72b3", "381581e13525e2de"),
    "rgb24x40": ("bd15dfca0ea93ed555d4d546b65857f05498eae1153c3cffaaa76832bb759846", "8f3d5d72244d305d"),
    "table": ("e87306b43e2088d148b30ad9853135d456373dd44dec73bacbb50d7d24a9cc02", "5c33e0943c6556e5"),
    "mixed_table": ("df85963893cbbc9b42885eb2ae6bc8b3c209b989546fa5182b8a34259f90c691", "06a14c83a7e434e1"),
}
"""Of each example: the digest of its spec, and the first of its samples' hash."""


def seen(views: SeededViews) -> str:
    """Of a fingerprint and some values of two views."""
    sha = hashlib.sha256(views.fingerprint.encode())
    for view in (0, 3):
        sha.update(np.ascontiguousarray(views.batch(np.arange(views.size)[::-1][:17], view)).tobytes())
    return sha.hexdigest()


@pytest.mark.parametrize("make", GOLDEN, ids=lambda make: make.__name__)
def test_data_sets_have_the_keys_they_had(make: Any, tmp_path: Path) -> None:
    source, path, options = make(tmp_path)
    data = load_dataset(source, path, options, seed=3, cache_dir=tmp_path / "cache")
    folder = save_dataset(data, tmp_path / "store")
    found = {
        "fingerprint": data.fingerprint,
        "family_key": family_key("mlp", data.spec, len(data.classes)),
        "dataset.json": hashlib.sha256((folder / "dataset.json").read_bytes()).hexdigest(),
        **{name: seen(SeededViews(data, name, 5, 4)) for name in names(data.spec.kind) if name != "noise"},
    }
    assert found == GOLDEN[make]
    assert sorted(f.name for f in folder.glob("inputs*")) == ["inputs.npy"]
    _same_again(data, open_dataset(folder))


def _same_again(data: Dataset, again: Dataset) -> None:
    assert again.spec == data.spec
    index = data.splits.validation
    assert np.array_equal(again.inputs[index], data.inputs[index], equal_nan=data.spec.dtype == "float32")


@pytest.mark.parametrize("name", SPECS)
def test_specs_and_drawn_samples_are_what_they_were(name: str) -> None:
    spec = example_specs()[name]
    drawn = hashlib.sha256(raw_samples(spec, 7, seed=2).tobytes()).hexdigest()
    assert (digest(spec.to_dict()), drawn[:16]) == SPECS[name]


def test_noise_is_what_it_was(tmp_path: Path) -> None:
    """Up to the last digit, in which logarithm and cosine differ from machine to machine."""
    source, path, options = numbers(tmp_path)
    data = load_dataset(source, path, options, seed=3, cache_dir=tmp_path / "cache")
    moved = SeededViews(data, "noise", 5, 4).batch(np.array([7, 2]), 3)
    np.testing.assert_allclose(moved, NOISY, rtol=1e-5)


def test_what_version_0_1_wrote_is_read() -> None:
    old = (
        '{"kind": "tabular", "shape": [2], "dtype": "float32", "mean": [0.5, 0.0], "std": [2.0, 1.0], "low": 0.0, "high": 1.0,'
        ' "cardinalities": [0, 2], "features": ["age", "job"], "categories": [[], ["cook", "judge"]]}'
    )
    spec = InputSpec.from_dict(json.loads(old))
    assert spec.facts == {"cardinalities": (0, 2), "features": ("age", "job"), "categories": ((), ("cook", "judge"))}
    assert json.loads(json.dumps(spec.to_dict())) == json.loads(old)
    image = {
        "kind": "image",
        "shape": [1, 8, 8],
        "dtype": "uint8",
        "mean": [5.0],
        "std": [6.0],
        "low": 0.0,
        "high": 16.0,
    }
    spec = InputSpec.from_dict(image | {"cardinalities": [], "features": [], "categories": []})
    assert spec == InputSpec("image", (1, 8, 8), "uint8", (5.0,), (6.0,), 0.0, 16.0)
    assert hash(spec) == hash(InputSpec.from_dict(spec.to_dict()))
