"""The nearest neighbour of a series: what a model of series should beat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from rnnkit.baselines.saved import opened

STEPS = 48  # every series is stretched to
MOST_SERIES = 5000  # compared with; more are sampled evenly
FORMS = ("as they are", "centred", "centred and scaled")
BLOCK = 512  # series compared at a time


class NearestSeries:
    """1-nearest neighbour by Euclidean distance of series stretched to 48 steps, channels in units of their deviation.

    Whether series are compared as they are, centred, or centred and scaled is chosen on the training series, each
    left out in turn. Its confidence is the share of these that were right.

    Args:
        series: (series, time, channels) stretched to the longest, whatever it is.
        targets: (series,) label numbers.
        deviations: (channels,) of the training data.
        form: Of FORMS.
        confidence: Share of training series answered rightly.
        num_labels: How many labels there are.
    """

    def __init__(
        self,
        series: np.ndarray,
        targets: np.ndarray,
        deviations: np.ndarray,
        *,
        form: str,
        confidence: float,
        num_labels: int,
    ) -> None:
        self.series, self.targets, self.deviations = series, targets, deviations
        self.form, self.confidence, self.num_labels = form, confidence, num_labels

    @classmethod
    def fit(cls, series: Sequence[np.ndarray], targets: np.ndarray, *, num_labels: int) -> Self:
        """Keep training series.

        Args:
            series: (time, channels) each, without NaN.
            targets: (series,) label numbers.
            num_labels: How many labels there are.

        Returns:
            The fitted baseline.
        """
        if len(series) > MOST_SERIES:
            chosen = np.linspace(0, len(series) - 1, MOST_SERIES).astype(np.int64)
            series, targets = [series[int(index)] for index in chosen], targets[chosen]
        kept = np.stack([_stretched(one) for one in series])
        deviations = np.maximum(kept.std(axis=(0, 1)), 1e-12)
        rates = {}
        for form in FORMS:
            made = cls(kept, targets, deviations, form=form, confidence=0.0, num_labels=num_labels)
            rates[form] = made._left_out_rate()
        form = max(rates, key=lambda name: rates[name])
        floor = 1 / num_labels
        confidence = min(max(rates[form], floor), 1 - 0.5 / (len(series) + 1))
        return cls(kept, targets, deviations, form=form, confidence=confidence, num_labels=num_labels)

    def _left_out_rate(self) -> float:
        own = self._vectors(self.series)
        right = 0
        for first in range(0, len(own), BLOCK):
            distances = _distances(own[first : first + BLOCK], own)
            rows = np.arange(len(distances))
            distances[rows, first + rows] = np.inf
            right += int((self.targets[distances.argmin(1)] == self.targets[first + rows]).sum())
        return right / len(own)

    def labels(self, series: Sequence[np.ndarray], *, share: float = 1.0) -> np.ndarray:
        """Answer series by their first `share`, compared with the same share of the training series.

        Args:
            series: (time, channels) each.
            share: In (0, 1].

        Returns:
            (series,) label numbers.
        """
        steps = max(1, round(share * STEPS))
        beginnings = [one[: max(1, int(np.ceil(share * len(one) - 1e-9)))] for one in series]
        known = self._vectors(np.stack([_stretched(one, STEPS) for one in self.series[:, :steps]]))
        asked = self._vectors(np.stack([_stretched(one) for one in beginnings]))
        found = [
            self.targets[_distances(asked[first : first + BLOCK], known).argmin(1)]
            for first in range(0, len(asked), BLOCK)
        ]
        return np.concatenate(found)

    def probabilities(self, series: Sequence[np.ndarray]) -> np.ndarray:
        """Return (series, labels): the confidence for the neighbour's label, the rest shared by the others."""
        rest = (1 - self.confidence) / max(self.num_labels - 1, 1)
        answers = np.full((len(series), self.num_labels), rest)
        answers[np.arange(len(series)), self.labels(series)] = self.confidence
        return answers

    def _vectors(self, series: np.ndarray) -> np.ndarray:
        scaled = series / self.deviations
        if self.form != FORMS[0]:
            scaled = scaled - scaled.mean(axis=1, keepdims=True)
        if self.form == FORMS[2]:
            scaled = scaled / np.maximum(scaled.std(axis=(1, 2), keepdims=True), 1e-12)
        return scaled.reshape(len(series), -1)

    def save(self, folder: Path) -> None:
        """Write neighbours.npz."""
        np.savez(
            folder / "neighbours.npz",
            series=self.series,
            targets=self.targets,
            deviations=self.deviations,
            form=np.array(self.form),
            confidence=np.array(self.confidence),
            num_labels=np.array(self.num_labels),
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Returns:
            The baseline.

        Raises:
            CheckpointError: If the file is missing or damaged.
        """
        with opened(folder / "neighbours.npz") as saved:
            return cls(
                saved["series"],
                saved["targets"],
                saved["deviations"],
                form=str(saved["form"]),
                confidence=float(saved["confidence"]),
                num_labels=int(saved["num_labels"]),
            )


def _stretched(series: np.ndarray, steps: int = STEPS) -> np.ndarray:
    places = np.linspace(0, len(series) - 1, steps)
    return np.stack([np.interp(places, np.arange(len(series)), channel) for channel in series.T], axis=1)


def _distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the squared distances, (rows, others)."""
    return (rows**2).sum(1)[:, None] - 2 * rows @ others.T + (others**2).sum(1)
