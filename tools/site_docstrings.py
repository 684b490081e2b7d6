"""What the docstrings' few marks of reStructuredText are on the site: roles become code, simple tables become Markdown's.

An extension of griffe, which reads the docstrings (``mkdocs.yml``).
"""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):`~?([^`]+)`")
TABLE = re.compile(r"^=+ +=+\n(.*?)^=+ +=+$", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"^>>> .*?(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)
LITERAL = re.compile(r"(^|[ ]|(?<=\S))::$", re.MULTILINE)


def as_markdown(text: str) -> str:
    """A docstring of ours in Markdown; blocks that ``::`` announces are indented as they are, which is code in both."""
    text = TABLE.sub(_table, text)
    text = ROLE.sub(lambda match: f"`{match[1]}`", text).replace("``", "`")
    text = EXAMPLE.sub(lambda match: f"```pycon\n{match[0]}\n```", text)
    return LITERAL.sub("", text)


def _table(match: re.Match[str]) -> str:
    rows = [re.split(r" {2,}", line.strip(), maxsplit=1) for line in match[1].strip().splitlines()]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(["| | |", "|---|---|", *lines])


class Marks(griffe.Extension):
    """Rewrites each docstring as it is read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called with every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
