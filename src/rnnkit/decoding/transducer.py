"""What a transducer says, step by step (Graves 2012): at every step tokens, until it says the blank."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnkit.decoding.fusion import NOTHING, Fusion
from rnnkit.decoding.hypotheses import BLANK, LEAST, Answer, Decoder, Node, Said, Way, shared_depth
from rnnkit.errors import ConfigError

MOST_TOKENS = 10  # said at one step: a network may say a word's letters at its end, all at once


class Speaker(ABC):
    """The part of a transducer that remembers what was said, and scores what comes next."""

    @abstractmethod
    def begin(self) -> Any:
        """Return the state before the first token."""

    @abstractmethod
    def advance(self, states: Sequence[Any], tokens: Sequence[int]) -> list[Any]:
        """Return each state after one token more."""

    @abstractmethod
    def log_probabilities(self, row: np.ndarray, states: Sequence[Any]) -> np.ndarray:
        """Return those of every token and the blank, (states, tokens), from what is heard at a step, (size,)."""


@dataclass
class _Hypothesis:
    """Tokens said, the log-probability of all ways to say them so far, and the states after them."""

    node: Node
    way: Way | None
    log_probability: float
    bonus: float
    state: Any
    fused: Any

    @property
    def score(self) -> float:
        return self.log_probability + self.bonus


class TransducerBeam(Decoder):
    """The likeliest sequences of tokens: a step of time at once, all ways to a sequence summed (Saon et al. 2020).

    With a beam of 1 it takes the likeliest of blank and tokens each time. With one that holds everything, and tokens
    enough a step, it is exact.

    Args:
        speaker: Scores what comes next.
        size: Hypotheses kept.
        fusion: What else is known of sequences of tokens.
        most: Tokens said at one step at most.

    Raises:
        ConfigError: If `size` is below 1.
    """

    def __init__(self, speaker: Speaker, size: int = 1, *, fusion: Fusion = NOTHING, most: int = MOST_TOKENS) -> None:
        if size < 1:
            raise ConfigError(f"the beam's size is {size}; expected 1 or more")
        self.speaker, self.size, self.fusion, self.most, self.steps = speaker, size, fusion, most, 0
        self.begin()

    def begin(self) -> None:
        """Forget what was said."""
        root = Node(BLANK, None)
        self._beam = [_Hypothesis(root, None, 0.0, 0.0, self.speaker.begin(), self.fusion.begin())]

    def push(self, rows: np.ndarray) -> None:
        """Take some steps more, (time, size): what is heard."""
        for row in rows:
            self._beam = self._greedy(row) if self.size == 1 else self._step(row)
            self.steps += 1

    def _greedy(self, row: np.ndarray) -> list[_Hypothesis]:
        """Say the likeliest until it is the blank."""
        (one,) = self._beam
        for _ in range(self.most):
            scores = self.speaker.log_probabilities(row, [one.state])[0]
            worth = scores + self.fusion.scores([one.fused])[0] * (np.arange(len(scores)) != BLANK)
            token = int(worth.argmax())
            if token == BLANK:
                break
            grown = self._grown(one, [token], scores, worth - scores)
            self._advance(grown)
            (one,) = grown
        scores = self.speaker.log_probabilities(row, [one.state])[0]
        one.log_probability += float(scores[BLANK])
        return [one]

    def _step(self, row: np.ndarray) -> list[_Hypothesis]:
        """Let hypotheses say none, one, two tokens and so on, each with the blank behind them."""
        ended: dict[Node, _Hypothesis] = {}
        saying = self._beam
        for said in range(self.most + 1):
            scores = self.speaker.log_probabilities(row, [one.state for one in saying]).astype(np.float64)
            for one, own in zip(saying, scores, strict=True):
                self._end(ended, one, float(own[BLANK]))
            if said == self.most or not (saying := self._continued(saying, scores, least=self._least(ended))):
                break
        return sorted(ended.values(), key=lambda one: -one.score)[: self.size]

    def _end(self, ended: dict[Node, _Hypothesis], one: _Hypothesis, blank: float) -> None:
        """Put a hypothesis that says no more at this step beside those of the same tokens."""
        log_probability, other = one.log_probability + blank, ended.get(one.node)
        way, total = one.way, log_probability
        if other is not None:
            total = float(np.logaddexp(log_probability, other.log_probability))
            way = way if log_probability > other.log_probability else other.way
        ended[one.node] = _Hypothesis(one.node, way, total, one.bonus, one.state, one.fused)

    def _least(self, ended: dict[Node, _Hypothesis]) -> float:
        """Return the score below which a hypothesis has no place any more."""
        if len(ended) < self.size:
            return LEAST
        return sorted((one.score for one in ended.values()), reverse=True)[self.size - 1]

    def _continued(self, saying: Sequence[_Hypothesis], scores: np.ndarray, *, least: float) -> list[_Hypothesis]:
        """Return the best hypotheses with one token more, said at this step, whose scores are above `least`."""
        added = np.broadcast_to(self.fusion.scores([one.fused for one in saying]), scores.shape)
        totals = scores + added + np.array([[one.score] for one in saying])
        totals[:, BLANK] = LEAST
        totals[totals <= least] = LEAST
        count = min(self.size, int((totals > LEAST / 2).sum()))
        flat = totals.ravel()
        best = np.argpartition(-flat, count - 1)[:count] if count else np.empty(0, dtype=np.int64)
        grown: list[_Hypothesis] = []
        for parent in np.unique(best // scores.shape[1]).tolist():
            tokens = (best[best // scores.shape[1] == parent] % scores.shape[1]).tolist()
            grown += self._grown(saying[parent], tokens, scores[parent], added[parent])
        self._advance(grown)
        return grown

    def _grown(
        self, one: _Hypothesis, tokens: Sequence[int], scores: np.ndarray, added: np.ndarray
    ) -> list[_Hypothesis]:
        """Return a hypothesis with each of some tokens behind it, not read yet."""
        found = []
        for token in tokens:
            value = float(scores[token])
            way = Way(Said(token, self.steps, self.steps, value), one.way)
            total, bonus = one.log_probability + value, one.bonus + float(added[token])
            found.append(_Hypothesis(one.node.child(token), way, total, bonus, one.state, one.fused))
        return found

    def _advance(self, grown: Sequence[_Hypothesis]) -> None:
        """Let speaker and fusion read the last token of each."""
        tokens = [one.node.token for one in grown]
        states = self.speaker.advance([one.state for one in grown], tokens)
        fused = self.fusion.advance([one.fused for one in grown], tokens)
        for one, state, more in zip(grown, states, fused, strict=True):
            one.state, one.fused = state, more

    def answers(self, count: int = 1, *, ended: bool = False) -> list[Answer]:
        """Return the best hypotheses."""
        more = self.fusion.ends([one.fused for one in self._beam]) if ended else np.zeros(len(self._beam))
        scores = np.array([one.score for one in self._beam]) + more
        best = np.argsort(-scores, kind="stable")[:count].tolist()
        found = ((self._beam[place], float(scores[place])) for place in best)
        return [Answer(one.way.all() if one.way else (), score, one.log_probability) for one, score in found]

    def certain(self) -> int:
        """Return how many first tokens all hypotheses share."""
        return shared_depth([one.node for one in self._beam])

    @property
    def quiet(self) -> bool:
        """Whether the best hypothesis says nothing at the last step."""
        return self.last_step() != self.steps - 1

    def last_step(self) -> int | None:
        """Return when the last token of the best hypothesis was said."""
        best = max(self._beam, key=lambda one: one.score)
        return None if best.way is None else best.way.said.last

    def state(self) -> dict[str, Any]:
        """Return the hypotheses."""
        hypotheses = [
            {
                "said": [[each.token, each.step, each.last, each.log_probability] for each in one.way.all()]
                if one.way
                else [],
                "ends": [one.log_probability, one.bonus],
            }
            for one in self._beam
        ]
        return {"steps": self.steps, "hypotheses": hypotheses}

    def restore(self, state: dict[str, Any]) -> None:
        """Take the hypotheses over; speaker and fusion read their tokens again."""
        self.steps, self._beam, root = state["steps"], [], Node(BLANK, None)
        for one in state["hypotheses"]:
            node, way, spoken = root, None, self.speaker.begin()
            for each in one["said"]:
                node, way = node.child(each[0]), Way(Said(*each), way)
                (spoken,) = self.speaker.advance([spoken], [each[0]])
            fused = self.fusion.read([each[0] for each in one["said"]])
            log_probability, bonus = one["ends"]
            self._beam.append(_Hypothesis(node, way, log_probability, bonus, spoken, fused))
