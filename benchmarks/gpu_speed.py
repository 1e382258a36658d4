"""Speed on a GPU: every layer's training step and its forward pass beside cuDNN's LSTM, and a plain loop beside some.

Run alone on the machine: python benchmarks/gpu_speed.py [--commit]
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from record import measure
from rnnkit import kernels
from rnnkit.layers import LAYERS

BATCH, SIZE = 32, 256
RIVAL, HALF, LOOP = "torch.nn.LSTM", "torch.nn.LSTM, float16", "loop"
SECONDS = 0.8  # for a layer and its rival in turn
# Layers that have a kernel of ours: the loop in plain torch beside them shows what it is worth.
LOOPED = ("mingru", "lru", "indrnn", "sru", "slstm")
ROWS = [{"layer": layer, "time": time} for time in (512, 2048, 8192) for layer in (*LAYERS, HALF)]


def torch_lstm(input_size: int = SIZE, hidden_size: int = SIZE) -> nn.LSTM:
    return nn.LSTM(input_size, hidden_size, batch_first=True)


def training(module: nn.Module, inputs: torch.Tensor) -> Callable[[], None]:
    wanted = [inputs, *module.parameters()]

    def train() -> None:
        torch.autograd.grad(module(inputs)[0].sum(), wanted)

    return train


def forward(module: nn.Module, inputs: torch.Tensor) -> Callable[[], None]:
    def run() -> None:
        with torch.inference_mode():
            module(inputs)

    return run


def milliseconds(work: Callable[[], None]) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - began)


def in_turn(works: dict[str, Callable[[], None]]) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():  # compiles, and takes its memory
        milliseconds(work)
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or not found[RIVAL]:
        for name, work in works.items():
            found[name].append(milliseconds(work))
    return {name: round(statistics.median(samples), 3) for name, samples in found.items()}


def run(row: dict[str, Any]) -> dict[str, Any]:
    torch.manual_seed(1)
    name = row["layer"]
    inputs = torch.randn(BATCH, row["time"], SIZE, device="cuda", requires_grad=True)
    rival, layer, own = torch_lstm().cuda(), LAYERS.get(name, torch_lstm)(SIZE, SIZE).cuda(), inputs
    if name == HALF:
        layer, own = layer.half(), inputs.detach().half().requires_grad_()
    backends = sorted({one.backend for one in kernels.explain(layer, own)}) or ["torch"]
    torch.cuda.reset_peak_memory_stats()
    found = {
        what: in_turn({name: work(layer, own), RIVAL: work(rival, inputs)})
        for what, work in (("training", training), ("forward", forward))
    }
    peak = torch.cuda.max_memory_allocated()
    if name in LOOPED:
        with kernels.use("reference"):  # once: it takes seconds
            found["training"][LOOP] = round(milliseconds(training(layer, inputs)), 1)
    torch.cuda.empty_cache()
    return {
        "device": torch.cuda.get_device_name(),
        "backend": backends,
        "milliseconds": found,
        "times faster": {what: round(times[RIVAL] / times[name], 3) for what, times in found.items()},
        "gigabytes": round(peak / 1e9, 2),
    }


if __name__ == "__main__":
    measure("gpu-speed", ROWS, run)
