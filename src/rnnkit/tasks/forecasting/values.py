"""Observations as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rnnkit.errors import DataError

LARGEST = 1e30  # float32 holds it with room for the scales of errors


def as_values(chunk: Sequence[float | None] | np.ndarray) -> np.ndarray:
    """Turn observations into float64.

    Args:
        chunk: A value a step, None or NaN where one is missing.

    Returns:
        (time,) with NaN.

    Raises:
        DataError: If one is no number, or too large.
    """
    try:
        values = np.array([math.nan if one is None else one for one in chunk], dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{str(chunk)[:60]} is no list of numbers; expected a value a step.") from None
    wrong = np.abs(values) > LARGEST
    if wrong.any():
        place = int(wrong.argmax())
        raise DataError(f"value {place + 1} is {values[place]:g}; expected a number from {-LARGEST:g} to {LARGEST:g}.")
    return values
