import math
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnkit.baselines import NGram, default_order, ngram
from rnnkit.data.batching import TokenStream
from rnnkit.data.vocabulary import DOCUMENT, VOCABULARIES, build_vocabulary
from rnnkit.errors import CheckpointError, ConfigError, DataError

SIZE = 5
DOCUMENTS = st.lists(st.lists(st.integers(1, SIZE - 1), min_size=1, max_size=12), min_size=1, max_size=5)


def stream_of(documents):
    lengths = np.array([len(document) for document in documents], dtype=np.int64)
    return TokenStream(
        np.array([id for document in documents for id in document], dtype=np.int32), np.cumsum(lengths) - lengths
    )


def events(documents, *, order):
    """List (history, token) for every target, the history padded with DOCUMENT."""
    listed = []
    for number, document in enumerate(documents):
        padded = [DOCUMENT] * (order - 1) + document + [DOCUMENT] * (number + 1 < len(documents))
        listed += [(tuple(padded[end - order + 1 : end]), padded[end]) for end in range(order - 1, len(padded))]
    return listed


def plain_witten_bell(documents, *, order):
    """Return p(token, history) by the textbook recursion over dictionaries."""
    counts = defaultdict(Counter)
    for history, token in events(documents, order=order):
        for length in range(order):
            counts[history[order - 1 - length :]][token] += 1

    def probability(token, history):
        shorter = probability(token, history[1:]) if history else 1 / SIZE
        seen = counts.get(history)
        return (seen[token] + len(seen) * shorter) / (seen.total() + len(seen)) if seen else shorter

    return probability


@settings(max_examples=100, deadline=None)
@given(train=DOCUMENTS, test=DOCUMENTS, order=st.integers(1, 4))
def test_scores_agree_with_the_textbook_recursion(train, test, order):
    model = NGram.fit(stream_of(train), vocabulary_size=SIZE, order=order)
    probability = plain_witten_bell(train, order=order)
    expected = [-math.log(probability(token, history)) for history, token in events(test, order=order)]
    np.testing.assert_allclose(model.score(stream_of(test)), expected, rtol=1e-12)  # float64, a few operations each


@settings(max_examples=60, deadline=None)
@given(train=DOCUMENTS, document=st.lists(st.integers(1, SIZE - 1), min_size=1, max_size=8), order=st.integers(1, 4))
def test_the_distribution_sums_to_1_and_agrees_with_the_score(train, document, order):
    model = NGram.fit(stream_of(train), vocabulary_size=SIZE, order=order)
    scores = model.score(stream_of([document]))
    for place, token in enumerate(document):
        probabilities = model.distribution(document[:place])
        assert probabilities.sum() == pytest.approx(1, abs=1e-12)
        assert -math.log(probabilities[token]) == pytest.approx(scores[place], rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(train=DOCUMENTS, test=DOCUMENTS, order=st.integers(1, 4), size=st.integers(1, 9))
def test_scores_are_the_same_bits_in_blocks_of_any_size(train, test, order, size):
    model = NGram.fit(stream_of(train), vocabulary_size=SIZE, order=order)
    whole = model.score(stream_of(test))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngram, "SCORE_TOKENS", size)
        assert len(list(model.score_blocks(stream_of(test)))) == -(-sum(map(len, test)) // size)
        assert model.score(stream_of(test)).tolist() == whole.tolist()


def test_a_hand_value():
    model = NGram.fit(stream_of([[2, 2, 3]]), vocabulary_size=4, order=1)
    # c(2) = 2, c(3) = 1, T = 2: p(2) = (2 + 2/4) / (3 + 2), p(1) = (0 + 2/4) / 5
    assert model.distribution([]).tolist() == pytest.approx([0.1, 0.1, 0.5, 0.3])


def test_the_boundary_is_a_target_between_documents_only():
    stream = stream_of([[1, 2], [3]])
    assert len(NGram.fit(stream, vocabulary_size=4, order=2).score(stream)) == stream.targets == 4


def test_a_saved_model_scores_the_same(tmp_path):
    stream = stream_of([[1, 2, 3, 1, 2], [3, 3, 1]])
    model = NGram.fit(stream, vocabulary_size=4, order=3)
    model.save(tmp_path / "ngram.npz")
    loaded = NGram.load(tmp_path / "ngram.npz")
    assert loaded.score(stream).tolist() == model.score(stream).tolist()
    assert (loaded.order, loaded.note) == (3, model.note)
    assert NGram.from_arrays(model.arrays()).distribution([1]).tolist() == model.distribution([1]).tolist()


def test_the_order_shrinks_until_its_keys_fit_in_63_bits():
    assert NGram.fit(stream_of([[1, 2, 3]]), vocabulary_size=2**16, order=7).order == 3


def test_keys_at_the_limit_of_63_bits_are_exact():
    size = 2**21 - 1
    document = [size - 1, size - 1, size - 1, size - 2]
    model = NGram.fit(stream_of([document]), vocabulary_size=size, order=3)
    assert model.order == 3
    assert -math.log(model.distribution(document[:3])[size - 2]) == pytest.approx(model.score(stream_of([document]))[3])


def test_a_long_stream_is_counted_on_evenly_spread_blocks(monkeypatch):
    monkeypatch.setattr(ngram, "FIT_TOKENS", 40)
    stream = stream_of([[1] * 50, [2] * 50, [3] * 50])
    model = NGram.fit(stream, vocabulary_size=4, order=2)
    assert model.note == "2-gram, interpolated Witten-Bell, counted on 40 of 150 tokens, spread evenly."
    assert model.distribution([1])[1:].tolist() == pytest.approx(model.distribution([3])[[3, 2, 1]].tolist(), rel=0.2)


def test_ordinary_text_is_counted_whole():
    assert "counted on 3 tokens" in NGram.fit(stream_of([[1, 2, 3]]), vocabulary_size=4, order=2).note


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_every_vocabulary_kind_has_an_order(kind):
    assert default_order(kind) == {"character": 7, "byte": 7, "bpe": 4, "unigram": 4, "word": 3}[kind]


def test_the_boundary_id_is_that_of_the_vocabularies():
    assert ngram.DOCUMENT == DOCUMENT


def test_an_unknown_kind_has_no_order():
    with pytest.raises(ConfigError, match="'syllable'; expected one of: character"):
        default_order("syllable")


def test_order_0_is_refused():
    with pytest.raises(ConfigError, match="order is 0"):
        NGram.fit(stream_of([[1]]), vocabulary_size=4, order=0)


def test_an_empty_stream_is_refused():
    with pytest.raises(DataError, match="no tokens"):
        NGram.fit(stream_of([]), vocabulary_size=4, order=2)


@pytest.mark.parametrize("wrong", [4, -1])
def test_an_id_outside_the_vocabulary_is_refused(wrong):
    model = NGram.fit(stream_of([[1, 2]]), vocabulary_size=4, order=2)
    for call in (lambda: model.score(stream_of([[1, wrong]])), lambda: model.distribution([wrong])):
        with pytest.raises(DataError, match=f"token id {wrong}; expected 0 to 3"):
            call()


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.npz: the n-gram model cannot be read"):
        NGram.load(tmp_path / "gone.npz")
    (tmp_path / "bad.npz").write_bytes(b"not a model")
    with pytest.raises(CheckpointError, match=r"bad\.npz: the n-gram model cannot be read"):
        NGram.load(tmp_path / "bad.npz")
    NGram.fit(stream_of([[1, 2]]), vocabulary_size=4, order=2).save(tmp_path / "cut.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:200])
    with pytest.raises(CheckpointError, match=r"cut\.npz: the n-gram model cannot be read"):
        NGram.load(tmp_path / "cut.npz")


def test_missing_arrays_are_named():
    arrays = NGram.fit(stream_of([[1, 2]]), vocabulary_size=4, order=2).arrays()
    del arrays["counts_2"]
    with pytest.raises(CheckpointError, match="lacks a part"):
        NGram.from_arrays({**arrays, "counts_9": np.ones(1)})


@pytest.mark.skipif(
    "RNNKIT_DATA" not in os.environ, reason="RNNKIT_DATA does not name the folder with tiny Shakespeare"
)
def test_tiny_shakespeare_scores_as_measured_elsewhere():
    folder = Path(os.environ["RNNKIT_DATA"]) / "lm/tinyshakespeare"
    train, valid = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("train.txt", "valid.txt"))
    vocabulary = build_vocabulary("character", [train])
    train_stream, valid_stream = (TokenStream(vocabulary.encode(text), np.array([0])) for text in (train, valid))
    model = NGram.fit(train_stream, vocabulary_size=vocabulary.size, order=7)
    nats = model.score(valid_stream).mean()
    # 1.779 was measured apart from this code, and is known to three decimals.
    assert nats == pytest.approx(1.779, abs=0.001)
