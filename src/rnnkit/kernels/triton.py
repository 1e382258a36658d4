"""Our kernels for a GPU, in Triton: the diagonal scan, and formulas whose recurrent matrix fits in registers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from rnnkit.kernels.eager import weight_gradient
from rnnkit.kernels.formulas import once_a_formula
from rnnkit.kernels.nodes import diagonal_scan_by_steps, scan_by_steps
from rnnkit.kernels.program import OUTPUT, STATE, differentiate, join_gates
from rnnkit.kernels.scan import Backend, DiagonalScan, GatedScan, Scan, State, plain_only
from rnnkit.kernels.tracing import UntraceableError, parameter_slots, read_parameters, trace
from rnnkit.kernels.triton_source import Recurrence

# Units of a head: four gates of twice as many are more than a multiprocessor's registers.
LARGEST_HEAD = {torch.float32: 64, torch.float64: 32}

_made: WeakKeyDictionary[Any, dict[Any, _Traced | str]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class _Traced:
    """A formula's kernels, and which part of its parameters each slot is."""

    recurrence: Recurrence
    kernels: Any
    slots: list[range]


def _kernels() -> Any:
    return import_module("rnnkit.kernels.triton_scan")  # imports triton, which takes long and not everyone has


def _trace(call: GatedScan) -> _Traced | str:
    try:
        program = trace(call)
    except UntraceableError as error:
        return f"the Triton kernels cannot run this formula: {error}"
    size = call.state[0].shape[-1]
    num_gates, num_states = call.input_weight.shape[0] // size, len(call.state)
    stores = {one.place: one.values[0] for one in program.instructions if one.operation == "store"}
    own_output = stores[OUTPUT, 0] != stores[STATE, 0]
    if not own_output:
        program = program.without_waste(unwanted=(OUTPUT, 0))
    joined = None if call.diagonal else join_gates(program, num_gates)
    program = joined or program
    parameters = read_parameters(call)
    slots = parameter_slots(parameters, size)
    recurrence = Recurrence(
        forward=program,
        backward=differentiate(program, num_gates, num_states, lone=call.diagonal),
        num_gates=num_gates,
        num_states=num_states,
        own_output=own_output,
        parameters=tuple(p.numel() >= size for p, numbers in zip(parameters, slots, strict=True) for _ in numbers),
        alone=call.diagonal,
        joined=joined is not None,
    )
    if recurrence.whole_rows and call.heads > 1:
        return "the Triton kernels take means over the units of one head alone"
    # float64 is for comparison, where the last digits count
    precision = "tf32x3" if call.hidden_weight.dtype == torch.float32 else "ieee"
    return _Traced(recurrence, _kernels().compile_kernels(recurrence, precision), slots)


class _Steps:
    """One call laid out for the kernels: forward, and backward from what that recorded."""

    def __init__(self, call: GatedScan) -> None:
        self.call = call
        traced = once_a_formula(_made, call, _trace)
        assert isinstance(traced, _Traced)
        self.traced = traced
        self.recorded: Any = None

    def _arguments(self, input_gates: Tensor) -> Any:
        call, dtype = self.call, self.call.hidden_weight.dtype
        bias = call.hidden_bias
        if bias is None and not call.diagonal:
            bias = call.hidden_weight.new_zeros(len(call.hidden_weight))
        flat = [part.detach().to(dtype).reshape(-1) for part in read_parameters(call)]
        size = call.state[0].shape[-1]
        parts = [
            part[(number - numbers.start) * size :][:size]
            for part, numbers in zip(flat, self.traced.slots, strict=True)
            for number in numbers
        ]
        return _kernels().Arguments(
            input_gates=input_gates.detach().contiguous(),
            hidden_weight=None if call.diagonal else call.hidden_weight.detach().contiguous(),
            hidden_bias=None if call.diagonal else bias,
            initial=[part.detach().contiguous() for part in call.state],
            parameters=parts,
            lengths=call.lengths,
        )

    def run(self, input_gates: Tensor) -> tuple[Tensor, State]:
        """Run over time: (batch, time, num_gates * size) to the outputs (batch, time, size) and the last state."""
        self.arguments = self._arguments(input_gates)
        self.recorded = _kernels().run_forward(self.traced.kernels, self.arguments)
        # clones: who changes what he was given must not change what the way back reads
        return self.recorded.outputs.clone(), tuple(part[:, -1].clone() for part in self.recorded.states)

    def gradients(self, outputs: Tensor, state: State, *, by_weight: bool) -> tuple[Tensor | None, ...]:
        """Run back, from gradients to gradients in the order of the node's tensors."""
        call, arguments = self.call, self.arguments
        found = _kernels().run_backward(self.traced.kernels, arguments, self.recorded, outputs.contiguous(), state)
        totals = self._by_parameter(found.parameters)
        weight = bias = None
        if call.diagonal:
            weight, *rest = totals[len(call.parameters) :]
            bias = rest[0] if rest else None
            totals = totals[: len(call.parameters)]
        else:
            if by_weight:
                before = torch.cat([arguments.initial[0][:, None], self.recorded.states[0][:, :-1]], 1)
                weight = weight_gradient(found.hidden_gates, before, heads=call.heads)
            if call.hidden_bias is not None:
                bias = found.hidden_gates.sum((0, 1))
        return (found.input_gates, weight, bias, None, *found.initial, *totals)

    def _by_parameter(self, totals: list[Tensor]) -> list[Tensor]:
        rest = iter(totals)
        read = read_parameters(self.call)
        found = [
            torch.cat([next(rest) for _ in numbers]).view_as(part) if numbers else torch.zeros_like(part)
            for part, numbers in zip(read, self.traced.slots, strict=True)
        ]
        if self.call.diagonal:
            found[len(self.call.parameters)] = found[len(self.call.parameters)].view_as(self.call.hidden_weight)
        return found


class _DiagonalSteps:
    """The diagonal scan's kernels."""

    def states(self, decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
        """Run forward."""
        return _kernels().diagonal_states(decay, drive, initial)

    def gradients(self, decay: Tensor, initial: Tensor, hidden: Tensor, by_hidden: Tensor) -> tuple[Tensor, ...]:
        """Run back."""
        return _kernels().diagonal_gradients(decay, initial, hidden, by_hidden)


class Triton(Backend):
    """Our GPU kernels; with TRITON_INTERPRET=1 Triton runs them on a CPU too, step by step, to be tested."""

    def refuses(self, call: Scan) -> str | None:
        """Name what the kernels lack for `call`."""
        reason = _refuses_machine(call) or plain_only()
        if reason is not None or isinstance(call, DiagonalScan):
            return reason
        options = {
            "gate that enters the product": call.reset_gate,
            "projection": call.projection,
            "mask on the recurrent input (variational dropout)": call.hidden_mask,
            "zoneout": call.zoneout or None,
        }
        for name, value in options.items():
            if value is not None:
                return f"the Triton kernels have no {name}"
        head, largest = call.hidden_weight.shape[1], LARGEST_HEAD[call.hidden_weight.dtype]
        if head > largest:
            return f"the Triton kernels hold up to {largest} units of a head in registers, not {head}"
        traced = once_a_formula(_made, call, _trace)
        return traced if isinstance(traced, str) else None

    def yields(self, call: Scan) -> str | None:
        """Let another backend run on a CPU unless this one is asked for."""
        return None if _carried(call).is_cuda else "on a CPU Triton is interpreted, which is slow"

    def gated_scan(self, call: GatedScan) -> tuple[Tensor, State]:
        """Project all inputs in one product, then run all steps in one kernel."""
        return scan_by_steps(call, lambda call, recording: _Steps(call))

    def diagonal_scan(self, call: DiagonalScan) -> Tensor:
        """Run by chunks of steps."""
        return diagonal_scan_by_steps(call, _DiagonalSteps())


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _refuses_machine(call: Scan) -> str | None:
    carried = _carried(call)
    device = carried.device.type
    if device != "cuda" and not (device == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"):
        return "the Triton kernels run on a GPU"
    if not _has_triton():
        return "triton is not installed, which our GPU kernels need"
    if carried.dtype not in (torch.float32, torch.float64):
        return f"the Triton kernels take a state of float32 or float64, not {carried.dtype}"
    return None


def _carried(call: Scan) -> Tensor:
    """Return what is as wide as the numbers that are carried, and where they are."""
    return call.initial if isinstance(call, DiagonalScan) else call.hidden_weight
