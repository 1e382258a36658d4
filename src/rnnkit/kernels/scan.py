"""What a layer asks of a kernel: one dataclass an operation, and the contract of a backend."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

State = tuple[Tensor, ...]
Update = Callable[[Tensor, Tensor, State], tuple[Tensor, State]]


@dataclass(frozen=True, eq=False)
class GatedScan:
    """Run `update` over time: the recurrent state enters through a matrix.

    Each step computes `hidden_gates = (h * hidden_mask) @ hidden_weight.T + hidden_bias` from h = state[0], then
    `output, state = update(input_gates, hidden_gates, state)`, then the projection, zoneout and the length mask.
    """

    inputs: Tensor
    """(batch, time, input_size); zero past each length."""
    state: State
    """(batch, size) each; the recurrent product reads the first."""
    lengths: Tensor | None
    """(batch,) valid steps; None means all of them."""
    update: Update
    """(batch, gates * hidden_size) input gates, the same of hidden gates, state -> (batch, hidden_size) output, state."""
    formula: str
    """Name of the update among those fused kernels know ("lstm"); empty for a formula of the user's."""
    input_weight: Tensor
    """(gates * hidden_size, input_size)."""
    hidden_weight: Tensor
    """(gates * hidden_size, output_size // heads)."""
    input_bias: Tensor | None = None
    hidden_bias: Tensor | None = None
    parameters: tuple[Tensor, ...] = ()
    """Tensors that `update` reads besides its arguments: they receive gradients too."""
    bind: Callable[[tuple[Tensor, ...]], Update] | None = None
    """Give an `update` that reads other tensors in the place of `parameters`; needed where there are any."""
    heads: int = 1
    """Blocks of the block-diagonal recurrent matrix: 1 is a full matrix, output_size a diagonal one."""
    projection: Tensor | None = None
    """(projection_size, hidden_size): the output and state[0] are projected (Sak et al. 2014)."""
    hidden_mask: Tensor | None = None
    """(batch, output_size), one for all steps (variational dropout, Gal and Ghahramani 2016)."""
    zoneout: tuple[Tensor, ...] = ()
    """(batch, time, size) for each state part: the share of the previous value that is kept (Krueger et al. 2017)."""
    checkpoint_every: int | None = None
    """Keep only the states at every so many steps and recompute the rest in the backward pass."""

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Return what gradients may flow to; `with_tensors` puts them back."""
        fixed = (self.inputs, self.input_weight, self.hidden_weight, self.input_bias, self.hidden_bias)
        return (*fixed, self.projection, *self.state, *self.parameters)

    def with_tensors(self, tensors: Iterable[Tensor | None]) -> GatedScan:
        """Return the same call on other tensors, in the order of `tensors`."""
        inputs, input_weight, hidden_weight, input_bias, hidden_bias, projection, *rest = tensors
        parameters = tuple(rest[len(self.state) :])
        return dataclasses.replace(
            self,
            inputs=inputs,
            input_weight=input_weight,
            hidden_weight=hidden_weight,
            input_bias=input_bias,
            hidden_bias=hidden_bias,
            projection=projection,
            state=tuple(rest[: len(self.state)]),
            parameters=parameters,
            update=self.bind(parameters) if self.bind and parameters else self.update,
        )

    def between(self, start: int, stop: int, *, state: State) -> GatedScan:
        """Return the same call on the steps from `start` up to `stop`, beginning in `state`."""
        return dataclasses.replace(
            self,
            inputs=self.inputs[:, start:stop],
            state=state,
            lengths=None if self.lengths is None else (self.lengths - start).clamp(0, stop - start),
            zoneout=tuple(keep[:, start:stop] for keep in self.zoneout),
        )


@dataclass(frozen=True, eq=False)
class DiagonalScan:
    """Run h = decay * h + drive over time: the state enters elementwise and linearly."""

    decay: Tensor
    """(batch, time, size)."""
    drive: Tensor
    """(batch, time, size)."""
    initial: Tensor
    """(batch, size)."""

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Return what gradients may flow to; `with_tensors` puts them back."""
        return (self.decay, self.drive, self.initial)

    def with_tensors(self, tensors: Iterable[Tensor | None]) -> DiagonalScan:
        """Return the same call on other tensors, in the order of `tensors`."""
        decay, drive, initial = tensors
        return dataclasses.replace(self, decay=decay, drive=drive, initial=initial)


Scan = GatedScan | DiagonalScan


class Backend(ABC):
    """One way to run the operations. A new one is a class like this and a row in BACKENDS."""

    @abstractmethod
    def refuses(self, call: Scan) -> str | None:
        """Say why this backend cannot run `call`; None means that it can."""

    @abstractmethod
    def gated_scan(self, call: GatedScan) -> tuple[Tensor, State]:
        """Return outputs (batch, time, output_size), whatever past each length, and the state at each length."""

    @abstractmethod
    def diagonal_scan(self, call: DiagonalScan) -> Tensor:
        """Return every h: (batch, time, size)."""


def recompute_gradients(
    function: Callable[..., tuple[Tensor, ...]],
    tensors: tuple[Tensor | None, ...],
    output_gradients: tuple[Tensor | None, ...],
    *,
    differentiable: bool,
) -> tuple[Tensor | None, ...]:
    """Run `function` again with gradients on, and differentiate it.

    Args:
        function: Takes `tensors`, returns a tuple of tensors.
        tensors: Its arguments; one without `requires_grad` gets None.
        output_gradients: One for each result of `function`.
        differentiable: Whether the gradients can be differentiated again.

    Returns:
        One gradient, or None, for each of `tensors`.
    """
    with torch.enable_grad():
        # The gradient must stop at these arguments, though one may itself have been computed from another (a state from
        # a weight): a view is a boundary that can still be differentiated through, a detached leaf the cheaper one.
        boundary = [t if t is None or not t.requires_grad else _boundary(t, differentiable) for t in tensors]
        results = function(*boundary)
        wanted = [tensor for tensor in boundary if tensor is not None and tensor.requires_grad]
        pairs = [(r, g) for r, g in zip(results, output_gradients, strict=True) if r.requires_grad and g is not None]
        found = torch.autograd.grad(
            [result for result, _ in pairs],
            wanted,
            [gradient for _, gradient in pairs],
            create_graph=differentiable,
            allow_unused=True,
        )
    gradients = iter(found)
    return tuple(next(gradients) if t is not None and t.requires_grad else None for t in tensors)


def _boundary(tensor: Tensor, differentiable: bool) -> Tensor:
    return tensor.view_as(tensor) if differentiable else tensor.detach().requires_grad_()
