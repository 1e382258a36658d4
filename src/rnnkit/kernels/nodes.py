"""The autograd nodes of backends that step by themselves: their own way back, and the reference behind second ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import Function
from torch.nn.functional import linear

from rnnkit.kernels.reference import Reference, scan_gates
from rnnkit.kernels.scan import DiagonalScan, GatedScan, State, recompute_gradients


class Steps(Protocol):
    """All steps of one call, forward and back."""

    def run(self, input_gates: Tensor) -> tuple[Tensor, State]:
        """Run over time, from (batch, time, gates * hidden_size) to the outputs and the last state."""
        ...

    def gradients(self, outputs: Tensor, state: State, *, by_weight: bool) -> tuple[Tensor | None, ...]:
        """Run back, once.

        Args:
            outputs: (batch, time, output_size), the gradient of the outputs.
            state: The gradient of the last state.
            by_weight: Whether the gradient of the recurrent weight is wanted.

        Returns:
            Gradients of the input gates, the recurrent weight, its bias, the projection, the first state's parts and
            the parameters of `update`.
        """
        ...


def _tensors(call: GatedScan, input_gates: Tensor) -> tuple[Tensor | None, ...]:
    return (input_gates, call.hidden_weight, call.hidden_bias, call.projection, *call.state, *call.parameters)


def scan_by_steps(call: GatedScan, make: Callable[[GatedScan, bool], Steps]) -> tuple[Tensor, State]:
    """Project all inputs in one product, then step, in the precision of the recurrent weights.

    Args:
        call: The call.
        make: Gives its steps, told whether they will be run back.

    Returns:
        Outputs (batch, time, output_size), and the last state.
    """
    dtype = call.hidden_weight.dtype
    if call.state[0].dtype != dtype:
        state = (part.to(dtype) if part.is_floating_point() else part for part in call.state)
        call = replace(call, state=tuple(state))
    input_gates = linear(call.inputs, call.input_weight, call.input_bias).to(dtype)
    tensors = _tensors(call, input_gates)
    recording = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    outputs, *state = _GatedScan.apply(call, make(call, recording), *tensors)
    return outputs, tuple(state)


class _GatedScan(Function):
    """`scan_gates` by a backend's own steps."""

    @staticmethod
    def forward(ctx: Any, call: GatedScan, steps: Steps, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        input_gates = tensors[0]
        assert input_gates is not None
        ctx.call, ctx.steps = call, steps
        ctx.save_for_backward(*tensors)
        with _full_precision(input_gates.device):
            outputs, state = steps.run(input_gates)
        return (outputs, *state)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        tensors, steps = ctx.saved_tensors, ctx.steps
        if torch.is_grad_enabled() or steps is None:
            found = recompute_gradients(
                _reference(ctx.call),
                tensors,
                gradients,
                autocast=_full_precision(ctx.call.inputs.device),
                differentiable=torch.is_grad_enabled(),
            )
            return (None, None, *found)
        ctx.steps = None  # frees the record now, not when the caller drops its loss
        return (None, None, *steps.gradients(gradients[0], gradients[1:], by_weight=ctx.needs_input_grad[3]))


def _full_precision(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, enabled=False)


def _reference(call: GatedScan) -> Any:
    def run(input_gates: Tensor, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        rest = (call.inputs, call.input_weight, tensors[0], call.input_bias, *tensors[1:])
        outputs, state = scan_gates(call.with_tensors(rest), input_gates)
        return (outputs, *state)

    return run


class DiagonalSteps(Protocol):
    """h = decay * h + drive over all steps, forward and back."""

    def states(self, decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
        """Run contiguous (batch, time, size) twice and (batch, size), to every h."""
        ...

    def gradients(self, decay: Tensor, initial: Tensor, hidden: Tensor, by_hidden: Tensor) -> tuple[Tensor, ...]:
        """Run back from the gradient of every h to those of decay, drive and the initial h; all contiguous."""
        ...


def diagonal_scan_by_steps(call: DiagonalScan, steps: DiagonalSteps) -> Tensor:
    """Run a diagonal scan in the precision of its state."""
    dtype = call.initial.dtype  # autocast may have made the others shorter
    return _DiagonalScan.apply(call, steps, call.decay.to(dtype), call.drive.to(dtype), call.initial)


class _DiagonalScan(Function):
    """A diagonal scan by a backend's own steps."""

    @staticmethod
    def forward(ctx: Any, call: DiagonalScan, steps: DiagonalSteps, *tensors: Tensor) -> Tensor:
        hidden = steps.states(*(tensor.contiguous() for tensor in tensors))
        ctx.call, ctx.steps = call, steps
        ctx.save_for_backward(*tensors, hidden)  # the caller's own, whose gradients have gradients
        return hidden

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        decay, drive, initial, hidden = ctx.saved_tensors
        if torch.is_grad_enabled():
            call: DiagonalScan = ctx.call
            again = recompute_gradients(
                lambda *tensors: (Reference().diagonal_scan(call.with_tensors(tensors)),),
                (decay, drive, initial),
                gradients,
                autocast=_full_precision(drive.device),
                differentiable=True,
            )
            return (None, None, *again)
        parts = (part.contiguous() for part in (decay, initial, hidden, gradients[0]))
        return (None, None, *ctx.steps.gradients(*parts))
