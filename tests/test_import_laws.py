"""Laws 1 and 2: imports run downward only, sisters never meet, and heavy packages stay where they belong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from house import House

from autokd.config.load import from_dict
from autokd.config.plan import make_plan
from autokd.storage.attributes import REFERENCE_KEY
from autokd.storage.ledger import Ledger
from autokd.study.study import Study
from autokd.trial import Measurement, Outcome, TrialRecord

HOUSE = House(Path(__file__).parents[1])
SISTERS = ("students", "data", "distillation", "compression", "hardware", "deployment", "teachers", "modalities")
"""They never import each other: they meet in ``evaluation``."""
ONLY_IN = {
    "ray": ("autokd/runners/ray_*.py",),
    "nni": ("autokd/samplers/nni*.py",),
    "streamlit": ("dashboard/*.py", "dashboard/views/*.py", "dashboard/components/*.py"),
    "typer": ("autokd/cli/*.py",),
}
DASHBOARD = {
    "views": ("components", "analysis", "commands", "source"),
    "components": ("analysis", "commands", "source"),
    "analysis": (),
    "commands": (),
}
"""What each room of the dashboard may import of the others; what pages see of a study is ``source``."""


def test_the_walk_sees_the_code() -> None:
    assert len(HOUSE.graph) > 150
    found = {i.target: i.at_import for i in HOUSE.graph["autokd.study.search"]}
    assert found["autokd.storage.ledger"] is True and found["autokd.evaluation.prepare"] is False
    assert HOUSE.room("autokd.study.search") == "autokd.study"
    assert {HOUSE.room(m) for m in HOUSE.files} == {HOUSE.room(r) for r in HOUSE.rooms}, (
        "every room is there, and no other"
    )


def test_rooms_import_only_rooms_below() -> None:
    """All imports count, those inside functions and under ``TYPE_CHECKING`` too."""
    assert HOUSE.upward() == []


def test_there_are_no_circles() -> None:
    assert HOUSE.circles() == []


@pytest.mark.parametrize("package", SISTERS)
def test_sister_packages_never_import_each_other(package: str) -> None:
    others = {f"autokd.{s}" for s in SISTERS if s != package}
    assert not {b for a, b in HOUSE.arrows if a == f"autokd.{package}"} & others


@pytest.mark.parametrize("package", ONLY_IN)
def test_heavy_packages_stay_in_their_files(package: str) -> None:
    where = {m for m, found in HOUSE.graph.items() if any(i.target.split(".")[0] == package for i in found)}
    files = {m: f.relative_to(HOUSE.root) for m, f in HOUSE.files.items()}
    allowed = {m for m, f in files.items() if any(f.match(p) for p in ONLY_IN[package])}
    assert where, f"nothing imports {package}: is the test still right?"
    assert where <= allowed


@pytest.mark.parametrize("floor", DASHBOARD)
def test_the_dashboard_s_rooms_import_only_what_they_may(floor: str) -> None:
    """A page is made of components, both of what analysis and commands say; nothing of it imports another page."""
    prefix = "autokd.dashboard."
    inside = [m for m in HOUSE.files if m.startswith(f"{prefix}{floor}.")]
    found = {t.removeprefix(prefix).split(".")[0] for m in inside for t in HOUSE.edges[m] if t.startswith(prefix)}
    beside = {(m, t) for m in inside for t in HOUSE.edges[m] if t.startswith(f"{prefix}{floor}.")}
    assert len(inside) >= 4
    assert found <= {floor, *DASHBOARD[floor]}
    assert not (beside if floor == "views" else set())


def test_what_the_pages_see_imports_no_page() -> None:
    found = {t.removeprefix("autokd.dashboard.") for t in HOUSE.edges["autokd.dashboard.source"]}
    assert not {t for t in found if t.split(".")[0] in DASHBOARD}


@pytest.mark.parametrize("package", ["hardware", "data", "config", "storage"])
def test_torch_is_not_needed_for_data_and_devices(package: str) -> None:
    assert not {
        m
        for m, found in HOUSE.graph.items()
        if m.startswith(f"autokd.{package}.") and any(i.target.split(".")[0] == "torch" for i in found)
    }


def test_the_agent_can_be_copied_to_a_board() -> None:
    allowed = set(sys.stdlib_module_names) | {"numpy", "onnxruntime"}
    inside = [m for m in HOUSE.files if m.startswith("autokd.hardware.agent.")]
    found = {i.target for m in inside for i in HOUSE.graph[m]}
    assert len(inside) >= 3
    assert {t.split(".")[0] for t in found if t not in inside} <= allowed


def test_no_file_and_no_function_is_two_ideas() -> None:
    assert HOUSE.longest_file()[0] <= 360, HOUSE.longest_file()
    assert HOUSE.longest_function()[0] <= 80, HOUSE.longest_function()


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
    study.ledger.set_attr(REFERENCE_KEY, [0.1, 1.0])
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
