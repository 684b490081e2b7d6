"""A stranger's package with one entry point of each kind: it keeps the shipped contracts, and a search runs on nothing else.

A new kind of plug-in is one more file in ``FILES``, one line in ``POINTS`` and one in ``CONTRACTS``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import run_here, write_study

from autokd import registry
from autokd.config.space import load_space
from autokd.data.check import checked
from autokd.hardware.profile import load_profile
from autokd.protocols import DataOptions, InputSpec, TeacherOptions
from autokd.testing.devices import PROFILE, check_device
from autokd.testing.families import check_family
from autokd.testing.importance import check_importance
from autokd.testing.methods import check_method
from autokd.testing.samplers import check_sampler
from autokd.testing.schemes import check_scheme
from autokd.testing.sources import check_source
from autokd.testing.teachers import check_teacher

FILES = {
    "__init__.py": '"""A package that autokd knows nothing of."""\n\nUSED: set[str] = set()\n',
    "nets.py": '''
from torch import nn

from stranger import USED


class Net(nn.Module):
    def __init__(self, channels, width, classes):
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        self.second = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x):
        return self.classifier(self.second(self.first(x).relu()).relu().mean((2, 3)))

    def prune_groups(self):
        return {"first": [self.first]}


class Convs:
    """Two convolutions of a stranger's, the first one prunable."""

    kinds = frozenset({"image"})
    defaults = {"width": 8}

    def build(self, params, spec, classes):
        USED.add("families")
        return Net(spec.shape[0], int({**self.defaults, **params}["width"]), classes)
''',
    "pictures.py": '''
import numpy as np

from autokd.protocols import RawData
from stranger import USED


def bars(options):
    """Level or upright bars in noise, drawn anew for every seed."""
    USED.add("data")
    rng = np.random.default_rng(options.seed)
    targets = np.arange(360) % 2
    pictures = rng.normal(0.3, 0.1, (360, 1, 10, 10)).astype(np.float32)
    for picture, upright in zip(pictures[:, 0], targets):
        (picture.T if upright else picture)[rng.integers(10)] += 0.5
    return RawData(np.clip(pictures, 0, 1), targets, ("level", "upright"), "image")
''',
    "rule.py": '''
import hashlib
from pathlib import Path

import numpy as np

from stranger import USED


class Rule:
    """Knows by a formula which way a bar runs."""

    def __init__(self, sharpness, name):
        self.sharpness, self.name = sharpness, name
        self.fingerprint = hashlib.sha256(Path(__file__).read_bytes() + repr(sharpness).encode()).hexdigest()

    def logits(self, inputs):
        USED.add("teachers")
        level, upright = inputs.mean((1, 3)).max(1), inputs.mean((1, 2)).max(1)
        return (self.sharpness * np.stack([level, upright], 1)).astype(np.float32)

    def onnx_file(self):
        return None


def load(options):
    """A formula in place of a net; ``rule`` says how sure it is."""
    return Rule(float(options.options["rule"]), "rule")
''',
    "halfway.py": '''
from torch.nn import functional as F

from stranger import USED


class Halfway:
    """Half of the way to the teacher's logits, half to the labels."""

    needs = frozenset({"logits"})

    def __init__(self, share=0.5):
        self.share = share

    def loss(self, student, teacher, targets):
        USED.add("methods")
        soft = F.cross_entropy(student["logits"], teacher["logits"].softmax(1))
        return self.share * soft + (1 - self.share) * F.cross_entropy(student["logits"], targets)
''',
    "twice.py": '''
from autokd.distillation.schemes import Scheme
from stranger import USED


class Twice(Scheme):
    """Every batch teaches twice."""

    def step(self, nets, knowledge, batch, ask):
        USED.add("schemes")
        for _ in range(2):
            yield "student", knowledge(nets["student"](batch.inputs, knowledge.student), batch.teacher, batch)
''',
    "plain.py": '''
from autokd.strategies.independent import Independent
from stranger import USED


class Plain(Independent):
    """Each candidate by itself, and says that it was asked."""

    def begun(self, number, candidate):
        USED.add("strategies")
        super().begun(number, candidate)
''',
    "watched.py": '''
from autokd.hardware.local import LocalDevice
from stranger import USED


class Watched(LocalDevice):
    """This host once more, and says that it was asked."""

    def ask(self, request, file, timeout_s):
        USED.add("devices")
        return super().ask(request, file, timeout_s)
''',
    "largest.py": '''
from stranger import USED


class Largest:
    """The largest weight of a channel."""

    needs_gradients = False

    def scorer(self):
        USED.add("pruners")
        return lambda group: group[0].dep.target.module.weight[group[0].idxs].detach().abs().flatten(1).amax(1)
''',
    "population.py": '''
import optuna

from stranger import USED


def small(seed, space):
    """NSGA-II with a population of eight."""
    USED.add("samplers")
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=8)
''',
    "runner.py": '''
from autokd.runners.inline_runner import InlineRunner
from stranger import USED


class Counted(InlineRunner):
    """One trial after the other, and says that it was there."""

    def run(self, driver, home, concurrency):
        USED.add("runners")
        super().run(driver, home, concurrency)
''',
    "spaces/__init__.py": "",
    "spaces/convs_10.yaml": """\
# Two convolutions for pictures of ten by ten
family: convs
parameters:
  width: {choice: [6, 8], stage: build}
  lr: {float: [0.05, 0.1], stage: distill}
  share: {choice: [0.5], stage: distill}
  prune_first: {choice: [0.5], stage: prune}
  importance: {choice: [largest], stage: prune}
""",
    "profiles/__init__.py": "",
    "profiles/kiosk.yaml": """\
# A kiosk: one thread, four samples a call
device: watched
batch: 4
min_duration_s: 0.02
max_duration_s: 0.1
""",
}
POINTS = {
    "families": "convs = stranger.nets:Convs",
    "data": "bars = stranger.pictures:bars",
    "teachers": "rule = stranger.rule:load",
    "methods": "halfway = stranger.halfway:Halfway",
    "schemes": "twice = stranger.twice:Twice",
    "strategies": "plain = stranger.plain:Plain",
    "pruners": "largest = stranger.largest:Largest",
    "samplers": "population = stranger.population:small",
    "runners": "counted = stranger.runner:Counted",
    "spaces": "stranger = stranger.spaces",
    "profiles": "stranger = stranger.profiles",
    "devices": "watched = stranger.watched:Watched",
}
NAMES = {kind: line.split(" = ")[0] for kind, line in POINTS.items()} | {"spaces": "convs_10", "profiles": "kiosk"}
STUDY: dict[str, Any] = {
    "name": "strange",
    "data": {"source": "bars"},
    "teacher": {"rule": 20},
    "space": "convs_10",
    "hardware": ["kiosk"],
    "objectives": ["maximize accuracy", "minimize latency_ms@kiosk"],
    "sampler": "population",
    "runner": "counted",
    "concurrency": 1,
    "budget": {"trials": 2},
    "training": {"epochs": 2, "batch_size": 32, "augment": "none", "views": 1},
    "distillation": {"method": "halfway", "scheme": "twice"},
    "search": {"strategy": "plain"},
    "resources": {"device": "cpu"},
}


def _teacher(folder: Path) -> None:
    raw = checked(registry.load("data", "bars")(DataOptions(None, {}, 0, folder)), "bars")
    spec = InputSpec("image", (1, 10, 10), "float32", (0.3,), (0.2,))
    check_teacher(
        registry.load("teachers", "rule"),
        TeacherOptions({"rule": 20}, spec, 2, np.array(raw.inputs[:6]), "cpu", folder),
    )


def _runner(folder: Path) -> None:
    assert callable(registry.load("runners", "counted")().run)


def _strategy(folder: Path) -> None:
    made = registry.load("strategies", "plain")
    assert (made.sampled, made.ladders) == (True, False) and callable(made.check)


CONTRACTS: dict[str, Callable[[Path], object]] = {
    "families": lambda folder: check_family(
        registry.load("families", "convs"), InputSpec("image", (1, 10, 10), "float32", (0.3,), (0.2,)), classes=2
    ),
    "data": lambda folder: check_source(registry.load("data", "bars")),
    "teachers": _teacher,
    "methods": lambda folder: check_method(registry.load("methods", "halfway")),
    "schemes": lambda folder: check_scheme(registry.load("schemes", "twice")),
    "strategies": _strategy,
    "pruners": lambda folder: check_importance(registry.load("pruners", "largest")),
    "samplers": lambda folder: check_sampler(registry.load("samplers", "population")),
    "runners": _runner,
    "spaces": lambda folder: load_space("convs_10"),
    "profiles": lambda folder: load_profile("kiosk"),
    "devices": lambda folder: check_device(lambda: registry.load("devices", "watched")(PROFILE)),
}


def forget() -> None:
    """What was read of the installed packages is read again."""
    registry._points.cache_clear()
    registry._files.cache_clear()
    for name in [m for m in sys.modules if m.partition(".")[0] == "stranger"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package and its ``dist-info`` in a folder on the path, of worker processes too."""
    folder = tmp_path_factory.mktemp("stranger")
    for name, text in FILES.items():
        file = folder / "stranger" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    info = folder / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("".join(f"[autokd.{kind}]\n{line}\n" for kind, line in POINTS.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))
        forget()
        yield folder
    forget()


def test_every_kind_has_a_strangers_plug_in() -> None:
    assert set(POINTS) == set(CONTRACTS) == set(registry.KINDS)


@pytest.mark.parametrize("kind", CONTRACTS)
def test_it_is_listed_and_keeps_the_contract(stranger: Path, kind: str, tmp_path: Path) -> None:
    (row,) = [row for row in registry.listing(kind) if row.name == NAMES[kind]]
    assert len(row.summary) > 10 and "stranger" in row.source
    CONTRACTS[kind](tmp_path)


def test_a_search_runs_on_nothing_else(stranger: Path, tmp_path: Path) -> None:
    used: set[str] = import_module("stranger").USED
    used.clear()
    write_study(tmp_path, STUDY)
    ran = run_here("search", "study.yaml", "--json", cwd=tmp_path)
    assert ran.code == 0, ran.stderr
    members = json.loads(ran.stdout)["members"]
    assert members
    assert used == set(registry.KINDS) - set(registry.FILE_KINDS)
    shown = json.loads(run_here("show", "strange", str(members[0]["number"]), "--json", cwd=tmp_path).stdout)
    assert {m["profile"] for m in shown["measurements"]} == {None, "kiosk"}
    assert shown["params"]["importance"] == "largest" and shown["params"]["width"] in (6, 8)
    assert "prune" in {stage["stage"] for stage in shown["stages"]}
    exported = run_here("export", "strange", "-o", "student.onnx", cwd=tmp_path)
    assert exported.code == 0, exported.stderr
    receipt = json.loads((tmp_path / "student.receipt.json").read_text())
    assert receipt["file"]["classes"] == ["level", "upright"]
    assert receipt["search"]["config"]["distillation"]["method"] == "halfway"
