"""Forecasts without a network: the last value, the last season, the drift, Theta. What a model should beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

SEASONAL_SIGNIFICANCE = 1.645  # of the autocorrelation at the season, a 90 % test, as in the M4 competition
LEAST_SEASONS = 3  # without so many the test finds none
SMOOTHING_STEPS = np.linspace(0.02, 1.0, 50)  # alphas tried

Method = Callable[[Sequence[np.ndarray], int, int], np.ndarray]
"""(histories, horizon, season) -> (series, horizon). A history is (time,) without NaN, at least one value."""


def naive(histories: Sequence[np.ndarray], horizon: int, season: int = 1) -> np.ndarray:
    """Repeat the last value.

    Args:
        histories: (time,) each.
        horizon: Steps to forecast.
        season: Unused.

    Returns:
        (series, horizon).
    """
    del season
    return np.repeat([[history[-1]] for history in histories], horizon, axis=1)


def seasonal_naive(histories: Sequence[np.ndarray], horizon: int, season: int) -> np.ndarray:
    """Repeat the last season; the last value where there is not a whole one.

    Args:
        histories: (time,) each.
        horizon: Steps to forecast.
        season: Steps of a season.

    Returns:
        (series, horizon).
    """
    places = np.arange(horizon) % season
    return np.stack([h[len(h) - season + places] if len(h) >= season else np.full(horizon, h[-1]) for h in histories])


def drift(histories: Sequence[np.ndarray], horizon: int, season: int = 1) -> np.ndarray:
    """Go on along the line from the first value to the last.

    Args:
        histories: (time,) each.
        horizon: Steps to forecast.
        season: Unused.

    Returns:
        (series, horizon).
    """
    del season
    slopes = np.array([(h[-1] - h[0]) / max(len(h) - 1, 1) for h in histories])
    return naive(histories, horizon) + slopes[:, None] * np.arange(1, horizon + 1)


def naive2(histories: Sequence[np.ndarray], horizon: int, season: int) -> np.ndarray:
    """Repeat the last value of the series without its season, and put the season back (the M4 competition's Naive 2).

    Args:
        histories: (time,) each.
        horizon: Steps to forecast.
        season: Steps of a season.

    Returns:
        (series, horizon).
    """
    return _without_season(naive, histories, horizon, season)


def theta(histories: Sequence[np.ndarray], horizon: int, season: int) -> np.ndarray:
    """Average the trend and the smoothed line of twice its curvature, season aside (Assimakopoulos, Nikolopoulos 2000).

    Args:
        histories: (time,) each.
        horizon: Steps to forecast.
        season: Steps of a season.

    Returns:
        (series, horizon).
    """
    return _without_season(_theta, histories, horizon, season)


METHODS: Mapping[str, Method] = {
    "naive": naive,
    "seasonal naive": seasonal_naive,
    "drift": drift,
    "Theta": theta,
}


def _theta(histories: Sequence[np.ndarray], horizon: int, season: int) -> np.ndarray:
    del season
    trends, curves, ahead = [], [], np.arange(1, horizon + 1)
    for history in histories:
        slope, start = np.polyfit(np.arange(len(history)), history, 1) if len(history) > 1 else (0.0, history[0])
        trends.append(start + slope * (len(history) - 1 + ahead))
        curves.append(2 * history - (start + slope * np.arange(len(history))))
    return (np.stack(trends) + _smoothed_levels(curves)[:, None]) / 2


def _smoothed_levels(series: Sequence[np.ndarray]) -> np.ndarray:
    """Smooth exponentially, each by the alpha with the least squared error a step ahead; return the last levels."""
    longest = max(len(one) for one in series)
    levels = np.array([one[:1] for one in series]) * np.ones_like(SMOOTHING_STEPS)  # (series, alphas)
    errors = np.zeros_like(levels)
    padded = np.full((len(series), longest), np.nan)
    for row, one in zip(padded, series, strict=True):
        row[: len(one)] = one
    for values in padded.T[1:]:
        missed = np.nan_to_num(values[:, None] - levels)
        errors += missed**2
        levels += SMOOTHING_STEPS * missed
    return levels[np.arange(len(series)), errors.argmin(1)]


def _without_season(
    method: Callable[[Sequence[np.ndarray], int, int], np.ndarray],
    histories: Sequence[np.ndarray],
    horizon: int,
    season: int,
) -> np.ndarray:
    """Take the season out of each series that has one, forecast, and put it back."""
    factors = [_seasonal_factors(history, season) for history in histories]
    plain = [h / np.resize(f, len(h)) for h, f in zip(histories, factors, strict=True)]
    ahead = np.stack([np.resize(np.roll(f, -len(h)), horizon) for h, f in zip(histories, factors, strict=True)])
    return method(plain, horizon, 1) * ahead


def _seasonal_factors(history: np.ndarray, season: int) -> np.ndarray:
    """Return what the mean is multiplied by at each place in the season, (season,); ones where there is none."""
    if season < 2 or not _is_seasonal(history, season) or (history <= 0).any():
        return np.ones(season)
    weights = np.ones(season) / season if season % 2 else np.r_[0.5, np.ones(season - 1), 0.5] / season
    trend = np.convolve(history, weights, mode="valid")
    first = len(weights) // 2
    ratios = history[first : first + len(trend)] / trend
    places = (first + np.arange(len(trend))) % season
    factors = np.bincount(places, weights=ratios, minlength=season) / np.bincount(places, minlength=season)
    return factors / factors.mean()


def _is_seasonal(history: np.ndarray, season: int) -> bool:
    """Test the autocorrelation at the season against what the shorter lags alone would make likely."""
    if len(history) < LEAST_SEASONS * season:
        return False
    centred = history - history.mean()
    variance = centred @ centred
    if variance == 0:
        return False
    correlations = np.array([centred[lag:] @ centred[: len(centred) - lag] for lag in range(1, season + 1)]) / variance
    limit = SEASONAL_SIGNIFICANCE * np.sqrt((1 + 2 * (correlations[:-1] ** 2).sum()) / len(history))
    return bool(abs(correlations[-1]) > limit)


def fill_forward(values: np.ndarray) -> np.ndarray:
    """Put the value before it where one is missing; the first one before the beginning."""
    seen = ~np.isnan(values)
    places = np.maximum.accumulate(np.where(seen, np.arange(len(values)), 0))
    return np.where(np.isnan(values[places]), values[int(seen.argmax())], values[places])
