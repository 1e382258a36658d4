"""torch's own fused sequence operations: oneDNN's LSTM on CPU, cuDNN's on GPU, ATen's loops for the rest."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from rnnkit.kernels.reference import Reference
from rnnkit.kernels.scan import Backend, DiagonalScan, GatedScan, Scan, State, recompute_gradients

FUSED = {"rnn-tanh": torch.rnn_tanh, "rnn-relu": torch.rnn_relu, "lstm": torch.lstm, "gru": torch.gru}


def fused_scan(call: GatedScan) -> tuple[Tensor, State]:
    """Run a call without lengths by one torch operation."""
    weights = [call.input_weight, call.hidden_weight]
    if call.input_bias is not None and call.hidden_bias is not None:
        weights += [call.input_bias, call.hidden_bias]
    if call.projection is not None:
        weights.append(call.projection)
    state = tuple(part[None].contiguous() for part in call.state)  # (1, batch, size)
    initial = state if len(state) > 1 else state[0]
    biased, training = call.input_bias is not None, torch.is_grad_enabled()
    # layers 1, dropout 0, not bidirectional, batch first
    outputs, *last = FUSED[call.formula](call.inputs, initial, weights, biased, 1, 0.0, training, False, True)  # type: ignore[call-overload]
    return outputs, tuple(part[0] for part in last)


def scan_by_segments(call: GatedScan) -> tuple[Tensor, State]:
    """Run rows of different lengths without packing: a segment ends where a row does, and takes only the rows still going.

    torch's operations give the cell state only at the last step, so a row has to stop exactly at its own.
    """
    lengths, state = call.lengths, call.state
    assert lengths is not None
    start, outputs = 0, []
    for stop in torch.unique(lengths[lengths > 0]).tolist():
        rows = (lengths >= stop).nonzero().flatten()
        segment = call.between(start, stop, state=tuple(part[rows] for part in state))
        part_outputs, part_state = fused_scan(_rows(segment, rows))
        state = tuple(
            old.index_copy(0, rows, new.to(old.dtype)) for old, new in zip(state, part_state, strict=True)
        )
        padded = part_outputs.new_zeros(len(lengths), stop - start, part_outputs.shape[-1])
        outputs.append(padded.index_copy(0, rows, part_outputs))
        start = stop
    left = call.inputs.shape[1] - start
    outputs.append(call.inputs.new_zeros(len(lengths), left, call.state[0].shape[-1]))
    return torch.cat(outputs, 1), state  # (batch, time, output_size)


def _rows(call: GatedScan, rows: Tensor) -> GatedScan:
    tensors = (call.inputs[rows], *call.tensors()[1:])
    return call.with_tensors(tensors)


def _fused(*tensors: Tensor | None, call: GatedScan) -> tuple[Tensor, ...]:
    call = call.with_tensors(tensors)
    outputs, state = fused_scan(call) if call.lengths is None else scan_by_segments(call)
    return (outputs, *state)


def _reference(*tensors: Tensor | None, call: GatedScan) -> tuple[Tensor, ...]:
    outputs, state = Reference().gated_scan(call.with_tensors(tensors))
    return (outputs, *state)


class _FusedScan(Function):
    """The fused operation, differentiable twice: neither oneDNN nor cuDNN can, so the second time the reference runs."""

    @staticmethod
    def forward(ctx: Any, call: GatedScan, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        ctx.call = call
        ctx.save_for_backward(*tensors)
        arguments = tuple(None if t is None else t.detach().requires_grad_(t.requires_grad) for t in tensors)
        with torch.enable_grad():
            results = _fused(*arguments, call=call)
        ctx.graph = (arguments, results)
        return tuple(result.detach() for result in results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        if torch.is_grad_enabled() or ctx.graph is None:

            def run(*tensors: Tensor | None) -> tuple[Tensor, ...]:
                return _reference(*tensors, call=ctx.call)

            again = recompute_gradients(run, ctx.saved_tensors, gradients, differentiable=torch.is_grad_enabled())
            return (None, *again)
        (arguments, results), ctx.graph = ctx.graph, None  # frees the workspace now, not with the caller's loss
        wanted = [a for a in arguments if a is not None and a.requires_grad]
        found = iter(torch.autograd.grad(results, wanted, gradients, allow_unused=True))
        return (None, *(next(found) if a is not None and a.requires_grad else None for a in arguments))


class Aten(Backend):
    """What torch has fused."""

    def refuses(self, call: Scan) -> str | None:
        """Name what torch's operation lacks for `call`."""
        if isinstance(call, DiagonalScan):
            return "torch has no diagonal scan"
        if call.formula not in FUSED:
            return "torch has no fused operation for this formula"
        if call.hidden_mask is not None:
            return "torch has no mask on the recurrent input (variational dropout)"
        if call.zoneout:
            return "torch has no zoneout"
        if call.heads != 1:
            return "torch has no block-diagonal recurrent matrix"
        return None

    def gated_scan(self, call: GatedScan) -> tuple[Tensor, State]:
        """Call torch's operation: once, or once a distinct length."""
        tensors = call.tensors()
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
            outputs, *state = _FusedScan.apply(call, *tensors)  # type: ignore[misc]
        else:
            outputs, *state = _fused(*tensors, call=call)
        return outputs, tuple(part.to(old.dtype) for part, old in zip(state, call.state, strict=True))

    def diagonal_scan(self, call: DiagonalScan) -> Tensor:
        """Never called: `refuses` says why."""
        raise NotImplementedError("torch has no diagonal scan")
