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
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from autokd.files import file_sha256
from autokd.study import Study
from tests.dashboard.conftest import Make

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed (pip install autokd[browser])"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def served(make: Make, request: pytest.FixtureRequest) -> Iterator[tuple[Study, str]]:
    """A study and its address; parametrised indirectly by what ``make`` is to be told."""
    study = make(**getattr(request, "param", {"hardware": ("cpu_1_thread", "cpu_2_threads")}))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "autokd.cli", "dashboard", "--storage", study.ledger.url, "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1):
                break
            time.sleep(0.1)
        yield study, f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def page(browser: Any, served: tuple[Study, str]) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1400, "height": 1400}, accept_downloads=True)
    found = context.new_page()
    wide: list[str] = []
    found.on("request", lambda r: wide.append(r.url) if re.match(r"https?://(?!127\.0\.0\.1[:/])", r.url) else None)
    found.goto(served[1])
    found.wait_for_selector(".js-plotly-plot .scatterlayer .points path", timeout=60_000, state="attached")
    yield found
    context.close()
    assert not wide, f"fetched from outside: {wide}"


def sentence(page: Any) -> str:
    return str(page.locator("p", has_text=re.compile(r"^Trial \d+:")).first.inner_text())


def wait_for(page: Any, text: str) -> None:
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=text, timeout=20_000)


def click(page: Any, point: Any) -> None:
    """Points are svg paths under a layer that takes the mouse: click where one is."""
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_from_the_front_to_a_file_that_runs(page: Any, served: tuple[Study, str], tmp_path: Path) -> None:
    study, _ = served
    before = sentence(page)
    paths = page.locator(".js-plotly-plot .scatterlayer .trace").nth(1).locator(".points path")
    number = 0 if "Trial 0" not in before else 3
    click(page, paths.nth(number))
    wait_for(page, f"Trial {number}:")

    slider = page.locator('[data-testid="stSlider"] input[type="range"]').first
    slider.focus()
    for _ in range(60):
        if sentence(page).startswith("Trial 1:"):
            break
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(300)
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
    page.goto(served[1])
    image = page.locator(".st-key-front_still img")
    image.wait_for(timeout=30_000)
    box = image.bounding_box()
    assert image.evaluate("i => i.complete && i.naturalHeight > 0") and box["height"] == 480 and box["width"] > 800
    page.close()


def test_the_image_is_gone_behind_the_drawn_chart(page: Any) -> None:
    assert not page.locator(".st-key-front_still").is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("path", ["watch", "student", "compare", "devices", "why", "trials", "studies", "start"])
def test_every_page_by_its_address(page: Any, served: tuple[Study, str], path: str) -> None:
    page.goto(f"{served[1]}/{path}")
    page.wait_for_selector("h1, h2, h3", timeout=30_000)
    page.wait_for_function(
        "() => !document.querySelector('[data-testid=\"stStatusWidgetRunningIcon\"]')", timeout=30_000
    )
    assert page.locator('[data-testid="stException"]').count() == 0
    assert page.locator('[data-testid="stAlertContentError"]').count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("served", [{"students": 6, "ladder": True}], indirect=True)
def test_a_lineage_is_drawn_and_walked_up(page: Any, served: tuple[Study, str]) -> None:
    traces = page.locator(".js-plotly-plot .scatterlayer .trace")
    click(page, traces.nth(1).locator(".points path").nth(4))
    wait_for(page, "Trial 4:")
    before = traces.count()
    page.locator("label", has_text="Lineage").first.click()
    page.wait_for_function(
        "n => document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length > n", arg=before, timeout=20_000
    )
    wait_for(page, "from root 0")
    page.get_by_role("link", name="Look at this student closely").click()
    wait_for(page, "Trial 4: narrow of 3, root 0.")
    root = page.locator(".st-key-path-of-digits-4 .points path").first
    root.wait_for(state="attached", timeout=20_000)
    click(page, root)
    wait_for(page, "Trial 0: root.")
