"""The vanishing gradient made visible: problems that need a memory, layers that have one and layers that do not."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnkit.checkpoint import writing
from rnnkit.config import refuse_unknown
from rnnkit.diagnosing.problems import CLIP_NORM, PROBLEMS, solve
from rnnkit.diagnosing.reach import Reach, gradient_reach
from rnnkit.errors import ConfigError
from rnnkit.figures import gradients_by_distance
from rnnkit.layers import LAYERS

_log = logging.getLogger("rnnkit.diagnosing")

TESTED = 32  # sequences whose gradients are measured
TOLD_EVERY = 250  # updates


@dataclass(frozen=True)
class Shown:
    """What a layer came to on a problem.

    Attributes:
        problem: Name in PROBLEMS.
        layer: Name in LAYERS.
        length: Steps to remember over.
        error: After training.
        chance: The error without a memory.
        solved: Whether the error is below that of a solution.
        updates: Made.
        clipped: Share of them whose gradient was clipped.
        reach: Gradients over distance after training.
    """

    problem: str
    layer: str
    length: int
    error: float
    chance: float
    solved: bool
    updates: int
    clipped: float
    reach: Reach


def demonstrate(
    layers: Sequence[str] = ("rnn", "lstm", "gru"),
    *,
    problems: Sequence[str] = tuple(PROBLEMS),
    length: int = 100,
    steps: int = 2000,
    clip_norm: float | None = CLIP_NORM,
    seed: int = 1,
    folder: str | Path | None = None,
) -> list[Shown]:
    """Train layers on problems that need a memory, and measure how far their gradients reach.

    Args:
        layers: Names in LAYERS.
        problems: Names in PROBLEMS.
        length: Steps to remember over.
        steps: Updates at most; a problem that is solved ends sooner.
        clip_norm: Scale gradients down to this norm where they are longer; None does not.
        seed: Of weights and sequences.
        folder: Where a picture a problem is drawn; None draws none.

    Returns:
        A row for each problem and layer.

    Raises:
        ConfigError: If a name is unknown, or a number out of range.
    """
    refuse_unknown("layers", layers, LAYERS)
    refuse_unknown("problems", problems, PROBLEMS)
    for name, value in (("length", length), ("steps", steps)):
        if value < 2:
            raise ConfigError(f"{name} is {value}; expected 2 or more")
    found = []
    for problem in problems:
        how = {"time": length, "steps": steps, "clip_norm": clip_norm, "seed": seed}
        some = [_shown(problem, layer, how) for layer in layers]
        found += some
        if folder is not None:
            path = Path(folder) / f"{problem}.png"
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                gradients_by_distance(
                    {f"{one.layer}, error {one.error:.3g}": one.reach.norms for one in some},
                    path,
                    title=f"the {problem} problem over {length} steps: what reaches the end of what was read before",
                )
    return found


def _shown(problem: str, layer: str, how: Mapping[str, Any]) -> Shown:
    def watch(update: int, error: float) -> None:
        if update % TOLD_EVERY == 0:
            _log.info("%s, %s: update %d of at most %d, error %.4f", problem, layer, update, how["steps"], error)

    attempt = solve(PROBLEMS[problem], layer, watch=watch, **how)
    chance, solved = PROBLEMS[problem].chance, attempt.error < PROBLEMS[problem].solved
    _log.info("%s, %s: error %.4f, %.4f without a memory", problem, layer, attempt.error, chance)
    reach = gradient_reach(attempt.stack, attempt.inputs[:TESTED])
    counts = attempt.updates, attempt.clipped
    return Shown(problem, layer, how["time"], attempt.error, chance, solved, *counts, reach)
