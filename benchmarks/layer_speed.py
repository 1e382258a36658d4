"""Training speed of every layer: forward and backward over a batch of 32 with 256 units, torch's LSTM in turn with it.

Run alone on the machine: python benchmarks/layer_speed.py [--commit]
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from record import measure
from rnnkit.benchmarking.timing import interleave
from rnnkit.layers import LAYERS

BATCH, SIZE, RIVAL = 32, 256, "torch.nn.LSTM"
SECONDS = 6.0  # for a layer and its rival
ROWS = [{"layer": layer, "time": time} for time in (128, 1024, 4096) for layer in LAYERS]


def training(module: nn.Module, inputs: torch.Tensor) -> Callable[[], None]:
    wanted = [inputs, *module.parameters()]

    def train() -> None:
        torch.autograd.grad(module(inputs)[0].sum(), wanted)

    return train


def run(row: dict[str, Any]) -> dict[str, Any]:
    torch.manual_seed(1)
    inputs = torch.randn(BATCH, row["time"], SIZE, requires_grad=True)
    layer, rival = LAYERS[row["layer"]](SIZE, SIZE), nn.LSTM(SIZE, SIZE, batch_first=True)
    found = interleave({row["layer"]: training(layer, inputs), RIVAL: training(rival, inputs)}, seconds=SECONDS)
    ours, theirs = (found[name].seconds for name in (row["layer"], RIVAL))
    return {
        "milliseconds": {row["layer"]: round(1e3 * ours, 2), RIVAL: round(1e3 * theirs, 2)},
        "times faster": round(theirs / ours, 3),
        "steps_a_second": round(BATCH * row["time"] / ours),
        "quiet samples": min(one.quiet for one in found.values()),
    }


if __name__ == "__main__":
    measure("layer-speed", ROWS, run)
