"""What is seen of every channel, in units of the training data's deviation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from rnnkit.kernels import State
from rnnkit.sequences import zero_padding

VIEWS = 3  # of each channel: its value, how far it is from the first, its change
LEAST_DEVIATION = 1e-6  # of a channel that never changes


class SeriesViews(nn.Module):
    """Normalised views of every channel: value, distance from the first value, change.

    Means and deviations are those of the training data and are kept with the weights.

    Args:
        channels: Of the series.
    """

    means: Tensor
    deviations: Tensor
    state_names = ("begun", "first", "last")

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels, self.output_size = channels, VIEWS * channels
        self.register_buffer("means", torch.zeros(self.output_size))
        self.register_buffer("deviations", torch.ones(self.output_size))

    def initial_state(self, batch: int) -> State:
        """Return the state before a series: whether there was a step (batch, 1), the first and the last one."""
        like = self.means
        return like.new_zeros(batch, 1), like.new_zeros(batch, self.channels), like.new_zeros(batch, self.channels)

    def forward(
        self, inputs: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Turn steps into views.

        Args:
            inputs: (batch, time, channels) without NaN.
            state: As returned by the previous call or `initial_state`.
            lengths: (batch,); None means that all steps are valid.

        Returns:
            (batch, time, output_size), and the state after the last step (of no use where lengths differ).
        """
        begun, first, last = self.initial_state(inputs.shape[0]) if state is None else state
        if not inputs.shape[1]:
            return inputs.new_zeros(inputs.shape[0], 0, self.output_size), (begun, first, last)
        first = torch.where(begun > 0, first, inputs[:, 0])
        before = torch.cat([torch.where(begun > 0, last, inputs[:, 0])[:, None], inputs[:, :-1]], dim=1)
        views = torch.cat([inputs, inputs - first[:, None], inputs - before], dim=2)  # (batch, time, views * channels)
        views = zero_padding((views - self.means) / self.deviations, lengths)
        return views, (torch.ones_like(begun), first, inputs[:, -1].clone())

    def fit(self, series: list[np.ndarray]) -> None:
        """Take means and deviations of every view over training series, (time, channels) each."""
        views = [
            np.concatenate([one, one - one[:1], np.diff(one, axis=0, prepend=one[:1])], axis=1).astype(np.float64)
            for one in series
        ]
        count = sum(map(len, views))
        means = sum(view.sum(0) for view in views) / count
        variances = sum(((view - means) ** 2).sum(0) for view in views) / count
        deviations = np.maximum(np.sqrt(variances), LEAST_DEVIATION * np.maximum(np.abs(means), 1))
        with torch.no_grad():
            self.means.copy_(torch.from_numpy(means))
            self.deviations.copy_(torch.from_numpy(deviations))
