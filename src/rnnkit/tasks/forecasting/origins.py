"""Forecasts of many series from many origins, without reading a history twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnkit.tasks.forecasting.ahead import placed
from rnnkit.tasks.forecasting.history import Histories, in_own_unit
from rnnkit.tasks.forecasting.network import ForecastNetwork
from rnnkit.tasks.forecasting.paths import Memory, draw_quantiles, sums_at
from rnnkit.tasks.forecasting.results import LEVELS
from rnnkit.tasks.forecasting.windows import Views

SERIES_AT_ONCE = 64
STEPS_AT_ONCE = 4096
ORIGINS_AT_ONCE = 1024
WINDOWS_AT_ONCE = 512


def say_quantiles(
    network: ForecastNetwork, views: Views, histories: Histories, origins: np.ndarray, hidden: Tensor
) -> np.ndarray:
    """Forecast from states at origins: (origins, horizon, levels) float64, transformed as the values are."""
    series, seen = origins.T
    ahead = placed(views.ahead_of(histories, series, seen), network.device)
    return in_own_unit(network.head(hidden, ahead).double().cpu().numpy(), histories, origins)


def forecast_origins(network: ForecastNetwork, views: Views, histories: Histories, origins: np.ndarray) -> np.ndarray:
    """Forecast from origins.

    Args:
        network: Trained.
        views: How its windows become features.
        histories: The series.
        origins: (origins, 2) a series, and how many of its steps are seen, at least one.

    Returns:
        (origins, horizon, levels) float64, transformed as the values are.
    """
    was_training = network.training
    network.eval()
    forecast = _drawn if network.head.sampled else _said
    with torch.inference_mode():
        found = forecast(network, views, histories, origins)
    network.train(was_training)
    return found


def _said(network: ForecastNetwork, views: Views, histories: Histories, origins: np.ndarray) -> np.ndarray:
    """Read each history once, or the window before each origin, and say the quantiles of all steps."""
    found = np.zeros((len(origins), views.horizon, len(LEVELS)))
    states = _carried if views.context is None else _windowed
    for places, hidden in states(network, views, histories, origins):
        for first in range(0, len(places), ORIGINS_AT_ONCE):
            some = places[first : first + ORIGINS_AT_ONCE]
            states_then = hidden[first : first + ORIGINS_AT_ONCE]
            found[some] = say_quantiles(network, views, histories, origins[some], states_then)
    return found


def _carried(
    network: ForecastNetwork, views: Views, histories: Histories, origins: np.ndarray
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Read each history once and give the states at its origins."""
    wanted = np.unique(origins[:, 0])
    wanted = wanted[np.argsort(-histories.values.lengths[wanted], kind="stable")]
    for first in range(0, len(wanted), SERIES_AT_ONCE):
        series = wanted[first : first + SERIES_AT_ONCE]
        rows_of = {int(one): row for row, one in enumerate(series)}
        places = np.flatnonzero(np.isin(origins[:, 0], series))
        rows, seen = np.array([rows_of[one] for one in origins[places, 0].tolist()]), origins[places, 1]
        state = None
        for start in range(0, int(seen.max()), STEPS_AT_ONCE):
            time = min(STEPS_AT_ONCE, int(seen.max()) - start)
            starts = np.minimum(start, histories.values.lengths[series] - 1)
            lengths = np.minimum(histories.values.lengths[series] - starts, time)
            inputs = views.inputs(histories, series, starts, lengths)
            outputs, state = network(torch.from_numpy(inputs).to(network.device), state=state)
            inside = (seen > start) & (seen <= start + time)
            if inside.any():
                chosen = torch.from_numpy(rows[inside]), torch.from_numpy(seen[inside] - 1 - start)
                yield places[inside], outputs[chosen]


def _drawn(network: ForecastNetwork, views: Views, histories: Histories, origins: np.ndarray) -> np.ndarray:
    """Read each history once, and draw from every origin on the way."""
    memory = [torch.zeros(0)]
    for places, *parts in _stopped(network, views, histories, origins):
        if len(memory) != len(parts):
            memory = [part.new_zeros(len(origins), *part.shape[1:]) for part in parts]
        for laid, part in zip(memory, parts, strict=True):
            laid[torch.from_numpy(places)] = part
    then = Memory(memory[0], tuple(memory[1:]), sums_at(histories, origins, views.half_life))
    return draw_quantiles(network, views, histories, origins, then)


def _stopped(
    network: ForecastNetwork, views: Views, histories: Histories, origins: np.ndarray
) -> Iterator[tuple[Any, ...]]:
    """Read each history once, stop at its origins, and give what the network says and remembers there."""
    wanted = np.unique(origins[:, 0])
    for first in range(0, len(wanted), SERIES_AT_ONCE):
        series = wanted[first : first + SERIES_AT_ONCE]
        places = np.flatnonzero(np.isin(origins[:, 0], series))
        rows = np.searchsorted(series, origins[places, 0])
        stops = np.unique(origins[places, 1])
        lengths, begun, state, outputs = histories.values.lengths[series], 0, None, torch.zeros(0)
        for stop in stops.tolist():
            for start in range(begun, stop, STEPS_AT_ONCE):
                time = np.minimum(stop - start, STEPS_AT_ONCE)
                starts = np.minimum(start, lengths - 1)  # a series that is over reads on in vain
                inputs = views.inputs(histories, series, starts, np.minimum(lengths - starts, time))
                outputs, state = network(torch.from_numpy(inputs).to(network.device), state=state)
            assert state is not None
            begun, here = stop, origins[places, 1] == stop
            chosen = torch.from_numpy(rows[here])
            yield places[here], outputs[chosen, -1], *(part[chosen] for part in state)


def _windowed(
    network: ForecastNetwork, views: Views, histories: Histories, origins: np.ndarray
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Read the window before each origin."""
    assert views.context is not None
    for first in range(0, len(origins), WINDOWS_AT_ONCE):
        series, seen = origins[first : first + WINDOWS_AT_ONCE].T
        starts = np.maximum(seen - views.context, 0)
        inputs = views.inputs(histories, series, starts, seen - starts)
        lengths = torch.from_numpy(seen - starts)
        outputs, _ = network(torch.from_numpy(inputs).to(network.device), lengths.to(network.device))
        yield np.arange(first, first + len(seen)), outputs[torch.arange(len(seen)), lengths - 1]
