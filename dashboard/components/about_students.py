"""What the pages of one student and of several say in the same way: their curves, and how to read the test split."""

from __future__ import annotations

import shlex

from autokd.dashboard.analysis import evidence
from autokd.dashboard.source import View
from autokd.figures import Training
from autokd.storage.ledger import DEFAULT_URL, shown_url
from autokd.storage.results import Member


def trained(view: View, member: Member) -> Training:
    """The student's curves, and the accuracy of its file."""
    folder = view.folder(member.number)
    file = next((m for m in member.record.measurements if m.metric == "accuracy"), None)
    return Training(
        f"trial {member.number}",
        evidence.curve(folder),
        evidence.curve(folder, "tuning_curve.json"),
        file.value if file else None,
        file.spread if file else None,
    )


def confirm_command(view: View) -> str:
    """What reads the test split, for a terminal; the ledger is named where it is not the one that commands look for."""
    words, where = ["autokd", "confirm", view.name], view.study.ledger.url
    return shlex.join(words if where == DEFAULT_URL else [*words, "--storage", shown_url(where)])
