"""A scale that validation data chooses: a temperature, which makes confidence and hit rate agree (Guo et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable

LARGEST_LOG_SCALE = 3.0
GOLDEN = (math.sqrt(5) - 1) / 2


def search_scale(nats: Callable[[float], float], *, tolerance: float) -> float:
    """Find the scale with the least nats by golden sections of its logarithm, where there is one minimum.

    Args:
        nats: Of validation data, with scores divided by a temperature, or parts of them multiplied.
        tolerance: On the logarithm of the scale.

    Returns:
        The scale, in [1 / 20, 20].
    """
    low, high = -LARGEST_LOG_SCALE, LARGEST_LOG_SCALE
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = nats(math.exp(left)), nats(math.exp(right))
    while high - low > tolerance:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = nats(math.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = nats(math.exp(right))
    return math.exp((low + high) / 2)
