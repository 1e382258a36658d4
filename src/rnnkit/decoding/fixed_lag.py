"""Labels of a sequence that is still arriving: each is final a stated number of steps after its own."""

from __future__ import annotations

from typing import Any

import numpy as np

DEEPEST = -500.0  # nats below a step's best score; what lies lower counts as that low, far above where float64 ends
RULED_OUT = -1e300  # the score of what cannot be; finite, as a state that is kept must be

Decided = tuple[int, float]
"""A label and its probability given what has been seen."""


class FixedLag:
    """Viterbi's best path so far, its label `lag` steps back made final at every step.

    What is final binds the rest of the path, so that no forbidden sequence comes out. With a lag as long as the
    sequence the labels are those of the best path of all.

    Args:
        start: (labels,) float64, what a path scores beside its steps to begin with a label; -inf where it may not.
        transitions: (labels, labels) likewise to go from one (row) to another (column).
        end: (labels,) likewise to end with one.
        lag: Steps.

    Example:
        >>> live = FixedLag(np.zeros(2), np.zeros((2, 2)), np.zeros(2), lag=1)
        >>> [live.push(row) for row in np.array([[0.0, 9.0], [9.0, 0.0]])], live.finish()
        ([None, (1, 0.99...)], [(0, 0.99...)])
    """

    def __init__(self, start: np.ndarray, transitions: np.ndarray, end: np.ndarray, *, lag: int) -> None:
        self.lag, self.start, self.transitions, self.end = lag, start, transitions, end
        self._odds, self._end_odds = np.exp(self.transitions), np.exp(self.end)
        self.reset()

    def reset(self) -> None:
        """Begin a new sequence."""
        size = len(self.start)
        self.count = 0  # labels seen and not yet final, lag + 1 at most while one is pushed
        self.best = np.zeros(size)  # score of the best path to each label
        self.paths = np.zeros((self.lag + 1, size), dtype=np.int64)  # the newest labels of that path
        self.forward = np.zeros((self.lag + 1, size))  # p(label | steps up to it), of the newest steps
        self.onward = np.zeros((self.lag + 1, size))  # odds of the newest steps over what was expected of them

    def push(self, scores: np.ndarray) -> Decided | None:
        """Take one step's scores.

        Args:
            scores: (labels,).

        Returns:
            The label of `lag` steps ago, now final; None where there is none yet.
        """
        row = np.asarray(scores, dtype=np.float64)
        odds = np.exp(np.maximum(row - row.max(), DEEPEST))
        newest = np.arange(len(row))
        if self.started:
            every = self.best[:, None] + self.transitions
            origin = every.argmax(0)
            self.best = every[origin, newest] + row
            self.paths = np.concatenate([self.paths[1:, origin], newest[None]])
            reached = (self.forward[-1] @ self._odds) * odds
        else:
            self.best = self.start + row
            self.paths[-1] = newest
            reached = np.exp(self.start) * odds
        scale = reached.sum()
        self.forward = np.concatenate([self.forward[1:], reached[None] / scale])
        self.onward = np.concatenate([self.onward[1:], odds[None] / scale])
        self.best = np.maximum(
            self.best - self.best.max(), RULED_OUT
        )  # the best is 0: long sequences keep their digits
        self.count += 1
        if self.count <= self.lag:
            return None
        label = int(self.paths[0, self.best.argmax()])
        probability = float(self._marginal(0, np.ones(len(row)))[label])
        self.best = np.where(self.paths[0] == label, self.best, RULED_OUT)
        self.count -= 1
        return label, probability

    @property
    def started(self) -> bool:
        """Whether a step has been taken."""
        return bool(self.forward[-1].any())

    def finish(self) -> list[Decided]:
        """End the sequence; return the labels that were not final yet."""
        if not self.count:
            return []
        path = self.paths[-self.count :, int((self.best + self.end).argmax())]
        places = range(self.lag + 1 - self.count, self.lag + 1)
        decided = [
            (int(label), float(self._marginal(place, self._end_odds)[label]))
            for place, label in zip(places, path, strict=True)
        ]
        self.count = 0
        return decided

    def decide(self, scores: np.ndarray) -> list[Decided]:
        """Decide a whole sequence anew, (time, labels), each label as late as in a stream."""
        self.reset()
        early = [self.push(row) for row in scores]
        return [one for one in early if one is not None] + self.finish()

    def _marginal(self, place: int, after: np.ndarray) -> np.ndarray:
        """Return p(label of a kept step | all steps so far), given what its end says of the last one."""
        for step in range(self.lag, place, -1):
            after = self._odds @ (self.onward[step] * after)
        joint = self.forward[place] * after
        return joint / joint.sum()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state, float64 and int64 arrays of fixed sizes."""
        names = ("best", "paths", "forward", "onward")
        return {name: getattr(self, name) for name in names} | {"count": np.array([self.count])}

    def take(self, arrays: dict[str, Any]) -> None:
        """Go on from what `arrays` returned."""
        for name in ("best", "paths", "forward", "onward"):
            setattr(self, name, np.array(arrays[name]))
        self.count = int(arrays["count"][0])
