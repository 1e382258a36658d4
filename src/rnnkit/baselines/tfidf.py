"""TF-IDF of words and word pairs, and a logistic regression on it: what a model of texts should beat."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from rnnkit.baselines.saved import opened

FIT_TEXTS = 100_000  # more are sampled evenly: on 100,000 reviews the fit takes a minute
TERMS_PATTERN = r"(?u)\b\w+\b"
PENALTY = 10.0  # C of the logistic regression; of 1, 3, 10 and 30 within a point of the best on three validation sets


class TfidfLogistic:
    """Logistic regression on TF-IDF features of 1- and 2-grams of words (sublinear counts, unit length).

    Args:
        terms: The features' words.
        weights: (terms,) inverse document frequencies.
        coefficients: (labels, terms).
        biases: (labels,).
        multi_label: Whether each label is decided on its own.
    """

    def __init__(
        self,
        terms: Sequence[str],
        weights: np.ndarray,
        coefficients: np.ndarray,
        biases: np.ndarray,
        *,
        multi_label: bool,
    ) -> None:
        self.terms, self.weights, self.coefficients, self.biases = terms, weights, coefficients, biases
        self.multi_label = multi_label

    @classmethod
    def fit(cls, texts: Sequence[str], targets: np.ndarray, *, num_labels: int) -> Self:
        """Fit to training texts.

        Args:
            texts: At least one; FIT_TEXTS of them, spread evenly, are used.
            targets: (texts,) label numbers, or (texts, labels) 0 and 1 where each label is decided on its own.
            num_labels: How many labels there are.

        Returns:
            The fitted model.
        """
        if len(texts) > FIT_TEXTS:
            chosen = np.linspace(0, len(texts) - 1, FIT_TEXTS).astype(np.int64)
            texts, targets = [texts[int(index)] for index in chosen], targets[chosen]
        vectorizer = _vectorizer()
        try:
            features = vectorizer.fit_transform(texts)
        except ValueError:  # no text has a word
            return cls((), np.empty(0), np.zeros((num_labels, 0)), np.zeros(num_labels), multi_label=targets.ndim == 2)
        if targets.ndim == 2:
            rows = [_binary(features, column) for column in targets.T]
            coefficients, biases = np.stack([row for row, _ in rows]), np.array([bias for _, bias in rows])
        elif num_labels == 2:
            row, bias = _binary(features, targets)
            coefficients, biases = np.stack([np.zeros_like(row), row]), np.array([0.0, bias])
        else:
            coefficients, biases = _several(features, targets, num_labels)
        terms = vectorizer.get_feature_names_out().tolist()
        return cls(terms, vectorizer.idf_, coefficients, biases, multi_label=targets.ndim == 2)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return (texts, labels): rows that sum to 1, or each label's own probability where it is decided alone."""
        scores = np.tile(self.biases, (len(texts), 1))
        if self.terms:
            vectorizer = _vectorizer(vocabulary={term: index for index, term in enumerate(self.terms)})
            vectorizer.idf_ = self.weights
            scores = scores + vectorizer.transform(texts) @ self.coefficients.T
        if self.multi_label:
            return 1 / (1 + np.exp(-scores))
        scores = np.exp(scores - scores.max(1, keepdims=True))
        return scores / scores.sum(1, keepdims=True)

    def save(self, folder: Path) -> None:
        """Write tfidf.npz and terms.json."""
        np.savez(
            folder / "tfidf.npz",
            weights=self.weights,
            coefficients=self.coefficients,
            biases=self.biases,
            multi_label=np.array(self.multi_label),
        )
        (folder / "terms.json").write_text(json.dumps(list(self.terms)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Returns:
            The model.

        Raises:
            CheckpointError: If a file is missing or damaged.
        """
        with opened(folder / "tfidf.npz") as saved:
            terms = json.loads((folder / "terms.json").read_text())
            arrays = [saved[name] for name in ("weights", "coefficients", "biases")]
            return cls(terms, *arrays, multi_label=bool(saved["multi_label"]))


def _vectorizer(**options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=TERMS_PATTERN, **options)


def _binary(features: Any, targets: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit one label against the rest; one that always or never holds has a bias alone."""
    if targets.min() == targets.max():
        return np.zeros(features.shape[1]), 10.0 if targets[0] else -10.0
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=PENALTY, max_iter=1000).fit(features, targets)
    return fitted.coef_[0], float(fitted.intercept_[0])


def _several(features: Any, targets: np.ndarray, num_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit one of several labels; one that is not there is out of the question."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=PENALTY, max_iter=1000).fit(features, targets)
    coefficients, biases = np.zeros((num_labels, features.shape[1])), np.full(num_labels, -100.0)
    coefficients[fitted.classes_], biases[fitted.classes_] = fitted.coef_, fitted.intercept_
    return coefficients, biases
