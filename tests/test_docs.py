"""Every YAML shipped loads, and what the documents show exists: commands, options, Python that compiles."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main

from autokd import registry
from autokd.cli.main import app
from autokd.config import yaml_file
from autokd.config.load import from_dict, from_yaml
from autokd.config.plan import Plan, make_plan
from autokd.config.space import load_space
from autokd.hardware.profile import load_profile

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")])
STUDIES = [ROOT / "autokd" / "config" / "study_template.yaml", *sorted((ROOT / "examples").glob("**/*.yaml"))]


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    language: str
    body: str
    line: int


def blocks_of(text: str, *languages: str) -> Iterator[Block]:
    """The fenced code blocks of a Markdown text in one of the languages, in order; none is no error."""
    fence, language, body, first = "", "", [], 0
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r"^ {0,3}(`{3,}|~{3,})\s*(\w*)", line)
        if not fence and found:
            fence, language, body, first = found[1], found[2], [], number + 1
        elif fence and found and found[1].startswith(fence) and not found[2]:
            if language in languages:
                yield Block(language, "\n".join(body) + "\n", first)
            fence = ""
        elif fence:
            body.append(line)


def shown(*languages: str) -> list[object]:
    """The blocks of all documents as test parameters."""
    return [
        pytest.param(block, id=f"{document.name}:{block.line}")
        for document in DOCUMENTS
        for block in blocks_of(document.read_text(encoding="utf-8"), *languages)
    ]


def commands_in(script: str) -> Iterator[list[str]]:
    """The ``autokd`` commands of a shell script, as words."""
    for line in re.sub(r"\\\n", " ", script).splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words = words[1:]
        if words and Path(words[0]).name == "autokd":
            yield words[1:]


# ----------------------------------------------------------------------------------------------- the extractor


def test_the_extractor_finds_blocks_and_their_lines() -> None:
    text = "a\n```python\nx = 1\n\ny = 2\n```\n~~~yaml\na: 1\n~~~\n```\nplain\n```\n````bash\n```\nls\n```\n````\n```python\nopen"
    assert list(blocks_of(text, "python", "yaml", "bash")) == [
        Block("python", "x = 1\n\ny = 2\n", 3),
        Block("yaml", "a: 1\n", 8),
        Block("bash", "```\nls\n```\n", 14),
    ]
    assert list(blocks_of(text, "rust")) == []
    assert list(blocks_of("", "python")) == []


def test_the_extractor_finds_commands() -> None:
    script = "make demo\nA=1 autokd front s  # why\n.venv/bin/autokd export s \\\n  -o s.onnx\necho autokd\n"
    assert list(commands_in(script)) == [["front", "s"], ["export", "s", "-o", "s.onnx"]]


# ------------------------------------------------------------------------------------------------ shipped YAML


@pytest.mark.parametrize("file", STUDIES, ids=lambda f: f.name)
def test_every_shipped_study_plans(file: Path) -> None:
    plan = make_plan(from_yaml(file))
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("file", sorted((ROOT / "search_spaces").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_shipped_space_fits_a_study(file: Path) -> None:
    raw, _ = yaml_file.read(STUDIES[0])
    assert registry.yaml_file("spaces", file.stem) == file
    assert make_plan(from_dict(raw | {"space": file.stem})).space == load_space(file.stem)


@pytest.mark.parametrize("file", sorted((ROOT / "hardware_profiles").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_shipped_profile_loads_and_says_what_it_is(file: Path) -> None:
    assert load_profile(file.stem).name == file.stem
    summary = {row.name: row.summary for row in registry.listing("profiles")}[file.stem]
    assert len(summary) > 20


def test_no_yaml_is_left_out() -> None:
    places = ("search_spaces", "hardware_profiles", "examples", "autokd")
    tested = {*STUDIES, *(f for p in places[:2] for f in (ROOT / p).glob("*.yaml"))}
    assert {f for p in places for f in (ROOT / p).rglob("*.y*ml")} == tested


# --------------------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize("block", shown("python"))
def test_python_compiles(block: Block) -> None:
    compile(block.body, "document", "exec")


@pytest.mark.parametrize("block", shown("yaml"))
def test_yaml_is_valid(block: Block) -> None:
    assert yaml_file.parse(block.body, "document")[0] is not None


@pytest.mark.parametrize("block", shown("bash", "sh", "console", "shell"))
def test_commands_and_options_exist(block: Block) -> None:
    group: Any = typer.main.get_command(app)
    for words in commands_in(block.body):
        name = words[0]
        if name.startswith("-"):
            continue
        assert name in group.commands, f"autokd {name}"
        options = {o for p in group.commands[name].params for o in p.opts} | {"--help"}
        given = {w.split("=")[0] for w in words[1:] if re.match(r"--?[a-z]", w)}
        assert given <= options, f"autokd {' '.join(words)}"
