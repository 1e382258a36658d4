"""How far a float32 stream of 20,000 single steps is from the whole at once, for every layer, and both from float64.

Run: python benchmarks/streaming_error.py [--commit]
"""

import copy
from typing import Any

import torch

from record import measure
from rnnkit.layers import LAYERS

BATCH, STEPS, SIZE = 2, 20_000, 64
ROWS = [{"layer": layer, "steps": STEPS, "units": SIZE} for layer in LAYERS]


@torch.inference_mode()
def run(row: dict[str, Any]) -> dict[str, Any]:
    torch.manual_seed(1)
    exact = LAYERS[row["layer"]](SIZE, SIZE).double().eval()
    layer = copy.deepcopy(exact).float()
    inputs = torch.randn(BATCH, row["steps"], SIZE)
    truth, _ = exact(inputs.double())
    whole, _ = layer(inputs)
    stepped, state = torch.empty_like(whole), None
    for step in range(row["steps"]):
        stepped[:, step : step + 1], state = layer(inputs[:, step : step + 1], state)

    def largest(one: torch.Tensor, other: torch.Tensor) -> float:
        return (one - other).abs().max().item()

    return {
        "stream from whole": largest(stepped, whole),
        "stream from float64": largest(stepped, truth),
        "whole from float64": largest(whole, truth),
        "largest output": truth.abs().max().item(),
    }


if __name__ == "__main__":
    measure("streaming-error", ROWS, run)
