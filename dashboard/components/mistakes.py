"""Where a student's file errs, on a page: confusions, classes, and the mistakes it is most sure of."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from autokd.dashboard.analysis import evidence
from autokd.dashboard.analysis.evidence import Judged
from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.components.choices import QUIET
from autokd.dashboard.source import View
from autokd.errors import UserError
from autokd.figures import confusion_figure
from autokd.storage.results import Member

MANY = 30
"""Of more classes than these, a confusion matrix is not drawn."""
ACROSS = 6
"""Thumbnails in a row."""


@st.cache_data(max_entries=32, show_spinner="Comparing the file's scores with the validation split")
def judged(scores: str, data: str, fingerprint: str | None, stamp: object) -> Judged:
    """:func:`evidence.judge`, again only when a file was written again: that is what ``stamp`` tells."""
    return evidence.judge(Path(scores), Path(data), fingerprint)


def errors(view: View, member: Member) -> None:
    st.subheader("Where its file errs")
    try:
        scores = evidence.scores_file(view.folder(member.number))
        data = evidence.data_folder(view.facts, view.study.root)
        stamp = evidence.stamp(scores, data / "dataset.json")
        found = judged(str(scores), str(data), (view.facts.get("data") or {}).get("fingerprint"), stamp)
    except UserError as error:
        st.info(plain(error))
        return
    st.caption(
        plain(
            f"{found.samples:,} samples of the validation split, of which the file has {found.accuracy:.2%} right "
            f"and {found.wrong:,} wrong."
        )
    )
    stated = member.record.value("accuracy")
    if stated is not None and abs(stated - found.accuracy) > 1e-6:
        st.warning(
            plain(f"The ledger states {stated:.2%}: the scores in the trial's folder are not those it measured.")
        )
    matrix(view, found)
    mistakes(found)


def matrix(view: View, found: Judged) -> None:
    """Which classes are taken for which."""
    formats = {
        name: st.column_config.NumberColumn(format="%.1f") for name in ("of the class (%)", "accuracy (%)")
    }  # fmt: skip
    if len(found.classes) <= MANY:
        st.plotly_chart(
            confusion_figure(found.matrix, found.classes), key=f"confusion {view.name}", config=QUIET,
            alt="Confusion matrix of the file on the validation split, and the accuracy of every class",
        )  # fmt: skip
        st.caption(
            "Blue: right\\. The redder a cell, the larger its share of the true class\\. Bars: standard error\\."
        )
        return
    left, right = st.columns(2)
    left.caption(f"The most frequent confusions of {len(found.classes)} classes")
    left.dataframe(
        evidence.confusions(found), hide_index=True, column_config=formats, alt="The most frequent confusions"
    )
    right.caption("Every class, the least accurate first")
    right.dataframe(evidence.class_table(found), hide_index=True, column_config=formats, alt="Accuracy of every class")


def mistakes(found: Judged) -> None:
    """What it is sure of and wrong about."""
    if not found.mistakes:
        st.caption("It made no mistake\\.")
        return
    st.markdown("**Its most confident mistakes**")
    if found.rows is None:
        captions = [plain(f"is {m.truth}, said {m.said} ({sure(m.confidence)})") for m in found.mistakes]
        for first in range(0, len(captions), ACROSS):
            for place, k in zip(st.columns(ACROSS), range(first, len(captions)), strict=False):
                place.image(found.pictures[k], caption=captions[k], width=evidence.SIDE, alt=captions[k])
        return
    said = pd.DataFrame(
        {
            "is": [m.truth for m in found.mistakes],
            "said": [m.said for m in found.mistakes],
            "sure (%)": [100 * m.confidence for m in found.mistakes],
        }
    )
    st.dataframe(
        pd.concat([said, found.rows.add_prefix("feature ") if set(said) & set(found.rows) else found.rows], axis=1),
        hide_index=True, column_config={"sure (%)": st.column_config.NumberColumn(format="%.0f")}, height="content",
        alt="The most confident mistakes with their features",
    )  # fmt: skip


def sure(confidence: float) -> str:
    """``94 %``; never 100, which no file is entitled to."""
    return "over 99 %" if confidence > 0.99 else f"{confidence:.0%}".replace("%", " %")
