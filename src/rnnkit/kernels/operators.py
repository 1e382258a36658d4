"""The C++ scans as operators of torch, so that torch.compile and torch.export see one node for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from rnnkit.kernels.core import FORMULAS, core
from rnnkit.kernels.native import diagonal_gradients, diagonal_states, refuses_numbers
from rnnkit.kernels.native_scan import NativeScan
from rnnkit.kernels.scan import DiagonalScan, GatedScan, Scan, State

CALL = (
    "Tensor inputs, Tensor input_weight, Tensor hidden_weight, Tensor? input_bias, Tensor? hidden_bias, "
    "Tensor? projection, Tensor[] state, Tensor? lengths, Tensor? hidden_mask, Tensor[] zoneout, str formula, "
    "bool bfloat16"
)
PLACE_OF_STATE = 6
SCHEMAS = {
    "gated_scan": f"({CALL}, bool recording) -> Tensor[]",
    "gated_scan_backward": f"({CALL}, Tensor[] recorded, Tensor by_outputs, Tensor[] by_state) -> Tensor[]",
    "diagonal_scan": "(Tensor decay, Tensor drive, Tensor initial) -> Tensor",
    "diagonal_scan_backward": "(Tensor decay, Tensor initial, Tensor hidden, Tensor by_hidden) -> Tensor[]",
}
for _name, _schema in SCHEMAS.items():
    torch.library.define(f"rnnkit::{_name}", _schema)


def has_operator(call: Scan) -> bool:
    """Tell whether a call can be one node of a graph: a formula that the C++ core knows by name, on a CPU."""
    if core is None or refuses_numbers(call) is not None:
        return False
    return isinstance(call, DiagonalScan) or (call.formula in FORMULAS and call.heads == 1)


def gated_scan_node(call: GatedScan) -> tuple[Tensor, State]:
    """Run by the operator a call that `has_operator`; checkpoints are left to the graph's compiler."""
    recording = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in call.tensors())
    tensors = call.inputs, call.input_weight, call.hidden_weight, call.input_bias, call.hidden_bias, call.projection
    features = list(call.state), call.lengths, call.hidden_mask, list(call.zoneout), call.formula
    results = torch.ops.rnnkit.gated_scan(*tensors, *features, torch.is_autocast_enabled("cpu"), recording)
    return results[0], tuple(results[1 : 1 + len(call.state)])


def diagonal_scan_node(call: DiagonalScan) -> Tensor:
    """Run by the operator a call that `has_operator`."""
    dtype = call.initial.dtype  # autocast may have made the others shorter
    return torch.ops.rnnkit.diagonal_scan(call.decay.to(dtype), call.drive.to(dtype), call.initial)


def _never(*_: Any) -> Any:
    raise AssertionError("the C++ core knows the formula by name")


def _scan(arguments: Sequence[Any], *, recording: bool) -> NativeScan:
    inputs, input_weight, hidden_weight, input_bias, hidden_bias, projection, state, lengths, mask, zoneout, formula = (
        arguments
    )
    call = GatedScan(
        inputs=inputs,
        state=tuple(state),
        lengths=lengths,
        update=_never,
        formula=formula,
        input_weight=input_weight,
        hidden_weight=hidden_weight,
        input_bias=input_bias,
        hidden_bias=hidden_bias,
        projection=projection,
        hidden_mask=mask,
        zoneout=tuple(zoneout),
    )
    return NativeScan(call, recording=recording)


def _copies(tensors: Sequence[Tensor | None], like: Tensor) -> list[Tensor]:
    # an operator's results may not share memory with one another or with its arguments
    return [like.new_empty(0) if t is None else t.clone(memory_format=torch.contiguous_format) for t in tensors]


@torch.library.impl("rnnkit::gated_scan", "CPU")
def _gated_scan(*given: Any) -> list[Tensor]:
    *arguments, bfloat16, recording = given
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        scan = _scan(arguments, recording=recording)
        outputs, last = scan.forward()
    results = _copies([outputs, *last], outputs)
    if recording:
        missing = scan.layout.steps * scan.layout.sequences - scan.layout.total
        # as long as without lengths, so that no shape depends on them
        results += [outputs.new_empty(0) if p is None else pad(p, (0, 0, 0, missing)) for p in scan.recorded()]
    return results


@torch.library.impl("rnnkit::gated_scan_backward", "CPU")
def _gated_scan_backward(*given: Any) -> list[Tensor]:
    *arguments, bfloat16, recorded, by_outputs, by_state = given
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        scan = _scan(arguments, recording=True)
        missing = scan.layout.steps * scan.layout.sequences - scan.layout.total
        scan.replay([part[: len(part) - missing] if part.dim() > 1 else None for part in recorded])
        found = scan.backward(by_outputs, tuple(by_state), by_inputs=True)
    names = ("inputs", "input_weight", "hidden_weight", "input_bias", "hidden_bias", "projection")
    return _copies([*(found.get(name) for name in names), *found["state"]], by_outputs)


@torch.library.impl("rnnkit::diagonal_scan", "CPU")
def _diagonal_scan(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    return diagonal_states(decay.contiguous(), drive.contiguous(), initial.contiguous())


@torch.library.impl("rnnkit::diagonal_scan_backward", "CPU")
def _diagonal_scan_backward(decay: Tensor, initial: Tensor, hidden: Tensor, by_hidden: Tensor) -> list[Tensor]:
    return list(diagonal_gradients(decay.contiguous(), initial.contiguous(), hidden, by_hidden.contiguous()))


# Shapes, for tracing


@torch.library.register_fake("rnnkit::gated_scan")
def _(*arguments: Any) -> list[Tensor]:
    inputs, _, hidden_weight, _, _, projection, state, _, _, _, formula, _, recording = arguments
    batch, time, _ = inputs.shape
    new, gates = hidden_weight.new_empty, FORMULAS[formula]
    size, rows = hidden_weight.shape[0] // (gates.joined + gates.apart), batch * time
    results = [new(batch, time, state[0].shape[1]), *(new(part.shape) for part in state)]
    if recording:
        results += [new(rows, (gates.joined + gates.apart) * size)]
        results += [new(rows, gates.apart * size) if gates.apart else new(0)]
        results += [new(0) if projection is None else new(rows, size)]
        results += [new(rows + batch, part.shape[1]) for part in state]
    return results


@torch.library.register_fake("rnnkit::gated_scan_backward")
def _(*arguments: Any) -> list[Tensor]:
    tensors, state = arguments[:PLACE_OF_STATE], arguments[PLACE_OF_STATE]
    like = arguments[1]
    return [
        like.new_empty((0,) if tensor is None else tensor.shape, dtype=None if tensor is None else tensor.dtype)
        for tensor in (*tensors, *state)
    ]


@torch.library.register_fake("rnnkit::diagonal_scan")
def _(decay: Tensor, drive: Tensor, initial: Tensor) -> Tensor:
    return drive.new_empty(drive.shape)


@torch.library.register_fake("rnnkit::diagonal_scan_backward")
def _(decay: Tensor, initial: Tensor, hidden: Tensor, by_hidden: Tensor) -> list[Tensor]:
    return [decay.new_empty(decay.shape), hidden.new_empty(hidden.shape), initial.new_empty(initial.shape)]


# Gradients


def _keep_scan(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    *fixed, state, lengths, mask, zoneout, ctx.formula, ctx.bfloat16, _ = inputs
    ctx.parts, ctx.masks = len(state), len(zoneout)
    ctx.save_for_backward(*fixed, lengths, mask, *state, *zoneout, *output[1 + len(state) :])


def _scan_gradients(ctx: Any, gradients: list[Tensor]) -> tuple[Any, ...]:
    *fixed, lengths, mask = ctx.saved_tensors[: PLACE_OF_STATE + 2]
    rest = list(ctx.saved_tensors[PLACE_OF_STATE + 2 :])
    state, zoneout = rest[: ctx.parts], rest[ctx.parts : ctx.parts + ctx.masks]
    found = torch.ops.rnnkit.gated_scan_backward(
        *fixed,
        state,
        lengths,
        mask,
        zoneout,
        ctx.formula,
        ctx.bfloat16,
        rest[ctx.parts + ctx.masks :],
        gradients[0],
        gradients[1 : 1 + ctx.parts],
    )
    by_fixed = [None if tensor is None else one for tensor, one in zip(fixed, found, strict=False)]
    return (*by_fixed, found[PLACE_OF_STATE:], *(None,) * 2, [None] * ctx.masks, *(None,) * 3)


def _keep_diagonal(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    decay, _, initial = inputs
    ctx.save_for_backward(decay, initial, output)


def _diagonal_gradients(ctx: Any, by_hidden: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.ops.rnnkit.diagonal_scan_backward(*ctx.saved_tensors, by_hidden))


torch.library.register_autograd("rnnkit::gated_scan", _scan_gradients, setup_context=_keep_scan)
torch.library.register_autograd("rnnkit::diagonal_scan", _diagonal_gradients, setup_context=_keep_diagonal)
