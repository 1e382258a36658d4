"""Optimisers with decay where it belongs, and learning-rate schedules over the progress of a run."""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from rnnkit.layers import AdaptiveEmbedding
from rnnkit.training.config import TrainingConfig

PLATEAU_FACTOR = 0.5
EMBEDDINGS = (nn.Embedding, AdaptiveEmbedding)


class DecoupledSGD(SGD):
    """Gradient descent with momentum whose weight decay does not pass through it (Loshchilov and Hutter 2019)."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Shrink the weights, then step."""
        for group in self.param_groups:
            if group["decoupled_decay"]:
                torch._foreach_mul_(group["params"], 1 - group["lr"] * group["decoupled_decay"])
        super().step(closure)


def make_optimizer(network: nn.Module, config: TrainingConfig, *, depths: Sequence[nn.Module] = ()) -> Optimizer:
    """Make the optimiser: matrices decay, biases and (unless asked) embeddings do not.

    Args:
        network: Whose parameters to update.
        config: Names the optimiser and its numbers.
        depths: Parts of the network from the input up; what is in none of them is at the top.

    Returns:
        The optimiser. Its groups have a "depth" (0 at the top, 1 for the last of `depths`, ...), each one that decays
        and one that does not.
    """
    embeddings = {id(p) for module in network.modules() if isinstance(module, EMBEDDINGS) for p in module.parameters()}
    below = {id(p): len(depths) - place for place, module in enumerate(depths) for p in module.parameters()}
    groups: dict[tuple[int, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        decays = parameter.dim() > 1 and (config.decay_embeddings or id(parameter) not in embeddings)
        key = (below.get(id(parameter), 0), config.weight_decay if decays else 0.0)
        groups.setdefault(key, []).append(parameter)
    if config.optimizer == "sgd":
        decoupled = [
            {"params": part, "depth": depth, "decoupled_decay": decay} for (depth, decay), part in groups.items()
        ]
        return DecoupledSGD(decoupled, lr=config.learning_rate, momentum=config.momentum)
    parts = [{"params": part, "depth": depth, "weight_decay": decay} for (depth, decay), part in groups.items()]
    return AdamW(parts, lr=config.learning_rate, betas=(0.9, config.beta2), fused=True)


def set_learning_rates(optimizer: Optimizer, config: TrainingConfig, progress: float, *, plateaus: int = 0) -> float:
    """Give every group its learning rate at a point of the run.

    Deeper groups learn at a rate that falls by `rate_decay` a layer, and begin later with `unfreeze_share` (Howard and
    Ruder 2018, ULMFiT).

    Args:
        optimizer: Of `make_optimizer`.
        config: Names the schedule and its highest rate.
        progress: Share of the run that is done, in [0, 1].
        plateaus: How often validation has failed to improve.

    Returns:
        The rate of the top.
    """
    rate = learning_rate(config, progress, plateaus=plateaus)
    deepest = max(group["depth"] for group in optimizer.param_groups)
    for group in optimizer.param_groups:
        frozen = progress < config.unfreeze_share * group["depth"] / max(deepest, 1)
        group["lr"] = 0.0 if frozen else rate * config.rate_decay ** group["depth"]
    return rate


def learning_rate(config: TrainingConfig, progress: float, *, plateaus: int = 0) -> float:
    """Return the learning rate at a point of the run.

    Args:
        config: Names the schedule and its highest rate.
        progress: Share of the run that is done, in [0, 1].
        plateaus: How often validation has failed to improve.

    Returns:
        The rate.
    """
    if progress < config.warmup_share:
        return config.learning_rate * max(progress, 1e-4) / config.warmup_share
    return config.learning_rate * _factor(config, min(progress, 1.0), plateaus)


def _factor(config: TrainingConfig, progress: float, plateaus: int) -> float:
    falling = (progress - config.warmup_share) / (1 - config.warmup_share)  # [0, 1] after the warm-up
    match config.schedule:
        case "one-cycle":
            return 1 - falling
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * falling))
        case "step":
            return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01
        case "plateau":
            return PLATEAU_FACTOR**plateaus
        case "constant":
            return 1.0
