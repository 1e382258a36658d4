"""Points of a series as an array."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def points(value: Any) -> np.ndarray | None:
    """Turn a list of numbers or of points into (time, channels) float32; None where it is neither."""
    if not isinstance(value, list):
        return None
    rows = [point if isinstance(point, list) else [point] for point in value]
    widths = {len(row) for row in rows}
    if len(widths) > 1 or not all(number is None or _is_number(number) for row in rows for number in row):
        return None
    filled = [[math.nan if number is None else number for number in row] for row in rows]
    try:
        with np.errstate(over="ignore"):  # what float32 does not hold is infinite, and refused as that
            return np.array(filled, dtype=np.float32).reshape(len(rows), max(widths, default=1))
    except OverflowError:  # a whole number of hundreds of digits
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
