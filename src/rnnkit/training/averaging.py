"""Averages of the weights over training, which often predict better than the last weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rnnkit.training.config import TrainingConfig


class Average:
    """An average of a network's parameters: an exponential one, or a plain mean from a moment on.

    Exponential: a <- d a + (1 - d) w with d = min(decay, (1 + n) / (10 + n)) after n updates, so that it forgets the
    beginning. Triggered (NT-ASGD, Merity et al. 2018): the plain mean (Polyak and Juditsky 1992) of all weights since
    validation was no better than the best of all but the last `trigger_patience` ones.

    Args:
        network: Whose parameters to average.
        config: Names the average and its numbers.

    Attributes:
        count: Updates averaged so far.
    """

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        self.kind, self.decay, self.patience = config.averaging, config.average_decay, config.trigger_patience
        self.parameters = dict(network.named_parameters())
        self.values: dict[str, Tensor] = {}
        self.count = 0
        if self.kind == "ema":
            self.begin()

    @property
    def begun(self) -> bool:
        """Whether there is an average yet."""
        return bool(self.values)

    def begin(self) -> None:
        """Start from the weights as they are."""
        self.values = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self.count = 0

    def restore(self, values: dict[str, Tensor], *, count: int) -> None:
        """Go on from an average that was saved, or from none.

        Args:
            values: By parameter, in any order; empty before the average begins.
            count: Updates averaged.
        """
        self.values = {name: values[name] for name in self.parameters} if values else {}
        self.count = count

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights after an update in."""
        if not self.begun:
            return
        self.count += 1
        n = self.count
        share = 1 / (n + 1) if self.kind == "triggered" else 1 - min(self.decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(list(self.values.values()), list(self.parameters.values()), share)

    def trigger(self, validations: list[float]) -> bool:
        """Begin a triggered average if validation has stopped falling.

        Args:
            validations: All so far, the newest last.

        Returns:
            Whether it begins now.
        """
        if self.kind != "triggered" or self.begun or len(validations) <= self.patience:
            return False
        if validations[-1] <= min(validations[: -self.patience]):
            return False
        self.begin()
        return True

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages in the parameters' place while the block runs.

        Yields:
            Once.
        """
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, average in self.values.items():
            held = self.parameters[name].clone()
            self.parameters[name].copy_(average)
            average.copy_(held)
