"""The source of a person's own code, by content: what a result depends on that no name tells."""

from __future__ import annotations

import ast
import hashlib
import sys
from functools import cache
from pathlib import Path


@cache
def sha256_of(module: str) -> str:
    """SHA-256 of a loaded module's source and of the modules beside it that it imports, directly or not.

    Beside it means: in the same package, or, of a module that is in none, in the same folder. What was installed from elsewhere is
    not looked at. The first answer stays: it was given when the module was loaded.

    Args:
        module: Its dotted name; it must have been imported.
    """
    found: dict[str, bytes] = {}
    _collect(module, module.partition(".")[0], found)
    whole = hashlib.sha256()
    for name in sorted(found):
        whole.update(f"{name}\0{len(found[name])}\0".encode() + found[name])
    return whole.hexdigest()


def _collect(module: str, top: str, found: dict[str, bytes]) -> None:
    file = getattr(sys.modules.get(module), "__file__", None)
    if module in found or file is None:
        return
    path = Path(file)
    found[module] = path.read_bytes()
    if path.suffix != ".py":
        return
    root = Path(str(getattr(sys.modules[top], "__file__", file))).parent
    for name in _imports(found[module], module, path.name == "__init__.py"):
        other = getattr(sys.modules.get(name), "__file__", None)
        inside = name.partition(".")[0] == top
        # a package's modules, or the neighbours of a lone file; a folder of installed packages is nobody's own
        beside = (
            "." not in module and "site-packages" not in root.parts and root in Path(other).parents if other else False
        )
        if other and (inside or beside):
            _collect(name, top, found)


def _imports(text: bytes, module: str, package: bool) -> set[str]:
    """Names of all modules that a source may import; of ``from a import b`` both ``a`` and ``a.b``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")
            above = above[: len(above) - node.level + package] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names & set(sys.modules)
