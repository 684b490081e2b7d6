"""The documentation as a site: its pages out of the repository's documents, built without a warning, sufficient unto itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
import site_pages

ROOT = Path(__file__).parents[2]
FETCHED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)")
"""What a page fetches by itself; a link that a reader may follow is none."""

# -------------------------------------------------------------------------------------------------------- pages


def test_links_lead_to_pages_of_the_site() -> None:
    text = (
        "[a](docs/design.md#timing) ![b](docs/images/front.png) [c](CHANGELOG.md) [d](https://x.y/docs/z.md) [e](#here)"
    )
    wanted = "[a](design.md#timing) ![b](images/front.png) [c](changelog.md) [d](https://x.y/docs/z.md) [e](#here)"
    assert site_pages.relink(text, "") == wanted
    assert site_pages.relink("[a](../CONTRIBUTING.md#set-up) [b](design.md)", "docs") == (
        "[a](contributing.md#set-up) [b](design.md)"
    )


def test_a_chapter_is_cut_out() -> None:
    text = "# T\n\n## A\n\na\n\n## B\n\nb\n\n## C\n\nc\n"
    assert site_pages.split(text, "B") == ("# T\n\n## A\n\na\n\n", "\nb\n\n", "## C\n\nc\n")
    assert site_pages.split(text, "C") == ("# T\n\n## A\n\na\n\n## B\n\nb\n\n", "\nc\n", "")
    with pytest.raises(ValueError, match="substring"):
        site_pages.split(text, "D")


def test_nothing_of_the_documents_is_lost() -> None:
    pages = site_pages.pages()
    walk, rest = pages["add_your_own.md"], pages["contributing.md"]
    assert walk.startswith("# Add a thing in one file\n") and "## A student family" in walk
    assert "## A student family" not in rest and "## Security" in rest and "(add_your_own.md)" in rest
    body = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert body.count("```") == walk.count("```") + rest.count("```")
    assert pages["index.md"].startswith("# autokd\n")


def test_marks_of_docstrings_become_markdown() -> None:
    pytest.importorskip("griffe", reason="the site's tools are not installed: pip install -e '.[docs]'")
    from site_docstrings import as_markdown

    assert as_markdown("See :func:`a.b` and ``c``.") == "See `a.b` and `c`."
    assert as_markdown("So ::\n\n    x = 1") == "So\n\n    x = 1"
    assert as_markdown("a\n\n>>> 1 + 1\n2\n\nb") == "a\n\n```pycon\n>>> 1 + 1\n2\n```\n\nb"
    table = "====  =====\n``a``  b c\n``d``  e\n====  ====="
    assert as_markdown(table) == "| | |\n|---|---|\n| `a` | b c |\n| `d` | e |"


# --------------------------------------------------------------------------------------------------- the whole


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(name, reason="the site's tools are not installed: pip install -e '.[docs]'")
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "WARNING" not in ran.stderr
    return place


def words(file: Path) -> str:
    """What a page says, without its marks."""
    text = file.read_text(encoding="utf-8")
    return unescape(re.sub(r"<[^>]+>", "", text[text.index("<article") : text.index("</article>")]))


@pytest.mark.slow
def test_every_page_is_there_and_says_something(built: Path) -> None:
    pages = ("index", "design", "benchmarks", "add_your_own", "contributing", "release", "changelog", "cli")
    api = {
        "autokd": ("search", "open_study", "best", "front", "export"),
        "protocols": ("StudentFamily", "DataOptions", "Importance", "Knowledge", "Scheme"),
        "testing": ("check_family", "check_source", "check_sampler", "simulate"),
        "parts": ("FrontierSampler", "HalvingScheduler", "ProxyGate"),
    }
    for page in pages:
        assert len(words(built / f"{page}.html")) > 400, page
    for page, names in api.items():
        said = words(built / "api" / f"{page}.html")
        assert all(name in said for name in names), page
        assert not re.search(r":(class|func|meth):|^=+ +=+$", said, flags=re.M), page
    assert (built / "images" / "front.png").is_file()


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(built: Path) -> None:
    pages = [*built.rglob("*.html")]
    assert len(pages) > 10
    assert FETCHED.findall('<link rel="stylesheet" href="https://fonts.example/a.css"><a href="https://b.example">')
    fetched = {f"{page.name}: {address}" for page in pages for address in FETCHED.findall(page.read_text("utf-8"))}
    assert fetched == set()
    styles = [style.read_text("utf-8") for style in built.rglob("*.css")]
    assert styles and not any(re.search(r"(?:@import\s+|url\()[\"']?(?:https?:)?//", style) for style in styles)
