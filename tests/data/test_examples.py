"""Labelled texts from every kind of file: what stands where is found, and what cannot be used is named."""

import json
from pathlib import Path

import pytest

from rnnkit.data.examples import Columns, LabelledTexts, read_labelled_texts, read_unlabelled_texts
from rnnkit.errors import ConfigError, DataError


def write(folder: Path, content: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")
    return path


def pairs(found: LabelledTexts) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.text, one.labels) for one in found.examples]


WANTED = [("a good film", ("pos",)), ("a bad film", ("neg",)), ("good again", ("pos",)), ("bad again", ("neg",))]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "review,sentiment\na good film,pos\na bad film,neg\ngood again,pos\nbad again,neg\n"),
        ("t.csv", "sentiment;review\npos;a good film\nneg;a bad film\npos;good again\nneg;bad again\n"),
        ("t.tsv", "pos\ta good film\nneg\ta bad film\npos\tgood again\nneg\tbad again\n"),
        ("t.csv", "id,what,k\n1,a good film,pos\n2,a bad film,neg\n3,good again,pos\n4,bad again,neg\n"),
        ("t.txt", "".join(f"__label__{labels[0]} {text}\n" for text, labels in WANTED)),
        ("t.jsonl", "".join(json.dumps({"text": text, "label": labels[0]}) + "\n" for text, labels in WANTED)),
        ("t.ndjson", "".join(json.dumps({"id": 1, "body": t, "class": c[0]}) + "\n\n" for t, c in WANTED)),
    ],
)
def test_text_and_label_are_found_in_every_kind_of_file(tmp_path: Path, name: str, content: str):
    assert pairs(read_labelled_texts([write(tmp_path, content, name)])) == WANTED


def test_a_folder_a_label_is_read_in_order(tmp_path: Path):
    for number, (text, labels) in enumerate(WANTED):
        write(tmp_path, text, f"{labels[0]}/{number}.txt")
    assert sorted(pairs(read_labelled_texts([tmp_path]))) == sorted(WANTED)


def test_what_was_found_is_said(tmp_path: Path):
    found = read_labelled_texts([write(tmp_path, "x;w;k\n1;a longer text;b\n2;another text;c\n3;a text;b\n")])
    assert found.notes == (f"{tmp_path / 't.csv'}: semicolon-separated, with a header; text from column 'w', label "
                           "from column 'k'",)  # fmt: skip


def test_columns_can_be_named_and_numbered(tmp_path: Path):
    path = write(tmp_path, "a,b,c\none,x,left\ntwo,y,right\nthree,x,left\n")
    assert pairs(read_labelled_texts([path], Columns("c", "b")))[0] == ("left", ("x",))
    assert pairs(read_labelled_texts([path], Columns("1", "3", header="present")))[0] == ("one", ("left",))


def test_every_example_knows_its_line(tmp_path: Path):
    path = write(tmp_path, 'text,label\n"a\nb",1\nc,0\nd,1\n')
    assert [one.place for one in read_labelled_texts([path]).examples] == [f"{path}:2", f"{path}:4", f"{path}:5"]


def test_labels_of_other_kinds_get_names(tmp_path: Path):
    lines = [{"text": "a", "label": 1}, {"text": "b", "label": True}, {"text": "c", "label": 2.5}]
    path = write(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), "t.jsonl")
    assert [labels for _, labels in pairs(read_labelled_texts([path]))] == [("1",), ("true",), ("2.5",)]


def test_several_labels_are_split_listed_or_written_in_a_row(tmp_path: Path):
    table = write(tmp_path, "text,tags\na,x|y\nb,\nc,y\n")
    listed = write(tmp_path, '{"text": "a", "labels": ["x", "y"]}\n{"text": "b", "labels": []}\n', "t.jsonl")
    row = write(tmp_path, "__label__x __label__y a\n__label__y c\n", "t.txt")
    assert pairs(read_labelled_texts([table], Columns(label_separator="|"))) == [
        ("a", ("x", "y")),
        ("b", ()),
        ("c", ("y",)),
    ]
    assert pairs(read_labelled_texts([listed])) == [("a", ("x", "y")), ("b", ())]
    assert pairs(read_labelled_texts([row])) == [("a", ("x", "y")), ("c", ("y",))]


def test_rows_that_cannot_be_used_are_left_out_and_named(tmp_path: Path):
    rows = "".join(f"text {i},{i % 2}\n" for i in range(20))
    path = write(tmp_path, f"text,label\n{rows},1\nx,\nlonely\n")
    found = read_labelled_texts([path])
    assert len(found) == 20
    assert found.bad == (
        (str(path), 22, "the text is empty"),
        (str(path), 23, "the label is empty"),
        (str(path), 24, "1 cells, not 2"),
    )
    assert f"{path}:22: the text is empty" in found.notes[1]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ('{"text": "a", "label": 1}\n{"text": "b" "label": 2}\n', "t.jsonl", r"t\.jsonl:2: this is no JSON"),
        ("[1, 2]\n", "t.jsonl", r"t\.jsonl:1: this is \[1, 2\]; expected a JSON object"),
        ('{"a": "x", "b": 1}\n', "t.jsonl", "none of the keys a, b is a usual name; name one with --"),
        ("only one column\nand another row\n", "t.txt", "no column looks like a label|one column"),
        ("a,b b\nc,d d\ne,f f\ng,h h\ni,j j\nk,l l\n", "t.csv", "no column looks like a label"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path: Path, content: str, name: str, message: str):
    with pytest.raises(DataError, match=message):
        read_labelled_texts([write(tmp_path, content, name)])


def test_a_folder_without_labels_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"holds no LABEL/\*\.txt"):
        read_labelled_texts([tmp_path])


def test_one_column_cannot_be_both(tmp_path: Path):
    path = write(tmp_path, "text,label\na,1\nb,0\n")
    with pytest.raises(ConfigError, match="both 'label'"):
        read_labelled_texts([path], Columns("label", "label"))


# Texts without labels


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "text\na good film\na bad film\n"),
        ("t.csv", "text,label\na good film,pos\na bad film,neg\n"),
        ("t.jsonl", '{"text": "a good film"}\n{"text": "a bad film"}\n'),
        ("t.txt", "a good film\n\na bad film\n"),
    ],
)
def test_texts_are_read_without_labels(tmp_path: Path, name: str, content: str):
    found = read_unlabelled_texts([write(tmp_path, content, name)])
    assert [one.text for one in found.examples] == ["a good film", "a bad film"]
