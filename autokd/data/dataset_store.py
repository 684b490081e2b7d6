"""A split data set on disk, so that workers map it instead of decoding it again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autokd import registry
from autokd.errors import StorageError
from autokd.files import new_folder, read_json, write_json
from autokd.protocols import Dataset, InputSpec, Splits

_ARRAYS = ("train", "validation", "calibration", "test")


def save_dataset(dataset: Dataset, root: Path) -> Path:
    """Store a data set under its fingerprint; one that is there is left alone. Returns its folder."""
    folder = root / dataset.fingerprint[:24]
    if (folder / "dataset.json").exists():
        return folder
    try:
        with new_folder(folder) as work:
            modality = registry.load("modalities", dataset.spec.kind)()
            for name, array in modality.arrays(dataset.inputs).items():
                np.save(work / ("inputs.npy" if name == "inputs" else f"inputs.{name}.npy"), array, allow_pickle=False)
            np.save(work / "targets.npy", dataset.targets, allow_pickle=False)
            for name in _ARRAYS:
                np.save(work / f"{name}.npy", getattr(dataset.splits, name), allow_pickle=False)
            facts = {
                "name": dataset.name,
                "classes": list(dataset.classes),
                "spec": dataset.spec.to_dict(),
                "fingerprint": dataset.fingerprint,
            }
            write_json(work / "dataset.json", facts)
    except OSError as error:
        raise StorageError(
            "the study's folder must be writable", str(error), "Free some space or set storage.path."
        ) from None
    return folder


def open_dataset(folder: Path) -> Dataset:
    """The data set of a folder, inputs memory-mapped.

    Raises:
        ConfigError: Its modality is not installed here.
        StorageError: The folder is not there or not whole.
    """
    facts = read_json(folder / "dataset.json")
    if facts is None:
        raise StorageError(
            "the study's copy of the data must be there", str(folder), "Run `autokd resume`: it writes it again."
        )
    spec = InputSpec.from_dict(facts["spec"])
    inputs = {
        file.stem.removeprefix("inputs."): np.load(file, mmap_mode="r", allow_pickle=False)
        for file in folder.glob("inputs*.npy")
    }
    splits = Splits(**{name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in _ARRAYS})
    return Dataset(
        name=facts["name"],
        inputs=registry.load("modalities", spec.kind)().examples(inputs, spec),
        targets=np.load(folder / "targets.npy", allow_pickle=False),
        classes=tuple(facts["classes"]),
        spec=spec,
        splits=splits,
        fingerprint=facts["fingerprint"],
    )
