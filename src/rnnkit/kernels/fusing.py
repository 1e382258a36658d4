"""Fewer and longer instructions: a product that only a sum reads becomes a part of the sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from rnnkit.kernels.program import Instruction, Program

SUMS = ("row_sum", "accumulate")
LARGEST = 1e30  # number in a program: float32 ends at 3e38


def fuse(program: Program) -> Program:
    """Return a program with the same results in fewer instructions.

    Args:
        program: As traced or differentiated.

    Returns:
        One in which a * b + c, the sum over a * b, a - b of a + (-1) b and two scales are one instruction each, unless
        the parts are wanted by themselves; and what is one number a row is read as it is.
    """
    fused = _without_spreads(program.instructions)
    used = Counter(value for one in fused for value in one.values)

    def alone(value: int, operation: str) -> bool:
        return fused[value].operation == operation and used[value] == 1

    for place, one in enumerate(fused):
        kinds = {fused[value].kind for value in one.values}
        if one.operation == "add":
            fused[place] = _fuse_sum(fused, one, alone)
        elif one.operation in SUMS and alone(one.values[0], "mul"):
            fused[place] = _with(one, one.operation, fused[one.values[0]].values)
        elif one.operation == "affine" and alone(one.values[0], "affine") and kinds == {one.kind}:
            before = fused[one.values[0]]
            scale, shift = one.numbers
            numbers = (scale * before.numbers[0], scale * before.numbers[1] + shift)
            if 0.0 in (shift, before.numbers[1]) and all(abs(number) < LARGEST for number in numbers):
                fused[place] = Instruction("affine", one.kind, before.values, None, numbers)
    return Program(fused).without_waste()


def _without_spreads(instructions: Sequence[Instruction]) -> list[Instruction]:
    source: dict[int, int] = {}  # result of a spread: what it spreads
    found = []
    for place, one in enumerate(instructions):
        if one.operation == "spread":
            source[place] = source.get(one.values[0], one.values[0])
        found.append(_with(one, one.operation, tuple(source.get(value, value) for value in one.values)))
    return found


def _fuse_sum(fused: list[Instruction], one: Instruction, alone: Callable[[int, str], bool]) -> Instruction:
    a, b = one.values
    if a == b:
        return one
    for this, other in ((a, b), (b, a)):
        if alone(this, "mul"):
            return _with(one, "mul_add", (*fused[this].values, other))
        if alone(this, "affine") and fused[this].numbers == (-1.0, 0.0):
            return _with(one, "sub", (other, *fused[this].values))
    return one


def _with(one: Instruction, operation: str, values: tuple[int, ...]) -> Instruction:
    return Instruction(operation, one.kind, values, one.place, one.numbers)
