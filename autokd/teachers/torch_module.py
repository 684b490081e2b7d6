"""A person's own module as the teacher: ``teacher: {torch: package.module:factory, weights: file, args: {...}}``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from autokd import registry
from autokd.errors import ConfigError, TeacherError
from autokd.protocols import TeacherOptions
from autokd.teachers import weights
from autokd.teachers.inputs import InputRule
from autokd.teachers.module import ModuleTeacher


def load(options: TeacherOptions) -> ModuleTeacher:
    """A torch module built by your factory, with weights from safetensors or a tensors-only .pt file.

    Keys of the ``teacher:`` block: ``torch`` (``package.module:factory``), ``weights`` (optional when the factory
    returns a trained module), ``args`` (the factory's keyword arguments), ``input`` (see :class:`InputRule`; by default
    the raw values as float32) and ``scores`` (``logits`` or ``probabilities``, where recognising them fails).

    Raises:
        ConfigError: The factory cannot be imported, or ``input`` is wrong.
        TeacherError: Factory, weights or outputs that cannot serve.
    """
    block = options.options
    name = str(block.get("torch"))
    if ":" not in name:
        raise ConfigError("teacher.torch must be 'package.module:factory'", repr(block.get("torch")))
    args = block.get("args") or {}
    if not isinstance(args, Mapping):
        raise ConfigError("teacher.args must be a mapping of the factory's keyword arguments", repr(args))
    factory = registry.load("teachers", name)
    try:
        module = factory(**args)
    except Exception as error:  # a person's factory may raise anything
        value = f"{type(error).__name__}: {error}"
        raise TeacherError(f"The factory {name} must build the teacher", value, "Check teacher.args.") from error
    if not isinstance(module, nn.Module):
        raise TeacherError(f"The factory {name} must return a torch.nn.Module", type(module).__name__)
    if block.get("weights") is not None:
        weights.load_into(module, Path(str(block["weights"])).expanduser())
    rule = InputRule.parse(block.get("input"), options.spec)
    # the same weights in an edited network are another teacher
    identity = f"{name}|{sorted(args.items())}|{registry.identity('teachers', name)}"
    return ModuleTeacher(f"torch:{name}", module, options, rule, identity)
