"""The site's pages that stand elsewhere in the repository: README, CONTRIBUTING and CHANGELOG, with their links led right.

A hook of mkdocs (``mkdocs.yml``): nothing is written twice, and nothing is copied into ``docs/``.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages by where they stand in the repository."""
WALK, WALK_PAGE = "Add a thing in one file", "add_your_own.md"
"""The chapter of CONTRIBUTING that is a page of its own."""
LINK = re.compile(r"(\]\()([^)#\s]*)((?:#[^)]*)?\))")


def pages() -> dict[str, str]:
    """The text of every such page, by its place in the site."""
    found = {}
    for source, place in PAGES.items():
        found[place] = relink((ROOT / source).read_text(encoding="utf-8"), "")
    whole = found[PAGES["CONTRIBUTING.md"]]
    before, walk, after = split(whole, WALK)
    found[PAGES["CONTRIBUTING.md"]] = f"{before}## {WALK}\n\nIt has [a page of its own]({WALK_PAGE}).\n\n{after}"
    raised = re.sub(r"^### ", "## ", walk, flags=re.MULTILINE)
    found[WALK_PAGE] = f"# {WALK}\n{raised}"
    return found


def split(text: str, chapter: str) -> tuple[str, str, str]:
    """What stands before a chapter of the second level, in it without its heading, and after it.

    Raises:
        ValueError: There is no such chapter.
    """
    start = text.index(f"## {chapter}\n")
    inside = start + len(f"## {chapter}\n")
    end = text.find("\n## ", inside)
    return text[:start], text[inside : end + 1 if end >= 0 else None], text[end + 1 :] if end >= 0 else ""


def relink(text: str, folder: str) -> str:
    """The links of a document in a folder of the repository, from a page at the site's root or in ``docs/``'s place.

    Links to files that are no pages of the site stay in words: a reader of the site cannot follow them.
    """

    def lead(match: re.Match[str]) -> str:
        target = match[2]
        if not target or re.match(r"\w+:", target):
            return match[0]
        place = posixpath.normpath(posixpath.join(folder, target))
        return f"{match[1]}{PAGES.get(place, place.removeprefix('docs/'))}{match[3]}"

    return LINK.sub(lead, text)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    from mkdocs.structure.files import File

    for place, text in pages().items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead the links of the documents in ``docs/`` to those pages."""
    source = page.file.src_uri
    if source in pages() or os.sep in source or "/" in source:
        return markdown
    return relink(markdown, "docs")
