"""A formula as the text of two Triton kernels: all steps of a recurrence, and all of them back.

A kernel's program holds some rows of the batch, and of the units one head, whose part of the recurrent matrix it keeps
in registers over all steps; units that read themselves alone come in blocks of any size, and need no matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rnnkit.kernels.program import HIDDEN, INPUT, JOINED, OUTPUT, PARAMETER, ROW, STATE, Instruction, Program

# What an operation is in Triton, of its values and numbers. NaN has to come through: a diverging run must be seen.
EXPRESSIONS = {
    "number": "tl.full([ROWS, UNITS], {x}, TYPE)",
    "add": "{a} + {b}",
    "sub": "{a} - {b}",
    "mul": "{a} * {b}",
    "div": "{a} / {b}",
    "max": "tl.maximum({a}, {b}, propagate_nan=tl.PropagateNan.ALL)",
    "min": "tl.minimum({a}, {b}, propagate_nan=tl.PropagateNan.ALL)",
    "greater": "({a} > {b}).to(TYPE)",
    "select": "tl.where({a} != 0, {b}, {c})",
    "affine": "{a} * {x} + {y}",
    "sigmoid": "1 / (1 + tl.exp(-{a}))",
    "tanh": "2 / (1 + tl.exp(-2 * {a})) - 1",
    "relu": "tl.where({a} <= 0, 0, {a})",
    "exp": "tl.exp({a})",
    "log": "tl.log({a})",
    "sqrt": "tl.sqrt({a})",
    "rsqrt": "1 / tl.sqrt({a})",
    "reciprocal": "1 / {a}",
    "abs": "tl.abs({a})",
    "sign": "({a} > 0).to(TYPE) - ({a} < 0).to(TYPE)",
    "sigmoid_slope": "{a} * {b} * (1 - {b})",
    "tanh_slope": "{a} * (1 - {b} * {b})",
    "relu_slope": "tl.where({b} > 0, {a}, 0)",
    "row_sum": "tl.sum(tl.where(inside, {a}, 0), 1)[:, None]",
    "spread": "tl.broadcast_to({a}, [ROWS, UNITS])",
}

HEADER = """
import triton
import triton.language as tl


@triton.jit
def {name}(
    {arguments},
    batch, steps,
    TYPE: tl.constexpr, RAGGED: tl.constexpr, NUM_GATES: tl.constexpr, SIZE: tl.constexpr, HEAD: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr, PRECISION: tl.constexpr,
):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None].to(tl.int64)
    within = tl.arange(0, UNITS)
    first = tl.program_id(1) * HEAD
    units = (first + within)[None, :]
    real = (within < HEAD) & (first + within < SIZE)
    inside = (rows < batch) & real[None, :]
    whole = (within < HEAD)[:, None] & (within < HEAD)[None, :]
    places = rows * SIZE + units
    length = tl.load(lengths + rows, rows < batch, 0) if RAGGED else steps
"""


@dataclass(frozen=True)
class Recurrence:
    """A formula's step and its gradient, and how the state enters.

    Attributes:
        forward: Stores OUTPUT, unless that is the first part of STATE, and STATE.
        backward: Its gradient.
        num_gates: Of the inputs.
        num_states: Parts of the state.
        own_output: Whether the output is something else than the state's first part.
        parameters: Whether each part of the parameters is as wide as the units (else a single number).
        alone: Whether each unit reads itself alone, by the formula, and there are no gates of the state.
        joined: Whether the formula reads nothing but the sums of the inputs' gates and the state's.
    """

    forward: Program
    backward: Program
    num_gates: int
    num_states: int
    own_output: bool
    parameters: tuple[bool, ...]
    alone: bool
    joined: bool

    @property
    def whole_rows(self) -> bool:
        """Whether a step needs all units of a row at once."""
        both = (*self.forward.instructions, *self.backward.instructions)
        return any(one.kind == ROW or one.operation == "spread" for one in both)

    @property
    def kept(self) -> tuple[str, ...]:
        """Which gates the gradient reads."""
        return (JOINED,) if self.joined else (INPUT,) if self.alone else (INPUT, HIDDEN)


def forward_source(recurrence: Recurrence) -> tuple[str, list[str]]:
    """Write the kernel that runs all steps.

    Returns:
        Its text, and the names of the tensors that it takes, in order.
    """
    states, gates = range(recurrence.num_states), range(recurrence.num_gates)
    names = ["input_gates", *_unless(recurrence.alone, "hidden_weight", "hidden_bias", "kept_gates"), "outputs"]
    names += [f"{what}_{part}" for what in ("initial", "state") for part in states]
    names += [*_parameter_names(recurrence), "lengths"]
    lines = [f"now_{part} = tl.load(initial_{part} + places, inside, 0)" for part in states]
    lines += _load_parameters(recurrence) + _unless(recurrence.alone, *_load_matrix(gates, "within[:, None]"))
    step = ["when = step + tl.zeros_like(rows)", "at = rows * steps + when", "alive = inside & (when < length)"]
    step += [f"input_{gate} = {_gate('input_gates', gate)}" for gate in gates]
    if not recurrence.alone:
        step += ["entering = tl.where(inside, now_0, 0)"]
        for gate in gates:
            step += [f"hidden_{gate} = tl.dot(entering, weight_{gate}, input_precision=PRECISION) + bias_{gate}"]
            if recurrence.joined:
                step += [f"joined_{gate} = input_{gate} + hidden_{gate}"]
            kept = "joined" if recurrence.joined else "hidden"
            step += [f"tl.store({_gate_place('kept_gates', gate)}, {kept}_{gate}, alive)"]
    reads = {
        **{(array, gate): f"{array}_{gate}" for array in (INPUT, HIDDEN, JOINED) for gate in gates},
        **{(STATE, part): f"now_{part}" for part in states},
        **_parameters_by_place(recurrence),
    }
    step += _write(recurrence.forward, reads)
    if recurrence.own_output:
        step += [f"tl.store(outputs + at * SIZE + units, {_stored(recurrence.forward, OUTPUT, 0)}, inside)"]
    for part in states:
        step += [f"now_{part} = tl.where(alive, {_stored(recurrence.forward, STATE, part)}, now_{part})"]
    step += [f"tl.store(state_{part} + at * SIZE + units, now_{part}, inside)" for part in states]
    return _kernel("forward", names, lines, ("for step in range(steps):", step)), names


def backward_source(recurrence: Recurrence) -> tuple[str, list[str]]:
    """Write the kernel that runs all steps back, from the gradients of outputs and last state.

    Returns:
        Its text, and the names of the tensors that it takes, in order.
    """
    states, gates = range(recurrence.num_states), range(recurrence.num_gates)
    apart = not (recurrence.alone or recurrence.joined)
    names = [*(f"{name}_gates" for name in recurrence.kept), *_unless(recurrence.alone, "hidden_weight")]
    names += ["by_outputs", "by_input_gates", *_unless(not apart, "by_hidden_gates")]
    names += [f"{what}_{part}" for what in ("initial", "state", "by_state") for part in states]
    names += [*_parameter_names(recurrence), "by_parameters", "lengths"]
    lines = [f"flow_{part} = tl.load(by_state_{part} + places, inside, 0)" for part in states]
    lines += _load_parameters(recurrence) + _unless(recurrence.alone, *_load_matrix(gates, "within[None, :]"))
    for slot, wide in enumerate(recurrence.parameters):
        lines += [f"total_{slot} = tl.zeros([ROWS, {'UNITS' if wide else 1}], TYPE)"]
    step = [
        "when = steps - 1 - back + tl.zeros_like(rows)",
        "at = rows * steps + when",
        "alive = inside & (when < length)",
    ]
    step += [line for part in states for line in _load_before(part)]
    step += ["by_output = tl.load(by_outputs + at * SIZE + units, inside, 0)"]
    if not recurrence.own_output:
        step += ["flow_0 += by_output"]
    step += [f"{name}_{gate} = {_gate(f'{name}_gates', gate)}" for name in recurrence.kept for gate in gates]
    reads = {
        **{(array, gate): f"{array}_{gate}" for array in (INPUT, HIDDEN, JOINED) for gate in gates},
        **{(STATE, part): f"before_{part}" for part in states},
        (f"gradient of {OUTPUT}", 0): "by_output",
        **{(f"gradient of {STATE}", part): f"flow_{part}" for part in states},
        **_parameters_by_place(recurrence),
    }
    program = recurrence.backward
    step += _write(program, reads)
    step += _store_gates(recurrence)
    through = [f"tl.dot(by_hidden_{gate}, weight_{gate}, input_precision=PRECISION)" for gate in gates]
    for part in states:
        flow = _stored(program, f"gradient of {STATE}", part)
        flow = flow if part or recurrence.alone else " + ".join((flow, *through))
        step += [f"flow_{part} = tl.where(alive, {flow}, flow_{part})"]
    for one in program.instructions:
        if one.operation == "accumulate":
            assert one.place is not None
            alive = "alive" if recurrence.parameters[one.place[1]] else "(rows < batch) & (when < length)"
            step += [f"total_{one.place[1]} += tl.where({alive}, v{one.values[0]}, 0)"]
    end = [f"tl.store(by_state_{part} + places, flow_{part}, inside)" for part in states]
    parameters = len(recurrence.parameters)
    for slot, wide in enumerate(recurrence.parameters):
        at = f"by_parameters + (tl.program_id(0) * {parameters} + {slot}) * SIZE"
        if wide:
            end += [f"tl.store({at} + first + within, tl.sum(total_{slot}, 0), real)"]
        else:
            end += [f"tl.store({at}, tl.sum(total_{slot}))"]
    return _kernel("backward", names, lines, ("for back in range(steps):", step), end), names


def _load_before(part: int) -> list[str]:
    return [
        f"start = tl.load(initial_{part} + places, inside & (when == 0), 0)",
        f"before_{part} = tl.load(state_{part} + (at - 1) * SIZE + units, inside & (when > 0), 0) + start",
    ]


def _store_gates(recurrence: Recurrence) -> list[str]:
    """Write the gradients of the gates; those of the state's product stay at hand."""
    program = recurrence.backward
    first, second = (f"gradient of {name}" for name in (JOINED if recurrence.joined else INPUT, HIDDEN))
    lines = []
    for gate in range(recurrence.num_gates):
        lines += [f"by_input = tl.where(alive, {_stored(program, first, gate)}, 0)"]
        lines += [f"tl.store({_gate_place('by_input_gates', gate)}, by_input, inside)"]
        if recurrence.joined:
            lines += [f"by_hidden_{gate} = by_input"]
        elif not recurrence.alone:
            lines += [f"by_hidden_{gate} = tl.where(alive, {_stored(program, second, gate)}, 0)"]
            lines += [f"tl.store({_gate_place('by_hidden_gates', gate)}, by_hidden_{gate}, inside)"]
    return lines


def _kernel(
    name: str, names: Sequence[str], before: Sequence[str], loop: tuple[str, list[str]], after: Sequence[str] = ()
) -> str:
    head, body = loop
    lines = [*before, head, *(f"    {line}" for line in body), *after]
    return HEADER.format(name=name, arguments=", ".join(names)) + "".join(f"    {line}\n" for line in lines)


def _unless(condition: bool, *lines: str) -> list[str]:
    return [] if condition else list(lines)


def _gate_place(array: str, gate: int) -> str:
    return f"{array} + (at * NUM_GATES + {gate}) * SIZE + units"


def _gate(array: str, gate: int) -> str:
    return f"tl.load({_gate_place(array, gate)}, alive, 0)"


def _load_matrix(gates: Iterable[int], read: str) -> list[str]:
    # the unit read down and the unit written across, or the other way round
    written = "within[None, :]" if read == "within[:, None]" else "within[:, None]"
    lines = []
    for gate in gates:
        place = f"hidden_weight + ({gate} * SIZE + first + {written}) * HEAD + {read}"
        lines += [f"weight_{gate} = tl.load({place}, whole, 0)"]
        if read == "within[:, None]":
            lines += [f"bias_{gate} = tl.load(hidden_bias + {gate} * SIZE + units, real[None, :], 0)"]
    return lines


def _parameter_names(recurrence: Recurrence) -> list[str]:
    return [f"parameter_{slot}" for slot in range(len(recurrence.parameters))]


def _load_parameters(recurrence: Recurrence) -> list[str]:
    return [
        f"given_{slot} = tl.load(parameter_{slot} + units, real[None, :], 0)"
        if wide
        else f"given_{slot} = tl.load(parameter_{slot})"
        for slot, wide in enumerate(recurrence.parameters)
    ]


def _parameters_by_place(recurrence: Recurrence) -> dict[tuple[str, int], str]:
    return {(PARAMETER, slot): f"given_{slot}" for slot in range(len(recurrence.parameters))}


def _write(program: Program, reads: Mapping[tuple[str, int], str]) -> list[str]:
    """Write the instructions, one line each; what is stored and summed up is left to the caller."""
    return [
        f"v{place} = {_expression(one, reads)}"
        for place, one in enumerate(program.instructions)
        if one.operation not in ("store", "accumulate")
    ]


def _expression(one: Instruction, reads: Mapping[tuple[str, int], str]) -> str:
    if one.operation == "load":
        assert one.place is not None
        return reads[one.place]
    values = dict(zip("abc", (f"v{value}" for value in one.values), strict=False))
    numbers = dict(zip("xy", map(_number, one.numbers), strict=False))
    return EXPRESSIONS[one.operation].format(**values, **numbers)


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else f'float("{value}")'


def _stored(program: Program, array: str, part: int) -> str:
    stores = (one for one in program.instructions if one.operation == "store")
    return next(f"v{one.values[0]}" for one in stores if one.place == (array, part))
