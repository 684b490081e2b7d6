"""What class weights do for rare classes: formulas side by side, and which part of soft-target distillation should heed them.

``python benchmarks/class_weights.py --write`` trains small nets on digits of which four classes are rare (a minute);
``--data FOLDER`` on an image folder with ``train/`` and ``test/`` instead, such as traffic signs (minutes a seed).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from common import machine, shown_arguments, write_section
from torch import Tensor, nn
from torch.nn import functional as F

from autokd.data.augment import SeededViews
from autokd.data.class_weights import sample_weights
from autokd.data.dataset import load_dataset
from autokd.distillation.knowledge import Knowledge
from autokd.distillation.knowledge.kd import KD
from autokd.distillation.knowledge.labels import Labels
from autokd.distillation.lesson import Lesson
from autokd.distillation.taps import Batch, Taps
from autokd.distillation.trainer import fit
from autokd.protocols import Dataset, Recipe, TeacherOutputs, Views
from autokd.storage.by_class import ByClass
from autokd.students.build import build_module
from autokd.trial import ParamValue

RARE, LEFT = (1, 3, 8, 9), 8
"""Digits that are made rare, and how many of each are left to train with."""
SMALL: dict[str, ParamValue] = {"depth": 1, "width_1": 24}
LARGE: dict[str, ParamValue] = {"depth": 1, "width_1": 128}
NET: dict[str, ParamValue] = {"stem_stride": 2, "stages": 2, "depth_1": 1, "block_1": "plain", "block_2": "plain"}
SIGNS = NET | {"stem_width": 16, "width_1": 24, "width_2": 48, "depth_2": 1}
SIGNS_TEACHER = NET | {"stem_width": 24, "width_1": 48, "width_2": 96, "depth_2": 2}


class OnLabels(KD):
    """Class weights in the cross-entropy alone."""

    def forward(self, student: Taps, teacher: Taps, batch: Batch) -> Tensor:
        both = super().forward(student, teacher, replace(batch, weights=None))
        assert batch.weights is not None
        each = F.cross_entropy(student["logits"], batch.targets, reduction="none")
        return both + (1 - self.alpha) * (each * (batch.weights - 1)).mean()


@dataclass(frozen=True)
class Task:
    """Data, how to train on them, and the shapes of student and teacher."""

    data: Dataset
    judged: np.ndarray
    family: str
    student: Mapping[str, ParamValue]
    teacher: Mapping[str, ParamValue]
    recipe: Recipe

    @property
    def targets(self) -> np.ndarray:
        """``(N,)`` of the train split."""
        return np.asarray(self.data.targets)[self.data.splits.train].astype(np.int64)

    @property
    def views(self) -> Views:
        return SeededViews(self.data, self.recipe.augment, 0, self.recipe.views)

    @property
    def rare(self) -> list[int]:
        """The rarer third of the classes."""
        counts = np.bincount(self.targets, minlength=len(self.data.classes))
        return [int(c) for c in np.argsort(counts, kind="stable")[: max(4, len(counts) // 3)]]


def digits_task() -> Task:
    """Digits in a random but fixed split, four classes made rare."""
    data = load_dataset("digits", None, {"test_fraction": 0.4}, seed=0, cache_dir=Path(tempfile.gettempdir()))
    train = data.splits.train
    targets = np.asarray(data.targets)[train]
    kept = [train[targets == c][: LEFT if c in RARE else None] for c in range(10)]
    data = replace(data, splits=replace(data.splits, train=np.sort(np.concatenate(kept))))
    recipe = Recipe(samples=9_000, batch_size=32, lr=0.05, augment="none", views=1)
    return Task(data, data.splits.test, "mlp", SMALL, LARGE, recipe)


def folder_task(folder: str) -> Task:
    """Pictures in folders, 32 x 32, 30 epochs."""
    data = load_dataset("image_folder", folder, {"size": 32}, seed=0, cache_dir=Path(tempfile.gettempdir()))
    samples = 30 * len(data.splits.train)
    recipe = Recipe(samples=samples, batch_size=32, lr=0.1, augment="shift", views=4)
    return Task(data, data.splits.test, "mobilenet", SIGNS, SIGNS_TEACHER, recipe)


class Said:
    """A teacher's logits on every view: satisfies ``TeacherOutputs``."""

    names = frozenset({"logits"})

    def __init__(self, net: nn.Module, views: Views) -> None:
        inside = np.arange(views.size)
        self.by_view = [logits(net, views.batch(inside, view)) for view in range(views.count)]

    def taps(self, positions: np.ndarray, view: int, names: frozenset[str]) -> dict[str, np.ndarray]:
        return {"logits": self.by_view[view][positions]}


def logits(net: nn.Module, inputs: np.ndarray) -> np.ndarray:
    """``(N, classes) float32``."""
    with torch.no_grad():
        parts = [net(torch.from_numpy(np.ascontiguousarray(part))).numpy() for part in np.array_split(inputs, 16)]
    return np.concatenate(parts)


def formulas(task: Task) -> dict[str, np.ndarray | None]:
    """Weights of the training samples by name, 1 on average."""
    targets = task.targets
    counts = np.maximum(np.bincount(targets, minlength=len(task.data.classes)), 1).astype(float)

    def spread(weights: np.ndarray) -> np.ndarray:
        found = weights[targets]
        return np.asarray(found / found.mean(), dtype=np.float32)

    effective = {f"effective number, {b}": spread((1 - b) / (1 - b**counts)) for b in (0.99, 0.999)}
    auto = sample_weights("auto", targets, task.data.classes)
    return {"none": None, "auto: square root": auto, "inverse frequency": spread(1 / counts), **effective}


def trained(
    task: Task,
    shape: Mapping[str, ParamValue],
    knowledge: Knowledge,
    weights: np.ndarray | None,
    seed: int,
    teacher: TeacherOutputs | None = None,
) -> tuple[nn.Module, tuple[float, float, float, float]]:
    """A net; its accuracy, balanced accuracy, mean recall of the rare classes and least recall."""
    data, index = task.data, task.data.splits.validation
    net = build_module(task.family, shape, data.spec, len(data.classes), seed)
    held_out = np.asarray(data.inputs[index]), np.asarray(data.targets)[index]
    fit(net, Lesson(task.views, task.targets, held_out, task.recipe, knowledge, seed, teacher, weights=weights))
    found = ByClass.count(logits(net, np.asarray(data.inputs[task.judged])), np.asarray(data.targets)[task.judged])
    recalls = np.array([found.recall(c) or 0.0 for c in range(len(found.of))])
    accuracy = sum(found.right) / sum(found.of)
    return net, (accuracy, float(recalls.mean()), float(recalls[task.rare].mean()), float(recalls.min()))


def rows(task: Task, seed: int) -> Iterator[tuple[str, tuple[float, float, float, float]]]:
    """Name and figures of every training of one seed."""
    weights = formulas(task)
    for name, given in weights.items():
        yield f"labels, {name}", trained(task, task.student, Labels(), given, seed)[1]
    auto = weights["auto: square root"]
    for taught, given in (("without weights", None), ("with `auto`", auto)):
        net, found = trained(task, task.teacher, Labels(), given, 100 + seed)
        said = Said(net, task.views)
        yield f"teacher {taught}", found
        yield "`kd` of it, none", trained(task, task.student, KD(), None, seed, said)[1]
        yield "`kd` of it, `auto` on the labels alone", trained(task, task.student, OnLabels(), auto, seed, said)[1]
        yield "`kd` of it, `auto` on both terms", trained(task, task.student, KD(), auto, seed, said)[1]


def table(task: Task, found: Mapping[str, list[tuple[float, float, float, float]]]) -> str:
    """Means over seeds, the standard error of the rare classes' recall beside it."""
    counts = np.bincount(task.targets, minlength=len(task.data.classes))
    lines = [
        f"{len(task.targets):,} training samples of {len(counts)} classes, {counts.min()} to {counts.max()} a class; judged on "
        f"{len(task.judged):,} others. Rare: the {len(task.rare)} classes with the fewest samples.",
        "",
        "| training | accuracy | balanced accuracy | recall of rare classes | of the worst class |",
        "|---|---|---|---|---|",
    ]
    for name, values in found.items():
        mean = np.mean(values, axis=0)
        error = np.std(values, axis=0, ddof=1)[2] / len(values) ** 0.5 if len(values) > 1 else float("nan")
        lines.append(f"| {name} | {mean[0]:.3f} | {mean[1]:.3f} | {mean[2]:.3f} ± {error:.3f} | {mean[3]:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="an image folder with train/ and test/; digits without")
    parser.add_argument("--seeds", type=int, default=8, help="trainings of each kind")
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmarks.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    began = time.time()
    task = folder_task(given.data) if given.data else digits_task()
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for seed in range(given.seeds):
        under = ""
        for name, values in rows(task, seed):
            under = name if name.startswith("teacher") else under
            label = f"{name} ({under})" if name.startswith("`kd`") else name
            found.setdefault(label.replace(" of it", ""), []).append(values)
            print(f"seed {seed}: {label}: {', '.join(f'{v:.3f}' for v in values)}", flush=True)
    text = (
        f"Command: `python benchmarks/class_weights.py {shown_arguments()}`. {machine(began)}\n\n{table(task, found)}"
    )
    print(text)
    if given.write:
        write_section(text, "class_weights_folder" if given.data else "class_weights")


if __name__ == "__main__":
    main()
