"""The contract of a modality: run it over your own with ``check_modality(MyModality, raw)``."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autokd.data.augment import view_bits
from autokd.deployment.export import export
from autokd.deployment.verify import scores
from autokd.errors import DataError
from autokd.modalities import Modality
from autokd.protocols import Examples, InputSpec, RawData

SIDE = 32


def check_modality(make: Callable[[], Modality], raw: RawData) -> InputSpec:
    """Hold a modality to its contract on some data of its kind; returns their description.

    Args:
        make: The class or factory that is registered.
        raw: At least eight samples, as a data source returns them, of whatever is odd about the kind (missing values, ragged rows).

    Raises:
        AssertionError: The first clause that does not hold.
        DataError: It refuses these data; the message says why.
    """
    modality = make()
    before = {name: array.copy() for name, array in modality.arrays(raw.inputs).items()}
    checked = _check_checks(modality, raw)
    spec = modality.describe(checked, np.arange(len(checked.inputs) // 2))
    _check_spec(spec, checked)
    _check_storage(modality, checked.inputs, spec)
    _check_samples(modality, checked, spec)
    _check_graph(modality, checked, spec)
    for name in modality.augmentations:
        _check_augmentation(modality, checked, spec, name)
    assert modality.auto in ("none", *modality.augmentations), f"auto must be an augmentation: {modality.auto!r}"
    _check_shown(modality, checked.inputs, spec)
    after = modality.arrays(raw.inputs)
    assert all(_same(before[name], after[name]) for name in before), "the data must stay as they were"
    return spec


def _check_checks(modality: Modality, raw: RawData) -> RawData:
    """What was checked passes again unchanged; what is no data is refused."""
    checked = modality.check(raw)
    again = modality.check(checked)
    assert isinstance(checked, RawData), f"check must return RawData, but got {type(checked).__name__}"
    assert checked.kind == raw.kind and len(checked.inputs) == len(raw.inputs), "check must keep kind and samples"
    stated = [(one.low, one.high, dict(one.facts)) for one in (checked, again)]
    assert stated[0] == stated[1], "checked data must pass the check again, unchanged"
    odd = {"no array": "text", "no samples": raw.inputs[np.arange(0)], "objects": np.array([[None], ["x"]])}
    for name, inputs in odd.items():
        try:
            modality.check(replace(raw, inputs=inputs))
        except DataError:
            continue
        raise AssertionError(f"check must refuse inputs that are {name} with a DataError")
    try:
        modality.check(replace(raw, facts={**raw.facts, "no_such_fact": 1}))
    except DataError:
        return checked
    raise AssertionError("check must refuse a fact that it does not know with a DataError")


def _check_spec(spec: InputSpec, raw: RawData) -> None:
    """A spec is plain JSON that reads back as it was."""
    assert spec.kind == raw.kind, f"the spec's kind must be {raw.kind!r}, but got {spec.kind!r}"
    back = InputSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert back == spec, "a spec must be the same after it was written as JSON (tuples, no lists; no empty facts)"
    assert np.isfinite([*spec.mean, *spec.std]).all() and all(s > 0 for s in spec.std), (
        "std must be above 0, all finite"
    )


def _check_storage(modality: Modality, examples: Examples, spec: InputSpec) -> None:
    """What is kept on disk makes the same samples again."""
    arrays = modality.arrays(examples)
    assert arrays and all(name.isidentifier() for name in arrays), f"names of arrays must be plain: {list(arrays)}"
    again, some = modality.examples(arrays, spec), np.array([3, 0, 3])
    assert len(again) == len(examples), "examples(arrays(x)) must have as many samples as x"
    _assert_equal(again[some], examples[some], "examples(arrays(x)) must hand out the samples of x")


def _check_samples(modality: Modality, raw: RawData, spec: InputSpec) -> None:
    """Samples drawn by description are data of this kind, the same for the same seed."""
    drawn, batch = modality.sample(spec, 5, 1), raw.inputs[np.arange(5)]
    _assert_equal(modality.sample(spec, 5, 1), drawn, "sample must give the same values for the same seed")
    for origin, found in (("sample", _named(drawn)), ("the data", _named(batch))):
        assert list(found) == list(spec.inputs), f"{origin} must have the inputs of the spec, {list(spec.inputs)}"
        for name, (shape, dtype) in spec.inputs.items():
            array, wanted = found[name], (5, *shape)
            said = f"{origin} must be {wanted} {dtype} as the spec says, but is {array.shape} {array.dtype}"
            assert array.shape == wanted and array.dtype.name == dtype, said


def _check_graph(modality: Modality, raw: RawData, spec: InputSpec) -> None:
    """Preparation is finite, has no weights, treats samples alone, and is the same in the exported file."""
    prepare, shape = modality.prepare(spec).eval(), tuple(modality.prepared_shape(spec))
    assert not prepare.state_dict(), "prepare must keep what follows from the spec out of its state dict"
    assert not list(prepare.parameters()), "prepare must hold no weights"
    with tempfile.TemporaryDirectory(prefix="autokd-modality-") as folder:
        file, columns = Path(folder) / "prepared.onnx", [str(i) for i in range(math.prod(shape))]
        export(_Flat(prepare), spec, columns, file, name="prepared")
        for batch in (modality.sample(spec, 5, 2), raw.inputs[np.arange(4)]):
            tensors = [torch.from_numpy(np.ascontiguousarray(a)) for a in _named(batch).values()]
            with torch.no_grad():
                whole = prepare(*tensors)
                alone = torch.cat([prepare(*(t[i : i + 1] for t in tensors)) for i in range(len(whole))])
            found = tuple(whole.shape[1:])
            assert found == shape, f"prepared samples must be {shape} as prepared_shape says, but are {found}"
            assert torch.isfinite(whole).all(), "prepared values must be finite"
            assert torch.allclose(whole, alone, atol=1e-6), "a prepared sample must not depend on its batch"
            same_in_file = np.allclose(scores(file, batch), whole.flatten(1).numpy(), rtol=1e-4, atol=1e-4)
            assert same_in_file, "the exported file must prepare as the module does"


def _check_augmentation(modality: Modality, raw: RawData, spec: InputSpec, name: str) -> None:
    """A changed sample depends on its position and its view and on nothing else, and is still data of this kind."""
    change, train = modality.augment(name, spec), np.arange(len(raw.inputs))

    def batch(positions: np.ndarray, view: int) -> Any:
        return change(raw.inputs[positions], positions, view_bits(0, view))

    every, some = batch(train, 1), np.array([5, 2, 5])
    picked = {key: array[some] for key, array in _named(every).items()}
    _assert_equal(batch(some, 1), picked, f"{name}: a sample must not depend on its batch")
    _assert_equal(batch(train, 1), every, f"{name}: the same view must give the same values")
    other = _named(batch(train, 2))
    assert not all(_same(a, other[n]) for n, a in _named(every).items()), f"{name}: another view must differ"
    if isinstance(raw.inputs, np.ndarray):
        modality.check(replace(raw, inputs=every))


def _check_shown(modality: Modality, examples: Examples, spec: InputSpec) -> None:
    """A person sees a picture or a row of each."""
    shown = modality.show(examples, spec, np.array([4, 1]), SIDE)
    if shown.columns is None:
        assert len(shown.pictures) == 2, f"show must give one picture each, but gave {len(shown.pictures)} of 2"
        plain = all(p.dtype == np.uint8 and (p.ndim == 2 or p.shape[2:] == (3,)) for p in shown.pictures)
        assert plain, "pictures must be uint8 (H, W) or (H, W, 3)"
    else:
        assert all(len(column) == 2 for column in shown.columns.values()), "show must give one value a sample"


class _Flat(nn.Module):
    def __init__(self, prepare: nn.Module) -> None:
        super().__init__()
        self.prepare = prepare

    def forward(self, raw: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        return torch.flatten(self.prepare(raw, *more), 1)


def _same(one: np.ndarray, two: np.ndarray) -> bool:
    """Equal in shape, type and values; NaN equals NaN."""
    return one.dtype == two.dtype and np.array_equal(one, two, equal_nan=one.dtype.kind == "f")


def _named(batch: Any) -> dict[str, np.ndarray]:
    return dict(batch) if isinstance(batch, Mapping) else {"input": batch}


def _assert_equal(found: Any, wanted: Any, law: str) -> None:
    one, two = _named(found), _named(wanted)
    assert one.keys() == two.keys() and all(_same(one[name], two[name]) for name in one), law
