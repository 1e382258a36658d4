"""Tables as people have them: every delimiter, quotes, line ends, with and without a header."""

import gzip
from pathlib import Path

import pytest

from rnnkit.data.tables import read_table, row_notes
from rnnkit.errors import ConfigError, DataError


def write(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cells(path: Path, **options: str) -> list[tuple[str, ...]]:
    return [row.cells for row in read_table(path, **options).rows]  # type: ignore[arg-type]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str):
    lines = [("text", "label"), ("good, really", "1"), ("bad; very, very", "0"), ("a", "1")]
    content = "".join(delimiter.join(f'"{cell}"' for cell in line) + "\n" for line in lines)
    table = read_table(write(tmp_path, content))
    assert table.delimiter == delimiter
    assert table.headings == ("text", "label")
    assert [row.cells for row in table.rows] == lines[1:]


def test_commas_in_the_text_of_a_tab_separated_file_are_no_delimiter(tmp_path: Path):
    content = "one, two, three\t1\nfour, five, six\t0\nseven, eight, nine\t1\n"
    assert cells(write(tmp_path, content, "t.txt"))[0] == ("one, two, three", "1")


def test_a_quoted_cell_may_hold_delimiters_quotes_and_line_ends(tmp_path: Path):
    table = read_table(write(tmp_path, 'text,label\n"a ""b"", c\nd",1\nplain,0\n'))
    assert [(row.cells, row.line) for row in table.rows] == [(('a "b", c\nd', "1"), 2), (("plain", "0"), 4)]


def test_quotes_inside_the_text_of_a_tab_separated_file_are_text(tmp_path: Path):
    content = 'text\tlabel\n"brilliant" , they said\t1\nhe said "no\t0\n'
    assert cells(write(tmp_path, content, "t.tsv")) == [('"brilliant" , they said', "1"), ('he said "no', "0")]


def test_quotes_around_cells_of_a_tab_separated_file_are_taken_off(tmp_path: Path):
    content = 'text\tlabel\n"a\tb"\t1\n"say ""x"""\t0\n'
    assert cells(write(tmp_path, content, "t.tsv")) == [("a\tb", "1"), ('say "x"', "0")]


@pytest.mark.parametrize("ends", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_marks_change_nothing(tmp_path: Path, ends: str, mark: bytes):
    content = mark + ends.join(["text,label", "caf\u00e9,1", '"two' + ends + 'lines",0', ""]).encode()
    assert cells(write(tmp_path, content)) == [("caf\u00e9", "1"), ("two\nlines", "0")]


def test_a_gzipped_file_is_read_as_the_plain_one(tmp_path: Path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"text,label\na,1\nb,0\n"))
    assert cells(path) == [("a", "1"), ("b", "0")]


def test_other_line_separators_of_unicode_stay_in_their_cell(tmp_path: Path):
    assert cells(write(tmp_path, "text,label\na\u2028b\x0bc,1\nd,0\n"))[0] == ("a\u2028b\x0bc", "1")


@pytest.mark.parametrize(
    ("content", "headed"),
    [
        ("text,label\na film,1\nb film,0\n", True),
        ("a fine film,pos\na bad film,neg\nanother,pos\n", False),  # a label comes again below
        ("0,great\n1,bad\n0,fine\n", False),  # a number names nothing
        ("meinung,klasse\ngut gemacht,1\nschlecht,0\nnaja,0\n", True),
        ("What a film!,x\nNot so good.,y\n", False),
    ],
)
def test_the_header_is_seen(tmp_path: Path, content: str, headed: bool):
    assert (read_table(write(tmp_path, content), names=("text",)).headings is not None) is headed


def test_the_header_can_be_said(tmp_path: Path):
    path = write(tmp_path, "a,b\nc,d\n")
    assert read_table(path, header="absent").headings is None
    assert read_table(path, header="present").headings == ("a", "b")


def test_rows_of_another_width_are_kept_apart_with_their_lines(tmp_path: Path):
    table = read_table(write(tmp_path, "text,label\na,1\nb\nc,0,extra\nd,1\n"))
    assert [row.cells for row in table.rows] == [("a", "1"), ("d", "1")]
    assert [(row.line, len(row.cells)) for row in table.bad] == [(3, 1), (4, 3)]


def test_a_quote_that_is_never_closed_is_refused_with_its_line(tmp_path: Path):
    with pytest.raises(DataError, match=r"t\.csv:3: a quote is opened and never closed"):
        read_table(write(tmp_path, 'text,label\na,1\n"b,0\nc,1\n'))


def test_text_after_a_closed_quote_is_refused_with_its_line(tmp_path: Path):
    with pytest.raises(DataError, match=r"t\.csv:2: .*expected after"):
        read_table(write(tmp_path, 'text,label\n"a" b,1\nc,0\n'))


def test_a_file_with_a_header_alone_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no row below"):
        read_table(write(tmp_path, "text,label\n"), header="present")


def test_a_column_is_found_by_heading_or_number(tmp_path: Path):
    table = read_table(write(tmp_path, "Text,Label\na,1\nb,0\n"), names=("text",))
    assert [table.find(name, option="x") for name in ("text", "Label", "1", "2")] == [0, 1, 0, 1]
    with pytest.raises(ConfigError, match="text_column is 'review'.*expected one of Text, Label"):
        table.find("review", option="text_column")


def test_few_bad_rows_are_noted_and_many_refused():
    problems = [("t.csv", 3, "the text is empty"), ("t.csv", 9, "the label is empty")]
    (note,) = row_notes(problems, 100)
    assert note == "2 of 100 rows are left out: t.csv:3: the text is empty; t.csv:9: the label is empty"
    with pytest.raises(DataError, match=r"2 of 5 rows cannot be used: t\.csv:3"):
        row_notes(problems, 5)
