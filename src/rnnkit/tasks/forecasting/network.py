"""A recurrent network that reads a series and says quantiles of every step of the horizon at once."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rnnkit.kernels import State
from rnnkit.layers import Stack
from rnnkit.tasks.forecasting.regression import Regression
from rnnkit.tasks.forecasting.windows import Ahead

LEVELS = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)
MEDIAN = LEVELS.index(0.5)
STEP_SIZE = 16  # of the vector of each step ahead
STRETCHES = (0.2, 5.0)  # within which validation data may choose
TRUST = 5.0  # in the regression, before training: the logarithm of its share in the mixture, beside the others'


class QuantileHead(nn.Module):
    """Quantiles that do not cross, from the state at the origin and what is known of every step ahead.

    The median is a mixture of simple forecasts (the seasons before, the last value, the level, and a linear regression
    on the last values, after Lai et al. 2018), whose weights the network chooses for every step, and a correction; the
    other quantiles lie above and below one another by amounts above 0 (after Gasthaus et al. 2019). All are in units
    of the regression's error at the step. Once training is over, validation data stretches each quantile's distance
    from the median (after Romano et al. 2019).

    Args:
        state_size: Of the state at the origin.
        known_size: Of what is known of a step ahead besides the simple forecasts.
        lags: How many values of seasons before there are for every step.
        regression: The linear one.
        hidden_size: Of the layers between.
        dropout: Share of the state, and of the features between, dropped in training.
    """

    stretch: Tensor

    def __init__(
        self, state_size: int, known_size: int, *, lags: int, regression: Regression, hidden_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.regression = regression
        self.steps = nn.Parameter(0.1 * torch.randn(len(regression.weights), STEP_SIZE))
        self.of_state = nn.Linear(state_size, hidden_size)
        self.of_step = nn.Linear(known_size + 2 * lags + STEP_SIZE, hidden_size, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.between = nn.Linear(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, len(LEVELS) + lags + 3)
        self.register_buffer("stretch", torch.ones(len(LEVELS)))
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        with torch.no_grad():
            self.output.bias[: len(LEVELS)] = _laplace_gaps()
            self.output.bias[-1] = TRUST

    def forward(self, state: Tensor, ahead: Ahead) -> Tensor:
        """Say the quantiles, in units of the scale at the origin.

        Args:
            state: (origins, state_size).
            ahead: What is known of each origin.

        Returns:
            (origins, horizon, levels), rising.
        """
        lagged = ahead.lagged
        count, horizon, _ = lagged.shape
        last = ahead.recent[:, :1, None].expand(-1, horizon, 1)
        linear = self.regression(ahead.recent, ahead.beside, ahead.known)[..., None]
        simple = torch.cat([lagged, last, torch.zeros_like(last), linear], dim=-1)  # the level is 0
        there = ~simple.isnan()
        simple = simple.nan_to_num()
        seen = torch.arcsinh(simple[..., : lagged.shape[-1]])
        steps = self.steps.expand(count, -1, -1)
        inputs = torch.cat([ahead.known, seen, there[..., : lagged.shape[-1]].to(seen.dtype), steps], dim=-1)
        hidden = torch.relu(self.of_state(self.dropout(state))[:, None] + self.of_step(inputs))
        hidden = hidden + torch.relu(self.between(hidden))
        scores = self.output(self.dropout(hidden))
        weights = scores[..., len(LEVELS) :].masked_fill(~there, -torch.inf)
        errors = self.regression.errors[:, None]
        median = errors[:, 0] * scores[..., MEDIAN] + (weights.softmax(-1) * simple).sum(-1)
        apart = errors * functional.softplus(scores[..., : len(LEVELS)])
        below = apart[..., :MEDIAN].flip(-1).cumsum(-1).flip(-1)
        above = apart[..., MEDIAN + 1 :].cumsum(-1)
        if not self.training:
            below = (below * self.stretch[:MEDIAN]).flip(-1).cummax(-1).values.flip(-1)
            above = (above * self.stretch[MEDIAN + 1 :]).cummax(-1).values
        return torch.cat([median[..., None] - below, median[..., None], median[..., None] + above], dim=-1)


def _laplace_gaps() -> Tensor:
    """Return what softplus turns into the distances between Laplace's quantiles, of mean absolute error 1."""
    away = [-math.log(2 * min(level, 1 - level)) for level in LEVELS]
    nearer = [away[index + (1 if index < MEDIAN else -1)] for index in range(len(LEVELS))]
    return torch.tensor(
        [0.0 if index == MEDIAN else math.log(math.expm1(away[index] - nearer[index])) for index in range(len(LEVELS))]
    )


class ForecastNetwork(nn.Module):
    """A stack that reads the steps, and a head that forecasts from its state.

    Args:
        stack: Reads the steps.
        head: Forecasts.
    """

    def __init__(self, stack: Stack, head: QuantileHead) -> None:
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


def pinball_loss(quantiles: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the mean quantile loss of every step that is known.

    Args:
        quantiles: (origins, horizon, levels).
        targets: (origins, horizon), NaN where a value is missing.

    Returns:
        (origins, horizon) losses, 0 where nothing is known, and which are known.
    """
    levels = quantiles.new_tensor(LEVELS)
    seen = ~targets.isnan()
    missed = targets.nan_to_num()[..., None] - quantiles
    losses = torch.maximum(levels * missed, (levels - 1) * missed).mean(-1)
    return losses.masked_fill(~seen, 0.0), seen


def fit_stretch(quantiles: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Find by how much each quantile's distance from the median must be multiplied to lie above its share of values.

    Args:
        quantiles: (origins, horizon, levels) as they are.
        actual: (origins, horizon), NaN where a value is missing.

    Returns:
        (levels,) above 0; 1 for the median, and for all where nothing is known.
    """
    seen = ~np.isnan(actual)
    stretch = np.ones(len(LEVELS))
    if not seen.any():
        return stretch
    away, distances = (actual - quantiles[..., MEDIAN])[seen], (quantiles - quantiles[..., MEDIAN : MEDIAN + 1])[seen]
    for index, level in enumerate(LEVELS):
        if index != MEDIAN:
            share = level if index > MEDIAN else 1 - level
            stretch[index] = np.clip(np.quantile(away / distances[:, index], share), *STRETCHES)
    return stretch
