"""Findings in tagged sentences, each small enough to check by eye."""

from rnnkit.data.tagged import TaggedSentence
from rnnkit.inspection import Item, inspect_labels, scheme_of, tag_items, tag_notes


def sentence(line: int, *pairs: str) -> TaggedSentence:
    words, tags = zip(*(pair.rsplit("/", 1) for pair in pairs), strict=True)
    return TaggedSentence(words, tags, "t.conll", line)


TRAINING = [
    sentence(1, "May/B-PER", "Day/I-PER", "ran/O"),
    sentence(5, "in/O", "May/O", "./O"),
    sentence(9, "to/O", "Rome/B-LOC"),
]


def test_sentences_are_labelled_by_their_entities_or_all_their_tags():
    assert tag_items(TRAINING[:1], "bio") == [Item("May Day ran", ("PER",), "t.conll:1", 3)]
    assert tag_items(TRAINING[:1], None)[0].labels == ("B-PER", "I-PER", "O")


def test_scheme_ambiguous_words_and_unseen_ones_are_said():
    valid = [sentence(1, "Rome/B-LOC", "fell/O"), sentence(4, "Nero/B-PER", "ran/O")]
    notes = tag_notes(TRAINING, valid, scheme_of([*TRAINING, *valid]))
    assert notes[0] == "tags: scheme bio"
    assert notes[1].startswith("words: 8, 7 different ones; 25.0% are of a word with several tags: 'May'")
    assert notes[2] == "50.0% of the words to validate on are not in training"
    assert notes[3] == "1 of the 2 entities to validate on are not in training"


def test_tags_that_break_the_scheme_have_their_place():
    broken = [*TRAINING, sentence(12, "so/O", "Rome/I-LOC")]
    (note, *_) = tag_notes(broken, [], scheme_of(broken))
    assert note == (
        "tags: scheme bio, which 1 of them break; the first is I-LOC of 'Rome' in the sentence at t.conll:12"
    )


def test_tags_that_mark_no_entities_are_said_to():
    words = [sentence(1, "May/NOUN", "ran/VERB"), sentence(4, "I/PRON", "may/AUX")]
    notes = tag_notes(words, words, scheme_of(words))
    assert notes[0] == "tags: they mark no entities, each word has its own"
    assert len(notes) == 3


def test_shares_of_labels_are_of_all_labels():
    found = inspect_labels({"training": tag_items(TRAINING, "bio")}, unit="words", of_all_labels=True)
    assert (found.sizes, found.totals) == ({"training": 3}, {"training": 2})
    (rows,) = (rows for title, rows in found.sections() if title.startswith("Labels"))
    assert rows == [("LOC", "1 (50.0%) in training"), ("PER", "1 (50.0%) in training")]
