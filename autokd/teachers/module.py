"""A torch module as a teacher."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autokd.errors import TeacherError, named_line, nearest
from autokd.files import new_file
from autokd.protocols import TeacherOptions
from autokd.teachers import scores
from autokd.teachers.batches import batch_size
from autokd.teachers.inputs import InputRule


class ModuleTeacher:
    """Scores raw samples with an ``nn.Module``, in eval mode, without gradients, in batches.

    Args:
        name: For people.
        module: Reads the raw batch as ``rule`` prepares it, or untouched when ``rule`` is ``None``.
        options: What the loader was given.
        rule: Preparation of the input.
        identity: Whatever beside the weights determines the outputs; goes into the fingerprint.

    Raises:
        TeacherError: The module fails on the sample, or puts out another shape than ``(N, classes)``.
    """

    def __init__(
        self, name: str, module: nn.Module, options: TeacherOptions, rule: InputRule | None, identity: str = ""
    ) -> None:
        self.name = str(options.options.get("name") or name)
        self.classes = options.classes
        self._folder = options.folder
        self._device = options.device
        self._sample = np.array(options.sample[:2])
        prepared = _Prepared(module, rule).eval()
        # convolutions run 1.6 times faster so on a CPU
        self._module = prepared.to(options.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._kind = scores.declared(options.options)
        state = module.state_dict()
        self.fingerprint = _digest(
            state, f"{identity}|{rule}|{self._kind}|{options.spec.dtype}|{type(module).__qualname__}"
        )
        sample = self._check(np.array(options.sample))
        self._kind = self._kind or scores.recognise(sample)

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Raw ``(N, *shape)`` to ``(N, classes) float32``."""
        found = np.empty((len(inputs), self.classes), dtype=np.float32)
        size = batch_size(inputs.shape[1:])
        for start in range(0, len(inputs), size):
            raw = inputs[start : start + size]
            values = scores.table(self._run(raw), len(raw))
            found[start : start + size] = scores.to_logits(values, str(self._kind), self.classes)
        return found

    def taps(self, inputs: np.ndarray, names: frozenset[str]) -> dict[str, np.ndarray]:
        """By tap ``(N, ...) float32``: ``"logits"``, a role that the module offers (``taps()``), or the path of a module in it.

        Raises:
            TeacherError: There is no such module.
        """
        inner = self._module.module
        known = dict(inner.named_modules()) | (inner.taps() if callable(getattr(inner, "taps", None)) else {})
        wanted = sorted(names - {"logits"})
        for name in wanted:
            if name not in known:
                raise TeacherError(f"Teacher {self.name} must have the tap", repr(name), nearest(name, known))
        seen: dict[str, list[np.ndarray]] = {name: [] for name in wanted}

        def keep(name: str) -> Callable[[nn.Module, Any, torch.Tensor], None]:
            return lambda module, given, made: seen[name].append(made.float().cpu().numpy())

        with contextlib.ExitStack() as hooks:
            for name in wanted:
                hooks.callback(known[name].register_forward_hook(keep(name)).remove)
            logits = self.logits(inputs)
        return {name: np.concatenate(found) for name, found in seen.items()} | {"logits": logits}

    def onnx_file(self) -> Path | None:
        """The module as an ONNX file in the study's teacher folder, written once; ``None`` if it cannot be exported."""
        path = self._folder / f"teacher-{self.fingerprint[:16]}.onnx"
        if path.is_file():
            return path
        example = torch.from_numpy(self._sample[:1]).to(self._device)
        try:
            with new_file(path) as part, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the tracing exporter announces its age; the dynamo one takes seconds
                torch.onnx.export(
                    self._module,
                    (example,),
                    str(part),
                    dynamo=False,
                    input_names=["input"],
                    output_names=["logits"],
                    dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
                    opset_version=17,
                )
        except Exception:  # whatever the exporter cannot do: the teacher still teaches, it is only not timed
            return None
        return path

    def _run(self, raw: np.ndarray) -> np.ndarray:
        own = raw if raw.flags.writeable and raw.flags.c_contiguous else np.array(raw)
        with torch.no_grad():
            return self._module(torch.from_numpy(own).to(self._device)).float().cpu().numpy()

    def _check(self, raw: np.ndarray) -> np.ndarray:
        try:
            values = self._run(raw)
        except Exception as error:  # a person's module may raise anything
            mend = (
                f"It was given {tuple(raw.shape)} {raw.dtype}; state layout, size, scale, mean or std in teacher.input."
            )
            raise TeacherError(f"Teacher {self.name} must read the data", named_line(error), mend) from error
        if not scores.fits(values.shape, len(raw), self.classes):
            law = f"Teacher {self.name} must put out scores of shape (N, {self.classes})"
            mend = "Its number of classes must be that of the data."
            raise TeacherError(law, f"shape {values.shape} for {len(raw)} samples", mend)
        return scores.table(values, len(raw))


class _Prepared(nn.Module):
    """Preparation and module in one graph, so that the exported file reads raw input too."""

    def __init__(self, module: nn.Module, rule: InputRule | None) -> None:
        super().__init__()
        self.module, self.rule = module, rule

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        return _tensor(self.module(raw if self.rule is None else self.rule.apply(raw)))


def _tensor(output: Any) -> torch.Tensor:
    """The scores a module returned: as a tensor, as ``logits`` of an object or mapping, or first in a tuple."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, Mapping) and "logits" in output:
        return _tensor(output["logits"])
    if hasattr(output, "logits"):
        return _tensor(output.logits)
    if isinstance(output, tuple | list) and output:
        return _tensor(output[0])
    raise TypeError(f"the module returned {type(output).__name__}, not a tensor of scores")


def _digest(state: Mapping[str, torch.Tensor], identity: str) -> str:
    found = hashlib.sha256(identity.encode())
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        found.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
