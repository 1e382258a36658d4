"""Well-known variants of LSTM and GRU."""

import torch
from torch import Tensor, nn

from rnnkit.kernels import State
from rnnkit.layers.gated import GatedLayer


class PeepholeLSTM(GatedLayer):
    """LSTM whose gates see the cell (Gers and Schmidhuber 2000; Gers et al. 2002).

    i, f = sigmoid(... + p c), g = tanh(...) of W x + b + R h + d;  c' = f c + i g;  o = sigmoid(... + p c');
    h = o tanh(c')

    Example:
        >>> outputs, (h, c) = PeepholeLSTM(3, 5)(torch.zeros(2, 7, 3))
        >>> outputs.shape, c.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    num_gates = 4
    state_names = ("h", "c")
    forget_gate = 1
    projects = True

    def define(self) -> None:
        """Add a weight a unit for each gate, zero at first."""
        super().define()
        self.peephole_i, self.peephole_f, self.peephole_o = (
            nn.Parameter(torch.zeros(self.hidden_size)) for _ in range(3)
        )

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        i, f, g, o = (input_gates + hidden_gates).chunk(4, dim=-1)
        i = torch.sigmoid(i + self.peephole_i * state[1])
        f = torch.sigmoid(f + self.peephole_f * state[1])
        c = f * state[1] + i * torch.tanh(g)
        h = torch.sigmoid(o + self.peephole_o * c) * torch.tanh(c)
        return h, (h, c)


class CoupledLSTM(GatedLayer):
    """LSTM that writes as much as it forgets: i = 1 - f (Greff et al. 2017, "CIFG").

    f, o = sigmoid(...), g = tanh(...) of W x + b + R h + d;  c = f c + (1 - f) g;  h = o tanh(c)

    Example:
        >>> outputs, (h, c) = CoupledLSTM(3, 5)(torch.zeros(2, 7, 3))
        >>> outputs.shape
        torch.Size([2, 7, 5])
    """

    num_gates = 3
    state_names = ("h", "c")
    forget_gate = 0
    projects = True

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        f, g, o = (input_gates + hidden_gates).chunk(3, dim=-1)
        f = torch.sigmoid(f)
        c = f * state[1] + (1 - f) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)


class ResetBeforeGRU(GatedLayer):
    """GRU with the reset gate before the product, as it was first (Cho et al. 2014) and is in ONNX and old Keras.

    r, z = sigmoid(W x + b + R h + d);  n = tanh(W x + b + R (r h) + d);  h = (1 - z) n + z h

    Example:
        >>> outputs, (h,) = ResetBeforeGRU(3, 5)(torch.zeros(2, 7, 3))
        >>> outputs.shape
        torch.Size([2, 7, 5])
    """

    num_gates = 3
    state_names = ("h",)
    formula = "gru-reset-before"

    def reset_gate(self, input_gates: Tensor, hidden_gates: Tensor) -> Tensor:
        """Give the reset gate."""
        return torch.sigmoid(input_gates.chunk(3, dim=-1)[0] + hidden_gates.chunk(3, dim=-1)[0])

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        _, z, n = (input_gates + hidden_gates).chunk(3, dim=-1)
        z = torch.sigmoid(z)
        h = (1 - z) * torch.tanh(n) + z * state[0]
        return h, (h,)


class LayerNormLSTM(GatedLayer):
    """LSTM with layer normalisation of both parts of the gates and of the cell's way out (Ba et al. 2016).

    i, f, o = sigmoid(...), g = tanh(...) of N(W x + b) + N(R h + d);  c = f c + i g;  h = o tanh(N(c))

    Example:
        >>> outputs, (h, c) = LayerNormLSTM(3, 5)(torch.zeros(2, 7, 3))
        >>> outputs.shape
        torch.Size([2, 7, 5])
    """

    num_gates = 4
    state_names = ("h", "c")
    forget_gate = 1
    projects = True

    def define(self) -> None:
        """Add the three norms."""
        super().define()
        gates = self.num_gates * self.hidden_size
        self.norm_input, self.norm_hidden = nn.LayerNorm(gates), nn.LayerNorm(gates)
        self.norm_cell = nn.LayerNorm(self.hidden_size)

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        i, f, g, o = (self.norm_input(input_gates) + self.norm_hidden(hidden_gates)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(self.norm_cell(c))
        return h, (h, c)

    def reset_parameters(self) -> None:
        """Draw the weights; the forget gate's bias is the norm's, for what is added before a norm does not last."""
        super().reset_parameters()
        move_forget_bias(self, self.norm_input)


class LayerNormGRU(GatedLayer):
    """GRU with layer normalisation of both parts of the gates (Ba et al. 2016), the reset gate after the product.

    r, z = sigmoid(...), n = tanh(a + r e) with a of N(W x + b) and e of N(R h + d);  h = (1 - z) n + z h

    Example:
        >>> outputs, (h,) = LayerNormGRU(3, 5)(torch.zeros(2, 7, 3))
        >>> outputs.shape
        torch.Size([2, 7, 5])
    """

    num_gates = 3
    state_names = ("h",)

    def define(self) -> None:
        """Add the two norms."""
        super().define()
        gates = self.num_gates * self.hidden_size
        self.norm_input, self.norm_hidden = nn.LayerNorm(gates), nn.LayerNorm(gates)

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        input_r, input_z, input_n = self.norm_input(input_gates).chunk(3, dim=-1)
        hidden_r, hidden_z, hidden_n = self.norm_hidden(hidden_gates).chunk(3, dim=-1)
        r, z = torch.sigmoid(input_r + hidden_r), torch.sigmoid(input_z + hidden_z)
        n = torch.tanh(input_n + r * hidden_n)
        h = (1 - z) * n + z * state[0]
        return h, (h,)


@torch.no_grad()
def move_forget_bias(layer: GatedLayer, norm: nn.LayerNorm) -> None:
    """Take the forget gate's bias from the weights to the norm that comes after them.

    Args:
        layer: With a forget gate.
        norm: Of its input's gates.
    """
    assert layer.forget_gate is not None
    norm.reset_parameters()
    if layer.bias and layer.initialization == "orthogonal":
        size = layer.hidden_size
        gate = slice(layer.forget_gate * size, (layer.forget_gate + 1) * size)
        norm.bias[gate] = layer.bias_ih_l0[gate]
        layer.bias_ih_l0[gate] = 0
