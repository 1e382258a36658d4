"""Classifiers of texts and of series, without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnkit.data.texts import encode_texts
from rnnkit.data.vocabulary import load as load_vocabulary
from rnnkit.errors import DataError
from rnnkit.runner.base import Runner
from rnnkit.tasks.classification.decision import Decision
from rnnkit.tasks.classification.labels import Labels
from rnnkit.tasks.saved import reading
from rnnkit.tasks.series_classification.early import EarlyRule
from rnnkit.tasks.series_classification.results import SeriesLabel, series_label
from rnnkit.tasks.series_classification.steps import as_points, prepare
from rnnkit.tasks.text_classification.results import TextLabel, text_label
from rnnkit.tasks.text_classification.text import normalise


class _Classifier(Runner):
    """What both read."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        super().__init__(folder, threads=threads)
        self.labels, self.decision = Labels.load(folder), Decision.load(folder)

    def answers(self, steps: np.ndarray) -> np.ndarray:
        """Answer a sequence, (1, time, ...): (time, labels) probabilities, or (1, labels) of one read both ways."""
        scores = self.graph.read(steps)[0]
        rows = scores if self.graph.whole else scores[0]
        return self.decision.probabilities(rows, multi_label=self.labels.multi_label)


class TextRunner(_Classifier):
    """A classifier of texts; see `Runner`."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        super().__init__(folder, threads=threads)
        self.vocabulary = load_vocabulary(folder / "vocabulary.json")

    def predict(self, inputs: Sequence[str], *, candidates: int = 10) -> list[TextLabel]:
        """Label texts, as `TextClassification.predict` does."""
        tokens = encode_texts(self.vocabulary, [normalise(text, self.config) for text in inputs])
        return [
            text_label(
                text,
                ids,
                self.answers(ids[None].astype(np.int64)),
                vocabulary=self.vocabulary,
                labels=self.labels,
                decision=self.decision,
                count=candidates,
                live=not self.graph.whole,
            )
            for text, ids in zip(inputs, tokens, strict=True)
        ]


class SeriesRunner(_Classifier):
    """A classifier of series; see `Runner`."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        super().__init__(folder, threads=threads)
        self.rule = EarlyRule.load(folder)
        with reading(folder / "series.json"):
            facts = json.loads((folder / "series.json").read_text())
            self.means, self.hears = np.array(facts["means"], dtype=np.float32), bool(facts["audio"])

    def predict(self, inputs: Sequence[Any], *, candidates: int = 10) -> list[SeriesLabel]:
        """Label series, as `SeriesClassification.predict` does."""
        rate, null = self.config.sample_rate if self.hears else None, self.config.null_label
        live, found = not self.graph.whole and self.config.resample is None, []
        for number, one in enumerate(inputs, start=1):
            steps = prepare(as_points(one, channels=len(self.means), sample_rate=rate), self.config, before=self.means)
            if not len(steps):
                raise DataError(f"series {number} has no point; expected at least one.")
            answers = self.answers(steps[None])
            early = self.rule.decide(answers, null=null and self.labels.names.index(null)) if live else None
            found.append(
                series_label(answers, self.labels.names, steps=len(steps), early=early, count=candidates, running=live)
            )
        return found
