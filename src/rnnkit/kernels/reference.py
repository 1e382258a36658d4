"""The definition of every operation: an obvious loop, right in float64, differentiable as often as wanted."""

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnkit.kernels.scan import Backend, DiagonalScan, GatedScan, Scan, State


def hidden_product(hidden: Tensor, weight: Tensor, *, heads: int) -> Tensor:
    """Multiply the state by the recurrent matrix, block-diagonal with `heads` blocks.

    Args:
        hidden: (batch, heads * head_size).
        weight: (gates * hidden_size, head_size); its rows go gate by gate, head by head within a gate.
        heads: Number of blocks.

    Returns:
        (batch, gates * hidden_size).
    """
    if heads == 1:
        return linear(hidden, weight)
    head_size = weight.shape[1]
    blocks = weight.view(-1, heads, head_size, head_size)  # (gates, heads, head_size, head_size)
    split = hidden.view(-1, heads, head_size)  # (batch, heads, head_size)
    return torch.einsum("bni,gnoi->bgno", split, blocks).flatten(1)  # (batch, gates * hidden_size)


def advance(
    call: GatedScan, step: int, input_gates: Tensor, hidden_gates: Tensor, state: State
) -> tuple[Tensor, State]:
    """Take one step: the update, then projection, zoneout and the length mask.

    Args:
        call: The whole call.
        step: Which step of it.
        input_gates: (batch, gates * hidden_size).
        hidden_gates: (batch, gates * hidden_size).
        state: Before the step.

    Returns:
        Output (batch, output_size) and the state after the step.
    """
    output, updated = call.update(input_gates, hidden_gates, state)
    output_is_state = output is updated[0]
    if call.projection is not None:
        output = linear(output, call.projection)  # (batch, projection_size)
        updated = (output, *updated[1:])
    if call.zoneout:
        updated = tuple(
            keep[:, step] * old + (1 - keep[:, step]) * new
            for keep, old, new in zip(call.zoneout, state, updated, strict=True)
        )
    if call.lengths is not None:
        alive = (step < call.lengths)[:, None]
        updated = tuple(torch.where(alive, new, old) for new, old in zip(updated, state, strict=True))
    return (updated[0] if output_is_state else output), updated


def scan_gates(call: GatedScan, input_gates: Tensor) -> tuple[Tensor, State]:
    """Run the loop over input gates that are already computed.

    Args:
        call: The whole call; its `inputs` are not read.
        input_gates: (batch, time, gates * hidden_size).

    Returns:
        Outputs (batch, time, output_size) and the last state.
    """
    state = call.state
    outputs = []
    for step, gates in enumerate(input_gates.unbind(1)):
        hidden = state[0] if call.hidden_mask is None else state[0] * call.hidden_mask
        hidden_gates = hidden_product(hidden, call.hidden_weight, heads=call.heads)
        if call.hidden_bias is not None:
            hidden_gates = hidden_gates + call.hidden_bias
        if call.reset_gate is not None:
            hidden_gates = _with_reset(call, gates, hidden_gates, hidden)
        output, state = advance(call, step, gates, hidden_gates, state)
        outputs.append(output)
    return torch.stack(outputs, 1), state  # (batch, time, output_size)


def _with_reset(call: GatedScan, input_gates: Tensor, hidden_gates: Tensor, hidden: Tensor) -> Tensor:
    assert call.reset_gate is not None
    size = hidden.shape[1]
    entering = call.reset_gate(input_gates, hidden_gates) * hidden  # (batch, hidden_size)
    last = hidden_product(entering, call.hidden_weight[-size:], heads=call.heads)
    if call.hidden_bias is not None:
        last = last + call.hidden_bias[-size:]
    return torch.cat([hidden_gates[:, :-size], last], 1)


class Reference(Backend):
    """The loops themselves; every other backend is tested against them."""

    def refuses(self, call: Scan) -> str | None:
        """Accept every call."""
        return None

    def gated_scan(self, call: GatedScan) -> tuple[Tensor, State]:
        """Loop over time in Python."""
        return scan_gates(call, linear(call.inputs, call.input_weight, call.input_bias))

    def diagonal_scan(self, call: DiagonalScan) -> Tensor:
        """Loop over time in Python."""
        hidden = call.initial
        states = []
        for decay, drive in zip(call.decay.unbind(1), call.drive.unbind(1), strict=True):
            hidden = decay * hidden + drive
            states.append(hidden)
        return torch.stack(states, 1)  # (batch, time, size)
