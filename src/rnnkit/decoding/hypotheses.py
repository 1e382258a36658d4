"""What was said, and when, as a decoder that follows a network step by step finds it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

BLANK = 0
LEAST = -1e30  # the logarithm of what cannot be: finite, as a state that is kept must be


@dataclass(frozen=True)
class Said:
    """A token that was said.

    Attributes:
        token: Which.
        step: At which it was said first.
        last: The last step at which it was said.
        log_probability: Of the token at the step at which it was most probable.
    """

    token: int
    step: int
    last: int
    log_probability: float


@dataclass(frozen=True)
class Answer:
    """A sequence of tokens.

    Attributes:
        said: The tokens, in order.
        score: What answers are ranked by: the log-probability with what fusion adds.
        log_probability: Of all ways to say these tokens.
    """

    said: tuple[Said, ...]
    score: float
    log_probability: float

    @property
    def tokens(self) -> tuple[int, ...]:
        """The tokens alone."""
        return tuple(one.token for one in self.said)


class Decoder(ABC):
    """Turns what a network says of steps, as they come, into tokens.

    Attributes:
        steps: Taken so far.
    """

    steps: int

    @abstractmethod
    def push(self, rows: np.ndarray, /) -> None:
        """Take some steps more, (time, size)."""

    @abstractmethod
    def answers(self, count: int = 1, *, ended: bool = False) -> list[Answer]:
        """Return the best answers so far, the best first; `ended` adds what fusion says of an end here."""

    @abstractmethod
    def certain(self) -> int:
        """Return how many of the best answer's tokens nothing that follows can change."""

    @abstractmethod
    def last_step(self) -> int | None:
        """Return the last step at which the best answer says its last token; None where it says nothing."""

    @property
    @abstractmethod
    def quiet(self) -> bool:
        """Whether the best answer says nothing at the last step."""

    @abstractmethod
    def begin(self) -> None:
        """Forget what was said; the steps go on counting."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs, JSON-able."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""


class Node:
    """A sequence of tokens: as long as one is in use there is no second one of the same tokens."""

    __slots__ = ("__weakref__", "children", "depth", "parent", "token")

    def __init__(self, token: int, parent: Node | None) -> None:
        self.token, self.parent = token, parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.children: WeakValueDictionary[int, Node] = WeakValueDictionary()

    def child(self, token: int) -> Node:
        """Return this sequence with a token more."""
        found = self.children.get(token)
        if found is None:
            found = self.children[token] = Node(token, self)
        return found


class Way(NamedTuple):
    """When the tokens of a prefix were said, the last one first."""

    said: Said
    before: Way | None

    def all(self) -> tuple[Said, ...]:
        """Return them in order."""
        found, way = [], self
        while way is not None:
            found.append(way.said)
            way = way.before
        return tuple(reversed(found))


def shared_depth(nodes: Sequence[Node]) -> int:
    """Return how many first tokens some sequences share."""
    shared = nodes[0]
    for node in nodes[1:]:
        other = node
        while other is not shared:
            if other.depth >= shared.depth:
                assert other.parent is not None
                other = other.parent
            else:
                assert shared.parent is not None
                shared = shared.parent
    return shared.depth


def decode(decoder: Decoder, rows: np.ndarray, *, count: int = 1) -> list[Answer]:
    """Decode a whole sequence, (time, size), and return its best answers."""
    decoder.push(rows)
    return decoder.answers(count, ended=True)
