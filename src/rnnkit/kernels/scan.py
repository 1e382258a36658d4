"""What a layer asks of a kernel: one dataclass an operation, and the contract of a backend."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

State = tuple[Tensor, ...]
Update = Callable[[Tensor, Tensor, State], tuple[Tensor, State]]
ResetGate = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class GatedScan:
    """Run `update` over time: the recurrent state enters through a matrix.

    Each step computes `hidden_gates = (h * hidden_mask) @ hidden_weight.T + hidden_bias` from h = state[0], then
    `output, state = update(input_gates, hidden_gates, state)`, then the projection, zoneout and the length mask. With
    `reset_gate`, the last of the hidden gates is a second product: of h * hidden_mask * what the reset gate gives.
    """

    inputs: Tensor
    """(batch, time, input_size); zero past each length."""
    state: State
    """(batch, size) each; the recurrent product reads the first."""
    lengths: Tensor | None
    """(batch,) valid steps; None means all of them."""
    update: Update
    """Input gates and hidden gates (batch, gates * hidden_size), state -> output (batch, hidden_size), state."""
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
    reset_gate: ResetGate | None = None
    """Give, from input gates and hidden gates, what multiplies h on its way into the last gate's product."""
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

    @property
    def diagonal(self) -> bool:
        """Whether each unit reads its own state alone."""
        return self.heads > 1 and self.hidden_weight.shape[1] == 1

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Return what gradients may flow to; `with_tensors` puts them back."""
        fixed = (self.inputs, self.input_weight, self.hidden_weight, self.input_bias, self.hidden_bias)
        return (*fixed, self.projection, *self.state, *self.parameters)

    def with_tensors(self, tensors: Iterable[Any]) -> GatedScan:
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

    def cut(self, sizes: list[int]) -> list[GatedScan]:
        """Cut the call into stretches of so many steps each; each still begins in the state of the whole."""
        # split, because the backward pass of one slice a stretch writes a gradient of the whole length for each
        inputs = self.inputs.split(sizes, 1)
        zoneout = [keep.split(sizes, 1) for keep in self.zoneout]
        starts = [stop - size for stop, size in zip(accumulate(sizes), sizes, strict=True)]
        return [
            dataclasses.replace(
                self,
                inputs=inputs[part],
                lengths=None if self.lengths is None else (self.lengths - start).clamp(0, size),
                zoneout=tuple(keep[part] for keep in zoneout),
            )
            for part, (start, size) in enumerate(zip(starts, sizes, strict=True))
        ]


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

    def with_tensors(self, tensors: Iterable[Any]) -> DiagonalScan:
        """Return the same call on other tensors, in the order of `tensors`."""
        decay, drive, initial = tensors
        return dataclasses.replace(self, decay=decay, drive=drive, initial=initial)


Scan = GatedScan | DiagonalScan


class Backend(ABC):
    """One way to run the operations. A new one is a class like this and a row in BACKENDS."""

    @abstractmethod
    def refuses(self, call: Scan) -> str | None:
        """Say why this backend cannot run `call`; None means that it can."""

    def yields(self, call: Scan) -> str | None:
        """Say why a later backend runs `call` quicker than this one, which could; None means that none is known to."""
        return None

    @abstractmethod
    def gated_scan(self, call: GatedScan) -> tuple[Tensor, State]:
        """Return outputs (batch, time, output_size), whatever past each length, and the state at each length."""

    @abstractmethod
    def diagonal_scan(self, call: DiagonalScan) -> Tensor:
        """Return every h: (batch, time, size)."""


def plain_only() -> str | None:
    """Say why only plain torch operations will do, where an autograd node with a backward pass of its own cannot."""
    if torch._C._are_functorch_transforms_active():
        return "torch.func (grad, vmap, jvp) sees through plain operations only"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation sees through plain operations only"
    return None


def autocast_here(device: torch.device) -> torch.autocast:
    """Return the autocast that is in force, so that a backward pass can compute as the forward pass did."""
    kind = device.type
    return torch.autocast(kind, torch.get_autocast_dtype(kind), enabled=torch.is_autocast_enabled(kind))


def differentiate(
    results: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    wanted: Sequence[Tensor],
    *,
    create_graph: bool = False,
) -> tuple[Tensor | None, ...]:
    """Call `torch.autograd.grad`, also where a result depends on nothing (every length is 0, a counter in the state).

    Args:
        results: What was computed.
        gradients: One for each of them; None where there is none.
        wanted: Gradients by these are returned.
        create_graph: Whether they can be differentiated again.

    Returns:
        One gradient for each of `wanted`, None where no result depends on it.
    """
    pairs = [(r, g.to(r.dtype)) for r, g in zip(results, gradients, strict=True) if r.requires_grad and g is not None]
    if not pairs or not wanted:
        return (None,) * len(wanted)
    dependent, flows = zip(*pairs, strict=True)
    return torch.autograd.grad(dependent, wanted, flows, create_graph=create_graph, allow_unused=True)


def recompute_gradients(
    function: Callable[..., tuple[Tensor, ...]],
    tensors: tuple[Tensor | None, ...],
    output_gradients: tuple[Tensor | None, ...],
    *,
    autocast: torch.autocast,
    differentiable: bool,
) -> tuple[Tensor | None, ...]:
    """Run `function` again with gradients on, and differentiate it.

    Args:
        function: Takes `tensors`, returns a tuple of tensors.
        tensors: Its arguments; one without `requires_grad` gets None.
        output_gradients: One for each result of `function`.
        autocast: What was in force when `function` ran.
        differentiable: Whether the gradients can be differentiated again.

    Returns:
        One gradient, or None, for each of `tensors`.
    """
    with torch.enable_grad(), autocast:
        # The gradient must stop at these arguments, though one may itself have been computed from another (a state from
        # a weight): a view is a boundary that can still be differentiated through, a detached leaf the cheaper one.
        boundary = [t if t is None or not t.requires_grad else _boundary(t, differentiable) for t in tensors]
        results = function(*boundary)
        wanted = [tensor for tensor in boundary if tensor is not None and tensor.requires_grad]
        gradients = iter(differentiate(results, output_gradients, wanted, create_graph=differentiable))
    return tuple(next(gradients) if t is not None and t.requires_grad else None for t in tensors)


def _boundary(tensor: Tensor, differentiable: bool) -> Tensor:
    return tensor.view_as(tensor) if differentiable else tensor.detach().requires_grad_()
