"""The rivals of the kernels' benchmark: torch.nn, and onnxruntime where it is installed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Gate orders: torch has i f g o and r z n, ONNX i o f g and z r n.
ONNX_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


def has_onnxruntime() -> bool:
    """Return whether onnxruntime can be measured here."""
    return find_spec("onnxruntime") is not None and find_spec("onnx") is not None


def onnx_step(module: nn.RNNBase, rows: int, *, int8: bool = False) -> Callable[[], object]:
    """Return a step of onnxruntime with IO binding, one thread, which carries no state over.

    Args:
        module: A torch.nn.RNN, LSTM or GRU of one layer.
        rows: Sequences.
        int8: Whether its weights are quantised dynamically.

    Returns:
        A function that takes one step.
    """
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    model = _onnx_model(module, rows)
    if int8:
        model = _quantised(model)
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for value in session.get_inputs():
        binding.bind_ortvalue_input(value.name, runtime.OrtValue.ortvalue_from_numpy(np.zeros(value.shape, np.float32)))
    for value in session.get_outputs():
        binding.bind_ortvalue_output(
            value.name, runtime.OrtValue.ortvalue_from_numpy(np.zeros(value.shape, np.float32))
        )
    return lambda: session.run_with_iobinding(binding)


def _onnx_model(module: Any, rows: int) -> bytes:
    onnx = import_module("onnx")
    kind, size = type(module).__name__, module.hidden_size
    order = ONNX_ORDER[kind]

    def arrange(weight: Tensor) -> np.ndarray:
        gates = weight.detach().chunk(len(order))
        return torch.cat([gates[gate] for gate in order])[None].numpy()

    biases = torch.cat([torch.from_numpy(arrange(module.bias_ih_l0)), torch.from_numpy(arrange(module.bias_hh_l0))], 1)
    weights = {"W": arrange(module.weight_ih_l0), "R": arrange(module.weight_hh_l0), "B": biases.numpy()}
    states = ["h", "c"] if kind == "LSTM" else ["h"]
    extra: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    inputs, outputs = ["X", "W", "R", "B", "", *states], ["", *(f"{name}_out" for name in states)]
    node = onnx.helper.make_node(kind, inputs, outputs, hidden_size=size, **extra)

    def value(name: str, *shape: int) -> Any:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape))

    graph = onnx.helper.make_graph(
        [node],
        "step",
        [value("X", 1, rows, module.input_size), *(value(name, 1, rows, size) for name in states)],
        [value(f"{name}_out", 1, rows, size) for name in states],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    made.ir_version = 8
    return made.SerializeToString()


def _quantised(model: bytes) -> bytes:
    quantization = import_module("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as folder:
        plain, low = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        plain.write_bytes(model)
        weights = quantization.QuantType.QInt8
        quantization.quantize_dynamic(plain, low, op_types_to_quantize=["LSTM"], weight_type=weights)
        return low.read_bytes()


def doubling_scan(decay: Tensor, drive: Tensor) -> Tensor:
    """Run h = decay * h + drive from 0 in plain torch: log2(time) passes over everything, the quickest such way.

    Args:
        decay: (batch, time, size).
        drive: (batch, time, size).

    Returns:
        Every h: (batch, time, size).
    """
    step, time = 1, drive.shape[1]
    while step < time:
        drive = torch.cat([drive[:, :step], drive[:, step:] + decay[:, step:] * drive[:, :-step]], 1)
        decay = torch.cat([decay[:, :step], decay[:, step:] * decay[:, :-step]], 1)
        step *= 2
    return drive
