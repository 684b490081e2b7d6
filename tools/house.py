"""The shape of the house: who imports whom, by module and by room, and how long files and functions are.

``python tools/house.py`` (``make shape``) prints the table of ``docs/design.md``; ``tests/test_import_laws.py`` holds the laws.
All imports count: those inside functions and under ``TYPE_CHECKING`` too.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOMS = (
    "autokd.version",
    "autokd.formatting",
    "autokd.pareto",
    "autokd.trial",
    "autokd.errors",
    "autokd.effort",
    "autokd.protocols",
    "autokd.files",
    "autokd.registry",
    "autokd.modalities",
    "autokd.compression",
    "autokd.distillation",
    "autokd.students",
    "autokd.teachers",
    "autokd.data",
    "autokd.deployment",
    "autokd.hardware",
    "autokd.search_spaces",
    "autokd.hardware_profiles",
    "autokd.config",
    "autokd.storage",
    "autokd.samplers",
    "autokd.evaluation",
    "autokd.strategies",
    "autokd.figures",
    "autokd.runners",
    "autokd.study",
    "autokd.api",
    "autokd",
    "autokd.testing",
    "autokd.cli",
    "autokd.dashboard",
)
"""From the ground to the roof: a room imports only rooms below it."""
AT_ROOT = ("dashboard", "search_spaces", "hardware_profiles")
"""Folders at the repository's root that are packaged below ``autokd``."""


@dataclass(frozen=True)
class Import:
    """One imported module, and whether it is loaded together with its importer."""

    target: str
    line: int
    at_import: bool


@dataclass(frozen=True)
class House:
    """Every module of the package, by name."""

    root: Path
    rooms: tuple[str, ...] = ROOMS

    @cached_property
    def files(self) -> dict[str, Path]:
        found = {}
        for folder in ("autokd", *AT_ROOT):
            for file in sorted((self.root / folder).rglob("*.py")):
                found[self._module(file)] = file
        return found

    def _module(self, file: Path) -> str:
        parts = list(file.relative_to(self.root).with_suffix("").parts)
        if parts[0] in AT_ROOT:
            parts.insert(0, "autokd")
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def graph(self) -> dict[str, list[Import]]:
        """The imports of every module; ``from package import module`` counts as the module."""
        return {module: list(self._imports(module, file)) for module, file in self.files.items()}

    def _imports(self, module: str, file: Path) -> Iterator[Import]:
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]

        def walk(node: ast.AST, at_import: bool) -> Iterator[Import]:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.Import):
                    for name in child.names:
                        yield Import(name.name, child.lineno, at_import)
                elif isinstance(child, ast.ImportFrom):
                    above = package.split(".")[: len(package.split(".")) - max(0, child.level - 1)]
                    base = (
                        ".".join([*above, *([child.module] if child.module else [])]) if child.level else child.module
                    )
                    for name in child.names:
                        below = f"{base}.{name.name}"
                        yield Import(below if below in self.files else str(base), child.lineno, at_import)
                typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, at_import and not inside and not typing_only)

        yield from walk(ast.parse(file.read_text(encoding="utf-8"), str(file)), True)

    @cached_property
    def edges(self) -> dict[str, set[str]]:
        """Our modules that each of our modules imports."""
        return {m: {i.target for i in found if i.target in self.files} - {m} for m, found in self.graph.items()}

    def room(self, module: str) -> str:
        """The room of a module: the longest name in the list that it is, or lies in."""
        return max((r for r in self.rooms if module == r or module.startswith(f"{r}.")), key=len, default="")

    @cached_property
    def arrows(self) -> set[tuple[str, str]]:
        """Imports between rooms."""
        pairs = {(self.room(m), self.room(t)) for m, targets in self.edges.items() for t in targets}
        return {(a, b) for a, b in pairs if a != b}

    def upward(self) -> list[str]:
        """Imports of a room that is not below, with their places."""
        height = {room: n for n, room in enumerate(self.rooms)}
        return [
            f"{self.files[m].relative_to(self.root)}:{i.line}: {self.room(m)} imports {i.target}"
            for m, found in self.graph.items()
            for i in found
            if i.target in self.files and height[self.room(i.target)] > height[self.room(m)]
        ]

    def circles(self) -> list[list[str]]:
        """Modules that import each other, however far around; a package's face does not count as its modules' importer."""
        faces = {m for m, f in self.files.items() if f.name == "__init__.py"}
        return [
            sorted(c) for c in components({m: t - faces for m, t in self.edges.items() if m not in faces}) if len(c) > 1
        ]

    def floors(self) -> int:
        """Rooms on the longest way down, counting from 1."""
        below: dict[str, set[str]] = {}
        for a, b in self.arrows:
            below.setdefault(a, set()).add(b)
        height: dict[str, int] = {}

        def high(room: str, path: tuple[str, ...] = ()) -> int:
            if room in path:
                return 0
            if room not in height:
                height[room] = 1 + max((high(b, (*path, room)) for b in below.get(room, ())), default=0)
            return height[room]

        return max(high(room) for room in {r for pair in self.arrows for r in pair})

    def longest_file(self) -> tuple[int, str]:
        return max(
            (len(f.read_text(encoding="utf-8").splitlines()), str(f.relative_to(self.root)))
            for f in self.files.values()
        )

    def longest_function(self) -> tuple[int, str]:
        found = []
        for file in self.files.values():
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    lines = (node.end_lineno or node.lineno) - node.lineno + 1
                    found.append((lines, f"{file.relative_to(self.root)}: {node.name}"))
        return max(found)


def components(edges: Mapping[str, set[str]]) -> list[set[str]]:
    """Strongly connected components (R. Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = set()
            while node not in component:
                component.add(stack.pop())
            found.append(component)

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found


def shape(house: House) -> list[tuple[str, str]]:
    """The rows of the table in ``docs/design.md``."""
    loose = [f for f in (house.root / "autokd").glob("*.py") if f.name != "__init__.py"]
    flat = [f for f in (house.root / "dashboard").glob("*.py") if f.name != "__init__.py"]
    lines, file = house.longest_file()
    length, function = house.longest_function()
    used = {r for pair in house.arrows for r in pair}
    return [
        ("rooms", str(len(used))),
        ("floors", str(house.floors())),
        ("imports between rooms", str(len(house.arrows))),
        ("imports running up", str(len(house.upward()))),
        ("circles between modules", str(len(house.circles()))),
        ("modules loose in `autokd/`", str(len(loose))),
        ("modules loose in `dashboard/`", str(len(flat))),
        ("longest file", f"{lines} ({file})"),
        ("longest function", f"{length} ({function})"),
    ]


def by_package(root: Path) -> House:
    """A house whose rooms nobody has listed: a room is a package below ``autokd``, or a module that lies loose in it."""
    modules = House(root, ("autokd",)).files
    return House(root, tuple(sorted({".".join(m.split(".")[:2]) for m in modules})))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--beside", type=Path, help="another checkout, its rooms by package, in a column of its own")
    given = parser.parse_args()
    house = House(given.root)
    other = dict(shape(by_package(given.beside))) if given.beside else {}
    print("| | before | now |\n|---|---|---|" if other else "| | |\n|---|---|")
    for name, value in shape(house):
        was = "–" if name == "imports running up" else other.get(name)  # nobody had said which way is up
        print(f"| {name} | {was} | {value} |" if other else f"| {name} | {value} |")
    if not other:
        print("\n| room, from the ground to the roof | imports |\n|---|---|")
        for room in house.rooms:
            below = sorted(b.removeprefix("autokd.") for a, b in house.arrows if a == room)
            print(f"| {room} | {', '.join(below) or '–'} |")
    for line in [*house.upward(), *(" <-> ".join(c) for c in house.circles())]:
        print(line)


if __name__ == "__main__":
    main()
