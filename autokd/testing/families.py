"""The contract of a student family: run it over your own with ``check_family(MyFamily, spec)``."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from autokd import registry
from autokd.protocols import InputSpec
from autokd.students.raw_input import RawInput
from autokd.trial import ParamValue

_OPSET = 17


def example_specs() -> dict[str, InputSpec]:
    """Inputs of very different shape, by a name fit for test ids."""
    codes = (0, 3, 0, 0, 5, 2)
    return {
        "grey8": InputSpec("image", (1, 8, 8), "float32", (4.9,), (6.0,), 0.0, 16.0),
        "grey28": InputSpec("image", (1, 28, 28), "uint8", (72.9,), (90.0,), 0.0, 255.0),
        "rgb32": InputSpec("image", (3, 32, 32), "uint8", (125.3, 123.0, 113.9), (63.0, 62.1, 66.7), 0.0, 255.0),
        "rgb24x40": InputSpec("image", (3, 24, 40), "float32", (0.5, 0.4, 0.3), (0.2, 0.2, 0.3), 0.0, 1.0),
        "table": InputSpec("tabular", (5,), "float32", (0.0, 1e3, -2.0, 4.0, 0.1), (1.0, 50.0, 0.1, 2.0, 3.0)),
        "mixed_table": InputSpec(
            "tabular",
            (6,),
            "float32",
            (38.6, 0, 1e5, 2e3, 0, 0),
            (13.6, 1, 5e4, 10.0, 1, 1),
            facts={"cardinalities": codes},
        ),
    }


def raw_samples(spec: InputSpec, count: int, seed: int = 0) -> np.ndarray:
    """``(count, *shape)`` raw values such as ``spec`` describes; tables hold NaN and unknown codes too."""
    samples: np.ndarray = registry.load("modalities", spec.kind)().sample(spec, count, seed)
    return samples


def check_family(
    family: Any, spec: InputSpec, *, classes: int = 10, params: Mapping[str, ParamValue] | None = None
) -> nn.Module:
    """Hold a family to its contract on one kind of data; returns the module it built, behind its raw input.

    Args:
        family: A family class, an instance, or a plain callable ``(params, spec, classes) -> nn.Module``.
        spec: The raw input.
        classes: Number of classes.
        params: Parameters; empty means the family's defaults.

    Raises:
        AssertionError: The first clause that does not hold.
    """
    instance = family() if isinstance(family, type) else family
    build: Callable[..., nn.Module] = getattr(instance, "build", instance)
    given = dict(params or {})
    kinds = getattr(instance, "kinds", None)
    assert kinds is None or spec.kind in kinds, f"kinds must contain {spec.kind!r}, but got {sorted(kinds or ())}"

    model = _seeded(build, given, spec, classes)
    _check_same(model, _seeded(build, given, spec, classes))
    _check_training(model, spec, classes)
    raw = RawInput(model, spec).eval()
    _check_rows_alone(raw, spec)
    _check_export(raw, spec)
    _check_prune_groups(model, spec)
    _check_blocks(model)
    return raw


def _seeded(
    build: Callable[..., nn.Module], params: Mapping[str, ParamValue], spec: InputSpec, classes: int
) -> nn.Module:
    torch.manual_seed(7)
    model = build(params, spec, classes)
    assert isinstance(model, nn.Module), f"build must return a torch.nn.Module, but got {type(model).__name__}"
    return model


def _check_same(one: nn.Module, two: nn.Module) -> None:
    """The same seed gives the same weights."""
    first, second = one.state_dict(), two.state_dict()
    assert first.keys() == second.keys(), "two builds must have the same state dict, but their keys differ"
    for name, value in first.items():
        assert torch.equal(value, second[name]), f"torch.manual_seed must fix every weight, but {name!r} differs"


def _check_training(model: nn.Module, spec: InputSpec, classes: int) -> None:
    """One training step: logits of the right shape, a gradient for every parameter."""
    x = _normalised(spec, 16)
    logits = model.train()(x)
    assert logits.shape == (16, classes), f"logits must be (16, {classes}), but got {tuple(logits.shape)}"
    assert logits.dtype == torch.float32, f"logits must be float32, but got {logits.dtype}"
    assert torch.isfinite(logits).all(), "logits of normalised input must be finite before training"
    F.cross_entropy(logits, torch.arange(16) % classes).backward()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        assert gradient is not None, f"every parameter must be used, but {name!r} got no gradient"
        assert torch.isfinite(gradient).all(), f"gradients must be finite, but not that of {name!r}"
        assert gradient.abs().max() > 0, f"every parameter must learn, but the gradient of {name!r} is 0"
    model.zero_grad(set_to_none=True)


def _check_rows_alone(raw: RawInput, spec: InputSpec) -> None:
    """In eval mode a sample's logits do not depend on its batch."""
    x = torch.from_numpy(raw_samples(spec, 5))
    with torch.no_grad():
        together, alone = raw(x), torch.cat([raw(x[i : i + 1]) for i in range(5)])
    error = float((together - alone).abs().max())
    assert error <= 1e-4 * _scale(together), (
        f"logits must not depend on the batch in eval mode, but differ by {error:.3g}"
    )


def _check_export(raw: RawInput, spec: InputSpec) -> None:
    """The ONNX file reads raw values at any batch size and agrees with torch."""
    session = onnx_session(raw, spec)
    for count in (1, 5):
        x = raw_samples(spec, count, seed=count)
        (got,) = session.run(None, {"input": x})
        with torch.no_grad():
            wanted = raw(torch.from_numpy(x))
        assert np.isfinite(got).all(), "scores must be finite for missing and unknown values too"
        error = float(np.abs(got - wanted.numpy()).max())
        assert error <= 1e-3 * _scale(wanted), (
            f"the ONNX file must agree with the model, but scores differ by {error:.3g}"
        )


def onnx_bytes(raw: nn.Module, spec: InputSpec) -> bytes:
    """The ONNX file of a module that reads raw values ``input`` and gives ``scores``, batch size free."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its successor
        torch.onnx.export(
            raw,
            (torch.from_numpy(raw_samples(spec, 2)),),
            buffer,  # type: ignore[arg-type]  # the stub knows only paths, the exporter files too
            dynamo=False,
            opset_version=_OPSET,
            input_names=["input"],
            output_names=["scores"],
            dynamic_axes={"input": {0: "batch"}, "scores": {0: "batch"}},
        )
    return buffer.getvalue()


def onnx_session(raw: nn.Module, spec: InputSpec) -> Any:
    """A one-thread ONNX Runtime session of :func:`onnx_bytes`."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(onnx_bytes(raw, spec), options, providers=["CPUExecutionProvider"])


def _check_prune_groups(model: nn.Module, spec: InputSpec) -> None:
    """Groups, where there are any, name layers of this model and leave the classifier alone."""
    if not hasattr(model, "prune_groups"):
        return
    groups: dict[str, list[nn.Module]] = cast(Any, model).prune_groups()
    own = {id(m): name for name, m in model.named_modules()}
    seen: set[int] = set()
    for group, modules in groups.items():
        assert isinstance(group, str), f"group names must be strings, but got {group!r}"
        assert modules, f"a group must name at least one layer, but {group!r} is empty"
        for module in modules:
            assert isinstance(module, nn.Conv2d | nn.Conv1d | nn.Linear), f"{type(module).__name__} cannot be pruned"
            assert id(module) in own, f"group {group!r} must name layers of the model, but a {module} is not in it"
            assert id(module) not in seen, f"a layer may be in one group only, but {own[id(module)]!r} is in two"
            seen.add(id(module))
    last = _last_layer(model, spec)
    assert id(last) not in seen, f"the classifier must not be pruned, but {own[id(last)]!r} is in a group"


def _last_layer(model: nn.Module, spec: InputSpec) -> nn.Module:
    """The layer that runs last: the one whose outputs are the classes."""
    order: list[nn.Module] = []
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Conv1d | nn.Linear)]
    hooks = [m.register_forward_hook(lambda module, *_: order.append(module)) for m in layers]
    with torch.no_grad():
        model.eval()(_normalised(spec, 2))
    for hook in hooks:
        hook.remove()
    return order[-1]


def _check_blocks(model: nn.Module) -> None:
    """The description, where there is one, is plain JSON and names every block once."""
    if not hasattr(model, "blocks"):
        return
    rows: list[dict[str, Any]] = cast(Any, model).blocks()
    assert json.loads(json.dumps(rows)) == rows, "blocks() must hold plain JSON values (lists, not tuples)"
    names = [row.get("name") for row in rows]
    assert all(names) and len(set(names)) == len(names), f"blocks() must name every block once, but got {names}"
    for row in rows:
        missing = {"kind", "out"} - row.keys()
        assert not missing, f"every block must tell its kind and out, but {row['name']!r} lacks {sorted(missing)}"


def _normalised(spec: InputSpec, count: int) -> torch.Tensor:
    shape = registry.load("modalities", spec.kind)().prepared_shape(spec)
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(3))


def _scale(logits: torch.Tensor) -> float:
    return max(1.0, float(logits.abs().max()))
