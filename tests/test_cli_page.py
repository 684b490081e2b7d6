"""The commands' page says what ``--help`` says today."""

from __future__ import annotations

import re
from pathlib import Path

import cli_page
import pytest
from support import run_here

from autokd import registry
from autokd.cli.main import host


def test_it_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")  # whoever runs it, and wherever
    monkeypatch.setenv("AUTOKD_STORAGE", "sqlite:///elsewhere.db")
    assert cli_page.PAGE.read_text(encoding="utf-8") == cli_page.page(), "run `python tools/cli_page.py`"


def test_it_shows_every_command_and_what_its_help_says(tmp_path: Path) -> None:
    text = cli_page.page()
    commands = re.findall(r"^## autokd (\S+)$", text, flags=re.M)
    assert len(commands) > 10 and len(set(commands)) == len(commands)
    for name in ("gc", "show"):
        said = run_here(name, "--help", cwd=tmp_path)
        shown = text.split(f"## autokd {name}\n")[1].split("```")[1]
        assert said.code == 0
        assert set(re.findall(r"--[a-z-]+", said.stdout)) == set(re.findall(r"--[a-z-]+", shown))


def test_the_help_of_list_names_every_kind() -> None:
    assert f"{', '.join(registry.KINDS)} or studies." == host.KINDS
