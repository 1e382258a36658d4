"""Our C++ kernels on a CPU: the recurrent product on weights packed once, then the cell, without the padding."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from rnnkit.kernels.aten import FEW_STEPS, Aten
from rnnkit.kernels.core import FORMULAS, MISSING, core
from rnnkit.kernels.formulas import Compiled, formula_of
from rnnkit.kernels.native_scan import NativeScan
from rnnkit.kernels.nodes import diagonal_scan_by_steps
from rnnkit.kernels.reference import Reference
from rnnkit.kernels.scan import (
    Backend,
    DiagonalScan,
    GatedScan,
    Scan,
    State,
    plain_only,
    recompute_gradients,
)

MANY_SEQUENCES = 16


def _graph_is_kept() -> bool:
    # torch knows whether a backward pass may be run again, but has no public name for the question
    ask = getattr(getattr(torch._C, "_autograd", None), "_get_current_graph_task_keep_graph", None)
    return True if ask is None else ask()


class _GatedScan(Function):
    """The kernels under one autograd node; gradients of gradients run the reference."""

    @staticmethod
    def forward(ctx: Any, call: GatedScan, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        ctx.call = call
        ctx.scan = NativeScan(call, recording=True)
        outputs, state = ctx.scan.forward()
        ctx.save_for_backward(*tensors, *ctx.scan.give_up())
        return (outputs, *state)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        call, scan, saved = ctx.call, ctx.scan, ctx.saved_tensors
        tensors, kept = saved[: len(call.tensors())], saved[len(call.tensors()) :]
        if torch.is_grad_enabled():

            def run(*tensors: Tensor | None) -> tuple[Tensor, ...]:
                outputs, state = Reference().gated_scan(call.with_tensors(tensors))
                return (outputs, *state)

            autocast = torch.autocast("cpu", torch.bfloat16, enabled=scan.brief)
            again = recompute_gradients(run, tensors, gradients, autocast=autocast, differentiable=True)
            return (None, *again)
        scan.take_back(kept)
        found = scan.backward(gradients[0], gradients[1:], by_inputs=call.inputs.requires_grad, again=_graph_is_kept())
        scan.give_up()
        names = ("inputs", "input_weight", "hidden_weight", "input_bias", "hidden_bias", "projection")
        return (None, *(found.get(name) for name in names), *found["state"], *found["parameters"])


def diagonal_states(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    """Run h = decay * h + drive: contiguous (batch, time, size) twice and (batch, size), to every h."""
    hidden = torch.empty_like(drive)
    addresses = (part.data_ptr() for part in (decay, drive, initial, hidden))
    core.diagonal_scan(drive.dtype == torch.float64, *drive.shape, *addresses, torch.get_num_threads())
    return hidden


def diagonal_gradients(decay: Tensor, initial: Tensor, hidden: Tensor, by_hidden: Tensor) -> tuple[Tensor, ...]:
    """Run back from the gradient of every h to those of decay, drive and the initial h; all contiguous."""
    found = (torch.empty_like(decay), torch.empty_like(decay), torch.zeros_like(initial))
    addresses = (part.data_ptr() for part in (decay, initial, hidden, by_hidden, *found))
    core.diagonal_scan_backward(decay.dtype == torch.float64, *decay.shape, *addresses, torch.get_num_threads())
    return found


class _DiagonalSteps:
    """The C++ diagonal scan, and back."""

    states = staticmethod(diagonal_states)
    gradients = staticmethod(diagonal_gradients)


def whole_matrix(weight: Tensor, heads: int) -> Tensor:
    """Put the blocks of a recurrent matrix in their places: (gates * size, size // heads) -> (gates * size, size)."""
    width = weight.shape[1]
    blocks = weight.view(-1, heads, width, 1, width)  # (gates, heads, width, 1, width)
    places = torch.eye(heads, dtype=weight.dtype).view(1, heads, 1, heads, 1)
    return (blocks * places).reshape(len(weight), heads * width)


def refuses_numbers(call: Scan) -> str | None:
    """Say why the kernels cannot work with the call's tensors; None means that they can."""
    tensors = [tensor for tensor in call.tensors() if tensor is not None]
    if tensors[0].device.type != "cpu":
        return "the C++ kernels run on a CPU"
    dtypes = {tensor.dtype for tensor in tensors}
    if torch.is_autocast_enabled("cpu"):
        if torch.get_autocast_dtype("cpu") != torch.bfloat16:
            return "the C++ kernels know of autocast bfloat16 alone"
        dtypes -= {torch.bfloat16}
        if dtypes != {torch.float32}:
            return "the C++ kernels autocast from float32"
    if len(dtypes) != 1 or dtypes - {torch.float32, torch.float64}:
        return "the C++ kernels take float32 or float64, one for all tensors"
    return None


def _wants_gradients(call: Scan) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in call.tensors())


class Native(Backend):
    """Our C++."""

    def refuses(self, call: Scan) -> str | None:
        """Name what the kernels lack for `call`."""
        if core is None:
            return MISSING
        if isinstance(call, GatedScan):
            if call.diagonal and call.hidden_mask is not None:
                return "the C++ kernels drop no state on its way to its own unit alone"
            reason = refuses_numbers(call) or plain_only()
            if reason is not None:
                return reason
            if call.reset_gate is not None and (call.formula not in FORMULAS or call.diagonal):
                return "the C++ kernels know one formula alone that multiplies the state on its way into a product"
            formula = formula_of(call)
            if isinstance(formula, str):
                return formula
            own_output = isinstance(formula, Compiled) and formula.own_output
            if own_output and call.projection is not None:
                return "the C++ kernels project an output only where it is the state"
            return None
        return refuses_numbers(call) or plain_only()

    def yields(self, call: Scan) -> str | None:
        """Name where oneDNN's LSTM is quicker: over many sequences at once, of one length, without gradients."""
        if not isinstance(call, GatedScan) or call.formula != "lstm" or call.lengths is not None:
            return None
        batch, time, _ = call.inputs.shape
        if batch < MANY_SEQUENCES or time <= FEW_STEPS or torch.is_autocast_enabled("cpu") or _wants_gradients(call):
            return None
        if call.hidden_weight.dtype != torch.float32 or call.projection is not None or Aten().refuses(call) is not None:
            return None
        return "oneDNN's LSTM is quicker over many sequences of one length without gradients"

    def gated_scan(self, call: GatedScan) -> tuple[Tensor, State]:
        """Run forward, recorded where a gradient is wanted."""
        if call.heads > 1 and not call.diagonal:
            call = dataclasses.replace(call, hidden_weight=whole_matrix(call.hidden_weight, call.heads), heads=1)
        if _wants_gradients(call):
            outputs, *state = _GatedScan.apply(call, *call.tensors())
            return outputs, tuple(state)
        with torch.no_grad():
            return NativeScan(call, recording=False).forward()

    def diagonal_scan(self, call: DiagonalScan) -> Tensor:
        """Run forward."""
        return diagonal_scan_by_steps(call, _DiagonalSteps())
