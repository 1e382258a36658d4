"""Any formula at a fair speed in plain torch: one input product, one autograd node, one product a weight gradient.

A Python loop under autograd pays three times: it records the recurrent product of every step, multiplies out the weight
gradient at every step, and, where it indexes `x[:, t]`, writes a whole (batch, time, size) gradient a step, which makes
the backward pass quadratic in time. Here only the elementwise part of a step is recorded.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function
from torch.nn.functional import linear

from rnnkit.kernels.reference import Reference, advance, hidden_product, scan_gates
from rnnkit.kernels.scan import (
    Backend,
    DiagonalScan,
    GatedScan,
    Scan,
    State,
    differentiate,
    plain_only,
    recompute_gradients,
)


def hidden_gradient(gates: Tensor, weight: Tensor, *, heads: int) -> Tensor:
    """Return the gradient of `hidden_product` by the state: (batch, gates * hidden_size) -> (batch, output_size)."""
    if heads == 1:
        return gates @ weight
    head_size = weight.shape[1]
    blocks = weight.view(-1, heads, head_size, head_size)
    split = gates.view(gates.shape[0], -1, heads, head_size)  # (batch, gates, heads, head_size)
    return torch.einsum("bgno,gnoi->bni", split, blocks).flatten(1)  # (batch, output_size)


def weight_gradient(gates: Tensor, hidden: Tensor, *, heads: int) -> Tensor:
    """Return the gradient of `hidden_product` by the weight, over all steps in one product.

    Args:
        gates: (time, batch, gates * hidden_size), the gradient of the products.
        hidden: (time, batch, output_size), the states they read.
        heads: Number of blocks.

    Returns:
        (gates * hidden_size, output_size // heads).
    """
    if heads == 1:
        return gates.flatten(0, 1).t() @ hidden.flatten(0, 1)
    head_size = hidden.shape[-1] // heads
    split = gates.flatten(0, 1).view(gates.shape[0] * gates.shape[1], -1, heads, head_size)
    states = hidden.flatten(0, 1).view(-1, heads, head_size)
    return torch.einsum("sgno,sni->gnoi", split, states).reshape(-1, head_size)


class _Steps:
    """The recorded steps of one forward pass, and the walk back through them."""

    def __init__(self, call: GatedScan, *, recording: bool) -> None:
        self.call = call
        self.recording = recording
        self.arguments: list[tuple[Tensor, ...]] = []
        self.results: list[tuple[Tensor, ...]] = []
        self.hidden: list[Tensor] = []

    def run(self, input_gates: Tensor) -> tuple[Tensor, State]:
        call, state, outputs = self.call, self.call.state, []
        for step, gates in enumerate(input_gates.detach().unbind(1)):
            hidden = state[0] if call.hidden_mask is None else state[0] * call.hidden_mask
            hidden_gates = hidden_product(hidden, call.hidden_weight, heads=call.heads)
            if call.hidden_bias is not None:
                hidden_gates += call.hidden_bias
            output, state = self._step(step, gates, hidden_gates, state, hidden)
            outputs.append(output)
        return torch.stack(outputs, 1), state  # (batch, time, output_size)

    def _step(
        self, step: int, input_gates: Tensor, hidden_gates: Tensor, state: State, hidden: Tensor
    ) -> tuple[Tensor, State]:
        if not self.recording:
            return advance(self.call, step, input_gates, hidden_gates, state)
        # a counter in the state is a whole number and has no gradient
        values = (value.detach() for value in (input_gates, hidden_gates, *state))
        arguments = tuple(value.requires_grad_(value.is_floating_point()) for value in values)
        with torch.enable_grad():
            output, updated = advance(self.call, step, arguments[0], arguments[1], arguments[2:])
        self.arguments.append(arguments)
        self.results.append((output, *updated))
        self.hidden.append(hidden)
        return output.detach(), tuple(part.detach() for part in updated)

    def gradients(self, outputs: Tensor, state: State) -> tuple[Tensor, Tensor, State, list[Tensor | None]]:
        """Walk back, consuming the record.

        Args:
            outputs: (batch, time, output_size), the gradient of the outputs.
            state: The gradient of the last state.

        Returns:
            Gradients of input gates and hidden gates, both (time, batch, gates * hidden_size), of the first state, and
            of the projection and the parameters of `update`.
        """
        call = self.call
        parameters = [p for p in (call.projection, *call.parameters) if p is not None]
        wanted = [p for p in parameters if p.requires_grad]
        totals: dict[int, Tensor] = {}
        input_gates, hidden_gates = [], []
        for output in reversed(outputs.unbind(1)):
            arguments, results = self.arguments.pop(), self.results.pop()
            leaves = [argument for argument in arguments if argument.requires_grad]
            found = iter(differentiate(results, (output, *state), (*leaves, *wanted)))
            by_argument = [next(found) if argument.requires_grad else None for argument in arguments]
            by_input, by_hidden, *by_state = (
                torch.zeros_like(argument) if gradient is None else gradient
                for argument, gradient in zip(arguments, by_argument, strict=True)
            )
            through = hidden_gradient(by_hidden, call.hidden_weight, heads=call.heads)
            by_state[0] = by_state[0] + (through if call.hidden_mask is None else through * call.hidden_mask)
            state = tuple(by_state)
            input_gates.append(by_input)
            hidden_gates.append(by_hidden)
            for parameter, gradient in zip(wanted, found, strict=True):
                if gradient is not None:
                    key = id(parameter)
                    totals[key] = gradient if key not in totals else totals[key] + gradient
        totals_in_order = [totals.get(id(p)) if p is not None else None for p in (call.projection, *call.parameters)]
        return torch.stack(input_gates[::-1]), torch.stack(hidden_gates[::-1]), state, totals_in_order


class _GatedScan(Function):
    """`scan_gates` with a recorded forward pass and a backward pass of its own."""

    @staticmethod
    def forward(ctx: Any, call: GatedScan, recording: bool, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        input_gates = tensors[0]
        assert input_gates is not None
        ctx.call, ctx.steps = call, _Steps(call, recording=recording)
        ctx.save_for_backward(*tensors)
        with _full_precision(input_gates.device):
            outputs, state = ctx.steps.run(input_gates)
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
        input_gates, hidden_gates, state, parameters = steps.gradients(gradients[0], gradients[1:])
        call = ctx.call
        by_weight = None  # of a frozen weight
        if ctx.needs_input_grad[3]:
            by_weight = weight_gradient(hidden_gates, torch.stack(steps.hidden), heads=call.heads)
        by_bias = None if call.hidden_bias is None else hidden_gates.sum((0, 1))
        return (None, None, input_gates.transpose(0, 1), by_weight, by_bias, parameters[0], *state, *parameters[1:])


def _full_precision(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, enabled=False)


def _gate_tensors(call: GatedScan, input_gates: Tensor) -> tuple[Tensor | None, ...]:
    return (input_gates, call.hidden_weight, call.hidden_bias, call.projection, *call.state, *call.parameters)


def _reference(call: GatedScan) -> Any:
    def run(input_gates: Tensor, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        rest = (call.inputs, call.input_weight, tensors[0], call.input_bias, *tensors[1:])
        outputs, state = scan_gates(call.with_tensors(rest), input_gates)
        return (outputs, *state)

    return run


class _DiagonalScan(Function):
    """h = decay * h + drive, whose backward pass is the same recurrence run from the end."""

    @staticmethod
    def forward(ctx: Any, call: DiagonalScan, decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
        hidden = initial
        states = []
        for a, b in zip(decay.unbind(1), drive.unbind(1), strict=True):
            hidden = torch.addcmul(b, a, hidden)
            states.append(hidden)
        result = torch.stack(states, 1)  # (batch, time, size)
        ctx.save_for_backward(decay, drive, initial, result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        decay, drive, initial, result = ctx.saved_tensors
        if torch.is_grad_enabled():
            call = DiagonalScan(decay=decay, drive=drive, initial=initial)
            found = recompute_gradients(
                lambda *tensors: (Reference().diagonal_scan(call.with_tensors(tensors)),),
                call.tensors(),
                gradients,
                autocast=_full_precision(drive.device),
                differentiable=True,
            )
            return (None, *found)
        decays = decay.unbind(1)
        flow = torch.zeros_like(initial)
        flows = []
        for step, gradient in enumerate(reversed(gradients[0].unbind(1))):
            flow = gradient + flow
            flows.append(flow)
            flow = flow * decays[-1 - step]
        by_drive = torch.stack(flows[::-1], 1)  # (batch, time, size)
        before = torch.cat([initial[:, None], result[:, :-1]], 1)
        return None, by_drive * before, by_drive, flow


class Eager(Backend):
    """Plain torch operations under one autograd node."""

    def refuses(self, call: Scan) -> str | None:
        """Accept every call, except what needs plain operations or a second product a step."""
        if isinstance(call, GatedScan) and call.reset_gate is not None:
            return "a gate that enters the product needs a product in the middle of a step"
        return plain_only()

    def gated_scan(self, call: GatedScan) -> tuple[Tensor, State]:
        """Project all inputs in one product, then step, in the precision of the recurrent weights."""
        dtype = call.hidden_weight.dtype
        if call.state[0].dtype != dtype:
            state = (part.to(dtype) if part.is_floating_point() else part for part in call.state)
            call = replace(call, state=tuple(state))
        input_gates = linear(call.inputs, call.input_weight, call.input_bias).to(dtype)
        tensors = _gate_tensors(call, input_gates)
        recording = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
        outputs, *state = _GatedScan.apply(call, recording, *tensors)
        return outputs, tuple(state)

    def diagonal_scan(self, call: DiagonalScan) -> Tensor:
        """Step forward, and in the backward pass step back."""
        return _DiagonalScan.apply(call, call.decay, call.drive, call.initial)
