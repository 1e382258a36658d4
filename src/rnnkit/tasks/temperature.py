"""The temperature of a model's scores: what makes confidence and hit rate agree (Guo et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable

LARGEST_LOG_TEMPERATURE = 3.0
GOLDEN = (math.sqrt(5) - 1) / 2


def search_temperature(nats: Callable[[float], float], *, tolerance: float) -> float:
    """Find the temperature with the least nats by golden sections; there is one minimum in its inverse.

    Args:
        nats: Of validation data, when scores are divided by a temperature.
        tolerance: On the logarithm of the temperature.

    Returns:
        The temperature, in [1 / 20, 20].
    """
    low, high = -LARGEST_LOG_TEMPERATURE, LARGEST_LOG_TEMPERATURE
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
