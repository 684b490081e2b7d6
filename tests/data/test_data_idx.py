"""IDX files and Fashion-MNIST: whole or refused; downloads from a server of our own on loopback."""

from __future__ import annotations

import gzip
import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from autokd.data import fashion_mnist
from autokd.data.idx import read_idx
from autokd.errors import DataError
from autokd.protocols import Dataset

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_what_was_written_is_read(tmp_path: Path, dtype: str, pack: Callable[[bytes], bytes]) -> None:
    array = (np.arange(24).reshape(2, 3, 4) - (0 if dtype == "u1" else 9)).astype(dtype)
    (tmp_path / "f").write_bytes(pack(idx(array)))
    found = read_idx(tmp_path / "f")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


GOOD = idx(np.arange(200, dtype=np.uint8))


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\0\0", b"hello world", GOOD[:5], GOOD[:-1], GOOD + b"x", gzip.compress(GOOD)[:-12], b"\x1f\x8bnothing"],
    ids=["empty", "short", "text", "no_dims", "cut", "long", "cut_gzip", "bad_gzip"],
)
def test_damaged_files_are_named(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "bad-idx").write_bytes(damaged)
    with pytest.raises(DataError, match=r"bad-idx must"):
        read_idx(tmp_path / "bad-idx")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere"):
        read_idx(tmp_path / "nowhere")


@pytest.fixture
def four(tmp_path: Path) -> Path:
    """A folder with the four files, tiny: 60 to train on, 20 to test."""
    folder = tmp_path / "four"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, n in (("train", 60), ("t10k", 20)):
        images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx((np.arange(n) % 10).astype(np.uint8))))
    return folder


@pytest.fixture
def server(four: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serves the four files in place of the official ones; gives the paths that were asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            asked.append(self.path)

    host = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(four)))
    thread = threading.Thread(target=host.serve_forever)
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fashion_mnist, "URL", f"http://127.0.0.1:{host.server_port}")
    sums = {n: hashlib.sha256((four / n).read_bytes()).hexdigest() for n in fashion_mnist.SHA256}
    monkeypatch.setattr(fashion_mnist, "SHA256", sums)
    yield asked
    host.shutdown()
    thread.join()
    host.server_close()


def test_a_folder_of_files_is_read(load: Callable[..., Dataset], four: Path) -> None:
    data = load("fashion_mnist", four)
    assert (data.inputs.shape, data.inputs.dtype) == ((80, 1, 28, 28), np.uint8)
    assert data.classes[9] == "Ankle boot"
    assert np.array_equal(data.splits.test, np.arange(60, 80))
    assert (data.spec.low, data.spec.high) == (0.0, 255.0)


def test_unpacked_files_serve_as_well(load: Callable[..., Dataset], four: Path) -> None:
    before = load("fashion_mnist", four).fingerprint
    for file in list(four.iterdir()):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    assert load("fashion_mnist", four).fingerprint == before


def test_a_missing_file_and_a_missing_folder_are_named(load: Callable[..., Dataset], four: Path) -> None:
    (four / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"must hold t10k-labels"):
        load("fashion_mnist", four)
    with pytest.raises(DataError, match=r"must be a folder"):
        load("fashion_mnist", four / "no")


@pytest.mark.parametrize(
    ("name", "array", "law"),
    [
        ("train-images-idx3-ubyte.gz", np.zeros((60, 32, 32), np.uint8), "28, 28"),
        ("train-labels-idx1-ubyte.gz", np.zeros(59, np.uint8), "one uint8 label for each"),
        ("t10k-labels-idx1-ubyte.gz", np.full(20, 10, np.uint8), "labels 0 .. 9"),
    ],
    ids=["size", "count", "label"],
)
def test_files_that_are_something_else(
    load: Callable[..., Dataset], four: Path, name: str, array: np.ndarray, law: str
) -> None:
    (four / name).write_bytes(gzip.compress(idx(array)))
    with pytest.raises(DataError, match=law):
        load("fashion_mnist", four)


def test_downloads_once_with_progress(
    load: Callable[..., Dataset], four: Path, server: list[str], told: list[str], tmp_path: Path
) -> None:
    data = load("fashion_mnist")
    assert data.fingerprint == load("fashion_mnist", four).fingerprint
    assert sorted(p.strip("/") for p in server) == sorted(fashion_mnist.SHA256)
    assert any("train-images" in line for line in told)
    assert load("fashion_mnist").fingerprint == data.fingerprint
    assert len(server) == 4
    assert sorted(f.name for f in (tmp_path / "cache" / "fashion_mnist").iterdir()) == sorted(fashion_mnist.SHA256)


def test_a_damaged_copy_is_fetched_again(load: Callable[..., Dataset], server: list[str], tmp_path: Path) -> None:
    before = load("fashion_mnist").fingerprint
    (tmp_path / "cache" / "fashion_mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"half")
    assert load("fashion_mnist").fingerprint == before
    assert len(server) == 5


def test_other_bytes_than_the_official_are_refused_and_not_kept(
    load: Callable[..., Dataset], four: Path, server: list[str], tmp_path: Path
) -> None:
    (four / "train-images-idx3-ubyte.gz").write_bytes(b"<html>please log in</html>")
    with pytest.raises(DataError, match=r"SHA-256"):
        load("fashion_mnist")
    assert list((tmp_path / "cache" / "fashion_mnist").iterdir()) == []


def test_offline_is_one_clear_error(
    load: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket() as closed:  # bound, never listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(fashion_mnist, "URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(DataError, match=r"must be downloadable.*Give `data.path`"):
            load("fashion_mnist")
    assert list((tmp_path / "cache" / "fashion_mnist").iterdir()) == []
