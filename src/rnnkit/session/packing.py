"""Stacks whose weights are packed behind their back: batches of any size, in memory of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from rnnkit.errors import ConfigError
from rnnkit.kernels import State
from rnnkit.layers import Stack
from rnnkit.session.session import Session, why_not
from rnnkit.session.weights import is_native

MOST_ROWS = 64  # of a batch read at once
Made = TypeVar("Made")


class Packing(threading.local, Generic[Made]):
    """What a thread makes of a module's weights, for so many rows: made when first needed, and again when they change.

    Every thread has its own, so that none waits for another. Weights change in place, as by an optimiser.

    Args:
        module: Whose weights.
        make: Makes it for some rows.
    """

    def __init__(self, module: nn.Module, make: Callable[[int], Made]) -> None:
        self.make = make
        self._weights = [*module.parameters(), *module.buffers()]
        self._made: tuple[list[int], int, Made] | None = None

    def of(self, *, rows: int) -> Made:
        """Return what the weights as they are make, with room for some rows."""
        changes = [weight._version for weight in self._weights]
        if self._made is None or self._made[0] != changes or self._made[1] < rows:
            lone = rows == 1 and (self._made is None or self._made[1] == 1)
            room = 1 if lone else max(rows, MOST_ROWS)
            self._made = changes, room, self.make(room)
        return self._made[2]


class PackedStack:
    """Reads steps of any number of sequences by a session, packed when first needed and again when weights change.

    A stack that the C++ kernels cannot run runs in torch, and `reason` says why.

    Args:
        stack: A Stack of one direction; it runs as in eval mode.
        dtype: Of the weights, as in `Session`.

    Raises:
        ConfigError: As `Session` does.
    """

    def __init__(self, stack: Stack, *, dtype: str = "float32") -> None:
        self.stack, self.dtype = stack, dtype
        self._sessions = Packing(stack, lambda rows: Session(stack, dtype=dtype, rows=rows))
        self.reason = Session(stack, dtype=dtype, rows=1).reason

    def read(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Read steps, all of them valid.

        Args:
            inputs: (batch, time, input_size).
            state: (batch, size) for each of the stack's `state_names`.

        Returns:
            (batch, time, output_size), and the state after the last step.
        """
        if self.reason is not None:
            return self.stack(inputs, state)
        session = self._sessions.of(rows=min(len(inputs), MOST_ROWS))
        if len(inputs) <= session.rows:
            return session.read(inputs, state)
        parts = [session.read(*some) for some in _by_rows(inputs, state, session.rows)]
        outputs, states = zip(*parts, strict=True)
        return torch.cat(outputs), tuple(torch.cat(one) for one in zip(*states, strict=True))


def pack(network: nn.Module, *, dtype: str = "float32") -> dict[str, str]:
    """Let every stack of a network that reads forwards run with packed weights wherever no gradient is wanted.

    Args:
        network: It answers as before, to the precision of the weights.
        dtype: Of the weights, as in `Session`.

    Returns:
        By name, why the other stacks run in torch.

    Raises:
        ConfigError: If `dtype` is unknown, or not "float32" and no stack can be packed.
    """
    reasons: dict[str, str] = {}
    stacks = [(name, one) for name, one in network.named_modules() if isinstance(one, Stack)]
    for name, stack in stacks:
        reason = "it reads backwards too" if not stack.streamable else why_not(stack)
        if reason is None:
            stack.forward = _PackedForward(PackedStack(stack, dtype=dtype), stack.forward)
        else:
            reasons[name] = reason
    if dtype != "float32" and len(reasons) == len(stacks):
        raise ConfigError(f"the weights cannot be {dtype}: {'; '.join(reasons.values())}")
    return reasons


class _PackedForward:
    """A stack's forward by packed weights."""

    def __init__(self, packed: PackedStack, plainly: Callable[..., tuple[Tensor, State]]) -> None:
        self.packed, self.plainly = packed, plainly
        self._weight = next(packed.stack.parameters())

    def __call__(
        self, inputs: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        if torch.is_grad_enabled() or not is_native(self._weight):  # it has been converted since
            return self.plainly(inputs, state, lengths)
        state = self.packed.stack.initial_state(len(inputs)) if state is None else state
        return self.packed.read(inputs, state) if lengths is None else self._ragged(inputs, state, lengths)

    def _ragged(self, inputs: Tensor, state: State, lengths: Tensor) -> tuple[Tensor, State]:
        """Read the first steps of all rows, then those of the rows that have more, and so on."""
        lengths, order = lengths.sort(descending=True)
        sorted_inputs, after = inputs[order], [part[order] for part in state]
        outputs = inputs.new_zeros(*inputs.shape[:2], self.packed.stack.output_size)
        begun = 0
        for end in lengths.unique().tolist():
            rows = int((lengths >= end).sum())
            if end > begun:
                own = tuple(part[:rows] for part in after)
                outputs[:rows, begun:end], own = self.packed.read(sorted_inputs[:rows, begun:end], own)
                for part, now in zip(after, own, strict=True):
                    part[:rows] = now
            begun = end
        back = order.argsort()
        return outputs[back], tuple(part[back] for part in after)


def _by_rows(inputs: Tensor, state: State, rows: int) -> list[tuple[Tensor, State]]:
    """Cut a batch into ones of at most so many rows."""
    places = [slice(first, first + rows) for first in range(0, len(inputs), rows)]
    return [(inputs[some], tuple(part[some] for part in state)) for some in places]
