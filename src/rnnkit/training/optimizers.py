"""Optimisers with decay where it belongs, and learning-rate schedules over the progress of a run."""

import math

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from rnnkit.training.config import TrainingConfig

PLATEAU_FACTOR = 0.5


class DecoupledSGD(SGD):
    """Gradient descent with momentum whose weight decay does not pass through it (Loshchilov and Hutter 2019)."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Shrink the weights, then step."""
        for group in self.param_groups:
            if group["decoupled_decay"]:
                torch._foreach_mul_(group["params"], 1 - group["lr"] * group["decoupled_decay"])
        super().step(closure)


def make_optimizer(network: nn.Module, config: TrainingConfig) -> Optimizer:
    """Make the optimiser: matrices decay, biases and (unless asked) embeddings do not.

    Args:
        network: Whose parameters to update.
        config: Names the optimiser and its numbers.

    Returns:
        The optimiser, with one group that decays and one that does not.
    """
    embeddings = {
        id(p) for module in network.modules() if isinstance(module, nn.Embedding) for p in module.parameters()
    }
    decaying, steady = [], []
    for parameter in network.parameters():
        decays = parameter.dim() > 1 and (config.decay_embeddings or id(parameter) not in embeddings)
        (decaying if decays else steady).append(parameter)
    groups = [
        {"params": decaying, "weight_decay": config.weight_decay},
        {"params": steady, "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        decoupled = [{"params": group["params"], "decoupled_decay": group["weight_decay"]} for group in groups]
        return DecoupledSGD(decoupled, lr=config.learning_rate, momentum=config.momentum)
    return AdamW(groups, lr=config.learning_rate, betas=(0.9, config.beta2), fused=True)


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
