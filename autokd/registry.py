"""Names to implementations, through entry points: ours load exactly as a stranger's do."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autokd.errors import ConfigError, nearest
from autokd.files import source_sha256

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

KINDS = (
    "families",
    "modalities",
    "data",
    "teachers",
    "methods",
    "schemes",
    "pruners",
    "samplers",
    "strategies",
    "runners",
    "spaces",
    "profiles",
    "devices",
)
FILE_KINDS = ("spaces", "profiles")


@dataclass(frozen=True)
class Registered:
    """One registered thing, as ``autokd list`` shows it."""

    name: str
    kind: str
    summary: str
    source: str


@cache
def _points(kind: str) -> dict[str, EntryPoint]:
    # a third of the time that `autokd --help` takes, where nothing is looked up
    from importlib.metadata import entry_points

    return {p.name: p for p in entry_points(group=f"autokd.{kind}")}


@cache
def _files(kind: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for point in _points(kind).values():
        folder = Path(str(importlib.import_module(point.value).__file__)).parent
        found |= {f.stem: f for f in sorted(folder.glob("*.yaml"))}
    return found


def names(kind: str) -> list[str]:
    """Every registered name of a kind."""
    return sorted(_files(kind) if kind in FILE_KINDS else _points(kind))


def yaml_file(kind: str, name: str) -> Path:
    """The shipped YAML file of a space or profile.

    Raises:
        ConfigError: No such name; the nearest one is offered.
    """
    files = _files(kind)
    if name not in files:
        raise ConfigError(f"{kind} must be a registered name or a YAML file", repr(name), nearest(name, files))
    return files[name]


def load(kind: str, name: str) -> Any:
    """The implementation behind a registered name or a ``package.module:factory``.

    Raises:
        ConfigError: Unknown name (the nearest is offered), or a package, module or attribute that cannot be imported.
    """
    point = _points(kind).get(name)
    if point is not None:
        try:
            return point.load()
        except ImportError as error:
            needed = error.name.partition(".")[0] if isinstance(error, ModuleNotFoundError) and error.name else ""
            others = ", ".join(other for other in names(kind) if other != name)
            mend = f"`pip install {needed}`" if needed else "Mend its package"
            mend += f", or take one of {others}." if others else "."
            raise ConfigError(f"{kind} {name!r} must be importable here", str(error), mend) from error
    if ":" in name and not name.startswith(("optuna:", "nni:")):
        return _import(kind, name)
    raise ConfigError(
        f"{kind} must be one of the registered names or 'package.module:factory'",
        repr(name),
        nearest(name, _points(kind)),
    )


def _import(kind: str, name: str) -> Any:
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # a person's own module lies beside the study file
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), attribute)
        source_sha256(module)  # now: a file that is edited later is not what was loaded
        return found
    except ImportError as error:
        raise ConfigError(
            f"{kind} {name!r} must be importable", str(error), f"Is {module}.py in {os.getcwd()} or installed?"
        ) from error
    except AttributeError as error:
        raise ConfigError(f"{kind} {name!r} must exist", str(error), "Check the name after the colon.") from error
    except Exception as error:  # a person's own module may raise anything while it is imported
        value = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{kind} {name!r} must be importable", value, f"Mend {module}.py.") from error


def shipped(kind: str, name: str) -> bool:
    """Whether a registered name is one of ours: what is known of it was tested."""
    point = _points(kind).get(name)
    return point is not None and point.value.partition(":")[0].split(".")[0] == "autokd"


def identity(kind: str, name: str) -> str:
    """What a registered name, or a person's own ``package.module:factory``, stands for, by content: it enters the keys of results.

    Ours is its name and the ``revision`` that its file states; a test with golden numbers guards that. Anybody else's is the hash
    of its source: its module, and the modules of the same folder or package that this one imports. Taken when it was loaded, since
    that is the code that runs.

    Raises:
        ConfigError: As :func:`load`.
    """
    found = load(kind, name)
    point = _points(kind).get(name)
    if shipped(kind, name):
        return f"{name}@{getattr(found, 'revision', 1)}"
    module = point.module if point is not None else name.partition(":")[0]
    return f"{name}@{source_sha256(module)}"


def listing(kind: str) -> list[Registered]:
    """What ``autokd list KIND`` shows: name, kind, one line, where it comes from."""
    if kind in FILE_KINDS:
        return [Registered(n, kind, _comment(f), str(f)) for n, f in sorted(_files(kind).items())]
    rows = []
    for name, point in sorted(_points(kind).items()):
        try:
            doc = (point.load().__doc__ or "").strip().splitlines()
        except ImportError as error:
            doc = [f"not available here: {error}"]
        rows.append(Registered(name, kind, doc[0] if doc else "", point.value))
    return rows


def _comment(file: Path) -> str:
    first = file.read_text(encoding="utf-8").lstrip().splitlines()[:1]
    return first[0].lstrip("# ").strip() if first and first[0].startswith("#") else ""
