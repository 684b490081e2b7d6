"""A registered thing is a tested thing: everything that entry points name loads, says what it is, and fits its seam."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path

import pytest
from house import House

from autokd import registry
from autokd.config.space import load_space
from autokd.errors import ConfigError
from autokd.hardware.profile import load_profile
from autokd.testing.importance import check_importance
from autokd.testing.sources import check_source

EVERYTHING = [(kind, name) for kind in registry.KINDS for name in registry.names(kind)]


@pytest.mark.parametrize(("kind", "name"), EVERYTHING, ids=[f"{k}-{n}" for k, n in EVERYTHING])
def test_everything_registered_says_what_it_is(kind: str, name: str) -> None:
    (row,) = [r for r in registry.listing(kind) if r.name == name]
    assert 10 < len(row.summary) < 160, row.summary
    assert not row.summary.startswith("not available")
    assert row.source


@pytest.mark.parametrize("name", registry.names("spaces"))
def test_every_space_names_a_registered_family(name: str) -> None:
    assert load_space(name).family in registry.names("families")


@pytest.mark.parametrize("name", registry.names("profiles"))
def test_every_profile_loads_under_its_name(name: str) -> None:
    assert load_profile(name).name == name


@pytest.mark.parametrize("name", registry.names("data"))
def test_every_source_states_its_path_rule_and_options(name: str) -> None:
    load = registry.load("data", name)
    assert load.path in ("none", "optional", "required")
    assert all(isinstance(option, str) for option in load.options)
    if load.path == "none":
        assert len(check_source(load).classes) >= 2


@pytest.mark.parametrize("name", registry.names("pruners"))
def test_every_importance_orders_channels(name: str) -> None:
    check_importance(registry.load("pruners", name))


@pytest.mark.parametrize("kind", [k for k in registry.KINDS if k not in registry.FILE_KINDS])
def test_an_unknown_name_is_refused_with_the_nearest(kind: str) -> None:
    known = registry.names(kind)[0]
    with pytest.raises(ConfigError, match=r"Did you mean|Known:"):
        registry.load(kind, known + "x")


def test_a_persons_own_factory_is_imported_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_for_registry.py").write_text("def make(x):\n    return x + 1\n")
    monkeypatch.chdir(tmp_path)
    found = registry.load("families", "mine_for_registry:make")
    assert inspect.isfunction(found)
    assert found(1) == 2
    with pytest.raises(ConfigError, match="mine_for_registry"):
        registry.load("families", "mine_for_registry:nothing")
    with pytest.raises(ConfigError, match="importable"):
        registry.load("families", "no_such_module_at_all:make")


def test_every_package_is_in_the_wheel() -> None:
    root = Path(__file__).parent.parent
    with (root / "pyproject.toml").open("rb") as file:
        listed = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    assert {module for module, file in House(root).files.items() if file.name == "__init__.py"} == listed
