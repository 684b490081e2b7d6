"""What a name stands for, by content: whoever edits his own code is not answered with results of the old."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Ran

from autokd import registry
from autokd.errors import ConfigError
from autokd.files import source_sha256
from autokd.study.study import Study

PLAIN = "def sign():\n    return 1.0\n"
LOSS = """
from torch.nn import functional as F

import mine_parts
from autokd.distillation.knowledge import Knowledge


class Loss(Knowledge):
    teacher = frozenset()

    def forward(self, student, teacher, batch):
        return mine_parts.sign() * F.cross_entropy(student["logits"], batch.targets).clamp(max=10)
"""


@pytest.fixture
def forgetting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Modules of the temporary folder are imported anew after each call, as another process would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def forget() -> None:
        for name in set(sys.modules) - before:
            if getattr(sys.modules[name], "__file__", "") and str(tmp_path) in str(sys.modules[name].__file__):
                del sys.modules[name]
        source_sha256.cache_clear()
        sys.path_importer_cache.clear()

    yield forget
    forget()


def write(folder: Path, **modules: str) -> None:
    for name, text in modules.items():
        file = folder / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_ours_are_named_by_their_revision() -> None:
    assert registry.identity("methods", "kd") == "kd@1"
    assert registry.identity("pruners", "taylor") == "taylor@1"
    with pytest.raises(ConfigError, match="Did you mean 'kd'"):
        registry.identity("methods", "kdd")


@pytest.mark.parametrize(
    ("edited", "text", "changes"),
    [
        ("mine", "import mine_parts\ndef make():\n    return 2\n", True),
        ("mine_parts", "def sign():\n    return -1.0\n", True),
        ("mine_deeper", "X = 2\n", True),
        ("mine_late", "X = 2\n", True),
        ("bits__inner", "X = 2\n", True),
        ("unrelated", "X = 2\n", False),
    ],
    ids=[
        "its own module",
        "a module that it imports",
        "one that this one imports",
        "one imported late",
        "one of a package",
        "a neighbour that nobody imports",
    ],
)
def test_a_persons_own_changes_with_its_source(
    forgetting: Callable[[], None], tmp_path: Path, edited: str, text: str, changes: bool
) -> None:
    write(
        tmp_path,
        mine="import mine_parts\ndef make():\n    import mine_late\n    return 1\n",
        mine_late="import bits.outer\n",
        bits____init__="",
        bits__outer="from bits import inner\n",
        bits__inner="X = 1\n",
        mine_parts="import mine_deeper\n" + PLAIN,
        mine_deeper="X = 1\n",
        unrelated="X = 1\n",
    )
    before = registry.identity("methods", "mine:make")
    assert before.startswith("mine:make@") and registry.identity("methods", "mine:make") == before
    write(tmp_path, **{edited: text})
    assert registry.identity("methods", "mine:make") == before, "what was loaded is what runs, until it is loaded anew"
    forgetting()
    assert (registry.identity("methods", "mine:make") != before) is changes


def test_a_package_counts_whole_as_far_as_it_is_imported(forgetting: Callable[[], None], tmp_path: Path) -> None:
    write(
        tmp_path,
        box____init__="",
        box__losses="from . import maths\nmake = maths.make\n",
        box__maths="def make(): pass\n",
    )
    before = registry.identity("methods", "box.losses:make")
    write(tmp_path, box__maths="def make(): return 1\n")
    forgetting()
    assert registry.identity("methods", "box.losses:make") != before


def test_an_edited_method_is_trained_anew(
    tmp_path: Path,
    tiny_config: Callable[..., dict[str, Any]],
    study_in: Callable[..., Path],
    run_cli: Callable[..., Ran],
) -> None:
    """The ledger is gone, the stage store is there: the same candidate under another loss is another student."""
    space = tiny_config()["space"]
    fixed = {**space["fixed"], "lr": {"value": 0.1, "stage": "distill"}}
    one = {"family": "mobilenet", "parameters": {"width_1": {"choice": [16], "stage": "build"}}, "fixed": fixed}
    study_in(tmp_path, space=one, distillation={"method": "mine:Loss"}, budget__trials=1, training__epochs=8)

    def searched(sign: str) -> tuple[float, set[str]]:
        write(tmp_path, mine=LOSS, mine_parts=PLAIN.replace("1.0", sign))
        for left in tmp_path.glob("autokd.db*"):
            left.unlink()
        ran = run_cli("search", "study.yaml", cwd=tmp_path, own_process=True)
        assert ran.code == 0, ran.stderr
        record = Study.open("tiny", f"sqlite:///{tmp_path}/autokd.db").members()[0].record
        accuracy = record.value("accuracy")
        assert accuracy is not None
        return accuracy, {s.stage for s in record.stages if s.cached}

    good, _ = searched("1.0")
    again, cached = searched("1.0")
    assert again == good and "distill" in cached, "equal work is not done twice"
    worse, cached = searched("-1.0")
    assert "distill" not in cached
    assert worse < 0.3 < good, "unequal work is not taken for equal"


def test_a_resumed_study_says_what_was_edited(
    tmp_path: Path, study_in: Callable[..., Path], run_cli: Callable[..., Ran]
) -> None:
    study_in(tmp_path, distillation={"method": "mine:Loss"}, budget__trials=1)
    write(tmp_path, mine=LOSS, mine_parts=PLAIN)
    assert run_cli("search", "study.yaml", cwd=tmp_path, own_process=True).code == 0
    quiet = run_cli("resume", "tiny", "--set", "budget.trials=+1", cwd=tmp_path, own_process=True)
    assert quiet.code == 0 and "edited" not in quiet.stderr
    write(tmp_path, mine_parts=PLAIN.replace("1.0", "0.5"))
    again = run_cli("search", "study.yaml", "--set", "budget.trials=2", cwd=tmp_path, own_process=True)
    assert "mine:Loss was edited since this study searched: its students are of the one before" in again.stderr
    told = run_cli("resume", "tiny", "--set", "budget.trials=+1", cwd=tmp_path, own_process=True)
    assert told.code == 0
    assert "warning: methods mine:Loss was edited since: from here on the new one counts" in told.stderr


def test_an_edited_metric_is_not_mixed_with_the_old_one(
    tmp_path: Path, study_in: Callable[..., Path], run_cli: Callable[..., Ran]
) -> None:
    score = "def worst(targets, probabilities):\n    return float(probabilities.max(1).mean())\n"
    write(tmp_path, scores=score)
    goals = ["maximize scores:worst", "minimize latency_ms@cpu_1_thread"]
    study_in(tmp_path, objectives=goals, budget__trials=1)
    assert run_cli("search", "study.yaml", cwd=tmp_path, own_process=True).code == 0
    write(tmp_path, scores=score.replace("max(1)", "min(1)"))
    refused = run_cli("resume", "tiny", "--set", "budget.trials=+1", cwd=tmp_path, own_process=True)
    assert refused.code == 2
    assert refused.errors and "must keep the metrics" in refused.errors[0] and "scores:worst" in refused.errors[0]


def test_a_method_that_the_space_never_takes_is_told(
    tmp_path: Path,
    tiny_config: Callable[..., dict[str, Any]],
    study_in: Callable[..., Path],
    run_cli: Callable[..., Ran],
) -> None:
    space = tiny_config()["space"]
    searched = {**space["parameters"], "method": {"choice": ["none", "kd"], "stage": "distill"}}
    study_in(tmp_path, space={**space, "parameters": searched}, distillation={"method": "mine:Loss"}, budget__trials=1)
    write(tmp_path, mine=LOSS, mine_parts=PLAIN)
    ran = run_cli("search", "study.yaml", cwd=tmp_path, own_process=True)
    assert ran.code == 0
    assert (
        "the space searches `method` among none, kd: distillation.method 'mine:Loss' teaches no candidate" in ran.stderr
    )
