import codecs
import gzip

import pytest

from rnnkit.data.readers import Document, read_text, split_by_position
from rnnkit.data.samples import sample_path
from rnnkit.errors import ConfigError, DataError


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_clean_file_is_one_document_and_needs_no_note(tmp_path):
    path = write(tmp_path, "a.txt", "héllo\nworld\n".encode())
    corpus = read_text([path])
    assert corpus.documents == (Document("héllo\nworld\n", str(path), 1),)
    assert (corpus.characters, corpus.files[0].bytes, corpus.notes()) == (12, 13, [])


def test_bad_bytes_are_replaced_and_the_first_line_is_named(tmp_path):
    path = write(tmp_path, "a.txt", b"fine text\r\nmore of it\nb\xffad and \xfe bad \xef\xbf\xbd\n")
    corpus = read_text([path])
    assert corpus.documents[0].text == "fine text\nmore of it\nb\ufffdad and \ufffd bad \ufffd\n"
    assert (corpus.files[0].bad_bytes, corpus.files[0].first_bad_line) == (2, 3)
    assert any(f"{path}:3: 2 bad bytes" in note for note in corpus.notes())


def test_every_kind_of_line_end_becomes_lf(tmp_path):
    corpus = read_text([write(tmp_path, "a.txt", b"a\r\nb\rc\nd\r\n")])
    assert corpus.documents[0].text == "a\nb\nc\nd\n"
    assert corpus.files[0].carriage_returns == 3
    assert "3 line ends" in corpus.notes()[0]


def test_a_utf8_byte_order_mark_is_dropped(tmp_path):
    corpus = read_text([write(tmp_path, "a.txt", codecs.BOM_UTF8 + b"abc")])
    assert (corpus.documents[0].text, corpus.files[0].encoding) == ("abc", "utf-8 with BOM")
    assert "byte order mark" in corpus.notes()[0]


@pytest.mark.parametrize(("mark", "codec"), [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")])
def test_utf16_is_read_by_its_byte_order_mark(tmp_path, mark, codec):
    corpus = read_text([write(tmp_path, "a.txt", mark + "a€\r\nb".encode(codec))])
    assert (corpus.documents[0].text, corpus.files[0].encoding) == ("a€\nb", "utf-16")


def test_gzip_is_unpacked(tmp_path):
    assert read_text([write(tmp_path, "a.txt.gz", gzip.compress(b"packed"))]).documents[0].text == "packed"


def test_a_folder_gives_its_text_files_sorted(tmp_path):
    for name in ("b.txt", "a.md", "deep/c.txt.gz", "skipped.csv"):
        write(tmp_path, name, gzip.compress(name.encode()) if name.endswith("gz") else name.encode())
    assert [document.text for document in read_text([tmp_path]).documents] == ["a.md", "b.txt", "deep/c.txt.gz"]


def test_a_separator_splits_documents_and_keeps_their_lines(tmp_path):
    path = write(tmp_path, "a.txt", b"one\ntwo\n<|end|>\nthree\n<|end|>\n\n<|end|>four")
    documents = read_text([path], document_separator="<|end|>").documents
    assert [(document.text, document.first_line) for document in documents] == [
        ("one\ntwo\n", 1),
        ("\nthree\n", 3),
        ("four", 7),
    ]


def test_an_empty_separator_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="document_separator is empty"):
        read_text([write(tmp_path, "a.txt", b"x")], document_separator="")


def test_a_missing_file_suggests_a_near_name(tmp_path):
    write(tmp_path, "reviews.txt", b"x")
    with pytest.raises(DataError, match=r"revews\.txt: there is no such file.*reviews\.txt\?"):
        read_text([tmp_path / "revews.txt"])


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="no folder .*nowhere either"):
        read_text([tmp_path / "nowhere" / "a.txt"])


def test_a_folder_without_text_is_refused(tmp_path):
    write(tmp_path, "a.csv", b"x")
    with pytest.raises(DataError, match=r"holds no \*\.txt"):
        read_text([tmp_path])


@pytest.mark.parametrize("content", [b"", b" \n\t\n", codecs.BOM_UTF8 + b"\n"])
def test_an_empty_file_is_refused(tmp_path, content):
    with pytest.raises(DataError, match=rf"a\.txt: the file is empty \({len(content)} bytes"):
        read_text([write(tmp_path, "a.txt", content)])


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"),
        (gzip.compress(b"text"), "gzip data"),
        (b"PK\x03\x04\x14\0\0\0", "a zip archive"),
        (b"%PDF-1.7\n" + bytes(range(128, 256)), "a PDF"),
        (b"some\0thing", "a binary file"),
        (bytes(range(128, 256)), "a binary file"),
    ],
)
def test_a_binary_file_is_refused_by_what_it_looks_like(tmp_path, content, kind):
    with pytest.raises(DataError, match=f"not text but {kind}"):
        read_text([write(tmp_path, "a.txt", content)])


def test_a_truncated_gzip_is_refused(tmp_path):
    packed = gzip.compress(b"some text" * 1000)
    with pytest.raises(DataError, match=r"a\.txt\.gz: the gzip file is truncated"):
        read_text([write(tmp_path, "a.txt.gz", packed[:-12])])


def test_a_false_gzip_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.txt\.gz: the name ends in \.gz"):
        read_text([write(tmp_path, "a.txt.gz", b"plain")])


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path, "a.txt", b"x")

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)  # root may read everything, whatever the mode
    with pytest.raises(DataError, match=r"a\.txt: the file may not be read"):
        read_text([path])


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


def test_the_bundled_shakespeare_is_plain_text_with_its_licence_beside_it():
    corpus = read_text([sample_path("shakespeare")])
    assert (corpus.characters, corpus.notes()) == (99_991, [])
    assert "public domain" in (sample_path("shakespeare").parent / "LICENSE").read_text()


def test_an_unknown_sample_is_refused():
    with pytest.raises(ConfigError, match="'goethe'; expected one of: shakespeare"):
        sample_path("goethe")
