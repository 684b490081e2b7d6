"""The data sets of ``search_cost.py``: their study, and the net that is timed to place the box on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from common import FASHION_BOX, LATENCY, fashion_mnist_study
from curves import Box

HAND_MADE_ROOT: Mapping[str, Any] = {
    "resolution": 28,
    "stem_stride": 2,
    "stem_width": 32,
    "stages": 3,
    **{f"width_{i}": w for i, w in enumerate((32, 64, 128), start=1)},
    **{f"depth_{i}": 1 for i in (1, 2, 3)},
    **{f"block_{i}": "plain" for i in (1, 2, 3)},
}
"""The plain 3x3 pyramid with doubling widths and stem stride 2 that took 46 µs in fp32 where the goals were set.

Its widths were not written down. Two nets of its kind were: 4.6 and 6.9 million multiply-accumulates took 53.4 and 76.8 µs
there, which puts 46 µs at 3.9 million. Of the pyramids with one block a stage, a stem no wider than the first stage and
channels that fill the vector units (multiples of 16), 32, 64 and 128 after a stem of 32 has 3.95 million (103 thousand
parameters); the next smaller and larger have 3.0 and 6.1. It has no residual addition that an exporter could fold away.
"""
HAND_MADE_ROOT_MS = 0.046

SMALLEST_MLP: Mapping[str, Any] = {"depth": 1, "width_1": 4, "batchnorm": False, "dropout": 0.0}
"""The smallest candidate of the space ``tabular``: one hidden layer of 8 of which pruning takes half."""


@dataclass(frozen=True)
class Facts:
    """What preparation found out, once for all searches in a folder.

    Args:
        dataset: Folder of the split data.
        weights: The teacher's weights.
        teacher_cpu_s, bank_cpu_s: CPU seconds of its training, and of its check-up and cached outputs; ``None``: these
            were there already.
        majority, teacher_accuracy: Accuracy on the validation split of the commonest class, and of the teacher.
        teacher_ms: The teacher's latency.
        yardstick_ms: The task's yardstick's.
        cpu: The processor all of it was timed on.
    """

    dataset: str
    weights: str
    teacher_cpu_s: float
    bank_cpu_s: float | None
    majority: float
    teacher_accuracy: float
    teacher_ms: float
    yardstick_ms: float
    cpu: str


@dataclass(frozen=True)
class Task:
    """A data set to search on.

    Args:
        name: For ``--dataset``, folders and markers.
        title: For people.
        data: The default of ``--data``: below the folder of shared data.
        study: From the data's folder to a study without name, sampler, budget and storage.
        yardstick: Family and parameters of the net that is timed.
        box: From facts to the box of the hypervolume.
        ratio: From facts to this machine's latencies over those of the machine the goals were set on; ``None``: no goals.
        level: Validation hypervolume whose price in CPU seconds is told: one that a first good student does not reach.
    """

    name: str
    title: str
    data: str
    study: Callable[[str], dict[str, Any]]
    yardstick: tuple[str, Mapping[str, Any]]
    box: Callable[[Facts], Box]
    ratio: Callable[[Facts], float | None]
    level: float


def root_ratio(facts: Facts) -> float:
    """This machine's latency of the hand-made root over that of the machine the goals were set on."""
    return facts.yardstick_ms / HAND_MADE_ROOT_MS


def teachers_box(facts: Facts) -> Box:
    """From the majority guess to a tenth of the way beyond the teacher; from the teacher's latency to the smallest net's."""
    good = facts.teacher_accuracy + 0.1 * (facts.teacher_accuracy - facts.majority)
    return Box(facts.majority, min(1.0, good), facts.teacher_ms, facts.yardstick_ms)


def fashion_mnist_cost_study(data: str) -> dict[str, Any]:
    """The study of ``fashion_mnist.py`` behind a better teacher, trained and training in bfloat16.

    The goals were set with a teacher of 93.4 % on the test split that takes 560 µs: one that looks at every pixel, as this
    one does.
    """
    study = fashion_mnist_study(data)
    teacher = study["teacher"]
    return study | {
        "teacher": teacher
        | {
            "params": teacher["params"] | {"stem_stride": 1},
            "training": teacher["training"] | {"precision": "bfloat16"},
        },
        "training": study["training"] | {"precision": "bfloat16"},
    }


def adult_study(data: str) -> dict[str, Any]:
    """UCI Adult (income above 50,000 dollars or not): numbers and categories, small multi-layer perceptrons."""
    return {
        "data": {
            "source": "csv",
            "path": f"{data}/adult-train.csv.gz",
            "test": "adult-test.csv.gz",
            "header": False,
            "validation_fraction": 0.2,
        },
        "teacher": {
            "family": "mlp",
            "params": {"depth": 3, "width_1": 512, "width_2": 512, "width_3": 256, "dropout": 0.3},
            "training": {"epochs": 6, "lr": 0.05, "batch_size": 128, "augment": "none", "views": 1},
        },
        "space": "tabular",
        "hardware": ["cpu_1_thread"],
        "objectives": ["maximize accuracy", f"minimize {LATENCY}"],
        "training": {"samples": 100_000, "batch_size": 128, "augment": "none", "views": 1, "tune_samples": 40_000},
        "resources": {"device": "cpu"},
        "seed": 0,
    }


TASKS = {
    task.name: task
    for task in (
        Task(
            name="fashion_mnist",
            title="Fashion-MNIST",
            data="fashion_mnist",
            study=fashion_mnist_cost_study,
            yardstick=("mobilenet", HAND_MADE_ROOT),
            box=lambda facts: FASHION_BOX.scaled(root_ratio(facts)),
            ratio=root_ratio,
            level=0.60,
        ),
        Task(
            name="adult",
            title="UCI Adult",
            data="tabular",
            study=adult_study,
            yardstick=("mlp", SMALLEST_MLP),
            box=teachers_box,
            ratio=lambda facts: None,
            level=0.90,
        ),
    )
}
