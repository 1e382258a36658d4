"""What a classifier of series answers: the same objects in Python, on the command line and in a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnkit.tasks.classification.results import LabelProbability, likeliest_labels


@dataclass(frozen=True)
class StepEvent:
    """One step was read: what the series up to it looks like."""

    step: int
    """From 1, since the series began."""
    label: str
    """The likeliest."""
    probability: float
    candidates: tuple[LabelProbability, ...]
    """The likeliest labels."""
    fired: bool = False
    """Whether this is the moment at which the label is decided; true once a series, never for the null label."""


@dataclass(frozen=True)
class SeriesLabel:
    """The answer to one series."""

    steps: int
    label: str
    """The likeliest, of the whole series."""
    probability: float
    candidates: tuple[LabelProbability, ...]
    """The likeliest labels."""
    early_step: int | None
    """The step, from 1, at which the answer was safe to give; none where it never was, or reads backwards too."""
    early_label: str | None
    """The answer given then."""
    running: tuple[StepEvent, ...]
    """The answer after each step; empty where it was not asked for, or the model reads backwards too."""


def step_event(answer: np.ndarray, names: Sequence[str], *, step: int, count: int, fired: bool = False) -> StepEvent:
    """Make the event of a step.

    Args:
        answer: (labels,) probabilities.
        names: Of the labels.
        step: From 1.
        count: How many labels it lists.
        fired: Whether the label is decided here.

    Returns:
        The event.
    """
    likely = likeliest_labels(answer, names, count=max(count, 1))
    return StepEvent(step, likely[0].label, likely[0].probability, likely[:count], fired)


def series_label(
    answers: np.ndarray,
    names: Sequence[str],
    *,
    steps: int,
    early: int | None,
    count: int,
    running: bool = False,
) -> SeriesLabel:
    """Make the answer to a series.

    Args:
        answers: (time, labels) probabilities after each step, or (1, labels) after the last.
        names: Of the labels.
        steps: How long the series is.
        early: The step, from 0, at which the answer was safe to give.
        count: How many likely labels to name.
        running: Whether to give the answer after each step too.

    Returns:
        The answer.
    """
    last = step_event(answers[-1], names, step=steps, count=count)
    events = [
        step_event(answer, names, step=number + 1, count=count, fired=number == early)
        for number, answer in enumerate(answers if running else answers[:0])
    ]
    decided = (None, None) if early is None else (early + 1, names[int(answers[early].argmax())])
    return SeriesLabel(steps, last.label, last.probability, last.candidates, *decided, tuple(events))
