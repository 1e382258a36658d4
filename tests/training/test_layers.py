"""What is said of each layer's learning, beside updates worked out by hand."""

import pytest
import torch
from torch import nn

from rnnkit.training.layers import TOP, LayerWatch


class Network(nn.Module):
    """Two layers and a top."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.head = nn.Linear(3, 2)


@pytest.fixture
def network() -> Network:
    network = Network()
    for parameter in network.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    return network


def watched(network: Network) -> LayerWatch:
    return LayerWatch(network, [network.first, network.second])


def test_each_parameter_belongs_to_one_part(network: Network):
    parts = watched(network).parts
    assert list(parts) == ["first", "second", TOP]
    held = [id(parameter) for part in parts.values() for parameter in part]
    assert sorted(held) == sorted(map(id, network.parameters()))


def test_a_network_of_layers_alone_has_no_top():
    layers = nn.ModuleList([nn.Linear(2, 2)])
    assert list(LayerWatch(layers, list(layers)).parts) == ["0"]


def test_layers_that_are_watched_together_are_called_after_the_first(network: Network):
    together = nn.ModuleList([network.first, network.second])
    parts = LayerWatch(network, [together]).parts
    assert list(parts) == ["first", TOP]
    assert len(parts["first"]) == 4


def test_an_update_is_measured_by_the_weights_before_it(network: Network):
    watch = watched(network)
    watch.begin()
    with torch.no_grad():
        network.second.weight.mul_(1.25)
        network.first.bias.mul_(7.0)  # a vector: small at first, so that its ratio says little
    found = watch.end()
    ratios = {name: part["update_ratio"] for name, part in found.items()}
    assert ratios == pytest.approx({"first": 0.0, "second": 0.25, TOP: 0.0})


def test_a_gradient_is_measured_over_all_of_a_layer(network: Network):
    network.first.weight.grad = torch.full((3, 3), 2.0)
    network.first.bias.grad = torch.full((3,), 3.0)
    network.second.weight.grad = network.second.bias.grad = None
    watch = watched(network)
    watch.begin()
    norms = {name: part["gradient_norm"] for name, part in watch.end().items()}
    assert norms == pytest.approx({"first": (9 * 4 + 3 * 9) ** 0.5, "second": 0.0, TOP: 0.0})


def test_weights_that_begin_at_nothing_have_no_ratio(network: Network):
    nn.init.zeros_(network.head.weight)
    watch = watched(network)
    watch.begin()
    nn.init.ones_(network.head.weight)
    assert "update_ratio" not in watch.end()[TOP]


def test_a_gradient_that_is_not_finite_is_said(network: Network):
    network.head.weight.grad = torch.full((2, 3), torch.inf)
    watch = watched(network)
    watch.begin()
    assert watch.end()[TOP]["gradient_norm"] == torch.inf
