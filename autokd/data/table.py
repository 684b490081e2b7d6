"""Reads a delimited text file into columns of stripped words; what they mean is decided elsewhere."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autokd.errors import DataError, first_line

if TYPE_CHECKING:
    import pandas as pd

MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
"""Words that stand for a missing value unless ``na_values`` says otherwise."""


def read_table(
    file: Path, separator: str, header: bool, missing: Sequence[str], rows: int | None = None
) -> pd.DataFrame:
    """Columns of texts, blanks stripped, ``None`` where a value is missing; gzip and the like by the file's ending.

    Args:
        file: The file, UTF-8.
        separator: One character, or ``"\\t"``.
        header: Whether the first row holds names; else columns are called ``column_0``, ...
        missing: Words for missing values, beside the empty one.
        rows: Only so many of the first rows.

    Raises:
        DataError: The file is missing, empty, damaged or its rows do not fit together.
    """
    import pandas as pd

    if not file.is_file():
        raise DataError(
            "data source 'csv': the file must exist", f"{str(file)!r}", "Correct `data.path` or `data.test`."
        )
    try:
        with warnings.catch_warnings():
            # Else pandas drops the last column of rows that are longer than the header.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                file,
                sep=separator,
                header=0 if header else None,
                dtype=str,
                keep_default_na=False,
                skipinitialspace=True,
                skip_blank_lines=True,
                index_col=False,
                encoding="utf-8-sig",
                nrows=rows,
            )
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{file} must hold rows", "an empty file") from error
    except (OSError, EOFError, zlib.error, ValueError, pd.errors.ParserWarning) as error:
        mend = "Check `data.separator` and that the file is whole and UTF-8."
        raise DataError(f"{file} must be a readable table", first_line(error), mend) from error
    if header:
        frame.columns = pd.Index([str(c).strip() for c in frame.columns])
    else:
        frame.columns = pd.Index([f"column_{i}" for i in range(frame.shape[1])])
    if not len(frame):
        raise DataError(f"{file} must hold rows", "only a header")
    if frame.shape[1] < 2:
        mend = "Set `data.separator`."
        raise DataError(f"{file} must have a label and at least one feature", f"one column, {frame.columns[0]!r}", mend)
    gaps = set(missing) | {""}
    return frame.apply(lambda column: _stripped(column, gaps))


def guess_header(file: Path, separator: str, missing: Sequence[str]) -> bool:
    """Whether the first row looks like names: none of it numeric, and some column below is.

    Without a numeric column: whether every word of the first row is new to its column.
    """
    frame = read_table(file, separator, False, missing, rows=1000)
    first, rest = frame.iloc[0], frame.iloc[1:]
    if any(word is not None and is_number(word) for word in first):
        return False
    columns = [rest.iloc[:, i].dropna() for i in range(rest.shape[1])]
    if any(len(c) and c.map(is_number).all() for c in columns):
        return True
    return len(rest) > 0 and all(word not in set(c) for word, c in zip(first, columns, strict=True))


def is_number(word: str) -> bool:
    """Whether ``float`` reads it, and it is neither infinite nor NaN in words."""
    try:
        float(word)
    except ValueError:
        return False
    return word.strip("+-")[:1] in "0123456789." and "_" not in word


def _stripped(column: pd.Series[Any], gaps: set[str]) -> pd.Series[Any]:
    words = [None if w is None or w != w else str(w).strip() for w in column]
    return column.__class__([None if w is None or w in gaps else w for w in words], dtype=object, name=column.name)
