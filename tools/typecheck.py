"""``make check``'s mypy: it sees ``dashboard/`` and the other folders at the root as the parts of ``autokd`` that they are.

mypy follows folders, not setuptools' ``package-dir``. So it is given a tree of links in which every folder is where its modules'
names say, below ``.mypy_cache``; nothing is copied or installed, and errors name the files by their real paths.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from house import AT_ROOT

ROOT = Path(__file__).resolve().parents[1]


def lay(tree: Path) -> None:
    """Links to every part of the package, in one folder ``autokd``."""
    shutil.rmtree(tree, ignore_errors=True)
    package = tree / "autokd"
    package.mkdir(parents=True)
    for part in [*(ROOT / "autokd").iterdir(), *(ROOT / name for name in AT_ROOT)]:
        if part.suffix in ("", ".py", ".typed") and part.name != "__pycache__":
            (package / part.name).symlink_to(part, target_is_directory=part.is_dir())


def main() -> int:
    tree = ROOT / ".mypy_cache" / "tree"
    lay(tree)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(ROOT / "pyproject.toml"),
        "--cache-dir",
        "..",
        "-p",
        "autokd",
    ]
    done = subprocess.run([*command, *sys.argv[1:]], cwd=tree, capture_output=True, text=True)
    for name in AT_ROOT:
        done.stdout = done.stdout.replace(f"autokd/{name}/", f"{name}/")
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
