"""What a kind of input is to everybody else: the one place that knows an image from a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from autokd.errors import DataError, nearest
from autokd.modalities.arrays import Moments, by_channel, chunks, mean_std, refuse
from autokd.modalities.examples import Named, Ragged
from autokd.protocols import Examples, InputSpec, RawData

if TYPE_CHECKING:
    from torch import nn

Bits = Callable[[np.ndarray], np.ndarray]
"""64 random bits (``uint64``) of each counter; the same counter always gets the same bits."""
Change = Callable[[Any, np.ndarray, Bits], Any]
"""From clean samples ``(B, *shape)``, their positions ``(B,) int64`` in the train split and the view's bits to changed samples."""


@dataclass(frozen=True, eq=False)
class Shown:
    """Samples for a person's eye: a picture each, or a row of named columns each.

    Args:
        pictures: ``(H, W) uint8`` or ``(H, W, 3) uint8`` each.
        columns: One value a sample, by the column's name; ``None``: there are pictures.
    """

    pictures: tuple[np.ndarray, ...] = ()
    columns: Mapping[str, Sequence[Any]] | None = None


class Modality:
    """A kind of input: what must hold of it, how it is described, prepared inside the exported graph, augmented, drawn and shown.

    The defaults fit one array of finite numbers ``(N, *shape)``; a kind of one's own says ``prepare`` and whatever differs. It is
    one file and one entry point (or ``my_package.signals:Signal`` where a data source states its kind). ``revision`` is part of
    keys; raise it when an equal spec is prepared or augmented otherwise, or old students are taken for new ones.

    >>> import numpy as np
    >>> from autokd import registry
    >>> from autokd.protocols import RawData
    >>> image = registry.load("modalities", "image")()
    >>> pictures = np.arange(32, dtype=np.uint8).reshape(2, 1, 4, 4)
    >>> raw = image.check(RawData(pictures, np.array([0, 1]), ("dark", "light"), "image"))
    >>> raw.low, raw.high
    (0.0, 255.0)
    >>> spec = image.describe(raw, train=np.array([0, 1]))
    >>> spec.shape, spec.dtype, spec.mean
    ((1, 4, 4), 'uint8', (15.5,))
    >>> image.augmentations
    ('shift', 'shift_flip', 'crop_flip')
    """

    revision: ClassVar[int] = 1
    axes: ClassVar[str]
    """A letter for every axis of a sample: ``"CHW"`` channels, rows, columns; ``"F"`` features; ``"CL"`` channels, steps."""
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "uint8")
    """Types of raw values."""
    facts: ClassVar[tuple[str, ...]] = ()
    """Names of what only this kind knows of its inputs; others are refused."""
    augmentations: ClassVar[tuple[str, ...]] = ()
    """Their names; every kind has ``auto`` and ``none`` as well."""
    auto: ClassVar[str] = "none"
    """The augmentation that ``auto`` stands for."""

    def check(self, raw: RawData) -> RawData:
        """The same data with every description filled in; classes and targets are checked by others.

        Raises:
            DataError: Something about inputs, range or facts cannot be used: the law, what was found, the mend.
        """
        for start, part in chunks(self.array(raw)):
            refuse(~np.isfinite(part), start, "finite")
        return raw

    def array(self, raw: RawData, hint: str | None = None) -> np.ndarray:
        """The inputs as one array ``(N, *axes)``, its type and layout, the stated range and the facts' names in order.

        Raises:
            DataError: They are not.
        """
        inputs = raw.inputs
        if not isinstance(inputs, np.ndarray):
            raise DataError("inputs must be a numpy array", type(inputs).__name__, "Convert with numpy.asarray.")
        if inputs.dtype.name not in self.dtypes:
            mend = f"Convert with .astype({self.dtypes[0]!r})."
            raise DataError(f"inputs must be {' or '.join(self.dtypes)}", inputs.dtype, mend)
        if inputs.ndim != 1 + len(self.axes) or 0 in inputs.shape:
            layout = ", ".join(("N", *self.axes)) + ("" if self.axes else ",")
            raise DataError(f"{raw.kind} inputs must have the shape ({layout}), nothing empty", inputs.shape, hint)
        low, high = float(raw.low), float(raw.high)
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise DataError("low < high must hold for the range of raw values", f"low={low}, high={high}")
        for name in raw.facts:
            if name not in self.facts:
                raise DataError(f"facts of {raw.kind} data must be known", repr(name), nearest(name, self.facts))
        return inputs

    def moments(self, raw: RawData, train: np.ndarray) -> Moments:
        """Mean and standard deviation, never 0, by the first axis, over the samples at ``train`` (``(n,) int64``)."""
        return mean_std(self.array(raw), train, by_channel)

    def space(self, spec: InputSpec) -> str | None:
        """The search space that fits such samples, as `space: auto` takes it: a registered name; ``None``: none is known."""
        return None

    def words(self, spec: InputSpec) -> str:
        """One sample for people: ``28 x 28 pixels, grey``."""
        return f"{' x '.join(map(str, spec.shape))} {spec.dtype}"

    def describe(self, raw: RawData, train: np.ndarray) -> InputSpec:
        """What one sample of checked data looks like; moments are those of the train split."""
        inputs = self.array(raw)
        mean, std = self.moments(raw, train)
        return InputSpec(raw.kind, inputs.shape[1:], inputs.dtype.name, mean, std, raw.low, raw.high, raw.facts)

    def prepare(self, spec: InputSpec) -> nn.Module:
        """The module inside the exported graph: raw values ``(N, *shape)`` to ``(N, *prepared_shape(spec))``, normalised float32.

        It holds no weights: what follows from ``spec`` is kept out of the state dict.
        """
        raise NotImplementedError

    def prepared_shape(self, spec: InputSpec) -> tuple[int, ...]:
        """Shape of one prepared sample: what a student reads."""
        return spec.shape

    def augment(self, name: str, spec: InputSpec) -> Change:
        """How samples are changed by the augmentation of that name; the result is of the same type, still data of this kind."""
        raise NotImplementedError

    def sample(self, spec: InputSpec, count: int, seed: int) -> Any:
        """``(count, *shape)`` raw values such as ``spec`` describes, odd ones among them."""
        values = np.random.default_rng(seed).uniform(spec.low, spec.high, (count, *spec.shape))
        return (values if np.dtype(spec.dtype).kind == "f" else np.rint(values)).astype(spec.dtype)

    def show(self, examples: Examples, spec: InputSpec, index: np.ndarray, side: int) -> Shown:
        """The samples at ``index`` (``(k,) int64``) for a person; ``side``: pixels of a picture, about."""
        return Shown(columns={})

    def arrays(self, examples: Examples) -> dict[str, np.ndarray]:
        """What is fingerprinted and kept on disk, by name; one array is called ``inputs``."""
        return dict(examples.arrays) if isinstance(examples, Named | Ragged) else {"inputs": np.asarray(examples)}

    def examples(self, arrays: Mapping[str, np.ndarray], spec: InputSpec) -> Examples:
        """The samples again, from :meth:`arrays`."""
        return arrays["inputs"]
