"""What a classifier of texts answers: the same objects in Python, on the command line and in a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnkit.tasks.classification.results import LabelProbability, likeliest_labels


@dataclass(frozen=True)
class ScoreEvent:
    """One token was read: what the text up to it looks like."""

    token: str
    """Printable: a line end is ⏎, a space ␣."""
    label: str
    """The likeliest."""
    probability: float
    candidates: tuple[LabelProbability, ...]
    """The likeliest labels."""


@dataclass(frozen=True)
class TextLabel:
    """The answer to one text."""

    text: str
    label: str
    """The likeliest."""
    labels: tuple[str, ...]
    """Of a multi-label model those above their thresholds, the likeliest first; else the one label."""
    probability: float
    """Of `label`."""
    candidates: tuple[LabelProbability, ...]
    """The likeliest labels."""
    unknown: int
    """Tokens that are not in the vocabulary."""
    running: tuple[ScoreEvent, ...]
    """The answer after each token; empty for a model that reads backwards too, or where it was not asked for."""


def score_events(
    tokens: Sequence[str], probabilities: np.ndarray, names: Sequence[str], *, count: int
) -> list[ScoreEvent]:
    """Make the events of some tokens.

    Args:
        tokens: Printable.
        probabilities: (tokens, labels), after each.
        names: Of the labels.
        count: How many labels an event lists.

    Returns:
        One event a token.
    """
    listed = (likeliest_labels(row, names, count=max(count, 1)) for row in probabilities)
    return [
        ScoreEvent(token, likely[0].label, likely[0].probability, likely[:count])
        for token, likely in zip(tokens, listed, strict=True)
    ]
