"""YAML as data: numbers as people write them, lines in errors, nothing constructed but plain values."""

from __future__ import annotations

from pathlib import Path

import pytest

from autokd.config import yaml_file
from autokd.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("5e4", 5e4),
        ("-2.5E+2", -250.0),
        (".5e1", 5.0),
        ("1.0", 1.0),
        ("12", 12),
        ("e5", "e5"),
        ("1e", "1e"),
        ("none", "none"),
        ("null", None),
        ("true", True),
        ("optuna:tpe", "optuna:tpe"),
        ("[1, 2e-1]", [1, 0.2]),
        ("2024-05-01", "2024-05-01"),
    ],
)
def test_scalar_reads_what_people_write(text: str, value: object) -> None:
    found = yaml_file.scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_lines_are_those_of_the_keys() -> None:
    value, lines = yaml_file.parse("a: 1\n\nb:\n  c: [x,\n    y]\n  d: {e: 2}\n", "f.yaml")
    assert value == {"a": 1, "b": {"c": ["x", "y"], "d": {"e": 2}}}
    assert [lines[p] for p in [("a",), ("b",), ("b", "c"), ("b", "c", 1), ("b", "d", "e")]] == [1, 3, 4, 5, 6]


def test_line_of_falls_back_to_the_nearest_ancestor() -> None:
    _, lines = yaml_file.parse("a:\n  b: 1\n", "f.yaml")
    assert yaml_file.line_of(("a", "b", "missing"), lines) == 2
    assert yaml_file.line_of(("a", "missing"), lines) == 1
    assert yaml_file.line_of(("missing",), lines) is None


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "twice"),
        ("x:\n  a: 1\n  a: 2\n", 3, "twice"),
        ("a: [1, 2\nb: 3\n", 2, ""),
        ("a: 1\n\tb: 2\n", 2, ""),
        ("a: !!python/object/apply:os.system ['true']\n", 1, "constructor"),
        ("? [1, 2]\n: 3\n", 1, "plain words"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_line(text: str, line: int, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        yaml_file.parse(text, "study.yaml")
    assert str(caught.value).startswith(f"study.yaml:{line}: ")
    assert word in str(caught.value)


def test_an_empty_text_is_none() -> None:
    assert yaml_file.parse("# nothing\n", "f.yaml")[0] is None


def test_read_refuses_what_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must exist"):
        yaml_file.read(tmp_path / "none.yaml")
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ConfigError, match=r"b\.yaml"):
        yaml_file.read(binary)
    with pytest.raises(ConfigError, match="readable"):
        yaml_file.read(tmp_path)
