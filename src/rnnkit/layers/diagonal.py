"""The family of layers whose state is elementwise and linear in itself."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from rnnkit.kernels import DiagonalScan, State, diagonal_scan
from rnnkit.layers.base import Layer
from rnnkit.sequences import valid_mask


class DiagonalLayer(Layer):
    """A layer whose state is elementwise and linear in itself, h = a * h + b: write `define` and `coefficients`.

    Example:
        >>> import torch, rnnkit
        >>> class MinGRU(rnnkit.DiagonalLayer):  # Feng et al. 2024, arXiv 2410.01201
        ...     def define(self):
        ...         self.linear = torch.nn.Linear(self.input_size, 2 * self.hidden_size)
        ...
        ...     def coefficients(self, inputs, state):
        ...         z, candidate = self.linear(inputs).chunk(2, dim=-1)
        ...         return 1 - z.sigmoid(), z.sigmoid() * candidate, ()
        >>> outputs, (h,) = MinGRU(3, 5)(torch.zeros(2, 7, 3))
        >>> h.shape
        torch.Size([2, 5])
    """

    family = "diagonal"
    state_names = ("h",)

    @abstractmethod
    def coefficients(self, inputs: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Compute what does not depend on h, for all steps at once.

        Args:
            inputs: (batch, time, input_size).
            state: (batch, size) each.

        Returns:
            a and b (batch, time, hidden_size), and the new values of the state parts after h.
        """

    def readout(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        """Turn every h into an output; h itself unless overridden.

        Args:
            hidden: (batch, time, hidden_size).
            inputs: (batch, time, input_size).

        Returns:
            (batch, time, output_size).
        """
        return hidden

    def scan(self, inputs: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Compute the coefficients, and let a row past its length keep its h (a = 1, b = 0)."""
        decay, drive, rest = self.coefficients(inputs, state)
        decay = decay.expand_as(drive)
        if lengths is not None:
            alive = valid_mask(lengths, inputs.shape[1])[..., None]  # (batch, time, 1)
            decay = torch.where(alive, decay, decay.new_ones(()))
            drive = torch.where(alive, drive, drive.new_zeros(()))
        hidden = diagonal_scan(DiagonalScan(decay=decay, drive=drive, initial=state[0]))
        last = hidden[:, -1] if hidden.shape[1] else state[0]
        return self.readout(hidden, inputs), (last, *rest)
