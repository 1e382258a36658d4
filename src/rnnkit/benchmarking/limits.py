"""What the machine could do at most for the same work: its products alone, and its reading alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from rnnkit.kernels.core import core

ROUNDS_SECONDS = 1e-4  # that a limit runs for, at least, about, so that the call itself does not count
PRODUCTS_A_SECOND = 1e11  # about
BYTES_A_SECOND = 1e11


@dataclass(frozen=True)
class Work:
    """What a call has to do, however it is done.

    Attributes:
        products: Multiplications with an addition.
        bytes_read: That it reads in each pass, from the nearest cache that holds them all.
        passes: How often it reads them.
        way: What the products are of: a name of `core.Way`.
    """

    products: int
    bytes_read: int
    passes: int = 1
    way: str = "float32"


@dataclass(frozen=True)
class Limit:
    """A function that does nothing but a part of the work, `repeats` times as much of it.

    Attributes:
        run: Does it.
        repeats: How many times as much.
    """

    run: Callable[[], object]
    repeats: float


def limits(work: Work, threads: int) -> dict[str, Limit]:
    """Return what bounds a call from below; nothing where rnnkit has no C++ kernels.

    Args:
        work: What it does.
        threads: That share it.

    Returns:
        By name: the products alone, and the reading alone. A call cannot be shorter than the longer of the two.
    """
    if core is None:
        return {}
    way = getattr(core.Way, work.way)
    a_round = core.products_of_a_round(way) * threads
    rounds = max(1, round(max(work.products, ROUNDS_SECONDS * PRODUCTS_A_SECOND) / a_round))
    memory = torch.ones(-(-work.bytes_read // 4))
    passes = max(work.passes, round(ROUNDS_SECONDS * BYTES_A_SECOND / work.bytes_read))
    return {
        "products": Limit(lambda: core.only_multiply(way, rounds, threads), rounds * a_round / work.products),
        "reading": Limit(
            lambda: core.only_read(memory.data_ptr(), work.bytes_read, passes, threads), passes / work.passes
        ),
    }
