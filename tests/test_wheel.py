"""The wheel, installed in an empty environment without the repository, initialises, searches and serves."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import venv
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from house import AT_ROOT

ROOT = Path(__file__).parents[1]

pytest.importorskip("build", reason="the wheel is made by `build`: pip install -e '.[dev]'")
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, and an empty folder to work in."""

    scripts: Path
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        known = {k: v for k, v in os.environ.items() if not k.startswith("AUTOKD_") and k != "PYTHONPATH"}
        return known | {"OMP_NUM_THREADS": "1", "VIRTUAL_ENV": str(self.scripts.parent)}

    def run(self, name: str, *words: str) -> str:
        """What a program of the environment prints."""
        command = [str(self.scripts / name), *words]
        ran = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=600
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made as a release is: the source distribution first, the wheel from it alone."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel alone in an environment of its own; what it depends on is that of the running one.

    A plain line in a ``.pth`` file puts a folder on the path and does not read the ``.pth`` files in there: the running
    environment's editable autokd stays unseen.
    """
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False)
    scripts = place / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    ran = subprocess.run(install, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(subprocess.check_output([str(python), "-c", where], text=True).strip())
    others = [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]
    (own / "dependencies.pth").write_text("\n".join(others) + "\n")
    return Installed(scripts, tmp_path_factory.mktemp("work"))


def test_it_holds_every_file_of_the_package(wheel: Path) -> None:
    files = [f for room in ("autokd", *AT_ROOT) for f in (ROOT / room).rglob("*.*") if "__pycache__" not in f.parts]
    names = [f.relative_to(ROOT).as_posix() for f in files if f.suffix in (".py", ".yaml", ".js", ".typed")]
    wanted = {f"autokd/{name}" if name.split("/")[0] in AT_ROOT else name for name in names}
    with zipfile.ZipFile(wheel) as packed:
        inside = {name for name in packed.namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert wanted - inside == set()
    assert {name for name in inside if name.startswith("autokd/") and not name.endswith(".py")} <= wanted
    assert {"autokd/py.typed", "autokd/config/study_template.yaml", "autokd/search_spaces/digits.yaml"} <= inside
    assert {"autokd/hardware_profiles/cpu_1_thread.yaml", "autokd/dashboard/components/chart.js"} <= inside


def test_nothing_of_the_repository_is_seen(installed: Installed) -> None:
    code = "import autokd, autokd.dashboard, autokd.search_spaces, importlib.metadata as m, json; print(json.dumps(["
    code += "autokd.__file__, autokd.dashboard.__file__, autokd.search_spaces.__file__, autokd.__version__,"
    code += "m.version('autokd')]))"
    *files, version, of_metadata = json.loads(installed.run("python", "-c", code))
    assert all(Path(file).is_relative_to(installed.scripts.parent) for file in files), files
    assert version == of_metadata
    rows = json.loads(installed.run("autokd", "list", "profiles", "--json"))
    assert len(rows) > 3 and all(Path(row["source"]).is_relative_to(installed.scripts.parent) for row in rows)


def test_it_initialises_searches_and_serves(installed: Installed) -> None:
    installed.run("autokd", "init", "study.yaml")
    short = ("training.epochs=2", "training.views=1", "budget.trials=2", "concurrency=1")
    loose = ("runner=local",)
    words = [word for change in (*short, *loose) for word in ("--set", change)]
    installed.run("autokd", "search", "study.yaml", *words)
    found = json.loads(installed.run("autokd", "front", "digits", "--json"))
    assert found["members"]
    artefacts = [Path(m["artifact"]) for m in found["members"]]
    assert all(file.is_relative_to(installed.folder) and file.is_file() for file in artefacts)
    installed.run("autokd", "export", "digits", "-o", "student.onnx")
    assert (installed.folder / "student.receipt.json").is_file()
    page = "from pathlib import Path; import autokd.dashboard; from streamlit.testing.v1 import AppTest\n"
    page += "app = AppTest.from_file(str(Path(autokd.dashboard.__file__).with_name('app.py')), default_timeout=120)\n"
    page += "assert not app.run().exception; print(app.title[0].value)"
    assert "digits" in installed.run("python", "-c", page)
    answers_and_ends(installed)


def answers_and_ends(installed: Installed) -> None:
    """The dashboard answers on loopback, its health and its page, and ends when it is asked to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(installed.scripts / "autokd"), "dashboard", "digits", "--port", str(port)]
    log = installed.folder / "dashboard.log"
    with log.open("w") as stderr:
        server = subprocess.Popen(
            command, cwd=installed.folder, env=installed.environment, stdout=stderr, stderr=subprocess.STDOUT
        )
        try:
            address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 240
            while time.monotonic() < deadline and server.poll() is None:
                with suppress(OSError), urllib.request.urlopen(f"{address}/_stcore/health", timeout=1) as health:
                    assert health.status == 200
                    break
                time.sleep(0.2)
            with urllib.request.urlopen(address, timeout=30) as page:
                assert page.status == 200 and b"<html" in page.read()
        finally:
            server.terminate()
            server.wait(timeout=60)
    assert "Traceback" not in log.read_text()
