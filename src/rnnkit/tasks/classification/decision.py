"""From scores to probabilities and labels: what is chosen on validation data once training is over."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from rnnkit.metrics import classification_metrics, multi_label_metrics
from rnnkit.tasks.saved import reading
from rnnkit.tasks.scale import search_scale

TOLERANCE = 1e-7  # on the logarithm of the temperature


@dataclass(frozen=True)
class Decision:
    """How scores become an answer.

    Attributes:
        temperature: Scores are divided by it, which makes confidence and hit rate agree (Guo et al. 2017).
        thresholds: Of a multi-label model, the probability from which each label is given.
    """

    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()

    @classmethod
    def fit(cls, scores: np.ndarray, targets: np.ndarray) -> Self:
        """Choose the temperature with the least nats and, for each label of its own, the threshold with the best F1.

        Args:
            scores: (sequences, labels) of validation data.
            targets: (sequences,) numbers, or (sequences, labels) bool.

        Returns:
            The decision.
        """
        temperature = best_temperature(scores, targets)[0]
        if targets.ndim == 1:
            return cls(temperature)
        probabilities = cls(temperature).probabilities(scores, multi_label=True)
        return cls(temperature, tuple(map(_best_threshold, probabilities.T, targets.T)))

    def probabilities(self, scores: np.ndarray, *, multi_label: bool) -> np.ndarray:
        """Return (..., labels): rows that sum to 1, or each label's own probability."""
        scaled = scores.astype(np.float64) / self.temperature
        if multi_label:
            return 0.5 * (1 + np.tanh(0.5 * scaled))
        odds = np.exp(scaled - scaled.max(-1, keepdims=True))
        return odds / odds.sum(-1, keepdims=True)

    def chosen(self, probabilities: np.ndarray) -> np.ndarray:
        """Return (..., labels) bool, the labels a multi-label model gives."""
        return probabilities >= (np.array(self.thresholds) if self.thresholds else 0.5)

    def metrics(self, probabilities: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """Measure answers, (sequences, labels), by the metrics of the targets' kind."""
        if targets.ndim == 1:
            return classification_metrics(probabilities, targets)
        return multi_label_metrics(probabilities, self.chosen(probabilities), targets)

    def save(self, folder: Path) -> None:
        """Write decision.json."""
        (folder / "decision.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Returns:
            The decision.

        Raises:
            CheckpointError: If the file is missing or damaged.
        """
        path = folder / "decision.json"
        with reading(path):
            saved = json.loads(path.read_text())
            return cls(float(saved["temperature"]), tuple(map(float, saved["thresholds"])))


def best_temperature(scores: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Find the temperature with the least nats; they have one minimum in its inverse.

    Of n sequences one more is supposed to be wrong, as Platt (1999) does it: without it a few sequences that are all
    right would have no end of confidence.

    Args:
        scores: (sequences, labels).
        targets: (sequences,) numbers, or (sequences, labels) bool.

    Returns:
        The temperature, and the nats a sequence there, none supposed.
    """
    doubt = 1 / (len(targets) + 2)
    temperature = search_scale(lambda one: _nats(scores, targets, one, doubt=doubt), tolerance=TOLERANCE)
    return temperature, _nats(scores, targets, temperature)


def _nats(scores: np.ndarray, targets: np.ndarray, temperature: float, *, doubt: float = 0.0) -> float:
    """Return the nats a sequence where each target is wrong with the probability `doubt`."""
    scaled = scores.astype(np.float64) / temperature
    if targets.ndim == 2:
        wrong = np.logaddexp(0, np.where(targets, scaled, -scaled))
        given = np.logaddexp(0, np.where(targets, -scaled, scaled))
        return float(((1 - doubt) * given + doubt * wrong).sum(1).mean())
    logarithms = scaled - scaled.max(1, keepdims=True)
    logarithms = logarithms - np.log(np.exp(logarithms).sum(1, keepdims=True))
    given = logarithms[np.arange(len(targets)), targets]
    others = (logarithms.sum(1) - given) / max(scores.shape[1] - 1, 1)
    return float(-((1 - doubt) * given + doubt * others).mean())


def _best_threshold(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Return the threshold with the best F1: halfway between two probabilities that occur."""
    if not targets.any():
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    ordered, right = probabilities[order], np.cumsum(targets[order])
    scores = 2 * right / (np.arange(1, len(order) + 1) + targets.sum())
    scores[:-1][ordered[:-1] == ordered[1:]] = -1  # equal probabilities are given together or not at all
    best = int(scores.argmax())
    following = ordered[best + 1] if best + 1 < len(ordered) else 0.0
    return float((ordered[best] + following) / 2)
