"""The Triton kernels: the diagonal scan, and formulas compiled as `triton_source` writes them. Imports triton."""

# Triton makes constexpr of the numbers it is given, and its types ask for what it makes.
# pyright: reportArgumentType=false

from __future__ import annotations

import linecache
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from rnnkit.kernels.triton_source import Recurrence, backward_source, forward_source

TYPES = {torch.float32: tl.float32, torch.float64: tl.float64}

# The diagonal scan: some steps at once, each chunk by a scan over it, in one program for one row and some units.
CHUNK_STEPS, CHUNK_UNITS = 64, 32

# A recurrence: rows and units of a program.
ROWS, LONE_UNITS, LEAST_UNITS = 16, 32, 16


@triton.jit
def _after(decay, drive, later_decay, later_drive):
    """Compose two steps of h = decay * h + drive."""
    return decay * later_decay, later_decay * drive + later_drive


@triton.jit
def _diagonal_forward(  # noqa: PLR0917 - a kernel is called by place
    decay, drive, initial, hidden, steps, size, STEPS: tl.constexpr, UNITS: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    units = tl.program_id(1) * UNITS + tl.arange(0, UNITS)
    inside = units < size
    now = tl.load(initial + row * size + units, inside, 0)[None, :]
    within = tl.arange(0, STEPS)[:, None]
    for start in range(0, steps, STEPS):
        places = (row * steps + start + within) * size + units[None, :]
        valid = (start + within < steps) & inside[None, :]
        factors, sums = tl.associative_scan(
            (tl.load(decay + places, valid, 1), tl.load(drive + places, valid, 0)), 0, _after
        )
        states = factors * now + sums
        tl.store(hidden + places, states, valid)
        now = tl.sum(tl.where(within == STEPS - 1, states, 0), 0)[None, :]


@triton.jit
def _diagonal_backward(  # noqa: PLR0917
    decay, initial, hidden, by_hidden, by_decay, by_drive, by_initial, steps, size,
    STEPS: tl.constexpr, UNITS: tl.constexpr,
):  # fmt: skip
    # the same recurrence from the end: flow = decay of the next step * flow of the next step + gradient of this h
    row = tl.program_id(0).to(tl.int64)
    units = tl.program_id(1) * UNITS + tl.arange(0, UNITS)
    inside = units < size
    begin = tl.load(initial + row * size + units, inside, 0)[None, :]
    flow = tl.zeros_like(begin)
    within = tl.arange(0, STEPS)[:, None]
    for start in range(tl.cdiv(steps, STEPS) * STEPS - STEPS, -1, -STEPS):
        places = (row * steps + start + within) * size + units[None, :]
        valid = (start + within < steps) & inside[None, :]
        next_decay = tl.load(decay + places + size, (start + within + 1 < steps) & inside[None, :], 1)
        gradient = tl.load(by_hidden + places, valid, 0)
        factors, sums = tl.associative_scan((next_decay, gradient), 0, _after, reverse=True)
        flows = factors * flow + sums
        before = tl.load(hidden + places - size, valid & (start + within > 0), 0)
        before = tl.where(start + within == 0, begin, before)
        tl.store(by_drive + places, flows, valid)
        tl.store(by_decay + places, flows * before, valid)
        flow = tl.sum(tl.where(within == 0, flows, 0), 0)[None, :]
    first_decay = tl.load(decay + row * steps * size + units, inside, 0)[None, :]
    tl.store(by_initial + row * size + units[None, :], flow * first_decay, inside[None, :])


def diagonal_states(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """Run h = decay * h + drive: contiguous (batch, time, size) twice and (batch, size), to every h."""
    hidden = torch.empty_like(drive)
    batch, steps, size = drive.shape
    grid = (batch, triton.cdiv(size, CHUNK_UNITS))
    _diagonal_forward[grid](decay, drive, initial, hidden, steps, size, CHUNK_STEPS, CHUNK_UNITS)
    return hidden


def diagonal_gradients(decay: Tensor, initial: Tensor, hidden: Tensor, by_hidden: Tensor) -> tuple[Tensor, ...]:
    """Run back from the gradient of every h to those of decay, drive and the initial h; all contiguous."""
    found = (torch.empty_like(decay), torch.empty_like(decay), torch.empty_like(initial))
    batch, steps, size = decay.shape
    grid = (batch, triton.cdiv(size, CHUNK_UNITS))
    _diagonal_backward[grid](decay, initial, hidden, by_hidden, *found, steps, size, CHUNK_STEPS, CHUNK_UNITS)
    return found


@dataclass(frozen=True, eq=False)
class Kernels:
    """A formula's two kernels, and how they are launched."""

    recurrence: Recurrence
    forward: Any
    backward: Any
    precision: str


@dataclass(frozen=True, eq=False)
class Arguments:
    """What a recurrence reads, each contiguous and of one type.

    Attributes:
        input_gates: (batch, time, num_gates * size).
        hidden_weight: (num_gates * size, head_size); None where units read themselves alone.
        hidden_bias: (num_gates * size,), or None likewise.
        initial: (batch, size) each.
        parameters: Parts that the formula reads, (size,) or a single number each.
        lengths: (batch,), or None.
    """

    input_gates: Tensor
    hidden_weight: Tensor | None
    hidden_bias: Tensor | None
    initial: Sequence[Tensor]
    parameters: Sequence[Tensor]
    lengths: Tensor | None


@dataclass(frozen=True, eq=False)
class Recorded:
    """What the forward pass leaves to the backward pass.

    Attributes:
        gates: (batch, time, num_gates * size), of the state or of both; None where units read themselves alone.
        outputs: (batch, time, size).
        states: (batch, time, size) each.
    """

    gates: Tensor | None
    outputs: Tensor
    states: Sequence[Tensor]


def compile_kernels(recurrence: Recurrence, precision: str) -> Kernels:
    """Compile both kernels.

    Args:
        recurrence: Formula.
        precision: Of products, as `tl.dot` names it.

    Returns:
        What `run_forward` and `run_backward` take.
    """
    forward, backward = (_define(source(recurrence)[0]) for source in (forward_source, backward_source))
    return Kernels(recurrence, forward["forward"], backward["backward"], precision)


@cache
def _define(source: str) -> dict[str, Any]:
    # triton reads a kernel's text where inspect finds it
    name = f"<rnnkit kernel {hash(source):x}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    space: dict[str, Any] = {"__name__": __name__}
    exec(compile(source, name, "exec"), space)
    return space


def run_forward(kernels: Kernels, given: Arguments) -> Recorded:
    """Run over all steps."""
    recurrence = kernels.recurrence
    batch, steps, width = given.input_gates.shape
    size = width // recurrence.num_gates
    like = given.input_gates
    states = [like.new_empty(batch, steps, size) for _ in given.initial]
    outputs = like.new_empty(batch, steps, size) if recurrence.own_output else states[0]
    gates = None if recurrence.alone else torch.empty_like(like)
    tensors = {
        "input_gates": like,
        "hidden_weight": given.hidden_weight,
        "hidden_bias": given.hidden_bias,
        "kept_gates": gates,
        "outputs": outputs,
        **_numbered(initial=given.initial, state=states, parameter=given.parameters),
        "lengths": given.lengths,
    }
    _launch(kernels, kernels.forward, forward_source(recurrence)[1], tensors, given)
    return Recorded(gates, outputs, states)


@dataclass(frozen=True, eq=False)
class Gradients:
    """Of what a recurrence read.

    Attributes:
        input_gates: (batch, time, num_gates * size).
        hidden_gates: The same of the state's product; the same tensor where the formula reads sums alone.
        initial: (batch, size) each.
        parameters: As in `Arguments`.
    """

    input_gates: Tensor
    hidden_gates: Tensor
    initial: Sequence[Tensor]
    parameters: Sequence[Tensor]


def run_backward(
    kernels: Kernels, given: Arguments, recorded: Recorded, by_outputs: Tensor, by_last: Sequence[Tensor]
) -> Gradients:
    """Run back over all steps.

    Args:
        kernels: The same as forward.
        given: The same as forward.
        recorded: What that gave.
        by_outputs: (batch, time, size), contiguous.
        by_last: (batch, size) each.

    Returns:
        The gradients.
    """
    recurrence = kernels.recurrence
    batch, _, width = given.input_gates.shape
    size = width // recurrence.num_gates
    apart = not (recurrence.alone or recurrence.joined)
    by_input = torch.empty_like(given.input_gates)
    by_hidden = torch.empty_like(by_input) if apart else by_input
    by_state = [part.clone(memory_format=torch.contiguous_format) for part in by_last]
    by_parameters = by_input.new_zeros(_row_blocks(recurrence, batch), len(given.parameters), size)
    tensors = {
        "input_gates": given.input_gates,
        "hidden_gates": recorded.gates,
        "joined_gates": recorded.gates,
        "hidden_weight": given.hidden_weight,
        "by_outputs": by_outputs,
        "by_input_gates": by_input,
        "by_hidden_gates": by_hidden,
        "by_parameters": by_parameters,
        **_numbered(initial=given.initial, state=recorded.states, by_state=by_state, parameter=given.parameters),
        "lengths": given.lengths,
    }
    _launch(kernels, kernels.backward, backward_source(recurrence)[1], tensors, given)
    sums = by_parameters.sum(0)
    totals = [total[: part.numel()] for total, part in zip(sums, given.parameters, strict=True)]
    return Gradients(by_input, by_hidden, by_state, totals)


def _numbered(**parts: Sequence[Tensor]) -> dict[str, Tensor]:
    return {f"{name}_{part}": tensor for name, tensors in parts.items() for part, tensor in enumerate(tensors)}


def _row_blocks(recurrence: Recurrence, batch: int) -> int:
    return batch if recurrence.alone else triton.cdiv(batch, ROWS)


def _launch(
    kernels: Kernels, kernel: Any, names: Sequence[str], tensors: dict[str, Tensor | None], given: Arguments
) -> None:
    recurrence = kernels.recurrence
    batch, steps, width = given.input_gates.shape
    size = width // recurrence.num_gates
    head = LONE_UNITS if given.hidden_weight is None else given.hidden_weight.shape[1]
    rows, units = (1, head) if recurrence.alone else (ROWS, max(LEAST_UNITS, triton.next_power_of_2(head)))
    kernel[(_row_blocks(recurrence, batch), triton.cdiv(size, head))](
        *(tensors[name] for name in names),
        batch,
        steps,
        TYPE=TYPES[given.input_gates.dtype],
        RAGGED=given.lengths is not None,
        NUM_GATES=recurrence.num_gates,
        SIZE=size,
        HEAD=head,
        ROWS=rows,
        UNITS=units,
        PRECISION=kernels.precision,
        num_warps=1 if recurrence.alone else 4 if units < 64 else 8,
    )
