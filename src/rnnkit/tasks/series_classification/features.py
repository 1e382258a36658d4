"""What a network sees of series: gaps filled, averaged or stretched, varied in training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from rnnkit.data.audio import log_mel
from rnnkit.data.series_files import points
from rnnkit.errors import DataError
from rnnkit.sequences import valid_mask
from rnnkit.tasks.classification import LabelledSequences
from rnnkit.tasks.series_classification.config import SeriesClassificationConfig

SPEEDS = 4  # drawn along a series, and a line between them


class SeriesData(LabelledSequences):
    """Steps of series."""

    names: ClassVar[tuple[str, str]] = ("series", "steps")

    def arrays(self) -> list[np.ndarray]:
        """Return the series, (time, channels) each."""
        return [np.asarray(self.steps[index]) for index in range(len(self))]


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


def step_weights(lengths: Tensor, time: int, *, share: float) -> Tensor:
    """Weigh the loss of every step: `share` over all, the later the more, the rest on the last.

    Args:
        lengths: (batch,).
        time: Padded number of steps.
        share: In [0, 1).

    Returns:
        (batch, time), which sum to 1 in every row that has a step.
    """
    places = torch.arange(1, time + 1, device=lengths.device)
    rising = places * (places <= lengths[:, None])
    last = places == lengths[:, None]
    return share * rising / rising.sum(1, keepdim=True).clamp_min(1) + (1 - share) * last


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
    if config.resample is not None:
        filled = stretch(filled, config.resample)
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


def vary(
    inputs: Tensor, lengths: Tensor, deviations: Tensor, config: SeriesClassificationConfig
) -> tuple[Tensor, Tensor]:
    """Vary series as a person would vary a gesture: begin and end, speed, turn, size, noise.

    Args:
        inputs: (batch, time, channels).
        lengths: (batch,).
        deviations: (channels,) of the training data.
        config: How much.

    Returns:
        (batch, other time, channels), zero past each end, and (batch,) lengths.
    """
    inputs, lengths = _warp(inputs, lengths, config)
    batch, _, channels = inputs.shape
    first = inputs[:, :1]
    if config.augment_rotation and channels > 1:
        inputs = first + _turn(inputs - first, config.augment_rotation)
    if config.augment_scale:
        inputs = inputs * torch.exp(config.augment_scale * torch.randn(batch, 1, channels, device=inputs.device))
    if config.augment_shift:
        inputs = inputs + config.augment_shift * deviations * torch.randn(batch, 1, channels, device=inputs.device)
    if config.augment_noise:
        inputs = inputs + config.augment_noise * deviations * torch.randn_like(inputs)
    mask = valid_mask(lengths, inputs.shape[1])[..., None]
    return torch.where(mask, inputs, inputs.new_zeros(())), lengths


def _warp(inputs: Tensor, lengths: Tensor, config: SeriesClassificationConfig) -> tuple[Tensor, Tensor]:
    """Crop and change the speed: read each series along a way of its own through time."""
    if not config.augment_time and not config.augment_crop:
        return inputs, lengths
    batch, device = len(inputs), inputs.device
    ends = (lengths - 1).clamp_min(0).float()
    begin = ends * config.augment_crop * torch.rand(batch, device=device)
    end = ends * (1 - config.augment_crop * torch.rand(batch, device=device))
    longer = torch.exp(config.augment_time * torch.randn(batch, device=device))
    counts = torch.where(lengths > 0, ((end - begin) * longer).round().long() + 1, 0)  # (batch,)
    time = max(1, int(counts.max())) if batch else 1
    shares = (
        torch.arange(time, device=device) / (counts - 1).clamp_min(1)[:, None]
    )  # (batch, time), above 1 past the end
    speeds = torch.exp(config.augment_time * torch.randn(batch, SPEEDS, device=device))
    ways = _integrate(speeds, shares.clamp(max=1))
    places = begin[:, None] + (end - begin)[:, None] * ways
    low = places.floor().long()
    high = torch.minimum(low + 1, ends.long()[:, None])
    part = (places - low)[..., None]
    return (1 - part) * _pick(inputs, low) + part * _pick(inputs, high), counts


def _integrate(speeds: Tensor, shares: Tensor) -> Tensor:
    """Return how far each way has come: (batch, knots) speeds in equal parts of time -> (batch, time) in [0, 1]."""
    parts = speeds.shape[1]
    ends = torch.cat([speeds.new_zeros(len(speeds), 1), speeds.cumsum(1)], dim=1)  # (batch, knots + 1)
    part = (shares * parts).long().clamp(max=parts - 1)
    way = ends.gather(1, part) + (shares * parts - part) * speeds.gather(1, part)
    return way / ends[:, -1:]


def _pick(inputs: Tensor, places: Tensor) -> Tensor:
    return inputs.gather(1, places[..., None].expand(-1, -1, inputs.shape[2]))


def _turn(inputs: Tensor, degrees: float) -> Tensor:
    angles = math.radians(degrees) * (2 * torch.rand(len(inputs), 1, device=inputs.device) - 1)
    x, y = inputs[..., 0], inputs[..., 1]
    turned = (x * angles.cos() - y * angles.sin(), x * angles.sin() + y * angles.cos())
    return torch.cat([torch.stack(turned, dim=-1), inputs[..., 2:]], dim=-1)
