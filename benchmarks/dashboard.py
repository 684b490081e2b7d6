"""The dashboard on large studies: first paint of the front and a filter, in a real browser.

    python benchmarks/dashboard.py [--trials 1000 10000 100000] [--write]

Needs playwright and a Chromium (``--chromium``). Generates a ledger of each size, starts the dashboard on it, and times, from the
request to the drawn points, the first paint of a fresh server and of a further visit; and a move of a slider, from the key to
the new sentence. Medians of ``--repeats``. Prints the table of ``docs/benchmarks.md``; ``--write`` replaces its section there.
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from common import write_section
from generated_ledger import generate

from autokd.hardware.profile import describe_host
from autokd.reader import TrialReader

PRESSES, CHANGES = 30, 5
"""Moves of the slider at most, and changed sentences that suffice: not every move picks another student."""
POINTS = ".js-plotly-plot .scatterlayer .points path"


@contextmanager
def serving(url: str) -> Iterator[str]:
    """A dashboard of its own on a free port."""
    with running([sys.executable, "-m", "autokd.cli", "dashboard", "--storage", url, "--port"]) as address:
        yield address


@contextmanager
def running(command: list[str]) -> Iterator[str]:
    """A server whose command ends with its port; its address once it answers."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    server = subprocess.Popen(
        [*command, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ
    )
    try:
        for _ in range(300):
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


BARE = """
import plotly.graph_objects as go
import streamlit as st

st.plotly_chart(go.Figure(go.Scatter(x=[1, 2, 3], y=[1, 2, 3], mode="markers")))
"""
"""The least page that draws a chart: what Streamlit, Plotly and the browser take by themselves."""


@contextmanager
def serving_bare(folder: Path) -> Iterator[str]:
    """The bare page on a free port."""
    script = folder / "bare.py"
    script.write_text(BARE, encoding="utf-8")
    options = ["--server.headless=true", "--browser.gatherUsageStats=false", "--server.fileWatcherType=none"]
    with running([sys.executable, "-m", "streamlit", "run", str(script), *options, "--server.port"]) as address:
        yield address


def first_paint(browser: Any, address: str) -> tuple[float, Any]:
    """Seconds from the request to the drawn points, and the page."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    began = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(POINTS, timeout=120_000, state="attached")
    return time.perf_counter() - began, page


def filtered(page: Any) -> float:
    """Seconds from a key on the first slider to the new sentence."""
    sentence = page.locator("p", has_text=re.compile(r"^Trial \d+:")).first
    slider = page.locator('[data-testid="stSlider"] input[type="range"]').first
    slider.focus()
    before = sentence.inner_text()
    times: list[float] = []
    for _ in range(PRESSES):
        if len(times) >= CHANGES:
            break
        began = time.perf_counter()
        page.keyboard.press("ArrowLeft")
        with suppress(Exception):
            page.wait_for_function(
                "before => [...document.querySelectorAll('p')].some(p => /^Trial [0-9]+:/.test(p.innerText)"
                " && p.innerText !== before)",
                arg=before, timeout=1000, polling=5,
            )  # fmt: skip
            times.append(time.perf_counter() - began)
        page.wait_for_timeout(400)
        before = sentence.inner_text()
    return statistics.median(times) if times else float("nan")


def measure(trials: int, arguments: argparse.Namespace) -> list[str]:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name:
        url = generate(Path(name), trials)
        size = (Path(name) / "generated.db").stat().st_size / 1e6
        began = time.perf_counter()
        TrialReader(url, "generated")
        read = time.perf_counter() - began
        cold, warm, bare, filters = [], [], [], []
        with sync_playwright() as playwright:
            for _ in range(arguments.repeats):
                browser = playwright.chromium.launch(
                    executable_path=arguments.chromium, args=["--no-sandbox", "--disable-gpu"]
                )
                with serving_bare(Path(name)) as address:
                    first_paint(browser, address)
                    bare.append(first_paint(browser, address)[0])
                with serving(url) as address:
                    cold.append(first_paint(browser, address)[0])
                    seconds, page = first_paint(browser, address)
                    warm.append(seconds)
                    filters.append(filtered(page))
                browser.close()
    cells = [f"{trials:,}", f"{size:.0f} MB", f"{read:.2f} s"]
    cells += [f"{statistics.median(v):.2f} s ({min(v):.2f}-{max(v):.2f})" for v in (cold, warm, bare)]
    return [*cells, f"{1e3 * statistics.median(filters):.0f} ms ({1e3 * min(filters):.0f}-{1e3 * max(filters):.0f})"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for n in arguments.trials:
        rows.append(measure(n, arguments))
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    host, date = describe_host(), datetime.datetime.now(tz=datetime.UTC).date()
    text = "\n".join(
        [
            f"Command: `python benchmarks/dashboard.py`. Machine: {host.get('cpu')}, {host.get('cores')} cores, {date}; "
            f"medians of {arguments.repeats}, lowest to highest in brackets.",
            "",
            "| trials | ledger | reader alone | first paint, fresh server | first paint, again | a bare page | a filter |",
            "|---|---|---|---|---|---|---|",
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
        ]
    )
    print(text)
    if arguments.write:
        write_section(text, "dashboard")


if __name__ == "__main__":
    main()
