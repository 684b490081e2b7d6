"""A start for free: the first convolution of an untrained student as filters that whiten patches of the training pictures.

Neighbouring pixels say nearly the same, so outputs of random filters do as well. Filters along the eigenvectors of the patches'
covariance, each over the root of its eigenvalue, say different things equally loudly; with their negatives a rectifier loses
nothing. Keller Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, https://arxiv.org/abs/2404.00498; Adam Coates,
Andrew Y. Ng, "Learning Feature Representations with K-means", 2012, https://doi.org/10.1007/978-3-642-35289-8_30.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

BATCH = 64
VALUES = 4_000_000  # of patches held at a time
WORK = 1_000_000_000  # multiply-accumulates of a covariance: half a second
LEAST_PICTURES = 16
LEAST_VARIANCE = 1e-4
"""Of the largest: a direction in which patches hardly vary (the second of three equal channels) is noise, and gets no filter."""


@dataclass(frozen=True)
class Seen:
    """A convolution and what it reads: its name in the net, itself, and ``(N, C, H, W) float32``."""

    name: str
    layer: nn.Conv2d
    inputs: Tensor


def whiten_stem(student: nn.Module, raw: Tensor, twin: nn.Module) -> int:
    """Set the first convolution's weights, in place, to whitening filters and their negatives, as many as fit.

    The directions of most variance come first; filters beyond twice their number stay as they are. The same samples give the same
    filters, whatever the weights were. Nothing is done to a net without a convolution, to one whose first convolution has groups
    or weights that are computed or frozen, or to weights that do not depend on the seed: those were put there on purpose.

    Args:
        student: An untrained net that reads raw input.
        raw: ``(N, *shape)`` raw samples of the train split.
        twin: The same net made with another seed.

    Returns:
        How many filters were set.
    """
    seen = first_convolution(student, raw)
    if seen is None or not _drawn(seen, twin) or _places(seen.inputs, seen.layer) == 0:
        return 0
    filters = whitening_filters(seen.inputs, seen.layer)
    pairs = min(len(filters), seen.layer.out_channels // 2)
    with torch.no_grad():
        seen.layer.weight[: 2 * pairs] = torch.cat((filters[:pairs], -filters[:pairs])).to(seen.layer.weight.dtype)
    return 2 * pairs


def whitening_filters(pictures: Tensor, layer: nn.Conv2d) -> Tensor:
    """Filters whose outputs on patches of the pictures have unit variance and are uncorrelated.

    Args:
        pictures: ``(N, C, H, W) float32``.
        layer: Says how a patch lies in a picture; padding is left out.

    Returns:
        ``(F, C, kh, kw) float64``, those of most variance first, F at most ``C * kh * kw``.
    """
    values, vectors = torch.linalg.eigh(_covariance(pictures, layer))
    values, vectors = values.flip(0), vectors.flip(1).T
    kept = values > LEAST_VARIANCE * values[0].clamp(min=1e-6)
    values, vectors = values[kept], vectors[kept]
    # a direction has two signs: the same one on every machine
    largest = vectors.abs().argmax(1, keepdim=True)
    vectors = vectors * vectors.gather(1, largest).sign()
    return (vectors / values.sqrt()[:, None]).reshape(-1, *layer.weight.shape[1:])


def has_convolution(net: nn.Module) -> bool:
    """Whether there may be one to set; an outline says so as well."""
    return any(isinstance(module, nn.Conv2d) for module in net.modules())


def first_convolution(student: nn.Module, raw: Tensor) -> Seen | None:
    """The first 2-D convolution that runs, and what it reads of the samples; ``None`` where none runs."""
    names: dict[nn.Module, str] = {
        module: name for name, module in student.named_modules() if isinstance(module, nn.Conv2d)
    }
    found: list[Seen] = []

    def stop(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.append(Seen(names[module], module, inputs[0].detach().float()))  # type: ignore[arg-type]
        raise _Enough

    hooks = [module.register_forward_pre_hook(stop) for module in names]
    training = student.training
    student.eval()
    try:
        if names:
            for part in raw.split(BATCH):
                _until_there(student, part)
    finally:
        student.train(training)
        for hook in hooks:
            hook.remove()
    if not found:
        return None
    return Seen(found[0].name, found[0].layer, torch.cat([s.inputs for s in found]))


class _Enough(Exception):
    """Ends a forward pass at the first convolution."""


def _until_there(student: nn.Module, part: Tensor) -> None:
    try:
        with torch.no_grad():
            student(part)
    except _Enough:
        return


def _drawn(seen: Seen, twin: nn.Module) -> bool:
    """Whether the weights are a parameter that training moves, drawn at random, and read by every filter whole."""
    weight = dict(seen.layer.named_parameters(recurse=False)).get("weight")
    if weight is None or not weight.requires_grad or seen.layer.groups != 1:
        return False
    return not torch.equal(weight, twin.get_parameter(f"{seen.name}.weight"))


def _places(pictures: Tensor, layer: nn.Conv2d) -> int:
    """Patches that lie whole in a picture."""
    if pictures.dim() != 4:
        return 0
    reach = (d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True))
    return math.prod(max(0, side - r) for side, r in zip(pictures.shape[2:], reach, strict=True))


def _covariance(pictures: Tensor, layer: nn.Conv2d) -> Tensor:
    """Of the patches that lie whole in the pictures: ``(D, D) float64``, D = C * kh * kw."""
    size, places = layer.weight[0].numel(), _places(pictures, layer)
    most = max(LEAST_PICTURES, WORK // (places * size**2))
    count, total, squares = 0, torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
    for part in pictures[:: -(-len(pictures) // most)].split(max(1, VALUES // (places * size))):
        unfolded = nn.functional.unfold(part, layer.kernel_size, layer.dilation)  # (N, D, places)
        patches = unfolded.transpose(1, 2).reshape(-1, size).double()
        count += len(patches)
        total += patches.sum(0)
        squares += patches.T @ patches
    mean = total / count
    return squares / count - mean[:, None] * mean
