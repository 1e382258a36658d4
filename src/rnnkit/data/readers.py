"""Read text files into documents, and report everything that was changed on the way."""

import codecs
import difflib
import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnkit.errors import ConfigError, DataError

TEXT_SUFFIXES = (".txt", ".md", ".txt.gz")
MOST_BAD_BYTES = 0.10  # a larger share of undecodable bytes is no text
LINE_END_SEARCH = 0.10  # how far, as a share of the text, a split may move to reach a line end

MAGIC = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"\x1f\x8b": "gzip data (name it .gz to have it unpacked)",
    b"PK\x03\x04": "a zip archive or an office document (unpack it, or export plain text)",
    b"%PDF": "a PDF (export its text, as with pdftotext)",
    b"BZh": "bzip2 data (unpack it)",
    b"\xfd7zXZ": "xz data (unpack it)",
    b"\x28\xb5\x2f\xfd": "zstandard data (unpack it)",
    b"\x7fELF": "a program",
    b"SQLite format 3": "an SQLite database",
    b"PAR1": "a Parquet table",
    b"\x93NUMPY": "a NumPy array",
    b"RIFF": "a WAV or AVI recording",
}


@dataclass(frozen=True)
class Document:
    """One text, the file it comes from, and the line of that file on which it starts (from 1)."""

    text: str
    source: str
    first_line: int = 1


@dataclass(frozen=True)
class FileReport:
    """What a file was, and what reading it changed.

    Attributes:
        path: As it was given or found.
        bytes: Size of the content, unpacked.
        encoding: "utf-8", "utf-8 with BOM" or "utf-16".
        bad_bytes: Undecodable sequences, each replaced with U+FFFD.
        first_bad_line: Line (from 1) of the first of them, or None.
        carriage_returns: CRLF pairs and lone CR, each turned into one LF.
    """

    path: str
    bytes: int
    encoding: str
    bad_bytes: int
    first_bad_line: int | None
    carriage_returns: int


@dataclass(frozen=True)
class Corpus:
    """Documents in reading order, and a report for each file they come from."""

    documents: tuple[Document, ...]
    files: tuple[FileReport, ...]

    @property
    def characters(self) -> int:
        """The length of all documents together, in characters."""
        return sum(len(document.text) for document in self.documents)

    def notes(self) -> list[str]:
        """Say in sentences, for a person, what reading changed; empty when nothing was."""
        return [note for file in self.files for note in _file_notes(file)]


def _file_notes(file: FileReport) -> list[str]:
    notes = []
    if file.bad_bytes:
        where = f"{file.path}:{file.first_bad_line}"
        notes.append(
            f"{where}: {file.bad_bytes} bad bytes replaced with U+FFFD, the first on this line; is the file UTF-8?"
        )
    if file.carriage_returns:
        notes.append(
            f"{file.path}: {file.carriage_returns} line ends with a carriage return (CRLF or CR) turned into LF."
        )
    if file.encoding == "utf-8 with BOM":
        notes.append(f"{file.path}: the byte order mark at the start was dropped.")
    if file.encoding == "utf-16":
        notes.append(f"{file.path}: read as UTF-16, as its byte order mark says.")
    return notes


def read_text(paths: Sequence[str | Path], *, document_separator: str | None = None) -> Corpus:
    r"""Read files and folders of plain text.

    Args:
        paths: Files (plain or .gz) and folders; of a folder, all *.txt, *.md and *.txt.gz below it, sorted.
        document_separator: Text between two documents of a file, as "<|endoftext|>" or "\n\n\n"; None makes each
            file one document. Documents without a visible character are left out.

    Returns:
        The documents in order, and a report for each file.

    Raises:
        ConfigError: If `document_separator` is empty.
        DataError: If a file is missing, unreadable, empty, truncated or no text, or a folder holds no text file.
    """
    if document_separator == "":
        raise ConfigError("document_separator is empty; expected the text that stands between documents, or none.")
    documents: list[Document] = []
    files: list[FileReport] = []
    for path in _text_files(paths):
        text, report = _read_file(path)
        documents += _split_documents(text, source=report.path, separator=document_separator)
        files.append(report)
    return Corpus(tuple(documents), tuple(files))


def split_by_position(
    documents: Sequence[Document], *, valid_share: float
) -> tuple[tuple[Document, ...], tuple[Document, ...]]:
    """Keep the end of a corpus for validation.

    Several documents: the last ones, whole, until they make up the share; at least one goes to each part. One
    document: cut at the last line end before the point, if one is near (10 % of the text), else at the character.

    Args:
        documents: In reading order.
        valid_share: Share of the characters to validate on, in (0, 1).

    Returns:
        The training and the validation documents, neither empty.

    Raises:
        ConfigError: If `valid_share` is not in (0, 1).
        DataError: If the text is too short for two parts.
    """
    if not 0 < valid_share < 1:
        raise ConfigError(f"valid_share is {valid_share}; expected a share between 0 and 1, as 0.1.")
    if not documents:
        raise DataError("there is no document to split; expected at least one with 2 characters.")
    if len(documents) == 1:
        return _split_document(documents[0], valid_share=valid_share)
    wanted = valid_share * sum(len(document.text) for document in documents)
    first = len(documents) - 1
    found = len(documents[first].text)
    while found < wanted and first > 1:
        first -= 1
        found += len(documents[first].text)
    return tuple(documents[:first]), tuple(documents[first:])


def _split_document(document: Document, *, valid_share: float) -> tuple[tuple[Document, ...], tuple[Document, ...]]:
    text = document.text
    if len(text) < 2:
        raise DataError(
            f"{document.source}: {len(text)} characters are too short to cut a validation part from; "
            "expected 2 or more. Use a longer text, or name a file for validation."
        )
    point = min(max(round(len(text) * (1 - valid_share)), 1), len(text) - 1)
    line_end = text.rfind("\n", max(0, point - int(LINE_END_SEARCH * len(text))), point)
    cut = line_end + 1 if line_end >= 0 else point
    line = document.first_line + text.count("\n", 0, cut)
    train = Document(text[:cut], document.source, document.first_line)
    return (train,), (Document(text[cut:], document.source, line),)


def _text_files(paths: Sequence[str | Path]) -> list[Path]:
    files: list[Path] = []
    for given in paths:
        path = Path(given)
        files += _folder_files(path) if path.is_dir() else [path]
    return files


def _folder_files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.name.endswith(TEXT_SUFFIXES) and path.is_file())
    if not found:
        raise DataError(
            f"{folder}: the folder holds no {', '.join('*' + suffix for suffix in TEXT_SUFFIXES)} file; name a file."
        )
    return found


def _read_file(path: Path) -> tuple[str, FileReport]:
    raw = _read_bytes(path)
    if not raw.strip():
        raise DataError(f"{path}: the file is empty ({len(raw)} bytes, no visible character); expected text.")
    encoding, content = _encoding(raw)
    text, bad_bytes, first_bad_line = _decode(path, content, encoding=encoding)
    carriage_returns = text.count("\r")
    if carriage_returns:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise DataError(f"{path}: the file is empty ({len(raw)} bytes, no visible character); expected text.")
    return text, FileReport(str(path), len(raw), encoding, bad_bytes, first_bad_line, carriage_returns)


def _read_bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.{_near_names(path)}") from None
    except PermissionError:
        raise DataError(
            f"{path}: the file may not be read (permission denied); change its permissions, as with chmod +r."
        ) from None
    except (EOFError, zlib.error):
        raise DataError(f"{path}: the gzip file is truncated or damaged; download or compress it again.") from None
    except gzip.BadGzipFile:
        raise DataError(f"{path}: the name ends in .gz but the content is not gzip; rename the file.") from None


def _near_names(path: Path) -> str:
    if not path.parent.is_dir():
        return f" There is no folder {path.parent} either."
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except PermissionError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=3)
    return (
        f" Did you mean {' or '.join(str(path.parent / name) for name in near)}?"
        if near
        else " Check the name and the folder."
    )


def _encoding(raw: bytes) -> tuple[str, bytes]:
    if raw.startswith(codecs.BOM_UTF8):
        return "utf-8 with BOM", raw[len(codecs.BOM_UTF8) :]
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", raw
    return "utf-8", raw


def _decode(path: Path, content: bytes, *, encoding: str) -> tuple[str, int, int | None]:
    codec = "utf-16" if encoding == "utf-16" else "utf-8"
    zeros = content.count(b"\0") if codec == "utf-8" else 0
    if zeros:
        raise DataError(
            f"{path}: this is not text but {_looks_like(content)} (it holds {zeros} NUL bytes); expected UTF-8 text."
        )
    try:
        return content.decode(codec), 0, None
    except UnicodeDecodeError:
        text = content.decode(codec, errors="replace")
    # U+FFFD that the file itself holds is good text: only the surplus was bad.
    bad_bytes = text.count("\ufffd") - content.decode(codec, errors="ignore").count("\ufffd")
    if bad_bytes > MOST_BAD_BYTES * len(text):
        raise DataError(
            f"{path}: this is not text but {_looks_like(content)} "
            f"({bad_bytes} of {len(content)} bytes are not {codec.upper()}). "
            "If it is text in another encoding, convert it: iconv -f ENCODING -t UTF-8."
        )
    return text, bad_bytes, _first_bad_line(content, codec=codec)


def _looks_like(content: bytes) -> str:
    return next((kind for magic, kind in MAGIC.items() if content.startswith(magic)), "a binary file")


def _first_bad_line(content: bytes, *, codec: str) -> int:
    try:
        content.decode(codec)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(codec, errors="ignore")
        return 1 + before.replace("\r\n", "\n").replace("\r", "\n").count("\n")
    raise AssertionError("called on content that decodes")


def _split_documents(text: str, *, source: str, separator: str | None) -> list[Document]:
    if separator is None:
        return [Document(text, source)]
    documents = []
    line = 1
    for piece in text.split(separator):
        if piece.strip():
            documents.append(Document(piece, source, line))
        line += piece.count("\n") + separator.count("\n")
    return documents
