"""Values change, comments stay."""

from __future__ import annotations

import pytest
import yaml

from autokd.config.template import study_template
from autokd.dashboard.commands.yaml_edit import changed, put, values_of
from autokd.errors import ConfigError

PATHS = [
    (("name",), "my study"), (("budget", "trials"), 7), (("budget", "wall_s"), 60), (("storage", "path"), "a: b # c"),
    (("hardware",), ["cpu_1_thread", "cpu_2_threads"]), (("objectives",), ["maximize accuracy", "minimize macs"]),
    (("teacher",), {"onnx": "t.onnx"}), (("training", "batch_size"), 500), (("reference_point", "accuracy"), 0.5),
    (("constraints",), ["macs <= 1 M", "params <= 9 k"]), (("space",), "C:\\spaces\\mine.yaml"), (("training", "lr"), 1e-5),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), PATHS, ids=lambda v: str(v))
def test_only_the_value_changes(path: tuple[str, ...], value: object) -> None:
    before = study_template()
    after = put(before, path, value)
    assert values_of(after) == changed(values_of(before), path, value) != values_of(before)
    comments = [
        line.partition("#")[2] for line in before.splitlines() if line.startswith(("#", "  #", "seed", "runner"))
    ]
    assert all(comment in after for comment in comments)  # what stands elsewhere is untouched


def test_a_comment_behind_the_value_stays() -> None:
    assert put("budget:\n  trials: 24   # begun\n", ("budget", "trials"), 9) == "budget:\n  trials: 9   # begun\n"


@pytest.mark.parametrize(
    ("text", "path", "after"),
    [
        ("a: 1\nb: {c: 2, d: 3}\n", ("b", "c"), "a: 1\nb: {d: 3}\n"),
        ("a: 1\nb:\n  c: 2  # two\n# last\n", ("b", "c"), "a: 1\n# last\n"),
        ("a: 1\nb:\n  c: 2\n  d: 3\n", ("b", "c"), "a: 1\nb:\n  d: 3\n"),
        ("a: 1\n", ("b", "c"), "a: 1\n"),
    ],
)
def test_a_key_goes_and_an_empty_block_with_it(text: str, path: tuple[str, ...], after: str) -> None:
    assert put(text, path, None) == after


@pytest.mark.parametrize(
    "text",
    [
        "base: &b {x: 1}\na: *b\n",
        '{"a": {"x": 1}}',
        "a:\n- 1\n- 2\n",
        "a: |\n  long\n  text\nb: 1\n",
        "a:\nb: 1\n",
        "a: !!str 3",
    ],
)
def test_odd_yaml_gets_the_value_too(text: str) -> None:
    after = put(text, ("a", "y"), "z")
    assert yaml.safe_load(after)["a"]["y"] == "z"
    assert {k: v for k, v in values_of(after).items() if k != "a"} == {
        k: v for k, v in values_of(text).items() if k != "a"
    }


@pytest.mark.parametrize("text", ["[1]", "", "a: [", "a: 1\na: 2"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        put(text, ("a",), 1)
