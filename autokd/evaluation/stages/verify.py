"""Verify: does the file say what the model says?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from autokd import trial
from autokd.deployment.verify import scores as file_scores
from autokd.deployment.verify import verify as compare
from autokd.errors import StageFailure
from autokd.evaluation.stages.build import restore
from autokd.evaluation.stages.results import Checked, Trained
from autokd.evaluation.stages.stage import Stored, Tools
from autokd.protocols import Dataset
from autokd.students.blueprint import Blueprint

SOME = 2048
"""Samples on which a rung's file is compared with its model: a wrong graph shows on the first, and the model is slower than the
file. A ladder makes dozens; ``finish`` compares the chosen one's on all."""


@dataclass(frozen=True)
class Verify:
    """A file held against the weights that it was made from, on the validation split.

    Args:
        blueprint: The student.
        data: Data and splits.
        weights: The stage whose weights the file has.
        bits: 32 or 8: how close the two must be.
        samples: On so many of the split; ``None``: on all. The file's scores of all are kept.
    """

    kind: ClassVar[trial.Stage] = trial.Stage.VERIFY
    revision: ClassVar[int] = 1
    blueprint: Blueprint
    data: Dataset
    weights: Stored[Trained]
    bits: int
    samples: int | None = None

    def read(self, raw: Mapping[str, Any]) -> Checked:
        return Checked.read(raw)

    def work(self, folder: Path, tools: Tools, parent: Stored[Any] | None) -> Checked:
        """How well they agree; ``scores.npy`` has the file's scores.

        Raises:
            StageFailure: ``verify_mismatch``.
        """
        assert parent is not None
        index = self.data.splits.validation
        inputs, targets = np.asarray(self.data.inputs[index]), np.asarray(self.data.targets[index])
        reference = model_logits(restore(self.blueprint, self.weights), inputs[: self.samples], tools.pace)
        with tools.pace():
            scores = file_scores(parent.folder / parent.value.file, inputs)
        agreement = compare(scores[: self.samples], reference, targets[: self.samples], bits=self.bits)
        if not np.isfinite(scores).all():
            raise StageFailure("verify", "verify_mismatch", "the file's scores are not finite")
        np.save(folder / "scores.npy", scores, allow_pickle=False)
        return Checked(agreement)


def model_logits(
    model: nn.Module, inputs: np.ndarray, pace: Callable[[], AbstractContextManager[None]], batch: int = 256
) -> np.ndarray:
    """Logits ``(N, classes) float32`` of a torch model on raw inputs."""
    found = []
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.inference_mode():
        for start in range(0, len(inputs), batch):
            with pace():
                found.append(model(torch.from_numpy(np.ascontiguousarray(inputs[start : start + batch]))).numpy())
    return np.concatenate(found).astype(np.float32)
