"""The commands' page of the documentation, out of every command's ``--help``.

``python tools/cli_page.py`` writes ``docs/cli.md``; ``tests/test_cli_page.py`` checks that it is what it would write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer.main

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
WIDTH = 100
"""Columns of the help on the page, whatever the terminal."""
HEAD = """# Commands

What `autokd --help` and `autokd COMMAND --help` say; `python tools/cli_page.py` writes this page anew. With `--json` standard
output carries only JSON. Exit codes: 0 done, 1 it failed, 2 what was asked cannot be (one message says what, and the mend), 130
Ctrl-C.
"""


def page() -> str:
    """The page as Markdown: the program's help, then each command's, in the order of the help."""
    from autokd.cli.main import app

    program: Any = typer.main.get_command(app)
    context = program.make_context("autokd", [], resilient_parsing=True, terminal_width=WIDTH, max_content_width=WIDTH)
    parts = [HEAD, _block(program.get_help(context))]
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        own = command.make_context(name, [], context, resilient_parsing=True)
        parts += [f"## autokd {name}\n", _block(command.get_help(own))]
    return "\n".join(parts)


def _block(text: str) -> str:
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return "\n".join(["```text", *lines, "```", ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE}")
