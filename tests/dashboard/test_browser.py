"""A real browser on a real server: click a point, move a limit, download the file, run it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from autokd.files import file_sha256
from autokd.storage.attributes import DRIVER_KEY
from autokd.study.study import Study
from tests.dashboard.conftest import Make, add

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed (pip install autokd[browser])"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
LONG_MS = 120_000
"""Long enough for whatever comes at all, on two busy cores."""
IDLE = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  return app && app.dataset.testScriptState === "notRunning" && app.dataset.testConnectionState === "CONNECTED";
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@contextmanager
def serving(url: str, *options: str, stderr: Any = subprocess.DEVNULL) -> Iterator[str]:
    """The dashboard as a person starts it; its address once it answers."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "autokd.cli", "dashboard", *options, "--storage", url, "--port", str(port)]
    environment = {
        k: v for k, v in os.environ.items() if k not in ("AUTOKD_DASHBOARD_STORAGE", "AUTOKD_DASHBOARD_STUDY")
    }
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, env=environment)
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def served(make: Make, request: pytest.FixtureRequest) -> Iterator[tuple[Study, str]]:
    """A study and its address; parametrised indirectly by what ``make`` is to be told."""
    study = make(**getattr(request, "param", {"hardware": ("cpu_1_thread", "cpu_2_threads")}))
    with serving(study.ledger.url) as address:
        yield study, address


@pytest.fixture
def page(browser: Any, served: tuple[Study, str]) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1400, "height": 1400}, accept_downloads=True)
    context.set_default_timeout(LONG_MS)
    found = context.new_page()
    wide: list[str] = []
    found.on("request", lambda r: wide.append(r.url) if re.match(r"https?://(?!127\.0\.0\.1[:/])", r.url) else None)
    found.goto(served[1])
    found.wait_for_selector(".js-plotly-plot .scatterlayer .points path", timeout=LONG_MS, state="attached")
    yield found
    context.close()
    assert not wide, f"fetched from outside: {wide}"


def sentence(page: Any) -> str:
    return str(page.locator("p", has_text=re.compile(r"^Trial \d+:")).first.inner_text())


def wait_for(page: Any, text: str) -> None:
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=text, timeout=LONG_MS)


def settle(page: Any) -> None:
    """Until the script of the page has run to its end."""
    page.wait_for_function(IDLE, timeout=LONG_MS)


def click(page: Any, point: Any, until: str) -> None:
    """Points are svg paths under a layer that takes the mouse: click where one is, until the page says so.

    A chart that is drawn anew just then has its point nowhere, or somewhere else, or takes no mouse yet.
    """
    deadline = time.monotonic() + LONG_MS / 1000
    while True:
        assert time.monotonic() < deadline, f"no click led to {until!r}"
        settle(page)
        with suppress(sync_api.Error):
            point.scroll_into_view_if_needed(timeout=5_000)
            box = point.bounding_box(timeout=5_000)
            page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            page.wait_for_function("text => document.body.innerText.includes(text)", arg=until, timeout=5_000)
            return


def step(page: Any, slider: Any, key: str) -> None:
    """One step of a slider, and all that follows from it."""
    before = slider.input_value()
    slider.press(key)
    page.wait_for_function("([s, v]) => s.value !== v", arg=[slider.element_handle(), before], timeout=LONG_MS)
    page.wait_for_timeout(300)  # the slider tells the server somewhat later
    settle(page)


def test_from_the_front_to_a_file_that_runs(page: Any, served: tuple[Study, str], tmp_path: Path) -> None:
    study, _ = served
    before = sentence(page)
    paths = page.locator(".js-plotly-plot .scatterlayer .trace").nth(1).locator(".points path")
    number = 0 if "Trial 0" not in before else 3
    click(page, paths.nth(number), f"Trial {number}:")

    slider = page.locator('[data-testid="stSlider"] input[type="range"]').first
    for count in range(60):
        shown = int(sentence(page).removeprefix("Trial ").partition(":")[0])
        if shown == 1:
            break
        step(
            page, slider, "ArrowRight" if count and shown < 1 else "ArrowLeft"
        )  # right: a late answer was stepped over
    assert sentence(page).startswith("Trial 1:")

    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download digits-1.onnx").click()
    file = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(file)
    assert file.name == "digits-1.onnx"
    member = next(m for m in study.members() if m.number == 1)
    assert file_sha256(file) == member.record.artifact_sha256
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert session.run(None, {"input": np.zeros((2, 1, 8, 8), np.float32)})[0].shape == (2, 10)


def test_the_front_is_an_image_until_the_chart_is_there(browser: Any, served: tuple[Study, str]) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 1400})
    gate = page.context.new_cdp_session(page)
    gate.send("Network.enable")
    gate.send("Network.setBlockedURLs", {"urls": ["*lotly*"]})  # Plotly's scripts do not come
    page.goto(served[1], timeout=LONG_MS)
    image = page.locator(".st-key-front_still img")
    image.wait_for(timeout=LONG_MS)
    settle(page)
    page.wait_for_function("i => i.complete && i.naturalHeight > 0", arg=image.element_handle(), timeout=LONG_MS)
    box = image.bounding_box()
    assert box["height"] == 480 and box["width"] > 800
    page.close()


def test_the_image_is_gone_behind_the_drawn_chart(page: Any) -> None:
    page.locator(".st-key-front_still").wait_for(state="hidden", timeout=LONG_MS)


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_study_that_was_named_opens_and_others_are_warned_of(
    browser: Any, make: Make, tmp_path: Path, host: str
) -> None:
    url = make("older").ledger.url
    make("newer")
    said = tmp_path / "said"
    with said.open("w") as stderr, serving(url, "older", "--host", host, stderr=stderr) as address:
        page = browser.new_page()
        page.goto(address, timeout=LONG_MS)
        page.get_by_role("heading", name="older", exact=True).wait_for(timeout=LONG_MS)
        page.close()
    assert ("everybody who reaches" in said.read_text()) == (host == "0.0.0.0")


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", ["front", "watch", "student", "compare", "devices", "why", "trials", "studies", "start"]
)
def test_every_page_by_its_address(page: Any, served: tuple[Study, str], path: str) -> None:
    page.goto(f"{served[1]}/{path}")
    page.wait_for_selector("h1, h2, h3", timeout=LONG_MS)
    settle(page)
    assert page.locator('[data-testid="stException"]').count() == 0
    assert page.locator('[data-testid="stAlertContentError"]').count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("served", [{"students": 6, "ladder": True}], indirect=True)
def test_a_lineage_is_drawn_and_walked_up(page: Any, served: tuple[Study, str]) -> None:
    traces = page.locator(".js-plotly-plot .scatterlayer .trace")
    click(page, traces.nth(1).locator(".points path").nth(4), "Trial 4:")
    before = traces.count()
    page.locator("label", has_text="Lineage").first.click()
    page.wait_for_function(
        "n => document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length > n", arg=before, timeout=LONG_MS
    )
    wait_for(page, "from root 0")
    page.get_by_role("link", name="Look at this student closely").click()
    wait_for(page, "Trial 4: narrow of 3, root 0.")
    root = page.locator(".st-key-path-of-digits-4 .points path").first
    root.wait_for(state="attached", timeout=LONG_MS)
    click(page, root, "Trial 0: root.")


# ------------------------------------------------------------------------------------- what a person set up stays

AXES = """i => {
  const { xaxis, yaxis } = document.querySelectorAll('.js-plotly-plot')[i]._fullLayout;
  return [...xaxis.range, ...yaxis.range];
}"""
NUMBERS = """i => document.querySelectorAll('.js-plotly-plot')[i].data
  .flatMap(trace => [...(trace.customdata ?? [])].map(told => Number(told[0])))"""
LIVE = {"live": True, "state": "searching"}


def drag(page: Any, chart: int, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag the mouse over a chart of the page; places are shares of its plot, from the upper left."""
    settle(page)
    plot = page.locator(".js-plotly-plot").nth(chart).locator(".nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    (x0, y0), (x1, y1) = ((box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end))
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move((x0 + x1) / 2, (y0 + y1) / 2)
    page.mouse.move(x1, y1)
    page.mouse.up()


def zoomed(page: Any, chart: int) -> list[float]:
    """The axes of a chart after the person dragged a part of it: from a little left of the second student up to the teacher."""
    before = page.evaluate(AXES, chart)
    drag(page, chart, (0.15, 0.02), (0.98, 0.6))
    page.wait_for_timeout(1000)  # Plotly moves the axes there; a click within .3 s would be the second of two
    after: list[float] = page.evaluate(AXES, chart)
    assert after[0] > before[0] and after[2] > before[2] and after != before
    return after


def one_more(page: Any, study: Study, k: int, chart: int) -> int:
    """Another student's number, once it was measured and is in the chart."""
    study.ledger.set_attr(DRIVER_KEY, {"beat": time.time()})
    add(study, k, 99, False, ("cpu_1_thread",))
    number = len(study.ledger.trials()) - 1
    page.wait_for_function(f"([i, n]) => ({NUMBERS})(i).includes(n)", arg=[chart, number], timeout=LONG_MS)
    settle(page)
    return number


@pytest.mark.slow
@pytest.mark.parametrize("served", [LIVE], indirect=True)
def test_zoom_outlives_new_students_a_choice_and_a_limit(page: Any, served: tuple[Study, str]) -> None:
    study, _ = served
    axes = zoomed(page, 0)
    one_more(page, study, 5, 0)
    assert page.evaluate(AXES, 0) == axes

    points = page.locator(".js-plotly-plot .scatterlayer .trace").nth(1).locator(".points path")
    number = 2 if not sentence(page).startswith("Trial 2:") else 3
    click(page, points.nth(number), f"Trial {number}:")
    page.wait_for_timeout(500)
    assert page.evaluate(AXES, 0) == axes

    step(page, page.locator('[data-testid="stSlider"] input[type="range"]').first, "ArrowLeft")
    assert page.evaluate(AXES, 0) == axes
    one_more(page, study, 6, 0)
    assert page.evaluate(AXES, 0) == axes

    page.get_by_role("link", name="Trials", exact=True).click()
    page.wait_for_selector('[data-testid="stDataFrame"]', timeout=LONG_MS)
    page.get_by_role("link", name="Front", exact=True).click()
    page.wait_for_selector(".js-plotly-plot .scatterlayer .points path", timeout=LONG_MS, state="attached")
    assert page.evaluate(AXES, 0) == axes
    one_more(page, study, 7, 0)
    assert page.evaluate(AXES, 0) == axes

    box = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    page.mouse.dblclick(box["x"] + box["width"] / 2, box["y"] + 0.95 * box["height"])
    page.wait_for_function(f"a => ({AXES})(0)[0] < a", arg=axes[0], timeout=LONG_MS)


@pytest.mark.slow
@pytest.mark.parametrize("served", [LIVE], indirect=True)
def test_a_box_puts_students_side_by_side_and_stays(page: Any, served: tuple[Study, str]) -> None:
    study, _ = served
    page.locator(".js-plotly-plot").first.hover()
    assert not page.locator('.modebar-btn[data-title^="Share"]').count()  # it would upload the chart
    page.locator('.js-plotly-plot .modebar-btn[data-title="Box Select"]').first.click()
    axes = page.evaluate(AXES, 0)
    drag(page, 0, (0.01, 0.01), (0.6, 0.7))
    link = page.get_by_role("link", name=re.compile(r"^Compare trials \d+, \d+"))
    link.wait_for(timeout=LONG_MS)
    before = link.inner_text()
    assert before == "Compare trials 3, 2, 1, 0"  # the best first; 4 is below the box
    one_more(page, study, 5, 0)
    page.wait_for_timeout(500)
    assert link.inner_text() == before  # the box holds the new one too, but nobody asked for it
    assert page.locator(".js-plotly-plot .selectionlayer path").count()
    assert page.evaluate(AXES, 0)[0] == pytest.approx(axes[0], abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("served", [LIVE], indirect=True)
def test_zoom_of_a_running_search_outlives_its_new_students(page: Any, served: tuple[Study, str]) -> None:
    study, address = served
    page.goto(f"{address}/watch")
    chart = page.locator('[role="figure"][aria-label^="The front; the students that joined"]')
    chart.locator(".points path").first.wait_for(state="attached", timeout=LONG_MS)
    settle(page)
    which = page.evaluate(
        "c => [...document.querySelectorAll('.js-plotly-plot')].findIndex(p => c.contains(p) || p === c)",
        chart.element_handle(),
    )
    axes = zoomed(page, which)
    for k in (5, 6):
        one_more(page, study, k, which)
        assert page.evaluate(AXES, which) == axes


def test_charts_are_drawn_where_streamlit_does_not_share_its_plotly(browser: Any, served: tuple[Study, str]) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 1400})
    gate = page.context.new_cdp_session(page)
    gate.send("Network.enable")
    gate.send("Network.setBlockedURLs", {"urls": ["*PlotlyChart*"]})
    page.goto(served[1], timeout=LONG_MS)
    page.wait_for_selector(".js-plotly-plot .scatterlayer .points path", timeout=LONG_MS, state="attached")
    page.close()
