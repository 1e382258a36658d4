"""Series read as they arrive, by stacks packed once, and what is forecast from there: each a batch of any series."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnkit.kernels import State
from rnnkit.session import PackedStack
from rnnkit.tasks.forecasting.ahead import apart
from rnnkit.tasks.forecasting.network import ForecastNetwork
from rnnkit.tasks.forecasting.windows import Views


class Reader:
    """A network whose stacks are packed, and whose steps are taken without a dispatcher.

    Args:
        network: Trained.
        views: How windows become features.
        dtype: Of the packed weights.
    """

    def __init__(self, network: ForecastNetwork, views: Views, *, dtype: str = "float32") -> None:
        self.network, self.views = network, views
        self._stacks = [PackedStack(stack, dtype=dtype) for stack in network.stacks]

    def read(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Read steps.

        Args:
            inputs: (batch, time, input_size).
            state: As `ForecastNetwork.forward` returns it.

        Returns:
            (batch, time, state_size) what the network says, and its state after the last step.
        """
        said, after = [], []
        for packed in self._stacks:
            count = len(packed.stack.state_names)
            outputs, then = packed.read(inputs, state[len(after) : len(after) + count])
            said.append(outputs)
            after += then
        return said[0] if len(said) == 1 else torch.cat(said, dim=2), tuple(after)

    def say(self, ahead: Tensor, hidden: State) -> tuple[Tensor, State]:
        """Forecast all steps at once.

        Args:
            ahead: (batch, 1, size) what `joined` makes of one origin each.
            hidden: (batch, state_size), the only one, what the network said at the origin.

        Returns:
            (batch, 1, horizon * levels) quantiles in units of the scale at the origin, and the same `hidden`.
        """
        network = self.network
        quantiles = network.head(hidden[0].to(network.device), apart(self.views, ahead[:, 0].to(network.device)))
        return quantiles.flatten(1)[:, None], hidden
