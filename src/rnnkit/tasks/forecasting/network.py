"""Recurrent networks that read series, and heads that say how the next steps are distributed: one, or an ensemble."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from rnnkit.kernels import State
from rnnkit.layers import Stack
from rnnkit.tasks.forecasting.heads import Head
from rnnkit.tasks.forecasting.regression import Regression
from rnnkit.tasks.forecasting.windows import Ahead


class StackEnsemble(nn.Module):
    """Stacks that read the same steps, outputs and states side by side.

    Args:
        members: Of one shape.
    """

    def __init__(self, members: Sequence[Stack]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def stacks(self) -> list[Stack]:
        """The members."""
        return cast(list[Stack], list(self.members))

    @property
    def output_size(self) -> int:
        """Of all members together."""
        return sum(one.output_size for one in self.stacks)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the parts of the state, each with its member's number before it."""
        return tuple(f"{number}.{name}" for number, one in enumerate(self.stacks) for name in one.state_names)

    @property
    def layers(self) -> list[nn.Module]:
        """From the input up, those of one depth together."""
        return [nn.ModuleList(row) for row in zip(*(one.layers for one in self.stacks), strict=True)]

    def initial_state(self, batch: int) -> State:
        """Return the state before the first step: (batch, size) for each of `state_names`."""
        return tuple(part for one in self.stacks for part in one.initial_state(batch))

    def forward(
        self, inputs: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Read steps, (batch, time, features) -> (batch, time, output_size), and the state after the last."""
        outputs, after = [], []
        for number, one in enumerate(self.stacks):
            count = len(one.state_names)
            own = None if state is None else state[number * count : (number + 1) * count]
            output, then = one(inputs, own, lengths=lengths)
            outputs.append(output)
            after += then
        return torch.cat(outputs, dim=-1), tuple(after)


class HeadEnsemble(nn.Module):
    """Heads whose quantiles are averaged, each of another member of a StackEnsemble.

    Args:
        members: Of one shape.
    """

    sampled, least = False, -math.inf

    def __init__(self, members: Sequence[Head]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def _each(self, state: Tensor) -> list[tuple[Head, Tensor]]:
        heads = cast(list[Head], list(self.members))
        return list(zip(heads, state.chunk(len(heads), dim=-1), strict=True))

    @property
    def regressions(self) -> list[Regression]:
        """Those of all members."""
        return [part for one in cast(list[Head], list(self.members)) for part in one.regressions]

    def stretch_by(self, factors: Tensor) -> None:
        """Stretch each quantile's distance from the median, (levels,)."""
        for one in cast(list[Head], list(self.members)):
            one.stretch_by(factors)

    def forward(self, state: Tensor, ahead: Ahead[Tensor]) -> Tensor:
        """Say the mean of the members' quantiles, (origins, horizon, levels)."""
        return torch.stack([head(own, ahead) for head, own in self._each(state)]).mean(0)

    def loss(self, state: Tensor, ahead: Ahead[Tensor]) -> tuple[Tensor, Tensor]:
        """Compute the mean of the members' own losses, (origins, horizon), and which are known."""
        parts = [head.loss(own, ahead) for head, own in self._each(state)]
        return torch.stack([losses for losses, _ in parts]).mean(0), parts[0][1]


class ForecastNetwork(nn.Module):
    """A stack that reads the steps, and a head that forecasts from its state.

    Args:
        stack: Reads the steps.
        head: Forecasts.
    """

    def __init__(self, stack: Stack | StackEnsemble, head: Head | HeadEnsemble) -> None:
        super().__init__()
        self.stack, self.head = stack, head

    @property
    def stacks(self) -> list[Stack]:
        """The one that reads, or those of an ensemble; their states stand one after another."""
        return [self.stack] if isinstance(self.stack, Stack) else self.stack.stacks

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.head.regressions[0].errors.device  # found at once, unlike the first of all parameters

    def forward(
        self, inputs: Tensor, lengths: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Read steps: (batch, time, features) -> (batch, time, state_size), and the state after the last."""
        return self.stack(inputs, state, lengths=lengths)


def ensemble_of(networks: Sequence[ForecastNetwork]) -> ForecastNetwork:
    """Put networks of one shape, drawn by different seeds, into one that forecasts the mean of their quantiles."""
    stacks, heads = [cast(Stack, one.stack) for one in networks], [cast(Head, one.head) for one in networks]
    return ForecastNetwork(StackEnsemble(stacks), HeadEnsemble(heads))
