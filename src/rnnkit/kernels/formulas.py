"""The formula of a call as the C++ core runs it: one it knows by name, or a program made of the call's `update`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from rnnkit.kernels.core import FORMULAS, Formula, core
from rnnkit.kernels.fusing import fuse
from rnnkit.kernels.program import OUTPUT, STATE, differentiate, encode, join_gates, record
from rnnkit.kernels.scan import GatedScan
from rnnkit.kernels.tracing import UntraceableError, parameter_slots, read_parameters, trace


@dataclass(frozen=True, eq=False)
class Compiled:
    """A formula that is a program.

    Attributes:
        formula: Its gates: all of them joined, all apart, or all alone.
        forward: The step, in C++.
        backward: Its gradient.
        own_output: Whether the output is something else than the new state's first part.
        slots: The numbers of each parameter's parts.
    """

    formula: Formula
    forward: Any
    backward: Any
    own_output: bool
    slots: list[range]


MOST_STATES = 4

_made: WeakKeyDictionary[Any, dict[Any, Compiled | str]] = WeakKeyDictionary()


def formula_of(call: GatedScan) -> Formula | Compiled | str:
    """Return the formula of a call, or why the C++ core cannot run it."""
    if call.formula in FORMULAS and not call.diagonal:
        return FORMULAS[call.formula]
    return once_a_formula(_made, call, _compile)


def once_a_formula(
    made: WeakKeyDictionary[Any, dict[Any, Any]], call: GatedScan, make: Callable[[GatedScan], Any]
) -> Any:
    """Return what `make` makes of a call, from `made` where it was made of the same formula at the same sizes."""
    owner = getattr(call.update, "__self__", call.update)
    key = (_settings(owner), _shapes(call.tensors()), call.projection is not None, call.diagonal)
    found = made.setdefault(owner, {})
    if key not in found:
        found[key] = make(call)
    return found[key]


def _settings(owner: Any) -> tuple[Any, ...]:
    # a program is made anew where a number that the formula may have read has changed
    modules = owner.modules() if isinstance(owner, nn.Module) else []
    return tuple(
        (name, value)
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, int | float | str | tuple)
    )


def _shapes(tensors: Sequence[Tensor | None]) -> tuple[Any, ...]:
    return tuple(None if t is None else (t.shape[-1] if t.dim() else 0, t.dim(), t.dtype) for t in tensors)


def _compile(call: GatedScan) -> Compiled | str:
    if len(call.state) > MOST_STATES:
        return f"the C++ kernels take {MOST_STATES} parts of a state, not {len(call.state)}"
    try:
        program = trace(call)
    except UntraceableError as error:
        return f"the C++ kernels cannot run this formula: {error}"
    size = call.state[-1].shape[-1]
    num_gates, num_states = call.input_weight.shape[0] // size, len(call.state)
    stores = {one.place: one.values[0] for one in program.instructions if one.operation == "store"}
    own_output = stores[OUTPUT, 0] != stores[STATE, 0]
    if not own_output:
        program = program.without_waste(unwanted=(OUTPUT, 0))
    joined = join_gates(program, num_gates)
    program = joined or program
    if joined:
        program, gradient = record(program, num_gates, num_states)
    else:
        gradient = differentiate(program, num_gates, num_states, lone=call.diagonal)
    try:
        forward, backward = (encode(fuse(one), core) for one in (program, gradient))
    except (ValueError, IndexError):
        return "the C++ kernels cannot run this formula: it has too many gates, parameters or values"
    if call.diagonal:
        formula = Formula("program", 0, lone=num_gates)
    else:
        formula = Formula("program", num_gates) if joined else Formula("program", 0, num_gates)
    slots = parameter_slots(read_parameters(call), size)
    return Compiled(formula, forward, backward, own_output, slots)


def parameter_addresses(parameters: Sequence[Tensor], slots: Sequence[range], size: int) -> list[int]:
    """Return the address of every part that a program reads, in order of their numbers."""
    bytes_a_part = size * parameters[0].element_size() if parameters else 0
    return [
        parameter.data_ptr() + (number - numbers.start) * bytes_a_part
        for parameter, numbers in zip(parameters, slots, strict=True)
        for number in numbers
    ]
