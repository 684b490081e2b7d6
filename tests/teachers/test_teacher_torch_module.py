"""A person's own torch module, and a family trained here, as teachers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from autokd.errors import ConfigError, TeacherError
from autokd.protocols import Teacher, TeacherOptions
from autokd.teachers import torch_module, trained, weights

Options = Callable[..., TeacherOptions]

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=8, classes=10, wrap=None):
        super().__init__()
        self.wrap = wrap
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(.5),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, classes),
        )

    def forward(self, x):
        z = self.body(x)
        if self.wrap == "dict":
            return {"loss": None, "logits": z}
        if self.wrap == "tuple":
            return z, x
        if self.wrap == "softmax":
            return z.softmax(1)
        if self.wrap == "pooled":
            return z[:, :, None, None]
        return z

def seeded(**arguments):
    torch.manual_seed(3)
    return Net(**arguments)

def broken():
    raise OSError("no such licence")

def number():
    return 3
"""


@pytest.fixture(autouse=True)
def my_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module beside the study file, under a name of this test's own."""
    name = "teacher_of_" + tmp_path.name.replace("-", "_")
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def reference(seed: int = 3, width: int = 8) -> nn.Module:
    space: dict[str, Any] = {}
    exec(SOURCE, space)
    torch.manual_seed(seed)
    return space["Net"](width).eval()


def scores(net: nn.Module, inputs: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return net(torch.from_numpy(inputs)).numpy()


@pytest.mark.parametrize("wrap", [None, "dict", "tuple", "pooled"], ids=str)
def test_scores_are_the_modules(digits: Any, options: Options, my_teacher: str, wrap: str | None) -> None:
    teacher = torch_module.load(options(torch=f"{my_teacher}:seeded", args={"wrap": wrap}))
    inputs = digits.inputs[:700]  # more than one batch
    logits = teacher.logits(inputs)
    assert isinstance(teacher, Teacher)
    assert logits.dtype == np.float32 and logits.shape == (700, 10)
    np.testing.assert_allclose(logits, scores(reference(), inputs), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(logits, teacher.logits(inputs))  # dropout is off


def test_probabilities_become_logits(digits: Any, options: Options, my_teacher: str) -> None:
    teacher = torch_module.load(options(torch=f"{my_teacher}:seeded", args={"wrap": "softmax"}))
    z = scores(reference(), digits.inputs[:9])
    want = z - np.log(np.exp(z).sum(1, keepdims=True))
    np.testing.assert_allclose(teacher.logits(digits.inputs[:9]), want.clip(np.log(1e-7)), atol=1e-4)


def wrapped(state: dict[str, torch.Tensor], how: str) -> Any:
    return {
        "plain": state,
        "lightning": {"state_dict": state, "epoch": 3},
        "nested": {"model": {"state_dict": state}},
        "parallel": {f"module.{k}": v for k, v in state.items()},
        "compiled": {"model": {f"_orig_mod.{k}": v for k, v in state.items()}},
    }[how]


@pytest.mark.parametrize("how", ["plain", "lightning", "nested", "parallel", "compiled", "safetensors"])
def test_weights_are_found_in_their_wrapping(
    digits: Any, options: Options, my_teacher: str, tmp_path: Path, how: str
) -> None:
    net = reference(seed=11)
    file = tmp_path / ("w.safetensors" if how == "safetensors" else "w.pt")
    if how == "safetensors":
        save_file(net.state_dict(), file)
    else:
        torch.save(wrapped(net.state_dict(), how), file)
    teacher = torch_module.load(options(torch=f"{my_teacher}:Net", weights=str(file)))
    np.testing.assert_allclose(teacher.logits(digits.inputs[:9]), scores(net, digits.inputs[:9]), rtol=1e-4, atol=1e-5)


class Evil:
    """What a hostile .pt file does when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("owned"),)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (Evil(), "tensors only"),
        (nn.Linear(2, 2), "tensors only"),
        ({"optimizer": 3}, "state dict"),
        ([1, 2], "state dict"),
        ({"body.0.weight": torch.zeros(8, 1, 3, 3)}, "missing: body.0.bias, .* and "),
        (reference(width=4).state_dict(), "of another shape"),
        ({**reference().state_dict(), "head.bias": torch.zeros(1)}, "not in the module: head.bias"),
    ],
    ids=["hostile", "module", "no tensors", "list", "partial", "other width", "more"],
)
def test_weights_that_cannot_serve_are_refused(
    options: Options, my_teacher: str, tmp_path: Path, content: object, says: str
) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(TeacherError, match=says):
        torch_module.load(options(torch=f"{my_teacher}:Net", weights=str(tmp_path / "w.pt")))
    assert not Path("owned").exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage garbage garbage", None], ids=["empty", "garbage", "absent"])
def test_damaged_weights_are_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TeacherError, match="weights must"):
        weights.read(tmp_path / name)


@pytest.mark.parametrize(
    ("block", "error", "says"),
    [
        ({"torch": "{}:broken"}, TeacherError, "no such licence"),
        ({"torch": "{}:number"}, TeacherError, r"torch\.nn\.Module, but got int"),
        ({"torch": "{}:Net", "args": {"wdith": 3}}, TeacherError, "wdith"),
        ({"torch": "{}:Net", "args": [3]}, ConfigError, "mapping"),
        ({"torch": "{}:Nett"}, ConfigError, "Nett"),
        ({"torch": "no_such_module:f"}, ConfigError, "no_such_module"),
        ({"torch": "Net"}, ConfigError, "package.module:factory"),
        ({"torch": "{}:Net", "args": {"classes": 7}}, TeacherError, r"\(N, 10\), but got shape \(8, 7\)"),
        (
            {"torch": "{}:Net", "input": {"layout": "NF"}},
            TeacherError,
            r"must read the data.*State layout|state layout",
        ),
        ({"torch": "{}:Net", "input": {"skale": 1}}, ConfigError, "Did you mean 'scale'"),
        ({"torch": "{}:Net", "scores": "votes"}, ConfigError, "probabilities"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_what_cannot_serve_is_refused(
    options: Options, my_teacher: str, block: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        torch_module.load(options(**{**block, "torch": block["torch"].format(my_teacher)}))


def test_exported_file_reads_raw_input_and_agrees(
    digits: Any, options: Options, my_teacher: str, tmp_path: Path
) -> None:
    teacher = torch_module.load(options(torch=f"{my_teacher}:seeded", input={"scale": "1/16", "mean": 0.3, "std": 0.4}))
    path = teacher.onnx_file()
    assert path is not None and path.parent == tmp_path / "teacher"
    session = ort.InferenceSession(str(path))
    found = session.run(None, {"input": digits.inputs[:7]})[0]
    np.testing.assert_allclose(found, teacher.logits(digits.inputs[:7]), rtol=1e-4, atol=1e-5)
    before = path.stat().st_mtime_ns
    assert teacher.onnx_file() == path and path.stat().st_mtime_ns == before
    assert [f.name for f in path.parent.iterdir()] == [path.name]


class Unexportable(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.lstsq(torch.eye(10), x.flatten(1)[:, :10].T).solution.T


def test_a_module_that_cannot_be_exported_still_teaches(digits: Any, options: Options, tmp_path: Path) -> None:
    given = options(family="odd")
    save_file({"unused": torch.zeros(1)}, tmp_path / "w.safetensors")
    net = Unexportable()
    net.register_buffer("unused", torch.zeros(1))
    given = replace(given, build=lambda family, params: net, weights=tmp_path / "w.safetensors")
    teacher = trained.load(given)
    assert teacher.logits(digits.inputs[:5]).shape == (5, 10)
    assert teacher.onnx_file() is None
    assert not list((tmp_path / "teacher").iterdir())


def test_fingerprint_is_of_what_determines_the_outputs(options: Options, my_teacher: str, tmp_path: Path) -> None:
    def print_of(**block: object) -> str:
        return torch_module.load(options(torch=f"{my_teacher}:seeded", **block)).fingerprint

    assert print_of() == print_of()
    other = tmp_path / "w.pt"
    torch.save(reference(seed=5).state_dict(), other)
    prints = {print_of(), print_of(weights=str(other)), print_of(input={"scale": 2}), print_of(args={"wrap": "tuple"})}
    assert len(prints) == 4


class Raw(nn.Module):
    """Like a family's module behind normalisation: reads the source's own dtype."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
        self.seen: list[torch.dtype] = []

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        self.seen.append(raw.dtype)
        return self.body(raw.float() / 16)


def test_trained_here(digits: Any, options: Options, tmp_path: Path) -> None:
    raw = digits.inputs.astype(np.uint8)
    torch.manual_seed(0)
    net, built = Raw(12), []
    save_file(net.state_dict(), tmp_path / "w.safetensors")

    def build(family: str, params: Any) -> nn.Module:
        built.append((family, dict(params)))
        return Raw(params["width"])

    given = replace(
        options(sample=raw[:8], family="mlp", params={"width": 12}), build=build, weights=tmp_path / "w.safetensors"
    )
    teacher = trained.load(given)
    assert built == [("mlp", {"width": 12})]
    np.testing.assert_allclose(teacher.logits(raw[:50]), scores(net, raw[:50]), rtol=1e-4, atol=1e-5)
    assert set(net.seen) == {torch.uint8}
    path = teacher.onnx_file()
    assert path is not None
    session = ort.InferenceSession(str(path))
    assert session.get_inputs()[0].type == "tensor(uint8)"
    np.testing.assert_allclose(session.run(None, {"input": raw[:3]})[0], teacher.logits(raw[:3]), rtol=1e-4, atol=1e-4)
    with pytest.raises(TeacherError, match="another shape"):
        trained.load(replace(given, options={"family": "mlp", "params": {"width": 13}}))
    with pytest.raises(TeacherError, match="must have been trained"):
        trained.load(replace(given, weights=tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="mapping"):
        trained.load(replace(given, options={"family": "mlp", "params": [1]}))


def test_outputs_with_a_logits_attribute(options: Options, tmp_path: Path, digits: Any) -> None:
    class Named(Raw):
        def forward(self, raw: torch.Tensor) -> Any:
            return SimpleNamespace(logits=super().forward(raw))

    net = Named(4)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    given = replace(options(family="f"), build=lambda family, params: Named(4), weights=tmp_path / "w.safetensors")
    assert trained.load(given).logits(digits.inputs[:3]).shape == (3, 10)
