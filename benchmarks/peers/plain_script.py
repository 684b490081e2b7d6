"""The script a newcomer would write: four widths of a plain net, trained and exported; the yardstick of ``plain_script.py`` beside.

    python benchmarks/peers/plain_script.py DATA FOLDER --cpu-s 60 [--seed 0] [--split SPLIT.npz] [--teacher TEACHER]

DATA is a folder of pictures (``train/<class>/*.png``, ``val/<class>/*.png``), a table (``.csv``, the label last), or the word
``digits``. Of a table and of digits, SPLIT.npz tells the rows of ``train`` and ``validation``; without it a tenth validates.
TEACHER is an ONNX file that reads the raw values, or a ``.safetensors`` file with the ``logits`` of all training samples in the
order in which they are read; without it the nets learn from the labels alone.

Training fills the budget: every net's first steps are timed, and what remains of the CPU seconds, counted from the start of the
process, is shared so that all nets make as many steps, at least one epoch's. The weights are kept that were best on the validation
split. FOLDER gets four ONNX files, which read raw values in batches of any size, and ``nets.json``.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = {"picture": (8, 16, 24, 32), "table": (16, 32, 64, 128)}
FIRST_EXPORT_S, EXPORT_S, END_S = 4.0, 1.0, 1.5
"""CPU seconds set aside for what PyTorch's exporter takes, with its imports at first, and for the end of the process."""
LOOKS = 10
"""Times that the validation split is looked at in a training."""
WORTH_MOVING = 8
"""Epochs from which on moved pictures help: who sees a picture less often does not know it by heart yet."""
TEMPERATURE, SOFT = 4.0, 0.9
"""Of the teacher's outputs: how much they are softened, and their share of the loss."""

Part = tuple[Tensor, Tensor]
"""Samples as they are read, raw, pictures ``(N, C, H, W)`` or rows ``(N, F) float32``, and their classes ``(N,) int64``."""


@dataclass
class Data:
    """What is learned; ``words``: of a table, how many words each column has, 0 for a number; ``None`` for pictures."""

    train: Part
    validation: Part
    classes: int
    words: list[int] | None = None


def read(path: str, split: Path | None) -> Data:
    """The data of the command line."""
    if Path(path).is_dir():
        names = sorted(f.name for f in (Path(path) / "train").iterdir())
        return Data(read_pictures(Path(path) / "train", names), read_pictures(Path(path) / "val", names), len(names))
    words = None
    if path == "digits":
        from sklearn.datasets import load_digits

        found = load_digits()
        inputs, targets = torch.tensor(found.images[:, None]).float(), torch.tensor(found.target)
    else:
        inputs, targets, words = read_table(Path(path))
    if split:
        with np.load(split, allow_pickle=False) as rows:
            train, validation = torch.tensor(rows["train"]), torch.tensor(rows["validation"])
    else:
        train, validation = torch.randperm(len(inputs)).tensor_split([len(inputs) * 9 // 10])
    return Data(
        (inputs[train], targets[train]), (inputs[validation], targets[validation]), int(targets.max()) + 1, words
    )


def read_pictures(folder: Path, names: Sequence[str]) -> Part:
    """All pictures of the classes' folders, ``uint8``."""
    from PIL import Image

    files = [(file, k) for k, name in enumerate(names) for file in sorted((folder / name).glob("*.png"))]
    pixels = torch.from_numpy(np.stack([np.asarray(Image.open(file)) for file, _ in files]))
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2).contiguous()
    return pixels, torch.tensor([k for _, k in files])


def read_table(file: Path) -> tuple[Tensor, Tensor, list[int]]:
    """Rows with codes in place of words, -1 where there is none; classes; how many words each column has."""
    import pandas as pd

    table = pd.read_csv(file, na_values="?", skipinitialspace=True)
    columns, words = [], []
    for name in table.columns[:-1]:
        column = table[name]
        if pd.api.types.is_numeric_dtype(column):
            columns.append(column.fillna(column.median()).to_numpy(np.float32))
            words.append(0)
        else:
            known = sorted(column.dropna().unique())
            columns.append(pd.Categorical(column, known).codes.astype(np.float32))
            words.append(len(known))
    targets = np.unique(table.iloc[:, -1], return_inverse=True)[1]
    return torch.tensor(np.stack(columns, axis=1)), torch.tensor(targets), words


class Pictures(nn.Module):
    """Raw pictures to standardised ones."""

    mean: Tensor
    std: Tensor

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        some = inputs[:: max(1, len(inputs) // 5000)].float()
        self.register_buffer("mean", some.mean((0, 2, 3))[:, None, None])
        self.register_buffer("std", some.std((0, 2, 3))[:, None, None])

    def forward(self, raw: Tensor) -> Tensor:
        return (raw.float() - self.mean) / self.std


class Rows(nn.Module):
    """Raw rows to standardised numbers, then words one-hot; no column for a word that is missing."""

    numbers: Tensor
    mean: Tensor
    std: Tensor
    columns: Tensor
    codes: Tensor

    def __init__(self, inputs: Tensor, words: Sequence[int]) -> None:
        super().__init__()
        numbers = torch.tensor([k for k, count in enumerate(words) if count == 0], dtype=torch.long)
        columns = torch.tensor([k for k, count in enumerate(words) for _ in range(count)], dtype=torch.long)
        self.register_buffer("numbers", numbers)
        self.register_buffer("columns", columns)
        self.register_buffer("mean", inputs[:, numbers].mean(0))
        self.register_buffer("std", inputs[:, numbers].std(0).clamp_min(1e-6))
        self.register_buffer("codes", torch.tensor([float(c) for count in words for c in range(count)]))

    def forward(self, raw: Tensor) -> Tensor:
        numbers = (raw[:, self.numbers] - self.mean) / self.std
        return torch.cat([numbers, raw[:, self.columns].eq(self.codes).float()], dim=1)


def make_net(data: Data, width: int) -> nn.Module:
    """Three convolutions of ``width`` and twice and four times as many channels; of a table two hidden layers."""
    layers: list[nn.Module]
    if data.words is not None:
        prepare: nn.Module = Rows(data.train[0], data.words)
        sizes = [prepare(data.train[0][:1]).shape[1], width, width]
        layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(prepare, *layers, nn.Linear(width, data.classes))
    sizes = [data.train[0].shape[1], width, 2 * width, 4 * width]
    strides = (1, 2, 2) if data.train[0].shape[2] <= 16 else (2, 2, 2)
    layers = [Pictures(data.train[0])]
    for (a, b), stride in zip(pairwise(sizes), strides, strict=True):
        layers += [nn.Conv2d(a, b, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, data.classes))


class Training:
    """What the trainings of all nets share: data, rate, batches, the teacher's logits."""

    def __init__(self, data: Data, logits: Tensor | None) -> None:
        self.data, self.logits, count = data, logits, len(data.train[0])
        self.batch = 32 if count < 2000 else 64 if count < 10_000 else 128
        self.lr = 0.3 if data.words is None else 0.1  # of 0.1 to 0.6 what did best in a few short trainings
        self.epoch = count // self.batch

    def batches(self, move: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and the rows they are from, without end; every epoch in another order."""
        while True:
            order = torch.randperm(len(self.data.train[0]))
            for rows in order[: self.epoch * self.batch].split(self.batch):
                inputs = self.data.train[0][rows]
                yield (moved(inputs) if move else inputs), rows

    def fit(self, net: nn.Module, steps: int, total: int | None = None) -> float:
        """Train; keep what was best on the validation split. ``total``: make only the first steps of so many."""
        optimizer = torch.optim.SGD(net.parameters(), self.lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=total or steps)
        looks = {steps * k // LOOKS for k in range(1, LOOKS + 1)} if total is None else set()
        best, kept = -1.0, net.state_dict()
        move = self.data.words is None and (total or steps) >= WORTH_MOVING * self.epoch
        net.train()
        for step, (inputs, rows) in zip(range(1, steps + 1), self.batches(move), strict=False):
            loss = self.loss(net(inputs), rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step in looks:
                found = accuracy(net.eval(), *self.data.validation)
                net.train()
                if found >= best:
                    best, kept = found, copy.deepcopy(net.state_dict())
        net.load_state_dict(kept)
        return best

    def loss(self, scores: Tensor, rows: Tensor) -> Tensor:
        """Of the labels; with a teacher mostly of its outputs (Hinton et al. 2015, https://arxiv.org/abs/1503.02531)."""
        hard = F.cross_entropy(scores, self.data.train[1][rows])
        if self.logits is None:
            return hard
        wanted = F.softmax(self.logits[rows] / TEMPERATURE, dim=1)
        soft = F.cross_entropy(scores / TEMPERATURE, wanted) * TEMPERATURE**2
        return SOFT * soft + (1 - SOFT) * hard

    def step_s(self, net: nn.Module, count: int = 20) -> float:
        """CPU seconds of one step, on a copy."""
        self.fit(copy.deepcopy(net), 3, total=10**9)
        began = time.process_time()
        self.fit(copy.deepcopy(net), count, total=10**9)
        return (time.process_time() - began) / count


def moved(pictures: Tensor) -> Tensor:
    """Each picture shifted by up to a twelfth of its side, its edge repeated."""
    count, _, height, width = pictures.shape
    by = max(1, height // 12)
    padded = F.pad(pictures.float(), (by, by, by, by), mode="replicate").to(pictures.dtype)
    down, right = torch.randint(0, 2 * by + 1, (2, count, 1))
    ys, xs = torch.arange(height) + down, torch.arange(width) + right
    picked = padded[torch.arange(count)[:, None, None], :, ys[:, :, None], xs[:, None, :]]
    return picked.permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def accuracy(net: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """On a part of the data."""
    hits = [(net(x).argmax(1) == y).sum() for x, y in zip(inputs.split(1000), targets.split(1000), strict=True)]
    return float(torch.stack(hits).sum() / len(targets))


def teacher_logits(file: Path, inputs: Tensor) -> Tensor:
    """The teacher's outputs on all training samples, ``(N, classes) float32``."""
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)["logits"].float()
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [session.run(None, {name: part.numpy()})[0] for part in inputs.split(256)]
    return torch.from_numpy(np.concatenate(parts)).float()


def export(net: nn.Module, example: Tensor, file: Path) -> None:
    """By PyTorch's exporter, for batches of any size."""
    torch.onnx.export(
        net.eval(),
        (example,),
        str(file),
        input_names=["input"],
        output_names=["scores"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )


def steps_of(left_s: float, step_s: Sequence[float], least: int) -> int:
    """So many steps each can nets make in the CPU seconds that are left, whose one step takes ``step_s``; at least ``least``."""
    return max(least, int(left_s / sum(step_s)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cpu-s", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", type=Path)
    parser.add_argument("--teacher", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    options.folder.mkdir(parents=True, exist_ok=True)
    data = read(options.data, options.split)
    training = Training(data, teacher_logits(options.teacher, data.train[0]) if options.teacher else None)
    widths = WIDTHS["picture" if data.words is None else "table"]
    nets = [make_net(data, width) for width in widths]
    step_s = [training.step_s(net) for net in nets]
    made = []
    for k, (width, net) in enumerate(zip(widths, nets, strict=True)):
        aside = END_S + EXPORT_S * (len(nets) - k) + (FIRST_EXPORT_S - EXPORT_S if k == 0 else 0.0)
        steps = steps_of(options.cpu_s - time.process_time() - aside, step_s[k:], training.epoch)
        began = time.process_time()
        best = training.fit(net, steps)
        pace = (time.process_time() - began) / steps / step_s[k]  # the first steps told the nets' proportion
        step_s = [s * pace for s in step_s]
        file = options.folder / f"width_{width}.onnx"
        export(net, data.train[0][:2], file)
        made.append({"file": file.name, "width": width, "epochs": steps / training.epoch, "validation_accuracy": best})
        print(f"width {width}: {steps / training.epoch:.1f} epochs, validation accuracy {best:.2%}", flush=True)
    (options.folder / "nets.json").write_text(json.dumps({"cpu_s": time.process_time(), "nets": made}, indent=1))


if __name__ == "__main__":
    main()
