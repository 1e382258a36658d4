"""The few operations over time, and who runs them.

Every operation takes one description of the call (`GatedScan`, `DiagonalScan`) and is run by the first backend of
BACKENDS that does not refuse it. `explain` shows who that is and why the earlier ones refused; `use` forces one.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from rnnkit.errors import ConfigError
from rnnkit.kernels.aten import Aten
from rnnkit.kernels.core import MISSING
from rnnkit.kernels.eager import Eager
from rnnkit.kernels.native import Native
from rnnkit.kernels.operators import diagonal_scan_node, gated_scan_node, has_operator
from rnnkit.kernels.reference import Reference
from rnnkit.kernels.scan import Backend, DiagonalScan, GatedScan, Scan, State, autocast_here, recompute_gradients
from rnnkit.kernels.triton import Triton

__all__ = ["BACKENDS", "DiagonalScan", "GatedScan", "Run", "State", "diagonal_scan", "explain", "gated_scan", "use"]

BACKENDS: dict[str, Backend] = {
    "native": Native(),
    "aten": Aten(),
    "triton": Triton(),
    "eager": Eager(),
    "reference": Reference(),
}

_forced: ContextVar[str | None] = ContextVar("rnnkit_backend", default=None)
_record: ContextVar[list[Run] | None] = ContextVar("rnnkit_record", default=None)
_log = logging.getLogger("rnnkit.kernels")
_told: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class Run:
    """Which backend ran one operation, and why the ones before it did not."""

    operation: str
    shape: tuple[int, ...]
    backend: str
    refused: dict[str, str]

    def __str__(self) -> str:
        """Return one line for a person."""
        reasons = "".join(f"; not {name}: {reason}" for name, reason in self.refused.items())
        return f"{self.operation} {self.shape}: {self.backend}{reasons}"


@contextmanager
def use(backend: str) -> Iterator[None]:
    """Run every operation inside the `with` block by one backend.

    Args:
        backend: A name in BACKENDS.

    Raises:
        ConfigError: If there is no such backend; and, when an operation runs, if the backend refuses it.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"there is no kernel backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    token = _forced.set(backend)
    try:
        yield
    finally:
        _forced.reset(token)


def explain(function: Callable[..., Any], *arguments: Any) -> list[Run]:
    r"""Call `function(*arguments)` and tell which backend ran each operation in it.

    Args:
        function: A layer, a network, or anything that calls one.
        *arguments: What to call it with.

    Returns:
        One `Run` for each operation, in order.

    Example:
        >>> import torch, rnnkit
        >>> with rnnkit.kernels.use("eager"):
        ...     print(*rnnkit.kernels.explain(rnnkit.GRU(3, 4), torch.zeros(2, 5, 3)), sep="\n")
        gated_scan (2, 5, 3): eager
    """
    record: list[Run] = []
    token = _record.set(record)
    try:
        function(*arguments)
    finally:
        _record.reset(token)
    return record


def gated_scan(call: GatedScan) -> tuple[Tensor, State]:
    """Run a gated recurrence over time.

    Args:
        call: The inputs, state, weights and options, each with its shape.

    Returns:
        Outputs (batch, time, output_size), whatever past each length, and the state after each sequence's last valid
        step.
    """
    batch, time, _ = call.inputs.shape
    if batch == 0 or time == 0:
        return call.inputs.new_zeros(batch, time, call.state[0].shape[-1]), call.state
    if torch.compiler.is_compiling():
        return _trace(call)
    backend = _choose(call, "gated_scan", tuple(call.inputs.shape))
    if call.checkpoint_every is None:
        return _run(backend, call)
    full, rest = divmod(time, call.checkpoint_every)
    outputs, state = [], call.state
    for part in call.cut([call.checkpoint_every] * full + [rest] * (rest > 0)):
        stretch = dataclasses.replace(part, state=state, checkpoint_every=None)
        results, *last = _Checkpoint.apply(backend, stretch, *stretch.tensors())
        outputs.append(results)
        state = tuple(last)
    return torch.cat(outputs, 1), state  # (batch, time, output_size)


def diagonal_scan(call: DiagonalScan) -> Tensor:
    """Run h = decay * h + drive over time.

    Args:
        call: decay and drive (batch, time, size), initial (batch, size).

    Returns:
        Every h: (batch, time, size).
    """
    if call.drive.shape[0] == 0 or call.drive.shape[1] == 0:
        return call.drive
    if torch.compiler.is_compiling():
        return diagonal_scan_node(call) if has_operator(call) else Reference().diagonal_scan(call)
    return _choose(call, "diagonal_scan", tuple(call.drive.shape)).diagonal_scan(call)


class _Checkpoint(Function):
    """A stretch of a scan that keeps only its arguments and runs again in the backward pass (Chen et al. 2016)."""

    @staticmethod
    def forward(ctx: Any, backend: Backend, call: GatedScan, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        ctx.backend, ctx.call, ctx.autocast = backend, call, autocast_here(call.inputs.device)
        ctx.save_for_backward(*tensors)
        outputs, state = _run(backend, call)
        return (outputs, *state)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        def run(*tensors: Tensor | None) -> tuple[Tensor, ...]:
            outputs, state = _run(ctx.backend, ctx.call.with_tensors(tensors))
            return (outputs, *state)

        found = recompute_gradients(
            run, ctx.saved_tensors, gradients, autocast=ctx.autocast, differentiable=torch.is_grad_enabled()
        )
        return (None, None, *found)


def _trace(call: GatedScan) -> tuple[Tensor, State]:
    # a graph holds one node where there is an operator, and else every step; checkpoints are its compiler's affair
    outputs, state = gated_scan_node(call) if has_operator(call) else Reference().gated_scan(call)
    return outputs, _keep_dtypes(state, call)


def _run(backend: Backend, call: GatedScan) -> tuple[Tensor, State]:
    outputs, state = backend.gated_scan(call)
    return outputs, _keep_dtypes(state, call)


def _keep_dtypes(state: State, call: GatedScan) -> State:
    # autocast computes in a lower precision; what is carried from chunk to chunk keeps its own
    return tuple(
        new if new.dtype == old.dtype else new.to(old.dtype) for new, old in zip(state, call.state, strict=True)
    )


def _choose(call: Scan, operation: str, shape: tuple[int, ...]) -> Backend:
    forced = _forced.get()
    refused: dict[str, str] = {}
    for name in [forced] if forced else BACKENDS:
        reason = BACKENDS[name].refuses(call) or (None if forced else BACKENDS[name].yields(call))
        if reason is None:
            _tell(Run(operation, shape, name, refused))
            return BACKENDS[name]
        refused[name] = reason
    raise ConfigError(f"{operation} cannot run by {' or '.join(refused)}: {'; '.join(refused.values())}")


def _tell(run: Run) -> None:
    record = _record.get()
    if record is not None:
        record.append(run)
    for name, reason in run.refused.items():
        if (name, reason) not in _told:
            _told.add((name, reason))
            _log.log(_importance(reason), "%s runs by %s: %s", run.operation, run.backend, reason)


def _importance(reason: str) -> int:
    if reason == MISSING:
        return logging.WARNING
    return logging.INFO if torch.is_grad_enabled() else logging.DEBUG  # it is training that takes long
