"""Any formula at a fair speed in plain torch: one input product, one autograd node, one product a weight gradient.

A Python loop under autograd pays three times: it records the recurrent product of every step, multiplies out the weight
gradient at every step, and, where it indexes `x[:, t]`, writes a whole (batch, time, size) gradient a step, which makes
the backward pass quadratic in time. Here only the elementwise part of a step is recorded.
"""

import torch
from torch import Tensor

from rnnkit.kernels.nodes import diagonal_scan_by_steps, scan_by_steps
from rnnkit.kernels.reference import advance, hidden_product
from rnnkit.kernels.scan import Backend, DiagonalScan, GatedScan, Scan, State, differentiate, plain_only


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

    def __init__(self, call: GatedScan, recording: bool) -> None:
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

    def gradients(self, outputs: Tensor, state: State, *, by_weight: bool) -> tuple[Tensor | None, ...]:
        """Walk back, consuming the record."""
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
        flows = torch.stack(hidden_gates[::-1])  # (time, batch, gates * hidden_size)
        weight = weight_gradient(flows, torch.stack(self.hidden), heads=call.heads) if by_weight else None
        bias = None if call.hidden_bias is None else flows.sum((0, 1))
        return torch.stack(input_gates[::-1], 1), weight, bias, totals_in_order[0], *state, *totals_in_order[1:]


class _DiagonalSteps:
    """h = decay * h + drive, whose way back is the same recurrence run from the end."""

    def states(self, decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
        """Step forward."""
        hidden, states = initial, []
        for a, b in zip(decay.unbind(1), drive.unbind(1), strict=True):
            hidden = torch.addcmul(b, a, hidden)
            states.append(hidden)
        return torch.stack(states, 1)  # (batch, time, size)

    def gradients(self, decay: Tensor, initial: Tensor, hidden: Tensor, by_hidden: Tensor) -> tuple[Tensor, ...]:
        """Step back."""
        decays = decay.unbind(1)
        flow = torch.zeros_like(initial)
        flows = []
        for step, gradient in enumerate(reversed(by_hidden.unbind(1))):
            flow = gradient + flow
            flows.append(flow)
            flow = flow * decays[-1 - step]
        by_drive = torch.stack(flows[::-1], 1)  # (batch, time, size)
        before = torch.cat([initial[:, None], hidden[:, :-1]], 1)
        return by_drive * before, by_drive, flow


class Eager(Backend):
    """Plain torch operations under one autograd node."""

    def refuses(self, call: Scan) -> str | None:
        """Accept every call, except what needs plain operations or a second product a step."""
        if isinstance(call, GatedScan) and call.reset_gate is not None:
            return "a gate that enters the product needs a product in the middle of a step"
        return plain_only()

    def gated_scan(self, call: GatedScan) -> tuple[Tensor, State]:
        """Project all inputs in one product, then step, in the precision of the recurrent weights."""
        return scan_by_steps(call, _Steps)

    def diagonal_scan(self, call: DiagonalScan) -> Tensor:
        """Step forward, and in the backward pass step back."""
        return diagonal_scan_by_steps(call, _DiagonalSteps())
