"""What a translator answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Alternative:
    """One translation of a text."""

    text: str
    score: float
    """What translations are ranked by: the log-probability over a penalty on length."""
    log_probability: float
    """Natural logarithm."""


@dataclass(frozen=True)
class Alignment:
    """What was looked at for each token of a translation."""

    source: tuple[str, ...]
    """Tokens of the text, in printable form."""
    target: tuple[str, ...]
    """Tokens of the translation, and its end."""
    weights: tuple[tuple[float, ...], ...]
    """For each token of the translation, the share of attention on each of the text; sums to 1."""


@dataclass(frozen=True)
class Translation:
    """A text and its translation."""

    source: str
    text: str
    score: float
    log_probability: float
    tokens: int
    """Of the translation, its end not counted."""
    unknown: int
    """Tokens of the text that are not in the vocabulary."""
    alternatives: tuple[Alternative, ...] = ()
    """The best ones, the first of them the translation."""
    alignment: Alignment | None = None
