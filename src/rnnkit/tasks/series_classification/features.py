"""Series as training data: varied, and the loss of each of their steps weighed."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

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
