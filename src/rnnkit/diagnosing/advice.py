"""Plain words about what was measured, the evidence beside each."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rnnkit.diagnosing.gates import GateUse
from rnnkit.diagnosing.reach import Reach

VANISHES, EXPLODES = 0.9, 1.02  # a step
STUCK = 0.9  # share of a gate's values
OFTEN = 0.5  # share of the updates that were clipped
SLOW, HASTY = 1e-4, 3e-2  # of an update's norm by that of what it updates


def advise(
    reaches: Mapping[str, Reach], gates: Mapping[str, Sequence[GateUse]], records: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Say what is worth a thought.

    Args:
        reaches: Of each stack.
        gates: Of each layer.
        records: Of the run's log.

    Yields:
        Sentences.
    """
    for name, reach in reaches.items():
        yield from _about_reach(name, reach)
    for name, uses in gates.items():
        for use in uses:
            if max(use.shut, use.open) > STUCK:
                where, share = ("shut", use.shut) if use.shut > use.open else ("open", use.open)
                yield (
                    f"{name}: the {use.name} is {where} {share:.0%} of the time, so it decides little; a lower "
                    "--learning-rate or more --dropout keeps it from saturating."
                )
    yield from _about_training([one for one in records if one.get("kind") == "train"])


def _about_reach(name: str, reach: Reach) -> Iterator[str]:
    steps = len(reach.norms)
    if math.isinf(reach.growth):
        yield (
            f"{name}: gradients over {steps} steps are beyond all numbers: the weights have diverged, or gradients "
            "explode. Train again with a lower --learning-rate and with clipping (--clip-norm)."
        )
    elif reach.growth > EXPLODES:
        yield (
            f"{name}: gradients grow by {reach.growth - 1:.1%} a step back: they explode over long sequences. Clipping "
            "(--clip-norm) bounds them."
        )
    elif reach.growth < VANISHES:
        yield (
            f"{name}: gradients shrink by {1 - reach.growth:.1%} a step back; {reach.memory} of {steps} steps back a "
            "hundredth is left. Clipping does nothing about that: if earlier steps matter, take a layer with a gated "
            "path (lstm, gru, minlstm) or a higher --forget-bias."
        )
    else:
        yield f"{name}: gradients reach {reach.memory} of {steps} steps back before a hundredth is left."


def _about_training(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not records:
        return
    clipped = statistics.fmean(one["clipped_share"] for one in records)
    if clipped > OFTEN:
        yield (
            f"{clipped:.0%} of the updates were clipped: the clipping sets the size of the steps; a higher --clip-norm "
            "or a lower --learning-rate hands that back to the optimiser."
        )
    ratios = [one["update_ratio"] for one in records if "update_ratio" in one]
    if not ratios:
        return
    middle = statistics.median(ratios)
    if middle > HASTY:
        yield f"an update changes the weights by {middle:.1%} in the median, which is much: a lower --learning-rate."
    elif middle < SLOW:
        yield f"an update changes the weights by {middle:.4%} in the median, which is little: a higher --learning-rate."
