"""The csv source: numbers, categories, missing values, labels, headers and a test file."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autokd.errors import ConfigError, DataError
from autokd.protocols import Dataset

Load = Callable[..., Dataset]
SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "tabular"


def rows(n: int = 40, end: str = "") -> list[str]:
    return [f"{i}.5, {'red' if i % 3 else 'blue'}, {i % 4}, {'yes' if i % 2 else 'no'}{end}" for i in range(n)]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def call(lines: list[str], name: str = "d.csv") -> Path:
        raw = ("\n".join(lines) + "\n").encode()
        (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return tmp_path / name

    return call


HEADER = ["size, colour, kind, bought"]


@pytest.mark.parametrize("name", ["d.csv", "d.csv.gz"])
def test_numbers_and_categories(load: Load, write: Callable[..., Path], name: str) -> None:
    data = load("csv", write(HEADER + rows(), name))
    assert data.spec.facts["features"] == ("size", "colour", "kind")
    assert data.spec.facts["cardinalities"] == (0, 2, 0)
    assert data.spec.facts["categories"] == ((), ("blue", "red"), ())
    assert data.classes == ("no", "yes")
    assert data.inputs[:2].tolist() == [[0.5, 0.0, 0.0], [1.5, 1.0, 1.0]]
    assert data.targets[:2].tolist() == [0, 1]
    assert data.inputs.dtype == np.float32


def test_the_header_is_told_from_the_rows(load: Load, write: Callable[..., Path]) -> None:
    bare = load("csv", write(rows()))
    assert len(bare.inputs) == 40
    assert bare.spec.facts["features"][0] == "column_0"
    words = ["colour,taste"] + ["red,sweet", "green,sour"] * 10
    assert len(load("csv", write(words)).inputs) == 20
    assert len(load("csv", write(words[1:])).inputs) == 20
    assert len(load("csv", write(rows()), header=True).inputs) == 39
    assert len(load("csv", write(["7,a", *["1,a", "2,b"] * 10]), header=False).inputs) == 21


@pytest.mark.parametrize("target", ["bought", 3, -1])
def test_target_by_name_or_index(load: Load, write: Callable[..., Path], target: str | int) -> None:
    assert load("csv", write(HEADER + rows()), target=target).classes == ("no", "yes")


def test_another_target_leaves_the_last_column_a_feature(load: Load, write: Callable[..., Path]) -> None:
    data = load("csv", write(HEADER + rows()), target="kind")
    assert data.classes == ("0", "1", "2", "3")
    assert data.spec.facts["categories"][2] == ("no", "yes")


def test_number_labels_are_in_numeric_order(load: Load, write: Callable[..., Path]) -> None:
    assert load("csv", write([f"{i},{(10, 9, 2)[i % 3]}" for i in range(30)])).classes == ("2", "9", "10")


def test_codes_as_words_columns_left_out_and_other_separators(load: Load, write: Callable[..., Path]) -> None:
    lines = [line.replace(", ", ";") for line in HEADER + rows()]
    data = load("csv", write(lines), separator=";", categorical=["kind"], ignore=["size"])
    assert data.spec.facts["features"] == ("colour", "kind")
    assert data.spec.facts["categories"][1] == ("0", "1", "2", "3")


def test_missing_values(load: Load, write: Callable[..., Path], told: list[str]) -> None:
    lines = [*HEADER, ",?,1,yes", "NA, ,1,no", "3,red,1,", *rows()]
    data = load("csv", write(lines))
    assert np.isnan(data.inputs[:2, 0]).all()
    assert data.inputs[:2, 1].tolist() == [-1.0, -1.0]
    assert len(data.inputs) == 42
    assert any("1 of 43 rows" in line for line in told)
    own = load("csv", write([*HEADER, "-99,red,1,yes", *rows()]), na_values=[-99])
    assert np.isnan(own.inputs[0, 0])


def test_a_test_file_beside_the_first(load: Load, write: Callable[..., Path]) -> None:
    write([*HEADER, "1,green,0,no.", *rows(9, end=".")], "t.csv")
    data = load("csv", write(HEADER + rows()), test="t.csv")
    assert np.array_equal(data.splits.test, np.arange(40, 50))
    assert data.classes == ("no", "yes")
    assert data.inputs[40, 1] == -1  # green does not occur in the first file
    assert data.targets[40:43].tolist() == [0, 0, 1]


def test_the_columns_of_the_test_file_may_stand_in_another_order(load: Load, write: Callable[..., Path]) -> None:
    write(["bought,kind,colour,size", "yes,3,red,8"], "t.csv")
    data = load("csv", write(HEADER + rows()), test="t.csv")
    assert data.inputs[40].tolist() == [8.0, 1.0, 3.0]


MANY = [f"{i},w{i},{i % 2}" for i in range(120)]
BAD: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "empty": ([], {}, "must hold rows|at least one feature"),
    "only_header": (HEADER, {"header": True}, "only a header"),
    "one_column": (["a", "b"], {}, "at least one feature"),
    "ragged": (["1,2,a", "1,2,3,4,5,b"], {"header": False}, "readable table"),
    "many_words": (MANY, {}, "at most 100 words.*120 in column 'column_1'.*data.ignore"),
    "nothing_left": (HEADER + rows(), {"ignore": ["size", "colour", "kind"]}, "a feature beside the label"),
    "no_labels": ([f"{i},?" for i in range(9)], {"header": False}, "must have labels"),
    "absent_test": (HEADER + rows(), {"test": "absent.csv"}, r"absent\.csv"),
    "twice": (["a,a ,b", *["1,2,x", "1,2,y"] * 5], {}, "'a' twice"),
    "longer_than_header": (["a,b,c", *["1,2,3,x", "1,2,3,y"] * 9], {"header": True}, "readable table"),
    "no_word": (["a,b,c", *[f"{i},?,{i % 2}" for i in range(20)]], {"categorical": ["b"]}, "must hold a value"),
}


@pytest.mark.parametrize("case", BAD)
def test_tables_that_cannot_be_used(load: Load, write: Callable[..., Path], case: str) -> None:
    lines, options, message = BAD[case]
    with pytest.raises(DataError, match=message):
        load("csv", write(lines), **options)


def test_a_corrupt_gzip_is_named(load: Load, write: Callable[..., Path]) -> None:
    path = write(HEADER + rows(), "d.csv.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"d\.csv\.gz"):
        load("csv", path)


def test_a_test_file_that_does_not_fit(load: Load, write: Callable[..., Path]) -> None:
    path = write(HEADER + rows())
    write([*HEADER, "1,red,0,maybe"], "label.csv")
    with pytest.raises(DataError, match=r"must occur in the first file.*'maybe'"):
        load("csv", path, test="label.csv")
    write(["size,bought", "1,no"], "columns.csv")
    with pytest.raises(DataError, match=r"no 'colour'"):
        load("csv", path, test="columns.csv")
    write([*HEADER, "big,red,0,no"], "words.csv")
    with pytest.raises(DataError, match=r"'size'.*must hold numbers.*'big'"):
        load("csv", path, test="words.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "bougth"}, "Did you mean 'bought'"),
        ({"target": 9}, "index from -4 to 3"),
        ({"ignore": ["colr"]}, "Did you mean 'colour'"),
        ({"ignore": ["bought"]}, "must not be in"),
        ({"header": "maybe"}, "true, false or auto"),
        ({"separator": "tab"}, "one character"),
        ({"separatr": ","}, "Did you mean 'separator'"),
        ({"categorical": {"a": 1}}, "must be a list"),
    ],
    ids=lambda v: str(v)[:25],
)
def test_options_that_cannot_be(load: Load, write: Callable[..., Path], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load("csv", write(HEADER + rows()), **options)


@pytest.mark.shared
def test_adult_with_its_own_test_file(load: Load) -> None:
    if not (SHARED / "adult-train.csv.gz").exists():
        pytest.skip("needs ../shared/data/tabular/adult-train.csv.gz")
    data = load("csv", SHARED / "adult-train.csv.gz", test="adult-test.csv.gz")
    assert data.inputs.shape == (48_842, 14)
    assert data.classes == ("<=50K", ">50K")
    assert len(data.splits.test) == 16_281
    assert data.spec.facts["cardinalities"] == (0, 8, 0, 16, 0, 7, 14, 6, 5, 2, 0, 0, 0, 41)
    assert abs(data.targets[data.splits.test].mean() - 0.2362) < 1e-3
