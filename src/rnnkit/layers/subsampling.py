"""Fewer steps for the recurrent layers: causal convolutions that keep one step in so many."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, gelu

from rnnkit.errors import ConfigError
from rnnkit.kernels import State
from rnnkit.sequences import zero_padding

STRIDES = {1: (1,), 2: (2,), 3: (3,), 4: (2, 2), 6: (3, 2), 8: (2, 2, 2)}


class Subsampling(nn.Module):
    """Convolve over time and keep one step in `factor`; the last step of a sequence may have fewer steps behind it.

    Each convolution has a stride s and 2 s + 1 inputs (5 at least): y_t = gelu(b + sum_k W_k x_k) over the inputs up to
    s (t + 1) - 1, zeros before the first one and after the last. What stands past a row's length is zero in every
    convolution, so that a padded row ends as it would alone. A sequence in chunks gives the steps of the whole: inputs
    that make no whole step wait in the state, until `finish` puts zeros behind them.

    Args:
        input_size: Features of a step.
        output_size: Filters of each convolution.
        factor: Of STRIDES.

    Raises:
        ConfigError: If `factor` is another.

    Example:
        >>> import torch
        >>> layer = Subsampling(3, 8, factor=4)
        >>> outputs, lengths = layer(torch.zeros(2, 10, 3), torch.tensor([10, 4]))
        >>> outputs.shape, lengths.tolist()
        (torch.Size([2, 3, 8]), [3, 1])
        >>> steps, state = layer.advance(torch.zeros(1, 6, 3), layer.initial_state(1))
        >>> steps.shape, layer.finish(state).shape
        (torch.Size([1, 1, 8]), torch.Size([1, 1, 8]))
    """

    def __init__(self, input_size: int, output_size: int, *, factor: int) -> None:
        super().__init__()
        if factor not in STRIDES:
            raise ConfigError(f"Subsampling got factor={factor}; expected one of {', '.join(map(str, STRIDES))}")
        self.factor, self.output_size = factor, output_size
        sizes = (input_size, *(output_size for _ in STRIDES[factor]))
        self.stages = nn.ModuleList(
            _Stage(size, output_size, stride) for size, stride in zip(sizes, STRIDES[factor], strict=False)
        )

    @property
    def state_names(self) -> tuple[str, ...]:
        """Name the state: of each convolution the inputs it still needs, and how many of them wait for others."""
        return tuple(f"{place}.{part}" for place in range(len(self.stages)) for part in ("window", "waiting"))

    def initial_state(self, batch: int) -> State:
        """Return the state before the first input: zeros."""
        return tuple(part for stage in self._stages() for part in stage.initial_state(batch))

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Convolve whole sequences.

        Args:
            inputs: (batch, time, input_size).
            lengths: (batch,); None means that all steps are valid.

        Returns:
            (batch, ceil(time / factor), output_size), zero past each length, and the lengths, ceil(length / factor).
        """
        if lengths is None:
            lengths = torch.full((len(inputs),), inputs.shape[1], device=inputs.device)
        values = zero_padding(inputs, lengths)
        for stage in self._stages():
            values = stage.convolve(stage.padded(values))
            lengths = -(-lengths // stage.stride)
            values = zero_padding(values, lengths)
        return values, lengths

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Convolve a chunk of sequences of which all have had as many inputs.

        Args:
            inputs: (batch, time, input_size).
            state: As returned by the previous call or `initial_state`.

        Returns:
            (batch, steps, output_size) of the steps that are whole now, and the state.
        """
        values, after = inputs, []
        for place, stage in enumerate(self._stages()):
            values, window, waiting = stage.advance(values, *state[2 * place : 2 * place + 2])
            after += [window, waiting]
        return values, tuple(after)

    def waiting(self, state: State) -> tuple[int, ...]:
        """Return how many inputs of each convolution wait; sequences alike in this can advance together."""
        return tuple(int(waiting[0]) for waiting in state[1 : 2 * len(self.stages) : 2])

    def whole_steps(self, inputs: Tensor, windows: State) -> tuple[Tensor, State]:
        """Convolve inputs that make whole steps, of sequences of which no input waits: a graph for any number of them.

        Args:
            inputs: (batch, factor * steps, input_size).
            windows: The state without what waits.

        Returns:
            (batch, steps, output_size), and the windows after them.
        """
        values, after = inputs, []
        for stage, window in zip(self._stages(), windows, strict=True):
            values, kept = stage.whole(values, window)
            after.append(kept)
        return values, tuple(after)

    def finish(self, state: State) -> Tensor:
        """End the sequences: return the step of the inputs that wait, (batch, 0 or 1, output_size)."""
        values = state[0].new_zeros(len(state[0]), 0, self._stages()[0].input_size)
        for place, stage in enumerate(self._stages()):
            window, waiting = state[2 * place : 2 * place + 2]
            missing = -(int(waiting[0]) + values.shape[1]) % stage.stride if len(waiting) else 0
            values = torch.cat([values, values.new_zeros(len(values), missing, stage.input_size)], dim=1)
            values, _, _ = stage.advance(values, window, waiting)
        return values

    def _stages(self) -> list[_Stage]:
        return list(self.stages)  # type: ignore[arg-type]


class _Stage(nn.Module):
    """One convolution with a stride."""

    def __init__(self, input_size: int, output_size: int, stride: int) -> None:
        super().__init__()
        self.input_size, self.stride, self.kernel_size = input_size, stride, max(5, 2 * stride + 1)
        self.weight = nn.Parameter(torch.empty(output_size, input_size, self.kernel_size))
        self.bias = nn.Parameter(torch.zeros(output_size))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    @property
    def reach(self) -> int:
        """Inputs before those of a step that it reads too."""
        return self.kernel_size - self.stride

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        most = self.kernel_size - 1  # what is read again, and what waits
        return self.weight.new_zeros(batch, most * self.input_size), torch.zeros(
            batch, 1, dtype=torch.int64, device=self.weight.device
        )

    def padded(self, values: Tensor) -> Tensor:
        """Put zeros before the first input, and behind the last ones to a whole step."""
        missing = -values.shape[1] % self.stride
        return nn.functional.pad(values, (0, 0, self.reach, missing))

    def convolve(self, joined: Tensor) -> Tensor:
        """Convolve (batch, reach + stride * steps, input_size) to (batch, steps, output_size)."""
        if joined.shape[1] < self.kernel_size:
            return joined.new_zeros(len(joined), 0, len(self.weight))
        sums = conv1d(joined.transpose(1, 2), self.weight, self.bias, stride=self.stride)
        return gelu(sums).transpose(1, 2)

    def whole(self, inputs: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
        most = self.kernel_size - 1
        kept = torch.unflatten(window, 1, (most, self.input_size))[:, most - self.reach :]
        joined = torch.cat([kept, inputs], dim=1)  # (batch, reach + stride * steps, input_size)
        window = nn.functional.pad(joined[:, inputs.shape[1] :], (0, 0, most - self.reach, 0))
        return self.convolve(joined), window.flatten(1)

    def advance(self, inputs: Tensor, window: Tensor, waiting: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        most = self.kernel_size - 1
        count = int(waiting[0]) if len(waiting) else 0
        kept = window.view(len(window), most, self.input_size)[:, most - self.reach - count :]
        joined = torch.cat([kept, inputs], dim=1)  # (batch, reach + waiting + time, input_size)
        steps = (count + inputs.shape[1]) // self.stride
        left = count + inputs.shape[1] - steps * self.stride
        outputs = self.convolve(joined[:, : self.reach + steps * self.stride])
        tail = joined[:, steps * self.stride :]  # (batch, reach + left, input_size)
        window = nn.functional.pad(tail, (0, 0, most - tail.shape[1], 0))
        return outputs, window.flatten(1), torch.full_like(waiting, left)
