"""The ledger's attribute names: spelled in one place, and never changed: every ledger written so far has them."""

from __future__ import annotations

import re
from pathlib import Path

from autokd.storage import attributes

ROOT = Path(__file__).parents[2]
PLACE = Path("autokd/storage/attributes.py")
NAMES = {name: value for name, value in vars(attributes).items() if name.endswith("_KEY")}


def test_names_are_spelled_in_one_place() -> None:
    spelled = re.compile(r"""["'](autokd:|retry_of["']|second_try["'])""")
    found = {
        file.relative_to(ROOT)
        for folder in ("autokd", "dashboard", "benchmarks", "tests", "tools", "examples")
        for file in (ROOT / folder).rglob("*.py")
        if spelled.search(file.read_text(encoding="utf-8"))
    }
    then = Path("tests/study/test_old_ledger.py")  # spells what was written then
    assert found == {PLACE, Path(__file__).relative_to(ROOT), then}


def test_ledgers_written_so_far_are_read() -> None:
    assert NAMES == {
        "CONFIG_KEY": "autokd:plan",
        "STATE_KEY": "autokd:state",
        "FACTS_KEY": "autokd:facts",
        "HOME_KEY": "autokd:home",
        "VERSION_KEY": "autokd:version",
        "REFERENCE_KEY": "autokd:reference_point",
        "CONFIRMED_KEY": "autokd:confirmed",
        "CONFIRMED_CLASSES_KEY": "autokd:confirmed_by_class",
        "DRIVER_KEY": "autokd:driver",
        "EDITED_KEY": "autokd:edited_at",
        "PROVENANCE_KEY": "autokd:origin",
        "WALL_KEY": "autokd:wall_s",
        "SPENT_KEY": "autokd:spent_cpu_s",
        "RECORD_KEY": "autokd:record",
        "RUNG_KEY": "autokd:rung",
        "RETRY_KEY": "retry_of",
        "SECOND_KEY": "second_try",
    }
