"""Tests of single series read by packed weights: the numbers are those of the network."""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnkit.kernels import State
from rnnkit.layers import LAYERS, Stack
from rnnkit.tasks.forecasting.config import ForecastingConfig
from rnnkit.tasks.forecasting.heads import HEADS
from rnnkit.tasks.forecasting.network import ForecastNetwork, ensemble_of
from rnnkit.tasks.forecasting.reader import Reader
from rnnkit.tasks.forecasting.regression import Regression

INPUTS, HIDDEN = 3, 8
TOLERANCE = 1e-5  # what design.md promises across kernels


def network_of(**options: Any) -> ForecastNetwork:
    config = ForecastingConfig(horizon=2, hidden_size=HIDDEN, **options)

    def draw() -> ForecastNetwork:
        head = HEADS["quantiles"](
            HIDDEN, 0, lags=0, regression=Regression(1, 0, horizon=2), hidden_size=HIDDEN, dropout=0
        )
        return ForecastNetwork(config.make_stack(INPUTS), head)

    networks = [draw() for _ in range(config.members)]
    return (networks[0] if len(networks) == 1 else ensemble_of(networks)).eval()


def plainly(network: ForecastNetwork, inputs: Tensor, state: State) -> tuple[Tensor, State]:
    with torch.no_grad():
        outputs, after = network(inputs, None, state)
    return outputs[:, -1], after


def begun(network: ForecastNetwork) -> tuple[Tensor, State]:
    generator = torch.Generator().manual_seed(5)
    state = tuple(torch.randn(part.shape, generator=generator) / 2 for part in network.stack.initial_state(1))
    return torch.randn(1, 7, INPUTS, generator=generator), state


def assert_same(found: tuple[Tensor, State], expected: tuple[Tensor, State]) -> None:
    for one, other in zip((found[0], *found[1]), (expected[0], *expected[1]), strict=True):
        torch.testing.assert_close(one, other, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("layer", [name for name, one in LAYERS.items() if one.streamable])
def test_it_reads_what_an_ensemble_reads(layer: str):
    network = network_of(layer=layer, members=2)
    inputs, state = begun(network)
    assert_same(Reader(network).read(inputs, state), plainly(network, inputs, state))


def test_changed_weights_are_packed_again():
    network = network_of()
    inputs, state = begun(network)
    reader = Reader(network)
    before, _ = reader.read(inputs, state)
    network.load_state_dict({name: 1.5 * part for name, part in network.state_dict().items()})
    found = reader.read(inputs, state)
    assert_same(found, plainly(network, inputs, state))
    assert not torch.allclose(found[0], before, atol=0.01)


def test_several_threads_do_not_disturb_one_another():
    network = network_of()
    assert isinstance(network.stack, Stack)
    reader, many = Reader(network), torch.randn(400, 5, INPUTS)
    state = network.stack.initial_state(1)
    expected = [plainly(network, one[None], state) for one in many]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # seconds: often enough that a reading is interrupted
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda one: reader.read(one[None], state), many))
    finally:
        sys.setswitchinterval(interval)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)
