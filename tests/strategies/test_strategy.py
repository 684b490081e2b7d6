"""A strategy is a registered class that says what it is; nobody tells one by its name."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from support import tiny

from autokd import registry
from autokd.config.load import from_dict
from autokd.config.plan import Plan, make_plan
from autokd.errors import ConfigError
from autokd.strategies import Independent, has_ladders, make_strategy
from autokd.strategies.driver import Driver
from autokd.study.study import Study

ROOT = Path(__file__).parents[2]
OWN = """
from autokd.strategies import Independent

class Mine(Independent):
    "As independent, for two objectives only."

    @classmethod
    def check(cls, search, objectives):
        assert len(objectives) == 2

class Mute:
    "Says nothing about itself."
"""


def plan(name: str) -> Plan:
    return make_plan(from_dict(tiny(search__strategy=name, space="mobilenet_28")))


@pytest.mark.parametrize("name", registry.names("strategies"))
def test_every_strategy_says_what_it_is(name: str) -> None:
    made = make_strategy(plan(name), None)
    assert isinstance(type(made).sampled, bool) and isinstance(type(made).ladders, bool)
    assert has_ladders(name) == made.ladders
    assert made.next_move() == "sample" if made.sampled else made.next_move() != "sample"


@pytest.mark.parametrize(("given", "mend"), [("lader", "Did you mean 'ladder'?"), ("x", "Known: independent, ladder.")])
def test_an_unknown_strategy_is_refused_with_the_nearest(given: str, mend: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(tiny(search__strategy=given))
    assert str(caught.value).startswith("search.strategy: must be a registered strategy") and mend in str(caught.value)


def test_a_persons_own_strategy_drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_strategy.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    url = f"sqlite:///{tmp_path / 'autokd.db'}"
    study = Study.create(make_plan(from_dict(tiny(search__strategy="own_strategy:Mine", storage={"url": url}))), url)
    driver = Driver(study.ledger, study.plan, study.home)
    assert isinstance(driver.strategy, Independent) and type(driver.strategy).__name__ == "Mine"
    assert driver.next() is not None
    with pytest.raises(ConfigError, match="must be a class that says what it is"):
        plan("own_strategy:Mute")
    del sys.modules["own_strategy"]


def test_nobody_tells_a_strategy_by_its_name() -> None:
    compared = re.compile(
        r"""strategy (==|!=) ["']|isinstance\([\w.]*strategy,|["'](ladder|independent)["'] (not )?in """
    )
    files = [f for folder in ("autokd", "dashboard") for f in (ROOT / folder).rglob("*.py")]
    assert [str(f) for f in files if compared.search(f.read_text(encoding="utf-8"))] == []
