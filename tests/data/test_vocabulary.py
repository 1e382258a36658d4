import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnkit.data.samples import sample_path
from rnnkit.data.subwords import _sample, suggested_subword_size
from rnnkit.data.vocabulary import DOCUMENT, UNKNOWN, VOCABULARIES, build_vocabulary, is_tokenised, load, save
from rnnkit.errors import CheckpointError, ConfigError, DataError

KINDS = [*VOCABULARIES, "word, whitespace"]
LOSSLESS = ["character", "byte", "bpe", "unigram"]
AWKWARD = [
    "a",
    "B",
    "7",
    " ",
    "  ",
    "\n",
    "\t",
    "\r",
    "\x1c",
    "\x85",
    "\xa0",
    "\u2009",
    "\u3000",
    "\u200b",
    "'",
    "'s",
    "'ll",
]
AWKWARD += [
    ".",
    ",",
    "?!",
    "(",
    "“",
    "-",
    "é",
    "e\u0301",
    "²",
    "。",
    "中文",
    "かな",
    "한",
    "😀",
    "हि",
    "<unk>",
    "<document>",
    "don't",
]
TEXTS = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(AWKWARD), max_size=25).map("".join))


@cache
def vocabulary_of(kind):
    text = sample_path("shakespeare").read_text()[:30_000]
    text += "".join(AWKWARD) * 3 + " ".join(AWKWARD)
    if kind == "word, whitespace":
        return build_vocabulary("word", [text], word_split="whitespace")
    return build_vocabulary(kind, [text], size=400 if kind in ("bpe", "unigram") else None)


@pytest.mark.parametrize("kind", LOSSLESS)
@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_decoding_gives_the_text_back(kind, text):
    vocabulary = vocabulary_of(kind)
    if kind == "character":
        text = "".join(character for character in text if character in vocabulary.characters)
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert ids.dtype == np.int32
    assert not (ids <= UNKNOWN).any()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=250, deadline=None)
@given(text=TEXTS, more=TEXTS)
def test_what_follows_a_safe_cut_changes_no_token_before_it(kind, text, more):
    vocabulary = vocabulary_of(kind)
    cut = vocabulary.safe_cut(text)
    apart = [*vocabulary.encode(text[:cut]), *vocabulary.encode(text[cut:] + more)]
    assert apart == vocabulary.encode(text + more).tolist()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_the_decoder_says_the_same_piece_by_piece(kind, data):
    vocabulary = vocabulary_of(kind)
    ids = data.draw(st.lists(st.integers(0, vocabulary.size - 1), max_size=30))
    decoder = vocabulary.decoder()
    assert "".join(map(decoder.push, ids)) + decoder.finish() == vocabulary.decode(ids)


@pytest.mark.parametrize("kind", ["byte", "bpe", "unigram"])
@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_the_decoder_holds_back_incomplete_characters_only(kind, text):
    vocabulary = vocabulary_of(kind)
    decoder = vocabulary.decoder()
    pushed = "".join(decoder.push(int(id)) for id in vocabulary.encode(text))
    assert pushed == text
    assert decoder.finish() == ""


@pytest.mark.parametrize("kind", ["word", "word, whitespace"])
@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_decoded_words_encode_to_the_same_ids(kind, data):
    vocabulary = vocabulary_of(kind)
    ids = data.draw(st.lists(st.integers(UNKNOWN, vocabulary.size - 1), max_size=30))
    assert vocabulary.encode(vocabulary.decode(ids)).tolist() == ids


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_vocabulary_is_the_same_when_loaded(kind, tmp_path):
    vocabulary = vocabulary_of(kind)
    save(vocabulary, tmp_path / "vocabulary.json")
    loaded = load(tmp_path / "vocabulary.json")
    text = "What's past is prologue.\n中文 <unk> zebra 😀\n"
    assert loaded.encode(text).tolist() == vocabulary.encode(text).tolist()
    assert (loaded.kind, loaded.size, loaded.sampled_share) == (vocabulary.kind, vocabulary.size, 1.0)
    assert [loaded.piece(id) for id in range(loaded.size)] == [vocabulary.piece(id) for id in range(vocabulary.size)]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, deadline=None)
@given(texts=st.lists(TEXTS, max_size=4))
def test_an_encoder_gives_each_text_the_ids_of_encode(kind, texts):
    vocabulary = vocabulary_of(kind)
    encode = vocabulary.encoder()
    for _ in range(2):  # the second time from memory
        ids, counts = encode(texts)
        apart = [vocabulary.encode(text).tolist() for text in texts]
        assert ids.tolist() == [id for one in apart for id in one]
        assert counts.tolist() == list(map(len, apart))


def test_an_encoder_that_remembers_too_much_forgets(monkeypatch):
    monkeypatch.setattr("rnnkit.data.subwords.REMEMBERED_TOKENS", 5)
    encode, texts = vocabulary_of("bpe").encoder(), ["to be or", " not to be", " that is the question"]
    for text in texts * 2:
        assert encode([text])[0].tolist() == vocabulary_of("bpe").encode(text).tolist()


def test_words_beyond_what_can_be_counted_lose_the_rarest(monkeypatch):
    monkeypatch.setattr("rnnkit.data.vocabulary.MOST_WORDS", 3)
    vocabulary = build_vocabulary("word", ["a a a b b c ", "d b a "])
    assert (vocabulary.to_dict()["words"], vocabulary.forgotten_count) == (["a", "b"], 1)
    assert build_vocabulary("word", ["a a b c"]).forgotten_count == 0


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_text_has_no_tokens(kind):
    assert vocabulary_of(kind).encode("").tolist() == []
    assert vocabulary_of(kind).safe_cut("") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_special_ids_have_pieces_and_document_has_no_text(kind):
    vocabulary = vocabulary_of(kind)
    assert (vocabulary.piece(DOCUMENT), vocabulary.piece(UNKNOWN)) == ("<document>", "<unk>")
    assert vocabulary.decode([DOCUMENT]) == ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("id", [-1, 1_000_000])
def test_an_id_outside_the_vocabulary_is_refused(kind, id):
    with pytest.raises(DataError, match=f"token id {id} is not in the vocabulary"):
        vocabulary_of(kind).decode([id])


def test_a_lone_surrogate_stops_no_encoder():
    for kind in KINDS:
        assert len(vocabulary_of(kind).encode("a \ud800 b")) >= 3


def test_an_unknown_character_decodes_to_the_replacement_character():
    vocabulary = build_vocabulary("character", ["abc"])
    assert vocabulary.encode("abz").tolist() == [2, 3, UNKNOWN]
    assert vocabulary.decode([2, UNKNOWN]) == "a\ufffd"


def test_characters_are_ordered_by_count_then_code_point():
    assert build_vocabulary("character", ["ba", "dcc"]).to_dict() == {"characters": "cabd"}


def test_size_and_minimum_count_keep_the_most_frequent():
    assert build_vocabulary("character", ["aaabbc"], size=4).to_dict() == {"characters": "ab"}
    assert build_vocabulary("word", ["a a a b b c"], minimum_count=2).to_dict()["words"] == ["a", "b"]


def test_byte_pieces_show_what_cannot_be_printed():
    vocabulary = vocabulary_of("byte")
    assert [vocabulary.piece(2 + value) for value in (10, 32, 9, 65, 0xE2, 0)] == ["⏎", "␣", "⇥", "A", "\\xe2", "\\x00"]


def test_punctuation_is_split_off_but_not_inside_words():
    vocabulary = build_vocabulary("word", ["Don't pay 3.14, well-known (friend)!😀\n“Yes”"])
    ids = vocabulary.encode("Don't pay 3.14, well-known (friend)!😀\n“Yes”")
    pieces = ["Don't", "pay", "3.14", ",", "well-known", "(", "friend", ")", "!", "😀", "⏎", "“", "Yes", "”"]
    assert [vocabulary.piece(int(id)) for id in ids] == pieces
    assert vocabulary.decode(ids) == "Don't pay 3.14, well-known (friend)! 😀\n“Yes”"


def test_a_hindi_word_is_not_split_at_its_vowel_signs():
    assert build_vocabulary("word", ["हिन्दी"]).to_dict()["words"] == ["हिन्दी"]


def test_tokenised_text_is_split_at_white_space_only():
    tokenised, plain = "the end , he said . \n U.S. forces left . \n", "The end, he said. U.S. forces left."
    assert is_tokenised([tokenised])
    assert not is_tokenised([plain])
    assert build_vocabulary("word", [tokenised]).to_dict()["split"] == "whitespace"


def test_unk_in_the_text_is_the_unknown_id():
    vocabulary = build_vocabulary("word", ["the <unk> sat . \n"])
    assert vocabulary.encode("the <unk> cat").tolist()[1:] == [UNKNOWN, UNKNOWN]
    assert "<unk>" not in vocabulary.to_dict()["words"]


def test_unk_in_the_text_is_ordinary_text_for_subwords():
    assert vocabulary_of("bpe").decode(vocabulary_of("bpe").encode("<unk><document>")) == "<unk><document>"


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_subwords_learn_from_a_tiny_text_and_still_encode_everything(kind):
    vocabulary = build_vocabulary(kind, ["ab"])
    assert vocabulary.decode(vocabulary.encode("😀 z\n")) == "😀 z\n"
    assert type(vocabulary).from_dict(json.loads(json.dumps(vocabulary.to_dict()))).size == vocabulary.size


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_subwords_reach_the_size_asked_for(kind):
    assert build_vocabulary(kind, [sample_path("shakespeare").read_text()], size=500).size == 500


def test_a_text_without_spaces_can_be_cut_at_its_punctuation():
    assert vocabulary_of("bpe").safe_cut("中文。中文。中") == 5


@pytest.mark.parametrize(
    "text", ["gene" * 500, "7" * 2000, "中文" * 900, "-=" * 700, "a" * 150 + " " * 450 + "b" * 1001]
)
def test_bpe_cuts_endless_words_the_same_in_any_surroundings(text):
    vocabulary = build_vocabulary("bpe", [text], size=2000)
    assert max(len(vocabulary.decode(np.array([id]))) for id in range(2, vocabulary.size)) <= 200
    assert vocabulary.decode(vocabulary.encode(text)) == text
    parts = [vocabulary.encode(part) for part in ("one 2.\n", text, "\nthree")]
    assert np.array_equal(vocabulary.encode(f"one 2.\n{text}\nthree"), np.concatenate(parts))


def test_subwords_learn_from_blocks_spread_evenly(monkeypatch):
    monkeypatch.setattr("rnnkit.data.subwords.SAMPLE_PERIOD", 10)
    assert list(_sample(["0123456789abc", "defghij", "k" * 10], share=0.2)) == ["01", "ab", "kk"]
    monkeypatch.setattr("rnnkit.data.subwords.TRAINING_BYTES", 1000)
    assert build_vocabulary("bpe", ["some text " * 400], size=300).sampled_share == 0.25


def test_the_suggested_subword_size_grows_as_the_square_root():
    assert [suggested_subword_size(size) for size in (0, 10**6, 10**7, 10**8, 10**12)] == [512, 1024, 4096, 8192, 32768]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "syllable"}, "kind 'syllable' is unknown; expected one of: character, byte"),
        ({"kind": "bpe", "size": 257}, "size 257 is too small for 'bpe'; expected 258"),
        ({"kind": "unigram", "size": 100}, "size 100 is too small for 'unigram'"),
        ({"kind": "byte", "size": 300}, "size 300 does not fit kind 'byte', which has 258"),
        ({"kind": "word", "size": 2}, "size 2 leaves room for no token"),
        ({"kind": "character", "minimum_count": 0}, "minimum_count is 0; expected 1"),
        ({"kind": "character", "minimum_count": 9}, "nothing occurs 9 times"),
        ({"kind": "byte", "minimum_count": 2}, "minimum_count 2 does not fit vocabulary kind 'byte'"),
        ({"kind": "word", "word_split": "syllables"}, "word_split is 'syllables'; expected 'auto'"),
        ({"kind": "bpe", "word_split": "whitespace"}, "word_split 'whitespace' does not fit vocabulary kind 'bpe'"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build_vocabulary(options.pop("kind"), ["some text"], **options)


def test_a_missing_vocabulary_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.json: there is no such vocabulary"):
        load(tmp_path / "gone.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no vocabulary of rnnkit"),
        ("[]", "no vocabulary"),
        ('{"kind": "syllable", "version": 1}', "kind 'syllable'"),
        ('{"kind": "character", "version": 1}', "damaged"),
        ('{"kind": "word", "version": 1, "split": "punctuation", "words": 7}', "damaged"),
    ],
)
def test_a_damaged_vocabulary_file_is_refused(tmp_path, content, message):
    path = tmp_path / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=message):
        load(path)


@pytest.mark.skipif("RNNKIT_DATA" not in os.environ, reason="RNNKIT_DATA does not name the folder with WikiText-2")
def test_wikitext2_has_its_published_tokens_and_types():
    text = (Path(os.environ["RNNKIT_DATA"]) / "lm/wikitext-2/train.txt").read_text(encoding="utf-8")
    vocabulary = build_vocabulary("word", [text])
    assert len(vocabulary.encode(text)) == 2_088_628
    assert vocabulary.size - 1 == 33_278  # all but DOCUMENT
