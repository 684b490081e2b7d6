"""What share of each class a student's file finds, on a page: the worst class in words, a picture, and every class as a table."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.components.choices import QUIET
from autokd.dashboard.source import View
from autokd.figures import recalls_figure
from autokd.figures.recalls import MOST
from autokd.formatting import number
from autokd.storage.attributes import CONFIRMED_CLASSES_KEY
from autokd.storage.by_class import ByClass
from autokd.storage.results import Member
from autokd.study.by_class import classes_in, splits_of

SPLITS = ("validation split", "test split")


def recalls(view: View, member: Member) -> None:
    """The section of a student's page; a sentence where nothing is on record."""
    st.subheader("Recall by class")
    classes = classes_in(view.facts)
    tested = view.reader.attrs.get(CONFIRMED_CLASSES_KEY)
    known = zip(SPLITS, splits_of(member.record.notes, member.number, tested, classes), strict=True)
    splits = {name: found for name, found in known if found is not None}
    if not splits:
        st.info("The ledger does not say how many of each class it had right: an earlier version measured it\\.")
        return
    told = [f"{worst(found, classes)} on the {name}" for name, found in splits.items()]
    st.markdown(plain(f"Of the worst class it finds: {'; '.join(told)}."))
    first = next(iter(splits.values()))
    st.plotly_chart(
        recalls_figure(splits, classes), key=f"recalls {view.name}", config=QUIET,
        alt="Recall of every class of the file, the worst first" if len(first.order) <= MOST
        else f"Recall of the {MOST} worst classes",
    )  # fmt: skip
    st.caption("Recall: the share of a class's samples that the file calls so\\. Bars: standard error\\.")
    with st.expander("Every class as a table"):
        st.dataframe(recall_table(splits, classes), hide_index=True, alt="Recall and samples of every class")


def worst(found: ByClass, classes: tuple[str, ...]) -> str:
    """``71.4% ± 8.1% of 31 samples of stop``."""
    c = found.worst
    return f"{number(found.recall(c), 'ratio', found.error(c))} of {found.of[c]:,} samples of {classes[c]}"


def recall_table(splits: dict[str, ByClass], classes: tuple[str, ...]) -> pd.DataFrame:
    """A row a class, the worst of the first split first: ``class``, then recall (%) and samples by split."""
    order = next(iter(splits.values())).order
    table: dict[str, list[object]] = {"class": [classes[c] for c in order]}
    for name, found in splits.items():
        shares = [found.recall(c) for c in order]
        table[f"recall (%, {name})"] = [None if share is None else round(100 * share, 1) for share in shares]
        table[f"samples ({name})"] = [found.of[c] for c in order]
    return pd.DataFrame(table)
