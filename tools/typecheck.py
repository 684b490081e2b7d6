"""``make check``'s mypy: it sees ``dashboard/`` and the other folders at the root as the parts of ``autokd`` that they are.

mypy follows folders, not setuptools' ``package-dir``. So it is given a tree of links in which every folder is where its modules'
names say, below ``.mypy_cache``; nothing is copied or installed, and errors name the files by their real paths. The scripts of
``benchmarks/`` and ``tools/`` and what all tests share are looked at too; ``--tests`` adds every test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from house import AT_ROOT

ROOT = Path(__file__).resolve().parents[1]
TREE = ROOT / ".mypy_cache" / "tree"
SCRIPTS = ("benchmarks", "tools")
"""Folders of modules that import each other by their bare names; what lies in a folder below is ``<folder>.<name>``."""


def lay(tree: Path) -> None:
    """Links to every part of the package, in one folder ``autokd``, and to the tests beside it."""
    shutil.rmtree(tree, ignore_errors=True)
    package = tree / "autokd"
    package.mkdir(parents=True)
    for part in [*(ROOT / "autokd").iterdir(), *(ROOT / name for name in AT_ROOT)]:
        if part.suffix in ("", ".py", ".typed") and part.name != "__pycache__":
            (package / part.name).symlink_to(part, target_is_directory=part.is_dir())
    (tree / "tests").symlink_to(ROOT / "tests", target_is_directory=True)


def beside(every_test: bool) -> Iterator[str]:
    """Names of the modules that are checked beside the package."""
    for folder in SCRIPTS:
        for script in sorted((ROOT / folder).rglob("*.py")):
            yield ".".join(script.relative_to(ROOT / folder).with_suffix("").parts)
    tests = ROOT / "tests"
    for file in sorted(tests.rglob("*.py")):
        inside = file.relative_to(ROOT).with_suffix("").parts
        if file.parent == tests and not file.name.startswith(("test_", "conftest")):
            yield file.stem  # tests import what they share by its bare name
        elif every_test or not file.name.startswith("test_"):
            yield ".".join(inside)


def main() -> int:
    lay(TREE)
    given = sys.argv[1:]
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", ".."]
    command += ["-p", "autokd", *(word for name in beside("--tests" in given) for word in ("-m", name))]
    command += [word for word in given if word != "--tests"]
    paths = os.pathsep.join(str(ROOT / folder) for folder in (*SCRIPTS, "tests"))
    done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, env=os.environ | {"MYPYPATH": paths})
    found = done.stdout.replace(f"{ROOT}{os.sep}", "")
    for name in AT_ROOT:
        found = found.replace(f"autokd/{name}/", f"{name}/")
    sys.stdout.write(found)
    sys.stderr.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
