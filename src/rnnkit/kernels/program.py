"""An `update` as a list of instructions for the C++ core, and the list that differentiates it.

A value is as wide as the units, one number for each, or it is one number a row, such as a mean over the units. What is
wider, such as all gates together, is several values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

UNIT, ROW = "unit", "row"
SLOW = ("sigmoid", "tanh", "exp", "log")

# What an instruction reads or writes in memory, with the number of the gate, state part or parameter slice.
INPUT, HIDDEN, JOINED, STATE, PARAMETER, OUTPUT = "input", "hidden", "joined", "state", "parameter", "output"
GATES = (INPUT, HIDDEN, JOINED)
RECORDED = "recorded"  # in the place of joined gates: results that the gradient needs


@dataclass(frozen=True)
class Instruction:
    """One operation on values that are named by their places in the list.

    Attributes:
        operation: Its name, of `OPERATIONS`.
        kind: UNIT or ROW.
        values: What it reads.
        place: For what touches memory: which array, and which part of it.
        numbers: Constants.
    """

    operation: str
    kind: str = UNIT
    values: tuple[int, ...] = ()
    place: tuple[str, int] | None = None
    numbers: tuple[float, ...] = ()


@dataclass
class Program:
    """Instructions in order; what is stored is the program's result."""

    instructions: list[Instruction] = field(default_factory=list)

    def emit(self, operation: str, *values: int, kind: str | None = None, **other: object) -> int:
        """Add an instruction, or find the same one, and return its place."""
        if kind is None:
            kind = self.instructions[values[0]].kind
        instruction = Instruction(operation, kind, values, **other)  # type: ignore[arg-type]
        if operation not in ("store", "accumulate") and instruction in self.instructions:
            return self.instructions.index(instruction)
        self.instructions.append(instruction)
        return len(self.instructions) - 1

    def load(self, array: str, part: int, *, kind: str = UNIT) -> int:
        """Read one part of an array."""
        return self.emit("load", kind=kind, place=(array, part))

    def store(self, value: int, array: str, part: int) -> None:
        """Write one part of an array."""
        self.emit("store", value, place=(array, part))

    def spread(self, value: int) -> int:
        """Turn one number a row into one for each unit."""
        return value if self.instructions[value].kind == UNIT else self.emit("spread", value, kind=UNIT)

    def both(self, operation: str, a: int, b: int) -> int:
        """Add an instruction of two values, after giving them one kind."""
        if self.instructions[a].kind != self.instructions[b].kind:
            a, b = self.spread(a), self.spread(b)
        return self.emit(operation, a, b)

    def affine(self, value: int, scale: float, shift: float) -> int:
        """Return scale * value + shift."""
        return value if (scale, shift) == (1.0, 0.0) else self.emit("affine", value, numbers=(scale, shift))

    def number(self, value: float) -> int:
        """Return a constant, for each unit."""
        return self.emit("number", kind=UNIT, numbers=(value,))

    def without_waste(self, unwanted: tuple[str, int] | None = None) -> Program:
        """Drop what no stored value depends on; what is stored at `unwanted` too."""
        wanted = [one.operation in ("store", "accumulate") and one.place != unwanted for one in self.instructions]
        for place in range(len(wanted) - 1, -1, -1):
            if wanted[place]:
                for value in self.instructions[place].values:
                    wanted[value] = True
        new_place: dict[int, int] = {}
        kept = Program()
        for place, one in enumerate(self.instructions):
            if wanted[place]:
                new_place[place] = len(kept.instructions)
                values = tuple(new_place[value] for value in one.values)
                kept.instructions.append(Instruction(one.operation, one.kind, values, one.place, one.numbers))
        return kept


def join_gates(program: Program, num_gates: int) -> Program | None:
    """Return the program on the sums of input and hidden gates, if it reads nothing but their sums."""
    pairs: dict[int, int] = {}  # place of an addition: its gate
    used = [0] * len(program.instructions)
    for place, one in enumerate(program.instructions):
        for value in one.values:
            used[value] += 1
        read = [program.instructions[value].place for value in one.values]
        if one.operation == "add" and {part and part[0] for part in read} == {INPUT, HIDDEN}:
            gates = [part[1] for part in read if part]
            if gates[0] == gates[1]:
                pairs[place] = gates[0]
    loads = [place for place, one in enumerate(program.instructions) if one.place and one.place[0] in (INPUT, HIDDEN)]
    if len(pairs) != num_gates or len(loads) != 2 * num_gates or any(used[place] != 1 for place in loads):
        return None
    joined = [
        Instruction("load", place=(JOINED, pairs[place])) if place in pairs else one
        for place, one in enumerate(program.instructions)
    ]
    return Program(joined).without_waste()


def record(forward: Program, num_gates: int, num_states: int) -> tuple[Program, Program]:
    """Return the program and its gradient, with results that take long kept in place of the gates they came from.

    Args:
        forward: Its stores are the results: OUTPUT and STATE.
        num_gates: Gates, each of INPUT and HIDDEN or of JOINED.
        num_states: Parts of the state.

    Returns:
        Both programs; where the gradient needs the gates themselves nothing is kept, and the step is computed again.
    """
    slow = [place for place, one in enumerate(forward.instructions) if one.operation in SLOW and one.kind == UNIT]
    kept = {place: slot for slot, place in enumerate(slow[:num_gates])}
    backward = differentiate(forward, num_gates, num_states, kept)
    if any(one.place and one.place[0] in GATES and one.operation == "load" for one in backward.instructions):
        return forward, differentiate(forward, num_gates, num_states)
    recording = Program(list(forward.instructions))
    for place, slot in kept.items():
        recording.store(place, RECORDED, slot)
    return recording, backward


def differentiate(
    forward: Program,
    num_gates: int,
    num_states: int,
    recorded: Mapping[int, int] = MappingProxyType({}),
    *,
    lone: bool = False,
) -> Program:
    """Return the program that computes a step again and turns gradients of its results into those of what it read.

    Args:
        forward: Its stores are the results: OUTPUT and STATE.
        num_gates: Gates, each of INPUT and HIDDEN or of JOINED.
        num_states: Parts of the state.
        recorded: Values that are read from RECORDED instead, each with its slot.
        lone: Whether there are no HIDDEN gates.

    Returns:
        A program that reads what `forward` reads and the gradients ("gradient of output", ...), stores the gradients of
        gates and states, and accumulates those of PARAMETER.
    """
    back = Program()
    flows: dict[int, int] = {}  # value of the forward program: its gradient
    copied: list[int] = []
    for place, one in enumerate(forward.instructions):
        if one.operation == "store":
            copied.append(-1)
            continue
        if place in recorded:
            back.load(RECORDED, recorded[place])
        else:
            values = tuple(copied[value] for value in one.values)
            back.instructions.append(Instruction(one.operation, one.kind, values, one.place, one.numbers))
        copied.append(len(back.instructions) - 1)

    def flow(value: int, gradient: int) -> None:
        flows[value] = gradient if value not in flows else back.both("add", flows[value], gradient)

    for place in range(len(forward.instructions) - 1, -1, -1):
        one = forward.instructions[place]
        if one.operation == "store":
            assert one.place is not None
            flow(one.values[0], back.load(f"gradient of {one.place[0]}", one.place[1]))
        elif place in flows:
            gradient = flows[place]
            if one.operation == "load":
                assert one.place is not None
                operation = "accumulate" if one.place[0] == PARAMETER else "store"
                back.emit(operation, gradient, kind=one.kind, place=(f"gradient of {one.place[0]}", one.place[1]))
            elif one.operation in SLOPES:
                values = tuple(copied[value] for value in one.values)
                found = SLOPES[one.operation](back, gradient, values, copied[place], one.numbers)
                for value, by_value in zip(one.values, found, strict=True):
                    if by_value is not None:
                        flow(value, by_value)
    arrays = {one.place[0] for one in forward.instructions if one.place is not None}
    gates = (JOINED,) if JOINED in arrays else (INPUT,) if lone else (INPUT, HIDDEN)
    stored = {one.place for one in back.instructions if one.operation == "store"}
    for array, count in (*((array, num_gates) for array in gates), (STATE, num_states)):
        for part in range(count):
            if (f"gradient of {array}", part) not in stored:  # nothing depends on it
                back.store(back.number(0.0), f"gradient of {array}", part)
    return back.without_waste()


# Gradient of the result, what the instruction read, its result, its numbers -> gradients of what it read.
Slope = Callable[["Program", int, Sequence[int], int, Sequence[float]], list[int | None]]


def _add(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return [g, g]


def _sub(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return [g, p.affine(g, -1.0, 0.0)]


def _mul(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return [p.emit("mul", g, v[1]), p.emit("mul", g, v[0])]


def _div(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    by_first = p.emit("div", g, v[1])
    return [by_first, p.affine(p.emit("mul", by_first, y), -1.0, 0.0)]


def _choose(p: Program, g: int, condition: int) -> list[int | None]:
    other = p.affine(condition, -1.0, 1.0)
    return [p.emit("mul", g, condition), p.emit("mul", g, other)]


def _max(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return _choose(p, g, p.emit("greater", v[0], v[1]))


def _min(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return _choose(p, g, p.emit("greater", v[1], v[0]))


def _select(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return [None, *_choose(p, g, v[0])]


def _affine(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return [p.affine(g, n[0], 0.0)]


def _by_result(name: str) -> Slope:
    def slope(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
        return [p.emit(name, g, y)]

    return slope


def _reciprocal(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return [p.affine(p.emit("mul", p.emit("mul", g, y), y), -1.0, 0.0)]  # in this order: y * y may be too small


def _rsqrt(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return [p.affine(p.emit("mul", p.emit("mul", p.emit("mul", g, y), y), y), -0.5, 0.0)]


def _exp(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return [p.emit("mul", g, y)]


def _log(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return [p.emit("div", g, v[0])]


def _sqrt(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return [p.affine(p.emit("div", g, y), 0.5, 0.0)]


def _abs(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return [p.emit("mul", g, p.emit("sign", v[0]))]


def _row_sum(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return [p.spread(g)]


def _spread(p: Program, g: int, v: Sequence[int], y: int, n: Sequence[float]) -> list[int | None]:
    return [p.emit("row_sum", g, kind=ROW)]


SLOPES: dict[str, Slope] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "max": _max,
    "min": _min,
    "select": _select,
    "affine": _affine,
    "sigmoid": _by_result("sigmoid_slope"),
    "tanh": _by_result("tanh_slope"),
    "relu": _by_result("relu_slope"),
    "exp": _exp,
    "log": _log,
    "sqrt": _sqrt,
    "rsqrt": _rsqrt,
    "reciprocal": _reciprocal,
    "abs": _abs,
    "row_sum": _row_sum,
    "spread": _spread,
}


def encode(program: Program, core: Any) -> Any:
    """Give every value a register, free again after its last use, and hand the program to C++.

    Args:
        program: Of a step, or of its gradient.
        core: The C++ module.

    Returns:
        The C++ program.

    Raises:
        ValueError: If it has too many values, gates or parameters.
    """
    last_use = {value: place for place, one in enumerate(program.instructions) for value in one.values}
    registers: dict[int, int] = {}
    free: list[int] = []
    count = 0
    native = core.Program()
    for place, one in enumerate(program.instructions):
        result = -1
        if one.operation not in ("store", "accumulate"):
            if not free:
                free.append(count)
                count += 1
            result = registers[place] = free.pop()
        read = [registers[value] for value in one.values]
        array, part = _array(one)
        numbers = (*one.numbers, 0.0, 0.0)
        native.add(
            getattr(core.Operation, one.operation),
            one.kind == ROW,
            [result, *read, *[-1] * (3 - len(read))],
            getattr(core.Array, array),
            part,
            numbers[0],
            numbers[1],
        )
        free += [registers[value] for value in set(one.values) if last_use[value] == place]
    return native


def _array(one: Instruction) -> tuple[str, int]:
    if one.place is None:
        return INPUT, 0
    name, part = one.place
    if name == RECORDED:
        return JOINED, part
    if name.startswith("gradient of "):
        name = "by_" + name.removeprefix("gradient of ")
        return ("by_new_state" if name == "by_state" and one.operation == "load" else name), part
    return ("new_state" if name == STATE and one.operation == "store" else name), part
