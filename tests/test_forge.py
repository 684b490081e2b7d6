"""The forms and the workflow in ``.github``: valid, and what they name exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FORGE = ROOT / ".github"
WORKFLOWS = sorted((FORGE / "workflows").glob("*.y*ml"))
FORMS = sorted(f for f in (FORGE / "ISSUE_TEMPLATE").glob("*.y*ml") if f.stem != "config")
INPUTS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))


def read(file: Path) -> dict[str, Any]:
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert isinstance(found, dict), file
    return found


def steps(file: Path) -> list[dict[str, Any]]:
    return [step for job in read(file)["jobs"].values() for step in job["steps"]]


def test_they_are_there() -> None:
    assert {f.stem for f in FORMS} == {"bug", "feature"} and WORKFLOWS
    assert (FORGE / "PULL_REQUEST_TEMPLATE.md").is_file()
    assert read(FORGE / "ISSUE_TEMPLATE" / "config.yml") == {"blank_issues_enabled": True}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda f: f.stem)
def test_a_workflow_is_bounded_and_may_only_read(file: Path) -> None:
    flow = read(file)
    assert flow["permissions"] == {"contents": "read"}
    assert flow["concurrency"]["cancel-in-progress"] is True
    assert {"push", "pull_request"} <= set(flow[True])  # YAML 1.1 reads the key `on` as true
    for job in flow["jobs"].values():
        assert job["runs-on"].startswith("ubuntu") and 0 < job["timeout-minutes"] <= 60
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"]) for step in steps(file) if "uses" in step)


def test_a_workflow_runs_what_a_newcomer_types() -> None:
    asked = [
        word
        for file in WORKFLOWS
        for step in steps(file)
        for word in re.findall(r"make ([a-z-]+)", step.get("run", ""))
    ]
    assert {"check", "test"} <= set(asked) <= TARGETS
    python = {
        step["with"]["python-version"]
        for file in WORKFLOWS
        for step in steps(file)
        if "setup-python" in step.get("uses", "")
    }
    assert python == {"3.11"}


def test_make_offers_every_target_in_its_help() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    told = set(re.findall(r'@echo "make ([a-z-]+)', text))
    assert told == TARGETS - {"help", "clean"}
    assert set(re.search(r"^\.PHONY: (.*)$", text, flags=re.M)[1].split()) == TARGETS  # type: ignore[index]


@pytest.mark.parametrize("file", FORMS, ids=lambda f: f.stem)
def test_a_form_can_be_filled_in(file: Path) -> None:
    form = read(file)
    assert form["name"] and form["description"] and form["labels"]
    named = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(named) == len(set(named)) >= 3
    for part in form["body"]:
        assert part["type"] in INPUTS and part["attributes"]["label"]
        assert part["type"] != "checkboxes" or all(option["label"] for option in part["attributes"]["options"])


def test_no_registry_is_named() -> None:
    """Where packages come from is the business of whoever runs it."""
    for file in [f for f in FORGE.rglob("*") if f.is_file()]:
        assert not re.search(r"https?://", file.read_text(encoding="utf-8")), file
