"""The commented study file that ``autokd init`` writes."""

from __future__ import annotations

from pathlib import Path


def study_template() -> str:
    """Its text; it runs unedited."""
    return (Path(__file__).parent / "study_template.yaml").read_text(encoding="utf-8")
