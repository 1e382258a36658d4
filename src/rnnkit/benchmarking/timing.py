"""Time functions against one another on a machine that others use too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter as clock

SAMPLE_SECONDS = 0.02
MOST_WAITING = 0.03  # share of a quiet sample in which a thread of ours wanted a processor and had none


@dataclass(frozen=True)
class Timing:
    """How long one call takes.

    Attributes:
        seconds: Median of the quiet samples, or of all where fewer than three were quiet.
        quiet: Quiet samples.
        samples: All of them.
    """

    seconds: float
    quiet: int
    samples: int


def interleave(
    functions: Mapping[str, Callable[[], object]], *, rounds: int = 15, seconds: float = 3.0
) -> dict[str, Timing]:
    """Time every function in turn, round after round, so that all meet the same disturbances.

    Args:
        functions: Each is called many times for a sample.
        rounds: Samples of each.
        seconds: No new round begins after this, except the first three.

    Returns:
        A timing for each.
    """
    calls = {name: _calls_a_sample(function) for name, function in functions.items()}
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    began = clock()
    for number in range(rounds):
        if number >= 3 and clock() - began > seconds:
            break
        for name, function in functions.items():
            waited, start = _waiting_seconds(), clock()
            for _ in range(calls[name]):
                function()
            took = clock() - start
            samples[name].append((took / calls[name], (_waiting_seconds() - waited) / took))
    return {name: _timing(found) for name, found in samples.items()}


def _calls_a_sample(function: Callable[[], object]) -> int:
    function()  # the first call prepares what later ones reuse
    start = clock()
    function()
    return max(1, int(SAMPLE_SECONDS / max(clock() - start, 1e-7)))


def _timing(samples: list[tuple[float, float]]) -> Timing:
    quiet = [seconds for seconds, waiting in samples if waiting < MOST_WAITING]
    chosen = quiet if len(quiet) >= 3 else [seconds for seconds, _ in samples]
    return Timing(median(chosen), len(quiet), len(samples))


def _waiting_seconds() -> float:
    """Return how long this process's threads have waited for a processor; 0 where the system does not say."""
    total = 0
    for task in Path("/proc/self/task").glob("*/schedstat"):
        try:
            total += int(task.read_text().split()[1])
        except (OSError, IndexError):  # a thread that has just ended
            continue
    return total * 1e-9
