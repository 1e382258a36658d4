"""Copies of the training text are those that a search of every place finds."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnkit.data.batching import TokenStream
from rnnkit.data.readers import Corpus, Document
from rnnkit.errors import ConfigError
from rnnkit.tasks import LanguageModel
from rnnkit.tasks.language_model import LanguageModelConfig, Overlap, overlap, training_overlap, training_tokens
from rnnkit.tasks.language_model.overlap import UNKNOWN, find_copies


def stream_of(documents: list[list[int]], dtype: type = np.int32) -> TokenStream:
    lengths = np.array([len(document) for document in documents], dtype=np.int64)
    return TokenStream(np.array(list(chain.from_iterable(documents)), dtype=dtype), np.cumsum(lengths) - lengths)


def brute_force(text: list[int], documents: list[list[int]], minimum: int) -> tuple[int, list[bool]]:
    """Compare every place of the text with every place of every document."""
    longest, covered = 0, [False] * len(text)
    for document in documents:
        for i in range(len(text)):
            for j in range(len(document)):
                length = 0
                while (
                    i + length < len(text)
                    and j + length < len(document)
                    and text[i + length] == document[j + length] != UNKNOWN
                ):
                    length += 1
                longest = max(longest, length)
                if length >= minimum:
                    covered[i : i + length] = [True] * length
    return longest, covered


def check(text: list[int], documents: list[list[int]], minimum: int) -> None:
    ids = np.array(text, dtype=np.int32)
    start, length, covered = find_copies(ids, stream_of(documents), minimum=minimum)
    assert (length, covered.tolist()) == brute_force(text, documents, minimum)
    if length:
        assert brute_force(text[start : start + length], documents, 1)[0] == length


tokens = st.integers(UNKNOWN, 4)
texts = st.lists(tokens, max_size=24)
training = st.lists(st.lists(tokens, min_size=1, max_size=30), max_size=5)


@settings(max_examples=300)
@given(text=texts, documents=training, minimum=st.integers(1, 8))
def test_copies_are_those_of_a_search_of_every_place(text: list[int], documents: list[list[int]], minimum: int):
    check(text, documents, minimum)


@pytest.mark.parametrize(("block", "multiplier", "bits"), [(5, 3**40, 20), (64, 1, 20), (5, 1, 1), (1, 3**40, 3)])
def test_neither_the_size_of_a_block_nor_colliding_hashes_change_the_answer(
    block: int, multiplier: int, bits: int, monkeypatch: pytest.MonkeyPatch
):
    """With the multiplier 1 a hash is the sum of the tokens, so that most windows of a length collide."""
    settings = {"BLOCK_TOKENS": block, "TABLE_BITS": bits, "MULTIPLIER": multiplier}
    for name, value in settings.items():
        monkeypatch.setattr(overlap, name, value)
    random = np.random.default_rng(block)
    for _ in range(60):
        documents = [random.integers(UNKNOWN, 5, random.integers(1, 40)).tolist() for _ in range(3)]
        text = random.integers(UNKNOWN, 5, random.integers(1, 12)).tolist() + documents[1][5:25]
        check(text, documents, int(random.integers(1, 9)))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64])
def test_a_planted_copy_is_found_in_any_kind_of_array(dtype: type):
    random = np.random.default_rng(1)
    documents = [random.integers(2, 60_000, 4000).tolist() for _ in range(2)]
    text = np.concatenate([[5, 6, 7], documents[1][1234:1434], [8, 9]]).astype(np.int32)
    start, length, covered = find_copies(text, stream_of(documents, dtype), minimum=50)
    assert (start, length) == (3, 200)
    assert covered.tolist() == [False] * 3 + [True] * 200 + [False] * 2


def test_a_copy_does_not_cross_the_start_of_a_document():
    documents = [[2, 3, 4], [5, 6, 7, 8]]
    assert find_copies(np.array([2, 3, 4, 5, 6]), stream_of(documents), minimum=1)[1] == 3


def test_a_text_that_repeats_itself_over_a_training_text_that_does_takes_no_quadratic_time():
    start, length, covered = find_copies(np.full(5000, 2), stream_of([[2] * 300_000, [3]]), minimum=50)
    assert (start, length, covered.all()) == (0, 5000, True)


# With a model


@pytest.fixture
def model() -> LanguageModel:
    return LanguageModel.prepare(corpus(), LanguageModelConfig(hidden_size=8))


def corpus() -> Corpus:
    return Corpus((Document("the cat sat on the mat. ", "a"), Document("a dog ran to it. ", "b")), ())


def test_the_passage_is_told_as_text_with_its_share(model: LanguageModel):
    found = training_overlap(model, "no cat sat on a dog", model.encode(corpus()).stream, minimum=6)
    assert found == Overlap(tokens=12, characters=12, passage=" cat sat on ", share=12 / 19, minimum=6)


def test_an_empty_text_has_no_overlap(model: LanguageModel):
    assert training_overlap(model, "", model.encode(corpus()).stream) == Overlap(0, 0, "", 0.0, 50)


def test_the_shortest_passage_that_counts_depends_on_the_kind_of_token():
    config = LanguageModelConfig(hidden_size=8, vocabulary="word")
    words = LanguageModel.prepare(corpus(), config)
    found = training_overlap(words, "the cat sat under the mat.", words.encode(corpus()).stream)
    assert (found.minimum, found.tokens, found.passage, found.share) == (9, 3, "the cat sat", 0.0)


def test_an_unknown_character_is_no_copy_of_an_unknown_one(model: LanguageModel):
    known = LanguageModel.prepare(corpus(), LanguageModelConfig(hidden_size=8, vocabulary_size=6))
    training = known.encode(corpus()).stream
    assert (training.tokens == UNKNOWN).any()
    assert training_overlap(known, "zzz", training).tokens == 0


def test_a_shortest_passage_below_one_is_refused(model: LanguageModel):
    with pytest.raises(ConfigError, match="is 0 tokens; expected at least 1"):
        training_overlap(model, "a", model.encode(corpus()).stream, minimum=0)


def test_the_training_text_is_found_from_the_run_and_from_the_model_inside(model: LanguageModel, tmp_path: Path):
    model.encode(corpus(), tmp_path / "run" / "tokens" / "train")
    (tmp_path / "run" / "model").mkdir()
    for folder in (tmp_path / "run", tmp_path / "run" / "model"):
        assert len(training_tokens(folder).tokens) == 41


def test_a_model_without_its_run_is_told_that_the_training_text_is_needed(tmp_path: Path):
    with pytest.raises(ConfigError, match="has no training text to compare with: .*tokens/train is missing"):
        training_tokens(tmp_path)
