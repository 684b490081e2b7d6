"""What a person may get wrong: exit code 2, one message with the law, the value and the mend, and nothing left behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import Ran, tiny, write_study

LATENCY = "minimize latency_ms@cpu_1_thread"


def text(**changes: Any) -> str:
    return yaml.safe_dump(tiny(**changes), sort_keys=False)


def space(name: str, **spec: Any) -> dict[str, Any]:
    return tiny()["space"] | {"parameters": {name: spec}}


FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "broken": ("name: a\ndata: [1\nteacher: x\n", ("study.yaml:3:", "valid YAML", "Mend this line")),
    "tab": ("name: a\n\tdata: 1\n", ("study.yaml:2:", "valid YAML")),
    "duplicate key": (text() + "name: again\n", ("'name' stands twice", "study.yaml:")),
    "empty": ("", ("must be a mapping", "`autokd init`")),
    "a list": ("- name\n", ("must be a mapping", "list")),
    "an alias in itself": (text() + "constraints: &a [*a]\n", ("nested without end", "Remove it")),
    "a python object": (text() + "constraints: !!python/object:os.system [ls]\n", ("valid YAML", "python/object")),
}

VALUES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown key": ({"budgt": {"trials": 1}}, ("unknown key", "'budgt'", "Did you mean 'budget'?")),
    "unknown key below": ({"budget": {"trails": 1}}, ("study.yaml:", "'budget.trails'", "Did you mean 'trials'?")),
    "missing key": ({"objectives": None}, ("'objectives' must be given", "`autokd init`")),
    "wrong type": ({"seed": "abc"}, ("seed", "'abc'")),
    "name of a path": ({"name": "../x"}, ("letters, digits", "'../x'")),
    "unknown sampler": ({"sampler": "optuna:tpee"}, ("samplers", "'optuna:tpee'", "Did you mean 'optuna:tpe'?")),
    "no sampler": ({"sampler": "os:getcwd"}, ("must be a factory (seed, space)", "takes no arguments")),
    "sampler nowhere": ({"sampler": "nowhere.mod:x"}, ("must be importable", "nowhere")),
    "unknown runner": ({"runner": "rai"}, ("runners", "'rai'", "Did you mean 'ray'?")),
    "no runner": ({"runner": "os:getcwd"}, ("must be a class with run", "'os:getcwd'")),
    "unknown method": ({"distillation": {"method": "kdd"}}, ("methods", "'kdd'", "Did you mean 'kd'?")),
    "method's argument": ({"distillation": {"method": "kd", "alfa": 1}}, ("'kd'", "'alfa'")),
    "method's value": ({"distillation": {"method": "kd", "alpha": 7}}, ("0 <= alpha <= 1", "7")),
    "unknown family": ({"space__family": "mobilnet"}, ("'mobilnet'", "Did you mean 'mobilenet'?")),
    "unknown teacher family": ({"teacher__family": "resnett"}, ("'resnett'", "Did you mean 'resnet'?")),
    "teacher's parameter": ({"teacher__params": {"stem_widht": 3}}, ("'stem_widht'", "Did you mean 'stem_width'?")),
    "kind of teacher": ({"teacher": {"famly": "mobilenet"}}, ("'famly'", "Did you mean 'family'?")),
    "two teachers": ({"teacher__onnx": "a.onnx"}, ("exactly one of family, onnx, torch", "family, onnx")),
    "unknown profile": ({"hardware": ["cpu_1_tread"]}, ("'cpu_1_tread'", "Did you mean 'cpu_1_thread'?")),
    "another machine": (
        {"hardware": ["raspberry_pi_5"], "objectives": ["maximize accuracy", "minimize latency_ms"]},
        ("raspberry_pi_5 needs a", os.uname().machine, "autokd/hardware/agent"),
    ),
    "no profile": ({"hardware": []}, ("`hardware` must name at least one profile", "[]", "autokd list profiles")),
    "unknown space": ({"space": "digts"}, ("'digts'", "Did you mean 'digits'?")),
    "space file nowhere": ({"space": "nowhere.yaml"}, ("must exist", "nowhere.yaml")),
    "parameter of the space": (
        {"space": space("lr", float=[-1, 0.5], stage="distill")},
        ("`lr`", "-1", "greater than 0"),
    ),
    "stage of the space": ({"space": space("width_1", choice=[8], stage="bild")}, ("`stage`", "bild", "One of: build")),
    "fixed of the space": (
        {"space__fixed": {"stem_wdith": 3}},
        ("must build and export", "Did you mean 'stem_width'?"),
    ),
    "bits": ({"space": space("bits", choice=[4], stage="quantize")}, ("`bits` must be 32 or 8", "4")),
    "one objective": ({"objectives": ["maximize accuracy"]}, ("two or three objectives", "`constraints`")),
    "unknown metric": ({"objectives": ["maximize acuracy", LATENCY]}, ("'acuracy'", "Did you mean 'accuracy'?")),
    "wrong direction": ({"objectives": ["minimize accuracy", LATENCY]}, ("must be maximized", "maximize accuracy")),
    "profile of an objective": ({"objectives": ["maximize accuracy", "minimize latency_ms@pi"]}, ("'hardware'", "@pi")),
    "constraint below 0": ({"constraints": ["size_bytes <= -10"]}, ("possible to meet", "size_bytes <= -10")),
    "percent": ({"constraints": ["accuracy >= 90"]}, ("possible to meet", "accuracy >= 90", "90 % or 0.9")),
    "impossible constraint": (
        {"constraints": ["size_bytes <= 10"]},
        ("size_bytes <= 10 must be possible in this space", "at best", "Loosen it"),
    ),
    "reference point": ({"reference_point": {"acuracy": 1}}, ("'acuracy'", "Did you mean 'accuracy'?")),
    "path for digits": ({"data": {"source": "digits", "path": "x"}}, ("takes no `data.path`", "Remove it")),
    "unknown source": ({"data": {"source": "digit"}}, ("'digit'", "Did you mean 'digits'?")),
    "option of the source": ({"data": {"source": "digits", "limt": 3}}, ("'limt'", "Did you mean 'limit'?")),
    "missing folder": ({"data": {"source": "image_folder", "path": "nowhere"}}, ("must be a folder", "nowhere")),
    "no folder": ({"data": {"source": "image_folder"}}, ("needs `data.path`", "Say where")),
    "empty class": ({"data": {"source": "image_folder", "path": "pictures"}}, ("pictures",)),
    "corrupt image": ({"data": {"source": "image_folder", "path": "damaged"}}, ("damaged", ".png")),
    "augmentation": ({"training__augment": "shft"}, ("`augment`", "'shft'", "Did you mean 'shift'?")),
    "class weights": (
        {"training__class_weights": "atuo"},
        ("training.class_weights", "'atuo'", "Did you mean 'auto'?"),
    ),
    "class weights of nothing": ({"training__class_weights": {}}, ("training.class_weights", "{fraud: 10}")),
    "a list of class weights": ({"training__class_weights": [1, 2]}, ("training.class_weights", "{fraud: 10}")),
    "a weight of 0": ({"training__class_weights": {"3": 0}}, ("a number above 0", "3 has 0")),
    "a weight in words": ({"training__class_weights": {"3": "much"}}, ("a number above 0", "3 has 'much'")),
    "weight of an unknown class": (
        {"training__class_weights": {3: 2, "eigth": 5}},
        ("`training.class_weights` must name classes", "'eigth'", "Known: 0, 1"),
    ),
    "teacher's weight of an unknown class": (
        {"teacher__training": {"class_weights": {"33": 5}}},
        ("`teacher.training.class_weights` must name classes", "'33'", "Did you mean '3'?"),
    ),
    "a method that does not heed class weights": (
        {"training__class_weights": "auto", "distillation": {"method": "unweighted:Own"}},
        ("heeds `batch.weights`", "'unweighted:Own'", "`weighted = True`"),
    ),
    "not a number": ({"training__lr": float("nan")}, ("training.lr", "finite")),
    "corrupt ONNX teacher": ({"teacher": {"onnx": "afile.onnx"}}, ("valid ONNX file", "afile.onnx", "Export it again")),
    "missing ONNX teacher": ({"teacher": {"onnx": "nowhere.onnx"}}, ("must exist", "nowhere.onnx")),
    "no module as teacher": ({"teacher": {"torch": "os:getcwd"}}, ("must return a torch.nn.Module", "str")),
    "a module that is not Python": ({"space__family": "notpython:f"}, ("SyntaxError", "Mend notpython.py")),
    "a module that fails": ({"space__family": "failing:f"}, ("ZeroDivisionError", "Mend failing.py")),
    "no driver for postgres": (
        {"storage__url": "postgresql://me:secret@db/x"},
        ("driver must be installed", "pip install"),
    ),
    "no such database": ({"storage__url": "nowhere://x"}, ("must be reachable", "nowhere", "URL right")),
    "ledger in a missing folder": ({"storage__url": "sqlite:///no/where/a.db"}, ("folder must exist", "no/where")),
    "ledger below a file": ({"storage__url": "sqlite:///afile/a.db"}, ("folder must exist", "afile")),
    "ledger is no database": ({"storage__url": "sqlite:///afile.onnx"}, ("must be reachable", "not a database")),
    "ledger in memory": ({"storage__url": "sqlite://"}, ("must outlive", "sqlite:///autokd.db")),
    "study's folder below a file": ({"storage__path": "afile"}, ("folder must be writable", "afile")),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a few things that cannot serve."""
    from PIL import Image

    (tmp_path / "afile").write_text("not a folder")
    (tmp_path / "afile.onnx").write_bytes(b"not ONNX, nor a database " * 20)
    (tmp_path / "notpython.py").write_text("def f(:\n")
    (tmp_path / "failing.py").write_text("1 / 0\n")
    (tmp_path / "unweighted.py").write_text(
        "from autokd.distillation.knowledge import Knowledge\n\nclass Own(Knowledge):\n    pass\n"
    )
    for name in ("pictures", "damaged"):
        for label in ("cat", "dog"):
            (tmp_path / name / label).mkdir(parents=True)
            for i in range(12):
                if (name, label) != ("pictures", "dog"):
                    Image.new("L", (8, 8), i * 20).save(tmp_path / name / label / f"{i}.png")
    (tmp_path / "damaged" / "dog" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return tmp_path


def contents(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if "__pycache__" not in p.parts}


def refused(run_cli: Callable[..., Ran], folder: Path, *args: str) -> str:
    """The one message of a command that must be refused and leave everything as it was."""
    before = contents(folder)
    ran = run_cli(*args, cwd=folder)
    assert ran.code == 2, ran
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    assert len(ran.errors) == 1 and ran.stderr.rstrip().endswith(ran.errors[0]), ran.stderr
    assert contents(folder) == before
    return ran.errors[0]


@pytest.mark.parametrize("case", FILES)
def test_file(case: str, folder: Path, run_cli: Callable[..., Ran]) -> None:
    written, said = FILES[case]
    write_study(folder, written)
    message = refused(run_cli, folder, "search", "study.yaml")
    assert all(words in message for words in said), message


@pytest.mark.parametrize("case", VALUES)
def test_value(case: str, folder: Path, run_cli: Callable[..., Ran]) -> None:
    changes, said = VALUES[case]
    write_study(folder, tiny(**changes))
    message = refused(run_cli, folder, "search", "study.yaml")
    assert all(words in message for words in said), message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("budget.trials", ("key=value", "--set budget.trials=50")),
        ("=3", ("key=value", "'=3'")),
        ("budget.trials=many", ("budget.trials", "'many'")),
        ("budget.trials=[1", ("valid YAML",)),
        ("budget.trails=3", ("'budget.trails'", "Did you mean 'trials'?")),
        ("budget.trials.x=3", ("must name a key of a mapping", "trials = 3")),
        ("objectives.0=minimize size_bytes", ("must name a key of a mapping",)),
        ("teacher.onnx=nowhere.onnx", ("must exist", "nowhere.onnx")),
        ("data.path=.", ("takes no `data.path`",)),
    ],
)
def test_override(override: str, said: tuple[str, ...], folder: Path, run_cli: Callable[..., Ran]) -> None:
    write_study(folder, tiny())
    message = refused(run_cli, folder, "search", "study.yaml", "--set", override)
    assert all(words in message for words in said), message


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["search", "nowhere.yaml"], ("must exist", "nowhere.yaml", "`autokd init`")),
        (["search", "pictures"], ("readable text", "pictures")),
        (["init", "afile"], ("must not overwrite", "afile")),
        (["init", "afile/study.yaml"], ("afile",)),
        (["status", "x"], ("ledger must exist", "autokd.db", "--storage")),
        (["resume", "x"], ("ledger must exist", "autokd.db")),
        (["list", "samplrs"], ("'samplrs'", "Did you mean 'samplers'?")),
        (["measure", "nowhere.onnx", "--profile", "cpu_1_thread"], ("must exist", "nowhere.onnx")),
        (["measure", "afile.onnx", "--profile", "cpu_1_thread"], ("ONNX", "afile.onnx")),
        (["measure", "afile.onnx", "--profile", "cpu_1_tread"], ("'cpu_1_tread'", "cpu_1_thread")),
    ],
    ids=" ".join,
)
def test_other_commands(args: list[str], said: tuple[str, ...], folder: Path, run_cli: Callable[..., Ran]) -> None:
    message = refused(run_cli, folder, *args)
    assert all(words in message for words in said), message


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["status", "tiney"], ("must be in the ledger", "'tiney'", "Did you mean 'tiny'?")),
        (["show", "tiny", "99"], ("must be in the study", "99", "3 trials")),
        (["front", "tiny", "--profile", "pi"], ("measured on the profile", "'pi'", "Measured: cpu_1_thread")),
        (["export", "tiny", "--trial", "99"], ("measured and feasible", "99", "On the front")),
        (["export", "tiny", "--max-latency-ms", "0.000001"], ("that fast", "The fastest")),
        (["export", "tiny", "--min-accuracy", "1.1"], ("that accurate", "The most accurate")),
        (["export", "tiny", "-o", "study.yaml/x.onnx"], ("place that can be written", "x.onnx")),
        (["export", "tiny", "-o", "student.pt"], ("must end in .onnx", "student.pt")),
        (["resume", "tiny", "--set", "training.lr=0.1"], ("keeps its data", "training.lr=0.1", "Only budget")),
        (["resume", "tiny", "--set", "budget.trials=0"], ("budget.trials", "0")),
        (
            ["search", "study.yaml", "--set", "training.lr=0.1"],
            ("keep its configuration", "training.lr", "another `name`"),
        ),
    ],
    ids=" ".join,
)
def test_on_a_finished_study(
    args: list[str], said: tuple[str, ...], finished: Path, run_cli: Callable[..., Ran]
) -> None:
    message = refused(run_cli, finished, *args)
    assert all(words in message for words in said), message
