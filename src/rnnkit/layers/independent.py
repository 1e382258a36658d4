"""Recurrences whose units do not mix from step to step: IndRNN, SRU, QRNN, LRU."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import glu

from rnnkit.kernels import DiagonalScan, State, diagonal_scan
from rnnkit.layers.diagonal import DiagonalLayer
from rnnkit.layers.gated import GatedLayer
from rnnkit.sequences import slide_window, valid_mask


class IndRNN(GatedLayer):
    """Each unit sees its own past alone (Li et al. 2018, "Independently recurrent neural network").

    h = max(0, W x + b + u h + d), u a weight a unit, drawn from (0, 1) and cut to [-1, 1]: more would grow for ever.

    Example:
        >>> outputs, (h,) = IndRNN(3, 5)(torch.zeros(2, 7, 3))
        >>> outputs.shape, h.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    num_gates = 1
    state_names = ("h",)

    def define(self) -> None:
        """Make the recurrent matrix diagonal."""
        self.heads = self.hidden_size
        super().define()

    def reset_parameters(self) -> None:
        """Draw the weights; a unit's own keeps something of its past."""
        super().reset_parameters()
        nn.init.uniform_(self.weight_hh_l0, 0, 1)

    def recurrent_weight(self) -> Tensor:
        """Return u within its bounds."""
        return self.weight_hh_l0.clamp(-1, 1)

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        h = torch.relu(input_gates + hidden_gates)
        return h, (h,)


class SRU(GatedLayer):
    """Simple recurrent unit (Lei et al. 2018): gates see their own unit's cell, and a way leads round it.

    f, r = sigmoid(W x + b + v c + d), n = W_n x, s = W_s x;  c' = f c + (1 - f) n;  output r c' + (1 - r) s. Where the
    input is as wide as the layer, W_s begins as the identity, which it is in the paper.

    Example:
        >>> outputs, (c,) = SRU(3, 5)(torch.zeros(2, 7, 3))
        >>> outputs.shape, c.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    num_gates = 4
    num_hidden_gates = 2
    state_names = ("c",)
    forget_gate = 0

    def define(self) -> None:
        """Make the recurrent matrix diagonal."""
        self.heads = self.hidden_size
        super().define()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights."""
        super().reset_parameters()
        bound = 1 / math.sqrt(self.hidden_size)
        nn.init.uniform_(self.weight_hh_l0, -bound, bound)
        if self.input_size == self.hidden_size:
            nn.init.eye_(self.weight_ih_l0.chunk(4)[3])

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        f, r, n, s = input_gates.chunk(4, dim=-1)
        hidden_f, hidden_r = hidden_gates.chunk(2, dim=-1)
        f, r = torch.sigmoid(f + hidden_f), torch.sigmoid(r + hidden_r)
        c = f * state[0] + (1 - f) * n
        return r * c + (1 - r) * s, (c,)


class QRNN(DiagonalLayer):
    """Quasi-recurrent network (Bradbury et al. 2017): gates by a convolution over two steps, then a pool over time.

    f, o = sigmoid(...), n = tanh(...) of W x_{t-1} + V x_t + b;  c = f c + (1 - f) n;  output o c

    Example:
        >>> outputs, (c, before) = QRNN(3, 5)(torch.zeros(2, 7, 3))
        >>> outputs.shape, c.shape, before.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 5]), torch.Size([2, 3]))
    """

    state_names = ("c", "before")

    def state_sizes(self) -> tuple[int, ...]:
        """Return the sizes of the cell and of the input before."""
        return self.hidden_size, self.input_size

    def define(self) -> None:
        """Make the convolution; forgetting begins at sigmoid(1)."""
        self.linear = nn.Linear(2 * self.input_size, 3 * self.hidden_size)

    def reset_parameters(self) -> None:
        """Draw the weights as torch's Linear does."""
        self.linear.reset_parameters()
        nn.init.ones_(self.linear.bias.detach()[: self.hidden_size])

    def coefficients(self, inputs: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Compute f and (1 - f) n of pairs of inputs, (batch, time, 2 * input_size)."""
        forget, candidate, _ = self.linear(inputs).chunk(3, dim=-1)
        f = torch.sigmoid(forget)
        return f, (1 - f) * torch.tanh(candidate), ()

    def readout(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        """Open the output gate."""
        return torch.sigmoid(self.linear(inputs).chunk(3, dim=-1)[2]) * hidden

    def scan(self, inputs: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Put each input beside the one before it."""
        joined, before = slide_window(state[1][:, None], inputs, lengths)
        outputs, (c,) = super().scan(torch.cat([joined[:, :-1], inputs], dim=-1), (state[0],), lengths)
        return outputs, (c, before[:, 0])


class LRU(DiagonalLayer):
    """Linear recurrent unit (Orvieto et al. 2023): a complex diagonal, stable by its form, then a gated linear unit.

    h = a h + g (B x), a = exp(-exp(nu) + i theta), g = sqrt(1 - |a|^2);  y = Re(C h) + D x;  output GLU(U gelu(y) + e).
    The state holds the real parts of h, then the imaginary ones. A step turns h by theta; what is summed up turns with
    it, so that the sum is a real one: k steps on, exp(-i k theta) h decays by |a| alone.

    Example:
        >>> outputs, (h,) = LRU(3, 5)(torch.zeros(2, 7, 3))
        >>> outputs.shape, h.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 10]))
    """

    def state_sizes(self) -> tuple[int, ...]:
        """Return the size of real and imaginary parts together."""
        return (2 * self.hidden_size,)

    def define(self) -> None:
        """Make the diagonal, and the matrices before and after it."""
        self.log_decay, self.angle = (nn.Parameter(torch.empty(self.hidden_size)) for _ in range(2))
        self.enter = nn.Linear(self.input_size, 2 * self.hidden_size, bias=False)
        self.leave = nn.Linear(2 * self.hidden_size, self.hidden_size, bias=False)
        self.direct = nn.Linear(self.input_size, self.hidden_size)
        self.mix = nn.Linear(self.hidden_size, 2 * self.hidden_size)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the diagonal from a ring, magnitudes 0.8 to 0.999 and angles up to 0.3, the matrices as torch does."""
        squares = torch.empty(self.hidden_size).uniform_(0.8**2, 0.999**2)
        self.log_decay.copy_((-0.5 * squares.log()).log())
        nn.init.uniform_(self.angle, 0, 0.3)
        for part in (self.enter, self.leave, self.direct, self.mix):
            part.reset_parameters()

    def coefficients(self, inputs: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Compute |a| and g (B x), real parts and imaginary ones, neither turned yet."""
        decay = torch.exp(-torch.exp(self.log_decay))
        scale = torch.sqrt(-torch.expm1(-2 * torch.exp(self.log_decay)))  # sqrt(1 - |a|^2)
        return decay.repeat(2), self.enter(inputs) * scale.repeat(2), ()

    def readout(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        """Compute y, and gate it."""
        return glu(self.mix(nn.functional.gelu(self.leave(hidden) + self.direct(inputs))), dim=-1)

    def scan(self, inputs: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Sum up what turns back as the steps turn, and turn the sums."""
        decay, drive, _ = self.coefficients(inputs, state)
        time = inputs.shape[1]
        steps = torch.arange(1, time + 1, device=inputs.device, dtype=torch.float64)
        angles = steps[:, None] * self.angle.double()  # (time, hidden_size): float32 would lose the later ones
        cosines, sines = torch.cos(angles).to(drive.dtype), torch.sin(angles).to(drive.dtype)
        decay, drive = decay.to(drive.dtype).expand_as(drive), _turn(drive, cosines, -sines)
        if lengths is not None:
            alive = valid_mask(lengths, time)[..., None]  # (batch, time, 1)
            decay = torch.where(alive, decay, decay.new_ones(()))
            drive = torch.where(alive, drive, drive.new_zeros(()))
        hidden = _turn(diagonal_scan(DiagonalScan(decay=decay, drive=drive, initial=state[0])), cosines, sines)
        return self.readout(hidden, inputs), (_last(hidden, state[0], lengths),)


def _turn(parts: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Multiply complex numbers, (batch, time, 2 * size) real parts first, by those of the unit circle, (time, size)."""
    real, imaginary = parts.chunk(2, dim=-1)
    return torch.cat([real * cosines - imaginary * sines, imaginary * cosines + real * sines], dim=-1)


def _last(hidden: Tensor, initial: Tensor, lengths: Tensor | None) -> Tensor:
    """Take the state after each row's last valid step, or the initial one where there is none."""
    if not hidden.shape[1]:
        return initial
    if lengths is None:
        return hidden[:, -1]
    places = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, hidden.shape[2])
    return torch.where((lengths > 0)[:, None], hidden.gather(1, places)[:, 0], initial)
