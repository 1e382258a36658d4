"""A recurrent network that reads series, and a head that says how the next steps are distributed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rnnkit.kernels import State
from rnnkit.layers import Stack
from rnnkit.tasks.forecasting.heads import Head


class ForecastNetwork(nn.Module):
    """A stack that reads the steps, and a head that forecasts from its state.

    Args:
        stack: Reads the steps.
        head: Forecasts.
    """

    def __init__(self, stack: Stack, head: Head) -> None:
        super().__init__()
        self.stack, self.head = stack, head

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.parameters()).device

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read steps: (batch, time, features) -> (batch, time, state_size), and the state after the last."""
        return self.stack(inputs, state, lengths=lengths)
