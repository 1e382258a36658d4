"""What a network says of the steps ahead: quantiles of all of them at once, or the distribution of the next one."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import NegativeBinomial, StudentT
from torch.nn import functional

from rnnkit.tasks.forecasting.regression import Regression
from rnnkit.tasks.forecasting.results import LEVELS, MEDIAN
from rnnkit.tasks.forecasting.windows import Ahead

STEP_SIZE = 16  # of the vector of each step ahead
STRETCHES = (0.2, 5.0)  # within which validation data may choose
TRUST = 5.0  # in the regression, before training: the logarithm of its share in the mixture, beside the others'
MOST_TARGET = 100.0  # in units of the spread; of what lies further away, training learns no more
LEAST_SPREAD = 0.1  # of counts


class Head(nn.Module):
    """What all heads share: a mixture of simple forecasts, and scores from the state and what is known of a step ahead.

    The simple forecasts are the seasons before, the last value, the level, and a linear regression on the last values
    (after Lai et al. 2018); the network chooses their weights for every step. Scores are in units of the regression's
    error at the step. Once training is over, validation data stretches each quantile's distance from the median (after
    Romano et al. 2019).

    Args:
        state_size: Of the state at the origin.
        known_size: Of what is known of a step ahead besides the simple forecasts.
        lags: How many values of seasons before there are for every step.
        regression: The linear one.
        hidden_size: Of the layers between.
        dropout: Share of the state, and of the features between, dropped in training.
    """

    stretch: Tensor
    sampled: ClassVar[bool] = True
    """Whether a forecast of several steps is drawn step by step."""
    least: ClassVar[float] = -math.inf
    """No value is below."""

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
        first = self.first_scores()
        self.output = nn.Linear(hidden_size, len(first) + lags + 3)
        self.register_buffer("stretch", torch.ones(len(LEVELS)))
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        with torch.no_grad():
            self.output.bias[: len(first)] = torch.tensor(first)
            self.output.bias[-1] = TRUST

    @property
    def regressions(self) -> list[Regression]:
        """The one there is."""
        return [self.regression]

    def stretch_by(self, factors: Tensor) -> None:
        """Stretch each quantile's distance from the median, (levels,)."""
        self.stretch.copy_(factors)

    def first_scores(self) -> list[float]:
        """Return the scores that training begins with."""
        raise NotImplementedError

    def mixed(self, state: Tensor, ahead: Ahead[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the mixture, in units of the scale at the origin, and the scores.

        Args:
            state: (origins, state_size).
            ahead: What is known of each origin.

        Returns:
            (origins, horizon) and (origins, horizon, scores).
        """
        lagged = ahead.lagged
        count, horizon, lags = lagged.shape
        last = ahead.recent[:, :1, None].expand(-1, horizon, 1)
        linear = self.regression(ahead.recent, ahead.beside, ahead.known)[..., None]
        simple = torch.cat([lagged, last, torch.zeros_like(last), linear], dim=-1)  # the level is 0
        there = ~simple.isnan()
        simple = simple.nan_to_num()
        seen = torch.arcsinh(simple[..., :lags])
        steps = self.steps.expand(count, -1, -1)
        inputs = torch.cat([ahead.known, seen, there[..., :lags].to(seen.dtype), steps], dim=-1)
        hidden = torch.relu(self.of_state(self.dropout(state))[:, None] + self.of_step(inputs))
        hidden = hidden + torch.relu(self.between(hidden))
        outputs = self.output(self.dropout(hidden))
        scores, weights = outputs.split([outputs.shape[-1] - lags - 3, lags + 3], dim=-1)
        shares = weights.masked_fill(~there, -torch.inf).softmax(-1)
        return (shares * simple).sum(-1), scores

    def loss(self, state: Tensor, ahead: Ahead[Tensor]) -> tuple[Tensor, Tensor]:
        """Compute the loss of every step that is known.

        Args:
            state: (origins, state_size).
            ahead: What is known of each origin, and what came.

        Returns:
            (origins, horizon) losses, 0 where nothing is known, and which are known.
        """
        seen = ~ahead.targets.isnan()
        return self.losses(state, ahead).masked_fill(~seen, 0.0), seen

    def losses(self, state: Tensor, ahead: Ahead[Tensor]) -> Tensor:
        """Compute losses, (origins, horizon), of no meaning where a target is NaN."""
        raise NotImplementedError

    def draw(self, state: Tensor, ahead: Ahead[Tensor], shares: np.ndarray) -> np.ndarray:
        """Draw the next value: that below which the distribution has a share, (origins,) -> (origins,) float64."""
        raise NotImplementedError


class QuantileHead(Head):
    """Quantiles of all steps at once that do not cross: the others lie above and below the median by amounts above 0.

    After Gasthaus et al. 2019. Training lowers the quantile loss, errors in units of each series' usual spread.
    """

    sampled: ClassVar[bool] = False

    def first_scores(self) -> list[float]:
        """Return what softplus turns into the distances between Laplace's quantiles, of mean absolute error 1."""
        away = [-math.log(2 * min(level, 1 - level)) for level in LEVELS]
        nearer = [away[index + (1 if index < MEDIAN else -1)] for index in range(len(LEVELS))]
        gaps = [own - other for own, other in zip(away, nearer, strict=True)]
        return [0.0 if index == MEDIAN else math.log(math.expm1(gap)) for index, gap in enumerate(gaps)]

    def forward(self, state: Tensor, ahead: Ahead[Tensor]) -> Tensor:
        """Say the quantiles, in units of the scale at the origin.

        Args:
            state: (origins, state_size).
            ahead: What is known of each origin.

        Returns:
            (origins, horizon, levels), rising.
        """
        mixture, scores = self.mixed(state, ahead)
        errors = self.regression.errors[:, None]
        median = mixture + errors[:, 0] * scores[..., MEDIAN]
        apart = errors * functional.softplus(scores)
        below = apart[..., :MEDIAN].flip(-1).cumsum(-1).flip(-1)
        above = apart[..., MEDIAN + 1 :].cumsum(-1)
        if not self.training:
            below = (below * self.stretch[:MEDIAN]).flip(-1).cummax(-1).values.flip(-1)
            above = (above * self.stretch[MEDIAN + 1 :]).cummax(-1).values
        return torch.cat([median[..., None] - below, median[..., None], median[..., None] + above], dim=-1)

    def losses(self, state: Tensor, ahead: Ahead[Tensor]) -> Tensor:
        """Compute the mean quantile loss of every step."""
        levels = ahead.targets.new_tensor(LEVELS)
        targets = ahead.targets.nan_to_num().clamp(-MOST_TARGET, MOST_TARGET)
        missed = targets[..., None] - self(state, ahead)
        return ahead.weights[:, None] * torch.maximum(levels * missed, (levels - 1) * missed).mean(-1)


class StudentTHead(Head):
    """Student's t distribution of the next value, trained by its likelihood (after Salinas et al. 2020)."""

    def first_scores(self) -> list[float]:
        """Return a scale of 1 error and 5 degrees of freedom, by softplus."""
        return [0.0, math.log(math.expm1(1.0)), math.log(math.expm1(3.0))]

    def forward(self, state: Tensor, ahead: Ahead[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Say degrees of freedom, location and scale, (origins, horizon) each, in units of the scale at the origin."""
        mixture, scores = self.mixed(state, ahead)
        errors = self.regression.errors
        centre, scale, freedom = scores.float().unbind(-1)
        return 2 + functional.softplus(freedom), mixture + errors * centre, errors * functional.softplus(scale) + 1e-4

    def losses(self, state: Tensor, ahead: Ahead[Tensor]) -> Tensor:
        """Compute negative log-likelihoods of values in units of the scale."""
        targets = ahead.targets.nan_to_num().clamp(-MOST_TARGET, MOST_TARGET)
        return -StudentT(*self(state, ahead), validate_args=False).log_prob(targets)

    def draw(self, state: Tensor, ahead: Ahead[Tensor], shares: np.ndarray) -> np.ndarray:
        """Draw values by their shares."""
        from scipy.special import stdtrit  # slow to import

        freedom, centre, scale = (part[:, 0].double().cpu().numpy() for part in self(state, ahead))
        level, spread = ahead.scale.double().cpu().numpy().T
        away = np.clip(centre + scale * stdtrit(freedom, shares), -MOST_TARGET, MOST_TARGET)
        return away * spread + level


class NegativeBinomialHead(Head):
    """The negative binomial distribution of the next count, trained by its likelihood (after Salinas et al. 2020)."""

    least: ClassVar[float] = 0.0

    def first_scores(self) -> list[float]:
        """Return a dispersion of 0.3, by softplus."""
        return [0.0, math.log(math.expm1(0.3))]

    def forward(self, state: Tensor, ahead: Ahead[Tensor]) -> tuple[Tensor, Tensor]:
        """Say mean and dispersion, (origins, horizon) each: the variance is mean + dispersion x mean^2."""
        mixture, scores = self.mixed(state, ahead)
        centre, dispersion = scores.float().unbind(-1)
        level, spread = ahead.scale[:, :1], ahead.scale[:, 1:]
        unit = spread.clamp(min=LEAST_SPREAD)
        value = (mixture + self.regression.errors * centre) * spread + level
        return unit * functional.softplus(value / unit) + 1e-4, functional.softplus(dispersion) + 1e-4

    def losses(self, state: Tensor, ahead: Ahead[Tensor]) -> Tensor:
        """Compute negative log-likelihoods of counts."""
        mean, dispersion = self(state, ahead)
        level, spread = ahead.scale[:, :1], ahead.scale[:, 1:]
        counts = (ahead.targets.nan_to_num() * spread + level).round().clamp(min=0)
        logits = torch.log(mean * dispersion)
        return -NegativeBinomial(1 / dispersion, logits=logits, validate_args=False).log_prob(counts)

    def draw(self, state: Tensor, ahead: Ahead[Tensor], shares: np.ndarray) -> np.ndarray:
        """Draw counts by their shares."""
        from scipy.stats import nbinom  # slow to import

        mean, dispersion = (part[:, 0].double().cpu().numpy() for part in self(state, ahead))
        return nbinom.ppf(shares, 1 / dispersion, 1 / (1 + mean * dispersion))


HEADS: dict[str, type[Head]] = {
    "quantiles": QuantileHead,
    "student-t": StudentTHead,
    "negative-binomial": NegativeBinomialHead,
}


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
            apart = np.where(distances[:, index] == 0, np.nan, distances[:, index])
            ratios = np.nan_to_num(away / apart)
            stretch[index] = np.clip(np.quantile(ratios, share), *STRETCHES)
    return stretch
