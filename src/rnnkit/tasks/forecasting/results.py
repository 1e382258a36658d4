"""What a forecaster answers: the same objects in Python, on the command line and in a server."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnkit.data.stamps import Frequency

LEVELS = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)
MEDIAN = LEVELS.index(0.5)


@dataclass(frozen=True)
class Forecast:
    """The next steps of one series."""

    series: str
    times: tuple[str, ...]
    """Stamps of the steps, ISO 8601, or their numbers."""
    median: tuple[float, ...]
    quantiles: dict[str, tuple[float, ...]]
    """By level, as "0.9"; rising with it."""


@dataclass(frozen=True)
class TickEvent:
    """An observation came: how far off it was, and what is expected now."""

    series: str
    time: str
    value: float | None
    """None where a step passed without one."""
    expected: float | None
    """The median forecast a step before."""
    low: float | None
    """The 0.1 quantile then."""
    high: float | None
    """The 0.9 quantile then."""
    error: float | None
    """Mean absolute error of the median a step ahead, since the stream began."""
    naive_error: float | None
    """That of the last value."""
    forecast: Forecast
    """From here on."""


def make_forecast(name: str, frequency: Frequency, first: int, quantiles: np.ndarray) -> Forecast:
    """Make the answer of a series.

    Args:
        name: Of the series.
        frequency: Of its steps.
        first: Number of the first step ahead.
        quantiles: (horizon, levels).

    Returns:
        The answer.
    """
    levels = {f"{level:g}": tuple(column) for level, column in zip(LEVELS, quantiles.T.tolist(), strict=True)}
    times = stamp_words(frequency, first + np.arange(len(quantiles)))
    return Forecast(name, times, tuple(quantiles[:, MEDIAN].tolist()), levels)


def stamp_words(frequency: Frequency, numbers: np.ndarray) -> tuple[str, ...]:
    """Write steps as stamps without what is the same in all of the grid: the time of day, if it is midnight."""
    stamps = frequency.stamps(numbers)
    if frequency.unit == "step":
        return tuple(map(str, stamps.tolist()))
    whole_days = bool((stamps == stamps.astype("datetime64[D]")).all()) and frequency.is_days
    return tuple(np.datetime_as_string(stamps, unit="D" if whole_days else "s").tolist())
