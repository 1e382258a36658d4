"""Language models that have a say in what was heard: token by token where theirs are the same, else word by word."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from rnnkit.baselines.ngram import NGram
from rnnkit.data.tokens import DOCUMENT, UNKNOWN, Vocabulary
from rnnkit.decoding.fusion import Fusion
from rnnkit.kernels import State
from rnnkit.tasks.language_model import LanguageModel


class Continuations(ABC):
    """What comes next in texts, several at once."""

    @abstractmethod
    def begin(self) -> Any:
        """Return the state of a text of which nothing is known but that it begins."""

    @abstractmethod
    def log_probabilities(self, states: Sequence[Any]) -> np.ndarray:
        """Return those of every next token, (states, vocabulary_size)."""

    @abstractmethod
    def advance(self, states: Sequence[Any], tokens: Sequence[int]) -> list[Any]:
        """Return each state after one token more."""


class _Known(NamedTuple):
    """A network's state after a text, and what it says comes next, (vocabulary_size,)."""

    state: State
    next: np.ndarray


class NetworkContinuations(Continuations):
    """Those of a language model's network.

    Args:
        model: The language model.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.network = model.network
        self.network.eval()

    def begin(self) -> _Known:
        """Read DOCUMENT."""
        return self._read(torch.tensor([[DOCUMENT]], device=self.network.device), None)[0]

    def log_probabilities(self, states: Sequence[_Known]) -> np.ndarray:
        """Return what was computed when each token was read."""
        return np.stack([one.next for one in states])

    def advance(self, states: Sequence[_Known], tokens: Sequence[int]) -> list[_Known]:
        """Read a token more of each text, all in one batch."""
        if not states:
            return []
        joined = tuple(torch.cat(parts) for parts in zip(*(one.state for one in states), strict=True))
        return self._read(torch.tensor(tokens, device=self.network.device)[:, None], joined)

    def _read(self, tokens: torch.Tensor, state: State | None) -> list[_Known]:
        with torch.inference_mode():
            logits, after = self.network(tokens, state)
            rows = logits[:, -1].double().log_softmax(-1).cpu().numpy()
        return [_Known(tuple(part[row : row + 1] for part in after), rows[row]) for row in range(len(rows))]


class NGramContinuations(Continuations):
    """Those of an n-gram model.

    Args:
        ngram: The model.
    """

    def __init__(self, ngram: NGram) -> None:
        self.ngram = ngram
        self._known: dict[tuple[int, ...], np.ndarray] = {}

    def begin(self) -> tuple[int, ...]:
        """Return the history of a text that begins: nothing but padding."""
        return (DOCUMENT,) * (self.ngram.order - 1)

    def log_probabilities(self, states: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Look histories up."""
        for state in states:
            if state not in self._known:
                self._known[state] = np.log(self.ngram.distribution(state))
        return np.stack([self._known[state] for state in states])

    def advance(self, states: Sequence[tuple[int, ...]], tokens: Sequence[int]) -> list[tuple[int, ...]]:
        """Move each history on by a token."""
        return [(*state, token)[1:] if state else () for state, token in zip(states, tokens, strict=True)]


class TokenFusion(Fusion):
    """A language model whose tokens the recogniser's are too.

    Args:
        model: Says what comes next.
        theirs: (tokens,) the number that each of the recogniser's tokens has in the model.
        weight: Of the model's log-probabilities.
        bonus: Nats added to every token.
    """

    def __init__(self, model: Continuations, theirs: np.ndarray, *, weight: float, bonus: float) -> None:
        self.model, self.theirs, self.weight, self.bonus = model, theirs, weight, bonus

    def begin(self) -> Any:
        """Return the model's state before a text."""
        return self.model.begin()

    def scores(self, states: Sequence[Any]) -> np.ndarray:
        """Weigh what the model says of each token."""
        return self.weight * self.model.log_probabilities(states)[:, self.theirs] + self.bonus

    def advance(self, states: Sequence[Any], tokens: Sequence[int]) -> list[Any]:
        """Let the model read the tokens."""
        return self.model.advance(states, [int(self.theirs[token]) for token in tokens])

    def ends(self, states: Sequence[Any]) -> np.ndarray:
        """Weigh what the model says of an end."""
        return self.weight * self.model.log_probabilities(states)[:, DOCUMENT]


class _Words(NamedTuple):
    """The model's state after whole words, how many they are, and the beginning of another one."""

    model: Any
    closed: int
    open: str


class WordFusion(Fusion):
    """A language model of other tokens than the recogniser's: it says how likely a word is once the word is whole.

    Args:
        model: Says what comes next.
        vocabulary: Of the model.
        pieces: The text of each of the recogniser's tokens; one that begins with a space ends a word.
        weight: Of the model's log-probabilities.
        bonus: Nats added to every word.
    """

    def __init__(
        self, model: Continuations, vocabulary: Vocabulary, pieces: Sequence[str], *, weight: float, bonus: float
    ) -> None:
        self.model, self.vocabulary, self.pieces = model, vocabulary, pieces
        self.weight, self.bonus = weight, bonus
        self.closes = np.array([piece.startswith(" ") for piece in pieces])

    def begin(self) -> _Words:
        """Return the state before a text."""
        return _Words(self.model.begin(), 0, "")

    def scores(self, states: Sequence[_Words]) -> np.ndarray:
        """Give tokens that end a word what the model says of it; all others nothing."""
        return np.stack([np.where(self.closes, self._worth(one)[0], 0.0) for one in states])

    def advance(self, states: Sequence[_Words], tokens: Sequence[int]) -> list[_Words]:
        """Spell on, or begin the next word."""
        found = []
        for one, token in zip(states, tokens, strict=True):
            piece = self.pieces[token]
            if not self.closes[token]:
                found.append(one._replace(open=one.open + piece))
            elif one.open:
                found.append(_Words(self._worth(one)[1], one.closed + 1, piece[1:]))
            else:
                found.append(one._replace(open=piece[1:]))
        return found

    def ends(self, states: Sequence[_Words]) -> np.ndarray:
        """Say of each text how likely its last word and its end are."""
        worth = [self._worth(one) for one in states]
        last = self.model.log_probabilities([state for _, state in worth])[:, DOCUMENT]
        return np.array([value for value, _ in worth]) + self.weight * last

    def _worth(self, one: _Words) -> tuple[float, Any]:
        """Return what the open word adds, and the model's state after it."""
        if not one.open:
            return 0.0, one.model
        total, state = 0.0, one.model
        for token in self.vocabulary.encode(f" {one.open}" if one.closed else one.open).tolist():
            total += float(self.model.log_probabilities([state])[0, token])
            (state,) = self.model.advance([state], [token])
        return self.weight * total + self.bonus, state


def language_fusion(
    model: Continuations, theirs: Vocabulary, ours: Vocabulary, *, weight: float, bonus: float
) -> Fusion:
    """Let a language model have a say.

    Args:
        model: Says what comes next.
        theirs: Its vocabulary.
        ours: The recogniser's.
        weight: Of its log-probabilities.
        bonus: Nats added to every token, or every word, so that long texts are not too unlikely.

    Returns:
        By tokens where each of ours is one of theirs, else by words.
    """
    pieces = ["", "", *(ours.decode([token]) for token in range(2, ours.size))]
    if theirs.kind == ours.kind:
        same = [theirs.encode(piece) if piece else [UNKNOWN] for piece in pieces]
        if all(len(found) == 1 for found in same):
            numbers = np.array([int(found[0]) for found in same])
            return TokenFusion(model, numbers, weight=weight, bonus=bonus)
    return WordFusion(model, theirs, pieces, weight=weight, bonus=bonus)
