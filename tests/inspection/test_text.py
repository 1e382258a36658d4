import json

import numpy as np
import pytest

from rnnkit.data.readers import Corpus, Document, read_text
from rnnkit.data.samples import sample_path
from rnnkit.inspection import inspect_text


def corpus_of(*texts):
    return Corpus(tuple(Document(text, f"{number}.txt") for number, text in enumerate(texts)), ())


def test_sizes_agree_with_counting_by_hand():
    text = sample_path("shakespeare").read_text()
    found = inspect_text(read_text([sample_path("shakespeare")]))
    lines = text.splitlines()
    filled = [len(line) for line in lines if line]
    assert (found.documents, found.characters, found.bytes) == (1, len(text), len(text.encode()))
    assert (found.distinct_characters, found.words.count) == (len(set(text)), len(text.split()))
    assert (found.lines.count, found.lines.longest) == (len(lines), max(filled))
    assert found.lines.empty_share == pytest.approx(lines.count("") / len(lines))
    assert found.lines.percentiles[50] == int(np.percentile(filled, 50))
    assert found.words.distinct == len(set(text.split()))


def test_bytes_are_counted_beyond_ascii():
    assert inspect_text(corpus_of("é中😀\n")).bytes == len("é中😀\n".encode())


def test_the_rarest_characters_are_shown_with_their_first_place():
    found = inspect_text(corpus_of("aaa bbb\naaa bbb\n" * 3, "aaa\nb§b"))
    assert (found.rarest[0].character, found.rarest[0].count, found.rarest[0].first) == ("§", 1, "1.txt:2")
    assert "SECTION SIGN" in found.rarest[0].name


@pytest.mark.parametrize(
    ("character", "odd"),
    [
        ("\xa0", "space that is not the plain one"),
        ("\u200b", "invisible"),
        ("\ufeff", "invisible"),
        ("\x07", "control"),
        ("\ufffd", "lost in an earlier conversion"),
        ("\u2028", "line separator"),
        ("’", "beside the plain '"),
        ("\u0301", "accent apart"),
        ("а", "looks like the Latin a"),
    ],
)
def test_an_odd_character_is_flagged_with_its_place(character, odd):
    found = inspect_text(corpus_of("it's a plain text\n" * 100 + f"odd{character}one\n"))
    assert [(row.count, row.first) for row in found.odd] == [(1, "0.txt:101")]
    assert odd in found.odd[0].odd
    assert any("0.txt:101" in warning and odd in warning for warning in found.warnings)


def test_curly_quotes_alone_are_not_odd():
    assert inspect_text(corpus_of("it’s “quoted”\n")).odd == []


def test_letters_of_a_text_in_another_alphabet_are_not_odd():
    assert inspect_text(corpus_of("plain Latin a\n" * 300 + "да\n")).odd == []


def test_repeated_long_lines_are_counted_and_shown():
    found = inspect_text(corpus_of("this line is a long one\n" * 3 + "another line that is long\nshort\nshort\n"))
    assert found.lines.repeated_share == pytest.approx(2 / 4)
    assert found.lines.repeated == [("this line is a long one", 3)]
    assert any("50% of the long lines" in warning for warning in found.warnings)


def test_documents_equal_but_for_case_and_spaces_are_repeats():
    found = inspect_text(
        corpus_of("The same text, twice over.", "another text altogether", "the same  text,\ntwice over.")
    )
    assert found.repeated_documents == [("2.txt:1", "0.txt:1")]
    assert any("1 documents repeat" in warning for warning in found.warnings)


def test_unseen_words_are_those_of_the_end_that_the_rest_lacks():
    found = inspect_text(corpus_of("old words here\n" * 90 + "new words here\n" * 10))
    assert found.words.unseen_share == pytest.approx(1 / 3)
    assert found.words.once_share == 0


def test_a_line_that_lost_its_ends_is_reported():
    found = inspect_text(corpus_of("short\n" + "word " * 3000))
    assert (found.lines.longest, found.lines.longest_at) == (15_000, "0.txt:2")
    assert any("15,000 characters; are the line ends lost" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("plain text. " * 1000, "character"),
        ("plain text. " * 500_000, "bpe"),
        ("".join(map(chr, range(0x4E00, 0x5600))), "byte"),
        ("the <unk> , he said . \n" * 100, "word"),
    ],
    ids=["small", "large", "huge alphabet", "tokenised"],
)
def test_the_suggested_vocabulary_suits_the_text(text, kind):
    found = inspect_text(corpus_of(text))
    assert found.suggestion.vocabulary == kind
    assert any(f"the {kind} vocabulary" in line for line in found.recommendations)


def test_bad_bytes_and_line_ends_reach_the_report(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"some text\r\nwith \xff one bad byte\r\n")
    found = inspect_text(read_text([path]))
    assert any(f"{path}:2: 1 bad bytes" in warning for warning in found.warnings)
    assert "1 bad bytes, 2 carriage returns" in dict(found.sections()[0][1])[str(path)]
    assert any("iconv" in line for line in found.recommendations)


@pytest.mark.parametrize("text", ["a", "\n", " ", "ab", "x\n\n\n"])
def test_the_smallest_texts_are_inspected(text):
    assert inspect_text(corpus_of(text)).characters == len(text)


def test_the_report_does_not_depend_on_blocks(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text(sample_path("shakespeare").read_text()[:30_000] + "<|>" + "é’ " * 90 + "’\n" * 3 + "end of it\n")
    whole = inspect_text(read_text([path], document_separator="<|>"))
    monkeypatch.setattr("rnnkit.data.documents.BLOCK_BYTES", 70)
    monkeypatch.setattr("rnnkit.data.documents.BLOCK_CHARACTERS", 70)
    assert inspect_text(read_text([path], document_separator="<|>")) == whole


def test_a_line_too_long_to_hold_still_has_its_length(monkeypatch):
    monkeypatch.setattr("rnnkit.inspection.text.HELD_CHARACTERS", 50)
    monkeypatch.setattr("rnnkit.data.documents.BLOCK_CHARACTERS", 20)
    found = inspect_text(corpus_of("short\n" + "word " * 300 + "\nend")).lines
    assert (found.count, found.longest, found.longest_at) == (3, 1500, "0.txt:2")


@pytest.mark.parametrize("length", [1, 2, 3, 10, 57])
def test_percentiles_are_those_of_numpy(length):
    lines = ["x" * (1 + (7 * number) % 41) for number in range(length)]
    found = inspect_text(corpus_of("\n".join(lines) + "\n\n")).lines
    filled = [len(line) for line in lines]
    assert found.percentiles == {p: int(np.percentile(filled, p) + 1e-9) for p in (50, 90, 99)}


def test_the_report_is_json_and_its_sections_are_text():
    found = inspect_text(read_text([sample_path("shakespeare")]))
    assert json.loads(json.dumps(found.to_dict()))["suggestion"]["vocabulary"] == "character"
    assert all(isinstance(name, str) and isinstance(value, str) for _, rows in found.sections() for name, value in rows)
    assert "99,991" in dict(dict(found.sections())["Size"])["characters"]
