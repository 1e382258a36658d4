"""How much of what was read long ago still reaches the present: gradients over distance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnnkit.kernels import State
from rnnkit.layers import Stack

DIRECTIONS = 8  # of the output that are drawn
FORGOTTEN = 0.01  # of the largest gradient


@dataclass(frozen=True)
class Reach:
    """Gradients of the last output with respect to each earlier input.

    Attributes:
        norms: (steps,), by distance: 0 is the last input.
        growth: Factor a step over the later half of the distances; below 1 gradients vanish, above 1 they explode.
            Infinite where a gradient is beyond all numbers, or none.
        memory: Steps back to where the gradient last was a hundredth of the largest.
    """

    norms: np.ndarray
    growth: float
    memory: int


def gradient_reach(
    stack: Stack, inputs: Tensor, lengths: Tensor | None = None, *, state: State | None = None, seed: int = 1
) -> Reach:
    """Measure the Jacobian of a stack's last output by its inputs, along random directions of the output.

    Args:
        stack: In eval mode; read from the first step on where it runs in both directions.
        inputs: (batch, time, input_size), at least two steps.
        lengths: (batch,) valid steps; the last output of each row is that of its last one. None means all.
        state: Before the first step; None is the initial one.
        seed: Of the directions.

    Returns:
        The root mean square, over rows and directions, of the gradients' norms at each distance.
    """
    batch, time = inputs.shape[:2]
    ends = torch.full((batch,), time) if lengths is None else lengths.cpu()
    inputs = inputs.detach().clone().requires_grad_()
    with torch.enable_grad():
        outputs, _ = stack(inputs, state, lengths)
        rows = torch.arange(batch)
        last = outputs[rows, (ends - 1).clamp(min=0)]  # (batch, output_size)
        generator = torch.Generator().manual_seed(seed)
        squares = torch.zeros(batch, time, dtype=torch.float64)
        for number in range(DIRECTIONS):
            direction = torch.randn(last.shape[1], generator=generator).to(last)
            kept = number + 1 < DIRECTIONS
            (found,) = torch.autograd.grad((last @ direction).sum(), inputs, retain_graph=kept)
            squares += found.double().square().sum(-1).cpu() / DIRECTIONS
    return _reach(squares.numpy(), ends.numpy())


def _reach(squares: np.ndarray, ends: np.ndarray) -> Reach:
    """Bring rows of (time,) squared norms to the distances from their ends."""
    longest = int(ends.max())
    total, count = np.zeros(longest), np.zeros(longest)
    for row, end in zip(squares, ends.tolist(), strict=True):
        total[:end] += row[:end][::-1]
        count[:end] += 1
    norms = np.sqrt(total / np.maximum(count, 1))
    if not np.isfinite(norms).all():
        return Reach(norms, math.inf, longest - 1)
    return Reach(norms, _growth(norms), _memory(norms))


def _growth(norms: np.ndarray) -> float:
    """Fit a factor a step to the later half of the distances, where there is anything left."""
    later = norms[len(norms) // 2 :]
    later = later[later > 0]
    if len(later) < 2:
        return 0.0 if not len(later) else 1.0
    slope = np.polyfit(np.arange(len(later)), np.log(later), 1)[0]
    return float(np.exp(slope))


def _memory(norms: np.ndarray) -> int:
    heard = np.flatnonzero(norms >= FORGOTTEN * norms.max()) if norms.max() > 0 else np.zeros(1, dtype=int)
    return int(heard[-1])
