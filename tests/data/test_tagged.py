"""Tagged sentences from every kind of file, and what is said of those that cannot be used."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from rnnkit.data.tagged import TagColumns, TaggedSentences, read_tagged, read_untagged, tag_text
from rnnkit.errors import ConfigError, DataError


@pytest.fixture
def read(tmp_path: Path):
    """Write a file and read it."""

    def reading(content: str | bytes, name: str = "t.conll", **columns: str) -> TaggedSentences:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_tagged([path], TagColumns(**columns))

    return reading


def pairs(found: TaggedSentences) -> list[list[tuple[str, str]]]:
    return [list(zip(one.words, one.tags, strict=True)) for one in found.examples]


TWO = [[("Anna", "B-PER"), ("ran", "O")], [("So", "O")]]


@pytest.mark.parametrize(
    "content",
    [
        "Anna\tB-PER\nran\tO\n\nSo\tO\n",
        "Anna B-PER\nran O\n\nSo O",
        "Anna NNP B-PER\nran VBD O\n\n\n\nSo RB O\n\n",
        "-DOCSTART- -X- O\n\nAnna NNP B-PER\nran VBD O\n\nSo RB O\n",
        "# sent_id = 1\nAnna\tB-PER\n# in between\nran\tO\n\n# text = So\nSo\tO\n",
        "Anna\tB-PER\r\nran\tO\r\n\r\nSo\tO\r\n",
        "\ufeffAnna\tB-PER\nran\tO\n \nSo\tO\n",
    ],
    ids=["tabs", "spaces", "three", "docstart", "comments", "crlf", "mark"],
)
def test_columns_are_read(read: Any, content: str):
    found = read(content)
    assert pairs(found) == TWO
    assert found.bad == ()


def test_a_sentence_has_its_place_and_the_columns_are_said(read: Any):
    found = read("# c\nAnna\tNNP\tB-PER\n\nSo\tRB\tO\n")
    assert [one.place.rsplit(":", 1)[1] for one in found.examples] == ["2", "4"]
    assert "3 columns; words from column 1, tags from column 3" in found.notes[-1]


def test_a_gzipped_file_is_read(read: Any):
    assert pairs(read(gzip.compress(b"Anna\tB-PER\nran\tO\n\nSo\tO\n"), "t.conll.gz")) == TWO


def test_words_may_be_marks_or_hold_spaces_where_tabs_stand_between(read: Any):
    assert pairs(read("#tag\tO\n#\tO\nNew York\tB-LOC\n")) == [[("#tag", "O"), ("#", "O"), ("New York", "B-LOC")]]


def test_other_columns_are_named_by_number(read: Any):
    found = read("1\tAnna\tNNP\tO\n2\tran\tVBD\tO\n", text="2", label="3")
    assert pairs(found) == [[("Anna", "NNP"), ("ran", "VBD")]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": "4"}, "label_column is '4', and .*t.conll has 3 columns; expected 1 to 3"),
        ({"text": "word"}, "text_column is 'word'"),
        ({"text": "3"}, "both 3; expected two columns"),
    ],
)
def test_columns_that_are_not_there_are_refused(read: Any, columns: dict[str, str], message: str):
    with pytest.raises(ConfigError, match=message):
        read("Anna NNP B-PER\n", **columns)


def test_a_sentence_with_a_bad_row_is_left_out_and_named(read: Any):
    good = "So\tO\n\n" * 9
    found = read(f"{good}Anna\tB-PER\tx\nran\tO\n\nOdd\t\n\n")
    assert len(found) == 9
    assert [(line, reason) for _, line, reason in found.bad] == [
        (19, "3 columns, not 2"),
        (22, "the tag is empty"),
    ]
    assert "2 of 11 rows are left out: " in found.notes[-1]
    assert "t.conll:19: 3 columns, not 2" in found.notes[-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.conll"),
        ("\n\n", "t.conll"),
        ("# only\n# comments\n", "t.conll:1: this is '# only'"),
        ("Anna\nran\n", "t.conll:1: this is 'Anna'; expected a word and its tag a line"),
        ("a b\nc d e\n\nf g\n\nh\n", "t.conll:2: 3 columns, not 2; .*t.conll:6: 1 columns, not 2"),
    ],
)
def test_a_file_that_is_not_of_columns_is_refused_by_its_line(read: Any, content: str, message: str):
    with pytest.raises(DataError, match=message):
        read(content)


CONLLU = """# text = Anna's in
1-2\tAnna's\t_\t_\t_\t_\t_\t_\t_\t_
1\tAnna\tAnna\tPROPN\tNNP\t_\t0\troot\t_\t_
2\t's\tbe\tAUX\tVBZ\t_\t1\tcop\t_\t_
2.1\tsilent\t_\tVERB\t_\t_\t_\t_\t_\t_
3\tin\tin\tADP\tIN\t_\t1\tcase\t_\t_

"""


@pytest.mark.parametrize(
    ("column", "tags"),
    [(None, ["PROPN", "AUX", "ADP"]), ("xpos", ["NNP", "VBZ", "IN"]), ("8", ["root", "cop", "case"])],
)
def test_conllu_has_its_columns_by_name(read: Any, column: str | None, tags: list[str]):
    found = read(CONLLU, "t.conllu", **({"label": column} if column else {}))
    assert pairs(found) == [list(zip(["Anna", "'s", "in"], tags, strict=True))]
    with pytest.raises(ConfigError, match="expected 1 to 10 or one of id, form"):
        read(CONLLU, "t.conllu", label="pos")


# JSON lines


def lines(*objects: Any) -> str:
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects)


@pytest.mark.parametrize(
    "spans",
    [
        {"spans": [[3, 9, "LOC"]]},
        {"label": [[3, 9, "LOC"]]},
        {"entities": [{"start": 3, "end": 9, "label": "LOC"}]},
        {"entities": [{"start_offset": 3, "end_offset": 9, "type": "LOC"}]},
    ],
)
def test_spans_of_characters_become_tags(read: Any, spans: dict[str, Any]):
    found = read(lines({"text": "In Nagoya.", **spans}), "t.jsonl")
    assert pairs(found) == [[("In", "O"), ("Nagoya", "B-LOC"), (".", "O")]]
    assert f"spans from {next(iter(spans))!r}" in found.notes[-1]


def test_each_line_of_a_text_is_a_sentence_and_a_span_cuts_words(read: Any):
    text = "é Anna\n\nKyoto-based 😀 Bob"
    found = read(lines({"text": text, "spans": [[2, 6, "PER"], [8, 13, "LOC"], [22, 25, "PER"]]}), "t.jsonl")
    assert pairs(found) == [
        [("é", "O"), ("Anna", "B-PER")],
        [("Kyoto", "B-LOC"), ("-based", "O"), ("😀", "O"), ("Bob", "B-PER")],
    ]


def test_words_with_tags_are_taken_as_they_are(read: Any):
    found = read(lines({"tokens": ["New York", "fell"], "ner_tags": ["B-LOC", "O"]}), "t.jsonl")
    assert pairs(found) == [[("New York", "B-LOC"), ("fell", "O")]]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"text": "ab cd", "spans": [[0, 4, "X"], [3, 5, "Y"]]}, "overlap"),
        ({"text": "ab", "spans": [[0, 3, "X"]]}, "does not lie in the text's 2 characters"),
        ({"text": "ab", "spans": [[-1, 1, "X"]]}, "does not lie"),
        ({"text": "ab", "spans": [[1, 1, "X"]]}, "does not lie"),
        ({"text": "ab", "spans": [[0, 1]]}, "is no \\[start, end, label\\]"),
        ({"text": "ab", "spans": [[0, 1, 7]]}, "is no \\[start, end, label\\]"),
        ({"text": "ab", "spans": "X"}, "no list of spans"),
        ({"text": "a\nb", "spans": [[0, 3, "X"]]}, "crosses a line end"),
        ({"text": "", "spans": []}, 'the text is ""'),
        ({"text": None, "spans": []}, "the text is null"),
    ],
)
def test_a_text_with_bad_spans_is_left_out_and_named(read: Any, bad: dict[str, Any], reason: str):
    good = {"text": "so", "spans": []}
    with pytest.raises(DataError, match=f"t.jsonl:1: .*{reason}"):
        read(lines(bad), "t.jsonl")
    found = read(lines(*[good] * 6, bad), "t.jsonl")
    assert len(found) == 6
    assert found.bad[0][1] == 7


def test_words_and_tags_that_do_not_fit_are_left_out(read: Any):
    good = {"tokens": ["a"], "tags": ["O"]}
    bad = [{"tokens": ["a", "b"], "tags": ["O"]}, {"tokens": ["a"], "tags": [3]}, {"tokens": [" "], "tags": ["O"]}]
    found = read(lines(*[good] * 20, *bad), "t.jsonl")
    assert [(line, reason) for _, line, reason in found.bad] == [
        (21, "2 words and 1 tags"),
        (22, "words or tags are no list of strings"),
        (23, "words or tags are no list of strings"),
    ]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{\n", DataError, "t.jsonl:1: this is no JSON"),
        ('{"a": 1}\n', DataError, "none of the keys a is a usual name; name one with --text-column"),
        ('{"text": "a"}\n', DataError, "name one with --label-column"),
        ("\n \n", DataError, "t.jsonl"),
    ],
)
def test_json_that_cannot_be_used_is_refused(read: Any, content: str, error: type, message: str):
    with pytest.raises(error, match=message):
        read(content, "t.jsonl")


def test_a_key_that_is_not_there_is_refused(read: Any):
    with pytest.raises(ConfigError, match="label_column is 'x', which .*t.jsonl does not have; expected one of text"):
        read('{"text": "a", "spans": []}\n', "t.jsonl", label="x")


def test_a_span_of_spaces_has_no_word():
    assert tag_text("a  b", [(1, 3, "X")]) == (["a", "b"], ["O", "O"])


# What is to be tagged


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("t.txt", "In Nagoya.\n\nSo.\n", ["In Nagoya.", "So."]),
        ("t.jsonl", '{"text": "In Nagoya."}\n{"text": "So.", "id": 3}\n', ["In Nagoya.", "So."]),
        ("t.jsonl", '{"tokens": ["In", "Nagoya"]}\n', [("In", "Nagoya")]),
        ("t.conll", "In\tO\nNagoya\tO\n", [("In", "Nagoya")]),
    ],
)
def test_inputs_are_texts_or_words(tmp_path: Path, name: str, content: str, expected: list[Any]):
    (tmp_path / name).write_text(content)
    assert read_untagged(tmp_path / name) == expected


@pytest.mark.parametrize(("name", "content"), [("t.txt", " \n\n"), ("t.jsonl", '{"text": 3}\n')])
def test_inputs_that_cannot_be_used_are_refused(tmp_path: Path, name: str, content: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=name):
        read_untagged(tmp_path / name)


def test_a_folder_gives_its_files_in_order(tmp_path: Path):
    (tmp_path / "b.conll").write_text("So\tO\n")
    (tmp_path / "a.conll").write_text("Anna\tB-PER\nran\tO\n")
    assert pairs(read_tagged([tmp_path])) == TWO
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: the folder holds no file"):
        read_tagged([tmp_path / "empty"])
