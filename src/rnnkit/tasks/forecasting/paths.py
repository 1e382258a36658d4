"""Forecasts drawn step by step: each value drawn is read as if it had come (DeepAR: Salinas et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self, cast

import numpy as np
import torch
from torch import Tensor

from rnnkit.data.ragged import Ragged
from rnnkit.kernels import State
from rnnkit.tasks.forecasting.ahead import placed
from rnnkit.tasks.forecasting.heads import Head
from rnnkit.tasks.forecasting.history import Histories
from rnnkit.tasks.forecasting.network import ForecastNetwork
from rnnkit.tasks.forecasting.results import LEVELS, MEDIAN
from rnnkit.tasks.forecasting.scaling import RunningScale, running_sums
from rnnkit.tasks.forecasting.windows import Views

PATHS = 200
ROWS_AT_ONCE = 6400
SEED = 0  # the same draws for every series and origin, so that what is forecast beside it changes no forecast


@dataclass(frozen=True)
class Memory:
    """What is remembered at some origins.

    Attributes:
        hidden: (origins, state_size) what the network says after the last step.
        state: Of the network, a row an origin.
        scale: (3, origins) running sums of level and spread.
    """

    hidden: Tensor
    state: State
    scale: RunningScale

    def repeated(self, some: slice, times: int) -> Self:
        """Return some origins, each so many times."""
        parts = [part[some].repeat_interleave(times, dim=0) for part in (self.hidden, *self.state)]
        sums = np.repeat(self.scale.sums[:, some], times, axis=1)
        return type(self)(parts[0], tuple(parts[1:]), RunningScale(sums, self.scale.decay))


def draw_quantiles(
    network: ForecastNetwork, views: Views, histories: Histories, origins: np.ndarray, memory: Memory
) -> np.ndarray:
    """Forecast by PATHS drawn futures of each origin.

    Args:
        network: Trained.
        views: How windows become features.
        histories: The series.
        origins: (origins, 2) a series, and how many of its steps are seen.
        memory: At these origins.

    Returns:
        (origins, horizon, levels) float64, transformed as the values are.
    """
    found = np.zeros((len(origins), views.horizon, len(LEVELS)))
    stretch = cast(Head, network.head).stretch.double().cpu().numpy()
    step = max(ROWS_AT_ONCE // PATHS, 1)
    for first in range(0, len(origins), step):
        some = slice(first, first + step)
        drawn = _draw(network, views, _copies(histories, views, origins[some]), memory.repeated(some, PATHS))
        quantiles = np.moveaxis(np.quantile(drawn.reshape(-1, PATHS, views.horizon), LEVELS, axis=1), 0, -1)
        median = quantiles[..., MEDIAN : MEDIAN + 1]
        found[some] = median + stretch * (quantiles - median)
    below, above = found[..., : MEDIAN + 1], found[..., MEDIAN:]
    below[:] = np.minimum.accumulate(below[..., ::-1], axis=-1)[..., ::-1]
    above[:] = np.maximum.accumulate(above, axis=-1)
    return np.maximum(found, network.head.least)


def _draw(network: ForecastNetwork, views: Views, copies: Histories, memory: Memory) -> np.ndarray:
    """Draw a future of every row, (rows, horizon), writing it into the copies as it comes."""
    rows = np.arange(len(copies))
    shares, head = _shares(views.horizon), cast(Head, network.head)
    hidden, state, scale = memory.hidden.to(network.device), memory.state, memory.scale
    state = tuple(part.to(network.device) for part in state)
    drawn = np.zeros((len(rows), views.horizon))
    for step in range(views.horizon):
        seen = np.full(len(rows), views.look_back + step)
        ahead = placed(views.ahead_of(copies, rows, seen), network.device)
        drawn[:, step] = head.draw(hidden, ahead, np.tile(shares[step], len(rows) // PATHS))
        scale = scale.after(drawn[:, step])
        places = copies.offsets + seen
        copies.values.values[places] = drawn[:, step]
        copies.level[places], copies.spread[places] = scale.level, scale.spread
        if step + 1 < views.horizon:
            inputs = views.inputs(copies, rows, seen, np.ones_like(seen))
            outputs, state = network(torch.from_numpy(inputs).to(network.device), state=state)
            hidden = outputs[:, 0]
    return drawn


def _shares(horizon: int) -> np.ndarray:
    """Return a share in (0, 1) for each path of each step, (horizon, PATHS), evenly spread at every step."""
    generator = np.random.default_rng(SEED)
    return np.stack([(generator.permutation(PATHS) + 0.5) / PATHS for _ in range(horizon)])


def _copies(histories: Histories, views: Views, origins: np.ndarray) -> Histories:
    """Return PATHS copies of the last steps before each origin, with room for the steps ahead.

    What is known only up to the present is missing ahead, whatever the series say.
    """
    series, seen = origins.T
    time = views.look_back + views.horizon
    places = seen[:, None] - views.look_back + np.arange(time)
    past = (places >= 0) & (places < seen[:, None])
    flat = histories.offsets[series][:, None] + np.where(past, places, 0)
    values = np.where(past, histories.values.values[flat], np.nan)
    level, spread = (np.where(past, one[flat], 1.0) for one in (histories.level, histories.spread))
    beside, columns = histories.beside, histories.beside.values.shape[1]
    there = (places >= 0) & (places < beside.lengths[series][:, None])
    rows = (beside.ends - beside.lengths)[series][:, None] + np.where(there, places, 0)
    known = np.full((len(series), time, columns), np.nan, dtype=np.float32)
    if columns:
        known = np.where(there[..., None], beside.values[rows], known)
        known[:, views.look_back :, views.ahead :] = np.nan
    ends = np.arange(1, len(series) * PATHS + 1) * time
    return replace(
        histories,
        names=np.repeat(histories.names[series], PATHS),
        values=Ragged(np.repeat(values, PATHS, axis=0).reshape(-1), ends),
        beside=Ragged(np.repeat(known, PATHS, axis=0).reshape(int(ends[-1]), columns), ends),
        level=np.repeat(level, PATHS, axis=0).reshape(-1),
        spread=np.repeat(spread, PATHS, axis=0).reshape(-1),
        first=np.repeat(histories.first[series] + seen - views.look_back, PATHS),
    )


def sums_at(histories: Histories, origins: np.ndarray, half_life: float) -> RunningScale:
    """Return the running sums at origins, (3, origins)."""
    sums = np.zeros((3, len(origins)))
    for index in np.unique(origins[:, 0]).tolist():
        here = origins[:, 0] == index
        sums[:, here] = running_sums(histories.values[index], half_life)[:, origins[here, 1] - 1]
    return replace(RunningScale.begin(half_life), sums=sums)
