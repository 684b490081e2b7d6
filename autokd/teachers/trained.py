"""A teacher trained here, from a registered family: ``teacher: {family: name, params: {...}}``."""

from __future__ import annotations

from collections.abc import Mapping

from autokd.errors import ConfigError, TeacherError
from autokd.protocols import TeacherOptions
from autokd.teachers import weights
from autokd.teachers.module import ModuleTeacher


def load(options: TeacherOptions) -> ModuleTeacher:
    """A network of a registered family, trained by this study; reads raw input in the source's dtype.

    Raises:
        ConfigError: ``params`` is not a mapping.
        TeacherError: It has not been trained yet, or its weights do not fit the family's module.
    """
    family, params = str(options.options.get("family")), options.options.get("params") or {}
    if not isinstance(params, Mapping):
        raise ConfigError("teacher.params must be a mapping", repr(params))
    if options.build is None or options.weights is None or not options.weights.is_file():
        mend = "It is trained when the study's search begins."
        raise TeacherError(f"The teacher of family {family!r} must have been trained", str(options.weights), mend)
    module = options.build(family, params)
    weights.load_into(module, options.weights)
    return ModuleTeacher(f"family:{family}", module, options, None, f"{family}|{sorted(params.items())}")
