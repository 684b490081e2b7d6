"""Pruning: shapes follow the ratios alone, coupled layers stay together, the unimportant goes first."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from autokd.compression.pruning import L1, Taylor, channels_left, default_groups, prune
from autokd.errors import StageFailure

KINDS = ["plain", "residual", "depthwise", "inverted", "grouped", "mlp"]
EXAMPLE = torch.randn(2, 1, 8, 8)


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def backward(model: nn.Module) -> None:
    torch.manual_seed(0)
    scores = model(torch.randn(8, 1, 8, 8))
    nn.functional.cross_entropy(scores, torch.arange(8)).backward()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("importance", [L1(), Taylor()], ids=["l1", "taylor"])
def test_halves_the_channels_and_keeps_the_head(make_net, kind, importance):
    net = make_net(kind)
    before = shapes(net)
    prune(net, EXAMPLE, default_groups(net), {"all": 0.5}, importance, backward, ignored=[net[-1]])
    after = shapes(net)
    assert net(EXAMPLE).shape == (2, 10)
    last = f"{len(net) - 1}.weight"
    assert after[last] == (10, before[last][1] // 2)
    assert all(after[k][0] == before[k][0] // 2 for k in before if k.endswith("weight") and k != last)
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_do_not_depend_on_weights(make_net, kind):
    found = []
    for seed, importance in ((0, L1()), (1, L1()), (2, Taylor())):
        net = make_net(kind, seed)
        prune(net, EXAMPLE, default_groups(net), {"all": 0.3}, importance, backward, ignored=[net[-1]])
        found.append(shapes(net))
    assert found[0] == found[1] == found[2]
    assert found[0] != shapes(make_net(kind))


def test_each_group_has_its_own_ratio(make_net):
    net = make_net("plain")
    prune(net, EXAMPLE, {"1": [net[0]], "2": [net[1]]}, {"1": 0.0, "2": 0.75}, L1(), ignored=[net[-1]])
    assert [net[0][0].out_channels, net[1][0].out_channels] == [16, 8]


def test_coupled_layers_of_two_groups_take_the_smaller_ratio(make_net):
    net = make_net("residual")
    prune(net, EXAMPLE, {"1": [net[0]], "2": [net[1]]}, {"1": 0.75, "2": 0.25}, L1(), ignored=[net[-1]])
    assert net[0][0].out_channels == net[1].conv.out_channels == 12


def test_layers_outside_the_groups_keep_their_width(make_net):
    net = make_net("inverted")
    prune(net, EXAMPLE, {"1": [net[1].expand]}, {"1": 0.5}, L1())
    assert (net[1].depth[0].out_channels, net[2].depth[0].out_channels, net[0][0].out_channels) == (24, 32, 16)


@pytest.mark.parametrize(
    ("channels", "ratio", "round_to", "left"),
    [
        (16, 0.5, 4, 8),
        (16, 0.0, 4, 16),
        (10, 0.0, 4, 10),
        (10, 0.5, 4, 4),
        (16, 0.99, 4, 4),
        (3, 0.9, 4, 3),
        (16, 0.99, 1, 1),
        (30, 0.1, 8, 24),
        (6, 0.01, 4, 4),
    ],
)
def test_channels_left(channels, ratio, round_to, left):
    assert channels_left(channels, ratio, round_to) == left


def test_nothing_is_cut_below_the_rounding(make_net):
    net = make_net("residual")
    prune(net, EXAMPLE, default_groups(net), {"all": 0.99}, L1(), ignored=[net[-1]])
    assert {m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)} == {4}


@pytest.mark.parametrize("importance", [L1(), Taylor()], ids=["l1", "taylor"])
def test_silent_channels_go_first_and_the_function_stays(make_net, importance):
    net = make_net("plain")
    silent = [1, 2, 5, 8, 9, 11, 14, 15]
    net[0][1].weight.data[silent] = 0  # dead behind the batch norm, whatever the convolution's weights
    net[0][1].bias.data[silent] = 0
    wanted = net(EXAMPLE)
    prune(net, EXAMPLE, {"1": [net[0]]}, {"1": 0.5}, importance, backward, ignored=[net[-1]])
    assert net[0][0].out_channels == 8
    torch.testing.assert_close(net(EXAMPLE), wanted)


def test_small_weights_go_before_large_ones(make_net):
    net = make_net("mlp")
    net[4].weight.data[::2] *= 10
    kept = net[4].weight.data[::2].clone()
    prune(net, EXAMPLE, {"1": [net[4]]}, {"1": 0.5}, L1(), ignored=[net[-1]])
    torch.testing.assert_close(net[4].weight.data, kept)


def test_modes_and_frozen_parameters_stay(make_net, raw):
    model = raw(make_net("residual")).train()
    model.body[0][1].eval()
    model.body[0][0].weight.requires_grad_(False)
    example = torch.randint(0, 17, (1, 1, 8, 8), dtype=torch.uint8)
    prune(model, example, default_groups(model), {"all": 0.5}, L1(), ignored=[model.body[-1]])
    assert model.training and model.body[1].norm.training and not model.body[0][1].training
    assert not model.body[0][0].weight.requires_grad and model.body[1].conv.weight.requires_grad
    assert model.body[1].conv.out_channels == 8


@pytest.mark.parametrize(
    ("ratios", "importance", "words"),
    [
        ({"7": 0.5}, L1(), "no group '7'"),
        ({"1": 1.0}, L1(), "ratio < 1 must hold, but got 1.0"),
        ({"1": 0.5}, Taylor(), "needs gradients"),
    ],
    ids=["group", "ratio", "gradients"],
)
def test_refusals(make_net, ratios, importance, words):
    net = make_net("plain")
    with pytest.raises(StageFailure, match=words) as caught:
        prune(net, EXAMPLE, {"1": [net[0]]}, ratios, importance)
    assert (caught.value.stage, caught.value.cause) == ("prune", "error")


def test_taylor_says_which_gradient_is_missing(make_net):
    net = make_net("plain")
    with pytest.raises(StageFailure, match="has none"):
        prune(net, EXAMPLE, {"1": [net[0]]}, {"1": 0.5}, Taylor(), lambda model: None)
