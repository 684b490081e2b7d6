"""Private names of other packages: each is used in one file, which says why, and is still there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import torch
from house import House

HOUSE = House(Path(__file__).parents[1])
FOREIGN = {
    "_C": "autokd/deployment/export.py",  # torch
    "_DG": "autokd/compression/importance.py",  # torch_pruning
    "_contains": "autokd/storage/optuna_private.py",
    "_get_generation_key": "autokd/storage/optuna_private.py",
    "_jit_set_onnx_log_output_stream": "autokd/deployment/export.py",  # torch
    "_private": "autokd/runners/ray_runner.py",  # ray
    "_random_generate_individual": "autokd/samplers/nni.py",
    "_running_params": "autokd/samplers/nni.py",
    "_trial_id": "autokd/storage/optuna_private.py",
}
"""Tested by what uses them: Optuna's in ``storage/test_optuna_private.py``, NNI's by the samplers' contract, all others below."""


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name != "_"


def ours(tree: ast.AST) -> Iterator[str]:
    """Private names that a module defines: functions, classes, variables, attributes of its objects."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            yield node.attr


def used(tree: ast.AST) -> Iterator[str]:
    """Private names that a module asks others for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) != "os._exit":  # documented: public but for its name
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (*str(node.module).split("."), *(n.name for n in node.names))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))


def test_each_stands_in_one_place() -> None:
    trees = {f.relative_to(HOUSE.root): ast.parse(f.read_text(encoding="utf-8")) for f in HOUSE.files.values()}
    mine = {name for tree in trees.values() for name in ours(tree) if private(name)}
    found = {
        (name, str(file)) for file, tree in trees.items() for name in used(tree) if private(name) and name not in mine
    }
    assert found == set(FOREIGN.items())


def test_torch_still_has_them() -> None:
    torch._C._jit_set_onnx_log_output_stream("stderr")


def test_ray_still_has_them() -> None:
    """Without them Ray's servers would listen on every network."""
    from ray._private import ray_constants

    assert isinstance(ray_constants.ENABLE_RAY_CLUSTER, bool)
    assert ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR == "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def test_torch_pruning_still_has_them() -> None:
    import torch_pruning as tp

    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    graph = tp.DependencyGraph().build_dependency(model, torch.zeros(1, 3))
    groups = list(graph.get_all_groups(root_module_types=(torch.nn.Linear,)))
    assert groups and all(group._DG is graph for group in groups)
