"""Recurrences without a recurrent matrix: the gates see the input alone."""

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from rnnkit.kernels import State
from rnnkit.layers.diagonal import DiagonalLayer


class MinGRU(DiagonalLayer):
    """GRU whose gates do not see the state (Feng et al. 2024, "Were RNNs all we needed?").

    z = sigmoid(W x + b), n = V x + d;  h = (1 - z) h + z n. Summed in the linear domain: in logarithms float32 loses
    three digits over 16,000 steps.

    Example:
        >>> outputs, (h,) = MinGRU(3, 5)(torch.zeros(2, 7, 3), lengths=torch.tensor([7, 4]))
        >>> outputs.shape, h.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    def define(self) -> None:
        """Make the weights of gate and candidate."""
        self.linear = nn.Linear(self.input_size, 2 * self.hidden_size)

    def reset_parameters(self) -> None:
        """Draw the weights as torch's Linear does."""
        self.linear.reset_parameters()

    def coefficients(self, inputs: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Compute 1 - z and z n."""
        gate, candidate = self.linear(inputs).chunk(2, dim=-1)  # (batch, time, hidden_size)
        z = torch.sigmoid(gate)
        return 1 - z, z * candidate, ()


class MinLSTM(DiagonalLayer):
    """LSTM whose gates do not see the state and share out one whole (Feng et al. 2024).

    f, i = sigmoid(W x + b), n = V x + d;  h = (f h + i n) / (f + i)

    Example:
        >>> outputs, (h,) = MinLSTM(3, 5)(torch.zeros(2, 7, 3), lengths=torch.tensor([7, 4]))
        >>> outputs.shape, h.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    def define(self) -> None:
        """Make the weights of gates and candidate."""
        self.linear = nn.Linear(self.input_size, 3 * self.hidden_size)

    def reset_parameters(self) -> None:
        """Draw the weights as torch's Linear does."""
        self.linear.reset_parameters()

    def coefficients(self, inputs: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Compute f / (f + i) and i / (f + i) n."""
        forget, write, candidate = self.linear(inputs).chunk(3, dim=-1)  # (batch, time, hidden_size)
        share = torch.sigmoid(logsigmoid(forget) - logsigmoid(write))  # f / (f + i), also where both are almost 0
        return share, (1 - share) * candidate, ()
