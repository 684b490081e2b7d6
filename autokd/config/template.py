"""The commented study file that ``autokd init`` writes, for digits or for a person's own data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autokd import registry
from autokd.config import yaml_file
from autokd.config.fitting import fitting_space
from autokd.config.study_file import usual_epochs
from autokd.data.dataset import load_dataset
from autokd.errors import ConfigError, nearest
from autokd.protocols import Dataset

TABLES = (".csv", ".csv.gz")


def study_template() -> str:
    """Its text; it runs unedited."""
    return (Path(__file__).parent / "study_template.yaml").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Seen:
    """What ``autokd init --data`` found.

    Args:
        source: The data source that reads it.
        path: Where it is; ``None`` for a source that needs no path.
        options: Further keys of the ``data:`` block.
        words: Lines for people: samples, classes, balance, and what fits.
    """

    source: str
    path: str | None
    options: Mapping[str, str]
    words: tuple[str, ...]


def look_at(given: str, cache: Path) -> Seen:
    """Read data as a study would, and say what they are.

    Args:
        given: A folder of pictures, a .npz or .csv file, or the name of a registered source.
        cache: Folder for decoded copies; a study of the same folder finds them there.

    Raises:
        ConfigError: Nothing is there, or no source is known for it.
        DataError: The data cannot be used.
    """
    source, path = source_of(given)
    options = _own_test(Path(path).expanduser()) if source == "csv" and path else {}
    data = load_dataset(source, path, options, seed=0, cache_dir=cache)
    return Seen(source, path, options, tuple(_words(data)))


def _own_test(file: Path) -> dict[str, str]:
    """The test file beside a file that is called after training: ``adult-test.csv`` beside ``adult-train.csv``."""
    other = file.with_name(file.name.replace("train", "test", 1))
    return {"test": other.name} if other.name != file.name and other.is_file() else {}


def source_of(given: str) -> tuple[str, str | None]:
    """The source that reads a path, and the path; or a source by its own name.

    Raises:
        ConfigError: Neither a path nor a source, or a file that no source reads.
    """
    place = Path(given).expanduser()
    if not given.strip():
        raise ConfigError("--data must name data", "nothing", "Name a folder of pictures, or a .npz or .csv file.")
    if not place.exists():
        if given in registry.names("data"):
            return given, None
        mend = f"Name a folder of pictures, a .npz or .csv file, or a source: {', '.join(registry.names('data'))}."
        raise ConfigError(
            "--data must name data", f"{given}: nothing there", f"{nearest(given, registry.names('data'))} {mend}"
        )
    if place.is_dir():
        if any(place.glob("*-images-idx3-ubyte*")):
            return "fashion_mnist", given
        return "image_folder", given
    if place.suffix.lower() == ".npz":
        return "npz", given
    if place.name.lower().endswith(TABLES):
        return "csv", given
    mend = "Pictures in folders, .npz and .csv can be read as they are; for others write `data.source: my_module:my_function`."
    raise ConfigError("--data must be of a kind that is known", given, mend)


def study_of(seen: Seen) -> str:
    """A study file for data."""
    name = (
        re.sub(r"[^\w +-]+", "-", Path(seen.path).name.split(".")[0] if seen.path else seen.source).strip("- ")
        or "study"
    )
    text = study_template()
    head, _, rest = text.partition("\n\n")
    told = "\n".join(f"# {line}" for line in (f"Seen in {seen.path or seen.source}:", *(f"  {w}" for w in seen.words)))
    rest = _line(rest, "name: digits", f"name: {_quoted(name)}")
    path = f"\n  path: {_quoted(seen.path)}" if seen.path else ""
    path += "".join(f"\n  {key}: {_quoted(value)}" for key, value in seen.options.items())
    rest = _line(rest, "  source: digits", f"  source: {seen.source}")
    if path:
        rest = re.sub(r"\n  # path:[^\n]*", lambda _: path, rest, count=1)
    return f"{head}\n{told}\n\n{rest}"


def _line(text: str, old: str, new: str) -> str:
    """The line that begins with ``old``, its comment kept where it stood."""
    start = text.index(old)
    end = text.index("\n", start)
    comment = text[start + len(old) : end].lstrip()
    column = 30
    return text[:start] + (f"{new:<{column}}{comment}" if comment else new) + text[end:]


def _quoted(text: str | None) -> str:
    """A word as YAML reads it back: quoted where it is taken for something else, such as a number."""
    plain = str(text)
    simple = re.fullmatch(r"[\w./+~-][\w./+~ -]*", plain) is not None and plain == plain.strip()
    return plain if simple and yaml_file.scalar(plain) == plain else "'" + plain.replace("'", "''") + "'"


def _words(data: Dataset) -> list[str]:
    splits, classes = data.splits, data.classes
    kind = registry.load("modalities", data.spec.kind)()
    counts = np.bincount(np.asarray(data.targets[splits.train]), minlength=len(classes))
    sizes = f"{len(splits.train):,} to train, {len(splits.validation):,} to validate, {len(splits.test):,} to test"
    rare, common = int(counts.argmin()), int(counts.argmax())
    balance = f"{len(classes)} classes, {counts[rare]:,} ({classes[rare]}) to {counts[common]:,} ({classes[common]}) samples each"
    epochs = usual_epochs(len(splits.train))
    return [
        f"{sum(map(len, (splits.train, splits.validation, splits.test))):,} samples of {kind.words(data.spec)}: {sizes}",
        balance,
        f"`space: auto` is {fitting_space(data.spec)}; `epochs: auto` is {epochs:.3g}",
    ]
