"""The dashboard on large studies: first paint of the front and a filter, in a real browser.

    python benchmarks/dashboard.py [--trials 1000 10000 100000] [--write]

Needs playwright and a Chromium (``--chromium``). Generates a ledger of each size, starts the dashboard on it, and times: the
start of the server; from the request, on a fresh server and on a further visit, the first paint of the front (an image of it)
and the chart that answers to the mouse; and a move of a slider, from the key to the new sentence. Medians of ``--repeats``.
Prints the table of ``docs/benchmarks.md``; ``--write`` replaces its section there.
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
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from common import write_section
from generated_ledger import generate

from autokd.hardware.profile import describe_host
from autokd.storage.reader import TrialReader

PRESSES, CHANGES = 30, 5
"""Moves of the slider at most, and changed sentences that suffice: not every move picks another student."""
POINTS = ".js-plotly-plot .scatterlayer .points path"
PAINTED = f"""() => [...document.querySelectorAll('.st-key-front_still img')].some(i => i.complete && i.naturalHeight)
    || document.querySelector('{POINTS}')"""


@contextmanager
def serving(url: str) -> Iterator[tuple[str, float]]:
    """A dashboard of its own on a free port; its address, and the seconds until it answered."""
    began = time.perf_counter()
    with running([sys.executable, "-m", "autokd.cli", "dashboard", "--storage", url, "--port"]) as address:
        yield address, time.perf_counter() - began


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


def visit(browser: Any, address: str) -> tuple[float, float, Any]:
    """Seconds from the request to the painted front and to the drawn points of the chart, and the page."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_function(PAINTED, timeout=120_000, polling="raf")
    painted = time.perf_counter() - began
    page.wait_for_selector(POINTS, timeout=120_000, state="attached")
    return painted, time.perf_counter() - began, page


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
        times: dict[str, list[float]] = defaultdict(list)
        with sync_playwright() as playwright:
            for _ in range(arguments.repeats):
                browser = playwright.chromium.launch(
                    executable_path=arguments.chromium, args=["--no-sandbox", "--disable-gpu"]
                )
                with serving_bare(Path(name)) as address:
                    visit(browser, address)
                    times["bare"].append(visit(browser, address)[1])
                with serving(url) as (address, start):
                    times["start"].append(start)
                    for which in ("fresh", "again"):
                        painted, drawn, page = visit(browser, address)
                        times[f"{which} painted"].append(painted)
                        times[f"{which} drawn"].append(drawn)
                    times["filter"].append(filtered(page))
                browser.close()
    cells = [f"{trials:,}", f"{size:.0f} MB", f"{read:.2f} s"]
    columns = ("start", "fresh painted", "again painted", "fresh drawn", "again drawn", "bare", "filter")
    return cells + [
        f"{statistics.median(v):.2f} s ({min(v):.2f}-{max(v):.2f})" for v in map(times.__getitem__, columns)
    ]


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
            "| trials | ledger | reader alone | server's start | first paint, fresh server | first paint, again "
            "| live chart, fresh server | live chart, again | a bare page's chart | a filter |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
        ]
    )
    print(text)
    if arguments.write:
        write_section(text, "dashboard")


if __name__ == "__main__":
    main()
