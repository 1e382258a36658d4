"""RNN, LSTM and GRU, with torch.nn's parameter names, shapes and gate order."""

import torch
from torch import Tensor

from rnnkit.kernels import State
from rnnkit.layers.gated import GatedLayer


class RNN(GatedLayer):
    """The plain recurrent layer (Elman 1990).

    h = tanh(W x + b + R h + d)

    Example:
        >>> outputs, (h,) = RNN(3, 5)(torch.zeros(2, 7, 3))
        >>> outputs.shape, h.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    num_gates = 1
    state_names = ("h",)
    formula = "rnn-tanh"

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        h = torch.tanh(input_gates + hidden_gates)
        return h, (h,)


class ReluRNN(GatedLayer):
    """The plain recurrent layer with rectified units; start it near the identity or clip hard (Le et al. 2015).

    h = max(0, W x + b + R h + d)

    Example:
        >>> outputs, (h,) = ReluRNN(3, 5)(torch.zeros(2, 7, 3))
        >>> outputs.shape, h.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    num_gates = 1
    state_names = ("h",)
    formula = "rnn-relu"

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        h = torch.relu(input_gates + hidden_gates)
        return h, (h,)


class LSTM(GatedLayer):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) with a forget gate (Gers et al. 2000).

    i, f, o = sigmoid(...), g = tanh(...) of W x + b + R h + d;  c = f c + i g;  h = o tanh(c)

    Example:
        >>> outputs, (h, c) = LSTM(3, 5)(torch.zeros(2, 7, 3), lengths=torch.tensor([7, 4]))
        >>> outputs.shape, h.shape, c.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 5]), torch.Size([2, 5]))
    """

    num_gates = 4
    state_names = ("h", "c")
    formula = "lstm"
    forget_gate = 1
    projects = True

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        i, f, g, o = (input_gates + hidden_gates).chunk(4, dim=-1)
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h, (h, c)


class GRU(GatedLayer):
    """Gated recurrent unit (Cho et al. 2014), the reset gate after the product, as in torch and cuDNN.

    r, z = sigmoid(W x + b + R h + d);  n = tanh(W x + b + r (R h + d));  h = (1 - z) n + z h

    Example:
        >>> outputs, (h,) = GRU(3, 5, learn_initial_state=True)(torch.zeros(2, 7, 3))
        >>> outputs.shape, h.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    num_gates = 3
    state_names = ("h",)
    formula = "gru"

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        input_r, input_z, input_n = input_gates.chunk(3, dim=-1)
        hidden_r, hidden_z, hidden_n = hidden_gates.chunk(3, dim=-1)
        r = torch.sigmoid(input_r + hidden_r)
        z = torch.sigmoid(input_z + hidden_z)
        n = torch.tanh(input_n + r * hidden_n)
        h = (1 - z) * n + z * state[0]
        return h, (h,)
