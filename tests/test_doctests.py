"""The examples in docstrings run and give what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest

EXAMPLES = {
    "autokd.config.space": "SearchSpace",
    "autokd.runners.ray_scheduler": "HalvingScheduler",
    "autokd.samplers.frontier": "FrontierSampler",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {test.name for test in finder.find(module) if test.examples}
    assert f"{name}.{EXAMPLES[name]}" in found
    assert doctest.testmod(module).failed == 0
