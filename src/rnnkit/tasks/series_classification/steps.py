"""What a network sees of the samples of a series: gaps filled, averaged or stretched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnkit.data.audio import log_mel
from rnnkit.data.points import points
from rnnkit.errors import DataError

if TYPE_CHECKING:
    from rnnkit.tasks.series_classification.config import SeriesClassificationConfig


def fill_gaps(values: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Replace missing values by the last one there was.

    Args:
        values: (time, channels), NaN where missing.
        before: (channels,) what to take where there was none yet.

    Returns:
        (time, channels) without NaN.
    """
    if not np.isnan(values).any():
        return values
    joined = np.concatenate([before[None].astype(values.dtype), values])
    steps = np.where(np.isnan(joined), 0, np.arange(len(joined))[:, None])
    return np.take_along_axis(joined, np.maximum.accumulate(steps, axis=0), axis=0)[1:]


def is_samples(chunk: Sequence[Any] | np.ndarray) -> bool:
    """Whether a chunk is sound, one number a sample, and no list of points."""
    return isinstance(chunk, np.ndarray) and chunk.ndim == 1


def as_points(chunk: Sequence[Any] | np.ndarray, *, channels: int, sample_rate: int | None = None) -> np.ndarray:
    """Turn points into an array.

    Args:
        chunk: A list of points, each a list of numbers, None where one is missing; or (time, channels); or sound.
        channels: How many numbers a point has.
        sample_rate: Of sound, (samples,); None where there can be none.

    Returns:
        (time, channels) float32, NaN where a value is missing.

    Raises:
        DataError: If they are not points of so many channels, or a value is infinite.
    """
    if sample_rate is not None and is_samples(chunk):
        chunk = log_mel(np.asarray(chunk), sample_rate)
    values = points(chunk) if isinstance(chunk, list) else np.asarray(chunk, dtype=np.float32)
    if values is not None and not len(values):
        return np.empty((0, channels), dtype=np.float32)
    if values is None or values.ndim != 2 or values.shape[1] != channels:
        shape = "no list of points" if values is None else f"points of the shape {values.shape}"
        raise DataError(f"a series has {shape}; expected points of {channels} numbers each.")
    if np.isinf(values).any():
        raise DataError("a series has an infinite value; expected numbers, NaN or null where one is missing.")
    return values


def prepare(values: np.ndarray, config: SeriesClassificationConfig, *, before: np.ndarray) -> np.ndarray:
    """Turn the samples of a series into steps.

    Args:
        values: (samples, channels), NaN where missing.
        config: Whether to stretch, how many samples to average (unset: none).
        before: (channels,) what stands for a missing value at the beginning.

    Returns:
        (time, channels) float32.
    """
    filled = fill_gaps(values, before)
    return averaged(filled if config.resample is None else stretch(filled, config.resample), config)


def averaged(filled: np.ndarray, config: SeriesClassificationConfig) -> np.ndarray:
    """Average samples without gaps, (samples, channels), as many as make a step: (time, channels) float32."""
    stride = config.stride or 1
    if stride == 1 or not len(filled):
        return filled.astype(np.float32)
    starts = np.arange(0, len(filled), stride)
    sizes = np.diff(np.append(starts, len(filled)))[:, None]
    return (np.add.reduceat(filled.astype(np.float64), starts) / sizes).astype(np.float32)


def stretch(values: np.ndarray, steps: int) -> np.ndarray:
    """Interpolate a series, (time, channels), to so many steps."""
    places = np.linspace(0, len(values) - 1, steps)
    return np.stack([np.interp(places, np.arange(len(values)), channel) for channel in values.T], axis=1)
