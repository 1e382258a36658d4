"""What else is known of a sequence of tokens while it is searched for: a language model, phrases to look out for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np


class Fusion(ABC):
    """Adds to the score of hypotheses, token by token (shallow fusion: Gulcehre et al. 2015)."""

    @abstractmethod
    def begin(self) -> Any:
        """Return the state before the first token."""

    @abstractmethod
    def scores(self, states: Sequence[Any]) -> np.ndarray:
        """Return what each token would add after each state, (states, tokens), or (states, 1) where all add as much."""

    @abstractmethod
    def advance(self, states: Sequence[Any], tokens: Sequence[int]) -> list[Any]:
        """Return each state after one token more."""

    def ends(self, states: Sequence[Any]) -> np.ndarray:
        """Return what an end would add after each state, (states,)."""
        return np.zeros(len(states))

    def read(self, tokens: Sequence[int]) -> Any:
        """Return the state after some tokens."""
        state = self.begin()
        for token in tokens:
            (state,) = self.advance([state], [token])
        return state


class NoFusion(Fusion):
    """Adds nothing."""

    def begin(self) -> None:
        """Return None."""

    def scores(self, states: Sequence[None]) -> np.ndarray:
        """Return zeros."""
        return np.zeros((len(states), 1))

    def advance(self, states: Sequence[None], tokens: Sequence[int]) -> list[None]:
        """Return as many None."""
        del tokens
        return list(states)


NOTHING = NoFusion()


class SummedFusion(Fusion):
    """Adds what several do.

    Args:
        parts: At least one.
    """

    def __init__(self, parts: Sequence[Fusion]) -> None:
        self.parts = tuple(parts)

    def begin(self) -> tuple[Any, ...]:
        """Return a state of each part."""
        return tuple(part.begin() for part in self.parts)

    def scores(self, states: Sequence[tuple[Any, ...]]) -> np.ndarray:
        """Add up the parts' scores."""
        return sum((part.scores(own) for part, own in self._apart(states)), start=np.zeros(()))

    def advance(self, states: Sequence[tuple[Any, ...]], tokens: Sequence[int]) -> list[tuple[Any, ...]]:
        """Advance each part."""
        return list(zip(*(part.advance(own, tokens) for part, own in self._apart(states)), strict=True))

    def ends(self, states: Sequence[tuple[Any, ...]]) -> np.ndarray:
        """Add up what the parts say of an end."""
        return sum((part.ends(own) for part, own in self._apart(states)), start=np.zeros(()))

    def _apart(self, states: Sequence[tuple[Any, ...]]) -> list[tuple[Fusion, list[Any]]]:
        return [(part, [one[place] for one in states]) for place, part in enumerate(self.parts)]


class Phrases(Fusion):
    """Adds to every token that goes on with a phrase, and takes it back where the phrase is not finished.

    The phrases are a trie with the failure links of Aho and Corasick 1975: a hypothesis that leaves one phrase may be
    inside another.

    Args:
        phrases: Tokens of each; none empty.
        weight: Nats a token.
        num_tokens: Of the model.
        starts: Tokens after which a phrase may begin, besides the beginning; None lets it begin anywhere.

    Example:
        >>> phrases = Phrases([(3, 4)], weight=2.0, num_tokens=6)
        >>> phrases.scores([phrases.begin()])
        array([[0., 0., 0., 2., 0., 0.]])
        >>> phrases.scores([phrases.read([3])])  # 4 goes on, 3 begins anew, others give the 2 back
        array([[-2., -2., -2.,  0.,  2., -2.]])
    """

    def __init__(
        self,
        phrases: Collection[Sequence[int]],
        *,
        weight: float,
        num_tokens: int,
        starts: Collection[int] | None = None,
    ) -> None:
        self.weight, self.starts = weight, None if starts is None else frozenset(starts)
        self._next: list[dict[int, int]] = [{}]  # of each node of the trie
        self._depth, self._ends = [0], [False]
        for phrase in phrases:
            node = 0
            for token in phrase:
                if token not in self._next[node]:
                    self._next[node][token] = len(self._next)
                    self._next.append({})
                    self._depth.append(self._depth[node] + 1)
                    self._ends.append(False)
                node = self._next[node][token]
            self._ends[node] = True
        self._fail = self._failures()
        self._gains = [self._gains_of(node, num_tokens) for node in range(len(self._next))]

    def _failures(self) -> list[int]:
        """Return for each node the longest end of its tokens that begins a phrase."""
        fail, waiting = [0] * len(self._next), list(self._next[0].values())
        for node in waiting:
            for token, child in self._next[node].items():
                waiting.append(child)
                if self.starts is None:
                    fail[child] = self._follow(fail, fail[node], token)
        return fail

    def _follow(self, fail: Sequence[int], node: int, token: int) -> int:
        while node and token not in self._next[node]:
            node = fail[node]
        return self._next[node].get(token, 0)

    def _gains_of(self, node: int, num_tokens: int) -> np.ndarray:
        """Return what each token adds at a node: at the end of a phrase nothing is given back."""
        held = 0 if self._ends[node] else self._depth[node]
        gains = np.full(num_tokens, -held, dtype=np.float64)
        for token in range(num_tokens):
            gains[token] += self._depth[self._after(node, token)]
            if self._ends[node] and self._after(node, token) in self._next[node].values():
                gains[token] -= self._depth[node]
        return self.weight * gains

    def _after(self, node: int, token: int) -> int:
        if token in self._next[node]:
            return self._next[node][token]
        return self._follow(self._fail, self._fail[node], token) if self.starts is None else 0

    def begin(self) -> tuple[int, bool]:
        """Return the root, where a phrase may begin."""
        return 0, True

    def scores(self, states: Sequence[tuple[int, bool]]) -> np.ndarray:
        """Return what tokens add."""
        rows = [self._gains[node] if node or free else np.zeros_like(self._gains[0]) for node, free in states]
        return np.stack(rows)

    def advance(self, states: Sequence[tuple[int, bool]], tokens: Sequence[int]) -> list[tuple[int, bool]]:
        """Move through the trie."""
        moved = []
        for (node, free), token in zip(states, tokens, strict=True):
            after = self._after(node, token) if node or free else 0
            moved.append((after, self.starts is None or token in self.starts))
        return moved

    def ends(self, states: Sequence[tuple[int, bool]]) -> np.ndarray:
        """Take back what was added for a phrase that is not finished."""
        return np.array([-self.weight * (0 if self._ends[node] else self._depth[node]) for node, _ in states])
