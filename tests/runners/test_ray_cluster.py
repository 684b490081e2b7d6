"""A search on a Ray that somebody else started: it is joined, used, and left running; a wrong address is refused."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import autokd
from autokd.errors import HardwareError
from tests.support import run_process, tiny, write_study

RAY = str(Path(sys.executable).with_name("ray"))
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "4f1d9e6ab7c84a23b5f05d0f0f6a7e11"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A head of two CPUs that asks for a token; its address and process. Only this one is ended: `ray stop` ends all."""
    with socket.socket() as found:
        found.bind(("", 0))
        port = found.getsockname()[1]
    command = [RAY, "start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false", "--block"]
    environment = {**os.environ, **TOKEN, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    head = subprocess.Popen(
        [*command, f"--temp-dir={tmp_path_factory.mktemp('r')}", "--dashboard-agent-listen-port=0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    assert head.stdout is not None
    said = ""
    for line in head.stdout:
        said += line
        if found_address := re.search(r"--address='([\d.]+:\d+)'", line):
            threading.Thread(target=head.stdout.read, daemon=True).start()
            yield found_address[1], head
            break
    os.killpg(head.pid, signal.SIGKILL)
    head.wait()
    head.stdout.close()
    assert "--address=" in said, said


@pytest.mark.slow
def test_a_search_joins_a_cluster_and_leaves_it_running(cluster, tmp_path: Path) -> None:
    address, head = cluster
    write_study(tmp_path, tiny(name="joined", runner="ray", concurrency=2))
    ran = run_process("search", "study.yaml", "--ray-address", address, cwd=tmp_path, **TOKEN)
    assert ran.code == 0, ran.stderr
    assert autokd.open_study("joined", storage=f"sqlite:///{tmp_path}/autokd.db").status()["outcomes"]["measured"] == 3
    assert head.poll() is None
    status = [RAY, "status", f"--address={address}"]
    done = subprocess.run(status, capture_output=True, text=True, timeout=240, env={**os.environ, **TOKEN})
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_cluster_that_wants_a_token_says_how_to_give_it(cluster, tmp_path: Path) -> None:
    address, _ = cluster
    write_study(tmp_path, tiny(name="stranger", runner="ray"))
    ran = run_process("search", "study.yaml", "--ray-address", address, cwd=tmp_path, RAY_AUTH_MODE="disabled")
    assert ran.code == 2
    assert "RAY_AUTH_MODE=token" in ran.stderr and "Traceback" not in ran.stderr


def test_a_cluster_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]  # closed again: nobody listens there
    raw = tiny(name="alone", runner="ray", storage={"url": f"sqlite:///{tmp_path}/autokd.db"})
    with pytest.raises(HardwareError, match=r"must start on 127\.0\.0\.1"):
        autokd.search(raw, ray_address=f"127.0.0.1:{port}")


def test_a_wrong_address_is_known_before_ray_tries_it_for_minutes() -> None:
    from autokd.runners.ray_runner import _reach

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(OSError):
        _reach(f"ray://127.0.0.1:{port}")
    assert time.monotonic() - began < 20
    _reach("auto")  # not an address: Ray finds it
