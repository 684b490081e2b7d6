"""The walk in CONTRIBUTING does what it says: each thing is one file and one entry point, and keeps its contract."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from support import environment

from autokd import registry

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHAPTER = "Add a thing in one file"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"# (\S+\.py)\n")


@dataclass(frozen=True)
class Thing:
    """A section of the walk: its file, its entry point, its test."""

    title: str
    body: str

    def blocks(self, language: str) -> list[str]:
        return [body for found, body in BLOCK.findall(self.body) if found == language]

    @cached_property
    def files(self) -> dict[str, str]:
        """Python files by the names in their first lines."""
        found = {match[1]: body for body in self.blocks("python") if (match := NAME.match(body))}
        assert len(found) == len(self.blocks("python")) == 2, f"{self.title}: one file and one test, both named"
        return found

    @cached_property
    def points(self) -> list[tuple[str, str, str]]:
        """Group, name and value of its entry points."""
        (block,) = self.blocks("toml")
        groups = tomllib.loads(block)["project"]["entry-points"]
        return [(group, name, value) for group, named in groups.items() for name, value in named.items()]


def chapter(title: str) -> str:
    """The text below a heading of the second level."""
    return next(part.partition("\n")[2] for part in re.split(r"^## ", TEXT, flags=re.M) if part.startswith(title))


THINGS = [Thing(*part.split("\n", 1)) for part in re.split(r"^### ", chapter(CHAPTER), flags=re.M)[1:]]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All things of the walk as one installed package: its files, and the entry points in its ``dist-info``."""
    folder = tmp_path_factory.mktemp("walk")
    (folder / "my_things").mkdir()
    (folder / "my_things" / "__init__.py").write_text('"""Things of my own."""\n')
    groups: dict[str, list[str]] = {}
    for thing in THINGS:
        for name, body in thing.files.items():
            (folder / name).write_text(body)
        for group, name, value in thing.points:
            groups.setdefault(group, []).append(f"{name} = {value}")
    info = folder / "my_things-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-things\nVersion: 1.0\n")
    lines = [line for group, names in groups.items() for line in (f"[{group}]", *names, "")]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


def test_the_walk_is_there() -> None:
    assert len(THINGS) >= 8
    groups = [group.removeprefix("autokd.") for thing in THINGS for group, *_ in thing.points]
    assert set(groups) <= set(registry.KINDS)
    assert all(len(thing.points) == 1 for thing in THINGS)


def test_every_thing_keeps_its_contract_and_is_listed(package: Path) -> None:
    """In a process of its own: what is registered is read once."""
    show = [f"{group.removeprefix('autokd.')} {name}" for thing in THINGS for group, name, _ in thing.points]
    (package / "test_listed.py").write_text(
        "import pytest\nfrom autokd import registry\n\n\n"
        f"@pytest.mark.parametrize('asked', {show!r})\n"
        "def test_it_is_listed_with_a_summary(asked):\n"
        "    kind, name = asked.split()\n"
        "    (row,) = [row for row in registry.listing(kind) if row.name == name]\n"
        "    assert len(row.summary) > 20 and row.source.startswith('my_things.')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(package), str(package)]
    ran = subprocess.run(
        command,
        cwd=package,
        env=environment(package, PYTHONPATH=str(package)),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed and int(passed[1]) >= 2 * len(THINGS)


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.title)
def test_a_file_of_the_walk_is_of_the_house_s_style(thing: Thing, tmp_path: Path) -> None:
    for name, body in thing.files.items():
        file = tmp_path / Path(name).name
        file.write_text(body)
        config = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
        for words in (["check", "--ignore", "I001"], ["format", "--check"]):
            command = [sys.executable, "-m", "ruff", *words, *config, str(file)]
            ran = subprocess.run(command, capture_output=True, text=True)
            assert ran.returncode == 0, f"{name}\n{ran.stdout}{ran.stderr}"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_the_rooms_of_the_map_are_there() -> None:
    for row in re.findall(r"^\| (`.*?) \|", chapter("Find your room"), flags=re.M):
        for room in re.findall(r"`(\w+)`", row):
            places = [ROOT / room, ROOT / "autokd" / room, ROOT / "autokd" / f"{room}.py"]
            assert any(place.exists() for place in places), room
