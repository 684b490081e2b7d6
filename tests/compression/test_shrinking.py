"""A pruned model comes back from safetensors alone."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from autokd.compression.pruning import L1, default_groups, prune, shrink_to
from autokd.errors import StageFailure

EXAMPLE = torch.randn(3, 1, 8, 8)


@pytest.mark.parametrize("kind", ["plain", "residual", "depthwise", "inverted", "grouped", "mlp"])
def test_round_trip(make_net, kind, tmp_path):
    net = make_net(kind)
    prune(net, EXAMPLE, default_groups(net), {"all": 0.5}, L1(), ignored=[net[-1]])
    save_file(net.state_dict(), tmp_path / "pruned.safetensors")
    fresh = make_net(kind, seed=5)
    shrink_to(fresh, load_file(tmp_path / "pruned.safetensors"))
    torch.testing.assert_close(fresh(EXAMPLE), net(EXAMPLE))
    assert str(fresh) == str(net)  # declared widths, groups and features too
    fresh.train()(EXAMPLE).sum().backward()
    assert all(p.grad is not None for p in fresh.parameters())


def test_can_be_pruned_again(make_net):
    net, fresh = make_net("inverted"), make_net("inverted", 1)
    for ratio in (0.25, 0.5):
        prune(net, EXAMPLE, default_groups(net), {"all": ratio}, L1(), ignored=[net[-1]])
    shrink_to(fresh, net.state_dict())
    prune(fresh, EXAMPLE, default_groups(fresh), {"all": 0.5}, L1(), ignored=[fresh[-1]])
    assert fresh(EXAMPLE).shape == (3, 10)


def test_parameters_and_buffers_of_its_own(make_net):
    class Scaled(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(width))
            self.register_buffer("shift", torch.zeros(width))
            self.norm = nn.LayerNorm(width)
            self.up = nn.ConvTranspose2d(width, 2 * width, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.up(self.norm(x * self.scale + self.shift)[..., None, None])

    small, large = Scaled(3), Scaled(8)
    shrink_to(large, small.state_dict())
    x = torch.randn(2, 3)
    torch.testing.assert_close(large(x), small(x))
    assert str(large) == str(small)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("0.0.weight"), "differ in 0.0.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), "differ in extra"),
        (lambda s: s.update({"0.0.weight": torch.zeros(17, 1, 3, 3)}), "0.0.weight must fit into"),
        (lambda s: s.update({"0.0.weight": torch.zeros(16, 1, 1, 1)}), "0.0.weight must fit into"),
        (lambda s: s.update({"0.0.weight": torch.zeros(16)}), "0.0.weight must fit into"),
    ],
    ids=["missing", "unexpected", "larger", "kernel", "rank"],
)
def test_refuses_what_is_no_pruned_version(make_net, change, words):
    net = make_net("plain")
    state = dict(net.state_dict())
    change(state)
    with pytest.raises(StageFailure, match=words):
        shrink_to(net, state)
