"""The examples in the docstrings of public classes run, and every listed class has one."""

from __future__ import annotations

import doctest
from importlib import import_module
from typing import Any

import pytest

CLASSES = (
    "autokd.config.space:SearchSpace",
    "autokd.samplers.frontier:FrontierSampler",
    "autokd.runners.ray_scheduler:HalvingScheduler",
    "autokd.study.study:Study",
    "autokd.modalities.modality:Modality",
    "autokd.distillation.knowledge.knowledge:Knowledge",
    "autokd.distillation.schemes.scheme:Scheme",
    "autokd.hardware.device:Device",
    "autokd.effort:Effort",
)
"""Where a person meets a class first: its docstring shows how it is used."""


def examples(owner: Any, module: Any) -> list[doctest.DocTest]:
    """The examples of a class and its methods, as doctest finds them."""
    return [t for t in doctest.DocTestFinder(recurse=True).find(owner, module=module) if t.examples]


@pytest.mark.parametrize("name", CLASSES)
def test_the_example_runs(name: str) -> None:
    where, _, what = name.partition(":")
    module = import_module(where)
    owner = getattr(module, what)
    found = examples(owner, module)
    assert any(test.name == what for test in found), f"the docstring of {what} must have an example"
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in found:
        assert not any(doctest.SKIP in e.options for e in test.examples), f"an example of {test.name} is skipped"
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_an_example_that_is_wrong_or_missing_is_found() -> None:
    class Wrong:
        """Adds.

        >>> 1 + 1
        3
        """

    class Silent:
        """Says nothing."""

    module = import_module(__name__)
    (test,) = examples(Wrong, module)
    assert doctest.DocTestRunner(verbose=False).run(test, out=lambda text: None).failed == 1
    assert examples(Silent, module) == []
