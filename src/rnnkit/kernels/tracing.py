"""Write down what an `update` does: it is called once on a small batch, every torch operation becomes instructions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rnnkit.kernels.program import HIDDEN, INPUT, OUTPUT, PARAMETER, ROW, STATE, UNIT, Program
from rnnkit.kernels.scan import GatedScan

aten = torch.ops.aten

ROWS = 2  # of the batch on which the formula is called


class UntraceableError(Exception):
    """The formula does something that the C++ core cannot; the message says what."""


class _Wide(tuple):
    """Values of the program side by side: as many as the tensor is times wider than the units."""


Traced = _Wide | float


def trace(call: GatedScan) -> Program:
    """Write down the update of a call.

    Args:
        call: Its `update` is called on a batch of two.

    Returns:
        The program, which stores OUTPUT and every part of STATE.

    Raises:
        UntraceableError: If the update does something other than arithmetic on each unit, means over the units, and
            cutting and joining of whole gates.
    """
    if call.hidden_weight.shape[0] != call.input_weight.shape[0] and not call.diagonal:
        raise UntraceableError("its state reaches fewer gates than its inputs")
    size = call.state[-1].shape[-1] if call.projection is not None else call.state[0].shape[-1]
    if any(part.shape[-1] != size for part in call.state[1:]) or not all(p.is_floating_point() for p in call.state):
        raise UntraceableError("its state holds other than one number for each unit")
    gates = call.input_weight.shape[0]
    like = call.hidden_weight
    recorder = _Recorder(size)
    with torch.inference_mode(False), torch.no_grad():  # inference mode would show layer_norm, not what it consists of
        input_gates, hidden_gates = like.new_full((ROWS, gates), 0.5), like.new_full((ROWS, len(like)), 0.25)
        state = tuple(like.new_full((ROWS, size), 0.125) for _ in call.state)
        read = tuple(parameter.detach().clone() for parameter in read_parameters(call))
        parameters = read[: len(call.parameters)]
        update = call.bind(parameters) if call.bind and parameters else call.update
        recorder.enter(input_gates, [(INPUT, gate) for gate in range(gates // size)])
        if not call.diagonal:
            recorder.enter(hidden_gates, [(HIDDEN, gate) for gate in range(gates // size)])
        for number, part in enumerate(state):
            if number or call.projection is None:  # what is projected has another size; a use of it is refused
                recorder.enter(part, [(STATE, number)])
        recorder.enter_parameters(read)
        with recorder:
            if call.diagonal:
                hidden_gates = _own_product(state[0], *read[len(parameters) :])
            output, updated = update(input_gates, hidden_gates, state)
    return recorder.leave(output, updated, len(state))


def read_parameters(call: GatedScan) -> tuple[Tensor, ...]:
    """Return what the program of a call reads besides gates and state: a diagonal matrix and its bias at last."""
    if not call.diagonal:
        return call.parameters
    bias = () if call.hidden_bias is None else (call.hidden_bias,)
    return (*call.parameters, call.hidden_weight.flatten(), *bias)


def _own_product(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply each unit by its own weight of each gate: (batch, size) -> (batch, gates * size)."""
    product = torch.cat([hidden] * (len(weight) // hidden.shape[1]), 1) * weight
    return product if bias is None else product + bias


def parameter_slots(parameters: Sequence[Tensor], size: int) -> list[range]:
    """Number the parts of the parameters that a program can read: one a gate's worth, or one for a single number.

    Args:
        parameters: Of the formula.
        size: Units.

    Returns:
        The numbers of each parameter's parts; none for a matrix, which a program cannot read.
    """
    found, start = [], 0
    for parameter in parameters:
        count = 0
        if parameter.dim() <= 1 and (parameter.numel() == 1 or parameter.numel() % size == 0):
            count = max(1, parameter.numel() // size)
        found.append(range(start, start + count))
        start += count
    return found


class _Recorder(TorchDispatchMode):
    """Keeps, for every tensor that depends on the step, the values of the program that stand for it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.program = Program()
        self.known: dict[int, _Wide] = {}
        self.made: set[int] = set()
        self.alive: list[Any] = []  # an id is a tensor's only while it lives

    def enter(self, tensor: Tensor, places: Sequence[tuple[str, int]]) -> None:
        self._keep(tensor, _Wide(self.program.load(*place) for place in places))

    def enter_parameters(self, parameters: Sequence[Tensor]) -> None:
        for number, slots in enumerate(parameter_slots(parameters, self.size)):
            kind = ROW if parameters[number].numel() < self.size else UNIT
            if slots:
                self._keep(parameters[number], _Wide(self.program.load(PARAMETER, slot, kind=kind) for slot in slots))

    def leave(self, output: Tensor, updated: Sequence[Tensor], num_states: int) -> Program:
        results = [output, *updated]
        if len(updated) != num_states or any(tuple(one.shape) != (ROWS, self.size) for one in results):
            raise UntraceableError("its results have not the shapes of the state")
        program = self.program
        for place, one in enumerate(results):
            (value,) = self._value(one)
            array, part = (OUTPUT, 0) if place == 0 else (STATE, place - 1)
            program.store(program.spread(value), array, part)
        return program.without_waste()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        flat = [one for arg in (*args, *kwargs.values()) for one in (arg if isinstance(arg, list | tuple) else [arg])]
        if any(isinstance(one, Tensor) and id(one) in self.known for one in flat):
            name = func.name().removeprefix("aten::")
            rule = RULES.get(name.partition(".")[0])
            if rule is None or func._schema.is_mutable:
                raise UntraceableError(f"it calls {name}")
            values = [
                [self._value(one) for one in arg]
                if isinstance(arg, list) and any(isinstance(one, Tensor) for one in arg)
                else self._value(arg)
                for arg in args
            ]
            found = rule(self, *values, **{key: value for key, value in kwargs.items() if value is not None})
            self._keep_all(result, found)
        elif isinstance(result, Tensor):
            self.made.add(id(result))
            self.alive.append(result)
        return result

    def _keep_all(self, result: Any, found: Any) -> None:
        if isinstance(result, Tensor):
            self._keep(result, found)
            return
        for one, value in zip(result, found, strict=False):
            self._keep(one, value)

    def _keep(self, tensor: Tensor, value: _Wide) -> None:
        self.known[id(tensor)] = value
        self.alive.append(tensor)

    def _value(self, tensor: Any) -> Any:
        if not isinstance(tensor, Tensor):
            return tensor
        if id(tensor) in self.known:
            return self.known[id(tensor)]
        if tensor.numel() == 1 and id(tensor) in self.made:
            return float(tensor)
        raise UntraceableError("it reads a tensor that is neither an argument nor a parameter of the gates' size")

    # Building blocks of the rules

    def each(self, operation: str, *wide: _Wide) -> _Wide:
        return _Wide(self.program.emit(operation, *values) for values in zip(*wide, strict=True))

    def number(self, value: float) -> _Wide:
        return _Wide([self.program.number(value)])

    def both(self, operation: str, a: Traced, b: Traced) -> _Wide:
        a = a if isinstance(a, _Wide) else self.number(a)
        b = b if isinstance(b, _Wide) else self.number(b)
        count = max(len(a), len(b))
        if {len(a), len(b)} - {1, count}:
            raise UntraceableError("it mixes gates of different number")
        return _Wide(self.program.both(operation, a[n % len(a)], b[n % len(b)]) for n in range(count))

    def affine(self, a: _Wide, scale: float, shift: float) -> _Wide:
        return _Wide(self.program.affine(value, scale, shift) for value in a)

    def add(self, a: Traced, b: Traced) -> _Wide:
        if not isinstance(a, _Wide):
            a, b = b, a
        assert isinstance(a, _Wide)
        return self.both("add", a, b) if isinstance(b, _Wide) else self.affine(a, 1.0, float(b))

    def mul(self, a: Traced, b: Traced) -> _Wide:
        if not isinstance(a, _Wide):
            a, b = b, a
        assert isinstance(a, _Wide)
        return self.both("mul", a, b) if isinstance(b, _Wide) else self.affine(a, float(b), 0.0)

    def mean(self, a: _Wide) -> _Wide:
        sums = [self.program.emit("row_sum", value, kind=ROW) for value in a]
        total = sums[0]
        for one in sums[1:]:
            total = self.program.emit("add", total, one)
        return _Wide([self.program.affine(total, 1 / (len(a) * self.size), 0.0)])


def _add(r: _Recorder, a: Traced, b: Traced, *, alpha: float = 1) -> _Wide:
    return r.add(
        a, r.mul(b, alpha) if isinstance(b, _Wide) and alpha != 1 else b if isinstance(b, _Wide) else b * alpha
    )


def _sub(r: _Recorder, a: Traced, b: Traced, *, alpha: float = 1) -> _Wide:
    if isinstance(a, _Wide) and isinstance(b, _Wide) and alpha == 1:
        return r.both("sub", a, b)
    return r.add(a, r.mul(b, -alpha) if isinstance(b, _Wide) else -alpha * b)


def _rsub(r: _Recorder, a: Traced, b: Traced, alpha: float = 1) -> _Wide:
    return _sub(r, b, a, alpha=alpha)


def _div(r: _Recorder, a: Traced, b: Traced) -> _Wide:
    if not isinstance(b, _Wide):
        return r.mul(a, 1 / b)
    if all(r.program.instructions[value].kind == ROW for value in b):
        return r.mul(a, r.each("reciprocal", b))
    return r.both("div", a, b)


def _pow(r: _Recorder, a: Traced, b: Traced) -> _Wide:
    if isinstance(a, _Wide) and b == 2:
        return r.each("mul", a, a)
    if isinstance(a, _Wide) and b == 0.5:
        return r.each("sqrt", a)
    raise UntraceableError(f"it takes the power {b}")


def _clamp(r: _Recorder, a: _Wide, low: float | None = None, high: float | None = None) -> _Wide:
    if low is not None:
        a = r.both("max", a, low)
    return a if high is None else r.both("min", a, high)


def _greater(r: _Recorder, a: Traced, b: Traced) -> _Wide:
    return r.both("greater", a, b)


def _less(r: _Recorder, a: Traced, b: Traced) -> _Wide:
    return r.both("greater", b, a)


def _where(r: _Recorder, condition: Any, a: Traced, b: Traced) -> _Wide:
    a, b = (one if isinstance(one, _Wide) else r.number(one) for one in (a, b))
    count = max(len(condition), len(a), len(b))
    spread = [[r.program.spread(one[n % len(one)]) for n in range(count)] for one in (condition, a, b)]
    return _Wide(r.program.emit("select", *values) for values in zip(*spread, strict=True))


def _layer_norm(r: _Recorder, a: _Wide, shape: Any, *rest: Any) -> tuple[_Wide, ...]:
    weight, bias, epsilon = rest
    mean = r.mean(a)
    middle = r.both("sub", a, mean)
    variance = r.mean(r.each("mul", middle, middle))
    scale = r.each("rsqrt", r.affine(variance, 1.0, epsilon))
    normed = r.both("mul", middle, scale)
    normed = normed if weight is None else r.mul(normed, weight)
    return normed if bias is None else r.add(normed, bias), mean, scale


def _mean(r: _Recorder, a: _Wide, dims: Any = None, keepdim: bool = False) -> _Wide:
    if list(dims or ()) not in ([-1], [1]) or not keepdim:
        raise UntraceableError("it takes a mean or sum other than over all units with keepdim=True")
    return r.mean(a)


def _sum(r: _Recorder, a: _Wide, dims: Any = None, keepdim: bool = False) -> _Wide:
    return r.affine(_mean(r, a, dims, keepdim), float(len(a) * r.size), 0.0)


def _split(r: _Recorder, a: _Wide, sizes: Any, dim: int = 0) -> list[_Wide]:
    widths = [sizes] * math.ceil(len(a) * r.size / sizes) if isinstance(sizes, int) else list(sizes)
    if dim not in (1, -1) or any(width % r.size for width in widths):
        raise UntraceableError("it cuts the gates elsewhere than between them")
    parts, start = [], 0
    for width in widths:
        parts.append(_Wide(a[start : start + width // r.size]))
        start += width // r.size
    return parts


def _slice(r: _Recorder, a: _Wide, dim: int = 0, *bounds: int | None) -> _Wide:
    start, end, step = (*bounds, None, None, None)[:3]
    if dim in (0, -2) and start in (0, None) and (end is None or end >= ROWS) and step in (1, None):
        return a
    first, last, step = slice(start, end, step).indices(len(a) * r.size)
    if dim not in (1, -1) or step != 1 or first % r.size or last % r.size:
        raise UntraceableError("it cuts the gates elsewhere than between them")
    return _Wide(a[first // r.size : last // r.size])


def _cat(r: _Recorder, parts: Sequence[Any], dim: int = 0) -> _Wide:
    if dim not in (1, -1):
        raise UntraceableError("it joins sequences")
    return _Wide(value for part in parts for value in part)


def _unary(operation: str) -> Callable[..., _Wide]:
    return lambda r, a: r.each(operation, a)


def _same(r: _Recorder, a: _Wide, **_: Any) -> _Wide:
    return a


def _silu(r: _Recorder, a: _Wide) -> _Wide:
    return r.each("mul", a, r.each("sigmoid", a))


def _softplus(r: _Recorder, a: _Wide, beta: float = 1, threshold: float = 20) -> _Wide:
    # max(x, 0) + log(1 + exp(-|x|)): nothing overflows
    x = r.affine(a, float(beta), 0.0)
    small = r.each("log", r.affine(r.each("exp", r.affine(r.each("abs", x), -1.0, 0.0)), 1.0, 1.0))
    return r.affine(r.both("add", r.each("relu", x), small), 1 / beta, 0.0)


RULES: dict[str, Callable[..., Any]] = {
    "add": _add,
    "sub": _sub,
    "rsub": _rsub,
    "mul": lambda r, a, b: r.mul(a, b),
    "div": _div,
    "neg": lambda r, a: r.affine(a, -1.0, 0.0),
    "pow": _pow,
    "square": lambda r, a: r.each("mul", a, a),
    "maximum": lambda r, a, b: r.both("max", a, b),
    "minimum": lambda r, a, b: r.both("min", a, b),
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": lambda r, a, high: _clamp(r, a, None, high),
    "hardtanh": lambda r, a, low=-1.0, high=1.0: _clamp(r, a, low, high),
    "hardsigmoid": lambda r, a: _clamp(r, r.affine(a, 1 / 6, 0.5), 0.0, 1.0),
    "gt": _greater,
    "lt": _less,
    "where": _where,
    "lerp": lambda r, a, b, weight: r.add(a, r.mul(r.both("sub", b, a), weight)),
    "addcmul": lambda r, a, b, c, value=1: r.add(a, r.mul(r.mul(b, c), value)),
    "native_layer_norm": _layer_norm,
    "mean": _mean,
    "sum": _sum,
    "split": _split,
    "split_with_sizes": _split,
    "slice": _slice,
    "cat": _cat,
    "silu": _silu,
    "softplus": _softplus,
    "detach": _same,
    "alias": _same,
    "clone": _same,
    **{name: _unary(name) for name in ("sigmoid", "tanh", "relu", "exp", "log", "sqrt", "rsqrt", "reciprocal", "abs")},
}
