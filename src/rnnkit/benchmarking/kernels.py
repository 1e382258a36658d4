"""The table of `rnnkit benchmark kernels`: steps, training and scans, ours beside torch's and onnxruntime's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from rnnkit.acceleration import accelerate
from rnnkit.benchmarking.limits import Work, limits
from rnnkit.benchmarking.rivals import doubling_scan, has_onnxruntime, onnx_step
from rnnkit.benchmarking.timing import Timing, interleave
from rnnkit.kernels import DiagonalScan, diagonal_scan
from rnnkit.layers import GRU, LAYERS, LSTM, GatedLayer, Layer, Stack
from rnnkit.session import Session

OURS = "rnnkit"
TIME = 100
MODULES = {"LSTM": (nn.LSTM, LSTM), "GRU": (nn.GRU, GRU)}


@dataclass(frozen=True)
class Case:
    """Functions that do the same work; OURS is among them."""

    table: str
    name: str
    threads: int
    functions: Mapping[str, Callable[[], object]]
    work: Work


@dataclass(frozen=True)
class Row:
    """A measured case.

    Attributes:
        table: Which table.
        name: Of the case.
        threads: Of all.
        microseconds: Of a call, by who ran it.
        times_faster: How many times ours is faster than each rival.
        limits: Microseconds that the machine takes for the work's products alone and for its reading alone.
        quiet: The fewest undisturbed samples of any.
    """

    table: str
    name: str
    threads: int
    microseconds: dict[str, float]
    times_faster: dict[str, float]
    limits: dict[str, float]
    quiet: int

    @property
    def share_of_limit(self) -> float | None:
        """What ours reaches of the speed that the machine could have; None where that was not measured."""
        return max(self.limits.values()) / self.microseconds[OURS] if self.limits else None


def measure(case: Case, *, seconds: float = 3.0) -> Row:
    """Time a case, its rivals in turn with ours.

    Args:
        case: What to time.
        seconds: For all of it, about.

    Returns:
        The row.
    """
    before, bounds = torch.get_num_threads(), limits(case.work, case.threads)
    functions = {**case.functions, **{name: bound.run for name, bound in bounds.items()}}
    torch.set_num_threads(case.threads)
    try:
        timings: dict[str, Timing] = interleave(functions, seconds=seconds)
    finally:
        torch.set_num_threads(before)
    ours = timings[OURS].seconds
    return Row(
        table=case.table,
        name=case.name,
        threads=case.threads,
        microseconds={name: timings[name].seconds * 1e6 for name in case.functions},
        times_faster={name: timings[name].seconds / ours for name in case.functions if name != OURS},
        limits={name: timings[name].seconds * 1e6 / bound.repeats for name, bound in bounds.items()},
        quiet=min(timings[name].quiet for name in case.functions),
    )


def step_cases(_: int) -> Iterator[Case]:
    """Yield one step of live sequences, the call included, on one thread whatever the number."""
    for kind, (torch_class, _) in MODULES.items():
        for rows, sizes in ((1, (32, 64, 128, 256, 512)), (8, (64, 128, 256)), (32, (64, 128, 256))):
            for size in sizes:
                module = torch_class(size, size)
                for dtype in ("float32", "bfloat16", "int8"):
                    functions = {OURS: _session_step(module, dtype, rows), "torch.nn": _torch_step(module, rows)}
                    if has_onnxruntime() and dtype != "bfloat16" and (kind, dtype) != ("GRU", "int8"):
                        functions["onnxruntime"] = onnx_step(module, rows, int8=dtype == "int8")
                    yield Case(
                        "step",
                        f"{kind} {size}, {rows} row{'s' if rows > 1 else ''}, {dtype}",
                        1,
                        functions,
                        _step_work(module, dtype, rows),
                    )


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.dim() == 2)


def _step_work(module: nn.Module, dtype: str, rows: int) -> Work:
    way, width = {"float32": ("float32", 4), "bfloat16": ("bfloat16_weights", 2), "int8": ("int8", 1)}[dtype]
    return Work(rows * _weights(module), width * _weights(module), way=way)


def _training_work(module: nn.Module, steps: int, *, way: str = "float32") -> Work:
    # three products with every weight; what enters the recurrence is read at every step, there and back
    recurrent = sum(parameter.numel() for name, parameter in module.named_parameters() if "weight_hh" in name)
    return Work(3 * steps * _weights(module), recurrent * (4 if way == "float32" else 2), 2 * TIME, way)


def _session_step(module: nn.RNNBase, dtype: str, rows: int) -> Callable[[], object]:
    layer = MODULES[type(module).__name__][1]
    stack = Stack(layer, module.input_size, module.hidden_size).load_torch(module)
    session = Session(stack, dtype=dtype, rows=rows)
    inputs = np.random.default_rng(0).normal(size=(rows, module.input_size)).astype(np.float32)
    return lambda: session.step(inputs)


def _torch_step(module: nn.RNNBase, rows: int) -> Callable[[], object]:
    inputs = torch.randn(1, rows, module.input_size)
    parts = [torch.zeros(1, rows, module.hidden_size) for _ in range(2)]
    state = tuple(parts) if isinstance(module, nn.LSTM) else parts[0]

    def step() -> None:
        with torch.inference_mode():
            module(inputs, state)

    return step


def training_cases(threads: int) -> Iterator[Case]:
    """Yield forward and backward passes over 100 steps."""
    modules: dict[str, Callable[[int], nn.RNNBase]] = {
        "GRU": lambda size: nn.GRU(size, size),
        "RNN": lambda size: nn.RNN(size, size),
        "LSTM": lambda size: nn.LSTM(size, size),
    }
    for kind, make in modules.items():
        for batch in (1, 8, 32, 128):
            for size in (32, 64, 128, 256, 512) if batch < 128 else (32, 64, 128, 256):
                theirs, ours = make(size), accelerate(make(size))
                inputs = torch.randn(TIME, batch, size, requires_grad=True)
                functions = {OURS: _training(ours, inputs), "torch.nn": _training(theirs, inputs)}
                work = _training_work(theirs, batch * TIME)
                yield Case("training", f"{kind} {size}, batch {batch}", threads, functions, work)


def _training(module: nn.Module, *arguments: Any) -> Callable[[], object]:
    wanted = [
        value for value in (*arguments, *module.parameters()) if isinstance(value, Tensor) and value.requires_grad
    ]

    def train() -> None:
        outputs = module(*arguments)[0]
        data = outputs if isinstance(outputs, Tensor) else outputs.data
        torch.autograd.grad(data.sum(), wanted)

    return train


def ragged_cases(threads: int) -> Iterator[Case]:
    """Yield training on sequences of different length, on average half of the longest."""
    lengths = torch.linspace(2, TIME, 32).round().long()
    for kind, (torch_class, layer_class) in MODULES.items():
        for size in (64, 128, 256):
            inputs = torch.randn(32, TIME, size)
            packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
            theirs, ours = torch_class(size, size, batch_first=True), layer_class(size, size)
            functions = {
                OURS: _training(ours, inputs, None, lengths),
                "torch.nn, packed": _training(theirs, packed),
                "torch.nn, padded": _training(theirs, inputs),
            }
            work = _training_work(theirs, int(lengths.sum()))
            yield Case("ragged", f"{kind} {size}, batch 32", threads, functions, work)


class CoupledByUser(GatedLayer):
    """A formula of a user's own."""

    num_gates, state_names = 3, ("h", "c")

    def update(self, input_gates: Tensor, hidden_gates: Tensor, state: Any) -> Any:
        """Take one step."""
        f, g, o = (input_gates + hidden_gates).chunk(3, dim=-1)
        c = f.sigmoid() * state[1] + (1 - f.sigmoid()) * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h, (h, c)


def option_cases(threads: int) -> Iterator[Case]:
    """Yield training of variants and options; the rival is the plain LSTM of ours."""
    for batch, size in ((8, 64), (32, 128), (32, 256)):
        inputs = torch.randn(batch, TIME, size)
        layers: dict[str, Layer] = {
            "zoneout": LSTM(size, size, zoneout=0.1),
            "variational dropout": LSTM(size, size, variational_dropout=0.1),
            "peephole": LAYERS["peephole-lstm"](size, size),
            "layer norm": LAYERS["layer-norm-lstm"](size, size),
            "a user's coupled gates": CoupledByUser(size, size),
        }
        for name, layer in layers.items():
            functions = {OURS: _training(layer, inputs), "our plain LSTM": _training(LSTM(size, size), inputs)}
            work = _training_work(layer, batch * TIME)
            yield Case("options", f"{name}, {size}, batch {batch}", threads, functions, work)


def bfloat16_cases(threads: int) -> Iterator[Case]:
    """Yield training under autocast; the rival is torch.nn in float32."""
    for kind, (torch_class, layer_class) in MODULES.items():
        for size in (256, 512):
            inputs = torch.randn(32, TIME, size)
            low = _training(layer_class(size, size), inputs)

            def under_autocast(run: Callable[[], object] = low) -> None:
                with torch.autocast("cpu", torch.bfloat16):
                    run()

            theirs = _training(torch_class(size, size, batch_first=True), inputs)
            functions = {OURS: under_autocast, "torch.nn, float32": theirs}
            work = _training_work(layer_class(size, size), 32 * TIME, way="bfloat16")
            yield Case("bfloat16", f"{kind} {size}, batch 32", threads, functions, work)


def scan_cases(threads: int) -> Iterator[Case]:
    """Yield forward and backward passes of h = a h + b; the rival is the quickest in plain torch."""
    for batch, time, size in ((32, 100, 256), (8, 1000, 256)):
        decay = torch.rand(batch, time, size, requires_grad=True)
        drive = torch.randn(batch, time, size, requires_grad=True)
        initial = torch.zeros(batch, size)

        def ours(a: Tensor = decay, b: Tensor = drive, h: Tensor = initial) -> None:
            torch.autograd.grad(diagonal_scan(DiagonalScan(decay=a, drive=b, initial=h)).sum(), [a, b])

        def theirs(a: Tensor = decay, b: Tensor = drive) -> None:
            torch.autograd.grad(doubling_scan(a, b).sum(), [a, b])

        functions = {OURS: ours, "doubling, torch": theirs}
        # forward two buffers in and one out, backward three in and two out
        work = Work(3 * decay.numel(), 8 * 4 * decay.numel())
        yield Case("scan", f"{size} units, batch {batch}, {time} steps", threads, functions, work)


TABLES: dict[str, Callable[[int], Iterator[Case]]] = {
    "step": step_cases,
    "training": training_cases,
    "ragged": ragged_cases,
    "options": option_cases,
    "bfloat16": bfloat16_cases,
    "scan": scan_cases,
}
