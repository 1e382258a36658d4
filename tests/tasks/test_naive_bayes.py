"""What counting says of labels: against scikit-learn's naive Bayes, whole, live, and in a model."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.naive_bayes import MultinomialNB

from rnnkit.checkpoint import load
from rnnkit.data.ragged import Ragged
from rnnkit.errors import CheckpointError
from rnnkit.tasks import TextClassification
from rnnkit.tasks.text_classification import TextClassificationConfig
from rnnkit.tasks.text_classification.naive_bayes import NaiveBayes
from rnnkit.training import train

TOKENS = 7
TEXTS = [[0, 2, 3, 2, 3], [0, 4, 3, 1, 5], [0, 2, 3, 6], [0, 4, 3]]
TARGETS = np.array([0, 1, 0, 2])
PAIRS = [(2, 3), (4, 3)]  # those that occur twice


def ragged(texts: list[list[int]]) -> Ragged:
    return Ragged.join([np.array(text, dtype=np.int32) for text in texts], like=np.empty(0, dtype=np.int32))


def counted(texts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Count tokens above <unk>, and the pairs of PAIRS: (texts, tokens), (texts, pairs)."""
    tokens = np.array([[text.count(token) if token > 1 else 0 for token in range(TOKENS)] for text in texts])
    pairs = [[list(pairwise(text)).count(pair) for pair in PAIRS] for text in texts]
    return tokens, np.array(pairs)


def scores(model: NaiveBayes, texts: list[list[int]]) -> np.ndarray:
    rows, lengths = ragged(texts).padded(np.arange(len(texts)))
    return model(torch.from_numpy(rows).long(), torch.from_numpy(lengths)).numpy()


@pytest.fixture
def fitted() -> NaiveBayes:
    model = NaiveBayes.count(ragged(TEXTS), TARGETS, num_tokens=TOKENS, num_labels=3)
    model.gain.fill_(1)
    return model


def test_it_is_naive_bayes_over_tokens_plus_naive_bayes_over_pairs(fitted: NaiveBayes):
    assert fitted.pairs.tolist() == [first * TOKENS + second for first, second in PAIRS]
    new = [[0, 2, 3, 4, 3], [0, 5], [0, 1], [0]]
    expected = np.zeros((len(new), 3))
    for train_counts, new_counts in zip(counted(TEXTS), counted(new), strict=True):
        logarithms = MultinomialNB(alpha=1.0).fit(train_counts, TARGETS).feature_log_prob_.T
        expected += new_counts @ (logarithms - logarithms.mean(1, keepdims=True))
    numbers = counted(new)[0].sum(1, keepdims=True)
    assert scores(fitted, new) == pytest.approx(expected / np.sqrt(np.maximum(numbers, 1)), abs=1e-5)


def test_of_several_labels_each_stands_against_the_rest():
    targets = np.array([[True, False], [True, True], [False, False], [False, True]])
    model = NaiveBayes.count(ragged(TEXTS), targets, num_tokens=TOKENS, num_labels=2)
    model.gain.fill_(1)
    expected = np.zeros((1, 2))
    for train_counts, new_counts in zip(counted(TEXTS), counted([[0, 2, 3]]), strict=True):
        for label in range(2):
            logarithms = MultinomialNB(alpha=1.0).fit(train_counts, targets[:, label]).feature_log_prob_
            expected[0, label] += (new_counts @ (logarithms[1] - logarithms[0]))[0]
    assert scores(model, [[0, 2, 3]]) == pytest.approx(expected / np.sqrt(2), abs=1e-5)


def test_a_text_that_grows_is_scored_as_each_of_its_beginnings(fitted: NaiveBayes):
    text = [0, 2, 3, 1, 4, 3]
    state, found = fitted.initial_state(1), []
    for first, end in ((0, 1), (1, 4), (4, 4), (4, 6)):
        said, state = fitted.running(torch.tensor([text[first:end]], dtype=torch.int64).view(1, -1), state)
        found += said[0].tolist()
    expected = [scores(fitted, [text[:size]])[0] for size in range(1, len(text) + 1)]
    assert np.array(found) == pytest.approx(np.array(expected), abs=1e-5)


def test_padding_says_nothing(fitted: NaiveBayes):
    together = scores(fitted, [[0, 2], [0, 2, 3, 4, 3]])
    assert together[:1] == pytest.approx(scores(fitted, [[0, 2]]))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counting")
    words = {"good": ("joy", "fine", "love"), "bad": ("dull", "poor", "hate")}
    rows = [f"so {words[label][n % 3]} {n % 7},{label}" for n in range(60) for label in words]
    (folder / "data.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    options = {"steps": 2, "hidden_size": 4, "embedding_size": 4, "threads": 1}
    return train("sentiment", folder / "data.csv", run=folder / "run", **options).run


def test_validation_data_chooses_its_scale_and_the_model_keeps_it(run: Path):
    model = load(run)
    assert isinstance(model, TextClassification)
    (answer,) = model.predict(["so dull"])
    assert answer.label == "bad"
    assert answer.probability > 0.8  # after two steps the network itself knows nothing
    assert answer.running[-1].probability == pytest.approx(answer.probability)
    model.network.direct.gain.fill_(0)
    assert model.predict(["so dull"])[0].probability < 0.7


def test_it_has_no_part_in_training(run: Path):
    model = load(run)
    batch = model.load_data(run / "tokens" / "valid").batch(np.arange(4), device=model.device)
    model.network.train()
    torch.manual_seed(0)
    before = model.loss(batch).total
    model.network.direct.gain.fill_(9)
    torch.manual_seed(0)
    assert torch.equal(model.loss(batch).total, before)


def test_a_model_without_it_loads_and_a_damaged_one_is_named(run: Path, tmp_path: Path):
    task = TextClassification.prepare(
        TextClassification.read([run.parent / "data.csv"], TextClassificationConfig(direct=False)),
        TextClassificationConfig(direct=False, hidden_size=4, embedding_size=4),
    )
    task.save_assets(tmp_path)
    assert TextClassification.load_assets(tmp_path, task.config).network.direct is None
    (tmp_path / "naive-bayes.npz").write_bytes(b"PK nothing")
    with pytest.raises(CheckpointError, match=r"naive-bayes.npz cannot be read"):
        TextClassification.load_assets(tmp_path, task.config)
