"""A causal convolution over time: the 1-D CNN under the layer contract, as front end and as rival."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, gelu

from rnnkit.kernels import State
from rnnkit.layers.base import Layer
from rnnkit.sequences import slide_window


class CausalConvolution(Layer):
    """Convolve the last `kernel_size` inputs: y_t = gelu(b + sum_k W_k x_{t - kernel_size + 1 + k}).

    The state is the window of inputs before the next step, zeros at first, so that it streams (Waibel et al. 1989;
    van den Oord et al. 2016). A user's class with another `kernel_size` is a layer of its own.

    Args:
        input_size: Features of a step.
        hidden_size: Filters.

    Example:
        >>> import torch
        >>> layer = CausalConvolution(3, 8)
        >>> outputs, (window,) = layer(torch.zeros(2, 10, 3))
        >>> outputs.shape, window.shape
        (torch.Size([2, 10, 8]), torch.Size([2, 12]))
    """

    family = "convolution"
    state_names = ("window",)
    kernel_size: ClassVar[int] = 5

    def state_sizes(self) -> tuple[int, ...]:
        """Return the size of the window, flat."""
        return ((self.kernel_size - 1) * self.input_size,)

    def define(self) -> None:
        """Make the filters, (hidden_size, input_size, kernel_size), and their biases."""
        self.weight = nn.Parameter(torch.empty(self.hidden_size, self.input_size, self.kernel_size))
        self.bias_of_filters = nn.Parameter(torch.zeros(self.hidden_size))

    def reset_parameters(self) -> None:
        """Draw the filters (He et al. 2015)."""
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        nn.init.zeros_(self.bias_of_filters)

    def scan(self, inputs: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Convolve the window and the inputs behind it; the new window ends at each row's last valid step."""
        batch, time = inputs.shape[:2]
        if not time:
            return inputs.new_zeros(batch, 0, self.hidden_size), state
        before = torch.unflatten(state[0], 1, (self.kernel_size - 1, self.input_size))
        joined, window = slide_window(before, inputs, lengths)
        sums = conv1d(joined.transpose(1, 2), self.weight, self.bias_of_filters)  # (batch, hidden_size, time)
        return gelu(sums).transpose(1, 2), (window.flatten(1),)


class ConvolutionNetwork(Layer):
    """Residual causal convolutions, each looking twice as far back (van den Oord et al. 2016; Bai et al. 2018).

    x = W x at first;  x = x + gelu(b + sum_k W_k N(x)_{t - k d}) for d = 1, 2, 4, 8 and k = 0, 1, 2, N a layer norm.
    So an output sees 30 steps back, and two such layers 60. The state holds what each convolution saw last.

    Example:
        >>> outputs, windows = ConvolutionNetwork(3, 5)(torch.zeros(2, 7, 3))
        >>> outputs.shape, [window.shape[1] // 5 for window in windows]
        (torch.Size([2, 7, 5]), [2, 4, 8, 16])
    """

    family = "convolution"
    dilations: ClassVar[tuple[int, ...]] = (1, 2, 4, 8)
    kernel_size: ClassVar[int] = 3
    state_names = tuple(f"window{dilation}" for dilation in dilations)

    def state_sizes(self) -> tuple[int, ...]:
        """Return the sizes of the windows, flat."""
        return tuple((self.kernel_size - 1) * dilation * self.hidden_size for dilation in self.dilations)

    def define(self) -> None:
        """Make the projection, and a norm and filters of each dilation."""
        self.enter = nn.Linear(self.input_size, self.hidden_size)
        self.norms = nn.ModuleList(nn.LayerNorm(self.hidden_size) for _ in self.dilations)
        self.filters = nn.ModuleList(
            nn.Conv1d(self.hidden_size, self.hidden_size, self.kernel_size, dilation=dilation)
            for dilation in self.dilations
        )

    def reset_parameters(self) -> None:
        """Draw the weights as torch does."""
        for part in (self.enter, *self.norms, *self.filters):
            part.reset_parameters()  # type: ignore[operator]

    def scan(self, inputs: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Convolve windows and what follows them, once for each dilation."""
        values, after = self.enter(inputs), []
        for norm, convolve, before in zip(self.norms, self.filters, state, strict=True):
            window = torch.unflatten(before, 1, (-1, self.hidden_size))
            joined, window = slide_window(window.to(values.dtype), norm(values), lengths)
            if inputs.shape[1]:
                values = values + gelu(convolve(joined.transpose(1, 2))).transpose(1, 2)
            after.append(window.flatten(1).to(before.dtype))
        return values, tuple(after)
