"""A causal convolution over time: the 1-D CNN under the layer contract, as front end and as rival."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, gelu

from rnnkit.kernels import State
from rnnkit.layers.base import Layer


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
        reach = self.kernel_size - 1
        joined = torch.cat([state[0].view(batch, reach, self.input_size), inputs], dim=1)  # (batch, reach + time, size)
        if not time:
            return inputs.new_zeros(batch, 0, self.hidden_size), state
        sums = conv1d(joined.transpose(1, 2), self.weight, self.bias_of_filters)  # (batch, hidden_size, time)
        ends = torch.full((batch,), time, device=inputs.device) if lengths is None else lengths
        places = ends[:, None] + torch.arange(reach, device=inputs.device)  # (batch, reach) of `joined`
        window = joined.gather(1, places[..., None].expand(-1, -1, self.input_size))
        return gelu(sums).transpose(1, 2), (window.flatten(1),)
