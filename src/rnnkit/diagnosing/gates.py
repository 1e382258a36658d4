"""What the gates of a layer do, step by step, and how often they are stuck open or shut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnkit.kernels import State
from rnnkit.kernels.reference import hidden_product
from rnnkit.layers import GatedLayer, Layer
from rnnkit.sequences import reverse_within_lengths, valid_mask

SHUT, OPEN = 0.05, 0.95

GATES: Mapping[str, tuple[tuple[str, int], ...]] = MappingProxyType(
    {
        "lstm": (("input gate", 0), ("forget gate", 1), ("output gate", 3)),
        "gru": (("reset gate", 0), ("update gate", 1)),
    }
)
"""Of formulas whose gates are sigmoids of sums: their names, and which part of the sums they are."""


@dataclass(frozen=True)
class GateUse:
    """How a gate is used over all valid steps and units.

    Attributes:
        name: Of the gate.
        mean: Of its values.
        shut: Share of them below 0.05.
        open: Share of them above 0.95.
    """

    name: str
    mean: float
    shut: float
    open: float


def walk(
    layer: Layer, inputs: Tensor, lengths: Tensor | None = None, *, state: State | None = None
) -> dict[str, np.ndarray]:
    """Run a layer step by step and keep what it holds.

    Args:
        layer: In eval mode.
        inputs: (batch, time, input_size).
        lengths: (batch,) valid steps; None means all.
        state: Before the first step; None is the initial one.

    Returns:
        (batch, time, size) of each gate that has a name, of each part of the state that has a number a unit, after each
        step, and of the output; NaN past a row's length. A layer that runs backwards is walked backwards, and its steps
        are in the order of the inputs.
    """
    if layer.reverse:
        inputs = reverse_within_lengths(inputs, lengths)
    state = layer.initial_state(len(inputs)) if state is None else state
    sizes = zip(layer.state_names, layer.state_sizes(), strict=True)
    shown = [name for name, size in sizes if size in (layer.hidden_size, layer.output_size)]
    kept: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for one in inputs.split(1, dim=1):
            for name, gate in _gates(layer, one[:, 0], state).items():
                kept.setdefault(name, []).append(gate)
            output, state = layer.scan(one, state, None)
            parts = dict(zip(layer.state_names, state, strict=True))
            for name, part in {**{name: parts[name] for name in shown}, "output": output[:, 0]}.items():
                kept.setdefault(name, []).append(part)
    found = {}
    for name, steps in kept.items():
        values = torch.stack(steps, 1)
        values = reverse_within_lengths(values, lengths) if layer.reverse else values
        if lengths is not None:
            values = values.masked_fill(~valid_mask(lengths, values.shape[1])[..., None], torch.nan)
        found[name] = values.double().cpu().numpy()
    return found


def _gates(layer: Layer, inputs: Tensor, state: State) -> dict[str, Tensor]:
    """Compute the gates that have a name, (batch, hidden_size) each, of a step."""
    if not isinstance(layer, GatedLayer) or layer.formula not in GATES:
        return {}
    hidden = hidden_product(state[0], layer.recurrent_weight(), heads=layer.heads)
    sums = linear(inputs, layer.weight_ih_l0) + hidden
    if layer.bias:
        sums = sums + layer.bias_ih_l0 + layer.bias_hh_l0
    parts = sums.chunk(layer.num_gates, dim=-1)
    return {name: torch.sigmoid(parts[place]) for name, place in GATES[layer.formula]}


def gate_uses(
    layer: GatedLayer, inputs: Tensor, lengths: Tensor | None = None, *, state: State | None = None
) -> list[GateUse]:
    """Measure the gates of a layer over some sequences; see `walk`.

    Args:
        layer: In eval mode.
        inputs: (batch, time, input_size).
        lengths: (batch,) valid steps; None means all.
        state: Before the first step; None is the initial one.

    Returns:
        One for each gate that has a name; none of a layer without such.
    """
    names = [name for name, _ in GATES.get(layer.formula, ())]
    values = walk(layer, inputs, lengths, state=state) if names else {}
    found = []
    for name in names:
        some = values[name][np.isfinite(values[name])]
        found.append(GateUse(name, float(some.mean()), float((some < SHUT).mean()), float((some > OPEN).mean())))
    return found
