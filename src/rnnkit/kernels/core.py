"""The C++ core, where it was built, and the level of the instruction set it runs at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch  # noqa: F401 - before the core, so that both find the same OpenMP and share its threads

from rnnkit.errors import ConfigError

MISSING = "rnnkit was installed without its C++ kernels: no compiler was found, or the build failed"

try:
    core: Any = import_module("rnnkit._native")
except ImportError:
    core = None


@dataclass(frozen=True)
class Formula:
    """What C++ knows by name: how many gates read the sum of both parts, and how many read them separately.

    Where it `resets`, those that read them separately see the state multiplied by a gate. `lone` gates are the input's
    alone.
    """

    name: str
    joined: int
    apart: int = 0
    resets: bool = False
    lone: int = 0

    @property
    def native(self) -> Any:
        """The name in C++."""
        return getattr(core.Formula, self.name)


FORMULAS = {
    "rnn-tanh": Formula("rnn_tanh", 1),
    "rnn-relu": Formula("rnn_relu", 1),
    "lstm": Formula("lstm", 4),
    "gru": Formula("gru", 2, 1),
    "gru-reset-before": Formula("gru_reset_before", 2, 1, resets=True),
}


def levels() -> list[str]:
    """Return the levels of the instruction set that this machine runs, the best one last; none without the core."""
    return [] if core is None else core.levels()


@contextmanager
def use_level(name: str) -> Iterator[None]:
    """Run the C++ kernels at another level inside the `with` block, in all threads.

    Args:
        name: One of `levels()`.

    Raises:
        ConfigError: If this machine has no such level.
    """
    if name not in levels():
        known = ", ".join(levels()) or MISSING
        raise ConfigError(f"there is no level {name!r} here; choose one of {known}")
    before = core.level()
    core.use_level(name)
    try:
        yield
    finally:
        core.use_level(before)
