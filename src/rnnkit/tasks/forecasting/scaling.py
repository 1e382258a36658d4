"""Level and spread of a series as they were known at each step, so that no forecast sees the future."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

LEAST_SPREAD = 1e-6  # in units of the level's size, or of 1: a series that has not changed yet


@dataclass(frozen=True)
class RunningScale:
    """Means of values and of their distances from the mean, the recent ones counting most.

    Attributes:
        sums: (3, ...) float64: weights, weighted values, weighted distances.
        decay: What a weight is multiplied by in a step.
    """

    sums: np.ndarray
    decay: float

    @classmethod
    def begin(cls, half_life: float, shape: tuple[int, ...] = ()) -> Self:
        """Return the scale of series of which nothing is known; `half_life` in steps."""
        return cls(np.zeros((3, *shape)), 0.5 ** (1 / half_life))

    def after(self, values: np.ndarray) -> Self:
        """Return the scale after a step of each series, (...) with NaN where a value is missing."""
        seen = ~np.isnan(values)
        known = np.where(seen, values, 0.0)
        weights, totals = self.sums[:2] * self.decay + np.stack([seen, known])
        level = totals / np.maximum(weights, np.finfo(np.float64).tiny)
        distances = self.sums[2] * self.decay + np.where(seen, np.abs(known - level), 0.0)
        return type(self)(np.stack([weights, totals, distances]), self.decay)

    @property
    def level(self) -> np.ndarray:
        """(...), 0 where nothing is known."""
        return self.sums[1] / np.maximum(self.sums[0], np.finfo(np.float64).tiny)

    @property
    def spread(self) -> np.ndarray:
        """(...), above 0."""
        return spread_of(self.sums[0], self.sums[2], self.level)


def running_scales(values: np.ndarray, half_life: float) -> tuple[np.ndarray, np.ndarray]:
    """Return level and spread of a series after each of its steps.

    Args:
        values: (time,) float64, NaN where one is missing.
        half_life: After so many steps a value counts half.

    Returns:
        (time,) each, float64, equal to what `RunningScale` says step by step.
    """
    scale = replace(RunningScale.begin(half_life), sums=running_sums(values, half_life))
    return scale.level, scale.spread


def running_sums(values: np.ndarray, half_life: float) -> np.ndarray:
    """Return the sums of a `RunningScale` after each step of a series, (3, time)."""
    from scipy.signal import lfilter  # slow to import

    decay = RunningScale.begin(half_life).decay
    seen = ~np.isnan(values)
    known = np.where(seen, values, 0.0)
    if not len(values):
        return np.zeros((3, 0))

    def summed(parts: np.ndarray) -> np.ndarray:
        return np.asarray(lfilter([1.0], [1.0, -decay], parts))

    weights, totals = summed(np.stack([seen, known]))
    level = totals / np.maximum(weights, np.finfo(np.float64).tiny)
    return np.stack([weights, totals, summed(np.where(seen, np.abs(known - level), 0.0))])


def window_scales(values: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Return level and spread of the last `context` values of a series at each of its steps.

    Args:
        values: (time,) float64, NaN where one is missing.
        context: Steps of the window; near the beginning there are fewer.

    Returns:
        (time,) each, float64.
    """
    padded = np.concatenate([np.full(context - 1, np.nan), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, context)
    seen = ~np.isnan(windows)
    counts = seen.sum(1)
    level = np.where(seen, windows, 0.0).sum(1) / np.maximum(counts, 1)
    distances = np.where(seen, np.abs(np.nan_to_num(windows) - level[:, None]), 0.0).sum(1)
    return level, spread_of(counts.astype(np.float64), distances, level)


def spread_of(weights: np.ndarray, distances: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return the mean distance, and where a series never changed, a trace of its level's size."""
    mean = distances / np.maximum(weights, np.finfo(np.float64).tiny)
    least = LEAST_SPREAD * np.maximum(np.abs(level), 1.0)
    return np.maximum(mean, least)
