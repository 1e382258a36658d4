"""A Transformer layer under the layer contract: a rival whose state is a bounded cache of keys and values."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from rnnkit.kernels import State
from rnnkit.layers.base import Layer
from rnnkit.layers.heads import suitable_heads
from rnnkit.sequences import slide_window

WIDER = 4  # the layer between, by the units
LONGEST_WAVE = 10_000.0


class Transformer(Layer):
    """Attention to the last `window` steps and itself, then two layers at every step (Vaswani et al. 2017).

    x = x + A(N(x)), x = x + W gelu(V N(x)): the norms come first (Xiong et al. 2020), and positions turn queries and
    keys (Su et al. 2021), so that distance alone matters. An input of another width is projected first. The state holds
    the keys and values of the last steps, and how many of them there are: the same steps are attended whole, in chunks
    and one at a time. A user's class with another `window` is a layer of its own.

    Example:
        >>> outputs, (keys, values, filled) = Transformer(3, 4)(torch.zeros(2, 7, 3))
        >>> outputs.shape, keys.shape, filled[:, 0].tolist()
        (torch.Size([2, 7, 4]), torch.Size([2, 1024]), [7.0, 7.0])
    """

    family = "attention"
    state_names = ("keys", "values", "filled")
    begins_anew = True
    window: ClassVar[int] = 256
    angles: Tensor  # radians a step

    def state_sizes(self) -> tuple[int, ...]:
        """Return the sizes of the cache, flat, and of the count."""
        return self.window * self.hidden_size, self.window * self.hidden_size, 1

    def define(self) -> None:
        """Make the weights."""
        size = self.hidden_size
        self.heads = suitable_heads(size)
        self.enter = nn.Linear(self.input_size, size) if self.input_size != size else nn.Identity()
        self.norm_attention, self.norm_between = nn.LayerNorm(size), nn.LayerNorm(size)
        self.project, self.leave = nn.Linear(size, 3 * size, bias=False), nn.Linear(size, size, bias=False)
        self.widen, self.narrow = nn.Linear(size, WIDER * size), nn.Linear(WIDER * size, size)
        waves = size // self.heads // 2
        angles = LONGEST_WAVE ** (-torch.arange(waves) / max(waves, 1))
        self.register_buffer("angles", angles, persistent=False)

    def reset_parameters(self) -> None:
        """Draw the weights as torch does, what is added to the input smaller."""
        for part in self.children():
            if isinstance(part, nn.Linear | nn.LayerNorm):
                part.reset_parameters()
        with torch.no_grad():
            self.leave.weight.mul_(0.5)
            self.narrow.weight.mul_(0.5)

    def scan(self, inputs: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Run window after window, so that memory grows with the steps and not with their square."""
        if torch.compiler.is_compiling():  # a graph of any number of steps has no loop over windows
            return self._block(inputs, state, lengths)
        outputs = []
        for number, part in enumerate(inputs.split(self.window, dim=1)):
            left = None if lengths is None else (lengths - number * self.window).clamp(0, part.shape[1])
            values, state = self._block(part, state, left)
            outputs.append(values)
        return torch.cat(outputs, dim=1), state

    def _block(self, inputs: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        values = self.enter(inputs)
        attended, state = self._attend(self.norm_attention(values), state, lengths)
        values = values + attended
        return values + self.narrow(gelu(self.widen(self.norm_between(values)))), state

    def _attend(self, inputs: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        (batch, time, _), window = inputs.shape, self.window
        query, key, value = self.project(inputs).chunk(3, dim=-1)
        keys, kept_keys = slide_window(torch.unflatten(state[0], 1, (window, -1)).to(key.dtype), key, lengths)
        values, kept_values = slide_window(torch.unflatten(state[1], 1, (window, -1)).to(value.dtype), value, lengths)
        steps = torch.full((batch,), time, device=inputs.device) if lengths is None else lengths
        before = state[2].clamp(min=0)
        filled = torch.where(steps[:, None] > 0, (before + steps[:, None]).clamp(max=window), state[2])
        places = torch.arange(window + time, device=inputs.device)
        query, keys, values = (
            torch.unflatten(part, -1, (self.heads, -1)).transpose(1, 2) for part in (query, keys, values)
        )
        query, keys = self._turn(query, places[window:]), self._turn(keys, places)
        scores = query @ keys.mT / math.sqrt(query.shape[-1])  # (batch, heads, time, window + time)
        age = places[window:, None] - places  # (time, window + time)
        seen = ((age >= 0) & (age <= window)) & (places >= window - before)[:, None]  # (batch, time, window + time)
        weights = scores.masked_fill(~seen[:, None], -math.inf).softmax(-1)
        found = (weights @ values).transpose(1, 2).flatten(2)  # (batch, time, hidden_size)
        return linear(found, self.leave.weight), _kept(state, kept_keys.flatten(1), kept_values.flatten(1), filled)

    def _turn(self, parts: Tensor, places: Tensor) -> Tensor:
        """Turn pairs of features, (batch, heads, steps, head_size), by their places, (steps,)."""
        turns = places[:, None] * self.angles.double()  # (steps, waves): bfloat16 would lose the later ones
        cosines, sines = torch.cos(turns).to(parts.dtype), torch.sin(turns).to(parts.dtype)
        waves = cosines.shape[1]
        one, other, rest = parts.split([waves, waves, parts.shape[-1] - 2 * waves], dim=-1)
        return torch.cat([one * cosines - other * sines, other * cosines + one * sines, rest], dim=-1)


def _kept(before: State, *after: Tensor) -> State:
    """Give the parts of a state the precision they had: autocast may have made them shorter."""
    return tuple(new.to(old.dtype) for old, new in zip(before, after, strict=True))
