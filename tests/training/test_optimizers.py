"""Learning rates against values worked out by hand, and which parameters decay."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from rnnkit.tasks.language_model import LanguageModelConfig
from rnnkit.tasks.language_model.network import LanguageNetwork
from rnnkit.training import TrainingConfig
from rnnkit.training.optimizers import learning_rate, make_optimizer, set_learning_rates


@pytest.mark.parametrize(
    ("schedule", "progress", "plateaus", "expected"),
    [
        ("one-cycle", 0.0, 0, 0.0002),  # a ten-thousandth of the run into the warm-up of a twentieth
        ("one-cycle", 0.025, 0, 0.05),
        ("one-cycle", 0.05, 0, 0.1),
        ("one-cycle", 0.525, 0, 0.05),
        ("one-cycle", 1.0, 0, 0.0),
        ("cosine", 0.05, 0, 0.1),
        ("cosine", 0.2875, 0, 0.0853553),  # a quarter of the way down: (1 + cos 45°) / 2
        ("cosine", 0.525, 0, 0.05),
        ("cosine", 1.0, 0, 0.0),
        ("step", 0.04, 0, 0.08),
        ("step", 0.49, 0, 0.1),
        ("step", 0.5, 0, 0.01),
        ("step", 0.75, 0, 0.001),
        ("step", 1.0, 0, 0.001),
        ("plateau", 0.9, 0, 0.1),
        ("plateau", 0.9, 3, 0.0125),
        ("plateau", 0.025, 3, 0.05),
        ("constant", 0.05, 4, 0.1),
        ("constant", 1.0, 0, 0.1),
    ],
)
def test_the_learning_rate_is_the_hand_value(schedule: Any, progress: float, plateaus: int, expected: float):
    config = TrainingConfig(steps=1, schedule=schedule, learning_rate=0.1, warmup_share=0.05)
    assert learning_rate(config, progress, plateaus=plateaus) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "step", "plateau", "constant"])
def test_without_a_warm_up_the_rate_begins_at_its_highest(schedule: Any):
    config = TrainingConfig(steps=1, schedule=schedule, learning_rate=0.3, warmup_share=0.0)
    assert learning_rate(config, 0.0) == 0.3


def names_by_decay(config: TrainingConfig, **options: Any) -> dict[str, float]:
    """Map each parameter's name to its weight decay."""
    network = LanguageNetwork(9, LanguageModelConfig(hidden_size=4, embedding_size=3, **options))
    decay = {
        id(parameter): group["weight_decay"]
        for group in make_optimizer(network, config).param_groups
        for parameter in group["params"]
    }
    return {name: decay[id(parameter)] for name, parameter in network.named_parameters()}


def test_matrices_decay_and_biases_norms_and_embeddings_do_not():
    found = names_by_decay(TrainingConfig(steps=1, weight_decay=0.1), num_layers=2, norm="layer", tied=False)
    decaying = {name for name, decay in found.items() if decay}
    assert set(found.values()) == {0.1, 0.0}
    assert decaying == {name for name in found if "weight_ih" in name or "weight_hh" in name} | {"output_weight"}


def test_embeddings_decay_if_asked():
    asked = names_by_decay(TrainingConfig(steps=1, weight_decay=0.1, decay_embeddings=True))
    assert asked["embedding.weight"] == 0.1
    assert names_by_decay(TrainingConfig(steps=1, weight_decay=0.1))["embedding.weight"] == 0.0


def test_no_parameter_is_left_out_or_taken_twice():
    network = LanguageNetwork(9, LanguageModelConfig(hidden_size=4, embedding_size=3))
    optimizer = make_optimizer(network, TrainingConfig(steps=1))
    taken = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(taken) == sorted(map(id, network.parameters()))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_decay_is_decoupled_from_the_gradient_and_its_momentum(name):
    layer = nn.Linear(2, 2, bias=False)
    before = layer.weight.detach().clone()
    config = TrainingConfig(steps=1, optimizer=name, weight_decay=0.5, learning_rate=0.1)
    optimizer = make_optimizer(layer, config)
    layer.weight.grad = torch.zeros_like(before)
    for _ in range(3):
        optimizer.step()
    assert torch.allclose(layer.weight, before * (1 - 0.1 * 0.5) ** 3)


def test_the_config_names_the_optimiser_and_its_numbers():
    network = nn.Linear(2, 2)
    adamw = make_optimizer(network, TrainingConfig(steps=1, beta2=0.95))
    assert isinstance(adamw, AdamW)
    assert adamw.param_groups[0]["betas"] == (0.9, 0.95)
    sgd = make_optimizer(network, TrainingConfig(steps=1, optimizer="sgd", momentum=0.7))
    assert isinstance(sgd, SGD)
    assert sgd.param_groups[0]["momentum"] == 0.7


def rates(config: TrainingConfig, progress: float) -> dict[str, float]:
    """Map each parameter of a network of two layers to its learning rate."""
    network = LanguageNetwork(9, LanguageModelConfig(hidden_size=4, embedding_size=3, num_layers=2))
    optimizer = make_optimizer(network, config, depths=[network.embedding, *network.stack.layers])
    set_learning_rates(optimizer, config, progress)
    found = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    return {name: found[id(parameter)] for name, parameter in network.named_parameters()}


def test_lower_layers_learn_at_lower_rates():
    config = TrainingConfig(steps=1, learning_rate=0.8, schedule="constant", warmup_share=0.0, rate_decay=0.5)
    found = rates(config, 0.1)
    names = ("output_bias", "stack.layers.1.0.weight_hh", "stack.layers.0.0.weight_hh", "embedding.weight")
    matching = [next(rate for name, rate in found.items() if name.startswith(wanted)) for wanted in names]
    assert matching == pytest.approx([0.8, 0.4, 0.2, 0.1])


def test_layers_unfreeze_one_after_another_from_the_top():
    config = TrainingConfig(steps=1, learning_rate=0.8, schedule="constant", warmup_share=0.0, unfreeze_share=0.6)
    learning = [sum(rate > 0 for rate in rates(config, progress).values()) for progress in (0.0, 0.21, 0.41, 0.61)]
    assert learning == sorted(set(learning))  # each time more of them
    assert rates(config, 0.0)["output_bias"] == 0.8
    assert rates(config, 0.59)["embedding.weight"] == 0.0
    assert set(rates(config, 0.6).values()) == {0.8}
