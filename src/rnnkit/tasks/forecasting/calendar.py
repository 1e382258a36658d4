"""What the calendar says of a step: the hour, the weekday, the place in the month and in the year."""

from __future__ import annotations

import numpy as np

from rnnkit.data.stamps import DAY, WEEK, Frequency

YEAR_DAYS = 365.25


def calendar_periods(frequency: Frequency) -> tuple[str, ...]:
    """Name the cycles longer than a step that the calendar knows.

    Args:
        frequency: Of the steps.

    Returns:
        Some of "minute", "hour", "day", "week", "month", "year"; none where steps are numbered.
    """
    if frequency.unit == "step":
        return ()
    if frequency.unit == "month":
        return ("year",) if frequency.count < 12 else ()
    if frequency.unit == "business day":
        return ("week", "month", "year")
    longer = {"minute": 60, "hour": 3600, "day": DAY, "week": WEEK, "month": 31 * DAY, "year": 366 * DAY}
    return tuple(name for name, seconds in longer.items() if frequency.count < seconds)


def calendar_features(frequency: Frequency, numbers: np.ndarray) -> np.ndarray:
    """Return where steps stand in each cycle of the calendar, as points on a circle.

    Args:
        frequency: Of the steps.
        numbers: (...) steps on its grid.

    Returns:
        (..., 2 x cycles) float32: the sine and the cosine of each.
    """
    periods = calendar_periods(frequency)
    if not periods:
        return np.zeros((*numbers.shape, 0), dtype=np.float32)
    if numbers.size == 1:
        return _features(periods, frequency.stamps(numbers))
    steps, places = np.unique(numbers, return_inverse=True)
    return _features(periods, frequency.stamps(steps))[places.reshape(numbers.shape)]


def _features(periods: tuple[str, ...], stamps: np.ndarray) -> np.ndarray:
    """Return the sines, then the cosines, (..., 2 x periods) float32, of stamps, (...)."""
    seconds, days = stamps.astype("datetime64[s]").astype(np.int64), stamps.astype("datetime64[D]")
    angles = np.empty((*stamps.shape, len(periods)))
    for place, name in enumerate(periods):
        angles[..., place] = _share(name, seconds, days)
    angles *= 2 * np.pi
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1, dtype=np.float32)


def _share(period: str, seconds: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Return which share of a cycle is over at each stamp, in [0, 1)."""
    if period in ("minute", "hour", "day"):
        length = {"minute": 60, "hour": 3600, "day": DAY}[period]
        return seconds % length / length
    if period == "week":
        return (seconds - 4 * DAY) % WEEK / WEEK  # 1970 began on a Thursday, so this begins on Monday
    months = days.astype("datetime64[M]")
    if period == "month":
        lengths = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
        return (days - months).astype(np.int64) / lengths
    return (days - days.astype("datetime64[Y]")).astype(np.int64) / (YEAR_DAYS + 1)
