"""Export: torch to ONNX, raw input, normalisation inside, residual additions folded where that is exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from autokd import trial
from autokd.compression.fold import fold_residuals
from autokd.deployment.export import export as export_file
from autokd.evaluation.stages.build import restore
from autokd.evaluation.stages.results import Package
from autokd.evaluation.stages.stage import Stored, Tools
from autokd.protocols import InputSpec
from autokd.students.blueprint import Blueprint


@dataclass(frozen=True)
class Export:
    """The float32 file of a trained student.

    Args:
        blueprint: The student.
        classes: Names of the classes; they stand in the file.
    """

    kind: ClassVar[trial.Stage] = trial.Stage.EXPORT
    revision: ClassVar[int] = 1
    blueprint: Blueprint
    classes: tuple[str, ...]

    def read(self, raw: Mapping[str, Any]) -> Package:
        return Package.read(raw)

    def work(self, folder: Path, tools: Tools, parent: Stored[Any] | None) -> Package:
        """The file's name, hash, size and opset."""
        assert parent is not None
        with tools.pace():
            student = restore(self.blueprint, parent)
            done = to_onnx(student, self.blueprint.spec, self.classes, self.blueprint.family, folder / "student.onnx")
        return Package("student.onnx", done.sha256, done.size_bytes, done.opset)


def to_onnx(student: nn.Module, spec: InputSpec, classes: tuple[str, ...], name: str, path: Path) -> Any:
    """Write a student as it ships in float32."""
    return export_file(student.eval(), spec, classes, path, name=name, passes=(fold_residuals,))
