"""The TF-IDF baseline against scikit-learn's own pipeline, saved and loaded, one label and several."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from rnnkit.baselines.tfidf import PENALTY, TERMS_PATTERN, TfidfLogistic
from rnnkit.errors import CheckpointError

TEXTS = ["a good film", "a bad film", "good good acting", "a bad bad plot", "so so", "neither here nor there"]
TWO = np.array([1, 0, 1, 0, 0, 1])
THREE = np.array([1, 0, 1, 0, 2, 2])
SEVERAL = np.array([[1, 0, 1], [0, 1, 1], [1, 0, 1], [0, 1, 1], [0, 0, 1], [0, 0, 1]], dtype=bool)


@pytest.mark.parametrize("targets", [TWO, THREE])
def test_it_answers_as_a_pipeline_of_scikit_learn(targets: np.ndarray):
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=TERMS_PATTERN)
    pipeline = make_pipeline(vectorizer, LogisticRegression(C=PENALTY, max_iter=1000)).fit(TEXTS, targets)
    found = TfidfLogistic.fit(TEXTS, targets, num_labels=targets.max() + 1)
    other = ["good plot", "nothing known", "so bad"]
    assert found.probabilities(other) == pytest.approx(pipeline.predict_proba(other), abs=1e-9)


def test_labels_of_their_own_are_fitted_one_by_one():
    found = TfidfLogistic.fit(TEXTS, SEVERAL, num_labels=3).probabilities(["good", "bad"])
    assert found[0, 0] > 0.5 > found[0, 1]
    assert found[1, 1] > 0.5 > found[1, 0]
    assert (found[:, 2] > 0.99).all()  # it always holds


@pytest.mark.parametrize("targets", [TWO, THREE, SEVERAL])
def test_a_saved_one_answers_as_before(targets: np.ndarray, tmp_path: Path):
    fitted = TfidfLogistic.fit(TEXTS, targets, num_labels=3 if targets is not TWO else 2)
    fitted.save(tmp_path)
    assert np.array_equal(TfidfLogistic.load(tmp_path).probabilities(TEXTS), fitted.probabilities(TEXTS))


def test_texts_without_a_word_have_one_answer():
    fitted = TfidfLogistic.fit(["!", "?"], np.array([0, 1]), num_labels=2)
    assert fitted.probabilities(["...", "word"]).tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_a_damaged_file_is_refused_with_its_folder(tmp_path: Path):
    TfidfLogistic.fit(TEXTS, TWO, num_labels=2).save(tmp_path)
    (tmp_path / "tfidf.npz").write_bytes(b"PK nothing")
    with pytest.raises(CheckpointError, match=tmp_path.name):
        TfidfLogistic.load(tmp_path)
