"""The benchmark against a newcomer's script: rules, tables, what is kept, counted CPU seconds, sets, and the script itself."""

from __future__ import annotations

import gzip
import io
import json
import math
import subprocess
import sys
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import plain_runs
import plain_sets
import pytest
import torch
from charged import run_charged
from peers import plain_script as peer
from PIL import Image
from plain_runs import Row, SetRuns, read_run
from plain_script import Eta, all_runs, chosen, rows_of, section
from plain_tables import AUTOKD, SCRIPT, File, Run, ahead, at_latencies, box_line, box_of, set_table, standard_error

from autokd.data.dataset import load_dataset
from autokd.deployment.verify import scores
from autokd.errors import DataError
from autokd.files import write_json

SHARED = Path(__file__).parents[3] / "shared" / "data"


def run(side: str, *files: tuple[float, float, float], budget: float = 60.0, seed: int = 0, tests: int = 10_000) -> Run:
    """Files as (validation, test, ms)."""
    made = (File(f"{k}.onnx", validation, test, ms) for k, (validation, test, ms) in enumerate(files))
    return Run(side, budget, seed, 70.0, 50.0, tests, tuple(made))


# -- rules


def test_the_box_is_the_script_s_but_for_the_best_accuracy() -> None:
    runs = [
        run(SCRIPT, (0.9, 0.88, 0.015), (0.9, 0.92, 0.020)),
        run(SCRIPT, (0.9, 0.80, 0.016), (0.9, 0.95, 0.030), budget=600.0),
        run(AUTOKD, (0.9, 0.70, 0.001), (0.9, 0.97, 0.500)),
    ]
    box = box_of(runs)
    assert (box.poor, box.good, box.fast_ms, box.slow_ms) == pytest.approx((0.78, 0.98, 0.015, 0.045))
    with pytest.raises(ValueError, match="script"):
        box_of(runs[2:])


def test_the_hypervolume_is_that_of_the_test_split_within_the_box() -> None:
    found = run(SCRIPT, (0.5, 0.9, 0.01), (1.0, 0.8, 0.01))
    box = box_of([found])  # accuracy .78 to .91, one file's latency to 1.5 times that
    assert found.volume(box) == pytest.approx((0.9 - 0.78) / (0.91 - 0.78))
    assert run(AUTOKD).volume(box) == 0.0


def test_ahead_is_more_than_two_standard_errors_or_nothing_left_to_win() -> None:
    script = [0.50, 0.52, 0.54]  # mean .52, standard error .0115
    assert ahead([0.60, 0.62, 0.64], script, 0.9) is True
    assert ahead([0.53, 0.55, 0.57], script, 0.9) is False, "by .03, where two errors are .033"
    assert ahead([0.515, 0.516, 0.517], script, 0.525) is True, "both within .01 of the set's best"
    assert ahead([0.40, 0.41, 0.42], script, 0.525) is False
    assert ahead([0.9], [0.5], 0.9) is None, "one seed has no error"
    assert ahead([0.895], [0.892], 0.9) is True


def test_an_error_is_no_smaller_than_the_test_split_makes_it() -> None:
    assert standard_error([1.0, 2.0, 3.0]) == pytest.approx(1 / math.sqrt(3))
    assert standard_error([1.0, 1.0, 1.0], least=0.3) == pytest.approx(0.3 / math.sqrt(3))
    assert math.isnan(standard_error([1.0])) and standard_error([1.0], 0.2) == 0.2


def test_at_a_latency_a_person_takes_what_validation_says() -> None:
    script = run(SCRIPT, (0.9, 0.90, 0.010), (0.95, 0.95, 0.020))
    ours = run(AUTOKD, (0.93, 0.91, 0.012), (0.94, 0.94, 0.018), (0.92, 0.99, 0.019), (0.99, 0.99, 0.021))
    slow, fast = at_latencies([(script, ours)])[::-1]
    assert (slow.script, slow.ours) == (0.95, 0.94), "neither the best on test nor a slower one"
    assert slow.behind, "a point, where two errors of 10,000 samples are .6 of one"
    assert fast.ours is None and fast.behind, "nothing is that fast"
    assert not at_latencies([(run(SCRIPT, (0.95, 0.95, 0.020), tests=270), ours)])[0].behind


# -- table


def test_a_row_says_what_was_used_who_is_ahead_and_at_which_latency_not() -> None:
    runs = [run(SCRIPT, (0.9, 0.90 + s / 1000, 0.010), (0.9, 0.95, 0.020), seed=s) for s in range(3)]
    runs += [run(AUTOKD, (0.9, 0.93 + s / 1000, 0.009), seed=s) for s in range(3)]
    runs += [run(SCRIPT, (0.9, 0.96, 0.010), (0.9, 0.96, 0.020), budget=180.0)]
    head, _, first, second = ([c.strip() for c in line.strip("|").split("|")] for line in set_table(runs))
    row = dict(zip(head[:2] + head[6:], first[:2] + first[6:], strict=True))
    assert row == {
        "budget (CPU s)": "60",
        "seeds": "3",
        "ahead": "**yes**",
        "at net 1: script / autokd": "90.1% / 93.1% (10.0 µs)",
        "at net 2: script / autokd": "95.0% / 93.1% behind (20.0 µs)",
    }
    assert first[2:4] == ["70", "70"] and "±" in first[4]
    assert second[0] == "180" and second[3] == "–" and second[5:] == ["–", "–", "–", "–"]
    assert box_line(runs).startswith("Box: log latency 10 to 30 µs x accuracy 0.880 to 0.970; 10,000 test")


def test_the_section_says_the_command_without_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["x", "--seeds", "1", "--folder", "/a"])
    text = section({"Digits": ["| a |"]}, 0.0)
    assert "plain_script.py --seeds 1`" in text and "**Digits**\n\n| a |" in text


# -- budgets, order, resume


def test_all_nets_share_what_is_left_in_equal_steps() -> None:
    assert peer.steps_of(40.0, [0.01, 0.02, 0.03, 0.04], least=10) == 400
    assert peer.steps_of(-3.0, [0.01], least=10) == 10


def test_rows_come_short_ones_first_both_sides_in_turn() -> None:
    rows = list(rows_of([180.0, 60.0], 2, [SCRIPT, AUTOKD]))
    assert rows[:3] == [Row(SCRIPT, 60.0, 0), Row(AUTOKD, 60.0, 0), Row(SCRIPT, 60.0, 1)]
    assert len({row.place(Path("x")) for row in rows}) == 8


def test_the_time_to_go_is_told_by_what_runs_took() -> None:
    eta = Eta(180.0)
    assert str(eta) == str(Eta(180.0, 1.0, 1.0))
    eta.done(60.0, None)
    eta.done(60.0, 30.0)
    assert (eta.left_s, eta.wall_s / eta.spent_s) == (60.0, 0.5)


def test_a_finished_run_is_read_not_repeated_and_a_failed_one_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, told = SetRuns(plain_sets.SETS["digits"], tmp_path, tmp_path / "digits"), []
    rows = list(rows_of([60.0], 1, [SCRIPT, AUTOKD]))
    there = run(SCRIPT, (0.9, 0.9, 0.0))
    write_json(rows[0].place(runs.folder) / "run.json", asdict(there))
    assert read_run(rows[0].place(runs.folder) / "run.json") == there
    assert all_runs(runs, rows, True, Eta(0.0), told.append) == [there] and not told
    monkeypatch.setattr(plain_runs, "run_charged", _killed)
    assert all_runs(runs, rows, False, Eta(0.0), told.append) == [there]
    assert "failed" in told[-1] and "autokd, 60 CPU s" in told[0]
    assert runs.kept(rows[1]) is None, "it is tried again"


def _killed(*arguments: Any) -> Any:
    raise RuntimeError("the CPU seconds were not counted")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    assert chosen("b,a", ["a", "b", "c"], "a set") == ["a", "b"] and chosen("", ["a"], "a set") == ["a"]
    with pytest.raises(SystemExit, match="a, b, but got 'x'"):
        chosen("x", ["a", "b"], "a set")


# -- CPU seconds

BURN = "import time\nwhile time.process_time() < 0.4: pass"
ESCAPING = f"""
import signal, subprocess, sys, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", {BURN!r}])
time.sleep(1.5)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts by /proc")
@pytest.mark.parametrize(
    ("words", "least"),
    [
        pytest.param([sys.executable, "-c", BURN], 0.4, id="itself"),
        pytest.param([sys.executable, "-c", ESCAPING], 0.3, id="child of one who ignores it"),
        pytest.param(["sh", "-c", f"setsid {sys.executable} -c '{BURN}' & exit 0"], 0.4, id="orphan"),
    ],
)
def test_every_process_is_charged(words: list[str], least: float, tmp_path: Path) -> None:
    found = run_charged(words, tmp_path, tmp_path / "out.txt", tmp_path / "report.json")
    assert found.code == 0 and least <= found.cpu_s < least + 1.5


def test_a_failing_command_is_told_by_its_code_and_its_output_kept(tmp_path: Path) -> None:
    found = run_charged(["sh", "-c", "echo why; exit 3"], tmp_path, tmp_path / "out.txt", tmp_path / "report.json")
    assert found.code == 3 and (tmp_path / "out.txt").read_text() == "why\n"


# -- sets


def test_tracks_are_never_cut_and_every_class_validates() -> None:
    names = [f"train/{c:02d}/{t:05d}_{f:05d}.png" for c in range(4) for t in range(5 + 10 * c) for f in (9, 19, 29)]
    found = plain_sets.validation_tracks(names, 0.1)
    assert [sum(label == f"{c:02d}" for label, _ in found) for c in range(4)] == [1, 2, 2, 4]
    assert found == plain_sets.validation_tracks(names[::-1], 0.1), "always the same"
    with pytest.raises(DataError, match="two tracks"):
        plain_sets.validation_tracks(names[:3], 0.1)


def test_signs_are_unpacked_in_one_size_with_whole_tracks_in_val(tmp_path: Path) -> None:
    names = [f"train/{c}/{t}_{f}.png" for c in "ab" for t in (1, 2, 3) for f in (1, 2)] + ["test/a/1.png"]
    with tarfile.open(tmp_path / "signs.tar", "w") as archive:
        for name in names:
            data = io.BytesIO()
            Image.new("RGB", (20, 50), "red").save(data, "PNG")
            member = tarfile.TarInfo(name)
            member.size = data.tell()
            data.seek(0)
            archive.addfile(member, data)
    plain_sets.traffic_signs(tmp_path / "signs.tar", tmp_path)
    val = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.glob("val/*/*.png"))
    assert len(val) == 4 and len({plain_sets.track(name) for name in val}) == 2
    assert len(list(tmp_path.glob("train/*/*.png"))) == 8 and len(list(tmp_path.glob("test/*/*.png"))) == 1
    with Image.open(tmp_path / val[0]) as image:
        assert image.size == (32, 32)


def test_a_set_whose_files_are_not_there_says_which(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs the files in gtsrb/gtsrb\.tar"):
        SetRuns(plain_sets.SETS["gtsrb"], tmp_path, tmp_path / "gtsrb")


def write_adult(folder: Path) -> Path:
    """Forty rows for training and three for testing, as the archive has them; the made table."""
    row = "{0}, {1}, 7{0}, Bachelors, 13, Never-married, {2}, Husband, White, Male, 0, 0, 40, United-States, {3}\n"
    jobs = ("Sales", "?", "Craft-repair")
    rows = [
        row.format(20 + k, ("Private", "State-gov")[k % 2], jobs[k % 3], (">50K", "<=50K")[k % 2]) for k in range(40)
    ]
    for part, text in (("train", "".join(rows)), ("test", "".join(rows[:3]).replace("50K\n", "50K.\n"))):
        (folder / f"adult-{part}.csv.gz").write_bytes(gzip.compress(f"{text}\n".encode()))
    plain_sets.adult(folder, folder)
    return folder / "train.csv"


def test_the_script_reads_a_table_as_autokd_does(tmp_path: Path) -> None:
    file = write_adult(tmp_path)
    inputs, targets, words = peer.read_table(file)
    ours = load_dataset("csv", str(file), {"test": "test.csv"}, seed=0, cache_dir=tmp_path / "cache")
    assert np.array_equal(np.asarray(ours.inputs[np.arange(40)]), inputs.numpy())
    assert np.array_equal(ours.targets[:40], targets.numpy()) and len(ours.splits.test) == 3
    assert tuple(words) == ours.spec.facts["cardinalities"]
    assert words[6] == 2 and int((inputs[:, 6] == -1).sum()) == 13, "a missing word is none"


def test_the_script_reads_pictures_as_autokd_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels, targets = rng.integers(0, 256, (60, 9, 9), np.uint8), np.arange(60) % 2
    for part, rows in (("train", range(40)), ("val", range(40, 50)), ("test", range(50, 60))):
        plain_sets._save_pictures(tmp_path / "data" / part, rows, pixels, targets)
    found = peer.read(str(tmp_path / "data"), None)
    ours = load_dataset("image_folder", str(tmp_path / "data"), {}, seed=0, cache_dir=tmp_path / "cache")
    index = np.sort(np.concatenate([ours.splits.train, ours.splits.calibration]))
    for (inputs, classes), rows in ((found.train, index), (found.validation, ours.splits.validation)):
        assert np.array_equal(np.asarray(ours.inputs[rows]), inputs.numpy())
        assert np.array_equal(ours.targets[rows], classes.numpy())


@pytest.mark.shared
def test_the_signs_of_the_archive_are_all_there(tmp_path: Path) -> None:
    archive = SHARED / "gtsrb" / "gtsrb.tar"
    if not archive.exists():
        pytest.skip(f"no traffic signs at {archive}")
    with tarfile.open(archive) as files:
        names = [m.name for m in files.getmembers() if m.name.startswith("train/") and m.isfile()]
    found = plain_sets.validation_tracks(names, plain_sets.VALIDATION)
    assert len(names) == 3920 and len({label for label, _ in found}) == 43
    assert 0.08 < sum(plain_sets.track(n) in found for n in names) / len(names) < 0.13


# -- the script


def test_a_shifted_picture_keeps_its_values_and_its_kind() -> None:
    pictures = torch.arange(2 * 3 * 12 * 12).reshape(2, 3, 12, 12).remainder(251).to(torch.uint8)
    found = peer.moved(pictures)
    assert found.dtype == torch.uint8 and found.shape == pictures.shape
    spots = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    for before, after in zip(pictures, found, strict=True):
        middle = after[:, 1:-1, 1:-1]
        assert any(torch.equal(before[:, 1 + y : 11 + y, 1 + x : 11 + x], middle) for y, x in spots)


def test_a_teacher_s_outputs_pull_where_the_labels_do_not() -> None:
    inputs, targets = torch.zeros(4, 1, 8, 8), torch.tensor([0, 0, 1, 1])
    data, logits = peer.Data((inputs, targets), (inputs, targets), 2), torch.tensor([[9.0, 0.0]]).repeat(4, 1)
    rows, said = torch.tensor([2, 3]), torch.tensor([[3.0, 0.0]]).repeat(2, 1)
    assert peer.Training(data, None).loss(said, rows) > peer.Training(data, None).loss(-said, rows)
    assert peer.Training(data, logits).loss(said, rows) < peer.Training(data, logits).loss(-said, rows)


@pytest.mark.slow
def test_the_script_s_files_read_raw_values_and_are_as_good_as_it_says(tmp_path: Path) -> None:
    """On digits, from the labels; then once more with the largest of its nets as the teacher; and on a table."""
    ours = load_dataset("digits", None, {}, seed=0, cache_dir=tmp_path)
    rows = {"train": ours.splits.train, "validation": ours.splits.validation}
    np.savez(tmp_path / "split.npz", **rows)
    taught = ["--teacher", str(tmp_path / "labels" / "width_32.onnx")]
    for name, more in (("labels", []), ("taught", taught)):
        words = ["digits", str(tmp_path / name), "--cpu-s", "9", "--split", str(tmp_path / "split.npz"), *more]
        subprocess.run([sys.executable, str(plain_runs.PEER), *words], check=True)
        told = json.loads((tmp_path / name / "nets.json").read_text())
        assert [net["width"] for net in told["nets"]] == [8, 16, 24, 32]
        assert all(net["epochs"] >= 1 for net in told["nets"])
        for net in told["nets"]:
            found = scores(tmp_path / name / net["file"], np.asarray(ours.inputs[rows["validation"]])).argmax(1)
            right = float((found == ours.targets[rows["validation"]]).mean())
            assert right == pytest.approx(net["validation_accuracy"], abs=0.01) and right > 0.5
    write_adult(tmp_path)
    words = [str(tmp_path / "train.csv"), str(tmp_path / "table"), "--cpu-s", "1"]
    subprocess.run([sys.executable, str(plain_runs.PEER), *words], check=True)
    assert scores(tmp_path / "table" / "width_16.onnx", np.zeros((5, 14), np.float32)).shape == (5, 2)
