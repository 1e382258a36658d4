"""Deciding before a series ends: how right the answer is after each share of it, and a rule for when it is safe."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from rnnkit.tasks.saved import reading

SHARES = np.linspace(0.05, 1, 20)
CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999)
PATIENCES = (1, 2, 3, 5, 8, 13)
MOST_LOST = 0.01  # of the accuracy, for deciding early


@dataclass(frozen=True)
class EarlyRule:
    """Decide at the first step at which one label has led for `patience` steps with at least `confidence`."""

    confidence: float = 0.9
    patience: int = 3

    @classmethod
    def fit(cls, answers: Sequence[np.ndarray], targets: np.ndarray) -> Self:
        """Choose the rule that decides earliest of those that lose at most MOST_LOST of the accuracy at the end.

        Args:
            answers: Of validation series, (time, labels) probabilities after each step.
            targets: (series,) label numbers.

        Returns:
            The rule; where all lose more, the one that loses least.
        """
        final = float(np.mean([one[-1].argmax() == target for one, target in zip(answers, targets, strict=True)]))
        best, best_place = cls(), (math.inf, math.inf)
        for confidence, patience in itertools.product(CONFIDENCES, PATIENCES):
            rule = cls(confidence, patience)
            accuracy, share = rule.measure(answers, targets)
            place = (max(final - MOST_LOST - accuracy, 0.0), share)
            if place < best_place:
                best, best_place = rule, place
        return best

    def decide(self, answers: np.ndarray, *, null: int | None = None) -> int | None:
        """Find when it is safe to answer.

        Args:
            answers: (time, labels) probabilities after each step.
            null: A label that is never decided.

        Returns:
            The step, from 0; None if it never is.
        """
        leaders = answers.argmax(1)
        sure = answers.max(1) >= self.confidence
        run = 0
        for step, (leader, is_sure) in enumerate(zip(leaders, sure, strict=True)):
            run = (run + 1 if run and leader == leaders[step - 1] else 1) if is_sure else 0
            if run >= self.patience and leader != null:
                return step
        return None

    def measure(self, answers: Sequence[np.ndarray], targets: np.ndarray) -> tuple[float, float]:
        """Return the accuracy of deciding by this rule, and the mean share of a series that was seen for it."""
        right, seen = 0, 0.0
        for one, target in zip(answers, targets, strict=True):
            step = self.decide(one)
            last = len(one) - 1 if step is None else step
            right += int(one[last].argmax() == target)
            seen += (last + 1) / len(one)
        return right / len(answers), seen / len(answers)

    def save(self, folder: Path) -> None:
        """Write early.json."""
        (folder / "early.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Returns:
            The rule.

        Raises:
            CheckpointError: If the file is missing or damaged.
        """
        path = folder / "early.json"
        with reading(path):
            saved = json.loads(path.read_text())
            return cls(float(saved["confidence"]), int(saved["patience"]))


def accuracy_by_share(answers: Sequence[np.ndarray], targets: np.ndarray) -> np.ndarray:
    """Return (len(SHARES),) how often the answer after each share of a series is right."""
    right = np.zeros(len(SHARES))
    for one, target in zip(answers, targets, strict=True):
        steps = np.ceil(SHARES * len(one) - 1e-9).astype(np.int64) - 1
        right += one[np.maximum(steps, 0)].argmax(1) == target
    return right / max(len(answers), 1)


def share_metrics(accuracies: np.ndarray) -> dict[str, float]:
    """Name the accuracies after a quarter, a half and three quarters, and the mean over all shares."""
    named = {
        f"accuracy_{round(100 * share)}": float(accuracies[np.isclose(SHARES, share)][0]) for share in (0.25, 0.5, 0.75)
    }
    return {**named, "accuracy_over_shares": float(accuracies.mean())}
