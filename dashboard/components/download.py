"""Handing a student over: its file, its receipt, and lines that run it."""

from __future__ import annotations

import streamlit as st

from autokd.dashboard.analysis.texts import plain
from autokd.dashboard.commands import hand_over
from autokd.dashboard.source import View
from autokd.errors import UserError


def download_buttons(view: View, number: int) -> None:
    """Buttons for the ONNX file and the receipt, and the snippet; or why there is none."""
    try:
        found = packed(view, number)
    except UserError as error:
        st.error(plain(error))
        return
    one, two, _ = st.columns([2, 2, 5])
    # the label names the file: a button is drawn a moment after the sentence, and must say what it still hands out
    one.download_button(
        f"Download {plain(found.name)}", found.model, found.name, "application/octet-stream", type="primary", on_click="ignore",
        key=f"model {view.name}",
    )  # fmt: skip
    two.download_button(
        f"Download {plain(found.receipt_name)}", found.receipt, found.receipt_name, "application/json", on_click="ignore",
        key=f"receipt {view.name}",
    )  # fmt: skip
    st.caption("It runs with onnxruntime and numpy alone:")
    st.code(hand_over.snippet(found), language="python")


def packed(view: View, number: int) -> hand_over.Download:
    """The download of a student, made again only when student or file changed: the page is drawn every few seconds."""
    member = view.member(number)
    identity = hand_over.download_identity(view.study, member)
    kept = st.session_state.get("packed")
    if kept is None or kept[0] != identity:
        kept = (identity, hand_over.download(view.study, member))
        st.session_state["packed"] = kept
    found: hand_over.Download = kept[1]
    return found
