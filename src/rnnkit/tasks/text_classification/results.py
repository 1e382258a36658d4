"""What a classifier of texts answers: the same objects in Python, on the command line and in a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnkit.data.tokens import UNKNOWN, Vocabulary
from rnnkit.tasks.classification.decision import Decision
from rnnkit.tasks.classification.labels import Labels
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


def text_label(
    text: str,
    tokens: np.ndarray,
    answers: np.ndarray,
    *,
    vocabulary: Vocabulary,
    labels: Labels,
    decision: Decision,
    count: int,
    live: bool,
) -> TextLabel:
    """Make the answer to a text.

    Args:
        text: As it was given.
        tokens: (tokens,) of it, DOCUMENT before them.
        answers: (tokens, labels) probabilities after each, or (1, labels) after the last.
        vocabulary: Of the tokens.
        labels: Of the model.
        decision: How they are chosen.
        count: How many likely labels to name.
        live: Whether there are answers after each token.

    Returns:
        The answer.
    """
    names, final = labels.names, answers[-1]
    likely = likeliest_labels(final, names, count=max(count, 1))
    given = (likely[0].label,)
    if labels.multi_label:
        chosen = decision.chosen(final)
        given = tuple(names[index] for index in np.argsort(-final, kind="stable") if chosen[index])
    pieces = [vocabulary.piece(token) for token in tokens[1:]] if live else []
    events = score_events(pieces, answers[1:] if live else answers[:0], names, count=count)
    unknown = int(np.count_nonzero(tokens == UNKNOWN))
    return TextLabel(text, likely[0].label, given, likely[0].probability, likely[:count], unknown, tuple(events))
