"""Features of a series step by step, a causal convolution, the stack, pooling, scores."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from rnnkit.kernels import State
from rnnkit.layers import CausalConvolution
from rnnkit.sequences import zero_padding
from rnnkit.tasks.classification import ClassifierNetwork
from rnnkit.tasks.series_classification.config import SeriesClassificationConfig

VIEWS = 3  # of each channel: its value, how far it is from the first, its change
LEAST_DEVIATION = 1e-6  # of a channel that never changes


class SeriesFront(nn.Module):
    """Normalised views of every channel (value, distance from the first value, change), and a convolution over them.

    Means and deviations are those of the training data and are kept with the weights.

    Args:
        channels: Of the series.
        config: How many filters.
    """

    means: Tensor
    deviations: Tensor

    def __init__(self, channels: int, config: SeriesClassificationConfig) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("means", torch.zeros(VIEWS * channels))
        self.register_buffer("deviations", torch.ones(VIEWS * channels))
        size = VIEWS * channels
        self.convolution = CausalConvolution(size, config.filters) if config.filters else None
        self.output_size = config.filters or size

    @property
    def state_names(self) -> tuple[str, ...]:
        """Name the state: whether there was a step, the first and the last one, the window of the convolution."""
        return ("begun", "first", "last", *(() if self.convolution is None else self.convolution.state_names))

    def initial_state(self, batch: int) -> State:
        """Return the state before a series."""
        like = self.means
        steps = (like.new_zeros(batch, 1), like.new_zeros(batch, self.channels), like.new_zeros(batch, self.channels))
        return steps if self.convolution is None else (*steps, *self.convolution.initial_state(batch))

    def forward(
        self, inputs: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Turn steps into features.

        Args:
            inputs: (batch, time, channels) without NaN.
            state: As returned by the previous call or `initial_state`.
            lengths: (batch,); None means that all steps are valid.

        Returns:
            (batch, time, output_size), and the state after the last step (of no use where lengths differ).
        """
        begun, first, last, *window = self.initial_state(len(inputs)) if state is None else state
        if not inputs.shape[1]:
            return inputs.new_zeros(len(inputs), 0, self.output_size), (begun, first, last, *window)
        first = torch.where(begun > 0, first, inputs[:, 0])
        before = torch.cat([torch.where(begun > 0, last, inputs[:, 0])[:, None], inputs[:, :-1]], dim=1)
        views = torch.cat([inputs, inputs - first[:, None], inputs - before], dim=2)  # (batch, time, views * channels)
        features = zero_padding((views - self.means) / self.deviations, lengths)
        after = (torch.ones_like(begun), first, inputs[:, -1])
        if self.convolution is None:
            return features, after
        outputs, window = self.convolution(features, tuple(window), lengths)
        return outputs, (*after, *window)

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


def make_network(channels: int, num_labels: int, config: SeriesClassificationConfig) -> ClassifierNetwork:
    """Draw the network of a classifier of series."""
    front = SeriesFront(channels, config)
    stack = config.make_stack(front.output_size, bidirectional=config.bidirectional)
    return ClassifierNetwork(front, stack, pooling=config.pooling, dropout=config.dropout, num_labels=num_labels)
