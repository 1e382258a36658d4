"""How good forecasts are: points, intervals, whole distributions, and whether one forecaster is really better."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rnnkit.errors import DataError

MEDIAN = 0.5
INTERVAL = (0.1, 0.9)  # of coverage and width
SCORED = (0.025, 0.975)  # of MSIS, as in the M4 competition


def forecast_metrics(
    actual: np.ndarray, quantiles: np.ndarray, levels: Sequence[float], scales: np.ndarray
) -> dict[str, float]:
    """Measure forecasts of windows, each of one series from one origin.

    A metric of points takes the median. One that divides by a scale leaves out the windows whose scale is 0, for a
    series that never changed has none.

    Args:
        actual: (windows, horizon), NaN where a value is missing.
        quantiles: (windows, horizon, levels).
        levels: Of the quantiles, in rising order, 0.5 among them.
        scales: (windows,) as `naive_scales` gives them for the history of each.

    Returns:
        sql (twice the pinball loss, mean over the levels, in units of the scale where a window has one), mase
        (Hyndman and Koehler 2006), smape in percent (as in the M4 competition: Makridakis et al. 2020), wql (twice
        the pinball loss over the sum of the absolute values, mean of 0.1 to 0.9: Salinas et al. 2020), mae, rmse,
        coverage and width of the 80 % interval, the width in units of the scale, and msis of the 95 % interval
        (Gneiting and Raftery 2007), where these levels are there.

    Raises:
        DataError: If no value is there to measure.
    """
    seen = ~np.isnan(actual)
    if not seen.any():
        raise DataError("there is nothing to measure; expected at least one value after the origin of a forecast.")
    at = {round(level, 6): index for index, level in enumerate(levels)}
    errors = np.abs(actual - quantiles[..., at[MEDIAN]])
    by_level = _quantile_losses(actual, quantiles, levels)
    losses = by_level.mean(-1)
    scaled = _scaled_mean(losses, scales)
    parts = {
        "sql": float(np.nanmean(losses)) if math.isnan(scaled) else scaled,
        "mase": _scaled_mean(errors, scales),
        "smape": float(np.nanmean(_symmetric(actual, quantiles[..., at[MEDIAN]]))),
        "wql": _weighted_quantile_loss(actual, by_level, levels),
        "mae": float(np.nanmean(errors)),
        "rmse": math.sqrt(float(np.nanmean(errors**2))),
    }
    if all(level in at for level in INTERVAL):
        low, high = (quantiles[..., at[level]] for level in INTERVAL)
        parts["coverage"] = float(((low <= actual) & (actual <= high))[seen].mean())
        parts["width"] = _scaled_mean(np.where(seen, high - low, np.nan), scales)
    if all(level in at for level in SCORED):
        low, high = (quantiles[..., at[level]] for level in SCORED)
        outside = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
        parts["msis"] = _scaled_mean(high - low + 2 / (1 - SCORED[1] + SCORED[0]) * outside, scales)
    return parts


def overall_weighted_average(metrics: dict[str, float], of_naive2: dict[str, float]) -> float:
    """Return OWA, the mean of sMAPE and MASE, each divided by that of Naive 2 (Makridakis et al. 2020)."""
    return (metrics["smape"] / of_naive2["smape"] + metrics["mase"] / of_naive2["mase"]) / 2


def naive_scales(history: np.ndarray, seen: np.ndarray, *, season: int) -> np.ndarray:
    """Return the mean absolute error of the seasonal naive forecast a step ahead within beginnings of a history.

    Args:
        history: (time,), NaN where a value is missing.
        seen: (origins,) steps of each beginning.
        season: Steps of a season; a beginning without a whole one takes 1.

    Returns:
        (origins,) in the history's unit; NaN where no two values are a season apart.
    """
    scales = np.full(len(seen), np.nan)
    for lag in {season, 1}:
        here = (seen > season) == (lag == season)
        apart = np.abs(history[lag:] - history[:-lag])
        there = ~np.isnan(apart)
        sums, counts = np.r_[0.0, np.where(there, apart, 0.0).cumsum()], np.r_[0, there.cumsum()]
        ends = np.maximum(seen[here] - lag, 0)
        scales[here] = np.divide(sums[ends], counts[ends], out=np.full(len(ends), np.nan), where=counts[ends] > 0)
    return scales


def diebold_mariano(errors: np.ndarray, others: np.ndarray, *, horizon: int) -> tuple[float, float]:
    """Test whether two forecasters lose alike (Diebold and Mariano 1995, corrected by Harvey et al. 1997).

    Args:
        errors: (origins,) losses of one, in order of time.
        others: (origins,) losses of the other.
        horizon: Steps ahead: losses up to so many origins apart overlap.

    Returns:
        The statistic, below 0 where the first loses less, and the two-sided p-value; 0 and 1 where the test says
        nothing.
    """
    from scipy.stats import t  # slow to import

    differences = errors - others
    count = len(differences)
    centred = differences - differences.mean()
    lags = min(horizon, count)
    covariances = [centred[lag:] @ centred[: count - lag] / count for lag in range(lags)]
    variance = (covariances[0] + 2 * sum(covariances[1:])) / count
    shrunk = (count + 1 - 2 * lags + lags * (lags - 1) / count) / count
    if variance <= 0 or shrunk <= 0 or count < 2:
        return 0.0, 1.0
    statistic = float(differences.mean() / math.sqrt(variance) * math.sqrt(shrunk))
    return statistic, float(2 * t.sf(abs(statistic), count - 1))


def _quantile_losses(actual: np.ndarray, quantiles: np.ndarray, levels: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return twice the pinball loss of every quantile, (windows, horizon, levels), NaN where a value is missing."""
    missed = actual[..., None] - quantiles
    return 2 * np.maximum(np.asarray(levels) * missed, (np.asarray(levels) - 1) * missed)


def _weighted_quantile_loss(actual: np.ndarray, losses: np.ndarray, levels: Sequence[float]) -> float:
    """Return the mean over the levels from 0.1 to 0.9 of their losses' share of the values; NaN where all are 0."""
    taken = [index for index, level in enumerate(levels) if INTERVAL[0] - 1e-9 <= level <= INTERVAL[1] + 1e-9]
    total = np.nansum(np.abs(actual))
    return float(np.nansum(losses[..., taken]) / len(taken) / total) if total else math.nan


def _scaled_mean(values: np.ndarray, scales: np.ndarray) -> float:
    """Return the mean over windows of each window's mean in units of its scale; NaN where no window has one."""
    usable = (scales > 0) & ~np.isnan(values).all(1)
    return float((np.nanmean(values[usable], axis=1) / scales[usable]).mean()) if usable.any() else math.nan


def _symmetric(actual: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Return the symmetric percentage error of every value; 0 where both are 0."""
    size = np.abs(actual) + np.abs(forecast)
    return 200 * np.divide(np.abs(actual - forecast), size, out=np.where(np.isnan(size), np.nan, 0.0), where=size > 0)
