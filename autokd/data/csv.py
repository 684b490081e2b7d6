"""Tables in delimited text files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autokd.data.source import needed_path, source
from autokd.data.table import MISSING, guess_header, is_number, read_table
from autokd.errors import ConfigError, DataError, nearest
from autokd.protocols import DataOptions, RawData

if TYPE_CHECKING:
    import pandas as pd

MOST_WORDS = 100
"""A category of more words is a name or an identifier, and would make wide one-hot inputs of little use."""


@source("required", "target", "header", "separator", "categorical", "ignore", "test", "na_values")
def load(options: DataOptions) -> RawData:
    """A table from a .csv file (or .csv.gz): numbers and categories, one column of labels, a test file of its own.

    Options: ``target`` (name or index of the label column, default the last), ``header`` (true, false, auto),
    ``separator`` (default a comma), ``categorical`` (columns of codes to take as words), ``ignore`` (columns to leave
    out), ``test`` (another file with the same columns, relative to the first), ``na_values`` (words for missing values,
    instead of the usual ones).

    ``inputs``: ``(N, F) float32``; numbers as they are (missing: NaN), categories as codes 0 .. k-1 in the sorted order
    of the first file's words (unknown or missing: -1).

    Raises:
        ConfigError: An option that cannot be, or names a column that is not there.
        DataError: A file cannot be read, has no labels, or a column cannot be a feature.
    """
    file = needed_path(options)
    how = _how(options.options)
    header = guess_header(file, how.separator, how.missing) if how.header == "auto" else bool(how.header)
    train = read_table(file, how.separator, header, how.missing)
    names = [str(c) for c in train.columns]
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DataError(f"the columns of {file} must have different names", f"{twice!r} twice", "Rename one.")
    target = _column(how.target, names, "target")
    left_out = {_column(c, names, "ignore") for c in how.ignore}
    as_words = {_column(c, names, "categorical") for c in how.categorical}
    if target in left_out | as_words:
        raise ConfigError("`data.target` must not be in `ignore` or `categorical`", repr(target))
    features = [n for n in names if n != target and n not in left_out]
    if not features:
        raise DataError(f"{file} must have a feature beside the label", "none", "Ignore fewer columns.")

    test_file = None if how.test is None else file.parent / Path(how.test).expanduser()
    train = _labelled(train, target, file, options)
    frames = [train]
    if test_file is not None:
        test = _like(read_table(test_file, how.separator, header, how.missing), names, test_file)
        frames.append(_labelled(test, target, test_file, options))
    targets, classes = _labels([f[target].tolist() for f in frames], test_file)
    columns, words = [], []
    for name in features:
        values = [f[name].tolist() for f in frames]
        column, known = _feature(name, values, name in as_words, test_file)
        columns.append(column)
        words.append(known)
    total = sum(len(f) for f in frames)
    return RawData(
        inputs=np.stack(columns, axis=1),
        targets=targets,
        classes=classes,
        kind="tabular",
        test=np.arange(len(train), total) if test_file is not None else None,
        facts={
            "cardinalities": tuple(len(w) for w in words),
            "features": tuple(features),
            "categories": tuple(words),
        },
    )


@dataclass(frozen=True)
class _Options:
    target: str | int = -1
    header: bool | str = "auto"
    separator: str = ","
    categorical: Sequence[str | int] = ()
    ignore: Sequence[str | int] = ()
    test: str | None = None
    missing: Sequence[str] = MISSING


def _how(raw: Mapping[str, Any]) -> _Options:
    given = {k: v for k, v in raw.items() if v is not None}
    for name in ("categorical", "ignore", "na_values"):
        if name in given:
            value = given[name]
            given[name] = [value] if isinstance(value, str | int) and not isinstance(value, bool) else value
            if not isinstance(given[name], list | tuple):
                raise ConfigError(f"`data.{name}` must be a list", repr(value))
    if "na_values" in given:
        given["missing"] = [str(v) for v in given.pop("na_values")]
    how = _Options(**given)
    if how.header not in (True, False, "auto"):
        raise ConfigError("`data.header` must be true, false or auto", repr(how.header))
    if not isinstance(how.separator, str) or len(how.separator) != 1:
        raise ConfigError("`data.separator` must be one character", repr(how.separator), 'A tab is "\\t".')
    if how.test is not None and not isinstance(how.test, str):
        raise ConfigError("`data.test` must be the path of a file", repr(how.test))
    return how


def _column(wanted: object, names: Sequence[str], option: str) -> str:
    """The name of a column given by name or, where no column is called so, by index."""
    if str(wanted) in names:
        return str(wanted)
    if isinstance(wanted, int) and not isinstance(wanted, bool) and -len(names) <= wanted < len(names):
        return names[wanted]
    law = f"`data.{option}` must name a column, or an index from {-len(names)} to {len(names) - 1}"
    raise ConfigError(law, repr(wanted), nearest(str(wanted), names))


def _like(test: pd.DataFrame, names: Sequence[str], file: Path) -> pd.DataFrame:
    """The columns of the test file in the order of the first file's."""
    missing = [n for n in names if n not in test.columns]
    if missing:
        law = f"{file} must have the columns of the first file"
        raise DataError(law, f"no {missing[0]!r} among its {test.shape[1]}", "Both need a header, or both none.")
    return test[list(names)]


def _labelled(frame: pd.DataFrame, target: str, file: Path, options: DataOptions) -> pd.DataFrame:
    there = frame[target].notna()
    dropped = int((~there).sum())
    if dropped == len(frame):
        raise DataError(f"{file} must have labels in the column {target!r}", "none", "Set `data.target`.")
    if dropped:
        options.progress(f"{file.name}: {dropped} of {len(frame)} rows left out, without a label in {target!r}")
    return frame[there]


def _labels(parts: list[list[str]], test_file: Path | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """``(N,) int64`` and the names; numbers are sorted as numbers."""
    distinct = set(parts[0])
    numeric = all(is_number(w) for w in distinct)
    classes = tuple(sorted(distinct, key=lambda w: (float(w), w)) if numeric else sorted(distinct))
    if len(classes) > max(1000, len(parts[0]) // 2):
        found = f"{len(classes)} different ones in {len(parts[0])} rows"
        raise DataError("labels must be classes", found, "Set `data.target`; regression is not offered.")
    codes = {c: i for i, c in enumerate(classes)}
    out = []
    for words in parts:
        for word in words:
            # UCI Adult's test file ends its labels in a dot.
            code = codes.get(word, codes.get(word.rstrip(".").rstrip()))
            if code is None:
                law = f"every label in {test_file} must occur in the first file"
                raise DataError(law, repr(word), f"Known: {', '.join(classes[:10])}.")
            out.append(code)
    return np.array(out, np.int64), classes


def _feature(
    name: str, parts: list[list[str | None]], as_words: bool, test_file: Path | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """``(N,) float32`` and, of a category, its words."""
    known = sorted({w for w in parts[0] if w is not None})
    everything = [w for words in parts for w in words]
    if not as_words and all(is_number(w) for w in known):
        odd = next((w for w in everything if w is not None and not is_number(w)), None)
        if odd is not None:
            law = f"column {name!r} of {test_file} must hold numbers, as in the first file"
            raise DataError(law, repr(odd), "List the column in `data.categorical`, or the word in `data.na_values`.")
        return np.array([np.nan if w is None else float(w) for w in everything], np.float32), ()
    if len(known) > MOST_WORDS:
        mend = (
            f"Put {name!r} into `data.ignore`, or make it numeric (is one of its words a missing value? `na_values`)."
        )
        raise DataError(f"a category must have at most {MOST_WORDS} words", f"{len(known)} in column {name!r}", mend)
    if not known:
        raise DataError(f"column {name!r} must hold a value", "none", "Put it into `data.ignore`.")
    codes = {w: i for i, w in enumerate(known)}
    return np.array([-1 if w is None else codes.get(w, -1) for w in everything], np.float32), tuple(known)
