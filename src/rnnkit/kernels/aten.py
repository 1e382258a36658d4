"""torch's own fused sequence operations: oneDNN's LSTM on CPU, cuDNN's on GPU, ATen's loops for the rest."""

import dataclasses
import warnings
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function
from torch.nn.functional import pad
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnkit.kernels.reference import Reference
from rnnkit.kernels.scan import (
    Backend,
    DiagonalScan,
    GatedScan,
    Scan,
    State,
    autocast_here,
    differentiate,
    plain_only,
    recompute_gradients,
)

FUSED = {"rnn-tanh": torch.rnn_tanh, "rnn-relu": torch.rnn_relu, "lstm": torch.lstm, "gru": torch.gru}

FEW_STEPS = 2


def fused_scan(call: GatedScan, *, batch_sizes: Tensor | None = None) -> tuple[Tensor, State]:
    """Run a call without lengths by one torch operation, or one whose inputs are packed, with the rows at each step."""
    weights = [call.input_weight, call.hidden_weight]
    if call.input_bias is not None and call.hidden_bias is not None:
        weights += [call.input_bias, call.hidden_bias]
    if call.projection is not None:
        weights.append(call.projection)
        _use_up_projection_warning()
    inputs = call.inputs
    state: State = tuple(part[None].contiguous() for part in call.state)  # (1, batch, size)
    if torch.is_autocast_enabled(inputs.device.type):  # torch's operations want one dtype to begin with
        inputs = inputs.to(call.input_weight.dtype)
    initial = state[0] if len(state) == 1 else state
    biased, training = call.input_bias is not None, torch.is_grad_enabled()
    # layers 1, dropout 0, not bidirectional, batch first
    if batch_sizes is None:
        outputs, *last = FUSED[call.formula](inputs, initial, weights, biased, 1, 0.0, training, False, True)
    else:
        outputs, *last = FUSED[call.formula](inputs, batch_sizes, initial, weights, biased, 1, 0.0, training, False)
    return outputs, tuple(part[0].to(old.dtype) for part, old in zip(last, call.state, strict=True))


@cache
def _use_up_projection_warning() -> None:
    # torch warns once a process that projections have no oneDNN path; no caller can do anything about it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.nn.LSTM(2, 2, proj_size=1)(torch.zeros(1, 1, 2))


def scan_by_segments(call: GatedScan) -> tuple[Tensor, State]:
    """Run rows of different lengths without packing: a segment ends where a row does, and takes the rows still going.

    torch's operations give the cell state only at the last step, so a row has to stop exactly at its own.

    Returns:
        Outputs (batch, time, output_size), 0 past each length, and the state at each length.
    """
    lengths, (batch, time, _) = call.lengths, call.inputs.shape
    assert lengths is not None
    order = lengths.argsort(descending=True, stable=True)  # the rows still going are then the first ones
    starts = [0, *torch.unique(lengths[lengths > 0]).tolist()]
    going = (lengths[:, None] > lengths.new_tensor(starts)).sum(0).tolist()
    state, ended, outputs = tuple(part.index_select(0, order) for part in call.state), [], []
    by_length = dataclasses.replace(call, inputs=call.inputs.index_select(0, order))
    segments = by_length.cut([stop - start for start, stop in pairwise([*starts, time])])
    for rows, segment in zip(going, segments, strict=True):  # in the last one, the padding, none is going
        ended.append(tuple(part[rows:] for part in state))
        state = tuple(part[:rows] for part in state)
        if rows:
            results, state = fused_scan(dataclasses.replace(segment, inputs=segment.inputs[:rows], state=state))
            outputs.append(pad(results, (0, 0, 0, 0, 0, batch - rows)))
    like = outputs[0] if outputs else call.inputs
    outputs.append(like.new_zeros(batch, time - starts[-1], call.state[0].shape[-1]))
    back = order.argsort()
    last = tuple(torch.cat(parts[::-1]).index_select(0, back) for parts in zip(*ended, strict=True))
    return torch.cat(outputs, 1).index_select(0, back), last  # (batch, time, output_size)


def scan_packed(call: GatedScan) -> tuple[Tensor, State]:
    """Run rows of different lengths packed: one operation of cuDNN, which gives the state at each row's last step.

    Returns:
        Outputs (batch, time, output_size), 0 past each length, and the state at each length.
    """
    lengths, (batch, time, _) = call.lengths, call.inputs.shape
    assert lengths is not None
    order = lengths.argsort(descending=True, stable=True)
    counts = lengths.index_select(0, order).cpu()
    going = int((counts > 0).sum())  # a row of no steps cannot be packed
    state = tuple(part.index_select(0, order) for part in call.state)
    back = order.argsort()
    if not going:
        outputs = call.inputs.new_zeros(batch, time, call.state[0].shape[-1])
        return outputs, tuple(part.index_select(0, back) for part in state)
    packed = pack_padded_sequence(call.inputs.index_select(0, order[:going]), counts[:going], batch_first=True)
    begun = dataclasses.replace(call, inputs=packed.data, state=tuple(part[:going] for part in state))
    results, after = fused_scan(begun, batch_sizes=packed.batch_sizes)
    outputs, _ = pad_packed_sequence(packed._replace(data=results), batch_first=True, total_length=time)
    outputs = pad(outputs, (0, 0, 0, 0, 0, batch - going))
    last = tuple(torch.cat([now, before[going:]]) for now, before in zip(after, state, strict=True))
    return outputs.index_select(0, back), tuple(part.index_select(0, back) for part in last)


def _fused(*tensors: Tensor | None, call: GatedScan) -> tuple[Tensor, ...]:
    call = call.with_tensors(tensors)
    if call.lengths is None:
        outputs, state = fused_scan(call)
    else:  # on a CPU, packing goes by the slow loops
        outputs, state = scan_packed(call) if call.inputs.is_cuda else scan_by_segments(call)
    return (outputs, *state)


def _reference(*tensors: Tensor | None, call: GatedScan) -> tuple[Tensor, ...]:
    outputs, state = Reference().gated_scan(call.with_tensors(tensors))
    return (outputs, *state)


class _FusedScan(Function):
    """The fused operation, differentiable twice: neither oneDNN nor cuDNN can, so then the reference runs."""

    @staticmethod
    def forward(ctx: Any, call: GatedScan, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        ctx.call, ctx.autocast = call, autocast_here(call.inputs.device)
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

            again = recompute_gradients(
                run, ctx.saved_tensors, gradients, autocast=ctx.autocast, differentiable=torch.is_grad_enabled()
            )
            return (None, *again)
        (arguments, results), ctx.graph = ctx.graph, None  # frees the workspace now, not with the caller's loss
        wanted = [a for a in arguments if a is not None and a.requires_grad]
        found = iter(differentiate(results, gradients, wanted))
        return (None, *(next(found) if a is not None and a.requires_grad else None for a in arguments))


def _few_steps(call: GatedScan) -> bool:
    # on one thread of a Zen 4 core a step alone takes 0.6 instead of 1.6 ms at 384 units, 0.7 instead of 5.0 at 512
    return call.inputs.device.type == "cpu" and call.inputs.shape[1] <= FEW_STEPS and not torch.is_grad_enabled()


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
        if call.formula == "lstm" and _few_steps(call):
            return "oneDNN packs the weights anew at each call, which costs more than so few steps"
        if (call.input_bias is None) != (call.hidden_bias is None):
            return "torch wants both biases or none"
        if call.projection is not None and call.projection.shape[0] >= call.projection.shape[1]:
            return "torch wants a projection to make the state smaller"
        return plain_only()

    def gated_scan(self, call: GatedScan) -> tuple[Tensor, State]:
        """Call torch's operation: once, or once a distinct length."""
        tensors = call.tensors()
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
            outputs, *state = _FusedScan.apply(call, *tensors)
        else:
            outputs, *state = _fused(*tensors, call=call)
        return outputs, tuple(state)

    def diagonal_scan(self, call: DiagonalScan) -> Tensor:
        """Never called: `refuses` says why."""
        raise NotImplementedError("torch has no diagonal scan")
