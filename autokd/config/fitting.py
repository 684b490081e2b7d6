"""What fits the data at hand where nobody said: the space by kind and size of the samples, the training by their number."""

from __future__ import annotations

from pathlib import Path

from autokd import registry
from autokd.config.study_file import StudyConfig
from autokd.data.dataset import load_dataset
from autokd.errors import ConfigError
from autokd.protocols import Dataset, InputSpec


def fitting_space(spec: InputSpec) -> str:
    """The name of the space for a kind and size of samples: the modality knows it.

    Raises:
        ConfigError: It does not.
    """
    name: str | None = registry.load("modalities", spec.kind)().space(spec)
    if name is None:
        known = ", ".join(registry.names("spaces"))
        raise ConfigError("`space: auto` must know a space for the data", spec.kind, f"Name one: {known}, or write it.")
    return name


def data_of(config: StudyConfig) -> Dataset:
    """The study's data, before there is a study: decoded into the folder that the study will read."""
    data = config.data
    base = Path(config.storage.path) if config.storage.path else Path(".autokd")
    return load_dataset(data.source, data.path, data.options, seed=config.seed, cache_dir=base.absolute() / "data")
