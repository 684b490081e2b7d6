"""A search on a Ray that somebody else started: it is joined, used, and left running."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import autokd
from autokd.errors import HardwareError
from tests.support import tiny

RAY = str(Path(sys.executable).with_name("ray"))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A head of two CPUs; its address and its process. Only this one is ended afterwards: `ray stop` would end them all."""
    command = [RAY, "start", "--head", f"--port={free_port()}", "--num-cpus=2", "--include-dashboard=false", "--block"]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    head = subprocess.Popen(
        [*command, f"--temp-dir={tmp_path_factory.mktemp('r')}", "--dashboard-agent-listen-port=0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    assert head.stdout is not None
    said = ""
    for line in head.stdout:
        said += line
        if found := re.search(r"--address='([\d.]+:\d+)'", line):
            threading.Thread(target=head.stdout.read, daemon=True).start()
            yield found[1], head
            break
    os.killpg(head.pid, signal.SIGKILL)
    head.wait()
    head.stdout.close()
    assert "--address=" in said, said


def test_a_search_joins_a_cluster_and_leaves_it_running(cluster, tmp_path: Path) -> None:
    address, head = cluster
    raw = tiny(name="joined", runner="ray", concurrency=2, storage={"url": f"sqlite:///{tmp_path}/autokd.db"})
    study = autokd.search(raw, ray_address=address)
    assert study.status()["outcomes"]["measured"] == 3
    assert head.poll() is None
    status = subprocess.run([RAY, "status", f"--address={address}"], capture_output=True, text=True, timeout=60)
    assert status.returncode == 0, status.stderr


def test_a_cluster_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    raw = tiny(name="alone", runner="ray", storage={"url": f"sqlite:///{tmp_path}/autokd.db"})
    with pytest.raises(HardwareError, match="must start on 127"):
        autokd.search(raw, ray_address=f"127.0.0.1:{free_port()}")
