"""A network of series with packed weights: a batch of live rows is one call of C++."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from rnnkit.errors import ShapeError
from rnnkit.kernels import State
from rnnkit.kernels.core import core
from rnnkit.layers.pooling import SCORE_LIMIT
from rnnkit.session import MOST_ROWS, Packing, Session, address, as_float, is_native
from rnnkit.streaming import SideBySide
from rnnkit.tasks.classification import ClassifierNetwork
from rnnkit.tasks.series_classification.network import SeriesFront
from rnnkit.tasks.series_classification.random_convolutions import RandomConvolutions
from rnnkit.tasks.series_classification.views import SeriesViews


class PackedRunning:
    """Scores every beginning of series as `ClassifierNetwork.running` does, which it replaces.

    That one runs where a gradient is wanted, or the network is no longer one of float32 on the CPU.

    Args:
        network: Of a classifier of series, with a stack that a Session can run in C++.
        dtype: Of the stack's weights, as in `Session`; the others are float32.
    """

    def __init__(self, network: ClassifierNetwork, *, dtype: str) -> None:
        front = network.front
        assert isinstance(front, SeriesFront)
        self._plainly, self._weight = network.running, network.output.weight
        self._channels, self._num_labels = front.views.channels, network.output.out_features
        self._sizes = [part.shape[1] for part in network.initial_state(1)]
        _pack(network, dtype, 1, self._sizes)  # now, so that what is wrong with it is said here
        self._packing = Packing(network, lambda rows: _pack(network, dtype, rows, self._sizes))

    def __call__(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        if torch.is_grad_enabled() or not is_native(self._weight):
            return self._plainly(inputs, tuple(state))
        values = inputs.float().contiguous()
        after = state.flat.clone() if isinstance(state, SideBySide) else torch.cat(state, dim=1)
        count, steps, channels = values.shape
        if channels != self._channels or after.shape != (count, sum(self._sizes)):
            raise ShapeError(
                f"the network got inputs {tuple(values.shape)} and a state {tuple(after.shape)}; expected "
                f"(batch, time, {self._channels}) and (batch, {sum(self._sizes)})"
            )
        scores = values.new_empty(count, steps, self._num_labels)
        native = self._packing.of(rows=min(count, MOST_ROWS))
        for first in range(0, count, MOST_ROWS):
            rows = slice(first, first + MOST_ROWS)
            buffers = (address(values[rows]), address(after[rows]), address(scores[rows]))
            native.run(*buffers, len(values[rows]), steps)
        return scores, SideBySide(after, self._sizes)  # type: ignore[return-value]


def _pack(network: ClassifierNetwork, dtype: str, rows: int, sizes: list[int]) -> Any:
    """Make C++'s network, which copies the weights; a row's state is that of the network, its parts of some sizes."""
    front: Any = network.front
    pooling, direct, of = network.pooling, network.direct, _Addresses()
    native = core.PackedSeries(Session(network.stack, dtype=dtype, rows=rows).native)
    native.see(*_views(front.views, of))
    if front.convolution is not None:
        weight = front.convolution.weight.transpose(1, 2)  # (filters, steps, views)
        native.convolve(len(weight), weight[0].numel(), of(weight), of(front.convolution.bias_of_filters))
    score: Any = pooling.score
    attention = () if score is None else (score[0].weight, score[0].bias, score[2].weight)
    native.pool(getattr(core.Pooling, pooling.kind), SCORE_LIMIT, *map(of, attention or [None] * 3))
    native.score(network.output.out_features, of(network.output.weight), of(network.output.bias))
    if direct is not None:
        assert isinstance(direct, RandomConvolutions)
        kernels, thresholds = direct.kernels.shape[1], direct.thresholds.shape[1]
        offsets, look = direct.offsets.tolist(), (kernels, of(direct.kernels.T))
        high = (thresholds, of(direct.thresholds), of(direct.widths))
        native.convolve_randomly(*_views(direct.views, of), offsets, *look, *high)
        native.regress(of(direct.weights.T), of(direct.bias), float(direct.gain), float(direct.short))
    begins = list(accumulate(sizes, initial=0))
    parts = accumulate(map(len, (front.state_names, network.stack.state_names, pooling.state_names)))
    native.lay_out(*(begins[place] for place in parts), begins[-1])
    return native


def _views(views: SeriesViews, of: _Addresses) -> tuple[int, int, int]:
    return views.channels, of(views.means), of(views.deviations)


class _Addresses:
    """Says where weights stand, which live as long as it does."""

    def __init__(self) -> None:
        self._kept: list[Tensor | None] = []

    def __call__(self, weight: Tensor | None) -> int:
        self._kept.append(as_float(weight))
        return address(self._kept[-1])
