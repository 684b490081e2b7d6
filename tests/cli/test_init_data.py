"""`autokd init --data`: looks at a person's data, says what it saw, and writes a study file that fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import Ran

from autokd.config.load import from_yaml
from autokd.config.plan import make_plan
from autokd.config.study_file import usual_epochs

Run = Callable[..., Ran]


def pictures(folder: Path, size: tuple[int, int], colour: bool, each: int = 12) -> Path:
    rng = np.random.default_rng(0)
    for place, name in enumerate(("cat", "dog", "owl")):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            shape = (*size, 3) if colour else size
            values = rng.integers(60 * place, 60 * place + 100, shape, dtype=np.uint8)
            Image.fromarray(values).save(folder / name / f"{i}.png")
    return folder


def read(folder: Path, file: str = "study.yaml") -> tuple[str, str]:
    """Source and space of a study file."""
    plan = make_plan(from_yaml(folder / file))
    return plan.config.data.source, plan.space.name


@pytest.mark.parametrize(
    ("size", "colour", "space", "words"),
    [
        ((10, 10), False, "mobilenet_8", "10 x 10 pixels, grey"),
        ((28, 28), False, "mobilenet_28", "28 x 28 pixels, grey"),
        ((32, 40), True, "mobilenet_32", "32 x 40 pixels, colour"),
        ((64, 64), True, "mobilenet_64", "64 x 64 pixels, colour"),
        ((224, 200), True, "mobilenet_96_plus", "224 x 200 pixels, colour"),
    ],
)
def test_pictures_of_any_size(
    tmp_path: Path,
    run_cli: Run,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    colour: bool,
    space: str,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "my animals", size, colour)
    ran = run_cli("init", "--data", "my animals", cwd=tmp_path)
    assert ran.code == 0, ran.stderr
    assert words in ran.stderr + ran.stdout and "3 classes" in ran.stderr + ran.stdout
    text = (tmp_path / "study.yaml").read_text()
    assert "name: my animals" in text and "path: my animals" in text and words in text
    assert read(tmp_path) == ("image_folder", space)


def test_a_table_with_a_test_file_of_its_own(tmp_path: Path, run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i},{'ab'[i % 2]},{'yes' if i % 3 else 'no'}\n" for i in range(60))
    (tmp_path / "loans-train.csv").write_text("amount,kind,paid\n" + rows)
    (tmp_path / "loans-test.csv").write_text("amount,kind,paid\n" + rows)
    ran = run_cli("init", "loans.yaml", "--data", "loans-train.csv", cwd=tmp_path)
    assert ran.code == 0, ran.stderr
    assert "2 features, 1 of them categories" in (tmp_path / "loans.yaml").read_text()
    plan = make_plan(from_yaml(tmp_path / "loans.yaml"))
    assert plan.config.data.options == {"test": "loans-test.csv"} and plan.space.name == "tabular"


def test_arrays_and_sources_by_name(tmp_path: Path, run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).integers(0, 255, (40, 48, 48, 3), dtype=np.uint8)
    np.savez(tmp_path / "it's.npz", x=x, y=np.arange(40) % 2)
    assert run_cli("init", "a.yaml", "--data", "it's.npz", cwd=tmp_path).code == 0
    assert read(tmp_path, "a.yaml") == ("npz", "mobilenet_64")
    assert run_cli("init", "b.yaml", "--data", "digits", cwd=tmp_path).code == 0
    assert read(tmp_path, "b.yaml") == ("digits", "mobilenet_8")


@pytest.mark.parametrize("name", ["123", "null", "1e3", "it's", "yes"])
def test_a_name_that_yaml_takes_for_something_else_is_quoted(
    tmp_path: Path, run_cli: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i},{i % 7},{'ab'[i % 2]}\n" for i in range(60))
    (tmp_path / f"{name}.CSV").write_text("a,b,c\n" + rows)
    assert run_cli("init", "--data", f"{name}.CSV", cwd=tmp_path).code == 0
    plan = make_plan(from_yaml(tmp_path / "study.yaml"))
    assert plan.config.name == name.replace("'", "-") and Path(str(plan.config.data.path)).name == f"{name}.CSV"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("nowhere", "nothing there"),
        ("digit", "digits"),
        ("notes.txt", "must be of a kind that is known"),
        ("empty", ""),
    ],
)
def test_what_cannot_be_read_is_refused_and_nothing_is_written(
    tmp_path: Path, run_cli: Run, monkeypatch: pytest.MonkeyPatch, given: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / "empty").mkdir()
    ran = run_cli("init", "--data", given, cwd=tmp_path)
    assert ran.code == 2 and len(ran.errors) == 1 and told in ran.stderr
    assert not (tmp_path / "study.yaml").exists()


@pytest.mark.parametrize(("size", "epochs"), [(100, 25.0), (5_000, 25.0), (60_000, 1.0), (1_000_000, 1.0)])
def test_the_length_of_a_training_follows_the_number_of_samples(size: int, epochs: float) -> None:
    assert usual_epochs(size) == pytest.approx(epochs)


def test_between_few_and_many_samples_it_falls_evenly() -> None:
    found = [usual_epochs(n) for n in (5_000, 10_000, 20_000, 40_000, 60_000)]
    assert found == sorted(found, reverse=True) and 5 < usual_epochs(17_000) < 6.5
