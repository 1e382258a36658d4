import pytest
import torch
from torch import nn

from rnnkit.training import TrainingConfig
from rnnkit.training.averaging import Average


def walk(network: nn.Linear, average: Average, steps: int) -> list[float]:
    """Move the one weight along 1, 2, 3, ...; return where it has been."""
    places = []
    for step in range(1, steps + 1):
        with torch.no_grad():
            network.weight.fill_(float(step))
        average.update()
        places.append(float(step))
    return places


def make(**options: object) -> tuple[nn.Linear, Average]:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    return network, Average(network, TrainingConfig(steps=1, **options))  # type: ignore[arg-type]


def test_without_an_average_the_weights_stay_themselves():
    network, average = make()
    walk(network, average, 3)
    with average.applied():
        assert network.weight.item() == 3


def test_an_exponential_average_follows_its_formula():
    network, average = make(averaging="ema", average_decay=0.6)
    expected = 0.0
    for n, place in enumerate(walk(network, average, 9), start=1):
        decay = min(0.6, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * place
    with average.applied():
        assert network.weight.item() == pytest.approx(expected)
    assert network.weight.item() == 9


def test_a_triggered_average_is_the_plain_mean_since_validation_stopped_falling():
    network, average = make(averaging="triggered", trigger_patience=2)
    walk(network, average, 3)
    falling = [5.0, 4.0, 3.0, 2.0]
    assert not any(average.trigger(falling[: n + 1]) for n in range(4))
    assert not average.begun
    assert not average.trigger([*falling, 2.5])  # still better than all but the last two
    assert average.trigger([*falling, 2.5, 3.5])
    walk(network, average, 4)
    with average.applied():
        assert network.weight.item() == pytest.approx((3 + 1 + 2 + 3 + 4) / 5)
    assert not average.trigger([9.0] * 9)  # it begins once
