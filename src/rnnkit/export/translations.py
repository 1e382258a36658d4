"""Operations that ONNX has under other names, or that it lacks: the scans of layers, running maxima, look-ups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from onnxscript import opset20, values

from rnnkit.kernels import operators  # noqa: F401 - defines the operators

op: Any = opset20
DOMAIN, OPSET = "rnnkit", 20
# Which of torch's gates stand where in ONNX: i o f c, z r h.
ORDERS = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "gru-reset-before": (1, 0, 2), "rnn-tanh": (0,), "rnn-relu": (0,)}
ACTIVATIONS = {"rnn-tanh": "Tanh", "rnn-relu": "Relu"}


def gated_scan(*arguments: Any) -> tuple[Any, ...]:
    """Write a gated layer as ONNX's LSTM, GRU or RNN.

    Args:
        *arguments: Of the operator `rnnkit::gated_scan`.

    Returns:
        Outputs (batch, time, size), and each part of the state after the last valid step.
    """
    inputs, input_weight, hidden_weight, input_bias, hidden_bias, _, state, lengths, _, _, formula, *_ = arguments
    order = ORDERS[formula]
    gates, size = len(order), hidden_weight.shape[1]
    weights = [_ordered(weight, order) for weight in (input_weight, hidden_weight)]
    biases = [_ordered(bias, order) for bias in (input_bias, hidden_bias) if bias is not None]
    bias = op.Concat(*biases, axis=1) if biases else _zeros(2 * gates * size)
    valid = None if lengths is None else op.Cast(lengths, to=TensorProto.INT32)
    begun = [op.Unsqueeze(part, _axis(0)) for part in state]
    given = (op.Transpose(inputs, perm=[1, 0, 2]), *weights, bias, valid, *begun)
    if formula == "lstm":
        outputs, *last = op.LSTM(*given, hidden_size=size)
    elif formula in ACTIVATIONS:
        outputs, *last = op.RNN(*given, hidden_size=size, activations=[ACTIVATIONS[formula]])
    else:
        outputs, *last = op.GRU(*given, hidden_size=size, linear_before_reset=int(formula == "gru"))
    laid = op.Transpose(op.Squeeze(outputs, _axis(1)), perm=[1, 0, 2])
    return laid, *(op.Squeeze(part, _axis(0)) for part in last)


def diagonal_scan(decay: Any, drive: Any, initial: Any) -> Any:
    """Write a single step of h = decay * h + drive."""
    step = op.Add(op.Mul(op.Squeeze(decay, _axis(1)), initial), op.Squeeze(drive, _axis(1)))
    return op.Unsqueeze(step, _axis(1))


def running_maximum(inputs: Any, dim: int) -> tuple[Any, Any]:
    """Write torch's cummax over time, or along a last axis of known size; nobody here asks for its places."""
    if dim == 1:
        largest = _running_maximum(inputs)
    else:
        parts = [op.Gather(inputs, _axis(place), axis=-1) for place in range(inputs.shape[-1])]
        for place in range(1, len(parts)):
            parts[place] = op.Max(parts[place - 1], parts[place])
        largest = op.Concat(*parts, axis=-1)
    return largest, largest


def sorted_places(table: Any, keys: Any, **_: Any) -> Any:
    """Write torch's searchsorted by halving: the first place of a table that is not below each key."""
    count, places = table.shape[0], op.Mul(keys, _number(0))
    step = 1 << max(count - 1, 1).bit_length()
    while step:
        further = op.Add(places, _number(step))
        before = op.Gather(table, op.Min(op.Sub(further, _number(1)), _number(count - 1)), axis=0)
        goes = op.And(op.LessOrEqual(further, _number(count)), op.Less(before, keys))
        places = op.Where(goes, further, places)
        step //= 2
    return places


TRANSLATIONS: dict[Any, Callable[..., Any]] = {
    torch.ops.rnnkit.gated_scan.default: gated_scan,
    torch.ops.rnnkit.diagonal_scan.default: diagonal_scan,
    torch.ops.aten.cummax.default: running_maximum,
    torch.ops.aten.searchsorted.Tensor: sorted_places,
}


def own_functions(model: onnx.ModelProto) -> None:
    """Add to a model the functions that ONNX lacks, where it uses them."""
    if any(node.domain == DOMAIN for node in model.graph.node):
        model.functions.append(_running_maximum_function())
        if all(one.domain != DOMAIN for one in model.opset_import):
            model.opset_import.append(helper.make_opsetid(DOMAIN, 1))


def _running_maximum_function() -> onnx.FunctionProto:
    """Say what RunningMaximum is: ONNX's Scan over time, (batch, time, size) in and out."""
    names = ("before", "now", "after", "kept")
    before, now, after, kept = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    larger = [helper.make_node("Max", ["before", "now"], ["after"]), helper.make_node("Identity", ["after"], ["kept"])]
    body = helper.make_graph(larger, "larger", [before, now], [after, kept])
    nodes = [
        helper.make_node("Transpose", ["inputs"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("Constant", [], ["zero"], value_int=0),
        helper.make_node("Gather", ["steps", "zero"], ["first"], axis=0),
        helper.make_node("Scan", ["first", "steps"], ["last", "all"], body=body, num_scan_inputs=1),
        helper.make_node("Transpose", ["all"], ["outputs"], perm=[1, 0, 2]),
    ]
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_function(DOMAIN, "RunningMaximum", ["inputs"], ["outputs"], nodes, opset)


def _schema() -> onnx.defs.OpSchema:
    made = onnx.defs.OpSchema
    return made(
        "RunningMaximum",
        DOMAIN,
        1,
        inputs=[made.FormalParameter("inputs", "T")],
        outputs=[made.FormalParameter("outputs", "T")],
        type_constraints=[("T", ["tensor(float)"], "")],
    )


_running_maximum = values.Op(values.Opset(DOMAIN, 1), "RunningMaximum", _schema())


def _ordered(weight: Any, order: tuple[int, ...]) -> Any:
    """Put the rows of gates where ONNX has them, and the direction before them."""
    size = weight.shape[0] // len(order)
    rows = [gate * size + row for gate in order for row in range(size)]
    return op.Unsqueeze(op.Gather(weight, op.Constant(value_ints=rows), axis=0), _axis(0))


def _zeros(count: int) -> Any:
    return op.Unsqueeze(op.Constant(value_floats=[0.0] * count), _axis(0))


def _axis(number: int) -> Any:
    return op.Constant(value_ints=[number])


def _number(value: int) -> Any:
    return op.Constant(value_int=value)
