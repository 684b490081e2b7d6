"""The bank: right numbers, computed once, kept through a kill, refused where it does not belong."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autokd.errors import StorageError, TeacherError
from autokd.files import part_of
from autokd.protocols import TeacherOutputs
from autokd.teachers import bank as module
from autokd.teachers.bank import TeacherBank

PROJECTION = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)


@dataclass
class Shifted:
    inputs: np.ndarray
    count: int = 4
    fingerprint: str = "digits, shifted"

    @property
    def size(self) -> int:
        return len(self.inputs)

    def batch(self, positions: np.ndarray, view: int) -> np.ndarray:
        return np.roll(self.inputs[positions], view, axis=3)


@dataclass
class Linear:
    """A teacher that counts what it is asked, and may fail on the way."""

    scale: float = 1.0
    fingerprint: str = "linear"
    name: str = "linear"
    asked: int = 0
    on_call: Callable[[int], None] = field(default=lambda asked: None)

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        self.asked += len(inputs)
        self.on_call(self.asked)
        return self.scale * inputs.reshape(len(inputs), -1).astype(np.float32) @ PROJECTION

    def onnx_file(self) -> None:
        return None


@pytest.fixture(scope="module")
def views(digits: Any) -> Shifted:
    return Shifted(digits.inputs[:1300])


def fill(teacher: Linear, views: Shifted, folder: Path, count: int = 2, **more: Any) -> TeacherBank:
    return TeacherBank.fill(teacher, views, folder, count=count, **more)


def said(bank: TeacherOutputs, positions: np.ndarray, view: int) -> np.ndarray:
    return bank.taps(positions, view, frozenset({"logits"}))["logits"]


def test_outputs_are_those_of_the_same_pixels(views: Shifted, tmp_path: Path) -> None:
    fill(Linear(), views, tmp_path / "bank", 3)
    bank = TeacherBank.open(tmp_path / "bank")
    outputs: TeacherOutputs = bank
    positions = np.array([1299, 0, 700, 0])
    for view in range(3):
        found = said(outputs, positions, view)
        assert found.shape == (4, 10) and found.dtype == np.float32
        np.testing.assert_allclose(found, Linear().logits(views.batch(positions, view)), rtol=2e-3, atol=0.1)
    assert not np.allclose(said(outputs, positions, 0), said(outputs, positions, 1))
    stored = np.load(tmp_path / "bank" / "logits" / "view-0000.npy", mmap_mode="r", allow_pickle=False)
    assert stored.dtype == np.float16 and stored.shape == (1300, 10)


def test_nothing_is_computed_twice(views: Shifted, tmp_path: Path) -> None:
    first, second = Linear(), Linear()
    fill(first, views, tmp_path, 2)
    fill(second, views, tmp_path, 2)
    assert first.asked == 2 * 1300 + 1 and second.asked == 1  # one sample tells the number of classes
    fill(second, views, tmp_path, 4)
    assert second.asked == 2 + 2 * 1300


def test_progress_and_pace(views: Shifted, tmp_path: Path) -> None:
    shares: list[float] = []
    inside, entered = [0], [0]

    @contextlib.contextmanager
    def pace() -> Iterator[None]:
        inside[0] += 1
        entered[0] += 1
        yield
        inside[0] -= 1

    teacher = Linear()
    teacher.on_call = lambda asked: pytest.fail("outside pace()") if asked > 1 and not inside[0] else None
    fill(teacher, views, tmp_path, pace=pace, progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) == entered[0] == 6


def _fill_and_die(folder: Path, inputs: np.ndarray) -> None:
    def die(asked: int) -> None:
        if asked > 1300 + 600:
            os.kill(os.getpid(), signal.SIGKILL)

    fill(Linear(on_call=die), Shifted(inputs), folder, 3)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_kill_keeps_finished_views_only(views: Shifted, tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_fill_and_die, args=(tmp_path, views.inputs))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert [f.name for f in sorted(tmp_path.glob("logits/view-*.npy"))] == ["view-0000.npy"]
    assert list(tmp_path.rglob("*.part"))
    with pytest.raises(StorageError, match="must hold"):
        said(TeacherBank.open(tmp_path), np.arange(2), 1)
    again = Linear()
    bank = fill(again, views, tmp_path, 3)
    assert again.asked == 1 + 2 * 1300
    assert not list(tmp_path.glob("*.part"))
    everything = np.arange(1300)
    for view in range(3):
        np.testing.assert_allclose(
            said(bank, everything, view), Linear().logits(views.batch(everything, view)), rtol=2e-3, atol=0.1
        )


def test_numbers_beyond_fp16_are_kept_in_fp32(views: Shifted, tmp_path: Path) -> None:
    teacher = Linear(scale=1e3)
    bank = fill(teacher, views, tmp_path, 1)
    assert np.load(tmp_path / "logits" / "view-0000.npy", mmap_mode="r").dtype == np.float32
    everything = np.arange(1300)
    want = teacher.logits(views.batch(everything, 0))
    assert np.abs(want).max() > 65504
    np.testing.assert_allclose(said(bank, everything, 0), want, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize(
    ("teacher", "fingerprint", "size", "says"),
    [
        ("other", "digits, shifted", 1300, "teacher"),
        ("linear", "other", 1300, "views"),
        ("linear", "x", 90, "views, size"),
    ],
    ids=str,
)
def test_another_key_is_refused(
    views: Shifted, tmp_path: Path, teacher: str, fingerprint: str, size: int, says: str
) -> None:
    fill(Linear(), views, tmp_path)
    with pytest.raises(StorageError, match=f"another {says}"):
        fill(Linear(fingerprint=teacher), Shifted(views.inputs[:size], fingerprint=fingerprint), tmp_path)


@pytest.mark.parametrize("content", [None, "", "{}", '{"format": 1, "unknown": 2}', "[1]"], ids=str)
def test_no_bank_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / module.MANIFEST).write_text(content)
    with pytest.raises(StorageError, match="bank must be readable"):
        TeacherBank.open(tmp_path)


def test_full_disk_is_one_clear_error(views: Shifted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(Linear(), views, tmp_path, 1)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        fill(Linear(), views, tmp_path, 2)
    assert not list(tmp_path.rglob("*.part")) and not (tmp_path / "logits" / "view-0001.npy").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_write_that_fails_is_one_clear_error(tmp_path: Path) -> None:
    part_of(tmp_path / "view-0000.npy").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left"):
        module._replace(tmp_path / "view-0000.npy", [b"x" * 10])
    assert not (tmp_path / "view-0000.npy").exists()


def test_a_folder_that_cannot_be_is_refused(views: Shifted, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="disk must take"):
        fill(Linear(), views, tmp_path / "file" / "bank")


def test_not_finite_outputs_are_refused(views: Shifted, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="finite"):
        fill(Linear(scale=float("nan")), views, tmp_path)
    assert not list(tmp_path.glob("view*"))


def test_errors_of_the_data_keep_their_name(views: Shifted, tmp_path: Path) -> None:
    class Gone(Shifted):
        def batch(self, positions: np.ndarray, view: int) -> np.ndarray:
            if len(positions) > 1:
                raise FileNotFoundError("picture.png")
            return super().batch(positions, view)

    with pytest.raises(FileNotFoundError, match="picture"):
        fill(Linear(), Gone(views.inputs), tmp_path)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("count", [0, 5])
def test_views_that_are_not_are_refused(views: Shifted, tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match=r"views\.count"):
        fill(Linear(), views, tmp_path, count)


def test_clean_outputs_are_cached_by_name(views: Shifted, digits: Any, tmp_path: Path) -> None:
    fill(Linear(), views, tmp_path, 1)
    held_out, teacher = digits.held_out[0], Linear()
    with pytest.raises(StorageError, match="must hold"):
        TeacherBank.open(tmp_path).clean("validation")
    first = TeacherBank.open(tmp_path).clean("validation", held_out, teacher)
    assert teacher.asked == 400
    np.testing.assert_allclose(first, Linear().logits(held_out), rtol=2e-3, atol=0.1)
    again = TeacherBank.open(tmp_path).clean("validation", held_out, teacher)
    alone = TeacherBank.open(tmp_path).clean("validation")
    assert teacher.asked == 400
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, alone)
    with pytest.raises(StorageError, match="400 of 399"):
        TeacherBank.open(tmp_path).clean("validation", held_out[:399])
    with pytest.raises(StorageError, match="one teacher"):
        TeacherBank.open(tmp_path).clean("test", held_out, Linear(fingerprint="other"))


def test_a_bank_travels_to_a_worker(views: Shifted, tmp_path: Path) -> None:
    bank = fill(Linear(), views, tmp_path, 1)
    here = said(bank, np.arange(5), 0)
    message = pickle.dumps(bank)
    assert len(message) < 1000
    np.testing.assert_array_equal(said(pickle.loads(message), np.arange(5), 0), here)  # noqa: S301


def _fill_slowly(folder: Path, inputs: np.ndarray, barrier: Any, asked: Any) -> None:
    teacher = Linear()
    barrier.wait(60)
    fill(teacher, Shifted(inputs), folder, 2)
    with asked.get_lock():
        asked.value += teacher.asked


def test_two_processes_fill_one_bank_once(views: Shifted, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, asked = context.Barrier(2), context.Value("q", 0)
    processes = [context.Process(target=_fill_slowly, args=(tmp_path, views.inputs, barrier, asked)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [p.exitcode for p in processes] == [0, 0]
    assert asked.value == 2 * 1300 + 2


@dataclass
class Telling(Linear):
    """A teacher that has more to say than logits."""

    def taps(self, inputs: np.ndarray, names: frozenset[str]) -> dict[str, np.ndarray]:
        found = {"body.2/relu": inputs.astype(np.float32)[:, :, ::2, ::2]}
        return found | ({"logits": self.logits(inputs)} if "logits" in names else {})


def test_a_new_tap_adds_files_to_the_bank_that_is_there(views: Shifted, tmp_path: Path) -> None:
    fill(Telling(), views, tmp_path)
    before = {f: f.stat().st_mtime_ns for f in tmp_path.glob("logits/*.npy")}
    teacher = Telling()
    bank = fill(teacher, views, tmp_path, taps=frozenset({"logits", "body.2/relu"}))
    assert {f: f.stat().st_mtime_ns for f in tmp_path.glob("logits/*.npy")} == before
    assert teacher.asked == 1, "its logits were there: one sample, for the shapes"
    assert TeacherBank.open(tmp_path).names == {"logits", "body.2/relu"} and bank.views == 2
    positions = np.array([7, 1299])
    found = bank.taps(positions, 1, frozenset({"body.2/relu"}))
    assert list(found) == ["body.2/relu"]
    np.testing.assert_array_equal(found["body.2/relu"], views.batch(positions, 1)[:, :, ::2, ::2])


def test_a_teacher_of_logits_alone_is_not_asked_for_more(views: Shifted, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="embedding"):
        fill(Linear(), views, tmp_path, taps=frozenset({"embedding"}))


def as_version_0_1_left_it(folder: Path) -> None:
    for file in (folder / "logits").glob("*.npy"):
        file.replace(folder / file.name)
    (folder / "logits").rmdir()


def test_a_bank_of_version_0_1_is_read(views: Shifted, tmp_path: Path) -> None:
    there = fill(Linear(), views, tmp_path).views
    as_version_0_1_left_it(tmp_path)
    bank = TeacherBank.open(tmp_path)
    assert bank.views == there > 0 and bank.names == {"logits"}


def test_a_bank_of_version_0_1_is_taken_over(views: Shifted, tmp_path: Path) -> None:
    fill(Linear(), views, tmp_path)
    as_version_0_1_left_it(tmp_path)
    teacher = Linear()
    bank = fill(teacher, views, tmp_path)
    assert teacher.asked == 1, "one sample, for the number of classes"
    np.testing.assert_allclose(
        said(bank, np.arange(9), 1), Linear().logits(views.batch(np.arange(9), 1)), rtol=2e-3, atol=0.1
    )
