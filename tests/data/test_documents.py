"""Documents in memory and in files: the same blocks, the same cuts."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnkit.data import documents
from rnnkit.data.documents import Blocks, Document, cut_blocks, split_by_position
from rnnkit.data.readers import read_text
from rnnkit.errors import ConfigError, DataError

TEXT = st.text(st.sampled_from("ab é中😀\n\t"), min_size=2, max_size=60)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("documents") / "text.txt"


@settings(max_examples=200)
@given(text=TEXT, size=st.integers(1, 9))
def test_blocks_are_the_text_and_end_where_words_do(text, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "BLOCK_CHARACTERS", size)
        blocks = list(Document(text, "made up").blocks())
    assert "".join(blocks) == text
    for before, after in pairwise(blocks):
        assert before[-1].isspace() or not any(map(str.isspace, before))
        assert before
        assert after


def test_text_that_may_be_cut_nowhere_is_cut_in_the_end(monkeypatch):
    monkeypatch.setattr(documents, "BLOCK_CHARACTERS", 8)
    assert list(cut_blocks(["x" * 5] * 5, lambda _: 0)) == ["x" * 10, "x" * 10, "x" * 5]


def test_blocks_can_be_gone_through_again():
    blocks = Blocks((Document("one", "a"), Document("two", "b")))
    assert list(blocks) == list(blocks) == ["one", "two"]


@settings(max_examples=200)
@given(texts=st.lists(TEXT, min_size=1, max_size=5), share=st.floats(0.01, 0.99), most=st.integers(1, 40))
def test_documents_of_a_file_are_split_as_those_in_memory(texts, share, most, path):
    path.write_text("|".join(texts), encoding="utf-8", newline="")
    in_memory = [document for document in documents_of(path) if document.characters]
    if not in_memory or sum(document.characters for document in in_memory) < 2:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "VALID_CHARACTERS", most)
        patch.setattr(documents, "BLOCK_BYTES", 5)
        expected = split_by_position(in_memory, valid_share=share)
        found = split_by_position(read_text([path], document_separator="|").documents, valid_share=share)
        for one, other in zip(found, expected, strict=True):
            assert [(d.text, d.first_line, d.characters) for d in one] == [
                (d.text, d.first_line, d.characters) for d in other
            ]
    assert "".join(d.text for part in expected for d in part) == "".join(d.text for d in in_memory)
    assert all(part and all(d.characters for d in part) for part in expected)


def documents_of(path):
    """Read the documents of a file into memory; none where it holds nothing visible."""
    try:
        return list(read_text([path], document_separator="|").documents)
    except DataError:
        return []


@settings(max_examples=100)
@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=6), share=st.floats(0.01, 0.99))
def test_no_more_is_kept_for_validation_than_the_most_and_the_rest_of_a_line(lengths, share):
    made = [Document("x" * length, "a") for length in lengths]
    if sum(lengths) < 2:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "VALID_CHARACTERS", 20)
        _, valid = split_by_position(made, valid_share=share)
    assert 1 <= sum(document.characters for document in valid) <= 20  # without line ends


def test_a_document_too_long_to_validate_on_is_cut_and_the_others_stay_whole(monkeypatch):
    monkeypatch.setattr(documents, "VALID_CHARACTERS", 10)
    made = [Document("first", "a"), Document("line\n" * 20, "b"), Document("last", "c")]
    train, valid = split_by_position(made, valid_share=0.1)
    assert [document.text for document in train] == ["first", "line\n" * 18]
    assert [(document.text, document.first_line) for document in valid] == [("line\n" * 2, 19), ("last", 1)]


def test_one_document_is_cut_at_the_last_line_end_before_the_point():
    text = "line one\n" * 20
    train, valid = split_by_position([Document(text, "a", 1)], valid_share=0.12)
    assert train[0].text + valid[0].text == text
    assert (len(train[0].text), valid[0].first_line) == (9 * 17, 18)  # the point is 158, the line end before it 153


def test_one_document_without_line_ends_is_cut_at_the_point():
    train, valid = split_by_position([Document("x" * 100, "a")], valid_share=0.1)
    assert (len(train[0].text), len(valid[0].text)) == (90, 10)


def test_a_line_end_at_the_very_end_leaves_validation_text():
    train, valid = split_by_position([Document("ab\n", "a")], valid_share=0.01)
    assert (train[0].text, valid[0].text) == ("ab", "\n")


def test_several_documents_stay_whole():
    documents = [Document(letter * 10, letter) for letter in "abcdefghij"]
    train, valid = split_by_position(documents, valid_share=0.15)
    assert [document.source for document in valid] == ["i", "j"]
    assert (*train, *valid) == tuple(documents)


def test_at_least_one_document_stays_in_training():
    train, valid = split_by_position([Document("a", "a"), Document("b" * 9, "b")], valid_share=0.99)
    assert (len(train), len(valid)) == (1, 1)


@pytest.mark.parametrize("share", [0, 1, -0.1, 2.5])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(ConfigError, match=f"valid_share is {share}"):
        split_by_position([Document("abc", "a")], valid_share=share)


def test_a_text_of_one_character_cannot_be_split():
    with pytest.raises(DataError, match=r"short\.txt: 1 characters are too short"):
        split_by_position([Document("a", "short.txt")], valid_share=0.1)


def test_no_documents_cannot_be_split():
    with pytest.raises(DataError, match="no document to split"):
        split_by_position([], valid_share=0.1)
