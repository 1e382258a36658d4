import codecs
import gzip
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnkit.data import documents, survey
from rnnkit.data.readers import Document, read_text
from rnnkit.data.samples import sample_path
from rnnkit.errors import ConfigError, DataError, RunError


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_clean_file_is_one_document_and_needs_no_note(tmp_path):
    path = write(tmp_path, "a.txt", "héllo\nworld\n".encode())
    corpus = read_text([path])
    assert list(corpus.documents) == [Document("héllo\nworld\n", str(path), 1)]
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
        (gzip.compress(b"text", mtime=0), "gzip data"),
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

    def refuse(self, mode):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.open", refuse)  # root may read everything, whatever the mode
    with pytest.raises(DataError, match=r"a\.txt: the file may not be read"):
        read_text([path])


def test_the_bundled_shakespeare_is_plain_text_with_its_licence_beside_it():
    corpus = read_text([sample_path("shakespeare")])
    assert (corpus.characters, corpus.notes()) == (99_991, [])
    assert "public domain" in (sample_path("shakespeare").parent / "LICENSE").read_text()


def test_an_unknown_sample_is_refused():
    with pytest.raises(ConfigError, match="'goethe'; expected one of: shakespeare"):
        sample_path("goethe")


BYTES = [b"a", b" ", b"word", b"\r", b"\n", b"\r\n", b"\xff", b"\xe4\xb8", b"\xc3", b"<|", b"|>", b"<||>"]
BYTES += [text.encode() for text in ("é", "中", "😀", "\ufffd")]


def expected_text(raw, *, codec="utf-8"):
    return raw.decode(codec, errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def expected_bad_line(raw):
    """The line of the first byte that decodes to nothing, by the decoder's own word."""
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return 1 + expected_text(raw[: error.start]).count("\n")
    return None


@settings(max_examples=300)
@given(data=st.data(), size=st.integers(3, 9))
def test_a_file_read_in_blocks_is_the_file_read_at_once(data, size, tmp_path_factory):
    raw = b"visible" * 30 + b"".join(data.draw(st.lists(st.sampled_from(BYTES), max_size=20)))
    folder = tmp_path_factory.getbasetemp()
    plain, packed = write(folder, "a.txt", raw), write(folder, "a.txt.gz", gzip.compress(raw))
    with pytest.MonkeyPatch.context() as patch:
        for module in (documents, survey):
            patch.setattr(module, "BLOCK_BYTES", size)
        patch.setattr(documents, "BLOCK_CHARACTERS", size)
        for path in (plain, packed):
            corpus = read_text([path])
            assert corpus.documents[0].text == "".join(corpus.documents[0].blocks()) == expected_text(raw)
            assert corpus.characters == len(expected_text(raw))
            report = corpus.files[0]
            assert (report.bytes, report.carriage_returns) == (len(raw), raw.count(b"\r"))
            assert report.first_bad_line == expected_bad_line(raw)
            surplus = raw.decode(errors="ignore").count("\ufffd")
            assert report.bad_bytes == raw.decode(errors="replace").count("\ufffd") - surplus
            separated = read_text([path], document_separator="<||>")
            found = [(document.text, document.first_line) for document in separated.documents]
            assert found == list(expected_documents(expected_text(raw), "<||>"))
            assert [document.text for document in separated.documents[:]] == [text for text, _ in found]
            assert separated.characters == sum(len(text) for text, _ in found)


def expected_documents(text, separator):
    line = 1
    for piece in text.split(separator):
        if piece.strip():
            yield piece, line
        line += (piece + separator).count("\n")


@settings(max_examples=100)
@given(text=st.text(st.sampled_from("a \r\n中😀"), max_size=30), mark=st.sampled_from(["utf-16-le", "utf-16-be"]))
def test_utf16_read_in_blocks_is_utf16_read_at_once(text, mark, tmp_path_factory):
    raw = ("\ufeff" + text + "end").encode(mark)
    path = write(tmp_path_factory.getbasetemp(), "a.txt", raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey, "BLOCK_BYTES", 3)
        corpus = read_text([path])
    assert (corpus.documents[0].text, corpus.files[0].bytes) == (expected_text(raw, codec="utf-16"), len(raw))


def test_separators_of_line_ends_are_found_in_a_file_with_carriage_returns(tmp_path):
    path = write(tmp_path, "a.txt", b"one\r\n\r\n\r\ntwo\r\n\r\n\r\n\r\nthree")
    found = [
        (document.text, document.first_line) for document in read_text([path], document_separator="\n\n\n").documents
    ]
    assert found == [("one", 1), ("two", 4), ("\nthree", 7)]


def test_a_pipe_is_read_once_and_kept(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"from\na pipe"))
    writer.start()
    corpus = read_text([pipe])
    writer.join()
    assert [document.text for document in corpus.documents] * 2 == ["from\na pipe"] * 2


def test_a_file_that_is_gone_or_shorter_when_it_is_needed_is_named(tmp_path):
    path = write(tmp_path, "a.txt", b"some text")
    corpus = read_text([path])
    path.write_bytes(b"some")
    with pytest.raises(DataError, match=r"a\.txt: the file became shorter while it was read"):
        list(corpus.documents)
    path.unlink()
    with pytest.raises(DataError, match=r"a\.txt: the file cannot be read any more \(No such file"):
        list(corpus.documents)


def test_a_copy_for_which_there_is_no_room_is_a_failed_run(tmp_path, monkeypatch):
    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    assert read_text([write(tmp_path, "a.txt", b"needs\nno copy")]).characters == 13
    with pytest.raises(RunError, match="No space left on device.*TMPDIR"):
        read_text([write(tmp_path, "b.txt", b"does\r\n")])


def test_small_documents_of_a_file_take_little_memory(tmp_path):
    documents = read_text([write(tmp_path, "a.txt", b"x|" * 5000)], document_separator="|").documents
    assert (len(documents), documents.rows.nbytes) == (5000, 48 * 5000)
    assert documents[4999] == documents[-1]
