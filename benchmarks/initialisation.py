"""What a whitening first convolution is worth, and batches of 64: equal samples, equal seeds, with and without.

``python benchmarks/initialisation.py --write``. Needs ``../shared/data`` or ``--data FOLDER``; every training that is done is kept
in ``--folder`` and not done again. Trainings have one thread.
"""

from __future__ import annotations

import argparse
import math
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from common import machine, shown_arguments, write_section
from torch import nn

from autokd.data.augment import SeededViews
from autokd.data.dataset import load_dataset
from autokd.distillation.lesson import Lesson
from autokd.distillation.trainer import fit
from autokd.evaluation.initial import first_weights
from autokd.evaluation.recipe import make_method
from autokd.files import read_json, write_json
from autokd.protocols import Dataset, Recipe
from autokd.runners.threads import torch_threads
from autokd.students.build import build_module


@dataclass(frozen=True)
class Net:
    """A family and a shape."""

    family: str
    params: Mapping[str, Any]


NETS = {
    f"{width}/{2 * width}/{4 * width}": Net(
        "mobilenet",
        {"stem_stride": 2, "stem_width": 16, "stages": 3}
        | {f"width_{i}": width * 2 ** (i - 1) for i in (1, 2, 3)}
        | {f"depth_{i}": 1 for i in (1, 2, 3)},
    )
    for width in (16, 32)
}
"""The mobilenet family's first roots at the picture's own resolution: plain pyramids behind a stem of 16 with stride 2."""
SMALL, LARGE = NETS
TEACHER = "teacher"
NETS[TEACHER] = Net("resnet", {"width": 24, "stages": 3, "stem_stride": 2})
TEACHER_SHARE = {"fashion_mnist": 3.0}
"""How long a teacher is trained, in trainings of a student."""
CHEAP_TEACHERS = ("digits", "gtsrb")
"""Where a teacher is trained with and without as well: it takes half a minute at most."""
KD = {"alpha": 0.9, "temperature": 4.0}


@dataclass(frozen=True)
class Task:
    """A data set and how long students learn on it.

    Args:
        title: For people.
        source: Data source, and its folder below that of the shared data.
        options: Of the source and the splits.
        samples: Training samples seen in all; 0: 25 epochs.
        augment, views: Of the recipe.
        whole: ``False``: the small net and labels alone, where a training takes long.
    """

    title: str
    source: tuple[str, str | None]
    options: Mapping[str, Any]
    samples: int
    augment: str = "auto"
    views: int = 4
    whole: bool = True


FASHION = ("fashion_mnist", "fashion_mnist")
TASKS = {
    "fashion_mnist": Task("Fashion-MNIST, 50,000 samples", FASHION, {"validation_fraction": 1 / 6}, 50_000, "none", 1),
    "fashion_mnist_5k": Task(
        "Fashion-MNIST, 5,000 pictures, 25 epochs",
        FASHION,
        {"validation_fraction": 1 / 6, "limit": 5_000},
        0,
        whole=False,
    ),
    "digits": Task("digits, 8x8, 25 epochs", ("digits", None), {"validation_fraction": 0.3}, 0),
    "gtsrb": Task("traffic signs, 32x32, 25 epochs", ("image_folder", "gtsrb"), {"size": 32}, 0),
}


@dataclass(frozen=True)
class Cell:
    """One training: all that its result depends on."""

    task: str
    net: str
    taught: str
    batch: int
    init: str
    seed: int
    share: float = 1.0

    @property
    def name(self) -> str:
        """Of its file."""
        share = "" if self.share == 1 else f"-{self.share:.3f}"
        return f"{self.task}-{self.net}-{self.taught}-{self.batch}-{self.init}-{self.seed}{share}".replace("/", "_")


@dataclass(frozen=True)
class Result:
    """Accuracy on the whole validation split, and the CPU seconds of the training."""

    accuracy: float
    cpu_s: float


class Bench:
    """Data, teachers and trainings, each made once."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.data, self.folder = data, folder
        self.dataset, self.teacher_logits = cache(self._dataset), cache(self._teacher_logits)

    def _dataset(self, task: str) -> Dataset:
        source, below = TASKS[task].source
        place = self._signs() if below == "gtsrb" else None if below is None else self.data / below
        options = dict(TASKS[task].options)
        path = None if place is None else str(place)
        return load_dataset(source, path, options, seed=0, cache_dir=self.folder / "cache")

    def _signs(self) -> Path:
        """The traffic signs, every fifth track of a class for validation: pictures of one track are of one sign."""
        place = self.folder / "gtsrb"
        if not place.exists():
            with tarfile.open(self.data / "gtsrb" / "gtsrb.tar") as packed:
                packed.extractall(f"{place}.part", filter="data")
            for kind in sorted(Path(f"{place}.part", "train").iterdir()):
                for track in sorted({f.name.split("_")[0] for f in kind.iterdir()})[::5]:
                    target = Path(f"{place}.part", "val", kind.name)
                    target.mkdir(parents=True, exist_ok=True)
                    for file in sorted(kind.glob(f"{track}_*")):
                        file.rename(target / file.name)
            Path(f"{place}.part").rename(place)
        return place

    def views(self, task: str) -> SeededViews:
        """Of the train split; the same for all trainings, as cached outputs ask for."""
        return SeededViews(self.dataset(task), TASKS[task].augment, 0, TASKS[task].views)

    def recipe(self, task: str, batch: int, share: float = 1.0) -> Recipe:
        """autokd's defaults but for the batch."""
        of = TASKS[task]
        samples = of.samples or 25 * self.views(task).size
        return Recipe(round(share * samples), batch, augment=of.augment, views=of.views)

    def train(self, cell: Cell) -> Result:
        """A training and its score."""
        data, views = self.dataset(cell.task), self.views(cell.task)

        def build(seed: int) -> nn.Module:
            net = NETS[cell.net]
            return build_module(net.family, net.params, data.spec, len(data.classes), seed)

        held_out = (_inputs(data, data.splits.validation), data.targets[data.splits.validation])
        method, cached = make_method("none", {}), None
        if cell.taught == "kd":
            method, cached = make_method("kd", KD), Cached(self.teacher_logits(cell.task))
        recipe = self.recipe(cell.task, cell.batch, cell.share)
        model = build(cell.seed) if cell.init == "plain" else first_weights(build, cell.seed, data, cell.seed)
        done = fit(model, Lesson(views, data.targets[data.splits.train], held_out, recipe, method, cell.seed, cached))
        if cell == teacher_of(cell.task):
            everything = np.arange(views.size)
            logits = [scores(model, views.batch(everything, v)) for v in range(views.count)]
            np.save(self.folder / f"{cell.task}-teacher.npy", np.stack(logits))
        return Result(float((scores(model, held_out[0]).argmax(1) == held_out[1]).mean()), done.cpu_s)

    def _teacher_logits(self, task: str) -> np.ndarray:
        """A teacher's outputs ``(views, size, classes)`` on the training views."""
        self.result(teacher_of(task))
        logits: np.ndarray = np.load(self.folder / f"{task}-teacher.npy")
        return logits

    def result(self, cell: Cell) -> Result:
        """Of a training that is done now, or was."""
        file = self.folder / "cells" / f"{cell.name}.json"
        known = read_json(file)
        if known is None:
            found = self.train(cell)
            known = {"accuracy": found.accuracy, "cpu_s": found.cpu_s}
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, known)
            print(f"{cell.name}: {found.accuracy:.2%}, {found.cpu_s:.1f} CPU s", flush=True)
        return Result(**known)


def teacher_of(task: str, init: str = "auto", seed: int = 0) -> Cell:
    """The training of a data set's teacher; the one of the defaults teaches."""
    return Cell(task, TEACHER, "labels", 128, init, seed, TEACHER_SHARE.get(task, 1.0))


@dataclass(frozen=True)
class Cached:
    """A teacher's logits ``(views, size, classes)``; implements :class:`autokd.protocols.TeacherOutputs`."""

    logits: np.ndarray
    names = frozenset({"logits"})

    def taps(self, positions: np.ndarray, view: int, names: frozenset[str]) -> dict[str, np.ndarray]:
        """Those of training samples at ``(B,)`` positions."""
        return {"logits": self.logits[view, positions]}


def scores(model: nn.Module, inputs: np.ndarray) -> np.ndarray:
    """``(N, classes)`` logits of raw samples."""
    with torch.no_grad():
        parts = [model.eval()(torch.from_numpy(inputs[i : i + 500])).numpy() for i in range(0, len(inputs), 500)]
    return np.concatenate(parts)


def _inputs(data: Dataset, index: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(data.inputs[index])


# ---------------------------------------------------------------------------------------------------------- tables


GAIN_HEAD = "data | net | taught by | plain | whitening | gain | CPU s | ratio of CPU s to plain"
BATCH_HEAD = "data | batch 128 | 64, equal samples | 64, fewer samples | ratio of CPU s, equal | fewer | samples then"


def gain_rows(bench: Bench, task: str, seeds: int) -> Iterator[list[str]]:
    """Whitening against none."""
    for net, taught in ((SMALL, "labels"), (LARGE, "labels"), (SMALL, "kd"), (TEACHER, "labels")):
        if net == TEACHER and task not in CHEAP_TEACHERS:
            continue
        if (net, taught) != (SMALL, "labels") and not TASKS[task].whole:
            continue
        share = teacher_of(task).share if net == TEACHER else 1.0
        plain, auto = (
            [bench.result(Cell(task, net, taught, 128, init, seed, share)) for seed in range(seeds)]
            for init in ("plain", "auto")
        )
        shown = f"{NETS[net].family} {net}" if net != TEACHER else "resnet of width 24, the teacher"
        yield [TASKS[task].title, shown, taught, _accuracy(plain), _accuracy(auto), _gain(plain, auto),
               f"{_cpu(auto):.1f}", f"{_cpu(auto) / _cpu(plain):.2f}"]  # fmt: skip


def batch_rows(bench: Bench, task: str, seeds: int) -> Iterator[list[str]]:
    """Batches of 64 against 128, whitened, at equal samples and at equal CPU seconds."""
    large, small = (
        [bench.result(Cell(task, SMALL, "labels", batch, "auto", seed)) for seed in range(seeds)] for batch in (128, 64)
    )
    share = min(1.0, _cpu(large) / _cpu(small))
    begun = sorted((bench.folder / "cells").glob(f"{Cell(task, SMALL, 'labels', 64, 'auto', 0).name}-*.json"))
    if begun:  # a clock never says the same twice: what was begun goes on
        share = float(begun[0].stem.rsplit("-", 1)[1])
    share = round(share, 3)
    same = [bench.result(Cell(task, SMALL, "labels", 64, "auto", seed, share)) for seed in range(seeds)]
    yield [TASKS[task].title, _accuracy(large), _gain(large, small), _gain(large, same),
           *(f"{_cpu(r) / _cpu(large):.2f}" for r in (small, same)), f"{share:.0%}"]  # fmt: skip


def _gain(before: list[Result], after: list[Result]) -> str:
    gains = [100 * (a.accuracy - b.accuracy) for b, a in zip(before, after, strict=True)]
    error = stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return f"{mean(gains):+.2f} ± {error:.2f}"


def _accuracy(results: list[Result]) -> str:
    values = [100 * r.accuracy for r in results]
    return f"{mean(values):.2f} ± {stdev(values) if len(values) > 1 else 0:.2f}"


def _cpu(results: list[Result]) -> float:
    return mean(r.cpu_s for r in results)


def table(head: str, rows: list[list[str]]) -> str:
    """In Markdown."""
    return "\n".join(
        [f"| {head} |", "|" + "---|" * (head.count("|") + 1), *("| " + " | ".join(row) + " |" for row in rows)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the shared data")
    parser.add_argument("--folder", type=Path, default=Path("build/initialisation"), help="keeps what is done")
    parser.add_argument("--sets", default=",".join(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    asked, began = parser.parse_args(), time.time()
    asked.folder.mkdir(parents=True, exist_ok=True)
    bench, tasks = Bench(asked.data, asked.folder), asked.sets.split(",")
    gains: list[list[str]] = []
    batches: list[list[str]] = []
    with torch_threads(1):
        for task in tasks:
            gains += gain_rows(bench, task, asked.seeds)
            batches += batch_rows(bench, task, asked.seeds)
    command = f"python benchmarks/initialisation.py {shown_arguments()}".rstrip()
    text = "\n\n".join(
        [
            f"Command: `{command}`. {machine(began)} One thread.",
            f"Accuracy on the validation split in per cent, mean over {asked.seeds} seeds ± standard deviation; gains in points,"
            " mean of the seeds' differences ± its standard error.",
            table(GAIN_HEAD, gains),
            f"Batches of 64 against 128, {SMALL}, both whitened, labels alone; fewer samples are as many as fit into the CPU"
            " seconds of batches of 128:",
            table(BATCH_HEAD, batches),
        ]
    )
    print(text)
    if asked.write:
        write_section(text, "initialisation")


if __name__ == "__main__":
    main()
