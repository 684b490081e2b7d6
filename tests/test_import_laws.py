"""Laws 1 and 2: imports run downward only, sisters never meet, and heavy packages stay where they belong."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.storage.ledger import Ledger
from autokd.study.study import Study
from autokd.trial import Measurement, Outcome, TrialRecord

ROOT = Path(__file__).parents[1]
SISTERS = ("students", "data", "distillation", "compression", "hardware", "deployment", "teachers")
ONLY_IN = {
    "ray": ("autokd/runners/ray_*.py",),
    "nni": ("autokd/samplers/nni*.py",),
    "streamlit": ("dashboard/*.py", "dashboard/**/*.py"),
    "typer": ("autokd/cli/*.py",),
}


@dataclass(frozen=True)
class Import:
    """One imported module, and whether it is loaded together with its importer."""

    target: str
    line: int
    at_import: bool


def module_of(file: Path) -> str:
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    if parts[0] in ("dashboard", "search_spaces", "hardware_profiles"):  # packaged below autokd
        parts.insert(0, "autokd")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(f): f for folder in ("autokd", "dashboard") for f in sorted((ROOT / folder).rglob("*.py"))}


def imports(file: Path, known: frozenset[str]) -> Iterator[Import]:
    """Every import of a file; ``from package import module`` counts as the module."""

    def walk(node: ast.AST, at_import: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    yield from walk(other, at_import)
                continue
            if isinstance(child, ast.Import):
                for name in child.names:
                    yield Import(name.name, child.lineno, at_import)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{file}:{child.lineno}: imports must be absolute"
                for name in child.names:
                    below = f"{child.module}.{name.name}"
                    yield Import(below if below in known else str(child.module), child.lineno, at_import)
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, at_import and not inside)

    yield from walk(ast.parse(file.read_text(encoding="utf-8"), str(file)), True)


GRAPH = {module: list(imports(file, frozenset(FILES))) for module, file in FILES.items()}


def test_the_walk_sees_the_code() -> None:
    assert len(GRAPH) > 50
    assert {i.target for i in GRAPH["autokd.study.search"]} >= {"autokd.storage.ledger", "autokd.evaluation.prepare"}
    assert next(i for i in GRAPH["autokd.study.search"] if i.target == "autokd.evaluation.prepare").at_import is False


@pytest.mark.parametrize("package", SISTERS)
def test_sister_packages_never_import_each_other(package: str) -> None:
    others = tuple(f"autokd.{s}" for s in SISTERS if s != package)
    upward = ("autokd.evaluation", "autokd.runners", "autokd.samplers", "autokd.study", "autokd.api", "autokd.cli")
    wrong = [
        f"{FILES[module]}:{i.line}: {i.target}"
        for module, found in GRAPH.items()
        if module.startswith(f"autokd.{package}.") or module == f"autokd.{package}"
        for i in found
        if any(i.target == o or i.target.startswith(f"{o}.") for o in (*others, *upward))
    ]
    assert not wrong


def test_there_are_no_import_circles() -> None:
    edges = {m: sorted({i.target for i in found if i.at_import and i.target in FILES}) for m, found in GRAPH.items()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for below in edges[module]:
            visit(below, (*path, module))
        done.add(module)

    for module in edges:
        visit(module, ())
    assert done == set(FILES)


@pytest.mark.parametrize("package", ONLY_IN)
def test_heavy_packages_stay_in_their_files(package: str) -> None:
    where = {m for m, found in GRAPH.items() if any(i.target.split(".")[0] == package for i in found)}
    allowed = {m for m, f in FILES.items() if any(f.relative_to(ROOT).match(p) for p in ONLY_IN[package])}
    assert where, f"nothing imports {package}: is the test still right?"
    assert where <= allowed


@pytest.mark.parametrize("package", ["hardware", "data"])
def test_torch_is_not_needed_for_data_and_devices(package: str) -> None:
    wrong = [
        m
        for m, found in GRAPH.items()
        if m.startswith(f"autokd.{package}") and any(i.target.split(".")[0] == "torch" for i in found)
    ]
    assert not wrong


def test_the_latency_worker_can_be_copied_to_a_board() -> None:
    allowed = set(sys.stdlib_module_names) | {"numpy", "onnxruntime"}
    assert {i.target.split(".")[0] for i in GRAPH["autokd.hardware.latency_worker"]} <= allowed


# ------------------------------------------------------------------------------------ what a command loads


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with one study of one measured trial."""
    folder = tmp_path_factory.mktemp("laws")
    plan = make_plan(
        from_dict(
            {
                "name": "tiny",
                "data": {"source": "digits"},
                "teacher": {"family": "mobilenet"},
                "space": "digits",
                "hardware": ["cpu_1_thread"],
                "objectives": ["maximize accuracy", "minimize latency_ms"],
                "runner": "ray",
            }
        )
    )
    study = Study.create(plan, f"sqlite:///{folder}/autokd.db")
    measured = (
        Measurement("accuracy", 0.9, "ratio", spread=0.02),
        Measurement("latency_ms", 0.02, "ms", "cpu_1_thread", 0.01),
    )
    study.ledger.set_attr("autokd:reference_point", [0.1, 1.0])
    ledger: Ledger = study.ledger
    ledger.add(TrialRecord(Outcome.MEASURED, {"stem_width": 8}, measured), plan)
    return folder


SCRIPT = """
import json, sys
heavy = ("torch", "ray", "nni", "streamlit", "onnxruntime", "onnx")
def loaded(): return [m for m in heavy if m in sys.modules]
found = {}
import autokd
found["import autokd"] = loaded() + [m for m in ("optuna", "pandas", "sqlalchemy") if m in sys.modules]
from autokd.cli.main import app
for command in json.loads(sys.argv[1]):
    try:
        app(command, standalone_mode=False)
    except SystemExit as end:
        assert not end.code, (command, end.code)
    found[" ".join(command)] = loaded()
sys.stderr.write("\\nLOADED " + json.dumps(found))
"""


def test_commands_that_only_read_load_neither_torch_nor_ray(tiny: Path) -> None:
    commands = [
        ["--help"],
        ["search", "--help"],
        ["status", "tiny"],
        ["front", "tiny"],
        ["front", "tiny", "--json"],
        ["show", "tiny", "0"],
        ["list", "studies"],
        ["list", "spaces"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)], cwd=tiny, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stderr.rpartition("LOADED ")[2])
    assert len(found) == len(commands) + 1
    assert found == {command: [] for command in found}
    assert "90.0%" in done.stdout


def test_what_the_dashboard_reads_with_loads_neither_torch_nor_ray(tiny: Path) -> None:
    script = "import sys, autokd.dashboard.app; print([m for m in ('torch', 'ray') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=tiny, capture_output=True, text=True, timeout=240)
    assert done.stdout.strip() == "[]", done.stderr
