"""The two cells of xLSTM (Beck et al. 2024): exponential gates, kept in range by a running maximum."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, rms_norm, softplus

from rnnkit.kernels import State
from rnnkit.layers.base import Layer
from rnnkit.layers.gated import GatedLayer
from rnnkit.layers.heads import suitable_heads
from rnnkit.sequences import valid_mask

CHUNK_STEPS = 64
NORM_FLOOR = 1e-6  # of a mean square
NEVER = -1e9  # log of the weight of a step past a row's end
LEAST_MAXIMUM = -60.0  # exp(60) is a number in float32


class SLSTM(GatedLayer):
    """LSTM that can revise what it stored: its input gate is an exponential (Beck et al. 2024, sLSTM).

    i = exp(...), f, o = sigmoid(...), z = tanh(...) of W x + b + R h + d, R in up to four blocks;  c' = f c + i z;
    n' = f n + i;  h = o c' / n'. All of c, n and i are kept over exp(m), m the running maximum of log f + m and log i.
    A sequence begins as if a step of weight 1 had been read that said nothing; n' over exp(m) is at least 1 as soon as
    the inputs weigh more, and is taken as 1 until then.

    Example:
        >>> outputs, (h, c, n, m) = SLSTM(3, 5)(torch.zeros(2, 7, 3))
        >>> outputs.shape, n.shape
        (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    num_gates = 4
    state_names = ("h", "c", "n", "m")
    forget_gate = 1

    def define(self) -> None:
        """Give the recurrent matrix as many blocks as share the units."""
        self.heads = suitable_heads(self.hidden_size)
        super().define()

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: State) -> tuple[Tensor, State]:
        """Take one step."""
        i, f, z, o = (input_gates + hidden_gates).chunk(4, dim=-1)
        kept = state[3] - softplus(-f)  # log(f) + m
        m = torch.maximum(kept, i)
        i, f = torch.exp(i - m), torch.exp(kept - m)
        c = f * state[1] + i * torch.tanh(z)
        n = f * state[2] + i
        h = torch.sigmoid(o) * c / torch.clamp(n, min=1.0)
        return h, (h, c, n, m)


class _Memory(NamedTuple):
    """What an mLSTM carries: all over exp(m).

    Attributes:
        matrix: (batch, heads, head_size, head_size), sums of values by keys.
        keys: (batch, heads, head_size), sums of keys.
        m: (batch, heads), the running maximum.
    """

    matrix: Tensor
    keys: Tensor
    m: Tensor


class _Chunk(NamedTuple):
    """Some steps of an mLSTM.

    Attributes:
        query: (batch, heads, time, head_size), as `key` and `value`.
        key: Over sqrt(head_size).
        value: What is stored.
        log_i: (batch, heads, time), how much of it.
        log_f: How much stays of what was stored.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    log_i: Tensor
    log_f: Tensor


class MLSTM(Layer):
    """LSTM with a matrix for a memory: values are stored under keys, and asked for (Beck et al. 2024, mLSTM).

    q, k, v of W x, k over sqrt(size of a head);  i = exp(...), f = sigmoid(...) of each head;  C' = f C + i v k';
    n' = f n + i k;  output sigmoid(O x) N(C' q / max(|n' q|, 1)), N brings each head to a mean square of 1. Nothing but
    the memory enters a step, so that whole chunks are computed at once; it is kept over exp(m), m the running maximum
    as in `SLSTM`.

    Example:
        >>> outputs, (matrix, keys, m) = MLSTM(3, 4)(torch.zeros(2, 7, 3))
        >>> outputs.shape, matrix.shape, keys.shape, m.shape
        (torch.Size([2, 7, 4]), torch.Size([2, 4]), torch.Size([2, 4]), torch.Size([2, 4]))
    """

    family = "matrix"
    state_names = ("matrix", "keys", "m")

    def state_sizes(self) -> tuple[int, ...]:
        """Return the sizes of the memory's parts, flat."""
        heads = suitable_heads(self.hidden_size)
        return self.hidden_size**2 // heads, self.hidden_size, heads

    def define(self) -> None:
        """Make the projections."""
        self.heads = suitable_heads(self.hidden_size)
        self.project = nn.Linear(self.input_size, 4 * self.hidden_size)
        self.gates = nn.Linear(self.input_size, 2 * self.heads)
        self.norm_scale = nn.Parameter(torch.ones(self.hidden_size))

    def reset_parameters(self) -> None:
        """Draw the projections as torch does; the heads begin with memories from short to long."""
        for part in (self.project, self.gates):
            part.reset_parameters()
        nn.init.ones_(self.norm_scale)
        with torch.no_grad():
            self.gates.bias[self.heads :] = torch.linspace(3, 6, self.heads)

    def scan(self, inputs: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Run chunk after chunk."""
        batch, time = inputs.shape[:2]
        if not time:
            return inputs.new_zeros(batch, 0, self.hidden_size), state
        query, key, value, output = self.project(inputs).to(state[0].dtype).chunk(4, dim=-1)
        query, key, value = (
            torch.unflatten(part, -1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)
        )
        key = key / math.sqrt(key.shape[-1])  # (batch, heads, time, head_size), as all three
        log_i, log_f = self.gates(inputs).to(state[0].dtype).transpose(1, 2).chunk(2, dim=1)  # (batch, heads, time)
        log_f = logsigmoid(log_f)
        if lengths is not None:
            alive = valid_mask(lengths, time)[:, None]  # (batch, 1, time)
            log_i = torch.where(alive, log_i, log_i.new_full((), NEVER))
            log_f = torch.where(alive, log_f, log_f.new_zeros(()))
        memory = _Memory(
            torch.unflatten(state[0], 1, (self.heads, -1, self.hidden_size // self.heads)),
            torch.unflatten(state[1], 1, (self.heads, -1)),
            state[2],
        )
        found = []
        for part in zip(*(one.split(CHUNK_STEPS, 2) for one in (query, key, value, log_i, log_f)), strict=True):
            heard, memory = _recall(memory, _Chunk(*part))
            found.append(heard)
        heard = torch.cat(found, dim=2).transpose(1, 2)  # (batch, time, heads, head_size)
        normed = rms_norm(heard, heard.shape[-1:], eps=NORM_FLOOR).flatten(2) * self.norm_scale
        return torch.sigmoid(output) * normed, tuple(part.flatten(1) for part in memory)


def _recall(memory: _Memory, chunk: _Chunk) -> tuple[Tensor, _Memory]:
    """Store and ask for the steps of a chunk.

    Args:
        memory: Before it.
        chunk: What to store and to ask for.

    Returns:
        (batch, heads, time, head_size), and the memory after it.
    """
    query, key, value, log_i, log_f = chunk
    time = query.shape[2]
    fallen = log_f.cumsum(2)  # (batch, heads, time): what is left of the memory, the logarithm
    ages = fallen[..., :, None] - fallen[..., None, :] + log_i[..., None, :]  # (batch, heads, time, stored at)
    past = torch.ones(time, time, dtype=torch.bool, device=query.device).tril()
    ages = torch.where(past, ages, ages.new_full((), -math.inf))
    before = fallen + memory.m[..., None]
    m = torch.maximum(before, ages.amax(-1))  # (batch, heads, time)
    shares, rest = torch.exp(ages - m[..., None]), torch.exp(before - m)
    scores = (query @ key.mT) * shares  # (batch, heads, time, stored at)
    said = scores @ value + rest[..., None] * (query @ memory.matrix.mT)
    weight = scores.sum(-1) + rest * (query @ memory.keys[..., None])[..., 0]
    least = torch.exp(-m.clamp(min=LEAST_MAXIMUM))  # 1, over exp(m)
    heard = said / torch.maximum(weight.abs(), least)[..., None]
    stored = key * shares[:, :, -1, :, None]  # (batch, heads, time, head_size)
    matrix = rest[..., -1, None, None] * memory.matrix + value.mT @ stored
    keys = rest[..., -1, None] * memory.keys + stored.sum(2)
    return heard, _Memory(matrix, keys, m[..., -1])
