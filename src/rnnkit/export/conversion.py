"""Graphs to ONNX: converted, checked against the model in onnxruntime at other sizes, and only then written."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxscript.optimizer import optimize_ir
from torch import Tensor

from rnnkit.errors import RunError
from rnnkit.export.graphs import Graph
from rnnkit.export.translations import OPSET, TRANSLATIONS, own_functions

RELATIVE, ABSOLUTE = 1e-4, 2e-5  # how far onnxruntime's numbers may be from ours
SIZES = ((1, 1), (2, 5), (5, 17))  # batch and steps at which they are compared; the example has others
EXAMPLE = (3, 7)
LARGEST = 2**28  # numbers of a constant that is worked out here: weights in ONNX's order, which its int8 wants so


def convert(graph: Graph) -> onnx.ModelProto:
    """Convert a graph.

    Args:
        graph: Of a network in eval mode.

    Returns:
        The model; its state is named NAME in and `next.NAME` out.

    Raises:
        RunError: If onnxruntime's answers are not the model's.
    """
    steps = EXAMPLE[1] * graph.multiple if graph.any_time else graph.multiple
    example = graph.example(EXAMPLE[0], steps)
    inputs = [*graph.inputs, *graph.state]
    outputs = [*graph.outputs, *(f"next.{name}" for name in graph.state)]
    with torch.no_grad(), _quietly():
        program = torch.onnx.export(
            graph.module,
            example,
            dynamo=True,
            dynamic_shapes=_shapes(graph),
            custom_translation_table=TRANSLATIONS,
            input_names=inputs,
            output_names=outputs,
            opset_version=OPSET,
            optimize=False,
            verbose=False,
        )
        assert program is not None
        optimize_ir(program.model, input_size_limit=LARGEST, output_size_limit=LARGEST)
    model = program.model_proto
    own_functions(model)
    onnx.checker.check_model(model)
    return model


def largest_error(model: onnx.ModelProto, graph: Graph) -> float:
    """Compare onnxruntime's answers with the network's, at several batches and lengths.

    Args:
        model: Converted.
        graph: What it was converted from.

    Returns:
        The largest difference.

    Raises:
        RunError: If one is too large.
    """
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch, time in SIZES:
        steps = time * graph.multiple if graph.any_time else graph.multiple
        given = graph.example(batch, steps)
        with torch.inference_mode():
            expected = graph.module(*given)
        expected = expected if isinstance(expected, tuple) else (expected,)
        found = session.run(None, _feeds([*graph.inputs, *graph.state], given))
        for name, one, other in zip(session.get_outputs(), found, expected, strict=True):
            numbers, wanted = np.asarray(one, np.float64), other.double().numpy()
            apart = np.abs(numbers - wanted)
            if not np.allclose(numbers, wanted, rtol=RELATIVE, atol=ABSOLUTE):
                raise RunError(
                    f"{graph.name}: onnxruntime's {name.name} is {apart.max():.2g} away from the model's "
                    f"for {batch} sequences of {steps} steps; nothing was written"
                )
            worst = max(worst, float(apart.max(initial=0.0)))
    return worst


def quantised(source: str, target: str) -> None:
    """Write a copy of an ONNX file whose products have weights of 8 bits, scaled as they run.

    Args:
        source: The file.
        target: The copy.
    """
    with _quietly():
        quantize_dynamic(source, target, weight_type=QuantType.QInt8)


def _shapes(graph: Graph) -> Any:
    """Name the free axes as torch.export wants them."""
    dims: dict[str, Any] = {}

    def named(axes: dict[int, str]) -> dict[int, Any]:
        free = {}
        for axis, name in axes.items():
            if name == "time" and not graph.any_time:
                continue
            if name not in dims:
                dims[name] = torch.export.Dim(name, min=3 if name != "batch" else 2)
            free[axis] = dims[name] * graph.multiple if name == "time" and graph.multiple > 1 else dims[name]
        return free

    inputs, state = [named(axes) for axes in graph.inputs.values()], [named(axes) for axes in graph.state.values()]
    variadic = graph.state or any(name == "lengths" for name in list(graph.inputs)[4:])
    if not variadic:
        return tuple(inputs)
    fixed = len(inputs) if graph.state else len(inputs) - 1
    return (*inputs[:fixed], (*inputs[fixed:], *state))


def _feeds(names: list[str], tensors: tuple[Tensor, ...]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the converter's notes to itself: what it gets wrong, the comparison finds."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
