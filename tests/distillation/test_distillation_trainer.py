"""The trainer on real digits: it learns, it reproduces, it resumes bit for bit, it names its failures."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from autokd.distillation import optim, trainer, validation
from autokd.distillation.contexts import computing_in
from autokd.distillation.knowledge.kd import KD
from autokd.distillation.knowledge.labels import Labels
from autokd.distillation.lesson import Lesson, Session
from autokd.errors import ConfigError, StageFailure, StorageError
from autokd.protocols import CurvePoint, Recipe

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@dataclass
class ShiftedDigits:
    """Seeded one-pixel shifts of the digits: satisfies ``Views``."""

    inputs: np.ndarray
    count: int = 3
    fingerprint: str = "shifted digits"

    @property
    def size(self) -> int:
        return len(self.inputs)

    def batch(self, positions: np.ndarray, view: int) -> np.ndarray:
        assert 0 <= view < self.count
        return np.roll(self.inputs[positions], view, axis=3)


@dataclass
class PixelTeacher:
    """Outputs that depend on the pixels, remembered per view; records what it was asked for."""

    views: ShiftedDigits
    asked: list[tuple[bytes, int]]

    names = frozenset({"logits"})

    def taps(self, positions: np.ndarray, view: int, names: frozenset[str]) -> dict[str, np.ndarray]:
        self.asked.append((positions.tobytes(), view))
        flat = self.views.batch(positions, view).reshape(len(positions), -1).astype(np.float32)
        return {"logits": flat[:, ::6][:, :10] / 4}


class Net(nn.Module):
    """A small convolutional net with batch norm and dropout that reads raw digits."""

    def __init__(self, classes: int = 10, dropout: float = 0.1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, classes)),
        )

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        return self.body(raw.float() / 8 - 1)


@dataclass
class Digits:
    views: ShiftedDigits
    targets: np.ndarray
    validation: tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def digits() -> Digits:
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 1, 8, 8).astype(np.uint8)
    return Digits(ShiftedDigits(x[:1000]), y[:1000].astype(np.int64), (x[1000:1400], y[1000:1400].astype(np.int64)))


def net(seed: int = 0, **arguments: float) -> Net:
    torch.manual_seed(seed)
    return Net(**arguments)  # type: ignore[arg-type]


def fit(model: nn.Module, digits: Digits, recipe: Recipe, **arguments: Any) -> trainer.FitResult:
    session = Session(**{k: arguments.pop(k) for k in SESSION & arguments.keys()})
    given = {"knowledge": Labels(), "seed": 7, **arguments}
    return trainer.fit(model, Lesson(digits.views, digits.targets, digits.validation, recipe, **given), session)


SESSION = {"pace", "device", "checkpoint", "until", "report"}


def weights(model: nn.Module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


SHORT = Recipe(samples=4000, batch_size=64)


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.2), ("adamw", 0.01)])
def test_it_learns_digits(digits: Digits, optimizer: str, lr: float) -> None:
    model = net()
    result = fit(model, digits, Recipe(samples=12000, batch_size=64, optimizer=optimizer, lr=lr))
    assert result.curve[-1].validation_accuracy > 0.85
    assert result.curve[-1].loss < result.curve[0].loss
    assert result.samples == pytest.approx(12000, abs=64)
    assert result.curve[-1].samples == result.samples
    assert 0 < result.curve[-1].cpu_s <= result.cpu_s
    assert len(result.curve) <= validation.POINTS


def test_it_learns_in_bfloat16_and_leaves_float32_weights(digits: Digits) -> None:
    seen = []

    class Watched(Labels):
        def forward(self, student: Mapping[str, torch.Tensor], *rest: Any) -> torch.Tensor:
            seen.append(student["logits"].dtype)
            return super().forward(student, *rest)

    dtypes: dict[tuple[str, str], set[torch.dtype]] = {}
    models = {}
    for precision in ("float32", "bfloat16"):
        models[precision] = model = net()
        for name, layer in (("plain", model.body[0]), ("grouped", model.body[3])):
            kept = dtypes[precision, name] = set()
            layer.register_forward_hook(lambda _, given, made, kept=kept: kept.add(made.dtype))
        result = fit(
            model, digits, Recipe(samples=12000, batch_size=64, lr=0.2, precision=precision), knowledge=Watched()
        )
        assert result.curve[-1].validation_accuracy > 0.85
        assert {v.dtype for v in model.state_dict().values()} <= {torch.float32, torch.int64}
        assert "forward" not in vars(model.body[3]), "the model is as it was"
    assert dtypes["bfloat16", "plain"] == {torch.bfloat16, torch.float32}, "validation is float32, as the file is"
    assert dtypes["bfloat16", "grouped"] == {torch.float32}, "in bfloat16 these are slow"
    assert dtypes["float32", "plain"] == dtypes["float32", "grouped"] == {torch.float32}
    assert set(seen) == {torch.float32}, "losses are always reckoned in float32"
    assert weights(models["float32"]) != weights(models["bfloat16"])


def test_bfloat16_leaves_what_a_grouped_layer_does_to_itself() -> None:
    class Doubled(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    layer = Doubled(4, 4, 3, groups=4)
    wrapped = nn.Conv2d(4, 4, 3, groups=4)
    own = wrapped.forward = lambda x: 3 * nn.Conv2d.forward(wrapped, x)  # type: ignore[method-assign]
    model, x = nn.Sequential(layer, wrapped), torch.randn(2, 4, 8, 8)
    wanted = model(x)
    with computing_in("bfloat16", model, "cpu") as cast, cast():
        assert torch.equal(model(x), wanted)
    assert wrapped.forward is own and "forward" not in vars(layer)


def test_model_is_left_ready_to_export(digits: Digits) -> None:
    model = net()
    fit(model, digits, Recipe(samples=128, batch_size=64))
    assert not model.training
    assert all(p.is_contiguous() and p.grad is None for p in model.parameters())


def test_same_seed_same_weights_and_global_state_untouched(digits: Digits) -> None:
    results = []
    for noise in (0, 1):
        model = net()
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        fit(model, digits, SHORT)
        assert torch.equal(before, torch.get_rng_state())
        results.append(weights(model))
    assert results[0] == results[1]
    other = net()
    fit(other, digits, SHORT, seed=8)
    assert weights(other) != results[0]


def test_teacher_outputs_belong_to_the_pixels(digits: Digits) -> None:
    """Data and teacher are asked for the same positions of the same view; each epoch is a new order of another view."""
    seen: list[tuple[bytes, int]] = []

    @dataclass
    class Recorded(ShiftedDigits):
        def batch(self, positions: np.ndarray, view: int) -> np.ndarray:
            seen.append((positions.tobytes(), view))
            return super().batch(positions, view)

    views = Recorded(digits.views.inputs)
    teacher = PixelTeacher(digits.views, [])
    fit(net(), replace(digits, views=views), SHORT, teacher=teacher, knowledge=KD())
    assert seen == teacher.asked
    assert len(seen) == round(4000 / 64)
    per_epoch = 1000 // 64
    assert [view for _, view in seen] == [(i // per_epoch) % 3 for i in range(len(seen))]
    epochs = [np.frombuffer(b"".join(p for p, _ in seen[i : i + per_epoch]), np.int64) for i in (0, per_epoch)]
    assert all(len(set(e.tolist())) == per_epoch * 64 for e in epochs)
    assert not np.array_equal(*epochs)


def test_a_teacher_changes_what_is_learned(digits: Digits) -> None:
    plain, taught = net(), net()
    fit(plain, digits, SHORT)
    fit(taught, digits, SHORT, teacher=PixelTeacher(digits.views, []), knowledge=KD())
    assert weights(plain) != weights(taught)


def interrupting(after: int) -> Callable[[], contextlib.AbstractContextManager[None]]:
    left = [after]

    @contextlib.contextmanager
    def pace() -> Iterator[None]:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        yield

    return pace


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("cuts", [(20,), (17, 33)], ids=str)
def test_interrupted_and_resumed_is_bit_identical(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, cuts: tuple[int, ...]
) -> None:
    monkeypatch.setattr(trainer, "SAVE_GAP_S", -1.0)
    monkeypatch.setattr(trainer, "SAVE_EVERY_S", -1.0 if len(cuts) > 1 else 1e9)
    recipe = replace(SHORT, optimizer=optimizer, lr=0.01)
    whole, file = net(), tmp_path / "run" / "checkpoint.safetensors"
    straight = fit(whole, digits, recipe)
    for cut in cuts:
        with pytest.raises(KeyboardInterrupt):
            fit(net(), digits, recipe, checkpoint=file, pace=interrupting(cut))
        assert file.is_file()
    resumed_model = net(seed=99)  # its own weights must not matter
    resumed = fit(resumed_model, digits, recipe, checkpoint=file)
    assert weights(resumed_model) == weights(whole)
    facts = [[(p.samples, p.loss, p.validation_accuracy) for p in r.curve] for r in (straight, resumed)]
    assert facts[0] == facts[1]
    assert resumed.samples == straight.samples
    assert resumed.cpu_s > resumed.curve[-1].cpu_s - 1e-9 > 0
    assert [f.name for f in file.parent.iterdir()] == [file.name]


def test_a_training_that_rests_and_goes_on_is_bit_identical(digits: Digits, tmp_path: Path) -> None:
    whole, file = net(), tmp_path / "checkpoint"
    straight = fit(whole, digits, SHORT)
    resting = net()
    third = fit(resting, digits, SHORT, checkpoint=file, until=1 / 3)
    assert not third.done and third.total == straight.samples and straight.done
    shares = [p.samples / third.total for p in third.curve]
    assert shares[-1] >= 1 / 3 and all(share < 1 / 3 for share in shares[:-1])
    again = fit(net(seed=5), digits, SHORT, checkpoint=file, until=1 / 3)  # asked for what is done: nothing is trained
    assert again.curve == third.curve and not again.done
    later = fit(net(seed=6), digits, SHORT, checkpoint=file, until=0.8)
    assert not later.done and len(later.curve) > len(third.curve)
    model = net(seed=7)
    done = fit(model, digits, SHORT, checkpoint=file)
    assert done.done and weights(model) == weights(whole)
    assert [p.validation_accuracy for p in done.curve] == [p.validation_accuracy for p in straight.curve]


def test_a_rest_after_the_last_point_is_the_end(digits: Digits, tmp_path: Path) -> None:
    assert fit(net(), digits, SHORT, checkpoint=tmp_path / "checkpoint", until=0.9999).done


def test_a_rest_needs_a_checkpoint(digits: Digits) -> None:
    with pytest.raises(ValueError, match="must keep a checkpoint"):
        fit(net(), digits, SHORT, until=0.5)


def test_resume_does_only_the_rest(digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "SAVE_GAP_S", -1.0)
    file = tmp_path / "c"
    fit(net(), digits, SHORT, checkpoint=file)
    with_rest = PixelTeacher(digits.views, [])
    again = fit(net(), digits, SHORT, checkpoint=file, teacher=with_rest)
    assert len(with_rest.asked) < 1000 // 64  # at most the unfinished epoch
    assert again.curve[-1].samples == again.samples


@pytest.mark.parametrize("damage", ["other seed", "other recipe", "truncated", "garbage"])
def test_foreign_or_damaged_checkpoint_is_not_used(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(trainer, "SAVE_GAP_S", -1.0)
    file, recipe = tmp_path / "c", replace(SHORT, samples=2048)
    other = {"other seed": (recipe, 1), "other recipe": (replace(recipe, lr=0.1), 7)}.get(damage, (recipe, 7))
    fit(net(), digits, other[0], seed=other[1], checkpoint=file)
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    if damage == "garbage":
        file.write_bytes(b"not a checkpoint")
    clean, model = net(), net()
    fit(clean, digits, recipe)
    fit(model, digits, recipe, checkpoint=file)
    assert weights(model) == weights(clean)


def test_full_disk_is_one_clear_error(digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "SAVE_GAP_S", -1.0)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        fit(net(), digits, SHORT, checkpoint=tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lr", [1e30])
def test_divergence_is_named(digits: Digits, lr: float) -> None:
    with pytest.raises(StageFailure) as caught:
        fit(net(), digits, replace(SHORT, lr=lr))
    assert (caught.value.stage, caught.value.cause) == ("distill", "diverged")
    assert "step" in caught.value.detail and "rate" in caught.value.detail


class Hungry(nn.Module):
    """Asks for more memory than there is, the way the allocator really says no; or as another runtime words it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.weight = how, nn.Parameter(torch.zeros(1))

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        if self.how == "torch":
            torch.empty(2**50)
        if self.how == "numpy":
            np.empty(2**50)
        if self.how == "python":
            raise MemoryError
        if self.how == "cuda":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        raise RuntimeError("shapes cannot be multiplied")


@pytest.mark.parametrize("how", ["torch", "numpy", "python", "cuda"])
def test_no_memory_is_named(digits: Digits, how: str) -> None:
    with pytest.raises(StageFailure) as caught:
        fit(Hungry(how), digits, SHORT)
    assert (caught.value.stage, caught.value.cause) == ("distill", "out_of_memory")


def test_other_errors_keep_their_name(digits: Digits) -> None:
    with pytest.raises(RuntimeError, match="multiplied"):
        fit(Hungry("shape"), digits, SHORT)


def test_report_sees_every_point_and_may_stop(digits: Digits) -> None:
    seen: list[CurvePoint] = []
    result = fit(net(), digits, SHORT, report=seen.append)
    assert tuple(seen) == result.curve

    class Stop(Exception):
        pass

    def stop(point: CurvePoint) -> None:
        raise Stop

    with pytest.raises(Stop):
        fit(net(), digits, SHORT, report=stop)


def test_every_batch_is_paced(digits: Digits) -> None:
    entered = [0, 0]

    @contextlib.contextmanager
    def pace() -> Iterator[None]:
        entered[0] += 1
        yield
        entered[1] += 1

    fit(net(), digits, Recipe(samples=640, batch_size=64), pace=pace)
    marks = validation.marks(10, 15)
    assert entered == [10 + 2 * len(marks)] * 2  # 400 validation samples are two batches


def test_a_training_that_goes_on_sees_what_the_one_before_it_did_not(digits: Digits) -> None:
    recipe, model = Recipe(samples=320, batch_size=64), net()
    first, second = PixelTeacher(digits.views, []), PixelTeacher(digits.views, [])
    fit(model, digits, recipe, teacher=first, knowledge=KD())
    fit(model, digits, recipe, teacher=second, knowledge=KD(), seen=320)
    seen = [np.frombuffer(at, np.int64) for at, _ in first.asked + second.asked]
    assert len(np.unique(np.concatenate(seen))) == 640, "ten batches of one epoch"
    third = PixelTeacher(digits.views, [])
    fit(model, digits, recipe, teacher=third, knowledge=KD(), seen=15 * 64)
    assert {view for _, view in third.asked} == {1 % digits.views.count}, "the next epoch is another view"


@pytest.mark.parametrize(("size", "batch_size"), [(5, 128), (130, 128), (1, 4)], ids=str)
def test_tiny_data(digits: Digits, size: int, batch_size: int) -> None:
    tiny = replace(digits, views=ShiftedDigits(digits.views.inputs[:size]), targets=digits.targets[:size])
    result = fit(net(), tiny, Recipe(samples=300, batch_size=batch_size))
    assert result.samples > 0 and result.curve


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        return self.body(raw)


def test_tables_read_only_memory_and_to_input(digits: Digits) -> None:
    class Rows(ShiftedDigits):
        def batch(self, positions: np.ndarray, view: int) -> np.ndarray:
            rows = self.inputs[positions].reshape(len(positions), -1)
            rows.flags.writeable = False
            return rows

    rows = replace(
        digits,
        views=Rows(digits.views.inputs),
        targets=digits.targets % 2,
        validation=(digits.validation[0].reshape(-1, 64), digits.validation[1] % 2),
    )
    result = fit(Table(), rows, Recipe(samples=8000, batch_size=64, lr=0.05), to_input=lambda x: x.float() / 8 - 1)
    assert result.curve[-1].validation_accuracy > 0.85


def test_method_without_its_teacher_is_refused(digits: Digits) -> None:
    with pytest.raises(ConfigError, match="KD must have a teacher"):
        fit(net(), digits, SHORT, knowledge=KD())


def test_method_with_unknown_taps_is_refused(digits: Digits) -> None:
    method = KD()
    method.teacher = frozenset({"logits", "features"})
    with pytest.raises(ConfigError, match="features"):
        fit(net(), digits, SHORT, knowledge=method, teacher=PixelTeacher(digits.views, []))


@pytest.mark.parametrize(
    "change",
    [
        *({"optimizer": "sdg"}, {"precision": "float16"}, {"lr": 0.0}, {"lr": float("nan")}),
        *({"weight_decay": -1.0}, {"samples": 0}),
    ],
    ids=str,
)
def test_impossible_recipe_is_refused(digits: Digits, change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        fit(net(), digits, replace(SHORT, **change))  # type: ignore[arg-type]


def test_misaligned_targets_are_refused(digits: Digits) -> None:
    with pytest.raises(ValueError, match="aligned"):
        fit(net(), replace(digits, targets=digits.targets[:10]), SHORT)


@pytest.mark.parametrize("steps", [1, 3, 100, 1000])
def test_one_cycle_rises_then_falls(steps: int) -> None:
    rates = np.array([optim.one_cycle(i, steps, 0.4) for i in range(steps)])
    peak = int(rates.argmax())
    assert (rates > 0).all() and rates.max() <= 0.4
    assert (np.diff(rates[: peak + 1]) > 0).all() and (np.diff(rates[peak:]) < 0).all()
    if steps >= 100:
        assert 0.2 < peak / steps < 0.3
        assert rates.max() == pytest.approx(0.4, rel=0.02)
        assert rates[0] < 0.04 and rates[-1] < 0.001


def test_biases_and_norms_do_not_decay() -> None:
    optimizer = optim.build(net(), Recipe(weight_decay=0.1))
    decayed = {id(p) for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    model_parameters = sum(len(g["params"]) for g in optimizer.param_groups)
    assert model_parameters == 9 and len(decayed) == 3  # two convolutions and the last layer
    assert all(p.ndim > 1 for g in optimizer.param_groups if g["weight_decay"] for p in g["params"])


@pytest.mark.parametrize(
    ("steps", "per_epoch"), [(1, 5), (7, 5), (100, 400), (800, 100), (10_000, 10), (13, 1)], ids=str
)
def test_curve_points_are_few_and_end_at_the_end(steps: int, per_epoch: int) -> None:
    marks = validation.marks(steps, per_epoch)
    assert steps in marks and 0 not in marks and max(marks) == steps
    assert len(marks) <= validation.POINTS
    assert len(marks) >= min(steps, 6)


def test_validation_subset_is_seeded_and_bounded() -> None:
    x, y = np.arange(5000), np.arange(5000)
    a, b = validation.subset(x, y, samples=60_000, seed=1), validation.subset(x, y, samples=60_000, seed=1)
    assert len(a[1]) == 1500 and np.array_equal(a[0], b[0]) and np.array_equal(a[0], a[1])
    assert not np.array_equal(a[0], validation.subset(x, y, samples=60_000, seed=2)[0])
    assert len(validation.subset(x, y, samples=10**6, seed=1)[1]) == 5000
