"""What a network trained by connectionist temporal classification says (Graves et al. 2006), as its steps come.

At every step it says a token or the blank; a token said at neighbouring steps is one, and blanks are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from rnnkit.decoding.fusion import NOTHING, Fusion
from rnnkit.decoding.hypotheses import BLANK, LEAST, Answer, Decoder, Node, Said, Way, shared_depth
from rnnkit.errors import ConfigError


class GreedyCTC(Decoder):
    """The likeliest token of every step; what was said stays said.

    Example:
        >>> decoder = GreedyCTC()
        >>> decoder.push(np.log([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [0.1, 0.8, 0.1]]))
        >>> decoder.answers()[0].tokens
        (1, 1)
    """

    def __init__(self) -> None:
        self.steps, self.before = 0, BLANK
        self.begin()

    def begin(self) -> None:
        """Forget what was said, but not what is being said, which is not said anew."""
        self.said: list[Said] = []
        self.log_probability = 0.0

    def push(self, log_probabilities: np.ndarray) -> None:
        """Take some steps more, (time, tokens)."""
        best = log_probabilities.argmax(1)
        values = log_probabilities[np.arange(len(best)), best]
        for token, value in zip(best.tolist(), values.tolist(), strict=True):
            if token != BLANK and token == self.before:
                if self.said:
                    one = self.said[-1]
                    self.said[-1] = Said(token, one.step, self.steps, max(one.log_probability, value))
            elif token != BLANK:
                self.said.append(Said(token, self.steps, self.steps, value))
            self.before = token
            self.log_probability += value
            self.steps += 1

    def answers(self, count: int = 1, *, ended: bool = False) -> list[Answer]:
        """Return the one answer."""
        del count, ended
        return [Answer(tuple(self.said), self.log_probability, self.log_probability)]

    @property
    def quiet(self) -> bool:
        """Whether the last step says nothing."""
        return self.before == BLANK

    def last_step(self) -> int | None:
        """Return when the last token was said."""
        return self.said[-1].last if self.said else None

    def certain(self) -> int:
        """Return the number of all tokens: none is taken back."""
        return len(self.said)

    def state(self) -> dict[str, Any]:
        """Return what was said."""
        said = [[one.token, one.step, one.last, one.log_probability] for one in self.said]
        return {"steps": self.steps, "said": said, "log": self.log_probability, "before": self.before}

    def restore(self, state: dict[str, Any]) -> None:
        """Take it over."""
        self.steps, self.before, self.log_probability = state["steps"], state["before"], state["log"]
        self.said = [Said(*one) for one in state["said"]]


@dataclass
class _Prefix:
    """Tokens said, and how probable the ways are that end in a blank and in the last token."""

    node: Node
    way: Way | None
    blank: float
    token: float
    bonus: float
    """What fusion has added."""
    fused: Any = None
    """State of the fusion after these tokens."""

    @property
    def said(self) -> tuple[Said, ...]:
        return () if self.way is None else self.way.all()

    @property
    def total(self) -> float:
        return float(np.logaddexp(self.blank, self.token))


class PrefixBeam(Decoder):
    """The likeliest sequences of tokens, summed over the ways to say each (Graves 2012; Hannun et al. 2014).

    With a beam that holds every prefix it is exact. What fusion says of a token (a language model, words to look out
    for) is added when the token is.

    Args:
        size: Prefixes kept.
        fusion: What else is known of sequences of tokens.

    Raises:
        ConfigError: If `size` is below 1.
    """

    def __init__(self, size: int = 8, *, fusion: Fusion = NOTHING) -> None:
        if size < 1:
            raise ConfigError(f"the beam's size is {size}; expected 1 or more")
        self.size, self.fusion, self.steps = size, fusion, 0
        self.begin()

    def begin(self) -> None:
        """Forget what was said."""
        self._beam = [_Prefix(Node(BLANK, None), None, 0.0, LEAST, 0.0, self.fusion.begin())]

    def push(self, log_probabilities: np.ndarray) -> None:
        """Take some steps more, (time, tokens)."""
        for row in np.asarray(log_probabilities, dtype=np.float64):
            self._step(row)
            self.steps += 1

    def _step(self, row: np.ndarray) -> None:
        beam = self._beam
        places = {one.node: place for place, one in enumerate(beam)}
        lasts = np.array([one.node.token for one in beam])
        ends = np.array([[one.blank, one.token, one.bonus] for one in beam])
        again = np.where(lasts == BLANK, LEAST, ends[:, 1] + row[lasts])
        blanks = np.logaddexp(ends[:, 0], ends[:, 1])
        longer = blanks[:, None] + row  # (beam, tokens), each of one token more
        longer[np.arange(len(beam)), lasts] = ends[:, 0] + row[lasts]  # the same token anew needs a blank between
        longer[:, BLANK] = LEAST
        blanks += row[BLANK]
        for place, one in enumerate(beam):
            above = places.get(one.node.parent) if one.node.parent is not None else None
            if above is not None:  # its parent says its last token now: another way to the same sequence
                again[place] = np.logaddexp(again[place], longer[above, lasts[place]])
                longer[above, lasts[place]] = LEAST
        added = self.fusion.scores([one.fused for one in beam])  # (beam, tokens)
        scores = np.concatenate([np.logaddexp(blanks, again) + ends[:, 2], (longer + ends[:, 2:] + added).ravel()])
        kept = [self._stayed(place, row, float(blanks[place]), float(again[place])) for place in range(len(beam))]
        chosen, grown = [], []
        for place in self._best(scores):
            if place < len(beam):
                chosen.append(kept[place])
                continue
            parent, token = divmod(place - len(beam), len(row))
            bonus = float(ends[parent, 2] + added[parent, token if added.shape[1] > 1 else 0])
            chosen.append(self._grown(beam[parent], token, float(row[token]), float(longer[parent, token]), bonus))
            grown.append((chosen[-1], beam[parent].fused))
        states = self.fusion.advance([state for _, state in grown], [one.node.token for one, _ in grown])
        for (one, _), state in zip(grown, states, strict=True):
            one.fused = state
        self._beam = chosen

    def _best(self, scores: np.ndarray) -> list[int]:
        count = min(self.size, int((scores > LEAST / 2).sum()))
        best = np.argpartition(-scores, count - 1)[:count]
        return best[np.lexsort((best, -scores[best]))].tolist()

    def _stayed(self, place: int, row: np.ndarray, blank: float, token: float) -> _Prefix:
        """Return a prefix that says no token more; its last token goes on where that is likelier than a blank."""
        old = self._beam[place]
        way = old.way
        if way is not None and token > blank:
            last = way.said
            value = max(last.log_probability, float(row[last.token]))
            way = Way(Said(last.token, last.step, self.steps, value), way.before)
        return _Prefix(old.node, way, blank, token, old.bonus, old.fused)

    def _grown(self, old: _Prefix, token: int, value: float, log_probability: float, bonus: float) -> _Prefix:
        way = Way(Said(token, self.steps, self.steps, value), old.way)
        return _Prefix(old.node.child(token), way, LEAST, log_probability, bonus)

    def answers(self, count: int = 1, *, ended: bool = False) -> list[Answer]:
        """Return the best prefixes."""
        more = self.fusion.ends([one.fused for one in self._beam]) if ended else np.zeros(len(self._beam))
        scores = np.array([one.total + one.bonus for one in self._beam]) + more
        best = np.argsort(-scores, kind="stable")[:count].tolist()
        return [Answer(self._beam[place].said, float(scores[place]), self._beam[place].total) for place in best]

    @property
    def quiet(self) -> bool:
        """Whether the best prefix ends in a blank."""
        return self._leader.blank >= self._leader.token

    def last_step(self) -> int | None:
        """Return when the last token of the best prefix was said."""
        return None if self._leader.way is None else self._leader.way.said.last

    @property
    def _leader(self) -> _Prefix:
        return max(self._beam, key=lambda one: one.total + one.bonus)

    def certain(self) -> int:
        """Return how many first tokens all prefixes of the beam share."""
        return shared_depth([one.node for one in self._beam])

    def state(self) -> dict[str, Any]:
        """Return the prefixes."""
        prefixes = [
            {
                "said": [[each.token, each.step, each.last, each.log_probability] for each in one.said],
                "ends": [one.blank, one.token, one.bonus],
            }
            for one in self._beam
        ]
        return {"steps": self.steps, "prefixes": prefixes}

    def restore(self, state: dict[str, Any]) -> None:
        """Take the prefixes over; what fusion knows of each is read again from its tokens."""
        self.steps, self._beam, root = state["steps"], [], Node(BLANK, None)
        for one in state["prefixes"]:
            node, way = root, None
            for each in one["said"]:
                node, way = node.child(each[0]), Way(Said(*each), way)
            tokens = [each[0] for each in one["said"]]
            blank, token, bonus = one["ends"]
            self._beam.append(_Prefix(node, way, blank, token, bonus, self.fusion.read(tokens)))


def least_steps(tokens: Sequence[int]) -> int:
    """Return the fewest steps in which tokens can be said: one each, and a blank between two that are the same."""
    return len(tokens) + sum(first == second for first, second in pairwise(tokens))
