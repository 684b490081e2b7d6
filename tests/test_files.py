"""Files and folders are whole or not there, whoever dies when."""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import signal
import stat
from pathlib import Path

import pytest

from autokd.errors import DataError, StorageError, first_line, named_line
from autokd.files import new_file, new_folder, part_of, publish, write_atomic, write_checked, write_json

ROOT = Path(__file__).parents[1]


def test_a_file_is_whole_or_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "a.txt"
    write_atomic(file, "one")
    with pytest.raises(RuntimeError), new_file(file) as part:
        part.write_text("half of two")
        raise RuntimeError
    assert file.read_text() == "one" and list(file.parent.iterdir()) == [file]
    write_atomic(file, b"two")
    assert file.read_text() == "two" and list(file.parent.iterdir()) == [file]


def test_a_file_has_the_rights_that_others_have(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    write_atomic(tmp_path / "ours", "")
    rights = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "ours")]
    assert rights[0] == rights[1]


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("synced"))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("named"), replace(a, b)))
    write_atomic(tmp_path / "a", "x")
    assert done == ["synced", "named"]
    done.clear()
    write_json(tmp_path / "b", {}, lasting=False)
    assert done == ["named"]
    done.clear()
    with new_folder(tmp_path / "folder") as folder:
        (folder / "one").write_text("1")
        (folder / "below").mkdir()
        (folder / "below" / "two").write_text("2")
    assert done == ["synced", "synced", "named"]


def test_the_first_of_two_files_stays(tmp_path: Path) -> None:
    file = tmp_path / "a"
    for text in ("first", "second"):
        with new_file(file, replace=False) as part:
            part.write_text(text)
    assert file.read_text() == "first" and list(tmp_path.iterdir()) == [file]


def test_the_first_of_two_folders_stays(tmp_path: Path) -> None:
    with new_folder(tmp_path / "f") as outer:
        (outer / "late").touch()
        work = tmp_path / "work"
        work.mkdir()
        (work / "first").touch()
        publish(work, tmp_path / "f")
    assert [p.name for p in (tmp_path / "f").iterdir()] == ["first"] and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_was_not_finished_is_gone(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_folder(tmp_path / "f") as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_the_disk_refuses_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="must be writable, but got No space left"):
        write_checked(tmp_path / "a", b"x")
    assert list(tmp_path.iterdir()) == []


def _write_and_die(file: Path) -> None:
    with new_file(file) as part:
        part.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_process_leaves_no_half_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("old")
    process = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(file,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert file.read_text() == "old" and len(list(tmp_path.glob("a.*.part"))) == 1


def test_a_part_is_named_by_its_writer(tmp_path: Path) -> None:
    assert part_of(tmp_path / "a") == part_of(tmp_path / "a") != part_of(tmp_path / "b")
    assert part_of(tmp_path / "a").parent == tmp_path


@pytest.mark.parametrize(
    ("error", "line", "named"),
    [
        (ValueError("\n  it holds no graph\nTraceback ..."), "it holds no graph", "ValueError: it holds no graph"),
        (MemoryError(), "MemoryError", "MemoryError"),
        (RuntimeError("x" * 400), "x" * 300, "RuntimeError: " + "x" * 300),
        (DataError("a law", 3), "a law, but got 3.", "DataError: a law, but got 3."),
    ],
    ids=["the first of several", "nothing said", "endless", "one of ours"],
)
def test_an_error_in_one_line(error: Exception, line: str, named: str) -> None:
    assert (first_line(error), named_line(error)) == (line, named)


def test_nobody_else_renames_or_cuts_lines() -> None:
    own = re.compile(
        r"os\.(replace|rename|link)\(|mkstemp|NamedTemporaryFile|\.part\"|splitlines\(\)( or \[\"\"\]\))?\[0\]"
    )
    found = {
        str(f.relative_to(ROOT))
        for folder in ("autokd", "dashboard")
        for f in (ROOT / folder).rglob("*.py")
        if own.search(f.read_text(encoding="utf-8"))
    }
    assert found == {"autokd/files.py", "autokd/teachers/bank.py"}, "the bank looks for parts that were left"
