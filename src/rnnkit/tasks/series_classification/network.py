"""Features of a series step by step, a causal convolution, the stack, pooling, scores."""

from __future__ import annotations

from torch import Tensor, nn

from rnnkit.kernels import State
from rnnkit.layers import CausalConvolution
from rnnkit.tasks.classification import ClassifierNetwork, DirectScores
from rnnkit.tasks.series_classification.config import SeriesClassificationConfig
from rnnkit.tasks.series_classification.views import SeriesViews


class SeriesFront(nn.Module):
    """Views of every channel, and a convolution over them.

    Args:
        channels: Of the series.
        config: How many filters.
    """

    def __init__(self, channels: int, config: SeriesClassificationConfig) -> None:
        super().__init__()
        self.views = SeriesViews(channels)
        size = self.views.output_size
        self.convolution = CausalConvolution(size, config.filters) if config.filters else None
        self.output_size = config.filters or size

    @property
    def state_names(self) -> tuple[str, ...]:
        """Name the state: that of the views, the window of the convolution."""
        return (*self.views.state_names, *(() if self.convolution is None else self.convolution.state_names))

    def initial_state(self, batch: int) -> State:
        """Return the state before a series."""
        window = () if self.convolution is None else self.convolution.initial_state(batch)
        return (*self.views.initial_state(batch), *window)

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
        state = self.initial_state(inputs.shape[0]) if state is None else state
        first = len(self.views.state_names)
        features, after = self.views(inputs, state[:first], lengths)
        if self.convolution is None:
            return features, after
        outputs, window = self.convolution(features, state[first:], lengths)
        return outputs, (*after, *window)


def make_network(
    channels: int, num_labels: int, config: SeriesClassificationConfig, direct: DirectScores | None = None
) -> ClassifierNetwork:
    """Draw the network of a classifier of series; `direct` scores beside it."""
    front = SeriesFront(channels, config)
    stack = config.make_stack(front.output_size, bidirectional=config.bidirectional)
    return ClassifierNetwork(
        front, stack, pooling=config.pooling, dropout=config.dropout, num_labels=num_labels, direct=direct
    )
