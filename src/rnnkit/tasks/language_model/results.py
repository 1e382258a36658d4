"""What a language model answers: the same objects in Python, on the command line and in a server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnkit.data.vocabulary import Vocabulary
from rnnkit.metrics import language_model_metrics

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Candidate:
    """One possible next token."""

    token: str
    """Printable: a line end is ⏎, a space ␣."""
    probability: float


@dataclass(frozen=True)
class TokenScore:
    """How the model expected one token of a text."""

    token: str
    nats: float
    """-ln of the probability it was given."""

    @property
    def probability(self) -> float:
        """In [0, 1]."""
        return math.exp(-self.nats)


@dataclass(frozen=True)
class TextScore:
    """A text's own score, token by token, and what is likely to follow it."""

    text: str
    tokens: tuple[TokenScore, ...]
    next: tuple[Candidate, ...]
    nats: float
    """Of the whole text."""
    perplexity: float
    bits_per_character: float
    unknown: int
    """Tokens that are not in the vocabulary."""


@dataclass(frozen=True)
class TokenEvent:
    """One token arrived on a stream."""

    token: str
    nats: float
    bits: float
    """Surprise: -log2 of the probability it was given."""
    next: tuple[Candidate, ...]
    """The likeliest tokens after it."""


@dataclass(frozen=True)
class WrittenToken:
    """One token that the model wrote."""

    text: str
    """What of the text is certain now; empty where the token may begin something that ends it."""
    token: str
    probability: float
    """The model's own, before any filter."""
    likely: tuple[Candidate, ...]
    """The likeliest tokens in its place."""


def likeliest(log_probabilities: Tensor, vocabulary: Vocabulary, *, count: int) -> tuple[Candidate, ...]:
    """List the likeliest tokens.

    Args:
        log_probabilities: (vocabulary_size,).
        vocabulary: Names the tokens.
        count: How many.

    Returns:
        The likeliest first.
    """
    values, ids = log_probabilities.topk(min(count, len(log_probabilities)))
    pairs = zip(values.tolist(), ids.tolist(), strict=True)
    return tuple(Candidate(vocabulary.piece(token), math.exp(value)) for value, token in pairs)


def text_score(text: str, tokens: Sequence[TokenScore], following: tuple[Candidate, ...], *, unknown: int) -> TextScore:
    """Make the score of a text.

    Args:
        text: The text.
        tokens: How each was expected.
        following: What is likely to follow them.
        unknown: How many of them are not in the vocabulary.

    Returns:
        The score; of an empty text 0 nats.
    """
    if not tokens:
        return TextScore(text, (), following, 0.0, 1.0, 0.0, 0)
    nats = sum(one.nats for one in tokens)
    metrics = language_model_metrics(
        nats,
        tokens=len(tokens),
        characters=len(text),
        bytes=len(text.encode("utf-8", "surrogatepass")),
        words=len(text.split()) or 1,
    )
    return TextScore(
        text,
        tuple(tokens),
        following,
        nats,
        metrics["perplexity"],
        metrics["bits_per_character"],
        unknown,
    )
