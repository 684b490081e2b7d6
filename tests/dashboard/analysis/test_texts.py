"""Text that pages show as it is."""

from __future__ import annotations

from autokd.dashboard.analysis import texts


def test_markdown_is_escaped() -> None:
    assert texts.plain(":red[x] <b>\n$y$ `z`") == r"\:red\[x\] \<b\> \$y\$ \`z\`"
