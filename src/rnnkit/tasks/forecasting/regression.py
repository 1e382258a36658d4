"""Linear regression of every step ahead on the last values: what a network need not learn again."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from rnnkit.tasks.forecasting.ahead import placed
from rnnkit.tasks.forecasting.history import Histories, rolling_origins
from rnnkit.tasks.forecasting.windows import Ahead, Views

MOST_SIZE = 20.0  # in units of the spread; of what lies further away, regression learns no more
LAST = 1  # place of the last value among what is regressed on; the constant is before it
LEAST_ERROR = 0.01  # in units of the spread
RIDGE = 0.01  # penalty of squared weights, beside mean squared errors
REGRESSED = 2_000_000  # steps ahead of all origins that a regression is fitted to


class Regression(nn.Module):
    """A ridge regression for each step ahead on the last values and what is known beside, fitted in closed form.

    Args:
        regressed_size: Of the last values and what is known beside the last one.
        known_size: Of what is known of a step ahead.
        horizon: Steps ahead.
    """

    weights: Tensor
    errors: Tensor

    def __init__(self, regressed_size: int, known_size: int, *, horizon: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.zeros(horizon, 1 + regressed_size + known_size))
        self.register_buffer("errors", torch.ones(horizon))

    def forward(self, recent: Tensor, beside: Tensor, known: Tensor) -> Tensor:
        """Forecast, in units of the scale at the origin.

        Args:
            recent: (origins, recent) the last values, the newest first, NaN where one is missing.
            beside: (origins, features) known of the last step.
            known: (origins, horizon, known_size).

        Returns:
            (origins, horizon).
        """
        inputs = _regressed(recent, beside)
        of_inputs, of_known = self.weights.split([inputs.shape[1], known.shape[2]], dim=1)
        return inputs @ of_inputs.T + (known * of_known).sum(-1)

    def fit(self, ahead: Ahead[Tensor]) -> None:
        """Choose the weights, and measure the mean absolute error of every step with them.

        The penalty draws each step towards the last value or the level, whichever came nearer.

        Args:
            ahead: What is known of origins, and what came.
        """
        regressed = _regressed(ahead.recent, ahead.beside)
        for step in range(ahead.known.shape[1]):
            came = ahead.targets[:, step]
            counted = torch.where(came.isnan(), 0.0, ahead.weights).double()
            inputs = torch.cat([regressed, ahead.known[:, step]], dim=1).double() * counted[:, None]
            came = came.nan_to_num().clamp(-MOST_SIZE, MOST_SIZE).double() * counted
            start = torch.zeros(inputs.shape[1], dtype=torch.float64)
            start[LAST] = float((came - inputs[:, LAST]).square().sum() < came.square().sum())
            penalty = RIDGE * (1 + counted.square().sum()) * torch.eye(inputs.shape[1], dtype=torch.float64)
            solved = start + torch.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ (came - inputs @ start))
            self.weights[step] = solved
            self.errors[step] = ((inputs @ solved - came).abs().sum() / (1 + counted.sum())).clamp(min=LEAST_ERROR)


def _regressed(recent: Tensor, beside: Tensor) -> Tensor:
    """Put a constant, the last values and what is known beside them side by side: (origins, features)."""
    values = recent.nan_to_num().clamp(-MOST_SIZE, MOST_SIZE)
    return torch.cat([torch.ones_like(values[:, :1]), values, beside], dim=1)


def fit_regression(regression: Regression, views: Views, histories: Histories) -> None:
    """Fit a regression to origins all over some series."""
    lengths, first = histories.values.lengths, np.maximum(histories.starts, 1)
    every = max(1, -(-int(np.maximum(lengths - first, 0).sum() * views.lags.horizon) // REGRESSED))
    origins = rolling_origins(lengths.tolist(), seen=first.tolist(), horizon=1, every=every)
    regression.fit(placed(views.ahead_of(histories, *origins.T)))
