"""A search on a Ray that somebody else started: a wrong address is refused at once."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

import autokd
from autokd.errors import HardwareError
from tests.support import tiny


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
